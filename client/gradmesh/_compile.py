"""compile: functions and modules that are recorded a few times and then replayed."""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final

from gradmesh._capture import Given, Refused, Replay, Watch, refusal
from gradmesh._guards import VISITS, Guards
from gradmesh._modes import STATE
from gradmesh._value import user_line
from gradmesh.nn.modules.module import Module
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError

__all__ = ["compile"]

REPLAYS_LIMIT: Final = 8
"""How many recordings of one function are kept; what differs from all of them is run as it is."""

_TRIES_LIMIT: Final = 3
_WATCHES_LIMIT: Final = 32

_MODES: Final = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_BACKENDS: Final = ("inductor", "eager", "aot_eager")


class _Signature:
    """Calls that have the kinds of arguments in common. Final.

    Attributes:
        replays: what is replayed, the latest used first.
        prints: of recordings that were made once.
        refused: what may be read while a recording cannot be replayed, the latest last.
        watched: how many calls were watched.
        over: whether no more will be.
    """

    def __init__(self) -> None:
        self.replays: list[Replay] = []
        self.prints: list[Any] = []
        self.refused: list[Guards] = []
        self.watched = 0
        self.over = False

    def is_refused(self) -> bool:
        """Whether recordings could not be replayed several times, with all that may be read as it is now."""
        return len(self.refused) >= _TRIES_LIMIT and sum(guards.holds() for guards in self.refused) >= _TRIES_LIMIT


