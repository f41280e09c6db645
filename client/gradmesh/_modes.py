"""Grad mode and inference mode: what is recorded for differentiation, per thread and per asyncio task."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])


# Modes belong to a context rather than a thread, so that an asyncio task may await inside `no_grad()`.
GRAD: Final = ContextVar("gradmesh.grad", default=True)
INFERENCE_MODE: Final = ContextVar("gradmesh.inference", default=False)


class State(threading.local):
    """What one thread records under, and what it has recorded. Final.

    Attributes:
        epoch: number of evaluations so far.
        live: tensors whose value may be pending, in the order they were recorded.
        prune: length of `live` at which dead entries are dropped.
        traces: calls with placeholders that are running, see _vmap.
        anomaly: whether gradients are searched for NaN, see autograd.anomaly.
        saving: hooks around what derivatives read, see autograd.graph.
        saving_refused: what to say to who enters such hooks, or None.
        allowance: allows writes to what derivatives read, see _saving.
        passing: the exploration behind the pass whose hooks are running.
        duals: the level of dual tensors, see autograd.forward_ad, or None.
        pulling: how many backwards of custom Functions are running, one in the other.
        segment: number of the checkpoint that records, minus that for its derivatives, 0 for none.
        capture: what watches a function that is recorded to be replayed, see _capture, or None.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.live: list[weakref.ref[Tensor]] = []
        self.prune = 4096
        self.traces: list[Any] = []
        self.anomaly = False
        self.segment = 0
        self.pulling = 0
        self.saving: Any = None
        self.saving_refused: str | None = None
        self.allowance: Any = None
        self.passing: Any = None
        self.duals: Any = None
        self.capture: Any = None

    @property
    def grad(self) -> bool:
        """Whether ops leave a `grad_fn`. Settable."""
        return GRAD.get()

    @grad.setter
    def grad(self, flag: bool) -> None:
        GRAD.set(flag)

    @property
    def inference(self) -> bool:
        """Whether inference mode is on. Settable."""
        return INFERENCE_MODE.get()

    @inference.setter
    def inference(self, flag: bool) -> None:
        INFERENCE_MODE.set(flag)


STATE = State()


class _Mode:
    """A context manager that is a decorator too. Abstract."""

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def _again(self) -> _Mode:
        """A fresh mode with the same arguments, so that a decorated function can be re-entered."""
        raise NotImplementedError

    def _wrap(self, function: _F) -> _F:
        if inspect.isgeneratorfunction(function):
            return cast(_F, _wrap_generator(self, function))

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return cast(_F, wrapper)


def _wrap_generator(mode: _Mode, function: Callable[..., Any]) -> Callable[..., Any]:
    # The mode holds while the generator runs, not while its consumer does.
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        step: Callable[[], Any] = functools.partial(next, generator)
        while True:
            try:
                with mode._again():
                    item = step()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
            except GeneratorExit:
                with mode._again():
                    generator.close()
                raise
            except BaseException as error:
                step = functools.partial(generator.throw, error)
            else:
                step = functools.partial(generator.send, sent)

    return wrapper


class _GradMode(_Mode):
    """Sets the grad flag while it lasts. Abstract."""

    _flag: bool

    def __enter__(self) -> None:
        self._before = STATE.grad
        STATE.grad = self._flag

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.grad = self._before

    def _again(self) -> _Mode:
        mode: _Mode = type(self)()
        return mode

    def __new__(cls, function: Any = None) -> Any:
        # `@no_grad` without parentheses decorates.
        mode = super().__new__(cls)
        if function is None or not callable(function):
            return mode
        return mode._wrap(function)

    def __call__(self, function: _F) -> _F:
        return self._wrap(function)


class no_grad(_GradMode):
    """Record nothing for differentiation: a context manager and a decorator. Final.

    Example:
        with gm.no_grad():
            weight -= 0.1 * weight.grad
    """

    _flag = False


class enable_grad(_GradMode):
    """Record for differentiation again inside `no_grad`: a context manager and a decorator. Final."""

    _flag = True


class set_grad_enabled(_Mode):
    """Set grad mode at once; as a context manager, until its end; as a decorator, inside the function. Final."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._before = STATE.grad
        STATE.grad = self.mode

    def __enter__(self) -> None:
        STATE.grad = self.mode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.grad = self._before

    def _again(self) -> set_grad_enabled:
        return set_grad_enabled(self.mode)

    def __call__(self, function: _F) -> _F:
        STATE.grad = self._before
        return self._wrap(function)

    def __repr__(self) -> str:
        return f"set_grad_enabled(mode={self.mode})"


class inference_mode(_Mode):
    """Like `no_grad`, and tensors made inside may never take part in recording. Final."""

    def __new__(cls, mode: Any = True) -> Any:
        if not isinstance(mode, bool) and callable(mode):
            return cls(True)._wrap(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        self._before = STATE.grad, STATE.inference
        STATE.grad, STATE.inference = (False, True) if self.mode else (self._before[0], False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.grad, STATE.inference = self._before

    def _again(self) -> inference_mode:
        return inference_mode(self.mode)

    def __call__(self, function: _F) -> _F:
        return self._wrap(function)


def is_grad_enabled() -> bool:
    """Whether ops are recorded for differentiation in this thread or asyncio task."""
    return STATE.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on in this thread or asyncio task."""
    return STATE.inference
