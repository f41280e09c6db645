"""Which values of segments are computed again in later stages rather than stored: a user's hint, honoured exactly."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import primitive_of


def computed_again(
    graph: Graph, is_split: Sequence[bool], cheap: Sequence[bool], stored: Collection[int], needed: Collection[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """The values made inside segments that later stages make again, and the cheap ones they read nevertheless.

    What others than a segment's own nodes and its derivatives use is where it begins or ends: that is
    stored, even where it is cheap, if making it again would take the inside of the segment.

    Every bit stays. A kernel gets its operands with the same strides wherever it runs; only a view that is
    stored comes back dense, so none is stored that was not, and what is made of a stored one is not made again.

    Args:
        graph: of primitives.
        is_split: for each value whether it is made block by block.
        cheap: for each value whether later stages make it again in any case.
        stored: values kept complete without the hint.
        needed: values that are outputs, or that whole nodes read.
    """
    first = len(graph.inputs)
    view = [False] * first + [primitive_of(node.op).view is not None for node in graph.nodes]
    inner = _inner(graph, view, needed)
    faithful = [True] * len(graph.specs)
    again: set[int] = set()
    anchored: set[int] = set()
    reaches = [False] * len(graph.specs)  # whether making it again takes what is inside a segment
    for value, node in enumerate(graph.nodes, first):
        if not is_split[value]:
            continue
        for i in node.inputs:
            if not is_split[i] or i in anchored:
                continue
            if cheap[i] or i in again:
                faithful[value] &= faithful[i]
                reaches[value] |= i in again or reaches[i]
            elif view[i]:
                faithful[value] = False
        kept = value in needed or (value in stored and view[value])
        if inner[value] and node.segment > 0 and faithful[value] and not kept:
            again.add(value)
        elif cheap[value] and reaches[value] and not view[value] and (not inner[value] or value in needed):
            anchored.add(value)
    return frozenset(again), frozenset(anchored)


def _inner(graph: Graph, view: Sequence[bool], needed: Collection[int]) -> list[bool]:
    """For each value whether only nodes of its own segment use it: directly, or through views."""
    first = len(graph.inputs)
    inner = [False] * first + [node.segment != 0 for node in graph.nodes]
    for index in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[index]
        outside = view[first + index] and (not inner[first + index] or first + index in needed)
        for i in node.inputs:
            if inner[i] and (outside or abs(node.segment) != abs(graph.nodes[i - first].segment)):
                inner[i] = False
    return inner
