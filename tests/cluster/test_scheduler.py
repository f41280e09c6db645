"""The state machine of a request, as tables of events and the decisions they lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gradmesh_worker.scheduler import (
    MOST_ATTEMPTS,
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

# Two ranges and their sum.
SUM = ((Job(lane=0), Job(lane=1), Job((0, 1))), frozenset({2}))
# Two stages: ranges 0 and 1 store pieces, 2 combines, 3 and 4 read their piece and the combined value.
STAGES = (
    (Job(lane=0), Job(lane=1), Job((0, 1)), Job((0, 2), 0), Job((1, 2), 1)),
    frozenset({3, 4}),
)
# Four ranges, each a result of its own.
FOUR = (tuple(Job(lane=lane) for lane in range(4)), frozenset(range(4)))


@dataclass(frozen=True)
class Row:
    name: str
    jobs: tuple[tuple[Job, ...], frozenset[int]]
    steps: tuple[tuple[Event, tuple[Decision, ...]], ...]


ROWS = [
    Row(
        "ranges side by side, then the sum, then nothing is left to keep but the sum",
        SUM,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(1, "b"))),
            (Done(1), ()),
            (Done(0), (Run(2, "a"),)),
            (Done(2), (Drop(0), Drop(1), Finished())),
        ),
    ),
    Row(
        "without a worker nothing is decided",
        SUM,
        ((Joined(()), ()), (Joined(("a",)), (Run(0, "a"), Run(1, "a")))),
    ),
    Row(
        "neighbouring lanes share a worker; an idle worker takes over the last of the one with most left",
        FOUR,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(2, "b"), Run(1, "a"), Run(3, "b"))),
            (Done(2), ()),
            (Done(3), ()),
            (Done(0), ()),
            (Done(1), (Finished(),)),
        ),
    ),
    Row(
        "a worker runs one task and has one waiting; the rest waits for whoever is free first",
        (tuple(Job(lane=lane) for lane in range(5)), frozenset(range(5))),
        (
            (Joined(("a",)), (Run(0, "a"), Run(1, "a"))),
            (Joined(("b",)), (Run(4, "b"),)),
            (Done(4), (Run(3, "b"),)),
            (Done(0), (Run(2, "a"),)),
            (Done(3), ()),
        ),
    ),
    Row(
        "a second stage runs where its pieces are",
        STAGES,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(1, "b"))),
            (Done(0), ()),
            (Done(1), (Run(2, "a"),)),
            (Done(2), (Run(3, "a"), Run(4, "b"))),
            (Done(3), (Drop(0),)),
            (Done(4), (Drop(1), Drop(2), Finished())),
        ),
    ),
    Row(
        "what a dead worker was running runs again elsewhere; what it had finished does not",
        STAGES,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(1, "b"))),
            (Done(0), ()),
            (Left("b"), (Run(1, "a"),)),
            (Done(1), (Run(2, "a"),)),
            (Done(2), (Run(3, "a"), Run(4, "a"))),
            (Done(3), (Drop(0),)),
            (Done(4), (Drop(1), Drop(2), Finished())),
        ),
    ),
    Row(
        "all workers die; the one that comes back goes on from what exists",
        SUM,
        (
            (Joined(("a",)), (Run(0, "a"), Run(1, "a"))),
            (Done(0), ()),
            (Left("a"), ()),
            (Joined(("a",)), (Run(1, "a"),)),
            (Done(1), (Run(2, "a"),)),
            (Done(2), (Drop(0), Drop(1), Finished())),
        ),
    ),
    Row(
        "a lost piece is made again before what reads it runs again",
        STAGES,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(1, "b"))),
            (Done(0), ()),
            (Done(1), (Run(2, "a"),)),
            (Done(2), (Run(3, "a"), Run(4, "b"))),
            (Lost((1,), task=4), (Run(1, "b"),)),
            (Done(3), (Drop(0),)),
            (Done(1), (Run(4, "b"),)),
            (Done(4), (Drop(1), Drop(2), Finished())),
        ),
    ),
    Row(
        "what was dropped comes back when something made from it is lost",
        ((Job(lane=0), Job((0,), 0), Job((1,), 0)), frozenset({2})),
        (
            (Joined(("a",)), (Run(0, "a"),)),
            (Done(0), (Run(1, "a"),)),
            (Done(1), (Drop(0), Run(2, "a"))),
            (Lost((1,), task=2), (Run(0, "a"),)),
            (Done(0), (Run(1, "a"),)),
            (Done(1), (Drop(0), Run(2, "a"))),
            (Done(2), (Drop(1), Finished())),
        ),
    ),
    Row(
        "a result lost before it was fetched is made again",
        SUM,
        (
            (Joined(("a",)), (Run(0, "a"), Run(1, "a"))),
            (Done(0), ()),
            (Done(1), (Run(2, "a"),)),
            (Done(2), (Drop(0), Drop(1), Finished())),
            (Lost((2,)), (Run(0, "a"), Run(1, "a"))),
            (Done(0), ()),
            (Done(1), (Run(2, "a"),)),
            (Done(2), (Drop(0), Drop(1), Finished())),
        ),
    ),
    Row(
        "a lost input only makes the task run again",
        SUM,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(1, "b"))),
            (Lost((), task=0), (Run(0, "a"),)),
        ),
    ),
    Row(
        "news of the dead changes nothing",
        SUM,
        (
            (Joined(("a", "b")), (Run(0, "a"), Run(1, "b"))),
            (Left("a"), (Run(0, "b"),)),
            (Left("a"), ()),
            (Done(2), ()),
        ),
    ),
    Row(
        "a task that takes every worker with it is given up",
        ((Job(lane=0),), frozenset({0})),
        (
            *((event, decisions) for _ in range(MOST_ATTEMPTS - 1) for event, decisions in (
                (Joined(("a",)), (Run(0, "a"),)),
                (Left("a"), ()),
            )),
            (Joined(("a",)), (Run(0, "a"),)),
            (Left("a"), (GiveUp(0, MOST_ATTEMPTS),)),
        ),
    ),
    Row("nothing to do is done at once", ((), frozenset()), ((Joined(("a",)), (Finished(),)),)),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_decisions(row: Row) -> None:
    jobs, goals = row.jobs
    scheduler = Scheduler(jobs, goals, 1 + max((job.lane for job in jobs), default=0))
    for number, (event, expected) in enumerate(row.steps):
        assert scheduler.handle(event) == expected, f"step {number}: {event}"


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_it_ends_with_every_goal(seed: int) -> None:
    """Random graphs, deaths and losses: no task runs without what it needs, and all goals are reached."""
    rng = np.random.default_rng(seed)
    lanes = int(rng.integers(1, 6))
    jobs: list[Job] = []
    for _ in range(int(rng.integers(3, 30))):
        count = int(rng.integers(0, min(4, len(jobs)) + 1))
        needs = sorted({int(n) for n in rng.choice(len(jobs), count)}) if jobs else []
        jobs.append(Job(tuple(needs), int(rng.integers(-1, lanes))))
    goals = frozenset({len(jobs) - 1, int(rng.integers(len(jobs)))})
    scheduler = Scheduler(jobs, goals, lanes)
    exists: set[int] = set()
    running: dict[int, str] = {}
    alive = {"a", "b", "c"}
    trouble = int(rng.integers(0, 6))
    decisions = list(scheduler.handle(Joined(("a", "b", "c"))))
    for _ in range(10_000):
        for decision in decisions:
            match decision:
                case Run(task, worker):
                    assert set(jobs[task].needs) <= exists
                    assert worker in alive
                    assert task not in running
                    running[task] = worker
                case Drop(task):
                    assert task not in goals
                    exists.discard(task)
                case Finished():
                    assert goals <= exists
                    return
                case GiveUp():
                    return
        assert running or not alive
        chance = rng.random()
        if trouble and chance < 0.2 and len(alive) > 1:
            trouble -= 1
            worker = str(rng.choice(sorted(alive)))
            alive.discard(worker)
            running = {task: by for task, by in running.items() if by != worker}
            decisions = [*scheduler.handle(Left(worker))]
        elif chance < 0.3 and len(alive) < 3:
            worker = next(w for w in "abc" if w not in alive)
            alive.add(worker)
            decisions = [*scheduler.handle(Joined((worker,)))]
        else:
            task = int(rng.choice(sorted(running)))
            needs = [n for n in jobs[task].needs if n in exists]
            del running[task]
            if trouble and chance < 0.5 and needs:
                trouble -= 1
                lost = int(rng.choice(needs))
                exists.discard(lost)
                decisions = [*scheduler.handle(Lost((lost,), task))]
            else:
                exists.add(task)
                decisions = [*scheduler.handle(Done(task))]
    pytest.fail("it does not end")
