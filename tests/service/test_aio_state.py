"""State that is carried from step to step over asyncio: the graphs are those of the synchronous client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gradmesh as gm
from gradmesh.aio import AsyncSession
from gradmesh_engine.session import Request, Result
from gradmesh_server.server import Server
from tests.service.test_aio import leaf, play

Update = Callable[[gm.Tensor, dict[str, Any]], object]


def in_place(w: gm.Tensor, state: dict[str, Any]) -> None:
    with gm.no_grad():
        w -= 0.1 * w.grad  # type: ignore[operator]


def momentum(w: gm.Tensor, state: dict[str, Any]) -> None:
    with gm.no_grad():
        w -= 0.1 * state.setdefault("m", gm.zeros(2)).mul_(0.5).add_(w.grad)


def functional(w: gm.Tensor, state: dict[str, Any]) -> None:
    with gm.no_grad():
        state["m"] = state.get("m", gm.zeros(2)) * 0.5 + w.grad
        w -= 0.1 * state["m"]


def several_results(w: gm.Tensor, state: dict[str, Any]) -> None:
    with gm.no_grad():
        state["m"] = (state.get("m", gm.zeros(2)) + w.grad).sort()[0]
        w -= 0.1 * state["m"]


def adam(w: gm.Tensor, state: dict[str, Any]) -> None:
    state.setdefault("adam", gm.optim.Adam([w], lr=0.1)).step()


UPDATES = {update.__name__: update for update in (in_place, momentum, functional, adam)}


def losses_of(w: gm.Tensor, update: Update) -> Iterator[gm.Tensor]:
    """A training loop: the losses to go backward from."""
    state: dict[str, Any] = {}
    for _ in range(8):
        w.grad = None
        yield (w * w).sum()
        update(w, state)


def shape_of(request: Request) -> tuple[int, int]:
    return len(request.graph.nodes), len(request.graph.outputs)


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_a_training_loop_sends_the_graphs_it_sends_without(server: Server, update: Update) -> None:
    """State that is carried from step to step does not grow a chain."""
    expected, seen = [], []
    with gm.LocalSession() as local:
        run = local.run
        local.run = lambda request: (expected.append(shape_of(request)), run(request))[1]  # type: ignore[method-assign]
        w = leaf(1.0, 2.0)
        for loss in losses_of(w, update):
            loss.backward()
        last = w.tolist()

    async def scenario(session: AsyncSession) -> None:
        run = session.run

        async def recording(request: Request) -> Result:
            seen.append(shape_of(request))
            return await run(request)

        session.run = recording  # type: ignore[method-assign]
        w = leaf(1.0, 2.0)
        for loss in losses_of(w, update):
            await session.backward(loss)
        assert seen == expected[: len(seen)]
        await session.evaluate(w)
        assert w.tolist() == last

    play(server, scenario)
    assert len(seen) == 9


def test_state_of_several_results_does_not_grow_a_chain(server: Server) -> None:
    async def scenario(session: AsyncSession) -> None:
        for step, loss in enumerate(losses_of(leaf(1.0, 2.0), several_results)):
            if step == 4:
                gm.stats(reset=True)
            await session.backward(loss)
        assert gm.stats().misses == {}

    play(server, scenario)
