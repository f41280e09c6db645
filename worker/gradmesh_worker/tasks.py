"""Turn a plan and its ranges into tasks: what is run, on what, and where its results are found.

Pure: no Ray here. A task is a stage's whole nodes (with the combining of the stage before), one
range of groups of a stage, or a whole plan at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

from gradmesh_engine.ops import primitive_of
from gradmesh_engine.plan import Plan

Range: TypeAlias = "tuple[int, int]"
"""First group and the group after the last."""

SECONDS_PER_ADD: Final = 1.5e-10
"""What one unit of a plan's cost takes on one core, about; used to choose how finely to cut only."""

LEAST_RANGE_SECONDS: Final = 3e-3
"""A range should take at least twice what one call to a worker costs."""

RANGES_PER_WORKER: Final = 2
"""More balance better; each costs a call and its partials."""

MANY_PARTIAL_BYTES: Final = 8 << 20
"""Partials of one range above this many bytes make one range per worker the better choice."""

REPEATED_ADDS: Final = 100_000.0
"""Whole nodes of the first stage that cost less than this are run by every range: waiting for them costs more."""

BUNDLE_BYTES: Final = 64 << 10
"""Values up to this size share one result object; larger ones get their own."""


def cut_ranges(plan: Plan, workers: int) -> tuple[Range, ...]:
    """Contiguous ranges of groups, in order, several per worker where that is cheap.

    Their borders are aligned in the combining tree so that a range yields few subtrees. One range
    stands for the whole plan.
    """
    if plan.split is None or plan.split.groups == 1:
        return ((0, 1),)
    groups = plan.split.groups
    partial_bytes = max(sum(plan.graph.specs[p.value].nbytes for p in stage.partials) for stage in plan.stages)
    seconds = SECONDS_PER_ADD * (plan.flops + plan.touched_bytes / 4)
    finest = max(1, int(seconds / LEAST_RANGE_SECONDS))
    per_worker = 1 if partial_bytes > MANY_PARTIAL_BYTES or workers == 1 else RANGES_PER_WORKER
    count = min(groups, finest, workers * per_worker)
    # The largest power of two that still leaves each range four units, so that sizes differ little.
    unit = 1 << max(0, (groups // (4 * count)).bit_length() - 1)
    units = -(-groups // unit)
    borders = [min(round(i * units / count) * unit, groups) for i in range(count + 1)]
    return tuple((a, b) for a, b in zip(borders, borders[1:], strict=False) if a < b)


# --- arguments and results ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FromInput:
    """An input of the plan: complete, or at least the elements of one range.

    Attributes:
        value: the input's number.
        range: index of the range that is needed, -1 for all of it.
    """

    value: int
    range: int = -1


@dataclass(frozen=True, slots=True)
class FromTask:
    """One of the results of an earlier task.

    Attributes:
        task: the task.
        part: which of its results.
        bind: what it is to the reader: complete values, this range's piece of a value, one of all
            pieces of a value in order, or subtrees to combine.
    """

    task: int
    part: int
    bind: Literal["values", "piece", "gather", "subtrees"]


Arg: TypeAlias = "FromInput | FromTask"


@dataclass(frozen=True, slots=True)
class Task:
    """One call to a worker.

    Attributes:
        id: position in the list of tasks; a task needs earlier ones only.
        kind: "whole" combines the stage before and runs the whole nodes, "groups" runs a range of
            the body, "plan" runs everything.
        stage: the stage; for "whole" it may be one past the last, which only combines.
        range: index of the range, -1 for none.
        args: what is read.
        parts: value numbers each result object holds; () stands for subtrees.
        whole_first: a range that runs the stage's whole nodes itself before its groups.
    """

    id: int
    kind: Literal["whole", "groups", "plan"]
    stage: int
    range: int
    args: tuple[Arg, ...]
    parts: tuple[tuple[int, ...], ...]
    whole_first: bool = False

    @property
    def needs(self) -> tuple[int, ...]:
        """Tasks that must be done before, each once."""
        return tuple(sorted({arg.task for arg in self.args if isinstance(arg, FromTask)}))


@dataclass(frozen=True, slots=True)
class OutputInput:
    """An output that is an input unchanged."""

    value: int


@dataclass(frozen=True, slots=True)
class OutputWhole:
    """An output found complete in a task's result: `part`, position `at`."""

    task: int
    part: int
    at: int


@dataclass(frozen=True, slots=True)
class OutputPieces:
    """An output in pieces along `dim`: (task, part) of each, in order."""

    dim: int
    pieces: tuple[tuple[int, int], ...]


Output: TypeAlias = "OutputInput | OutputWhole | OutputPieces"


@dataclass(frozen=True)
class TaskGraph:
    """All tasks of a plan cut into ranges.

    Attributes:
        plan: the plan.
        ranges: the ranges.
        tasks: in an order in which they may run.
        outputs: where each output of the plan is found.
    """

    plan: Plan
    ranges: tuple[Range, ...]
    tasks: tuple[Task, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def input_reads(self) -> tuple[frozenset[int], frozenset[int]]:
        """The inputs read range by range, and those read complete."""
        reads = [arg for task in self.tasks for arg in task.args if isinstance(arg, FromInput)]
        return frozenset(arg.value for arg in reads if arg.range >= 0), frozenset(
            arg.value for arg in reads if arg.range < 0
        )

    @property
    def goals(self) -> frozenset[int]:
        """The tasks whose results are asked for."""
        found: set[int] = set()
        for output in self.outputs:
            if isinstance(output, OutputWhole):
                found.add(output.task)
            elif isinstance(output, OutputPieces):
                found.update(task for task, _ in output.pieces)
        return frozenset(found)


def bundles(plan: Plan, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Values by result object: small ones together, large ones alone."""
    small = tuple(v for v in values if plan.graph.specs[v].nbytes <= BUNDLE_BYTES)
    large = tuple((v,) for v in values if plan.graph.specs[v].nbytes > BUNDLE_BYTES)
    return ((small,) if small else ()) + large


def make_tasks(plan: Plan, ranges: tuple[Range, ...]) -> TaskGraph:
    """The tasks of a plan. A single range makes a single task."""
    if len(ranges) == 1:
        return _single(plan, ranges)
    return _Maker(plan, ranges).make()


def _single(plan: Plan, ranges: tuple[Range, ...]) -> TaskGraph:
    graph = plan.graph
    count = len(graph.inputs)
    read = {v for stage in plan.stages for v in stage.whole_reads if v < count}
    read |= {slot.value for stage in plan.stages for slot in stage.reads if slot.value < count}
    made = tuple(sorted({v for v in graph.outputs if v >= count}))
    parts = bundles(plan, made)
    place = {v: (part, at) for part, values in enumerate(parts) for at, v in enumerate(values)}
    tasks = (Task(0, "plan", 0, 0, tuple(FromInput(v) for v in sorted(read)), parts),) if made else ()
    outputs = tuple(OutputInput(v) if v < count else OutputWhole(0, *place[v]) for v in graph.outputs)
    return TaskGraph(plan, ranges, tasks, outputs)


class _Maker:
    """Walks the stages once, remembering where every value made so far is found."""

    def __init__(self, plan: Plan, ranges: tuple[Range, ...]) -> None:
        self.plan = plan
        self.ranges = ranges
        self.tasks: list[Task] = []
        self.complete: dict[int, tuple[int, int, int]] = {}
        self.pieces: dict[int, list[tuple[int, int]]] = {}
        self.needed_whole = set(plan.graph.outputs)
        for stage in plan.stages:
            self.needed_whole.update(stage.whole_reads)
            self.needed_whole.update(slot.value for slot in stage.reads)

    def make(self) -> TaskGraph:
        stages = self.plan.stages
        before: list[int] = []  # the range tasks of the stage before
        for index in range(len(stages) + 1):
            combines = index > 0 and bool(stages[index - 1].partials)
            whole = index < len(stages) and bool(stages[index].whole)
            if combines or (whole and not self._only_repeated(index)):
                self._whole(index, before if combines else [])
            before = self._groups(index) if index < len(stages) and stages[index].body else []
        return TaskGraph(self.plan, self.ranges, tuple(self.tasks), tuple(map(self._output, self.plan.graph.outputs)))

    def _repeats(self, index: int) -> bool:
        """Whether every range runs the whole nodes of a stage."""
        stage = self.plan.stages[index]
        if index > 0 or not stage.whole or not stage.body:
            return False
        if any(slot.dim is not None and slot.value in stage.whole_reads for slot in stage.reads):
            return False  # a range would need both its piece and all of it
        graph = self.plan.graph
        return REPEATED_ADDS > sum(
            primitive_of(node.op).cost(tuple(graph.specs[i] for i in node.inputs), node.outputs[0], dict(node.attrs))
            + node.outputs[0].size
            for node in (graph.nodes[i] for i in stage.whole)
        )

    def _only_repeated(self, index: int) -> bool:
        """Whether only the stage's own ranges need what its whole nodes give."""
        later = set(self.plan.graph.outputs)
        for stage in self.plan.stages[index + 1 :]:
            later.update(stage.whole_reads)
            later.update(slot.value for slot in stage.reads)
        return self._repeats(index) and later.isdisjoint(self.plan.stages[index].results)

    def _whole(self, index: int, before: Sequence[int]) -> None:
        stages = self.plan.stages
        combined = [p.value for p in stages[index - 1].partials] if before else []
        args: list[Arg] = [FromTask(task, 0, "subtrees") for task in before]
        made = [v for v in combined if v in self.needed_whole]
        if index < len(stages):
            args += self._complete_args([v for v in stages[index].whole_reads if v not in combined])
            made += stages[index].results
        self._add("whole", index, -1, args, bundles(self.plan, made))

    def _groups(self, index: int) -> list[int]:
        stage = self.plan.stages[index]
        parts = (((),) if stage.partials else ()) + tuple((slot.value,) for slot in stage.stores)
        repeats = self._repeats(index)
        here = set(stage.results) if repeats else set()
        reads = [slot for slot in stage.reads if slot.value not in here]
        needed = [slot.value for slot in reads if slot.dim is None] + list(stage.whole_reads if repeats else ())
        whole = self._complete_args(dict.fromkeys(needed))
        split = [slot.value for slot in reads if slot.dim is not None]
        # A complete value made by whole nodes may also be read slice by slice.
        whole += self._complete_args([v for v in split if v in self.complete])
        added = []
        for r in range(len(self.ranges)):
            args = list(whole)
            for v in split:
                if v < len(self.plan.graph.inputs):
                    args.append(FromInput(v, r))
                elif v in self.pieces:
                    args.append(FromTask(*self.pieces[v][r], "piece"))
            added.append(self._add("groups", index, r, args, parts, repeats))
        for slot in stage.stores:
            part = parts.index((slot.value,))
            self.pieces[slot.value] = [(task, part) for task in added]
        return added

    def _complete_args(self, values: Iterable[int]) -> list[Arg]:
        args: dict[Arg, None] = {}  # in order, each once: several values may share an object
        for v in values:
            if v < len(self.plan.graph.inputs):
                args[FromInput(v)] = None
            elif v in self.complete:
                args[FromTask(*self.complete[v][:2], "values")] = None
            else:
                for task, part in self.pieces[v]:
                    args[FromTask(task, part, "gather")] = None
        return list(args)

    def _add(
        self,
        kind: Literal["whole", "groups"],
        stage: int,
        r: int,
        args: Sequence[Arg],
        parts: tuple[tuple[int, ...], ...],
        whole_first: bool = False,
    ) -> int:
        task = Task(len(self.tasks), kind, stage, r, tuple(args), parts, whole_first)
        self.tasks.append(task)
        if kind == "whole":
            for part, values in enumerate(parts):
                for at, v in enumerate(values):
                    self.complete[v] = (task.id, part, at)
        return task.id

    def _output(self, value: int) -> Output:
        if value < len(self.plan.graph.inputs):
            return OutputInput(value)
        if value in self.complete:
            return OutputWhole(*self.complete[value])
        dim = self.plan.dims[value]
        assert dim is not None
        return OutputPieces(dim, tuple(self.pieces[value]))


def piece_bounds(plan: Plan, ranges: Sequence[Range], value: int) -> list[tuple[int, int]]:
    """First element and the one after the last, along the value's split dim, of each range's piece."""
    assert plan.split is not None
    scale = plan.stored_scale(value)
    bounds = []
    for first, stop in ranges:
        low, _ = plan.split.group_rows(first)
        _, high = plan.split.group_rows(stop - 1)
        bounds.append((low * scale, high * scale))
    return bounds


def layout_key(plan: Plan, ranges: Sequence[Range], value: int) -> tuple[int, ...]:
    """What a value's pieces depend on: its dim and the borders of the pieces."""
    dim = plan.dims[value]
    assert dim is not None
    return (dim, *(low for low, _ in piece_bounds(plan, ranges, value)))
