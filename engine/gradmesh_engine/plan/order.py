"""The order of a stage's nodes: values are used soon after they are made, so that few live and those are in cache."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final

from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import primitive_of
from gradmesh_engine.plan.stages import Cut
from gradmesh_engine.plan.types import Stage

_MOST_NODES: Final = 256
"""Longer bodies stay as they are: the time to order them grows with the square of their length."""

_STEP: Final = 0.05
"""What each step since an operand was last in use weighs, beside memory that an op needs or lets go of."""


def in_order(graph: Graph, cut: Cut) -> Cut:
    """The cut with the body of every stage in an order by `_next_uses`. Deterministic in the graph alone."""
    stages = [
        replace(stage, body=_next_uses(graph, stage)) if len(stage.body) <= _MOST_NODES else stage
        for stage in cut.stages
    ]
    return replace(cut, stages=tuple(stages))


def _next_uses(graph: Graph, stage: Stage) -> tuple[int, ...]:
    """Greedily: of what can run next, views, then what frees most, needs least and was in use last."""
    first, sizes, body = len(graph.inputs), graph.nbytes, set(stage.body)
    # Values that are made here or come block by block, by the memory they are in: a view's is what it views.
    blocked = {slot.value for slot in stage.reads if slot.dim is not None} | {first + index for index in body}
    elsewhere = {slot.value for slot in stage.stores} | {partial.value for partial in stage.partials}
    memory: dict[int, int] = {}
    operands: dict[int, list[int]] = {}
    waits: dict[int, int] = {}
    users: dict[int, list[int]] = {}
    uses: dict[int, int] = {}
    for index in stage.body:
        node, value = graph.nodes[index], first + index
        viewed = node.inputs[0] if node.inputs and primitive_of(node.op).view is not None else value
        memory[value] = memory.get(viewed, viewed)
        operands[index] = sorted({memory.get(i, i) for i in node.inputs} & blocked)
        for i in operands[index]:
            uses[i] = uses.get(i, 0) + 1
        made = {i - first for i in node.inputs} & body
        waits[index] = len(made)
        for i in made:
            users.setdefault(i, []).append(index)
    latest: dict[int, int] = {}
    order: list[int] = []

    def weight(index: int) -> tuple[float, int]:
        value = first + index
        if memory[value] != value:
            return -inf, index
        total = 0.0 if value in elsewhere else float(sizes[value])
        for i in operands[index]:
            total += sizes[i] * ((i not in latest) - (uses[i] == 1))
            total += sizes[i] * _STEP * (len(order) - latest.get(i, 0))
        return total, index

    ready = [index for index in stage.body if not waits[index]]
    while ready:
        index = min(ready, key=weight)
        ready.remove(index)
        order.append(index)
        for i in operands[index]:
            uses[i] -= 1
        latest.update(dict.fromkeys([*operands[index], memory[first + index]], len(order)))
        for user in users.get(index, ()):
            waits[user] -= 1
            if not waits[user]:
                ready.append(user)
    return tuple(order)
