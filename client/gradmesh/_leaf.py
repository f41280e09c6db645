"""Where gradients arrive: what a tensor carries besides its content, and edges of the graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor
    from gradmesh._value import Made

Hook = Callable[[Any], Any]


class Leaf:
    """The gradient of one tensor and what is attached to it; outlives the tensor object. Final.

    Attributes:
        tensor: the tensor, while it lives.
        grad: the accumulated gradient, or None.
        hooks: called with a gradient before it is accumulated; may replace it.
        post: called with the tensor after its gradient was accumulated.
        node_hooks: attached to its AccumulateGrad node.
        retains: whether a tensor that is no leaf keeps its gradient.
        view: the AccumulateGrad object users hold, while they hold it.
    """

    __slots__ = ("__weakref__", "grad", "hooks", "node_hooks", "post", "retains", "tensor", "view")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: weakref.ref[Tensor] = weakref.ref(tensor)
        self.grad: Tensor | None = None
        self.hooks: dict[int, Hook] = {}
        self.post: dict[int, Hook] = {}
        self.node_hooks: Any = None
        self.retains = False
        self.view: Any = None


class Edge:
    """Where the gradient of a value goes when not to the op that made it. Final.

    Attributes:
        node: the node that takes the gradient.
        index: as the cotangent of which of its results.
    """

    __slots__ = ("index", "node")

    def __init__(self, node: Made, index: int = 0) -> None:
        self.node = node
        self.index = index
