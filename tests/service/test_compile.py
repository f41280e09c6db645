"""Compiled functions on a service give what they give in process."""

import asyncio
import threading
import warnings
from typing import Any

import pytest

import gradmesh as gm
from gradmesh._remote import RemoteSession
from gradmesh.aio import AsyncSession
from gradmesh_server.server import Server
from tests.client import compile_rows_autograd
from tests.client.compile_rows import ROWS, numbers
from tests.client.test_compile import plain

assert compile_rows_autograd.CALLS  # Its rows are in the table.


@pytest.mark.parametrize("name", ROWS)
def test_compiled_programs_are_the_same_remotely(name: str, session: RemoteSession) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = [plain(one) for one in ROWS[name].program(gm, gm.compile)]
        with session:
            there = [plain(one) for one in ROWS[name].program(gm, gm.compile)]
    assert here == there


def _loss(weight: gm.Tensor) -> Any:
    return lambda x: ((x @ weight).tanh() ** 2).mean()


def test_awaited_passes_of_compiled_functions(server: Server) -> None:
    names: list[str] = []

    async def train(compile: Any) -> list[bytes]:
        async with asyncio.timeout(60), gm.aio.connect(server.address) as session:
            assert isinstance(session, AsyncSession)
            weight = numbers(gm, 4, 2, grad=True)
            loss, seen = compile(_loss(weight)), []
            for step in range(6):
                losses = [loss(numbers(gm, 3, 4, seed=10 * step + k)) for k in range(4)]
                await asyncio.gather(*[session.backward(one) for one in losses])
                seen += [one.detach().numpy().tobytes() for one in losses]
                with gm.no_grad():
                    weight -= 0.1 * weight.grad
                await session.evaluate(weight)
                seen.append(weight.detach().numpy().tobytes())
            names.append(losses[0].grad_fn.name())
        return seen

    assert asyncio.run(train(gm.compile)) == asyncio.run(train(lambda function: function))
    assert names == ["CompiledFunctionBackward", "MeanBackward0"]


def test_threads_share_a_compiled_function() -> None:
    weight = numbers(gm, 4, 2)
    function = gm.func.grad(lambda x: ((x @ weight).tanh() ** 2).mean())
    compiled, wrong = gm.compile(function), []

    def work(start: int) -> None:
        for index in range(start, start + 40):
            x = numbers(gm, 3 + index % 3, 4, seed=index)
            if plain(compiled(x)) != plain(function(x)):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(100 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
