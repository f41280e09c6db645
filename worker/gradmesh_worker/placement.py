"""Where the inputs of requests lie: put into the object store once, found again by content."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Final, TypeAlias

import numpy as np

from gradmesh_engine.backend import Operand
from gradmesh_worker.calls import Bind
from gradmesh_worker.tasks import FromInput, TaskGraph, layout_key, piece_bounds

Ref: TypeAlias = Any
"""A `ray.ObjectRef`."""

SMALL_BYTES: Final = 64 << 10
"""Values up to this size travel together, in one object per request."""

Key: TypeAlias = "tuple[bytes, tuple[int, ...]]"
"""Digest and layout of something placed; the empty layout is the whole."""


@dataclass
class Placed:
    """Where the inputs of one request lie.

    Attributes:
        small: reference to a tuple of arrays, and their value numbers.
        whole: reference to the whole array of a value.
        pieces: references to its pieces, with the first element of each.
        moved_bytes: bytes put for this request.
    """

    small: tuple[Ref, tuple[int, ...]] | None = None
    whole: dict[int, Ref] = field(default_factory=dict)
    pieces: dict[int, tuple[list[Ref], list[int]]] = field(default_factory=dict)
    moved_bytes: int = 0

    def argument(self, arg: FromInput) -> tuple[Ref, Bind]:
        """The reference to give to a call for one of its arguments, and what it is."""
        if self.small is not None and arg.value in self.small[1]:
            return self.small[0], Bind("values", self.small[1])
        if arg.range >= 0 and arg.value in self.pieces:
            refs, starts = self.pieces[arg.value]
            return refs[arg.range], Bind("piece", (arg.value,), starts[arg.range])
        # All of it serves as a piece that begins at 0.
        return self.whole[arg.value], Bind("piece", (arg.value,), 0) if arg.range >= 0 else Bind("array", (arg.value,))


class Placement:
    """Inputs in the object store, by content; least recently used dropped first. Thread-safe.

    Args:
        put: puts an object into the object store, `ray.put`.
        capacity_bytes: bytes kept between requests, beside what was adopted.
    """

    def __init__(self, put: Callable[[Any], Ref], capacity_bytes: int) -> None:
        self._put = put
        self._capacity = capacity_bytes
        self._kept: OrderedDict[Key, tuple[list[Ref], int]] = OrderedDict()
        self._adopted: dict[bytes, Ref] = {}
        self._bytes = 0
        self._lock = Lock()

    @property
    def kept_bytes(self) -> int:
        """Bytes kept between requests, beside what was adopted."""
        return self._bytes

    def place(self, graph: TaskGraph, operands: Sequence[Operand], *, map_whole: bool) -> Placed:
        """Make every input a plan reads available to the workers. Copies: not for the event loop.

        Args:
            graph: the tasks.
            operands: one per input of the plan.
            map_whole: whether workers can map the coordinator's memory; otherwise split inputs are
                cut into the pieces the ranges need.
        """
        placed = Placed()
        needed = {arg for task in graph.tasks for arg in task.args if isinstance(arg, FromInput)}
        values = sorted({arg.value for arg in needed})
        small = tuple(v for v in values if operands[v].array.nbytes <= SMALL_BYTES)
        if small:
            arrays = tuple(operands[v].array for v in small)
            placed.small = (self._put(arrays), small)
            placed.moved_bytes += sum(operands[v].array.nbytes for v in small if not operands[v].digest)
        for v in values:
            if v in small:
                continue
            split = any(arg.value == v and arg.range >= 0 for arg in needed)
            if split and not map_whole:
                bounds = piece_bounds(graph.plan, graph.ranges, v)
                layout = layout_key(graph.plan, graph.ranges, v)
                dim = layout[0]
                refs, moved = self._find(operands[v], layout, partial(_cut, dim=dim, bounds=bounds))
                placed.pieces[v] = (refs, [low for low, _ in bounds])
                placed.moved_bytes += moved
            if map_whole or any(arg.value == v and arg.range < 0 for arg in needed):
                refs, moved = self._find(operands[v], (), _uncut)
                placed.whole[v] = refs[0]
                placed.moved_bytes += moved
        return placed

    def _find(
        self, operand: Operand, layout: tuple[int, ...], cut: Callable[[np.ndarray], Sequence[np.ndarray]]
    ) -> tuple[list[Ref], int]:
        key = (operand.digest, layout)
        if operand.digest:
            with self._lock:
                if not layout and operand.digest in self._adopted:
                    return [self._adopted[operand.digest]], 0
                kept = self._kept.get(key)
                if kept is not None:
                    self._kept.move_to_end(key)
                    return kept[0], 0
        refs = [self._put(piece) for piece in cut(operand.array)]
        if operand.digest:
            self._keep(key, refs, operand.array.nbytes)
        return refs, operand.array.nbytes

    def _keep(self, key: Key, refs: list[Ref], nbytes: int) -> None:
        with self._lock:
            if key in self._kept:
                self._bytes -= self._kept.pop(key)[1]
            self._kept[key] = (refs, nbytes)
            self._bytes += nbytes
            while self._bytes > self._capacity and len(self._kept) > 1:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= dropped

    def adopt(self, digest: bytes, array: np.ndarray) -> Ref:
        """Put a whole array and keep it until `forget`; returns the reference. Copies."""
        ref = self._put(array)
        with self._lock:
            self._adopted[digest] = ref
        return ref

    def forget(self, digest: bytes) -> None:
        """Drop all that was placed under a digest."""
        with self._lock:
            self._adopted.pop(digest, None)
            for key in [key for key in self._kept if key[0] == digest]:
                self._bytes -= self._kept.pop(key)[1]


def _uncut(array: np.ndarray) -> list[np.ndarray]:
    return [array]


def _cut(array: np.ndarray, dim: int, bounds: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    head = (slice(None),) * dim
    return [np.ascontiguousarray(array[(*head, slice(low, high))]) for low, high in bounds]
