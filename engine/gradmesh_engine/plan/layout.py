"""Which way the values of a block lie: C order, or turned, the split axis innermost.

NumPy starts its loop anew for every run of elements along which no operand changes the way it broadcasts, and
for every run it reduces. Where the dims behind the split axis are short, so are these runs; in a turned
block they are as long as the block. Turned values are values of the graph, of permuted shape: whatever plans
and runs a graph knows nothing of this. Values that meet in pointwise nodes lie the same way. Of each set of
such values the cheaper way is taken: a rule of the graph and its shapes only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gradmesh_engine.builder import Builder, V
from gradmesh_engine.graph import Graph, Node, attrs_of
from gradmesh_engine.ops import Order, primitive_of
from gradmesh_engine.plan.axes import Axis

START_COST: Final = 36.0
"""Adds' worth of time a run of a broadcasting loop takes beside its elements (4 ns against 0.11)."""

SHORT_RUN: Final = 256
"""Elements up to which a run does not come to full speed, either:"""

SHORT_COST: Final = 0.5
"""Adds' worth of time per element that costs."""

REDUCE_COSTS: Final[Mapping[str, tuple[float, float]]] = {
    "reduce_sum": (15.0, 6.0),
    "reduce_max": (500.0, 6.0),
    "reduce_min": (500.0, 6.0),
    "reduce_prod": (500.0, 16.0),
}
"""Adds' worth of time that short runs cost a reduction: per run, and the most per element."""

TURN_COST: Final = 6.0
"""Adds' worth of time per element that turning a block takes."""

LEAST_GAIN: Final = 0.25
"""Adds' worth of time that turning must gain per element of every node it concerns."""


@dataclass(frozen=True)
class Scope:
    """What there is to be turned.

    Attributes:
        graph: the graph.
        axis: its split axis, or the one along which most of its bytes lie.
        dims: for each value its dim along the axis, None for those that do not run along it.
        runs: for each node how often it runs on all of its rows; 0 for nodes that may not be touched.
        rows: rows of a block.
    """

    graph: Graph
    axis: Axis
    dims: Sequence[int | None]
    runs: Sequence[int]
    rows: int


def is_flat(graph: Graph) -> bool:
    """Whether no value lies otherwise when it is turned, along any axis."""
    shapes = {spec.shape for spec in graph.specs}
    return all(sum([size != 1 for size in shape]) < 2 for shape in shapes)


def may_turn(graph: Graph, axis: Axis) -> bool:
    """Whether any value would lie otherwise when it is turned."""
    specs = graph.specs
    return any([_is_bound(specs[value].shape, dim) for value, dim in axis.dims.items()])


def turn(scope: Scope) -> tuple[Graph, Axis] | None:
    """The graph with the sets of values turned for which that pays, and its axis; None when there are none."""
    sets = _Sets(scope)
    turned = sets.turned()
    return _Turner(sets, turned).result if turned else None


def _order(rank: int, dim: int | None) -> Order:
    """The dims of a turned value by their numbers in C order."""
    if dim is None:
        return tuple(range(rank))
    return (*(d for d in range(rank) if d != dim), dim)


def _is_bound(shape: tuple[int, ...], dim: int | None) -> bool:
    """Whether a value lies otherwise when it is turned."""
    return dim is not None and any(size != 1 for size in shape[dim + 1 :])


def _alike(source: tuple[int, ...], at: int, target: tuple[int, ...], to: int) -> bool:
    """Whether a reshape leaves the axis alone, and what lies before and behind it apart."""
    return source[at] == target[to] and math.prod(source[:at]) == math.prod(target[:to])


