"""Which dims of which values run together: candidates for the split axis, from the ops' axis rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import Factor, primitive_of


@dataclass(frozen=True)
class Axis:
    """A set of dims that can be cut together.

    Attributes:
        length: the smallest of the dims' sizes; every other is a multiple of it.
        dims: the dim of each value on it.
        bytes: bytes of the values on it.
    """

    length: int
    dims: dict[int, int]
    bytes: int


def factors_of(graph: Graph) -> list[Sequence[Factor]]:
    """The axis rule of every node, evaluated at its shapes."""
    specs = graph.specs
    rules: list[Sequence[Factor]] = []
    for node in graph.nodes:
        op = primitive_of(node.op)
        rules.append(tuple(op.axes(tuple(specs[i] for i in node.inputs), node.outputs[0], **dict(node.attrs))))
    return rules


class _Classes:
    """Union-find over the dims of all values. A union that would put two dims of one value together is refused."""

    def __init__(self, graph: Graph) -> None:
        self.first: list[int] = []  # the number of each value's first dim
        self.parent: list[int] = []
        self.smallest: list[int] = []
        self.members: dict[int, dict[int, int]] = {}
        for value, spec in enumerate(graph.specs):
            self.first.append(len(self.parent))
            for dim, size in enumerate(spec.shape):
                if size > 1:
                    self.members[len(self.parent)] = {value: dim}
                self.parent.append(len(self.parent))
                self.smallest.append(size)

    def find(self, key: int) -> int:
        parent = self.parent
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    def union(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if a == b:
            return
        if len(self.members[a]) < len(self.members[b]):
            a, b = b, a
        large, small = self.members[a], self.members[b]
        for value, dim in small.items():
            if large.get(value, dim) != dim:
                return
        low, high = sorted((self.smallest[a], self.smallest[b]))
        if high % low:
            return
        self.parent[b] = a
        large.update(small)
        self.smallest[a] = low
        del self.members[b]


def candidate_axes(graph: Graph, rules: Sequence[Sequence[Factor]], most: int = 6) -> list[Axis]:
    """The axes along which most bytes lie, largest first."""
    classes = _Classes(graph)
    first, smallest = classes.first, classes.smallest
    for value, (node, factors) in enumerate(zip(graph.nodes, rules, strict=True), len(graph.inputs)):
        for factor in factors:
            keys = [first[i] + d for i, d in zip(node.inputs, factor.operands, strict=True) if d is not None]
            if factor.result is not None:
                keys.append(first[value] + factor.result)
            keys = [key for key in keys if smallest[key] > 1]
            for other in keys[1:]:
                classes.union(keys[0], other)
    axes = []
    for root, members in classes.members.items():
        length = smallest[root]
        if all([graph.specs[v].shape[d] % length == 0 for v, d in members.items()]):
            axes.append(Axis(length, members, sum([graph.nbytes[v] for v in members])))
    axes.sort(key=lambda axis: (-axis.bytes, min(axis.dims)))
    return axes[:most]
