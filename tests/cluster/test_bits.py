"""The same bits in process and on one, two and three workers."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from gradmesh_engine.backend import Operand, Pieces
from gradmesh_engine.errors import GradmeshError, OutOfRangeError
from gradmesh_engine.program import compile_query
from gradmesh_engine.session import Query
from tests.cluster.cases import BUILDERS, Case, case, logistic, make, with_inputs
from tests.cluster.conftest import Harness
from tests.engine.graphs import Maker, random_graph
from tests.engine.surroundings import ROWS, request_of


@pytest.mark.parametrize("cluster", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("name", BUILDERS)
def test_workers_give_the_bits_of_a_run_in_process(cluster: Harness, name: str) -> None:
    outcome = cluster.run(case(name))
    case(name).assert_same_bits(outcome)
    plan = case(name).program.plan
    assert len(outcome.stages) == len(plan.stages)
    known = {worker.id for worker in cluster.backend.workers()}
    for stage in outcome.stages:
        assert stage.workers and set(stage.workers) <= known
        assert stage.seconds > 0
    if plan.split is not None:
        assert len(set().union(*(stage.workers for stage in outcome.stages))) == len(known)


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_give_the_bits_of_a_run_in_process(cluster: Harness, seed: int) -> None:
    graph, arrays, wrt = random_graph(seed, rows=200_003)
    program = compile_query(graph, Query((graph.outputs[0],), tuple(wrt), (False,)))
    there = with_inputs(program, seed)
    there.assert_same_bits(cluster.run(there))


@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_kernel_gives_the_bits_of_a_run_in_process(cluster: Harness, name: str) -> None:
    request = request_of(name)
    program = compile_query(request.graph, request.query)
    arrays = [np.asarray(array) for array in (*request.inputs, *request.cotangents)]
    there = Case(program, tuple(Operand(array) for array in arrays), tuple(program.run(arrays)))
    there.assert_same_bits(cluster.run(there))


def test_many_requests_at_once_each_get_their_own(cluster: Harness) -> None:
    cases = [with_inputs(case("logistic").program, seed) for seed in range(1, 9)] + [case("batch_norm"), case("mlp")]
    for there, future in [(there, cluster.begin(there)) for there in cases]:
        there.assert_same_bits(future.result(60))


def test_a_second_call_places_nothing(cluster: Harness) -> None:
    there = make(logistic(251_000))
    large = sum(o.array.nbytes for o in there.operands if o.digest)
    first = cluster.run(there)
    second = cluster.run(there)
    assert first.placed_bytes == large + there.operands[1].array.nbytes
    assert second.placed_bytes == there.operands[1].array.nbytes  # the parameters travel with each call
    there.assert_same_bits(second)


def test_what_is_forgotten_is_placed_again(cluster: Harness) -> None:
    there = make(logistic(252_000))
    cluster.run(there)

    async def forget() -> None:
        for operand in there.operands:
            if operand.digest:
                cluster.backend.forget(operand.digest)

    pool: Any = cluster.backend._pool

    async def held() -> int:
        counts = [
            len(await slot.actor.holding.options(concurrency_group="control").remote()) for slot in pool._slots.values()
        ]
        return sum(counts)

    before = cluster.wait(held())
    cluster.wait(forget())
    # The calls to let go and to tell are answered in order.
    assert cluster.wait(held()) <= before - 4
    again = cluster.run(there)
    assert again.placed_bytes > there.operands[0].array.nbytes
    there.assert_same_bits(again)


def test_adopted_content_is_shared_and_not_placed_again(cluster: Harness) -> None:
    there = make(logistic(253_000))
    for operand in there.operands:
        if operand.digest:
            shared = cluster.wait(cluster.backend.adopt(operand.digest, operand.array))
            assert shared is not operand.array
            np.testing.assert_array_equal(shared, operand.array)
            assert not shared.flags.writeable
    outcome = cluster.run(there)
    assert outcome.placed_bytes == there.operands[1].array.nbytes
    there.assert_same_bits(outcome)


def test_large_split_results_come_in_pieces(cluster: Harness) -> None:
    outcome = cluster.run(case("pointwise"))
    gradient = outcome.outputs[2]
    assert isinstance(gradient, Pieces)
    assert len(gradient.parts) > 1
    assert b"".join(run.tobytes() for run in gradient.runs()) == case("pointwise").expected[2].tobytes()


def test_errors_found_while_running_arrive_as_themselves(cluster: Harness) -> None:
    m = Maker()
    table, rows = m.input((50, 8), "float32"), m.input((90_000,), "int64")
    loss = m("mean", m("tanh", m("index_select", table, rows, dim=0)))
    program = compile_query(m.graph(loss), Query((loss,), (table,), (False,)))
    there = with_inputs(program, 0)
    there.assert_same_bits(cluster.run(there))
    wrong = there.operands[1].array.copy()
    wrong[77_000] = 50
    with pytest.raises(OutOfRangeError) as here:
        program.run([there.operands[0].array, wrong])
    broken = Case(program, (there.operands[0], type(there.operands[1])(wrong)), there.expected)
    with pytest.raises(GradmeshError) as remote:
        cluster.run(broken)
    assert type(remote.value) is type(here.value)
    assert remote.value.fields() == here.value.fields()
    there.assert_same_bits(cluster.run(there))


def test_the_event_loop_stays_free(cluster: Harness) -> None:
    """While requests run, the loop never stands still for long: health checks are answered."""
    there = case("batch_norm")

    async def longest_gap(done: asyncio.Event) -> float:
        loop, longest = asyncio.get_running_loop(), 0.0
        before = loop.time()
        while not done.is_set():
            await asyncio.sleep(0.001)
            longest, before = max(longest, loop.time() - before), loop.time()
        return longest

    async def both() -> float:
        done = asyncio.Event()
        gap = asyncio.create_task(longest_gap(done))
        await cluster.backend.run(there.program, there.operands, deadline=asyncio.get_running_loop().time() + 60)
        done.set()
        return await gap

    # A busy machine may keep it from running now and then, but not each time.
    assert min(cluster.wait(both()) for _ in range(5)) < 0.5
