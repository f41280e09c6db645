"""Re-emit a graph through rules; what every pass is made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from gradmesh_engine.builder import Builder, V, constant
from gradmesh_engine.graph import Graph, Node

Rule: TypeAlias = "Callable[[Rewriter, Node, Sequence[V]], V | None]"


_SPREADS = frozenset({"expand", "reshape", "permute"})
_ALIKE = _SPREADS | {"full"}


class Rewriter:
    """Re-emits a graph node by node, applying at most one rule per node. Final.

    Attributes:
        graph: the new graph; the old one itself where nothing changed.
    """

    def __init__(self, graph: Graph, rules: Mapping[str, Rule]) -> None:
        self.builder = Builder(graph.inputs)
        self._roots: tuple[dict[int, int], dict[int, int]] = {}, {}
        self.number = len(graph.inputs)  # of the value being re-emitted, in the old graph
        self.values = values = [self.builder.value(i) for i in range(len(graph.inputs))]  # by number in the old graph
        self._first, self._nodes = len(graph.inputs), self.builder.nodes
        builder, changed = self.builder, False
        again, rule_of, append = builder.again, rules.get, values.append
        for number, node in enumerate(graph.nodes, self.number):
            value, rule = None, rule_of(node.op)
            if rule is not None:
                self.number, builder.origin, builder.segment = number, node.origin, node.segment
                value = rule(self, node, [values[i] for i in node.inputs])
            if value is None:
                # As long as nothing has changed, values have the numbers they had.
                value = again(node, tuple([values[i].id for i in node.inputs]) if changed else node.inputs)
                changed = changed or value.id != number
            else:
                changed = True
            append(value)
        self.graph = builder.build([values[i] for i in graph.outputs], graph.sources) if changed else graph

    def maker(self, value: V) -> Node | None:
        """The node that made a value, or None for an input."""
        index = value.id - self._first
        return self._nodes[index] if index >= 0 else None

    def uniform(self, value: V) -> V | None:
        """The 0-d value every element of `value` has, or None."""
        if not value.spec.shape:
            return self.spread_from(value, scalar=True)
        node = self.maker(value)
        if node is None or node.op not in _ALIKE:
            return None
        value = self.spread_from(value, scalar=True)
        if not value.spec.shape:
            return value
        number = self.constant_of(value)
        return None if number is None else constant(value, number)

    def operand(self, node: Node, index: int = 0) -> V:
        """The handle on an operand of an already emitted node."""
        return self.builder.value(node.inputs[index])

    def spread_from(self, value: V, *, scalar: bool) -> V:
        """Where a value comes from by layout changes alone; no further than to a 0-d one when `scalar`.

        Remembered, so that asking at every node of a long chain takes no longer than the chain.
        """
        node = self.maker(value)
        if node is None or node.op not in _SPREADS:
            return value
        roots = self._roots[scalar]
        passed = []
        while (root := roots.get(value.id)) is None:
            passed.append(value.id)
            node = self.maker(value)
            if node is None or node.op not in _SPREADS or (scalar and not value.ndim):
                root = value.id
                break
            value = self.operand(node)
        roots.update(dict.fromkeys(passed, root))
        return self.builder.value(root)

    def constant_of(self, value: V) -> complex | None:
        """The number every element of `value` has, if the graph says so."""
        node = self.maker(value)
        if node is None or node.op not in _ALIKE:
            return None
        if node.op in _SPREADS:
            node = self.maker(self.spread_from(value, scalar=False))
        if node is None or node.op != "full":
            return None
        number = node.attr("value")
        assert isinstance(number, (bool, int, float, complex))
        return number
