"""The state machine of one request: events in, decisions out; it does no I/O and knows no clock.

Tasks run when what they need is done. Ranges go to the worker that holds their data; an idle worker
takes over from the one with most left. What a dead worker was running, and results that were lost,
run again, with whatever they need in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

WINDOW: Final = 2
"""Tasks a worker may have at once: one that runs and one that waits for it."""

MOST_ATTEMPTS: Final = 4
"""A task that was begun this often and never came to its end is given up."""

# --- what the machine is told -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """One task as the scheduler sees it.

    Attributes:
        needs: ids of the tasks whose results it reads.
        lane: tasks of a lane share data and go to the same worker where possible; -1 for none.
    """

    needs: tuple[int, ...] = ()
    lane: int = -1


@dataclass(frozen=True, slots=True)
class Joined:
    """Workers that can take tasks from now on."""

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """A worker that is gone, with all that was running on it."""

    worker: str


@dataclass(frozen=True, slots=True)
class Done:
    """A task whose results exist."""

    task: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Results that no longer exist.

    Attributes:
        gone: the tasks whose results they were; empty when an input of the plan was lost.
        task: the task that could not run without them, -1 when they were asked for from outside.
    """

    gone: tuple[int, ...]
    task: int = -1


Event: TypeAlias = "Joined | Left | Done | Lost"

# --- what it decides --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Give a task to a worker."""

    task: int
    worker: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody needs a task's results any more."""

    task: int


@dataclass(frozen=True, slots=True)
class Finished:
    """All that was asked for is done."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A task does not come to an end however often it is run."""

    task: int
    attempts: int


Decision: TypeAlias = "Run | Drop | Finished | GiveUp"


class _State(Enum):
    IDLE = auto()  # nobody asked for it, or its results were dropped
    WAITING = auto()  # for what it needs
    READY = auto()
    RUNNING = auto()
    DONE = auto()


