"""Sizes: rows per block, blocks per group, planned bytes. Rules of the graph and its shapes only."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from typing import Final

from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import primitive_of
from gradmesh_engine.plan.stages import Cut
from gradmesh_engine.plan.types import Slot, Split, Stage

BLOCK_BYTES: Final = 5 << 20
"""Bytes of live values a block may have: they stay in cache, and calls are long beside their overhead."""

MOST_WRITTEN: Final = 4
"""So many times those bytes may a block write that it does not read again: they need no cache."""

SLACK: Final = 0.125
"""The part by which a block may be larger than that, so that blocks come out equal."""

MOST_GROUPS: Final = 128
"""More groups balance better and cost more partials; a group is the unit of placing and retrying."""

LEAST_BLOCKS: Final = 8
"""Work is cut into so many blocks at least, for workers to share, unless they would be smaller than:"""

LEAST_WORK: Final = 4e6
"""Adds' worth of time a block is worth cutting off for, about half a millisecond."""

LEAST_CALL: Final = 2.2e5
"""The same, about 25 µs, for each call of a block: threads wait for each other between shorter ones. But for:"""

FEW_BLOCKS: Final = 4
"""Fewer blocks than this leave workers idle: such a split must be worth it."""

PARTIAL_WORK: Final = 24.0
"""The same, per element of the partials that every block adds to and every group makes: eight times what that takes."""

FEWEST_GROUPS: Final = 2
"""More than so many groups only where each is worth its partials."""

PARTIAL_BYTES: Final = 256 << 20
"""Bytes all groups' partials may have together before groups grow larger instead."""


def live_bytes(
    graph: Graph,
    body: Iterable[int],
    reads: Sequence[Slot],
    keep: Iterable[int],
    length: int,
    written: Container[int] = (),
) -> float:
    """Most bytes per row alive at once while a body runs; values of no split dim, and those `written`, do not count."""
    order = list(body)
    first, nodes, sizes = len(graph.inputs), graph.nodes, graph.nbytes
    split_reads = {slot.value for slot in reads if slot.dim is not None}
    root: dict[int, int] = {}  # a view lives as long as what it views
    own: list[bool] = []  # whether a node has memory of its own
    last_use: dict[int, int] = {}
    for step, index in enumerate(order):
        node, value = nodes[index], first + index
        viewed = primitive_of(node.op).view is not None
        source = node.inputs[0] if viewed and node.inputs else value
        source = root[value] = root.get(source, source)
        own.append(source == value and (not viewed or len(node.inputs) > 0))
        for i in node.inputs:
            last_use[root.get(i, i)] = step
        last_use[source] = step
    for value in keep:
        last_use[root.get(value, value)] = len(order)
    dying: dict[int, list[int]] = {}
    for value, step in last_use.items():
        dying.setdefault(step, []).append(value)

    alive: set[int] = set()
    peak = now = 0.0
    for step, index in enumerate(order):
        born = [i for i in nodes[index].inputs if i in split_reads and i not in alive] if split_reads else []
        if own[step] and first + index not in written:
            born.append(first + index)
        for value in born:
            if value not in alive:
                alive.add(value)
                now += sizes[value] / length
        peak = max(peak, now)
        for value in dying.get(step, ()):
            if value in alive:
                alive.remove(value)
                now -= sizes[value] / length
    return peak


def is_one_block(graph: Graph, work: float) -> bool:
    """Whether `choose_split` gives one block along any axis, however the graph is cut."""
    return 2 * sum(graph.nbytes) <= BLOCK_BYTES and work < 2 * LEAST_WORK


def even_rows(length: int, rows: float) -> int:
    """About so many rows, an eighth more at most, which cut the length into an even number of nearly equal blocks.

    Two workers then find the same to do, and the last block is not a sliver, whose products are slow.
    """
    if rows >= length:
        return length
    pairs = max(1, math.ceil(length / rows / (2 * (1 + SLACK))))
    block = -(-length // (2 * pairs))
    step = 1 << max(0, block.bit_length() - 6)
    return -(-block // step) * step


def written_by(graph: Graph, stage: Stage) -> set[int]:
    """What a stage's blocks make where it is to stay, so without a buffer, and do not read again."""
    read = {value for index in stage.body for value in graph.nodes[index].inputs}
    return {
        slot.value
        for slot in stage.stores
        if slot.value not in read and all(size == 1 for size in graph.specs[slot.value].shape[: slot.dim])
    }


def choose_split(graph: Graph, cut: Cut, length: int, work: float) -> tuple[Split, bool]:
    """Rows per block so that a block's live values fit the cache; groups so that partials stay few.

    `work` is the time of all nodes, in adds.

    Also returns whether a block's values do fit: one row alone may be too large.
    """
    per_row = cached = 1.0  # Bytes, and those that should stay in cache.
    partial_bytes = partial_size = 0
    for stage in cut.stages:
        partials = {p.value for p in stage.partials}
        body = [i for i in stage.body if len(graph.inputs) + i not in partials]
        kept = {slot.value for slot in stage.stores}
        live = live_bytes(graph, body, stage.reads, kept, length)
        per_row = max(per_row, live)
        if written := written_by(graph, stage):
            live = live_bytes(graph, body, stage.reads, kept - written, length, written)
            live = max(live, sum(graph.nbytes[v] for v in written) / length / MOST_WRITTEN)
        cached = max(cached, live)
        partial_bytes = max(partial_bytes, sum(graph.nbytes[v] for v in partials))
        partial_size = max(partial_size, sum(graph.specs[v].size for v in partials))
    rows = max(1.0, BLOCK_BYTES / per_row, min(BLOCK_BYTES / cached, length / FEW_BLOCKS))
    shares = min(LEAST_BLOCKS, int(work / max(LEAST_WORK, PARTIAL_WORK * partial_size)))
    calls = sum(len(stage.body) for stage in cut.stages)
    shares = min(shares, max(FEW_BLOCKS, int(work / (LEAST_CALL * max(calls, 1)))))
    if shares > 1:
        rows = min(rows, length / shares)
    block = even_rows(length, rows)
    blocks = -(-length // block)
    worth = max(FEWEST_GROUPS, int(work / (PARTIAL_WORK * max(partial_size, 1))))
    most = min(MOST_GROUPS, worth, max(8, PARTIAL_BYTES // max(partial_bytes, 1)))
    per_group = -(-blocks // most)
    return Split(length, block, per_group, -(-blocks // per_group)), per_row <= BLOCK_BYTES
