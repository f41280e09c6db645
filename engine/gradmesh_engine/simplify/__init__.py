"""Simplify a graph of primitives: named passes, each a small table, each graph to graph.

The order: markers go first, since they hide structure from every later rule; tables take numbers along before
these move; scalar factors move before constants fold, since moving makes products of constants, and before signs
become operations; algebra and folding make nodes dead; products are looked at when their factors are known, which
is after that; sums of rows are taken when no scalar stands between; common subexpressions merge whenever a graph
is re-emitted; dead code goes last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gradmesh_engine.graph import Graph
from gradmesh_engine.simplify.algebra import algebra, dead_code, markers, signs
from gradmesh_engine.simplify.bags import bags
from gradmesh_engine.simplify.products import products
from gradmesh_engine.simplify.scalars import scalars
from gradmesh_engine.simplify.tables import tables

__all__ = ["PASSES", "simplify"]

PASSES: Final[tuple[tuple[str, Callable[[Graph], Graph]], ...]] = (
    ("dead code", dead_code),
    ("markers", markers),
    ("algebra", algebra),
    ("dead code", dead_code),
    ("tables", tables),
    ("scalars", scalars),
    ("algebra", algebra),
    ("signs", signs),
    ("dead code", dead_code),
    ("products", products),
    ("bags", bags),
    ("dead code", dead_code),
)


def simplify(graph: Graph) -> Graph:
    """All passes, in order; one that has left this very graph as it is has nothing to do again."""
    left: dict[str, Graph] = {}
    for name, run in PASSES:
        if left.get(name) is not graph:
            graph = left[name] = run(graph)
    return graph
