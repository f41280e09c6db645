"""One request on the workers: carries out the scheduler's decisions and brings it the news."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter
from typing import Any, Final

import ray
from ray.exceptions import (
    ActorUnavailableError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from gradmesh_engine.backend import Operand, Outcome, Pieces, RangeRun, StageRun, Tensor
from gradmesh_engine.errors import (
    DeadlineError,
    GradmeshError,
    InternalError,
    MemoryLimitError,
    UnavailableError,
)
from gradmesh_worker.calls import Bind, Call, Report
from gradmesh_worker.placement import Placed, Placement
from gradmesh_worker.pool import Pool
from gradmesh_worker.scheduler import (
    Decision,
    Done,
    Drop,
    Event,
    Finished,
    GiveUp,
    Job,
    Joined,
    Left,
    Lost,
    Run,
    Scheduler,
)
from gradmesh_worker.tasks import (
    FromInput,
    OutputInput,
    OutputPieces,
    OutputWhole,
    Task,
    TaskGraph,
    piece_bounds,
)

ASSEMBLE_BYTES: Final = 1 << 20
"""Results in pieces up to this size are put together here."""

MOST_PLACINGS: Final = 4
"""Times the inputs of one request are placed, when they get lost."""


def translated(error: BaseException) -> GradmeshError:
    """An error of Ray as one of ours."""
    if isinstance(error, GradmeshError):
        return error
    cause = _cause(error)
    if isinstance(cause, (ObjectStoreFullError, OutOfDiskError, OutOfMemoryError, MemoryError)):
        return MemoryLimitError(
            "the workers cannot hold the data of this request",
            got=str(cause).splitlines()[0] if str(cause) else type(cause).__name__,
            remedy="use a smaller batch, or give the object store more memory",
        )
    if isinstance(cause, RayActorError):
        return UnavailableError("a worker is gone", got=type(cause).__name__, remedy="try again")
    return InternalError(f"{type(cause).__name__} from the cluster", got=str(cause)[-2000:], remedy="please report it")


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException) and error.cause is not error:
        error = error.cause
    return error


@dataclass
class Loaded:
    """A program as this backend knows it.

    Attributes:
        key: names the plan among those the workers keep.
        graph: its tasks.
        ref: reference to the plan, None until it was put.
    """

    key: bytes
    graph: TaskGraph
    ref: Any = None


@dataclass(eq=False)
class _Flight:
    """A task given to a worker."""

    task: Task
    worker: str
    call: Call
    refs: list[Any]
    sources: dict[str, int]  # hex of each argument's reference -> the task that made it, -1 for inputs
    placing: int  # which placing of the inputs it reads
    begin: float  # on the clock of perf_counter()
    follower: asyncio.Task[None] | None = None


@dataclass
class _Timing:
    begin: float
    end: float
    workers: dict[int, str] = field(default_factory=dict)
    retries: int = 0
    ranges: list[RangeRun] = field(default_factory=list)


class Running:
    """One request while it runs. Used once. Final.

    Args:
        request: its number.
        loaded: the program.
        operands: one per input of the plan.
        pool: the workers.
        placement: where inputs lie.
        map_whole: whether the workers map the coordinator's memory.
        patience_seconds: time to wait for a worker when there is none.
    """

    def __init__(
        self,
        request: int,
        loaded: Loaded,
        operands: Sequence[Operand],
        pool: Pool,
        placement: Placement,
        *,
        map_whole: bool,
        patience_seconds: float,
    ) -> None:
        self._request = request
        self._loaded = loaded
        self._graph = loaded.graph
        self._operands = operands
        self._pool = pool
        self._placement = placement
        self._map_whole = map_whole
        self._patience = patience_seconds
        self.placed = Placed()
        self._placings = 0
        self._news: asyncio.Queue[Joined | Left | tuple[_Flight, Report | BaseException]] = asyncio.Queue()
        self._flights: dict[int, _Flight] = {}
        self._results: dict[int, list[Any]] = {}
        self._begun: set[int] = set()
        self._timings: dict[int, _Timing] = {}
        self._starts = {
            v: [low for low, _ in piece_bounds(self._graph.plan, self._graph.ranges, v)]
            for task in self._graph.tasks
            if task.kind == "groups"
            for part in task.parts
            for v in part
        }
        jobs = [Job(task.needs, task.range) for task in self._graph.tasks]
        self._scheduler = Scheduler(jobs, self._graph.goals, len(self._graph.ranges))
        self.retries = 0
        self.placed_bytes = 0
        self._began = perf_counter()

    async def run(self, deadline: float) -> Outcome:
        """The outcome. `deadline` is on the clock of `time.monotonic()`."""
        self._pool.listen(self._news)
        limit = asyncio.timeout(max(0.0, deadline - monotonic()))
        try:
            async with limit:
                await self._place()
                return await self._carry_out()
        except TimeoutError as error:
            if limit.expired():
                raise DeadlineError(
                    "the deadline passed before the result was ready", remedy="give the call a longer timeout"
                ) from None
            raise translated(error) from error
        finally:
            self._pool.unlisten(self._news)
            left = {f.follower: f.worker for f in self._flights.values() if f.follower is not None}
            self._pool.cancel(self._request, left)

    async def _place(self) -> None:
        self._placings += 1
        if self._placings > MOST_PLACINGS:
            raise InternalError("the inputs get lost as often as they are placed", remedy="check the cluster's nodes")
        self.placed = self._placement.find(self._graph, self._operands, map_whole=self._map_whole)
        try:
            if self._loaded.ref is None or self.placed.missing:
                await asyncio.to_thread(self._put)
        except Exception as error:
            raise translated(error) from error
        self.placed_bytes += self.placed.moved_bytes

    def _put(self) -> None:
        if self._loaded.ref is None:
            self._loaded.ref = ray.put(self._graph.plan)
        for put in self.placed.missing:
            put()

    async def _carry_out(self) -> Outcome:
        events: list[Event] = [Joined(self._pool.alive())]
        while True:
            for event in events:
                for decision in self._scheduler.handle(event):
                    lost = await self._obey(decision)
                    if isinstance(lost, Outcome):
                        return lost
                    if lost is not None:
                        events.append(lost)
            events = await self._next()

    async def _obey(self, decision: Decision) -> Outcome | Lost | None:
        match decision:
            case Run(task, worker):
                self._submit(self._graph.tasks[task], worker)
            case Drop(task):
                self._results.pop(task, None)
            case GiveUp(task, attempts):
                raise UnavailableError(
                    f"workers died or lost data {attempts} times while running one part of the request",
                    got=f"stage {self._graph.tasks[task].stage}",
                    remedy="check the workers' memory and the nodes they run on",
                )
            case Finished():
                return await self._collect()
        return None

    def _submit(self, task: Task, worker: str) -> None:
        if not self._pool.is_alive(worker):
            self._news.put_nowait(Left(worker))
            return
        arguments: list[Any] = []
        binds: list[Bind] = []
        sources: dict[str, int] = {}
        for arg in task.args:
            if isinstance(arg, FromInput):
                ref, bind = self.placed.argument(arg)
                if bind.kind == "values" and bind in binds:
                    continue  # small inputs come together
                if isinstance(ref, ray.ObjectRef):
                    name = ref.hex()
                    if arg.value in self.placed.lasting:
                        bind = replace(bind, name=name, held=self._pool.holds(worker, name))
                    if bind.held:
                        binds.append(bind)
                        continue
                    sources[name] = -1
            else:
                ref = self._results[arg.task][arg.part]
                values = self._graph.tasks[arg.task].parts[arg.part]
                start = self._starts[values[0]][task.range] if arg.bind == "piece" else 0
                bind = Bind(arg.bind, values, start)
                sources[ref.hex()] = arg.task
            arguments.append(ref)
            binds.append(bind)
        groups = self._graph.ranges[task.range] if task.range >= 0 else (0, 0)
        # A reference costs its reader about a millisecond: given only where the plan may be unknown.
        plan = None if self._pool.knows(worker, self._loaded.key) else [self._loaded.ref]
        call = Call(
            self._loaded.key,
            plan,
            self._request,
            task.kind,
            task.stage,
            groups,
            tuple(binds),
            task.parts,
            task.whole_first,
        )
        self._time(task, worker)
        begin = perf_counter()
        refs = self._pool.submit(worker, call, arguments)
        flight = _Flight(task, worker, call, refs, sources, self._placings, begin)
        flight.follower = asyncio.create_task(self._follow(flight))
        self._flights[task.id] = flight

    async def _follow(self, flight: _Flight) -> None:
        outcome: Report | BaseException
        try:
            outcome = await flight.refs[0]
        except Exception as error:
            outcome = error
        self._pool.returned(flight.worker, well=isinstance(outcome, Report) and outcome.well)
        self._news.put_nowait((flight, outcome))

    async def _next(self) -> list[Event]:
        """What happened, as the scheduler is to see it."""
        if self._scheduler.workers:
            news = await self._news.get()
        else:
            try:
                async with asyncio.timeout(self._patience):
                    news = await self._news.get()
            except TimeoutError:
                raise UnavailableError("no worker is alive", remedy="try again later") from None
        if isinstance(news, Joined):
            return [news]
        if isinstance(news, Left):
            if self._pool.closed:
                raise UnavailableError("the workers are being stopped", remedy="try again at another server, or later")
            return [self._left(news.worker)]
        flight, outcome = news
        if self._flights.get(flight.task.id) is not flight:
            return []  # it was given up before
        if isinstance(outcome, Report):
            del self._flights[flight.task.id]
            self._pool.learn(flight.worker, flight.call, unknown=outcome.unknown)
            self._ended(flight, outcome.seconds, "the worker lacked the plan or data" if outcome.unknown else "")
            if outcome.unknown:
                return [Lost((), flight.task.id)]
            if outcome.error is not None:
                raise outcome.error
            self._results[flight.task.id] = flight.refs[1:]
            self._timing(flight.task).end = perf_counter()
            return [Done(flight.task.id)]
        cause = _cause(outcome)
        if isinstance(cause, RayActorError):
            if isinstance(cause, ActorUnavailableError):
                self._pool.replace(flight.worker)
            return [self._left(flight.worker)]
        if isinstance(cause, ObjectLostError):
            del self._flights[flight.task.id]
            self._ended(flight, 0.0, "its data was lost")
            return [await self._lost(flight, cause)]
        raise translated(outcome) from outcome

    def _left(self, worker: str) -> Left:
        for task in [task for task, flight in self._flights.items() if flight.worker == worker]:
            self._ended(self._flights.pop(task), 0.0, "the worker died")
        return Left(worker)

    async def _lost(self, flight: _Flight, error: ObjectLostError) -> Lost:
        """Find out what was lost; inputs are put again from the coordinator's copy."""
        name = error.object_ref_hex
        suspects = {name: flight.sources[name]} if name in flight.sources else flight.sources
        of_inputs = -1 in suspects.values() or name not in flight.sources
        if of_inputs and flight.placing == self._placings:
            for operand in self._operands:
                if operand.digest:
                    self._placement.forget(operand.digest)
            self._loaded.ref = None
            await self._place()
        # Results that were made again meanwhile are not what was lost.
        current = {ref.hex() for refs in self._results.values() for ref in refs}
        gone = tuple(sorted({task for ref, task in suspects.items() if task >= 0 and ref in current}))
        for task in gone:
            self._results.pop(task, None)
        return Lost(gone, flight.task.id)

    # --- results ---

    async def _collect(self) -> Outcome | Lost:
        """Fetch the outputs; arrays stay where the workers put them."""
        wanted: dict[tuple[int, int], Any] = {}
        for output in self._graph.outputs:
            if isinstance(output, OutputWhole):
                wanted[output.task, output.part] = None
            elif isinstance(output, OutputPieces):
                wanted.update(dict.fromkeys(output.pieces))
        for task, part in wanted:
            try:
                wanted[task, part] = await self._results[task][part]
            except Exception as error:
                if isinstance(_cause(error), ObjectLostError):
                    self._results.pop(task, None)
                    return Lost((task,))
                raise translated(error) from error
        outputs: list[Tensor] = []
        for value, output in zip(self._graph.plan.graph.outputs, self._graph.outputs, strict=True):
            if isinstance(output, OutputInput):
                outputs.append(self._operands[output.value].array)
            elif isinstance(output, OutputWhole):
                outputs.append(wanted[output.task, output.part][output.at])
            else:
                spec = self._graph.plan.graph.specs[value]
                pieces = Pieces(spec, output.dim, tuple(wanted[piece] for piece in output.pieces))
                outputs.append(pieces.assemble() if spec.nbytes <= ASSEMBLE_BYTES else pieces)
        return Outcome(outputs, self._stages(), self.placed_bytes)

    # --- timings ---

    def _timing(self, task: Task) -> _Timing:
        stage = min(task.stage, len(self._graph.plan.stages) - 1)
        now = perf_counter()
        return self._timings.setdefault(stage, _Timing(now, now))

    def _time(self, task: Task, worker: str) -> None:
        timing = self._timing(task)
        timing.workers[max(task.range, 0) if task.kind != "whole" else -1] = worker
        if task.id in self._begun:
            timing.retries += 1
            self.retries += 1
        self._begun.add(task.id)

    def _ended(self, flight: _Flight, busy_seconds: float, lost: str) -> None:
        begin = flight.begin
        self._timing(flight.task).ranges.append(
            RangeRun(flight.worker, begin - self._began, perf_counter() - begin, busy_seconds, flight.call.groups, lost)
        )

    def _stages(self) -> tuple[StageRun, ...]:
        """How each stage ran; a plan that ran in one call is timed as a whole."""
        runs = []
        for index in range(len(self._graph.plan.stages)):
            timing = self._timings.get(index, self._timings.get(0, _Timing(0.0, 0.0)))
            ranges = [timing.workers[r] for r in sorted(timing.workers) if r >= 0 or len(timing.workers) == 1]
            # Of a plan that ran in one call, the first stage tells of that call.
            pieces = tuple(self._timings[index].ranges) if index in self._timings else ()
            workers = tuple(dict.fromkeys(ranges))
            runs.append(StageRun(workers, timing.end - timing.begin, timing.retries, pieces))
        return tuple(runs)
