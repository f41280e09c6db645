"""What users attach to tensors and to `grad_fn`s, to be called while backward runs."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from gradmesh._leaf import Leaf
from gradmesh._modes import STATE
from gradmesh._value import Made, user_line
from gradmesh_engine.errors import AutogradError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

_IDS: Final = itertools.count()


class RemovableHandle:
    """Takes a hook away again: `handle.remove()`, or at the end of a `with`. Final."""

    __slots__ = ("_hooks", "id")

    def __init__(self, hooks: dict[int, Any], id: int) -> None:
        self._hooks = hooks
        self.id = id

    @classmethod
    def into(cls, hooks: dict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
        """Put a hook behind those that are there."""
        if STATE.capture is not None:
            STATE.capture.fail("registers a hook")
        id = next(_IDS)
        hooks[id] = hook
        return cls(hooks, id)

    def remove(self) -> None:
        """Take the hook away. Idempotent."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class NodeHooks:
    """What is attached to one node. Final.

    Attributes:
        tensor: by result, hooks on the gradient of the tensor that is this result.
        retain: by result, the tensor that keeps its gradient.
        pre: called with the cotangents of all results.
        post: called with the cotangents of the operands and of the results.
        packed: by operand, then result, what hooks made of what the derivative reads.
        allowance: whether that may have been written to, see _saving.
    """

    __slots__ = ("allowance", "packed", "post", "pre", "retain", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, dict[int, Callable[[Any], Any]]] = {}
        self.retain: dict[int, weakref.ref[Tensor]] = {}
        self.pre: dict[int, Callable[..., Any]] = {}
        self.post: dict[int, Callable[..., Any]] = {}
        self.packed: dict[int, Any] = {}
        self.allowance: Any = None

    @property
    def active(self) -> bool:
        """Whether anything is to be called (gradients to be kept call nothing)."""
        return bool(self.pre or self.post or self.packed or any(self.tensor.values()))


def node_hooks(made: Made) -> NodeHooks:
    """What is attached to a node, made when missing."""
    if made.hooks is None:
        made.hooks = NodeHooks()
    hooks: NodeHooks = made.hooks
    return hooks


def register_tensor_hook(tensor: Tensor, hook: Callable[[Any], Any]) -> RemovableHandle:
    """See Tensor.register_hook."""
    from gradmesh._grad_fn import edge_of

    value = tensor.value
    if not value.requires_grad:
        raise AutogradError("cannot register a hook on a tensor that doesn't require gradient", source=user_line())
    node, index = edge_of(value)
    if isinstance(node, Leaf):
        return RemovableHandle.into(node.hooks, hook)
    return RemovableHandle.into(node_hooks(node).tensor.setdefault(index, {}), hook)


def register_post_hook(tensor: Tensor, hook: Callable[[Any], Any]) -> RemovableHandle:
    """See Tensor.register_post_accumulate_grad_hook."""
    value = tensor.value
    if not value.requires_grad:
        raise AutogradError("cannot register a hook on a tensor that doesn't require gradient", source=user_line())
    if not isinstance(value.meta, Leaf):
        raise AutogradError("post accumulate grad hooks cannot be registered on non-leaf tensors", source=user_line())
    return RemovableHandle.into(value.meta.post, hook)


def retain_grad(tensor: Tensor) -> None:
    """See Tensor.retain_grad."""
    from gradmesh._grad_fn import edge_of

    value = tensor.value
    if not value.requires_grad:
        raise AutogradError("can't retain_grad on Tensor that has requires_grad=False", source=user_line())
    node, index = edge_of(value)
    if not isinstance(node, Leaf):
        node_hooks(node).retain[index] = weakref.ref(tensor)
        tensor._leaf().retains = True


def move_retained(tensor: Tensor, edge: tuple[Made | Leaf, int]) -> None:
    """Keep the gradient of what `tensor` holds after a write, no more that of `edge`, behind what it held before."""
    from gradmesh._grad_fn import edge_of

    value = tensor.value
    node, index = edge
    if value.requires_grad and edge_of(value) != edge and not isinstance(node, Leaf):
        node_hooks(node).retain.pop(index, None)
        retain_grad(tensor)
