"""The recorded graph: its nodes and edges, hooks on several gradients, and hooks on what derivatives read.

The trace keeps what it recorded, whatever hooks make of it: hooks see and replace what derivatives read, and free no
memory here. While there are any, gradients are computed op by op, with what the hooks give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from gradmesh._grad_fn import Node, node_of
from gradmesh._hooks import RemovableHandle, register_tensor_hook
from gradmesh._modes import STATE
from gradmesh._saving import Allowance
from gradmesh._tensor import Tensor
from gradmesh._value import user_line
from gradmesh._views import store_of
from gradmesh_engine.errors import AutogradError, InvalidRequestError

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """Where a gradient goes: a node and which of its results. Takes the place of a tensor in `inputs` of a gradient.

    Attributes:
        node: the `grad_fn`, or the AccumulateGrad of a leaf.
        output_nr: which of the node's results.
        ownership_token: always None: a node keeps what is behind it.
    """

    node: Node
    output_nr: int
    ownership_token: Node | None = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge a tensor's gradient takes, which stays when the tensor is written to.

    Raises AutogradError for a tensor that does not require grad.

    Example: `gm.autograd.grad(y.sum(), gm.autograd.graph.get_gradient_edge(x))`
    """
    value = tensor.value
    if not value.requires_grad:
        raise AutogradError(
            "It is not possible to get the gradient edge for a Tensor that does not require gradients",
            source=user_line(),
        )
    return GradientEdge(*node_of(value))


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write to a tensor, or to each of several, that gradmesh did not see.

    Example: `gm.autograd.graph.increment_version(x)`
    """
    for one in [tensor] if isinstance(tensor, Tensor) else list(tensor):
        store_of(one).counter.current += 1


def _check_hooks_allowed() -> None:
    """Raises AutogradError inside `disable_saved_tensors_hooks`."""
    if STATE.saving_refused is not None:
        raise AutogradError(STATE.saving_refused, source=user_line())


class saved_tensors_hooks:
    """While it lasts, derivatives read `unpack(pack(tensor))` for a tensor they would read. Final.

    `pack` is called when the tensor is recorded, `unpack` each time it is read; `save_for_backward` counts. Which
    tensors an op's derivative reads is gradmesh's own.

    Args:
        pack: takes a tensor, gives anything; must not write to the tensor.
        unpack: takes what `pack` gave, gives a tensor.

    Example: `with gm.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(), gm.from_numpy): y = x.exp()`
    """

    def __init__(self, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        self._pair = pack, unpack
        self._before: list[Any] = []

    def __enter__(self) -> None:
        _check_hooks_allowed()
        self._before.append(STATE.saving)
        STATE.saving = self._pair

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.saving = self._before.pop()


class save_on_cpu:
    """Does nothing, since all is there already; refused like other hooks. Final.

    Args:
        pin_memory: no effect.
        device_type: no effect.

    Example: `with gm.autograd.graph.save_on_cpu(): y = x.exp()`
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        pass

    def __enter__(self) -> None:
        _check_hooks_allowed()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class disable_saved_tensors_hooks:
    """While it lasts, entering `saved_tensors_hooks` raises AutogradError. Final.

    Args:
        error_message: what it says.

    Raises AutogradError when there are hooks already.

    Example: `with gm.autograd.graph.disable_saved_tensors_hooks("not here"): ...`
    """

    def __init__(self, error_message: str) -> None:
        self._message = error_message
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        if STATE.saving is not None:
            raise AutogradError(self._message, source=user_line())
        self._before.append(STATE.saving_refused)
        STATE.saving_refused = self._message

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.saving_refused = self._before.pop()


class allow_mutation_on_saved_tensors:
    """While it lasts, what derivatives read may be written to: they read what was there before. Final.

    Nothing is copied: values are immutable underneath. What was recorded inside is differentiated inside.

    Raises AutogradError when entered inside another one.

    Example: `with gm.autograd.graph.allow_mutation_on_saved_tensors(): ...`
    """

    def __enter__(self) -> allow_mutation_on_saved_tensors:
        if STATE.allowance is not None:
            raise AutogradError("allow_mutation_on_saved_tensors contexts cannot be nested", source=user_line())
        STATE.allowance = Allowance()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        STATE.allowance = None

    def clear(self) -> None:
        """Nothing recorded so far is differentiated any more."""
        if STATE.allowance is not None:
            STATE.allowance.over = True
            STATE.allowance = Allowance()


class _Several:
    """Collects the gradients of several tensors in one pass. Final."""

    def __init__(self, tensors: Sequence[Tensor], call: Callable[[Any], Any], every: bool) -> None:
        self._edges = [get_gradient_edge(tensor) for tensor in tensors]
        self._call = call
        self._every = every
        self._pass: Any = None
        self._missing = 0
        self._found: list[Tensor | None] = []

    def take(self, index: int, gradient: Tensor) -> None:
        """One gradient has arrived."""
        current = STATE.passing
        if current is not self._pass:
            self._pass = current
            self._found = [None] * len(self._edges)
            self._missing = sum([current.runs(edge.node._made) for edge in self._edges])
            if not self._every:
                self._call(gradient)
        self._found[index] = gradient
        self._missing -= 1
        if not self._missing:
            found, self._found, self._pass = self._found, [], None
            if self._every:
                self._call(found)


class _Handles:
    """Takes several hooks away again. Final."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Take them away. Idempotent."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[[Any], Any], *, mode: str = "all") -> _Handles:
    """Call `fn` once in every backward pass with the gradients of several tensors.

    Args:
        tensors: they require grad.
        fn: called with a list, None for tensors the pass does not reach, once all gradients are there ("all"); or with
            the first that is there ("any").
        mode: "all" or "any".

    Raises InvalidRequestError for another mode, AutogradError for a tensor that does not require grad.

    Example: `gm.autograd.graph.register_multi_grad_hook([x, y], print)`
    """
    if mode not in ("all", "any"):
        raise InvalidRequestError(f"Expects mode to be one of ('all', 'any') but got {mode}", source=user_line())
    several = _Several(tensors, fn, mode == "all")

    def hook(index: int) -> Callable[[Any], Any]:
        return lambda gradient: several.take(index, gradient)

    return _Handles([register_tensor_hook(tensor, hook(index)) for index, tensor in enumerate(tensors)])
