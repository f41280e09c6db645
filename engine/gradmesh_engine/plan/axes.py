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
    """Union-find over (value, dim). A union that would put two dims of one value together is refused."""

    def __init__(self, graph: Graph) -> None:
        self.parent: dict[tuple[int, int], tuple[int, int]] = {}
        self.members: dict[tuple[int, int], dict[int, int]] = {}
        self.smallest: dict[tuple[int, int], int] = {}
        for value, spec in enumerate(graph.specs):
            for dim, size in enumerate(spec.shape):
                if size > 1:
                    key = (value, dim)
                    self.parent[key] = key
                    self.members[key] = {value: dim}
                    self.smallest[key] = size

    def find(self, key: tuple[int, int]) -> tuple[int, int]:
        root = key
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[key] != root:
            self.parent[key], key = root, self.parent[key]
        return root

    def union(self, a: tuple[int, int], b: tuple[int, int]) -> None:
        a, b = self.find(a), self.find(b)
        if a == b:
            return
        if len(self.members[a]) < len(self.members[b]):
            a, b = b, a
        large, small = self.members[a], self.members[b]
        if any(value in large and large[value] != dim for value, dim in small.items()):
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
    for node, value, factors in zip(graph.nodes, graph.first_values, rules, strict=True):
        for factor in factors:
            items = [(i, d) for i, d in zip(node.inputs, factor.operands, strict=True) if d is not None]
            if factor.result is not None:
                items.append((value, factor.result))
            items = [item for item in items if item in classes.parent]
            for other in items[1:]:
                classes.union(items[0], other)
    axes = []
    for root, members in classes.members.items():
        length = classes.smallest[root]
        if all(graph.specs[v].shape[d] % length == 0 for v, d in members.items()):
            size = sum(graph.specs[v].nbytes for v in members)
            axes.append(Axis(length, members, size))
    axes.sort(key=lambda axis: (-axis.bytes, min(axis.dims)))
    return axes[:most]
