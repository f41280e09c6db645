"""Workers that die, data that is lost, calls that end early: the right bits, or a clear error, and never a hang."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import CancelledError as FutureCancelled
from time import monotonic
from typing import Any

import numpy as np
import pytest
import ray

from gradmesh_engine.backend import Operand
from gradmesh_engine.errors import DeadlineError, UnavailableError
from gradmesh_engine.program import compile_query
from gradmesh_engine.session import Query
from gradmesh_worker import RayBackend
from gradmesh_worker.request import Running
from tests.cluster.cases import BUILDERS, Case, batch_norm, case, logistic, make, with_inputs
from tests.cluster.conftest import Harness
from tests.engine.graphs import Maker


def kill_a_busy_worker(cluster: Harness, but: frozenset[int] = frozenset()) -> int:
    """SIGKILL to a worker while it runs something; returns its process id."""
    killed: list[int] = []

    def strike() -> bool:
        for worker in cluster.backend.workers():
            if worker.alive and worker.busy and worker.pid not in but:
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)
                return True
        return False

    cluster.until(strike)
    return killed[0]


def endless(seconds: float = 20.0) -> Case:
    """Work for about `seconds` on one core in many short groups; what it gives is not asked for."""
    m = Maker()
    x = m.input((4_000_000,))
    value = x
    for _ in range(int(40 * seconds)):
        value = m("sin", value)
    loss = m("mean", value)
    program = compile_query(m.graph(loss), Query())
    return Case(program, (Operand(np.ones(4_000_000)),), ())


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"small"}))
def test_a_killed_worker_does_not_change_the_bits(cluster: Harness, name: str) -> None:
    cluster.until_all_alive()
    before = cluster.backend.stats().restarts
    future = cluster.begin(case(name))
    pid = kill_a_busy_worker(cluster)
    case(name).assert_same_bits(future.result(60))
    cluster.until_all_alive()
    assert cluster.backend.stats().restarts == before + 1
    assert pid not in {worker.pid for worker in cluster.backend.workers()}


def test_ranges_tell_where_and_how_long_they_ran(cluster: Harness) -> None:
    cluster.until_all_alive()
    begin = monotonic()
    future = cluster.begin(case("logistic"))
    kill_a_busy_worker(cluster)
    stage = future.result().stages[0]
    took = monotonic() - begin
    ended = [piece for piece in stage.ranges if not piece.lost]
    assert {piece.worker for piece in ended} == set(stage.workers)
    assert {piece.lost for piece in stage.ranges} - {""} == {"the worker died"}
    for piece in ended:
        assert 0 < piece.busy_seconds <= piece.seconds
        assert 0 <= piece.begin_seconds <= piece.begin_seconds + piece.seconds <= took
    split = case("logistic").program.plan.split
    assert split is not None
    groups = [group for first, stop in (piece.groups for piece in ended) for group in range(first, stop)]
    assert sorted(groups) == list(range(split.groups))


def test_two_workers_killed_in_a_multi_stage_graph(cluster: Harness) -> None:
    there = make(batch_norm(240_000))
    cluster.until_all_alive()
    future = cluster.begin(there)
    first = kill_a_busy_worker(cluster)
    kill_a_busy_worker(cluster, frozenset({first}))
    outcome = future.result(60)
    there.assert_same_bits(outcome)
    assert sum(stage.retries for stage in outcome.stages) >= 1
    cluster.until_all_alive()


def test_all_workers_killed_while_nothing_runs(cluster: Harness) -> None:
    cluster.until_all_alive()
    pids = {worker.pid for worker in cluster.backend.workers()}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    cluster.until(lambda: not cluster.backend.ready)
    case("logistic").assert_same_bits(cluster.run(case("logistic")))
    cluster.until_all_alive()
    assert not pids & {worker.pid for worker in cluster.backend.workers()}


def test_without_any_worker_a_call_ends_at_its_deadline(cluster: Harness) -> None:
    cluster.until_all_alive()
    for worker in cluster.backend.workers():
        os.kill(worker.pid, signal.SIGKILL)
    cluster.until(lambda: not cluster.backend.ready)
    with pytest.raises(DeadlineError):
        cluster.run(case("logistic"), seconds=0.05)
    cluster.until_all_alive()


def test_a_deadline_frees_the_workers(cluster: Harness) -> None:
    there = endless()
    cluster.until_all_alive()
    pids = [worker.pid for worker in cluster.backend.workers()]
    begin = monotonic()
    with pytest.raises(DeadlineError):
        cluster.run(there, seconds=0.5)
    assert monotonic() - begin < 5
    case("logistic").assert_same_bits(cluster.run(case("logistic"), seconds=10))
    cluster.until_all_alive()
    assert [worker.pid for worker in cluster.backend.workers()] == pids


def test_a_deadline_in_the_past_runs_nothing(cluster: Harness) -> None:
    with pytest.raises(DeadlineError):
        cluster.run(case("logistic"), seconds=-1.0)


def test_a_cancelled_call_frees_the_workers(cluster: Harness) -> None:
    there = endless()
    cluster.until_all_alive()
    pids = [worker.pid for worker in cluster.backend.workers()]
    future = cluster.begin(there)
    cluster.until(lambda: all(worker.busy for worker in cluster.backend.workers()))
    future.cancel()
    with pytest.raises(FutureCancelled):
        future.result(5)
    case("logistic").assert_same_bits(cluster.run(case("logistic"), seconds=10))
    cluster.until_all_alive()
    assert [worker.pid for worker in cluster.backend.workers()] == pids


def test_a_worker_that_cannot_be_stopped_is_replaced(cluster: Harness) -> None:
    """One that hangs does not answer to cancelling."""
    cluster.until_all_alive()
    stuck = cluster.backend.workers()[0]
    os.kill(stuck.pid, signal.SIGSTOP)
    pool: Any = cluster.backend._pool
    grace, pool._grace_seconds = pool._grace_seconds, 0.2
    try:
        with pytest.raises(DeadlineError):
            cluster.run(case("batch_norm"), seconds=2.0)
        cluster.until(lambda: cluster.backend.workers()[0].pid != stuck.pid)
        cluster.until_all_alive()
    finally:
        pool._grace_seconds = grace
    case("batch_norm").assert_same_bits(cluster.run(case("batch_norm")))


@ray.remote(num_cpus=0)
class _Owner:
    """Owns an object, and takes it along when it dies."""

    def put(self, array: np.ndarray) -> list[Any]:
        return [ray.put(array)]


def lose(array: np.ndarray) -> Any:
    """A reference to an object that was there and is lost."""
    owner = _Owner.remote()
    ref = ray.get(owner.put.remote(array))[0]
    ray.kill(owner)
    end = monotonic() + 30
    while monotonic() < end:
        try:
            ray.get(ref, timeout=10)
        except ray.exceptions.ObjectLostError:
            return ref
    raise AssertionError("the object outlives its owner")


def test_a_lost_input_is_placed_again(cluster: Harness) -> None:
    there = make(logistic(254_000))
    cluster.run(there)
    placement: Any = cluster.backend._placement
    kept = next(refs for (digest, _), (refs, *_) in placement._kept.items() if digest == there.operands[0].digest)
    kept[0] = lose(there.operands[0].array)
    replace_all(cluster)
    outcome = cluster.run(there)
    there.assert_same_bits(outcome)
    assert outcome.placed_bytes > there.operands[0].array.nbytes
    assert cluster.run(there).placed_bytes < 1000


def replace_all(cluster: Harness) -> None:
    """New workers, which hold nothing."""
    cluster.until_all_alive()
    pids = {worker.pid for worker in cluster.backend.workers()}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    cluster.until(lambda: not pids & {worker.pid for worker in cluster.backend.workers()})
    cluster.until_all_alive()


def test_a_lost_piece_of_an_earlier_stage_is_made_again(cluster: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece one stage stored for the next vanishes between the two."""
    there = case("batch_norm")
    lost: list[int] = []
    submit = Running._submit

    def losing(self: Any, task: Any, worker: str) -> None:
        for arg in task.args:
            if getattr(arg, "bind", "") == "piece" and not lost:
                lost.append(arg.task)
                results = self._results[arg.task]
                results[arg.part] = lose(np.zeros_like(ray.get(results[arg.part])))
        submit(self, task, worker)

    monkeypatch.setattr(Running, "_submit", losing)
    outcome = cluster.run(there)
    assert lost
    there.assert_same_bits(outcome)
    assert sum(stage.retries for stage in outcome.stages) >= 2


def test_what_a_worker_has_forgotten_is_sent_again(cluster: Harness) -> None:
    """The coordinator's idea of what workers hold may be wrong; that costs a round trip, no more."""
    there = make(logistic(255_000))
    pool: Any = cluster.backend._pool
    for slot in pool._slots.values():
        slot.plans.add(there.program.key)
    there.assert_same_bits(cluster.run(there))

    async def forget() -> None:
        for slot in pool._slots.values():
            await slot.actor.release.options(concurrency_group="control").remote(sorted(slot.held))

    cluster.wait(forget())
    again = cluster.run(there)
    there.assert_same_bits(again)
    assert again.placed_bytes < 1000


def test_a_closed_backend_says_so() -> None:
    backend = RayBackend(workers=1)
    assert not backend.ready
    there = with_inputs(case("small").program, 1)
    with pytest.raises(UnavailableError):
        asyncio.run(backend.run(there.program, there.operands, deadline=monotonic() + 1))
    asyncio.run(backend.close())