class _Sets:
    """Sets of values that have to lie the same way, and what either way costs. Final."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.graph = graph = scope.graph
        self.first = len(graph.inputs)
        self.shapes = [spec.shape for spec in graph.specs]
        self.bound = [_is_bound(shape, dim) for shape, dim in zip(self.shapes, scope.dims, strict=True)]
        self.parent = list(range(len(self.shapes)))
        self.ways = [self._way(index) for index in range(len(graph.nodes))]
        for index, node in enumerate(graph.nodes):
            if self.ways[index] == "same":
                met = [v for v in (*node.inputs, self.first + index) if self.bound[v]]
                for value in met[1:]:
                    self._unite(met[0], value)

    def _way(self, index: int) -> str:
        """How a node takes its operands: "same" way as its result lies, "any" way, or in C order ("plain")."""
        node, dims, shapes = self.graph.nodes[index], self.scope.dims, self.shapes
        value = self.first + index
        if not self.scope.runs[index]:
            return "plain"
        op = primitive_of(node.op)
        if node.op == "expand":
            return "same"
        if node.op == "reshape":
            (x,) = node.inputs
            at, to = dims[x], dims[value]
            apart = at is not None and to is not None and _alike(shapes[x], at, shapes[value], to)
            return "same" if apart else "plain"
        if node.op == "permute":
            return "same" if self.bound[value] and self.bound[node.inputs[0]] else "any"
        if op.turned is None:
            return "plain"
        if op.independent is None:
            orders = [_order(len(shapes[i]), dims[i]) for i in node.inputs]
            known = op.turned(dict(node.attrs), orders, _order(len(shapes[value]), dims[value])) is not None
            return "same" if known else "plain"
        alone = op.independent(
            tuple(self.graph.specs[i] for i in node.inputs), [dims[i] for i in node.inputs], dict(node.attrs)
        )
        return "any" if alone else "plain"

    def _find(self, value: int) -> int:
        while self.parent[value] != value:
            self.parent[value] = value = self.parent[self.parent[value]]
        return value

    def _unite(self, a: int, b: int) -> None:
        self.parent[self._find(a)] = self._find(b)

    def turned(self) -> set[int]:
        """The values to turn."""
        graph, first = self.graph, self.first
        gain = dict.fromkeys(map(self._find, range(len(self.shapes))), 0.0)
        concerned = dict.fromkeys(gain, 0)
        plain = set(graph.outputs)
        for index, node in enumerate(graph.nodes):
            if self.ways[index] == "plain":
                plain.update(node.inputs)
        for value, spec in enumerate(graph.specs):
            if not self.bound[value]:
                continue
            made_plain = value < first or self.ways[value - first] == "plain"
            if made_plain or value in plain:
                gain[self._find(value)] -= TURN_COST * spec.size
        for index, node in enumerate(graph.nodes):
            met = self._met(index)
            if self.ways[index] != "same" or not self.bound[met] or primitive_of(node.op).view is not None:
                continue
            size = graph.specs[met].size * self.scope.runs[index]
            root = self._find(met)
            concerned[root] += size
            gain[root] += (self._extra(index, met, turned=False) - self._extra(index, met, turned=True)) * size
        chosen = {root for root, total in concerned.items() if total and gain[root] > LEAST_GAIN * total}
        return {v for v in range(len(self.shapes)) if self.bound[v] and self._find(v) in chosen}

    def _met(self, index: int) -> int:
        """The value whose elements a node goes through: an operand where it reduces along the axis."""
        value, node = self.first + index, self.graph.nodes[index]
        reduces = node.op in REDUCE_COSTS or (primitive_of(node.op).in_order and self.scope.dims[value] is None)
        return node.inputs[0] if reduces else value

    def _extra(self, index: int, met: int, *, turned: bool) -> float:
        """Adds' worth of time per element that a node takes because its runs are short."""
        node = self.graph.nodes[index]
        in_order = primitive_of(node.op).in_order
        if in_order:
            return START_COST / self.scope.rows if turned else in_order
        patterns = self._patterns(node, met)
        if not patterns:
            return 0.0
        shape = list(self.shapes[met])
        dim = self.scope.dims[met]
        assert dim is not None
        shape[dim] = max(1, shape[dim] * self.scope.rows // self.scope.axis.length)
        order = _order(len(shape), dim) if turned else tuple(range(len(shape)))
        run, inner = 1, None
        for d in reversed(order):
            if shape[d] == 1:
                continue
            pattern = tuple(p[d] for p in patterns)
            if inner is None:
                inner = pattern
            if pattern != inner:
                break
            run *= max(shape[d], 1)
        else:
            return 0.0
        if node.op not in REDUCE_COSTS:
            return START_COST / run + SHORT_COST * (run < SHORT_RUN)
        per_run, most = REDUCE_COSTS[node.op]
        return min(most, per_run / run)

    def _patterns(self, node: Node, met: int) -> list[tuple[bool, ...]]:
        """For each operand that broadcasts in which dims it does; for a reduction in which dims it reduces."""
        if node.op in REDUCE_COSTS:
            dims = node.attr("dims")
            assert isinstance(dims, tuple)
            return [tuple(d in dims for d in range(len(self.shapes[met])))]
        found = []
        for i in dict.fromkeys(node.inputs):
            if i < self.first or self.graph.nodes[i - self.first].op != "expand":
                continue
            source = self.shapes[self.graph.nodes[i - self.first].inputs[0]]
            padded = (1,) * (len(self.shapes[i]) - len(source)) + source
            found.append(tuple(have == 1 for have in padded))
        return [p for p in found if not all(p)]


class _Turner:
    """Emits a graph anew with some of its values turned. Final."""

    def __init__(self, sets: _Sets, turned: set[int]) -> None:
        self.sets = sets
        self.scope = scope = sets.scope
        self.graph = graph = scope.graph
        self.turned = turned
        self.builder = Builder(graph.inputs)
        self.dims: dict[int, int] = {}  # of the values of the new graph
        self.ways: list[dict[bool, V]] = []  # of each value of the old one: in C order, turned
        for value in range(len(graph.inputs)):
            self._made(value, False, self.builder.value(value))
        for index, node in enumerate(graph.nodes):
            self.builder.origin, self.builder.segment = node.origin, node.segment
            value = len(graph.inputs) + index
            lies = value in turned or (node.op != "expand" and any(i in turned for i in node.inputs))
            if self.sets.ways[index] == "plain" or not lies:
                operands = [self.way(i, False) for i in node.inputs]
                made = self.builder.append(node.op, tuple(v.id for v in operands), node.attrs, node.outputs[0])
                self._made(value, False, made)
            elif node.op in _TURNS:
                self._made(value, value in turned, _TURNS[node.op](self, node, value))
            else:
                self._rule(node, value, any_way=self.sets.ways[index] == "any")
        outputs = [self.way(value, False) for value in graph.outputs]
        made_graph = self.builder.build(outputs, graph.sources)
        axis = scope.axis
        size = sum(made_graph.specs[value].nbytes for value in self.dims)
        self.result = made_graph, Axis(axis.length, self.dims, size)

    def order(self, value: int, turned: bool) -> Order:
        """The dims of a value, as it lies, by their numbers in C order."""
        return _order(len(self.graph.specs[value].shape), self.scope.dims[value] if turned else None)

    def shape(self, value: int, turned: bool) -> tuple[int, ...]:
        """The shape of a value as it lies."""
        shape = self.graph.specs[value].shape
        return tuple(shape[d] for d in self.order(value, turned))

    def way(self, value: int, turned: bool) -> V:
        """A value as it lies in C order or turned; it is turned where that has not been done."""
        ways = self.ways[value]
        if turned not in ways:
            (other,) = ways.values()
            segment, self.builder.segment = self.builder.segment, self._segment(value)
            if self.sets.bound[value]:
                order = self.order(value, True)
                dims = order if turned else tuple(order.index(d) for d in range(len(order)))
                made: V = primitive_of("turn")(other, dims=dims)
            else:
                made = primitive_of("reshape")(other, shape=self.shape(value, turned))
            self.builder.segment = segment
            self._keep(value, turned, made)
        return ways[turned]

    def _segment(self, value: int) -> int:
        """The segment a value was made in."""
        index = value - len(self.graph.inputs)
        return self.graph.nodes[index].segment if index >= 0 else 0

    def native(self, value: int) -> tuple[V, Order]:
        """A value as it was made, and the order of its dims."""
        turned, made = next(iter(self.ways[value].items()))
        return made, self.order(value, turned)

    def _made(self, value: int, turned: bool, made: V) -> None:
        self.ways.append({})
        self._keep(value, turned, made)

    def _keep(self, value: int, turned: bool, made: V) -> None:
        self.ways[value][turned] = made
        dim = self.scope.axis.dims.get(value)
        if dim is not None:
            self.dims[made.id] = len(made.shape) - 1 if turned else dim

    def _rule(self, node: Node, value: int, *, any_way: bool) -> None:
        """A node whose op declares how its attributes change."""
        op = primitive_of(node.op)
        assert op.turned is not None
        if any_way:
            given = [self.native(i) for i in node.inputs]
        else:
            given = [(self.way(i, True), self.order(i, True)) for i in node.inputs]
        turned = value in self.turned or (not any_way and self.scope.dims[value] is not None)
        attrs = op.turned(dict(node.attrs), [order for _, order in given], self.order(value, turned))
        assert attrs is not None, (node, given)
        spec = op.infer(tuple(v.spec for v, _ in given), attrs)[0]
        made = self.builder.append(node.op, tuple(v.id for v, _ in given), attrs_of(attrs), spec)
        assert made.shape == self.shape(value, turned), (node, made.shape)
        self._made(value, turned, made)

    def expand(self, node: Node, value: int) -> V:
        """An operand that runs along the axis is turned, too; one that does not only needs its dims in place."""
        (x,) = node.inputs
        shape = self.shape(value, True)
        source = self.graph.specs[x].shape
        if self.scope.dims[x] is not None and source[self.scope.dims[x] or 0] != 1:
            return self._expanded(self.way(x, True), shape)
        if not source:
            return self._expanded(self.way(x, False), shape)
        padded = (1,) * (len(shape) - len(source)) + source
        return self._expanded(
            primitive_of("reshape")(self.way(x, False), shape=tuple(padded[d] for d in self.order(value, True))), shape
        )

    @staticmethod
    def _expanded(v: V, shape: tuple[int, ...]) -> V:
        result: V = primitive_of("expand")(v, shape=shape)
        return result

    def reshape(self, node: Node, value: int) -> V:
        """What lies before and behind the axis is reshaped apart from it."""
        return primitive_of("reshape")(self.way(node.inputs[0], True), shape=self.shape(value, True))

    def permute(self, node: Node, value: int) -> V:
        """The same view of an operand that lies otherwise."""
        (x,) = node.inputs
        operand, order = self.native(x) if value not in self.turned else (self.way(x, True), self.order(x, True))
        dims = node.attr("dims")
        assert isinstance(dims, tuple)
        wanted = tuple(order.index(dims[d] % len(dims)) for d in self.order(value, value in self.turned))
        if wanted == tuple(range(len(wanted))):
            return operand
        result: V = primitive_of("permute")(operand, dims=wanted)
        return result


_TURNS: Final = {"expand": _Turner.expand, "reshape": _Turner.reshape, "permute": _Turner.permute}
"""Layout changes, which have to do with the order of dims themselves."""
