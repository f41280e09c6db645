"""Plan a graph of primitives: pick the split axis, cut stages, fix blocks and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gradmesh_engine.errors import ShapeError
from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.ops import Factor, primitive_of
from gradmesh_engine.plan.axes import Axis, candidate_axes, factors_of
from gradmesh_engine.plan.blocks import BLOCK_BYTES, FEW_BLOCKS, choose_split, is_one_block, live_bytes, written_by
from gradmesh_engine.plan.layout import Scope, is_flat, may_turn, turn
from gradmesh_engine.plan.order import in_order
from gradmesh_engine.plan.packing import pack
from gradmesh_engine.plan.stages import Cut, cut
from gradmesh_engine.plan.text import plan_text
from gradmesh_engine.plan.types import Partial, Plan, Slot, Split, Stage

__all__ = ["Partial", "Plan", "Slot", "Split", "Stage", "plan", "plan_text"]

SMALL_BYTES: Final = 256 << 10
"""Graphs that touch less than this run whole: they are in cache anyway."""

MEMORY_COST: Final = 0.5
"""Adds' worth of time per byte that goes through main memory (0.25 ns against 0.11 ns, 4 bytes)."""

CACHE_COST: Final = 0.05
"""The same for a byte that stays in cache."""

CACHE_LINE: Final = 64
"""Bytes that come from memory together."""


def plan(graph: Graph) -> Plan:
    """The plan of a graph of primitives without dead code. Deterministic in the graph and its segments alone."""
    costs, times = _node_costs(graph)
    moved = _node_bytes(graph)
    flops, work = sum(costs), sum(times)
    touched = sum(moved)
    rules: Sequence[Sequence[Factor]] = ()
    best = _Candidate(None, cut(graph, rules, None), None, False)
    estimate = _estimate(graph, best.cut, None, False, times, moved)
    one_block = is_one_block(graph, work)
    if touched > SMALL_BYTES and not (one_block and is_flat(graph)):
        rules = factors_of(graph)
        axes = candidate_axes(graph, rules)
        cuts: dict[int, Cut] = {}
        for number, axis in enumerate(() if one_block else axes):
            cuts[number] = cut(graph, rules, axis)
            tried = _tried(graph, axis, cuts[number], work)
            if tried is None:
                continue
            cost = _estimate(graph, tried.cut, tried.split, tried.fits, times, moved)
            if sum(cost) < sum(estimate):
                best, estimate = tried, cost
        scope = _scope(graph, rules, best, axes, cuts)
        turned = None if scope is None else turn(scope)
        if turned is not None:
            graph, axis = turned
            rules = factors_of(graph)
            best = _again(graph, rules, best, axis, work)
            times, moved = _node_costs(graph)[1], _node_bytes(graph)
            estimate = _estimate(graph, best.cut, best.split, best.fits, times, moved)
    if (reordered := _reordered(graph, best, work)) is not None:
        best = reordered
        estimate = _estimate(graph, best.cut, best.split, best.fits, times, moved)
    peak = _peak(graph, best.cut, best.split)
    if best.split is not None and any(node.segment > 0 for node in graph.nodes):
        # The same blocks in the same stages, so that every bit stays.
        smaller = replace(best, cut=cut(graph, rules, best.axis, segments=True))
        needs = _peak(graph, smaller.cut, smaller.split)
        if needs < peak:
            best, peak = smaller, needs
            estimate = _estimate(graph, best.cut, best.split, best.fits, times, moved)
    stages, packed = pack(graph, best.cut)
    return Plan(graph, best.split, best.cut.dims, stages, flops, work, tuple(estimate), peak, touched, packed)


@dataclass(frozen=True)
class _Candidate:
    """A way to run a graph: without an axis everything is whole."""

    axis: Axis | None
    cut: Cut
    split: Split | None
    fits: bool


def _tried(graph: Graph, axis: Axis, along: Cut, work: float) -> _Candidate | None:
    """The graph cut along an axis; None where that gives less than two blocks."""
    if not any(stage.body for stage in along.stages):
        return None
    split, fits = choose_split(graph, along, axis.length, work)
    return _Candidate(axis, along, split, fits) if split.blocks >= 2 else None


def _scope(
    graph: Graph, rules: Sequence[Sequence[Factor]], best: _Candidate, axes: Sequence[Axis], cuts: Mapping[int, Cut]
) -> Scope | None:
    """What layout decides on: the blocks of a split graph; where all runs whole, the longest axis as one block.

    None where there is nothing to decide.
    """
    if best.axis is not None and best.split is not None:
        return Scope(graph, best.axis, best.cut.dims, best.cut.body_runs, best.split.block)
    if not axes:
        return None
    number, longest = max(enumerate(axes), key=lambda pair: pair[1].length)
    if not may_turn(graph, longest):
        return None
    along = cuts.get(number) or cut(graph, rules, longest)
    return Scope(graph, longest, along.dims, along.body_runs, longest.length)


def _again(graph: Graph, rules: Sequence[Sequence[Factor]], before: _Candidate, axis: Axis, work: float) -> _Candidate:
    """What was decided, for the graph with values turned."""
    if before.split is None:
        return _Candidate(None, cut(graph, rules, None), None, False)
    again = cut(graph, rules, axis)
    split, fits = choose_split(graph, again, axis.length, work)
    return _Candidate(axis, again, split, fits)


