"""Lower a user's graph to primitives: composites expanded, broadcasting and promotion explicit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gradmesh_engine.builder import Builder, V
from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import lookup


def lower_into(builder: Builder, graph: Graph, tagged: Collection[int] = (), segments: Sequence[int] = ()) -> list[V]:
    """Emit `graph` into a builder whose inputs are already there; returns a handle per value.

    Equal nodes are made once, which would make equal values one value. Those in `tagged` (what a
    gradient is asked with respect to) stay apart from their equals. `segments` are those of Query.
    """
    values = [builder.value(i) for i in range(len(graph.inputs))]
    tag = lookup("tag")
    for index, node in enumerate(graph.nodes):
        builder.origin = index
        builder.segment = segments[index] if segments else 0
        try:
            op = lookup(node.op)
            results = op.build(builder, [values[i] for i in node.inputs], dict(node.attrs))
        except GradmeshError as error:
            raise error.at(op=node.op, node=index, source=graph.source(index)) from None
        if tagged:
            results = tuple(
                tag(v, index=number) if number in tagged else v for number, v in enumerate(results, len(values))
            )
        values.extend(results)
    return values


def lower(graph: Graph) -> Graph:
    """The graph in primitives, with the same inputs and outputs."""
    builder = Builder(graph.inputs)
    values = lower_into(builder, graph)
    return builder.build([values[i] for i in graph.outputs], graph.sources)
