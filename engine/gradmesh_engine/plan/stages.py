"""Cut a graph into stages along one axis.

A node is *split* when it runs block by block, *whole* when it runs once. A reduction over the axis
is a partial until its stage ends; whatever needs its value belongs to a later stage. A split value
that a later stage needs is computed again there when a short chain of cheap ops gives it or a
segment asks for it, and stored otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gradmesh_engine.budget import spend
from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import Factor, primitive_of
from gradmesh_engine.plan.axes import Axis
from gradmesh_engine.plan.segments import computed_again
from gradmesh_engine.plan.types import Partial, Slot, Stage

RECOMPUTE_COST: Final = 12.0
"""Adds per element up to which a chain of cheap ops is computed again rather than stored."""

RECOMPUTE_NODES: Final = 32
"""Nodes such a chain may have: views cost nothing, but each is run again in every stage."""

READ_COST: Final = 4.0
"""Adds per element that keeping and reading an operand of such a chain counts for."""


GATHERED_BYTES: Final = 1 << 20
"""Results of ops that gather from which on their partials, one per group, cost more than what they are made of."""

_NEVER: Final = 1 << 30
_FULL: Final = float("inf")


@dataclass(frozen=True)
class Cut:
    """The outcome: stages, and where every value lives.

    Attributes:
        stages: in order.
        dims: for each value its dim along the axis, None for whole values.
        body_runs: for every node in how many stages' bodies it runs.
    """

    stages: tuple[Stage, ...]
    dims: tuple[int | None, ...]
    body_runs: tuple[int, ...]


def _governing(
    graph: Graph, node: int, factors: Sequence[Factor], dims: Sequence[int | None]
) -> tuple[bool, Factor | None]:
    """Whether a node meets the axis at all, and the one factor along which it can be cut."""
    inputs = graph.nodes[node].inputs
    result = graph.first_values[node]
    on_axis = [dims[i] for i in inputs]
    if dims[result] is None and all(d is None for d in on_axis):
        return False, None
    for factor in factors:
        if dims[result] is not None and factor.result != dims[result]:
            continue
        if dims[result] is None and factor.result is not None:
            continue
        if factor.kind != "map" and factor.result is not None:
            continue
        if all(have == along for have, along in zip(on_axis, factor.operands, strict=True)):
            return True, factor
    return True, None


@dataclass
class _Draft:
    body: set[int] = field(default_factory=set)
    reads: dict[int, Slot] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)
    partials: dict[int, Partial] = field(default_factory=dict)
    stores: set[int] = field(default_factory=set)


def cut(graph: Graph, rules: Sequence[Sequence[Factor]], axis: Axis | None, segments: bool = False) -> Cut:
    """The stages of `graph` split along `axis`; without one, a single stage that runs whole.

    With `segments`, what is made inside of the nodes' segments is not stored.
    """
    if axis is None:
        return _whole(graph)
    first = len(graph.inputs)
    count = len(graph.specs)
    dims: list[int | None] = [None] * count
    length = axis.length
    for value, dim in axis.dims.items():
        dims[value] = dim
    governing: list[Factor | None] = []
    split: list[bool] = []
    for index in range(len(graph.nodes)):
        meets, factor = _governing(graph, index, rules[index], dims)
        split.append(factor is not None)
        governing.append(factor)
    for index in _gathered(graph, governing):
        split[index], governing[index] = False, None
    # What a whole node makes is complete, whatever its dims: the body reads it slice by slice.
    level = [0] * count  # whole values: the stage at which they are ready; split ones: their home stage
    is_split = [False] * count
    for index, node in enumerate(graph.nodes):
        value = first + index
        ready = 0
        for i in node.inputs:
            at = level[i]
            if is_split[i] and not split[index]:
                at += 1  # a whole node waits for the last block
            ready = max(ready, at)
        factor = governing[index]
        if factor is not None and factor.result is None:
            level[value] = ready + 1  # combined when the stage ends
        else:
            level[value] = ready
            is_split[value] = factor is not None
    home = _homes(graph, governing, level, is_split)
    kept: set[int] = set()
    while True:
        spend(len(graph.nodes) // 4)
        chain = _chain_costs(graph, is_split, kept)
        drafts, stored = _draft(graph, governing, split, is_split, home, chain, dims, length)
        later = _further(graph, is_split, home, drafts, stored) - kept
        if not later:
            if segments:
                cheap = [cost <= RECOMPUTE_COST for cost in chain]
                again, anchored = computed_again(graph, is_split, cheap, stored, _complete(graph, split))
                chain = [0.0 if i in again else _FULL if i in anchored else cost for i, cost in enumerate(chain)]
                drafts, stored = _draft(graph, governing, split, is_split, home, chain, dims, length)
            return _finish(graph, drafts, dims, length, is_split, first)
        kept |= later


def _gathered(graph: Graph, governing: Sequence[Factor | None]) -> list[int]:
    """The reductions that had better run once, and what only they read expanded.

    A gradient of a large table of which few rows are used is larger than all that is added to it.
    """
    first, found = len(graph.inputs), []
    for index, node in enumerate(graph.nodes):
        size = node.outputs[0].nbytes if primitive_of(node.op).gathers and _reduces(governing[index]) else 0
        if size < GATHERED_BYTES:
            continue
        expanded = [
            i - first
            for i in node.inputs
            if i >= first and graph.nodes[i - first].op == "expand" and _only_use(graph, i, index)
        ]
        read = [v for i in node.inputs for v in (graph.nodes[i - first].inputs if i - first in expanded else (i,))]
        if 2 * sum(graph.specs[v].nbytes for v in read) <= size:
            found += [*expanded, index]
    return found


def _only_use(graph: Graph, value: int, index: int) -> bool:
    """Whether nothing but a node uses a value."""
    users = {at for at, node in enumerate(graph.nodes) if value in node.inputs}
    return users == {index} and value not in graph.outputs


def _whole(graph: Graph) -> Cut:
    """One stage in which every node runs once."""
    spend(len(graph.nodes) // 4)
    first = len(graph.inputs)
    reads = {i for node in graph.nodes for i in node.inputs if i < first}
    results = {value for value in graph.outputs if value >= first}
    whole = tuple(range(len(graph.nodes)))
    stage = Stage(0, whole, (), tuple(sorted(reads)), (), (), (), tuple(sorted(results)))
    return Cut((stage,), (None,) * len(graph.specs), (0,) * len(graph.nodes))


def _draft(
    graph: Graph,
    governing: Sequence[Factor | None],
    split: Sequence[bool],
    is_split: Sequence[bool],
    home: Sequence[int],
    chain: Sequence[float],
    dims: Sequence[int | None],
    length: int,
) -> tuple[list[_Draft], set[int]]:
    """What every stage runs, and the split values kept complete."""
    first = len(graph.inputs)
    last = max([0, *home])
    drafts = [_Draft() for _ in range(last + 1)]
    reductions: list[list[int]] = [[] for _ in drafts]
    for index, factor in enumerate(governing):
        if _reduces(factor):
            reductions[home[index]].append(index)
    stored: set[int] = set()

    def store(value: int) -> None:
        if value not in stored:
            stored.add(value)
            drafts[home[value - first]].stores.add(value)

    # Whole nodes and reductions are needed by construction: the graph has no dead code.
    for value in graph.outputs:
        if value >= first and is_split[value]:
            store(value)
    for index, node in enumerate(graph.nodes):
        if not split[index]:
            drafts[home[index]].whole.add(index)
            for i in node.inputs:
                if i >= first and is_split[i]:
                    store(i)
    for at in range(last, -1, -1):
        draft = drafts[at]
        pending = reductions[at]
        for index in pending:
            factor = governing[index]
            assert factor is not None
            draft.partials[first + index] = Partial(first + index, factor.kind)
        pending += [v - first for v in draft.stores]
        while pending:
            index = pending.pop()
            if index in draft.body:
                continue
            draft.body.add(index)
            if len(draft.body) % 256 == 0:
                spend(64)
            factor = governing[index]
            assert factor is not None
            for i, along in zip(graph.nodes[index].inputs, factor.operands, strict=True):
                if i < first or not is_split[i]:
                    draft.reads[i] = _slot(graph, i, along if dims[i] is not None else None, length)
                elif home[i - first] == at or chain[i] <= RECOMPUTE_COST:
                    pending.append(i - first)
                else:
                    store(i)
                    draft.reads[i] = _slot(graph, i, dims[i], length)
    return drafts, stored


def _complete(graph: Graph, split: Sequence[bool]) -> set[int]:
    """The values that have to be complete: outputs, and what whole nodes read."""
    needed = set(graph.outputs)
    for node, is_split in zip(graph.nodes, split, strict=True):
        if not is_split:
            needed.update(node.inputs)
    return needed


def _further(
    graph: Graph, is_split: Sequence[bool], home: Sequence[int], drafts: Sequence[_Draft], stored: set[int]
) -> set[int]:
    """Values to keep instead of stored ones: all that later stages make of one, made in its own stage already.

    A product whose bias is added again in every later stage had better be kept with its bias.
    """
    first = len(graph.inputs)
    needed = set(graph.outputs)
    for draft in drafts:
        needed.update(i for index in draft.whole for i in graph.nodes[index].inputs)
    users: dict[int, set[int]] = {value: set() for value in stored - needed}
    for at, draft in enumerate(drafts):
        for index in draft.body:
            for i in graph.nodes[index].inputs:
                if i in users and home[i - first] != at:
                    users[i].add(index)
    found = set()
    for value, indices in users.items():
        if len(indices) != 1:
            continue
        (index,) = indices
        at = home[value - first]
        if (
            home[index] == at
            and index in drafts[at].body
            and is_split[first + index]
            and graph.nbytes[first + index] <= graph.nbytes[value]
        ):
            found.add(first + index)
    return found


def _slot(graph: Graph, value: int, dim: int | None, length: int) -> Slot:
    return Slot(value, dim, 1 if dim is None else graph.specs[value].shape[dim] // length)


def _homes(graph: Graph, governing: Sequence[Factor | None], level: list[int], is_split: Sequence[bool]) -> list[int]:
    """The stage of every node: the first that can run it or, for split values, the first that needs it.

    A split value made later than it could be need not be stored until then. A reduction no split node
    waits for, a loss say, goes where its operands are wanted anyway. `level` is brought up to date.
    """
    first = len(graph.inputs)
    placed = {index: level[first + index] - 1 for index, factor in enumerate(governing) if _reduces(factor)}
    last = max(placed.values(), default=0)
    free = {index for index in _free_reductions(graph, governing) if placed[index] < last}
    need = _needs(graph, governing, level, is_split, {i: at for i, at in placed.items() if i not in free})
    if free:
        wanted = list(need)
        for index, node in enumerate(graph.nodes):
            operands = [wanted[i] for i in node.inputs if is_split[i] and wanted[i] != _NEVER]
            if index in free:
                placed[index] = max([placed[index], *operands])
                level[first + index] = placed[index] + 1
            elif is_split[first + index]:
                if wanted[first + index] == _NEVER:
                    wanted[first + index] = max([level[first + index], *operands])
            elif not _reduces(governing[index]):
                # Whole nodes behind a reduction that moved move along.
                ready = [level[i] + is_split[i] for i in node.inputs]
                level[first + index] = max([level[first + index], *ready])
        need = _needs(graph, governing, level, is_split, placed)
    homes = []
    for index in range(len(graph.nodes)):
        value = first + index
        if index in placed:
            homes.append(placed[index])
        elif is_split[value]:
            homes.append(max(level[value], need[value] if need[value] != _NEVER else 0))
        else:
            homes.append(level[value])
    return homes


def _needs(
    graph: Graph,
    governing: Sequence[Factor | None],
    level: Sequence[int],
    is_split: Sequence[bool],
    placed: Mapping[int, int],
) -> list[int]:
    """For every value the first stage whose nodes use it; reductions that are not placed do not count."""
    first = len(graph.inputs)
    need = [_NEVER] * len(graph.specs)
    for value in graph.outputs:
        need[value] = level[value]
    for index in range(len(graph.nodes) - 1, -1, -1):
        value = first + index
        if _reduces(governing[index]):
            if index not in placed:
                continue
            at = placed[index]
        elif is_split[value]:
            if need[value] == _NEVER:
                continue
            at = max(level[value], need[value])
        else:
            at = level[value] - 1
        for i in graph.nodes[index].inputs:
            need[i] = min(need[i], max(at, 0))
    return need


def _free_reductions(graph: Graph, governing: Sequence[Factor | None]) -> set[int]:
    """The reductions no split node depends on."""
    first = len(graph.inputs)
    awaited = [False] * len(graph.specs)
    free = set()
    for index in range(len(graph.nodes) - 1, -1, -1):
        factor = governing[index]
        if _reduces(factor) and not awaited[first + index]:
            free.add(index)
        if awaited[first + index] or factor is not None:
            for i in graph.nodes[index].inputs:
                awaited[i] = True
    return free


def _reduces(factor: Factor | None) -> bool:
    return factor is not None and factor.result is None


def _chain_costs(graph: Graph, is_split: Sequence[bool], stored: set[int]) -> list[float]:
    """For each split value the adds per element of making it by cheap ops alone of what is stored.

    Infinite where another op is last, and for what is stored in any case.
    """
    first = len(graph.inputs)
    costs = [0.0] * len(graph.specs)
    lengths = [0] * len(graph.specs)
    for index, node in enumerate(graph.nodes):
        value = first + index
        if not is_split[value]:
            continue
        op = primitive_of(node.op)
        if not op.cheap or value in stored:
            costs[value] = _FULL
            continue
        spec = node.outputs[0]
        own = op.cost(tuple(graph.specs[i] for i in node.inputs), spec, dict(node.attrs)) / max(spec.size, 1)
        lengths[value] = 1 + sum([lengths[i] for i in node.inputs if is_split[i]])
        if lengths[value] > RECOMPUTE_NODES:
            costs[value], lengths[value] = _FULL, 0
            continue
        kept = [READ_COST if costs[i] == _FULL else costs[i] for i in node.inputs if is_split[i]]
        costs[value] = own + sum(kept)
    return costs


def _finish(
    graph: Graph,
    drafts: Sequence[_Draft],
    dims: Sequence[int | None],
    length: int,
    is_split: Sequence[bool],
    first: int,
) -> Cut:
    needed_whole: set[int] = set(graph.outputs)
    runs = [0] * len(graph.nodes)
    for draft in drafts:
        for index in draft.whole:
            needed_whole.update(graph.nodes[index].inputs)
        needed_whole.update(draft.reads)
        for index in draft.body:
            runs[index] += 1
    stages = []
    outputs = set(graph.outputs)
    # For each value the last stage whose whole nodes, and whose blocks, need it.
    last_whole: dict[int, int] = {}
    last_read: dict[int, int] = {}
    for at, draft in enumerate(drafts):
        last_whole.update((i, at) for index in draft.whole for i in graph.nodes[index].inputs)
        last_read.update((i, at) for i in draft.reads)
    for at, draft in enumerate(drafts):
        inside = {first + i for i in draft.whole}
        outside = {i for index in draft.whole for i in graph.nodes[index].inputs} - inside
        later = {v for v in inside if v in outputs or last_whole.get(v, -1) > at or last_read.get(v, -1) >= at}
        stores = [_slot(graph, value, dims[value], length) for value in sorted(draft.stores)]
        stages.append(
            Stage(
                index=at,
                whole=tuple(sorted(draft.whole)),
                body=tuple(sorted(draft.body)),
                whole_reads=tuple(sorted(outside)),
                reads=tuple(draft.reads[v] for v in sorted(draft.reads)),
                partials=tuple(draft.partials[v] for v in sorted(draft.partials)),
                stores=tuple(stores),
                results=tuple(sorted(later)),
            )
        )
    # Dims of values that are only ever whole mean nothing to a run.
    read_split = {slot.value for stage in stages for slot in stage.reads if slot.dim is not None}
    live_dims = tuple(dim if is_split[value] or value in read_split else None for value, dim in enumerate(dims))
    return Cut(tuple(stages), live_dims, tuple(runs))
