"""Bags: sums of rows of a table without the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.graph import Graph, Node
from gradmesh_engine.ops import primitive_of
from gradmesh_engine.simplify.rewriter import Rewriter

_LONGEST: Final = 64
"""Rows that are added up one after the other, at most: longer sums are more exact in pieces."""

_NARROWEST: Final = 8
"""Elements of a row, at least: calls of loops over shorter ones take longer than making the rows."""


def bags(graph: Graph) -> Graph:
    """Sums over what only they take become one op."""
    if not any([node.op == "take" for node in graph.nodes]):
        return graph
    first = len(graph.inputs)
    uses = [0] * len(graph.specs)
    for value in (*graph.outputs, *(i for node in graph.nodes for i in node.inputs)):
        uses[value] += 1

    def reduce_sum(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        made = graph.nodes[node.inputs[0] - first] if node.inputs[0] >= first else None
        if made is None or made.op != "take" or made.attr("dim") != 0 or uses[node.inputs[0]] != 1:
            return None
        x, index = (rw.values[i] for i in made.inputs)
        fits = index.ndim > 0 and 0 < index.shape[-1] <= _LONGEST and math.prod(x.shape[1:]) >= _NARROWEST
        if node.attr("dims") != (index.ndim - 1,) or x.dtype not in (dtypes.float32, dtypes.float64) or not fits:
            return None
        result: V = primitive_of("take_sum")(x, index, wrap=made.attr("wrap"))
        return result

    return Rewriter(graph, {"reduce_sum": reduce_sum}).graph