class Scheduler:
    """Decides which worker runs what next.

    Args:
        jobs: the tasks by id; each needs smaller ids only.
        goals: the tasks whose results are asked for.
        lanes: number of lanes.
    """

    def __init__(self, jobs: Sequence[Job], goals: frozenset[int], lanes: int) -> None:
        self._jobs = jobs
        self._goals = goals
        self._lanes = lanes
        self._state = [_State.IDLE] * len(jobs)
        self._missing = [0] * len(jobs)  # needs that are not done, of waiting tasks
        self._consumers: list[list[int]] = [[] for _ in jobs]
        wanted = self._reachable()
        for task in sorted(wanted):
            for need in jobs[task].needs:
                self._consumers[need].append(task)
        self._unserved = [len(consumers) for consumers in self._consumers]  # consumers not done yet
        self._counted = [task in wanted for task in range(len(jobs))]  # among the unserved of its needs
        self._attempts = [0] * len(jobs)
        self._running: dict[str, list[int]] = {}
        self._home: dict[int, str] = {}
        self._finished = False
        for goal in sorted(goals):
            self._want(goal)

    def handle(self, event: Event) -> tuple[Decision, ...]:
        """Take an event; returns what is to be done about it, in order."""
        if self._finished and not isinstance(event, Lost):
            return ()
        decisions: list[Decision] = []
        match event:
            case Joined(workers):
                self._join(workers)
            case Left(worker):
                self._leave(worker)
            case Done(task):
                self._done(task, decisions)
            case Lost(gone, task):
                self._lose(gone, task)
        if all(self._state[goal] is _State.DONE for goal in self._goals):
            self._finished = True
            return (*decisions, Finished())
        self._finished = False
        for task, attempts in enumerate(self._attempts):
            if attempts >= MOST_ATTEMPTS and self._state[task] is not _State.DONE:
                self._finished = True
                return (*decisions, GiveUp(task, attempts))
        self._assign(decisions)
        return tuple(decisions)

    @property
    def workers(self) -> Mapping[str, Sequence[int]]:
        """What each worker is running."""
        return self._running

    # --- events ---

    def _join(self, workers: Sequence[str]) -> None:
        first = not self._running
        for worker in workers:
            self._running.setdefault(worker, [])
        if first and workers:
            # Neighbouring lanes share a worker: what they hold of the data is contiguous.
            for lane in range(self._lanes):
                self._home.setdefault(lane, workers[lane * len(workers) // self._lanes])

    def _leave(self, worker: str) -> None:
        for task in self._running.pop(worker, []):
            self._attempts[task] += 1
            self._retry(task)
        self._home = {lane: home for lane, home in self._home.items() if home != worker}

    def _done(self, task: int, decisions: list[Decision]) -> None:
        if self._state[task] is not _State.RUNNING:
            return
        self._unassign(task)
        self._state[task] = _State.DONE
        for consumer in self._consumers[task]:
            if self._state[consumer] is _State.WAITING:
                self._missing[consumer] -= 1
                if not self._missing[consumer]:
                    self._state[consumer] = _State.READY
        self._counted[task] = False
        for need in self._jobs[task].needs:
            self._unserved[need] -= 1
            if not self._unserved[need] and need not in self._goals:
                self._state[need] = _State.IDLE
                decisions.append(Drop(need))

    def _lose(self, gone: Sequence[int], task: int) -> None:
        for lost in gone:
            if self._state[lost] is _State.DONE:
                self._state[lost] = _State.IDLE
                self._attempts[lost] += 1
                for consumer in self._consumers[lost]:
                    if self._state[consumer] is _State.READY:
                        self._state[consumer] = _State.WAITING
                        self._missing[consumer] = 0
                    if self._state[consumer] is _State.WAITING:
                        self._missing[consumer] += 1
        if task >= 0 and self._state[task] is _State.RUNNING:
            self._unassign(task)
            self._attempts[task] += 1
            self._retry(task)
        for lost in gone:
            if lost in self._goals or any(
                self._state[c] in (_State.WAITING, _State.READY) for c in self._consumers[lost]
            ):
                self._want(lost)

    # --- the rest ---

    def _reachable(self) -> set[int]:
        found: set[int] = set()
        pending = list(self._goals)
        while pending:
            task = pending.pop()
            if task not in found:
                found.add(task)
                pending.extend(self._jobs[task].needs)
        return found

    def _want(self, goal: int) -> None:
        """Ask for a task and, as far as they are not done, for all it needs."""
        pending = [goal]
        while pending:
            task = pending.pop()
            if self._state[task] is not _State.IDLE:
                continue
            if not self._counted[task]:
                self._counted[task] = True
                for need in self._jobs[task].needs:
                    self._unserved[need] += 1
            missing = [need for need in self._jobs[task].needs if self._state[need] is not _State.DONE]
            self._missing[task] = len(missing)
            self._state[task] = _State.WAITING if missing else _State.READY
            pending.extend(missing)

    def _retry(self, task: int) -> None:
        self._state[task] = _State.IDLE
        self._want(task)

    def _unassign(self, task: int) -> None:
        for tasks in self._running.values():
            if task in tasks:
                tasks.remove(task)

    def _assign(self, decisions: list[Decision]) -> None:
        ready = [task for task, state in enumerate(self._state) if state is _State.READY]
        while ready:
            for worker, running in sorted(self._running.items(), key=lambda item: len(item[1])):
                task = self._choose(worker, ready, idle=not running) if len(running) < WINDOW else None
                if task is not None:
                    break
            else:
                return
            ready.remove(task)
            running.append(task)
            self._state[task] = _State.RUNNING
            if self._jobs[task].lane >= 0:
                self._home[self._jobs[task].lane] = worker
            decisions.append(Run(task, worker))

    def _choose(self, worker: str, ready: Sequence[int], *, idle: bool) -> int | None:
        """Its own lanes first, then what belongs to nobody; an idle worker also takes over."""
        left: dict[str, list[int]] = {}
        free = None
        for task in ready:
            home = self._home.get(self._jobs[task].lane)
            if home == worker:
                return task
            if home is None:
                free = task if free is None else free
            else:
                left.setdefault(home, []).append(task)
        if free is not None:
            return free
        if idle and left:
            # Only what its own worker would not start at once is worth moving.
            busiest = max(left, key=lambda home: len(left[home]))
            if self._running.get(busiest):
                return left[busiest][-1]
        return None
