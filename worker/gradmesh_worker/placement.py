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
"""Values up to this size travel together."""

REPEATED_BYTES: Final = 8 << 10
"""Small values of more than this together go through the object store when several calls need them."""

Key: TypeAlias = "tuple[bytes, tuple[int, ...]]"
"""Digest and layout of something placed; the empty layout is the whole."""


@dataclass
class Placed:
    """Where the inputs of one request lie.

    Attributes:
        small: the small inputs, as a tuple of arrays or a reference to one, and their value numbers.
        whole: reference to the whole array of a value, in a list that may have to be filled.
        pieces: references to its pieces, with the first element of each.
        moved_bytes: bytes that have to be moved for this request.
        lasting: values whose references stay good beyond this request.
        missing: what remains to be put before the request can run.
    """

    small: tuple[Any, tuple[int, ...]] = ((), ())
    whole: dict[int, list[Ref]] = field(default_factory=dict)
    pieces: dict[int, tuple[list[Ref], list[int]]] = field(default_factory=dict)
    moved_bytes: int = 0
    lasting: set[int] = field(default_factory=set)
    missing: list[Callable[[], None]] = field(default_factory=list)

    def lasting_refs(self) -> list[Ref]:
        """References workers may have kept by name."""
        refs = [ref for v in self.lasting & self.whole.keys() for ref in self.whole[v]]
        return refs + [ref for v in self.lasting & self.pieces.keys() for ref in self.pieces[v][0]]

    def argument(self, arg: FromInput) -> tuple[Any, Bind]:
        """What to give to a call for one of its arguments, and what it is."""
        if arg.value in self.small[1]:
            return self.small[0], Bind("values", self.small[1])
        if arg.range >= 0 and arg.value in self.pieces:
            refs, starts = self.pieces[arg.value]
            return refs[arg.range], Bind("piece", (arg.value,), starts[arg.range])
        # All of it serves as a piece that begins at 0.
        return self.whole[arg.value][0], Bind("piece" if arg.range >= 0 else "array", (arg.value,))


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
        self._dropped: list[Ref] = []
        self._lock = Lock()

    @property
    def kept_bytes(self) -> int:
        """Bytes kept between requests, beside what was adopted."""
        return self._bytes

    def find(self, graph: TaskGraph, operands: Sequence[Operand], *, map_whole: bool) -> Placed:
        """Where every input a plan reads lies, and what is missing. Copies nothing.

        Args:
            graph: the tasks.
            operands: one per input of the plan.
            map_whole: whether workers can map the coordinator's memory; otherwise split inputs are
                cut into the pieces the ranges need.
        """
        placed = Placed()
        split, whole = graph.input_reads
        small = tuple(v for v in sorted(split | whole) if operands[v].array.nbytes <= SMALL_BYTES)
        arrays = tuple(operands[v].array for v in small)
        placed.small = (arrays, small)
        placed.moved_bytes += sum(operands[v].array.nbytes for v in small if not operands[v].digest)
        if len(graph.tasks) > 1 and sum(array.nbytes for array in arrays) > REPEATED_BYTES:
            placed.missing.append(lambda: setattr(placed, "small", (self._put(arrays), small)))
        for v in sorted((split | whole) - set(small)):
            operand = operands[v]
            if operand.digest:
                placed.lasting.add(v)
            if v in split and not map_whole:
                bounds = piece_bounds(graph.plan, graph.ranges, v)
                layout = layout_key(graph.plan, graph.ranges, v)
                cut = partial(_cut, dim=layout[0], bounds=bounds)
                refs = self._refs(placed, operand, layout, cut)
                placed.pieces[v] = (refs, [low for low, _ in bounds])
            if v in whole or map_whole:
                placed.whole[v] = self._refs(placed, operand, (), _uncut)
        return placed

    def _refs(
        self, placed: Placed, operand: Operand, layout: tuple[int, ...], cut: Callable[[np.ndarray], list[np.ndarray]]
    ) -> list[Ref]:
        """References to what is there, or a list that is filled once what is missing has been put."""
        key = (operand.digest, layout)
        if operand.digest:
            with self._lock:
                if not layout and operand.digest in self._adopted:
                    return [self._adopted[operand.digest]]
                kept = self._kept.get(key)
                if kept is not None:
                    self._kept.move_to_end(key)
                    return kept[0]
        refs: list[Ref] = []

        def fill() -> None:
            refs.extend([self._put(piece) for piece in cut(operand.array)])
            if operand.digest:
                self._keep(key, refs, operand.array.nbytes)

        placed.missing.append(fill)
        placed.moved_bytes += operand.array.nbytes
        return refs

    def _keep(self, key: Key, refs: list[Ref], nbytes: int) -> None:
        with self._lock:
            if key in self._kept:
                self._drop(key)
            self._kept[key] = (refs, nbytes)
            self._bytes += nbytes
            while self._bytes > self._capacity and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        refs, nbytes = self._kept.pop(key)
        self._bytes -= nbytes
        self._dropped.extend(refs)

    def adopt(self, digest: bytes, array: np.ndarray) -> Ref:
        """Put a whole array and keep it until `forget`; returns the reference. Copies."""
        ref = self._put(array)
        self.forget(digest)
        with self._lock:
            self._adopted[digest] = ref
        return ref

    def forget(self, digest: bytes) -> None:
        """Drop all that was placed under a digest."""
        with self._lock:
            if digest in self._adopted:
                self._dropped.append(self._adopted.pop(digest))
            for key in [key for key in self._kept if key[0] == digest]:
                self._drop(key)

    def stale(self, refs: Sequence[Ref]) -> list[Ref]:
        """Those of `refs` that are kept no longer."""
        with self._lock:
            current = {*self._adopted.values(), *(ref for kept, _ in self._kept.values() for ref in kept)}
        return [ref for ref in refs if ref not in current]

    def take_dropped(self) -> list[Ref]:
        """References dropped since this was last asked."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
        return dropped


def _uncut(array: np.ndarray) -> list[np.ndarray]:
    return [array]


def _cut(array: np.ndarray, dim: int, bounds: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    head = (slice(None),) * dim
    return [np.ascontiguousarray(array[(*head, slice(low, high))]) for low, high in bounds]
