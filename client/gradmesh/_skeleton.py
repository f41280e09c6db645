"""What is left of a graph that backward used up: names and edges, without the tensors it held."""

from __future__ import annotations

from functools import cached_property

from gradmesh._leaf import Leaf
from gradmesh._value import Made
from gradmesh_engine import dtypes
from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.ops import lookup


class Skeleton:
    """The shape of a differentiated graph. Final.

    Args:
        graph: the graph, shared by all requests of its structure.
        leaves: for each input the leaf it was, or None.
    """

    def __init__(self, graph: Graph, leaves: tuple[Leaf | None, ...]) -> None:
        self.graph = graph
        self.leaves = leaves
        self._nodes: dict[int, Bone] = {}

    @cached_property
    def tracked(self) -> tuple[bool, ...]:
        """For each value whether gradients flow to it."""
        tracked = [leaf is not None for leaf in self.leaves]
        for node in self.graph.nodes:
            reached = lookup(node.op).differentiable and any(tracked[i] for i in node.inputs)
            tracked.extend([reached and dtypes.is_differentiable(spec.dtype) for spec in node.outputs])
        return tuple(tracked)

    def name(self, index: int) -> str:
        """The class name of a node's `grad_fn`."""
        node = self.graph.nodes[index]
        specs = tuple([self.graph.specs[i] for i in node.inputs])
        return lookup(node.op).grad_name_for(specs, dict(node.attrs))

    def operands(self, index: int) -> tuple[str, list[TensorSpec]]:
        """The op of a node and the specs of its operands."""
        node = self.graph.nodes[index]
        return node.op, [self.graph.specs[i] for i in node.inputs]

    def behind(self, index: int) -> list[tuple[Leaf | Bone | None, int]]:
        """For each operand of a node what is behind it, and which of its results the operand is."""
        found: list[tuple[Leaf | Bone | None, int]] = []
        for number in self.graph.nodes[index].inputs:
            if not self.tracked[number]:
                found.append((None, 0))
            elif number < len(self.leaves):
                found.append((self.leaves[number], 0))
            else:
                producer = self.graph.producers[number]
                found.append((self.bone(producer), number - self.graph.first_values[producer]))
        return found

    def bone(self, index: int) -> Bone:
        """The node of this index, the same object each time."""
        bone = self._nodes.get(index)
        if bone is None:
            bone = self._nodes[index] = Bone(self, index)
        return bone


class Bone(Made):
    """One node of a skeleton. Final."""

    __slots__ = ("__weakref__", "index", "skeleton")

    def __init__(self, skeleton: Skeleton, index: int) -> None:
        self.skeleton = skeleton
        self.index = index
        self.app = None
        self.inputs = ()
        self.code = None
        self.instruction = 0
        self.epoch = 0
        self.segment = 0
        self.freed = True
        self.wrote = False
        self.hooks = None
        self.view = None
