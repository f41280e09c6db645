"""Numbers that the table of erf takes along: (erf(x) ± s) * f and its like become one op.

The normal distribution's cdf is written so. Values may change in the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.graph import Graph, Node
from gradmesh_engine.ops import primitive_of
from gradmesh_engine.simplify.rewriter import Rewriter


def tables(graph: Graph) -> Graph:
    """Sums with a number, scaled, of an erf in float64 that nothing else uses."""
    if not any(node.op == "erf" for node in graph.nodes):
        return graph
    first = len(graph.inputs)
    uses = [0] * len(graph.specs)
    for value in (*graph.outputs, *(i for node in graph.nodes for i in node.inputs)):
        uses[value] += 1

    def only(value: int, *ops: str) -> Node | None:
        """What made a value that is used once, by one of these ops."""
        node = graph.nodes[value - first] if value >= first and uses[value] == 1 else None
        return node if node is not None and node.op in ops else None

    def scaled(rw: Rewriter, value: int, factor: V) -> V | None:
        """A sum of the old graph times a scalar."""
        node = only(value, "add", "sub")
        if node is None or node.outputs[0].dtype != dtypes.float64 or not node.outputs[0].shape:
            return None
        for position in (0, 1):
            made = only(node.inputs[position], "erf")
            shift = None if made is None else rw.uniform(rw.values[node.inputs[1 - position]])
            if made is None or shift is None:
                continue
            if node.op == "sub":
                shift = -shift  # s - erf(x) is (erf(x) - s) * -1
                factor = factor if position == 0 else -factor
            x = rw.values[made.inputs[0]]
            result: V = primitive_of("scaled_erf")(x, shift, factor)
            return result
        return None

    def mul(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        for position in (0, 1):
            factor = rw.uniform(operands[1 - position])
            result = None if factor is None else scaled(rw, node.inputs[position], factor)
            if result is not None:
                return result
        return None

    def div(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        divisor = rw.uniform(operands[1])
        return None if divisor is None else scaled(rw, node.inputs[0], 1 / divisor)

    return Rewriter(graph, {"mul": mul, "div": div}).graph
