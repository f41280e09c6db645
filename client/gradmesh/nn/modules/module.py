"""Module: what holds parameters, buffers and other modules, and calls `forward`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from gradmesh import _dtype
from gradmesh._hooks import RemovableHandle
from gradmesh._modes import STATE
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._border import Border
from gradmesh.nn.modules._state import IncompatibleKeys, listed, load_one
from gradmesh.nn.parameter import Buffer, Parameter, is_lazy
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError

__all__ = ["Module"]

_M = TypeVar("_M", bound="Module")
_T = TypeVar("_T")

# What every module keeps in its `__dict__`, by name; an attribute that is one of these three is found there.
_TABLES: Final = ("_parameters", "_buffers", "_modules")
_HOOKS: Final = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_pre_hooks",
    "_state_hooks",
    "_load_pre_hooks",
    "_load_hooks",
)
# Where what `get_extra_state` gives stands in a state.
_EXTRA: Final = "_extra_state"


def _unimplemented(self: Module, *args: Any, **kwargs: Any) -> None:
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


def _indented(text: str, spaces: int = 2) -> str:
    return text.replace("\n", "\n" + " " * spaces)


class Module:
    """Base of all layers and networks: subclass it, make parameters and modules in `__init__`, define `forward`.

    Attributes that are Parameters, Modules or registered buffers are found by `parameters()`,
    `state_dict()` and the other methods, under their names joined with dots.

    Example:
        class Net(gm.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = gm.nn.Linear(2, 1)

            def forward(self, x):
                return self.layer(x).tanh()

    Attributes:
        training: whether layers as Dropout and BatchNorm behave as in training; see `train` and `eval`.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    _forward_pre_hooks: dict[int, tuple[Callable[..., Any], bool]]
    _forward_hooks: dict[int, tuple[Callable[..., Any], bool]]
    _backward_pre_hooks: dict[int, Callable[..., Any]]
    _backward_hooks: dict[int, Callable[..., Any]]
    _state_pre_hooks: dict[int, Callable[..., Any]]
    _state_hooks: dict[int, Callable[..., Any]]
    _load_pre_hooks: dict[int, Callable[..., Any]]
    _load_hooks: dict[int, Callable[..., Any]]

    def __init__(self) -> None:
        set_plain = super().__setattr__
        for name in (*_TABLES, *_HOOKS):
            set_plain(name, {})
        set_plain("_transient", set())
        set_plain("training", True)

    forward: Callable[..., Any] = _unimplemented

    # --- calling ------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, with the hooks around it."""
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            changed = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if changed is None:
                continue
            if with_kwargs:
                args, kwargs = changed
            else:
                args = changed if isinstance(changed, tuple) else (changed,)
        border = Border(self) if self._backward_hooks or self._backward_pre_hooks else None
        if border is not None:
            args = border.enter(args)
        result = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._forward_hooks.values()):
            changed = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            if changed is not None:
                result = changed
        return result if border is None else border.leave(result)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, with_kwargs: bool = False, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)`, or `(module, args, kwargs)`, before `forward`; what it returns replaces them."""
        return attach(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, with_kwargs: bool = False, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)`, or with kwargs third, after `forward`; what it returns replaces output."""
        return attach(self._forward_hooks, (hook, with_kwargs), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the module's backward; what it returns replaces grad_output."""
        return attach(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after the module's backward.

        What it returns replaces grad_input. One entry per positional argument of `forward`, None for
        those that are no tensors.
        """
        return attach(self._backward_hooks, hook, prepend)

    # --- attributes ---------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        for table in _TABLES:
            held = state.get(table)
            if held is not None and name in held:
                return held[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif isinstance(value, Module):
            if "_modules" not in state:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_modules")
            state["_modules"][name] = value
        elif name in state.get("_parameters", ()):
            if value is not None:
                raise AttributeTypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' (torch.nn.Parameter or None "
                    "expected)",
                    expected="Parameter or None",
                    got=type(value).__name__,
                )
            state["_parameters"][name] = None
        elif name in state.get("_modules", ()):
            if value is not None:
                raise AttributeTypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' (torch.nn.Module or None "
                    "expected)",
                    expected="Module or None",
                    got=type(value).__name__,
                )
            state["_modules"][name] = None
        elif name in state.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise AttributeTypeError(
                    f"cannot assign '{type(value).__name__}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or "
                    "None expected)",
                    expected="Tensor or None",
                    got=type(value).__name__,
                )
            state["_buffers"][name] = value
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self._transient.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = set(super().__dir__())
        for table in _TABLES:
            names.update(self.__dict__[table])
        return sorted(names)

    def _forget(self, name: str, but: str) -> None:
        """Take away what is under a name that something in the table `but` gets, where it keeps its place."""
        self.__dict__.pop(name, None)
        for table in _TABLES:
            if table != but:
                self.__dict__.get(table, {}).pop(name, None)

    def _check_name(self, kind: str, name: str, table: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` a parameter of this module; None keeps the name for later.

        Raises KeyError for an unusable name, TypeError for another thing, AutogradError for a computed tensor.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameters before Module.__init__() call")
        self._check_name("parameter", name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise AttributeTypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' (torch.nn.Parameter or None "
                "required)",
                expected="Parameter or None",
                got=type(param).__name__,
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` a buffer: state that is not trained; in `state_dict` if `persistent`.

        Raises KeyError for an unusable name, TypeError for another thing.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise AttributeTypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (torch Tensor or None required)",
                expected="Tensor or None",
                got=type(tensor).__name__,
            )
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` a child under a name. Raises KeyError for an unusable name, TypeError for another thing."""
        if module is not None and not isinstance(module, Module):
            raise AttributeTypeError(
                f"{type(module).__name__} is not a Module subclass", expected="Module", got=type(module).__name__
            )
        self._check_name("module", name, "_modules")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """`add_module`."""
        self.add_module(name, module)

    def get_submodule(self, target: str) -> Module:
        """The module under a dotted name; "" for this one. Raises AttributeError."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        found: Module = module
        return found

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module under a dotted name; if `strict`, only where there is one.

        Raises ValueError for the empty name or something else than a module, AttributeError.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted name. Raises AttributeError."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        found = getattr(module, name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted name. Raises AttributeError."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        found = module._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # --- walking ------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below, each once, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once, with their names."""
        return _once((name, child) for name, child in self._modules.items() if child is not None)

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        return (child for _, child in self.named_children())

    def _named(self, table: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else iter([(prefix, self)])
        )
        members = (
            (f"{path}.{name}" if path else name, held)
            for path, module in modules
            for name, held in module.__dict__[table].items()
            if held is not None
        )
        return _once(members) if remove_duplicate else members

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and, if `recurse`, of all below, with dotted names."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and, if `recurse`, of all below."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers of this module and, if `recurse`, of all below, with dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and, if `recurse`, of all below."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def apply(self: _M, fn: Callable[[Module], Any]) -> _M:
        """Call `fn` with every module below and then with this one; returns this module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # --- modes and types ----------------------------------------------------------------------------

    def train(self: _M, mode: bool = True) -> _M:
        """Set `training` here and below; returns this module. Raises ValueError unless `mode` is a bool."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: _M) -> _M:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self: _M, requires_grad: bool = True) -> _M:
        """Set whether gradients flow to the parameters; returns this module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            clear_grad(parameter, set_to_none)

    def _converted(self: _M, convert: Callable[[Tensor], Tensor]) -> _M:
        for module in self.modules():
            for parameter in module._parameters.values():
                if is_lazy(parameter):
                    parameter.convert(convert)
                elif parameter is not None:
                    grad = parameter._leaf().grad
                    parameter.data = convert(parameter.data)
                    if grad is not None:
                        parameter.grad = convert(grad.data)
            for name, buffer in module._buffers.items():
                if is_lazy(buffer):
                    buffer.convert(convert)
                elif buffer is not None:
                    module._buffers[name] = convert(buffer)
        return self

    def to(self: _M, *args: Any, dtype: _dtype.DTypeLike | None = None, device: object = None) -> _M:
        """Convert parameters and buffers of a floating dtype to another, given by name or by a tensor; returns self.

        The only device is the CPU. Raises AttributeTypeError for a dtype that is not floating.
        """
        for given in args:
            if isinstance(given, _dtype.dtype):
                dtype = given
            elif isinstance(given, Tensor):
                dtype = given.dtype
            else:
                device = given
        if device is not None:
            _dtype.device(device)  # type: ignore[arg-type]
        if dtype is None:
            return self
        wanted = _dtype.of(dtype)
        if not (wanted.is_floating_point or wanted.is_complex):
            raise AttributeTypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={wanted}",
                expected="a floating point or complex dtype",
                got=str(wanted),
            )
        return self._converted(lambda t: t.to(wanted) if t.is_floating_point() or t.is_complex() else t)

    def type(self: _M, dst_type: _dtype.DTypeLike) -> _M:
        """Convert all parameters and buffers to a dtype; returns this module."""
        return self._converted(lambda t: t.to(_dtype.of(dst_type)))

    def float(self: _M) -> _M:
        """`to(gm.float32)`."""
        return self.to(_dtype.float32)

    def double(self: _M) -> _M:
        """`to(gm.float64)`."""
        return self.to(_dtype.float64)

    def half(self: _M) -> _M:
        """`to(gm.float16)`."""
        return self.to(_dtype.float16)

    def bfloat16(self: _M) -> _M:
        """`to(gm.bfloat16)`."""
        return self.to(_dtype.bfloat16)

    def cpu(self: _M) -> _M:
        """This module, which is on the CPU."""
        return self

    # --- state --------------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name: detached, and sharing their elements with the module."""
        state: dict[str, Any] = OrderedDict() if destination is None else destination
        for hook in list(self._state_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        for name, held in self._own_state().items():
            state[prefix + name] = held if keep_vars else held.detach()
        if self._has_extra():
            state[prefix + _EXTRA] = self.get_extra_state()
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in list(self._state_hooks.values()):
            hook(self, state, prefix, {})
        return state

    def _own_state(self) -> dict[str, Tensor]:
        named = {**self._parameters, **{k: v for k, v in self._buffers.items() if k not in self._transient}}
        return {name: held for name, held in named.items() if held is not None}

    def get_extra_state(self) -> Any:
        """What a state holds of this module besides tensors; override it together with `set_extra_state`."""
        raise NotImplementedError("override get_extra_state to keep more than tensors")

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` gave; override it together with that."""
        raise NotImplementedError("override set_extra_state to load what get_extra_state gives")

    def _has_extra(self) -> bool:
        return type(self).get_extra_state is not Module.get_extra_state

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` takes this module's state."""
        return attach(self._state_pre_hooks, hook, False)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, {})` when `state_dict` has this module's state, to change it."""
        return attach(self._state_hooks, hook, False)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, {}, True, missing_keys, unexpected_keys, errors)` before loading.

        It may change the state, which is a copy, and the lists.
        """
        return attach(self._load_pre_hooks, hook, False)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` when this module and those below were loaded; it may change them."""
        return attach(self._load_hooks, hook, False)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy what `state_dict` gives into parameters and buffers, under the names `state_dict()` uses.

        Args:
            state_dict: tensors by dotted name.
            strict: whether a missing or an unexpected name is an error.
            assign: take the tensors themselves rather than copies.

        Returns:
            the names that were missing and those that were not expected.

        Raises:
            InvalidRequestError: names or shapes do not fit; what fits was copied.
            AttributeTypeError: not a mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise AttributeTypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict)}.",
                expected="a mapping",
                got=type(state_dict).__name__,
            )
        keys, wrong = IncompatibleKeys([], []), list[str]()
        self._load(OrderedDict(state_dict), "", assign, keys, wrong)
        if strict and keys.missing_keys:
            wrong.insert(0, f"Missing key(s) in state_dict: {listed(keys.missing_keys)}. ")
        if strict and keys.unexpected_keys:
            place = 1 if keys.missing_keys else 0
            wrong.insert(place, f"Unexpected key(s) in state_dict: {listed(keys.unexpected_keys)}. ")
        if wrong:
            lines = "\n\t".join(wrong)
            raise InvalidRequestError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{lines}")
        return keys

    def _load(self, state: dict[str, Any], prefix: str, assign: bool, keys: IncompatibleKeys, wrong: list[str]) -> None:
        """Load what is under a prefix; the state has nothing else."""
        for hook in list(self._load_pre_hooks.values()):
            hook(self, state, prefix, {}, True, keys.missing_keys, keys.unexpected_keys, wrong)
        known = {prefix + name for name in self._modules}
        for name, held in self._own_state().items():
            known.add(prefix + name)
            if prefix + name in state:
                wrong += load_one(self, name, held, prefix + name, state[prefix + name], assign)
            else:
                keys.missing_keys.append(prefix + name)
        if self._has_extra():
            known.add(prefix + _EXTRA)
            if prefix + _EXTRA in state:
                self.set_extra_state(state[prefix + _EXTRA])
            else:
                keys.missing_keys.append(prefix + _EXTRA)
        parts: dict[str, dict[str, Any]] = {}
        for key, value in state.items():
            name, dot, _ = key[len(prefix) :].partition(".")
            if dot and self._modules.get(name) is not None:
                parts.setdefault(name, OrderedDict())[key] = value
            elif dot or key not in known:
                keys.unexpected_keys.append(key)
        for name, child in self._modules.items():
            if child is not None:
                child._load(parts.get(name, OrderedDict()), f"{prefix}{name}.", assign, keys, wrong)
        for hook in list(self._load_hooks.values()):
            if hook(self, keys) is not None:
                raise AssertionError("hooks registered with register_load_state_dict_post_hook return nothing")

    # --- printing -----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of this module's line; override to say something."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(child))}" for name, child in self._modules.items()]
        inside = lines + children
        if not inside:
            return f"{self._get_name()}()"
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        return f"{self._get_name()}(\n  " + "\n  ".join(inside) + "\n)"


def clear_grad(parameter: Tensor, set_to_none: bool) -> None:
    """Forget the gradient of a parameter, or fill it with zeros."""
    leaf = None if is_lazy(parameter) else parameter._leaf()
    if leaf is None or leaf.grad is None:
        return
    if STATE.capture is not None:
        STATE.capture.fail("sets a gradient")
    if set_to_none:
        leaf.grad = None
        return
    if leaf.grad.requires_grad:
        leaf.grad = leaf.grad.detach()
    leaf.grad.zero_()


def _once(members: Iterable[tuple[str, _T]]) -> Iterator[tuple[str, _T]]:
    seen: set[int] = set()
    for name, held in members:
        if id(held) not in seen:
            seen.add(id(held))
            yield name, held


def attach(hooks: dict[int, Any], hook: Any, prepend: bool) -> RemovableHandle:
    """Put a hook behind the others, or before them."""
    handle = RemovableHandle.into(hooks, hook)
    if prepend:
        behind = {id: held for id, held in hooks.items() if id != handle.id}
        for id, held in behind.items():
            del hooks[id]
            hooks[id] = held
    return handle