class Compiled:
    """A function that is replayed where it can be; see compile. Final.

    Attributes:
        reasons: why calls were not replayed, the latest last, each once.
    """

    def __init__(self, function: Callable[..., Any], fullgraph: bool) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._fullgraph = fullgraph
        self._signatures: dict[Any, _Signature] = {}
        self._codes: dict[types.CodeType, dict[str, Any] | None] = {}
        self._count = 0
        self.reasons: list[str] = []

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        state = STATE
        if (
            state.capture is not None or state.traces or state.duals is not None or state.saving is not None
            or state.allowance is not None or state.anomaly or state.segment or state.pulling or state.inference
        ):  # fmt: skip
            return self._function(*args, **kwargs)
        given = Given(args, kwargs)
        signature = self._signatures.get(given.key)
        if signature is None:
            if len(self._signatures) >= _WATCHES_LIMIT:
                return self._as_it_is(f"is given other arguments than in {_WATCHES_LIMIT} calls", args, kwargs)
            signature = self._signatures[given.key] = _Signature()
        for index, replay in enumerate(signature.replays):
            if replay.guards.holds():
                values = replay.inputs(given)
                if values is not None:
                    if index:
                        # Threads may be looking through the list meanwhile.
                        signature.replays = [replay, *[one for one in signature.replays if one is not replay]]
                    return replay.run(given, values)
        if signature.over or sys.getprofile() is not None or signature.is_refused():
            return self._function(*args, **kwargs)
        return self._watched(signature, given, args, kwargs)

    def _watched(self, signature: _Signature, given: Given, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function as it is, and see whether it could have been replayed."""
        signature.watched += 1
        if self._count >= REPLAYS_LIMIT or signature.watched > _WATCHES_LIMIT:
            signature.over = True
            often = f"{self._count} times" if self._count else f"in each of {_WATCHES_LIMIT} calls"
            return self._as_it_is(f"was recorded {often}, and differs again", args, kwargs)
        known = dict(self._codes)
        guards = Guards([self._function, *given.others], known)
        tensors = (*guards.tensors, *given.tensors)
        before = {id(tensor): tensor.value for tensor in tensors}
        modes = STATE.grad, STATE.inference
        watch = Watch(self._fullgraph)
        result = watch.run(self._function, args, kwargs)
        self._codes.update(watch.codes)
        if not watch.reason and not watch.codes.keys() <= known.keys():
            return result  # Where it may look is known from now on.
        try:
            if (STATE.grad, STATE.inference) != modes:
                raise Refused("changes a mode")
            again = Given(args, kwargs)
            if again.key != given.key or any(map(_differ, again.tensors, given.tensors)):
                raise Refused("changes its arguments")
            if not guards.holds():
                raise Refused("changes what it may read the next time")
            replay = Replay(watch, given, guards, before, result)
        except Refused as refused:
            if self._fullgraph:
                raise refusal(str(refused), user_line()) from None
            self._note(str(refused))
            signature.refused = [*signature.refused[1 - REPLAYS_LIMIT :], guards]
            return result
        if replay.print in signature.prints:
            signature.replays = [replay, *signature.replays]
            self._count += 1
        else:
            signature.prints.append(replay.print)
        return result

    def _as_it_is(self, reason: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._fullgraph:
            raise refusal(reason, user_line())
        self._note(reason)
        return self._function(*args, **kwargs)

    def _note(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons = [*self.reasons[1 - REPLAYS_LIMIT :], reason]

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return Compiled(copy.deepcopy(self._function, memo), self._fullgraph)

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}>"


def _differ(one: object, other: object) -> bool:
    return one is not other


VISITS[Compiled] = lambda guards, one: guards.see(one._function)


class OptimizedModule(Module):
    """A module whose calls are replayed where they can be. Final.

    Parameters, buffers and modes are those of the module it was made of, whose other attributes it shows, too. Names in
    `state_dict` begin with `_orig_mod.`, as in PyTorch.
    """

    def __init__(self, module: Module, fullgraph: bool) -> None:
        super().__init__()
        self._orig_mod = module
        object.__setattr__(self, "_fullgraph", fullgraph)
        object.__setattr__(self, "_compiled", Compiled(module, fullgraph))

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizedModule:
        memo[id(self)] = made = OptimizedModule(copy.deepcopy(self._orig_mod, memo), self.__dict__["_fullgraph"])
        return made

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        return self.__dict__["_compiled"](*args, **kwargs)

    @property
    def training(self) -> bool:
        """Whether the module is in training mode."""
        module: Module = self._orig_mod
        return module.training

    @training.setter
    def training(self, mode: bool) -> None:
        if "_orig_mod" in self.__dict__.get("_modules", ()):
            self._orig_mod.training = mode

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self.__dict__["_modules"]["_orig_mod"]
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_orig_mod", "training") or "_orig_mod" not in self.__dict__.get("_modules", ()):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "inductor",
    mode: str | None = None,
    options: Mapping[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """A function, or a module, that is recorded a few times and then replayed: its Python does not run again.

    Values and gradients are those of the function itself, to the last bit; their `grad_fn` is CompiledFunctionBackward.
    Calls are told apart by structure, shapes, dtypes and `requires_grad` of the arguments, the values of those that are
    no tensors, grad mode and default dtype. Tensors that the function reads elsewhere, as parameters, are read anew at
    each replay; other things it reads are compared with what they were. What cannot be replayed runs as it is.

    Args:
        model: a function, a Module, or None for a decorator.
        fullgraph: raise for a function that cannot be replayed.
        dynamic: None or False: each shape is recorded by itself.
        backend: "inductor", "eager" or "aot_eager"; no effect, as there is no compiler.
        mode: one of PyTorch's; no effect.
        options: none.
        disable: return the function itself.

    Raises:
        AttributeTypeError: model is not callable, or backend is no name.
        InvalidRequestError: an option is not supported; or, when called with fullgraph, the function reads a
            value, writes to a tensor it did not make, or does something else that a replay would not.

    Example: `gm.compile(lambda x: x * x)(gm.tensor(3.))` is `tensor(9.)`.
    """
    if dynamic:
        _unsupported("dynamic=True", "leave it out: each shape is recorded by itself")
    if options:
        _unsupported(f"options={options!r}", "leave them out: there is no compiler to be told")
    if mode is not None and mode not in _MODES:
        raise InvalidRequestError(
            f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}", got=str(mode), source=user_line()
        )
    if backend not in _BACKENDS:
        _unsupported(f"backend={backend!r}", f"use one of {', '.join(_BACKENDS)}: none has an effect")
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable
        )
    if not callable(model):
        raise AttributeTypeError(
            f"compile takes a function or a Module, but got {type(model).__name__}",
            expected="a callable",
            got=type(model).__name__,
            source=user_line(),
        )
    if disable or isinstance(model, Compiled | OptimizedModule):
        return model
    return OptimizedModule(model, fullgraph) if isinstance(model, Module) else Compiled(model, fullgraph)


def _unsupported(what: str, remedy: str) -> None:
    raise InvalidRequestError(f"compile: {what} is not supported", remedy=remedy, source=user_line())
