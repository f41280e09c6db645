"""The frozen types of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.ops import primitive_of

ADD_SECONDS: Final = 0.11e-9
"""Seconds an add of two float32 elements in cache takes: what makes seconds of estimates. Decides nothing."""

CALL_SECONDS: Final = 0.5e-6
"""The same for what a call takes whatever its arrays."""

THREAD_WORK: Final = 4e6
"""Adds' worth of time, about half a millisecond, that a thread should find to do."""

ONE_THREAD_BYTES: Final = 1 << 13
"""OpenBLAS takes one thread for products of matrices that are no larger than this together."""


@dataclass(frozen=True, slots=True)
class Split:
    """How the split axis is cut. All of it is a rule of the graph and its shapes only.

    Attributes:
        length: base length of the axis, in rows; a value's own dim may be a multiple of it.
        block: rows per block.
        blocks_per_group: blocks per group.
        groups: number of groups.
    """

    length: int
    block: int
    blocks_per_group: int
    groups: int

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.length // self.block)

    def group_rows(self, group: int) -> tuple[int, int]:
        """First row and the row after the last of a group."""
        rows = self.block * self.blocks_per_group
        return group * rows, min((group + 1) * rows, self.length)


@dataclass(frozen=True, slots=True)
class Slot:
    """How a stage reads or stores a value.

    Attributes:
        value: the value's number in the plan's graph.
        dim: its dim along the split axis, or None when it is read whole.
        scale: elements of that dim per row.
        packed: the value is stored as one dim of elements, block by block, to which `dim` and `scale` refer.
    """

    value: int
    dim: int | None = None
    scale: int = 1
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """A reduction over the split axis.

    Attributes:
        value: the value's number.
        kind: how partials combine: "sum", "max", "min" or "prod".
    """

    value: int
    kind: str


@dataclass(frozen=True)
class Stage:
    """Nodes run once, then nodes run block by block.

    Attributes:
        index: position in the plan.
        whole: indices of the nodes run once, before the blocks.
        body: indices of the nodes run per block.
        whole_reads: values the whole nodes need from outside the stage, complete.
        reads: how the body reads what is made outside of it.
        partials: what each group contributes to reductions.
        stores: split values kept complete: outputs, and what later stages need.
        results: values of whole nodes that later stages or the outputs need.
    """

    index: int
    whole: tuple[int, ...]
    body: tuple[int, ...]
    whole_reads: tuple[int, ...]
    reads: tuple[Slot, ...]
    partials: tuple[Partial, ...]
    stores: tuple[Slot, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """How a graph of primitives is run.

    Attributes:
        graph: the graph, primitives only; its outputs are what a run returns.
        split: the cut of the split axis, or None when everything runs whole.
        dims: for each value its dim along the split axis, or None.
        stages: in order; the last may have an empty body.
        flops: floating point operations, in adds.
        work: time of all nodes, in that of an add of two elements in cache.
        estimates: the same for each stage, with what moving its values through caches and memory costs.
        peak_bytes: planned bytes beyond inputs and outputs, for one range at a time.
        touched_bytes: bytes all nodes read and write, each counted once.
        packed: stored values that are kept block by block.
    """

    graph: Graph
    split: Split | None
    dims: tuple[int | None, ...]
    stages: tuple[Stage, ...]
    flops: float
    work: float
    estimates: tuple[float, ...]
    peak_bytes: int
    touched_bytes: int
    packed: frozenset[int] = frozenset()

    def scale(self, value: int) -> int:
        """Elements of the value's split dim per row of the split axis."""
        dim = self.dims[value]
        if dim is None or self.split is None:
            return 1
        return self.graph.specs[value].shape[dim] // self.split.length

    @cached_property
    def over(self) -> tuple[tuple[int, ...], ...]:
        """For each stage the values no later stage needs, nor the outputs; inputs of the graph aside."""
        last: dict[int, int] = {}
        for stage in self.stages:
            made = [*stage.results, *[p.value for p in stage.partials], *[slot.value for slot in stage.stores]]
            last.update(dict.fromkeys([*made, *stage.whole_reads, *[slot.value for slot in stage.reads]], stage.index))
        kept = {*range(len(self.graph.inputs)), *self.graph.outputs}
        found: list[list[int]] = [[] for _ in self.stages]
        for value, at in last.items():
            if value not in kept:
                found[at].append(value)
        return tuple(map(tuple, found))

    @cached_property
    def alone(self) -> tuple[int, ...] | None:
        """Where each output is among the results of the only stage, which has no blocks; None for any other plan."""
        if len(self.stages) != 1 or self.stages[0].body:
            return None
        at = {value: index for index, value in enumerate(self.stages[0].results)}
        return tuple([at[v] for v in self.graph.outputs]) if at.keys() >= {*self.graph.outputs} else None

    @cached_property
    def uses_blas(self) -> bool:
        """Whether it may call BLAS on anything a BLAS library would use several threads for.

        LAPACK uses them for matrices of some twenty rows.
        """
        sizes = self.graph.nbytes
        for value, node in enumerate(self.graph.nodes, len(self.graph.inputs)):
            blas = primitive_of(node.op).blas
            if blas == "lapack":
                return True
            if blas and sizes[value] + sum([sizes[i] for i in node.inputs]) > ONE_THREAD_BYTES:
                return True
        return False

    @cached_property
    def parallel(self) -> int:
        """Threads worth starting: one each for so much work that they are soon made up for."""
        groups = 1 if self.split is None else self.split.groups
        return max(1, min(groups, int(self.work / THREAD_WORK)))

    @cached_property
    def output_bytes(self) -> int:
        """Bytes of all outputs."""
        return sum(self.graph.specs[v].nbytes for v in self.graph.outputs)

    def stored_scale(self, value: int) -> int:
        """Elements per row of the dim along which the stored value is cut into pieces."""
        if value in self.packed and self.split is not None:
            return self.graph.specs[value].size // self.split.length
        return self.scale(value)

    def stored_spec(self, value: int, rows: int) -> TensorSpec:
        """The spec of `rows` rows of a value as it is stored."""
        spec = self.block_spec(value, rows)
        return TensorSpec((spec.size,), spec.dtype) if value in self.packed else spec

    def block_spec(self, value: int, rows: int) -> TensorSpec:
        """The spec of a value's block of `rows` rows."""
        spec = self.graph.specs[value]
        dim = self.dims[value]
        if dim is None or self.split is None:
            return spec
        shape = list(spec.shape)
        shape[dim] = rows * (shape[dim] // self.split.length)
        return TensorSpec(tuple(shape), spec.dtype)