def _reordered(graph: Graph, best: _Candidate, work: float) -> _Candidate | None:
    """What was decided, with the nodes in another order; None where a block holds no more rows in that."""
    if best.axis is None or best.split is None:
        return None
    along = in_order(graph, best.cut)
    split, fits = choose_split(graph, along, best.axis.length, work)
    return _Candidate(best.axis, along, split, fits) if split.block > best.split.block else None


def _node_costs(graph: Graph) -> tuple[list[float], list[float]]:
    """FLOPs, and time in adds, of every node."""
    specs = graph.specs
    costs, times = [], []
    for node in graph.nodes:
        op = primitive_of(node.op)
        about = (tuple(specs[i] for i in node.inputs), node.outputs[0], dict(node.attrs))
        costs.append(op.cost(*about))
        times.append(costs[-1] if op.time is None else op.time(*about))
    return costs, times


def _node_bytes(graph: Graph) -> list[int]:
    sizes, first = graph.nbytes, len(graph.inputs)
    return [
        0 if primitive_of(node.op).view is not None else sizes[value] + sum([sizes[i] for i in node.inputs])
        for value, node in enumerate(graph.nodes, first)
    ]


def _estimate(
    graph: Graph, tried: Cut, split: Split | None, fits: bool, costs: list[float], moved: list[int]
) -> list[float]:
    """Estimated time of each stage of a cut, in adds."""
    found = []
    per_byte = CACHE_COST if fits else MEMORY_COST
    for stage in tried.stages:
        total = blocked = 0.0
        for index in stage.whole:
            total += costs[index] + MEMORY_COST * moved[index]
        for index in stage.body:
            blocked += _blocked_time(graph, tried, split, index, costs[index]) + per_byte * moved[index]
        for slot in (*stage.reads, *stage.stores):
            blocked += _traffic(graph.specs[slot.value], slot, split)
        if split is not None and split.blocks < FEW_BLOCKS:
            blocked *= 1.5
        found.append(total + blocked)
    return found


def _blocked_time(graph: Graph, tried: Cut, split: Split | None, index: int, whole: float) -> float:
    """The time of all of a node's blocks: a product of matrices is slow where its blocks are narrow."""
    node = graph.nodes[index]
    op = primitive_of(node.op)
    if split is None or op.time is None:
        return whole

    def block(value: int) -> TensorSpec:
        spec, dim = graph.specs[value], tried.dims[value]
        if dim is None:
            return spec
        rows = split.block * (spec.shape[dim] // split.length)
        return TensorSpec((*spec.shape[:dim], rows, *spec.shape[dim + 1 :]), spec.dtype)

    try:
        one = op.time(tuple(map(block, node.inputs)), block(graph.first_values[index]), dict(node.attrs))
    except ShapeError:  # an operand is read by another dim than it has on the axis
        return whole
    return one * split.length / split.block


def _traffic(spec: TensorSpec, slot: Slot, split: Split | None) -> float:
    """What moving a slot's value costs, in adds.

    A value read whole is read again for every block; blocks along an inner dim are gathered, by cache lines.
    """
    if split is None or slot.dim is None:
        blocks = 1 if split is None else split.blocks
        return spec.nbytes * (MEMORY_COST + (blocks - 1) * (CACHE_COST if spec.nbytes <= BLOCK_BYTES else MEMORY_COST))
    if all(size == 1 for size in spec.shape[: slot.dim]):
        return MEMORY_COST * spec.nbytes
    run = spec.dtype.itemsize * split.block * slot.scale
    for size in spec.shape[slot.dim + 1 :]:
        run *= size
    return MEMORY_COST * spec.nbytes * (2.0 + CACHE_LINE / max(run, 1))


def _workspace(graph: Graph, nodes: Sequence[int]) -> int:
    """The most bytes one of the nodes needs for itself."""
    specs, most = graph.specs, 0
    for index in nodes:
        node = graph.nodes[index]
        workspace = primitive_of(node.op).workspace
        if workspace is not None:
            most = max(most, workspace(tuple(specs[i] for i in node.inputs), node.outputs[0], dict(node.attrs)))
    return most


def _peak(graph: Graph, best: Cut, split: Split | None) -> int:
    """Planned bytes beyond inputs and outputs: what is stored between stages, partials and buffers."""
    outputs = set(graph.outputs)
    waiting = _waiting(graph, best)
    peak = 0
    for stage in best.stages:
        live = 0
        if split is not None and stage.body:
            per_row = live_bytes(graph, stage.body, stage.reads, (), split.length, written_by(graph, stage))
            live = int(per_row * split.block)
            levels = max(1, split.groups.bit_length())
            live += levels * sum(graph.nbytes[p.value] for p in stage.partials)
        live += _workspace(graph, stage.body)
        whole = int(live_bytes(graph, stage.whole, (), stage.results, 1)) + _workspace(graph, stage.whole)
        live = max(live, whole - sum(graph.nbytes[v] for v in stage.results if v in outputs))
        peak = max(peak, live + waiting[stage.index])
    return peak


def _waiting(graph: Graph, best: Cut) -> list[int]:
    """For each stage the bytes of what is stored in it or earlier, and in it or later for the last time read."""
    last = {
        v: stage.index for stage in best.stages for v in (*stage.whole_reads, *[slot.value for slot in stage.reads])
    }
    waiting = [0] * len(best.stages)
    outputs = set(graph.outputs)
    for stage in best.stages:
        for slot in stage.stores:
            for at in range(stage.index, last.get(slot.value, -1) + 1):
                if slot.value not in outputs:
                    waiting[at] += graph.nbytes[slot.value]
    return waiting
