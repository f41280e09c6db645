"""Run stages, and plans of them, with the code that `emit.py` generates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from gradmesh_engine.arithmetic import ieee, is_standard
from gradmesh_engine.combine import Accumulator, Subtree, finish
from gradmesh_engine.emit import BlockCode, WholeCode
from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.memory import empty
from gradmesh_engine.plan.types import Plan, Stage
from gradmesh_engine.threads import over_groups


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a split value.

    Attributes:
        array: C-contiguous elements start, start+1, … of the value's split dim.
        start: where the part begins, in elements of that dim.
    """

    array: np.ndarray
    start: int


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What a run of consecutive groups gives.

    Attributes:
        partials: complete aligned subtrees, in order.
        stores: per stored value the elements of exactly these groups.
    """

    partials: list[Subtree]
    stores: dict[int, np.ndarray]


def dense(array: np.ndarray) -> np.ndarray:
    """The array itself when it lies in C order, at addresses its dtype may have, else a copy that does.

    NumPy leaves BLAS, and with it the same bits, for arrays at other addresses.
    """
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else array.copy("C")


class StageRunner:
    """Runs one stage; holds its code and buffers. For one thread at a time.

    Args:
        plan: the plan.
        index: which stage.
    """

    def __init__(self, plan: Plan, index: int) -> None:
        self.plan = plan
        self.stage = plan.stages[index]
        self._blocks: dict[int, BlockCode] = {}
        self._whole: WholeCode | None = None
        self._quiet = Context()  # where NumPy tells of nothing special: entering it is one call
        self.seconds: float | None = None  # the stage's latest run, by all threads together

    def run_whole(self, values: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Run the nodes that run once.

        Args:
            values: at least the stage's `whole_reads`, complete and C-contiguous.

        Returns:
            the stage's `results` by value number.
        """
        if not self.stage.whole:
            return {}
        results = self.run_nodes([values[v] for v in self.stage.whole_reads])
        return dict(zip(self.stage.results, results, strict=True))

    def run_nodes(self, reads: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The stage's `results`, in order, from its `whole_reads`."""
        if self._whole is not None and is_standard():
            return self._quiet.run(self._call, self._whole, reads)
        with ieee():  # In making kernels, too: attributes may be too large for the dtype.
            if self._whole is None:
                self._whole = WholeCode(self.plan, self.stage)
                self._quiet.run(np.seterr, all="ignore")
            return self._call(self._whole, reads)

    def _call(self, whole: WholeCode, reads: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            return [dense(array) for array in whole.run(reads)]
        except GradmeshError as error:
            raise self._placed(error, whole.code.locate(error)) from None

    def run_groups(
        self,
        first: int,
        stop: int,
        values: Mapping[int, np.ndarray | Piece],
        into: Mapping[int, np.ndarray] | None = None,
        checkpoint: Callable[[], None] | None = None,
    ) -> GroupResult:
        """Run groups first, …, stop-1 in order.

        Args:
            first: the first group.
            stop: the group after the last.
            values: at least the stage's `reads`: complete arrays, or pieces that cover these groups.
            into: complete arrays to write stored values into; new ones for just these groups otherwise.
            checkpoint: called before each group; may raise to stop the run.
        """
        split = self.plan.split
        assert split is not None
        reads, read_starts = [], []
        for slot in self.stage.reads:
            given = values[slot.value]
            array, start = (given.array, given.start) if isinstance(given, Piece) else (given, 0)
            reads.append(dense(array))
            read_starts.append(start)
        begin, _ = split.group_rows(first)
        _, end = split.group_rows(stop - 1)
        stores, store_starts = [], []
        for slot in self.stage.stores:
            if into is not None and slot.value in into:
                stores.append(into[slot.value])
                store_starts.append(0)
            else:
                stores.append(empty(self.plan.stored_spec(slot.value, end - begin)))
                store_starts.append(begin * slot.scale)
        partial_specs = [self.plan.graph.specs[p.value] for p in self.stage.partials]
        partials: list[np.ndarray] = [np.empty(0)] * len(partial_specs)
        bound: dict[int, Callable[[int, int, bool], None]] = {}
        gathered = Accumulator(self.plan, self.stage.index)
        running: BlockCode | None = None
        try:
            with ieee():
                for group in range(first, stop):
                    if checkpoint is not None:
                        checkpoint()
                    partials[:] = [empty(spec) for spec in partial_specs]
                    lo, last = split.group_rows(group)
                    is_first = True
                    while lo < last:
                        hi = min(lo + split.block, last)
                        running = self._block(hi - lo)
                        block = bound.get(hi - lo)
                        if block is None:
                            block = running.make(reads, read_starts, stores, store_starts, partials)
                            bound[hi - lo] = block
                        block(lo, hi, is_first)
                        is_first = False
                        lo = hi
                    if partial_specs:
                        gathered.push(group, {p.value: a for p, a in zip(self.stage.partials, partials, strict=True)})
        except GradmeshError as error:
            raise self._placed(error, -1 if running is None else running.code.locate(error)) from None
        return GroupResult(
            gathered.subtrees(), {slot.value: a for slot, a in zip(self.stage.stores, stores, strict=True)}
        )

    def _block(self, rows: int) -> BlockCode:
        code = self._blocks.get(rows)
        if code is None:
            code = self._blocks[rows] = BlockCode(self.plan, self.stage, rows)
        return code

    def _placed(self, error: GradmeshError, node: int) -> GradmeshError:
        """The error with the node of the user's graph it arose in."""
        if node < 0:
            return error
        origin = self.plan.graph.nodes[node].origin
        return error.at(op=self.plan.graph.nodes[node].op, node=origin, source=self.plan.graph.source(origin))

    def source(self) -> str:
        """The generated source of the code compiled so far."""
        parts = [] if self._whole is None else [self._whole.code.source(self.plan.graph)]
        parts += [f"# blocks of {rows} rows\n{c.code.source(self.plan.graph)}" for rows, c in self._blocks.items()]
        return "\n\n".join(parts)


def run_plan(
    plan: Plan,
    inputs: Sequence[np.ndarray],
    runners: Sequence[Sequence[StageRunner]] | None = None,
    checkpoint: Callable[[], None] | None = None,
) -> list[np.ndarray]:
    """Run a plan in this thread and, with several sets of runners, in others beside it; its outputs, C-contiguous.

    Args:
        plan: the plan.
        inputs: one C-contiguous array per input of the plan's graph.
        runners: for each thread one runner per stage, kept between runs; new ones, for one thread, otherwise.
        checkpoint: called before each stage and, in this thread, each group; may raise to stop the run.
    """
    if runners is None:
        runners = [[StageRunner(plan, i) for i in range(len(plan.stages))]]
    if plan.alone is not None:
        if checkpoint is not None:
            checkpoint()
        (runner,) = runners[0]
        begin = perf_counter()
        results = runner.run_nodes([inputs[v] for v in runner.stage.whole_reads])
        runner.seconds = perf_counter() - begin
        return [results[i] for i in plan.alone]
    values: dict[int, np.ndarray] = dict(enumerate(inputs))
    for stage in plan.stages:
        if checkpoint is not None:
            checkpoint()
        begin = perf_counter()
        values.update(runners[0][stage.index].run_whole(values))
        if stage.body:
            assert plan.split is not None
            into = {slot.value: empty(plan.stored_spec(slot.value, plan.split.length)) for slot in stage.stores}

            def worker(
                mine: Sequence[StageRunner], stage: Stage = stage, into: Mapping[int, np.ndarray] = into
            ) -> Callable[[int, int], list[Subtree]]:
                check = checkpoint if mine is runners[0] else None
                run = mine[stage.index].run_groups
                return lambda first, stop: run(first, stop, values, into, check).partials

            if len(runners) > 1:
                partials = over_groups(plan.split.groups, [worker(mine) for mine in runners])
            else:
                partials = worker(runners[0])(0, plan.split.groups)
            values.update(into)
            values.update(finish(plan, stage.index, partials))
        for value in plan.over[stage.index]:
            del values[value]
        runners[0][stage.index].seconds = perf_counter() - begin
    return [dense(values[v]) for v in plan.graph.outputs]
