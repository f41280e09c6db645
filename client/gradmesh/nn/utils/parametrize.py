"""Parameters that are functions of others: a module's tensor is computed from an original whenever it is read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn.modules.container import ModuleDict, ModuleList
from gradmesh.nn.modules.module import Module
from gradmesh.nn.parameter import Parameter
from gradmesh_engine.errors import AutogradError

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

# What was computed within `cached`, by module and name.
_COMPUTED: Final[ContextVar[dict[tuple[int, str], Tensor] | None]] = ContextVar("computed", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Within this, a parametrized tensor is computed once, and then kept.

    Example: `with gm.nn.utils.parametrize.cached(): model(x)`
    """
    if _COMPUTED.get() is not None:
        yield
        return
    token = _COMPUTED.set({})
    try:
        yield
    finally:
        _COMPUTED.reset(token)


def _keep(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _same(what: str, *, of: tuple[str, Tensor], to: tuple[str, Tensor]) -> None:
    """Raises ValueError unless two tensors are alike in dtype or shape."""
    first, second = getattr(of[1], what), getattr(to[1], what)
    if first != second:
        raise ValueError(
            f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag is enabled.\n"
            f"{of[0]} {what}: {first}\n{to[0]} {what}: {second}"
        )


class ParametrizationList(ModuleList):
    """The functions of one parametrized tensor, and the originals it is computed from.

    Attributes:
        original: the tensor the first function takes; `original0`, `original1`, … where it takes several.

    Raises ValueError for functions that do not fit.

    Example: `gm.nn.utils.parametrizations.weight_norm(gm.nn.Linear(2, 3)).parametrizations.weight`
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        before = original.detach()
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass
        if not isinstance(new, (Tensor, list, tuple)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                f"{type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            if original.dtype != new.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\noriginal.dtype: "
                    f"{original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if new is not original:
                original.data = new.detach()
            _keep(self, "original", original)
        else:
            for index, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                        f"{index} of the sequence with type {type(part).__name__}."
                    )
                made = Parameter(part, original.requires_grad) if isinstance(original, Parameter) else part
                _keep(self, f"original{index}", made)
        if not unsafe:
            found = self()
            if not isinstance(found, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(found).__name__}.")
            for what in ("dtype", "shape"):
                _same(what, of=("unparametrized", before), to=("parametrized", found))

    def originals(self) -> list[Tensor]:
        """The tensors the first function takes."""
        names = ["original"] if self.is_tensor else [f"original{index}" for index in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the functions give a value.

        Raises AutogradError for a function without an inverse, ValueError for one whose inverse does not fit.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise AutogradError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
        if self.is_tensor:
            if not isinstance(value, Tensor):
                raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
            if value.dtype != self.original.dtype:
                raise ValueError(
                    f"The tensor returned by `right_inverse` has dtype {value.dtype} while `original` has dtype "
                    f"{self.original.dtype}"
                )
            value = [value]
        elif not isinstance(value, (list, tuple)):
            raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
        if len(value) != self.ntensors:
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of "
                f"length {len(value)}."
            )
        for original, part in zip(self.originals(), value, strict=True):
            original.data = part.detach()

    def forward(self) -> Any:
        """What the functions make of the originals."""
        first, *others = self
        found = first(*self.originals())
        for module in others:
            found = module(found)
        return found


def _refuse_to_pickle(self: Module) -> None:
    raise AutogradError("Serialization of parametrized modules is only supported through state_dict().")


def _copied(self: Module, memo: dict[int, Any]) -> Any:
    if id(self) not in memo:
        memo[id(self)] = replica = object.__new__(type(self))
        replica.__dict__ = copy.deepcopy(self.__dict__, memo)
    return memo[id(self)]


def _give_class(module: Module) -> None:
    """Give a module a class of its own, which can have properties."""
    cls = type(module)
    own = {"__getstate__": _refuse_to_pickle, "__deepcopy__": _copied}
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), own)


def _give_property(module: Module, name: str) -> None:
    def computed(self: Module) -> Any:
        known = _COMPUTED.get()
        if known is None:
            return self.parametrizations[name]()
        if (id(self), name) not in known:
            known[id(self), name] = self.parametrizations[name]()
        return known[id(self), name]

    def assigned(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(computed, assigned))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make a module's tensor what `parametrization` computes from it; several are applied in turn.

    Args:
        module: whose class becomes one of its own, with the tensor as a property.
        tensor_name: of a parameter or buffer, or of what is parametrized already.
        parametrization: a module; its `right_inverse`, if it has one, gives the original that a value is computed from.
        unsafe: whether dtype and shape may change.

    Returns:
        the module.

    Raises ValueError for an unknown name, or a parametrization that does not fit.

    Example: `gm.nn.utils.parametrize.register_parametrization(gm.nn.Linear(2, 2), "weight", gm.nn.Tanh())`
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            present = getattr(module, tensor_name)
            found = parametrization(present)
            if not isinstance(found, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(found).__name__}.")
            for what in ("dtype", "shape"):
                _same(what, of=(f"module.{tensor_name}", present), to=("parametrized", found))
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        functions = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_class(module)
            module.parametrizations = ModuleDict()
        _give_property(module, tensor_name)
        module.parametrizations[tensor_name] = functions
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module's tensor of that name, or any, is parametrized.

    Example: `gm.nn.utils.parametrize.is_parametrized(gm.nn.Linear(2, 2), "weight")` is `False`.
    """
    functions = module._modules.get("parametrizations")
    if not isinstance(functions, ModuleDict):
        return False
    return len(functions) > 0 if tensor_name is None else tensor_name in functions


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrized tensor an ordinary one again: of its present value, or else its original.

    Raises ValueError for a tensor that is not parametrized, or one of several originals that are to be left.

    Example: `gm.nn.utils.parametrize.remove_parametrizations(module, "weight")`
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    functions = module.parametrizations[tensor_name]
    with no_grad():
        value = getattr(module, tensor_name).detach()
    if functions.is_tensor:
        tensor = functions.original
        if leave_parametrized:
            tensor.data = value
    elif leave_parametrized:
        tensor = Parameter(value) if any(part.requires_grad for part in functions.originals()) else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _keep(module, tensor_name, tensor)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module without its parametrizations.

    Example: `gm.nn.utils.parametrize.type_before_parametrizations(gm.nn.ReLU())` is the class itself.
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrize a module as another, with its functions and originals; one tensor only when it is named.

    Example: `gm.nn.utils.parametrize.transfer_parametrizations_and_params(old, new)`
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        functions = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for function in functions:
            register_parametrization(to_module, name, function)
        made = to_module.parametrizations[name]
        for key in [*functions._parameters, *functions._buffers]:
            setattr(made, key, getattr(functions, key))
    return to_module
