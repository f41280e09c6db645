"""The asyncio client: what runs side by side, what is ordered, and what is left of what is cancelled or fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest

import gradmesh as gm
from gradmesh import _blobs, _codec
from gradmesh.aio import AsyncSession
from gradmesh_engine.backend import Operand, Outcome
from gradmesh_engine.errors import (
    AttributeTypeError,
    AutogradError,
    CancelledError,
    DeadlineError,
    GradmeshError,
    InvalidRequestError,
    OutOfRangeError,
    UnavailableError,
)
from gradmesh_engine.program import Program
from gradmesh_server.config import MIB, Config
from gradmesh_server.inline import InlineBackend
from gradmesh_server.server import Server, background
from tests.service.graphs import chain_request, equal_bits

Scenario = Callable[[AsyncSession], Coroutine[Any, Any, None]]


def play(server: Server, scenario: Scenario, **options: Any) -> None:
    """Run a scenario with a session of its own, on a loop of its own."""

    async def whole() -> None:
        async with asyncio.timeout(60), gm.aio.connect(server.address, **options) as session:
            await scenario(session)

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, by asking again and again."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


class HeldBackend(InlineBackend):
    """Runs in process; whatever has one of the `held` numbers for an operand waits until that is let go."""

    def __init__(self) -> None:
        super().__init__(4)
        self.held: dict[float, asyncio.Event] = {}
        self.running = self.most = self.finished = self.cancelled = 0

    async def run(self, program: Program, operands: Sequence[Operand], *, deadline: float) -> Outcome:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for operand in operands:
                if operand.array.size == 1 and float(operand.array.reshape(())) in self.held:
                    await self.held[float(operand.array.reshape(()))].wait()
            outcome = await super().run(program, operands, deadline=deadline)
            self.finished += 1
            return outcome
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def hold(self, number: float) -> None:
        self.held[number] = asyncio.Event()

    def let_go(self, server: Server, number: float) -> None:
        assert server.loop is not None
        server.loop.call_soon_threadsafe(self.held[number].set)


@pytest.fixture
def held() -> Iterator[tuple[HeldBackend, Server]]:
    backend = HeldBackend()
    with background(Config(port=0, inline="never", max_running=8), backend) as server:
        yield backend, server


def leaf(*values: float) -> gm.Tensor:
    return gm.tensor(list(values), requires_grad=True)


def grad_of(tensor: gm.Tensor) -> Any:
    assert tensor.grad is not None
    assert tensor.grad.value.data is not None, "the gradient was not computed"
    return tensor.grad.tolist()


# --- the same as without --------------------------------------------------------------------------


class Cubed(gm.autograd.Function):
    """x³, whose gradient is computed by the client."""

    @staticmethod
    def forward(ctx: Any, x: gm.Tensor) -> gm.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, grad: gm.Tensor) -> gm.Tensor:
        (x,) = ctx.saved_tensors
        return grad * x * x * 3


def plain(w: gm.Tensor) -> gm.Tensor:
    return (w * w.exp()).sum()


def hooked(w: gm.Tensor) -> gm.Tensor:
    y = w.tanh()
    y.register_hook(lambda grad: grad * 3)
    w.register_hook(lambda grad: grad + 1)
    return (y * y).sum()


def own_function(w: gm.Tensor) -> gm.Tensor:
    return (Cubed.apply(w) * w).sum()


def retained(w: gm.Tensor) -> gm.Tensor:
    y = w * 2
    y.retain_grad()
    w.retained = y  # type: ignore[attr-defined]
    return (y * y.sin()).sum()


PASSES = {program.__name__: program for program in (plain, hooked, own_function, retained)}


@pytest.mark.parametrize("program", PASSES.values(), ids=PASSES)
def test_passes_give_the_same_bits(server: Server, program: Callable[[gm.Tensor], gm.Tensor]) -> None:
    expected = leaf(0.5, -1.5, 2.0)
    program(expected).backward()

    async def scenario(session: AsyncSession) -> None:
        w = leaf(0.5, -1.5, 2.0)
        loss = program(w)
        await session.backward(loss)
        assert grad_of(w) == expected.grad.tolist()  # type: ignore[union-attr]
        assert loss.value.data is not None
        if program is retained:
            assert grad_of(w.retained) == expected.retained.grad.tolist()  # type: ignore[attr-defined]

    play(server, scenario)


def test_evaluate_grad_explain_and_the_rest(server: Server) -> None:
    async def scenario(session: AsyncSession) -> None:
        x = leaf(1.0, 2.0)
        y, z = x.exp(), x.detach() * 3
        await session.evaluate(y, z)
        assert y.value.data is not None
        assert z.value.data is not None
        await session.evaluate()
        assert z.tolist() == [3.0, 6.0]
        (first,) = await session.grad((x**3).sum(), x, create_graph=True)
        (second,) = await session.grad(first, x, grad_outputs=gm.tensor([1.0, 10.0]))
        assert second.tolist() == [6.0, 120.0]
        loss = (x * x).sum()
        (dx,) = await session.grad(loss, x)
        assert dx.value.data is not None
        assert loss.value.data is not None  # Reading what was differentiated is free.
        unused, zeros = leaf(1.0), leaf(1.0)
        assert await session.grad(plain(x), [x, unused], allow_unused=True) is not None
        assert (await session.grad(plain(x), zeros, materialize_grads=True))[0].tolist() == [0.0]
        with pytest.raises(AutogradError, match=r"`inputs` argument to `grad\(\)` cannot be empty"):
            await session.grad(x.sum(), [])
        with pytest.raises(AutogradError, match="not have been used"):
            await session.grad(plain(x), unused)
        with pytest.raises(AttributeTypeError):
            await session.evaluate(3.0)  # type: ignore[arg-type]
        assert "runs in" in await session.explain(plain(x))
        assert "known" in await session.explain(x)
        assert (await session.info()).version
        assert len(await session.ops()) > 50
        assert repr(session) == f"<gradmesh asyncio session at {server.address}>"

    play(server, scenario)


def test_a_session_can_be_awaited(server: Server) -> None:
    async def whole() -> None:
        session = await gm.aio.connect(server.address)
        assert (await session.run(chain_request(2))).gradients
        await session.close()
        await session.close()
        assert "closed" in repr(session)
        with pytest.raises(UnavailableError, match="closed"):
            await session.run(chain_request(2))

    asyncio.run(whole())


# --- side by side ---------------------------------------------------------------------------------


def test_a_hundred_passes_at_once(server: Server) -> None:
    async def scenario(session: AsyncSession) -> None:
        leaves = [leaf(float(n), 1.0) for n in range(100)]
        losses = [(w * w * float(n)).sum() for n, w in enumerate(leaves)]
        await asyncio.gather(*map(session.backward, losses))
        assert [grad_of(w) for w in leaves] == [[2.0 * n * n, 2.0 * n] for n in range(100)]

    gm.stats(reset=True)
    play(server, scenario)
    counted = gm.stats()
    assert counted.requests == 100
    assert {line.partition(":")[0] for line in counted.reads} == {"test_aio.py"}


def test_no_more_than_allowed_are_under_way(held: tuple[HeldBackend, Server]) -> None:
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(5.0)
        losses = [(leaf(1.0) * 5.0).sum() for _ in range(9)]
        passes = asyncio.gather(*map(session.backward, losses))
        await until(lambda: backend.running == 3)
        backend.let_go(server, 5.0)
        await passes
        assert backend.most == 3

    play(server, scenario, concurrency=3)


def test_what_does_not_fit_under_way_has_no_more_time(held: tuple[HeldBackend, Server]) -> None:
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(5.0)
        both = [(leaf(1.0) * 5.0).sum() for _ in range(2)]
        failures = await asyncio.gather(*map(session.backward, both), return_exceptions=True)
        assert [type(failure) for failure in failures] == [DeadlineError, DeadlineError]

    play(server, scenario, concurrency=1, timeout=0.3)


def test_gradients_are_added_in_the_order_of_issue(held: tuple[HeldBackend, Server]) -> None:
    """(1 + 1e8) - 1e8 is 0 in float32; in the order in which these are computed it is 1."""
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(1.0)
        backend.hold(1e8)
        w, other = leaf(7.0), leaf(7.0)
        passes = [asyncio.create_task(session.backward((w * c).sum())) for c in (1.0, 1e8, -1e8)]
        await until(lambda: (backend.running, backend.finished) == (2, 1))
        await session.backward((other * 2.0).sum())  # What has nothing in common waits for nobody.
        assert grad_of(other) == [2.0]
        backend.let_go(server, 1e8)
        await until(lambda: backend.running == 1)
        await session.info()
        assert w.grad is None
        assert not any(task.done() for task in passes)
        backend.let_go(server, 1.0)
        await asyncio.gather(*passes)
        assert grad_of(w) == [0.0]

    play(server, scenario)


def test_what_one_task_awaits_is_in_order(server: Server) -> None:
    async def scenario(session: AsyncSession) -> None:
        async def descend(start: float) -> list[float]:
            w = leaf(start)
            seen = []
            for _ in range(10):
                w.grad = None
                loss = (w * w).sum()
                await session.backward(loss)
                seen.append(loss.item())
                with gm.no_grad():
                    w -= 0.25 * w.grad  # type: ignore[operator]
            return seen

        for start, seen in zip((1.0, 2.0, 3.0), await asyncio.gather(*map(descend, (1.0, 2.0, 3.0))), strict=True):
            assert seen == [start**2 / 4.0**n for n in range(10)]

    play(server, scenario)


def test_modes_belong_to_tasks(server: Server) -> None:
    async def scenario(session: AsyncSession) -> None:
        inside = asyncio.Event()

        async def quiet() -> None:
            with gm.no_grad():
                inside.set()
                await session.evaluate(gm.ones(2) * 2)
                assert not gm.is_grad_enabled()

        async def recording() -> None:
            await inside.wait()
            assert gm.is_grad_enabled()
            w = leaf(3.0)
            await session.backward((w * w).sum())
            assert grad_of(w) == [6.0]

        await asyncio.gather(quiet(), recording())

    play(server, scenario)


def test_large_tensors_are_left_to_threads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing and encoding of much content; of little, it is done at once."""
    threads: dict[str, set[tuple[bool, int]]] = {"hash": set(), "encode": set()}

    def watch(module: Any, name: str, what: str) -> None:
        inner = getattr(module, name)

        def outer(array: np.ndarray) -> Any:
            threads[what].add((array.nbytes > MIB // 2, threading.get_ident()))
            return inner(array)

        monkeypatch.setattr(module, name, outer)

    watch(_blobs, "digest_of_array", "hash")
    watch(_codec, "encode_array", "encode")

    async def scenario(session: AsyncSession) -> None:
        for count in (20_000, 200_000):  # float32; the second input is a constant.
            result = await session.run(chain_request(count, wrt=(0,)))
            assert result.gradients[0] is not None
        assert result.gradients[0].shape == (200_000,)
        here = threading.get_ident()
        for seen in threads.values():
            assert (False, here) in seen
            assert (True, here) not in seen
            assert any(large for large, _ in seen)

    play(server, scenario)


def test_a_constant_many_need_at_once_goes_up_once(held: tuple[HeldBackend, Server]) -> None:
    _, server = held
    constant = gm.ones(MIB // 4)
    gm.stats(reset=True)

    async def scenario(session: AsyncSession) -> None:
        leaves = [leaf(float(n)) for n in range(20)]
        await asyncio.gather(*[session.backward((w * constant).sum()) for w in leaves])
        assert all(grad_of(w) == [MIB / 4] for w in leaves)
        assert (await session.info()).stored_blobs == 1

    constant.tolist()
    gm.stats(reset=True)
    play(server, scenario)
    assert MIB <= gm.stats().bytes_sent < 1.2 * MIB


def test_a_leaf_that_was_written_to_comes_back_once(held: tuple[HeldBackend, Server]) -> None:
    """Many passes compute it; one of them keeps it."""
    count = MIB // 4

    async def scenario(session: AsyncSession) -> None:
        w = gm.ones(count, requires_grad=True)
        with gm.no_grad():
            w.mul_(3.0)
        gm.stats(reset=True)
        await asyncio.gather(*[session.backward((w * float(n)).sum()) for n in range(4)])
        assert w.value.data is not None
        assert 5 * MIB <= gm.stats().bytes_received < 5.5 * MIB  # Four gradients and the leaf.
        assert w.grad is not None
        assert w.grad[0].item() == 6.0

    play(held[1], scenario)


# --- what ends early ------------------------------------------------------------------------------


@pytest.mark.parametrize("walk", [False, True], ids=["in one request", "walked by the client"])
def test_a_cancelled_pass_leaves_no_trace(held: tuple[HeldBackend, Server], walk: bool) -> None:
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(3.0)
        w = leaf(1.0, 2.0)
        y = w * 2.0
        y.retain_grad()
        if walk:
            y.register_hook(lambda grad: None)
        loss = (y * 3.0).sum()
        doomed = asyncio.create_task(session.backward(loss))
        await until(lambda: backend.running == 1)
        behind = asyncio.create_task(session.backward((w * 5.0).sum()))
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        await behind
        assert grad_of(w) == [5.0, 5.0]
        assert y.grad is None
        await until(lambda: (backend.running, backend.cancelled) == (0, 1))
        assert (await session.info()).requests_running == 0
        backend.let_go(server, 3.0)
        await session.backward(loss)  # The graph is still there.
        assert grad_of(w) == [11.0, 11.0]
        assert grad_of(y) == [3.0, 3.0]

    play(server, scenario)


@pytest.mark.parametrize("how", ["budget", "asyncio.timeout"])
def test_a_deadline_frees_the_server(held: tuple[HeldBackend, Server], how: str) -> None:
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(3.0)
        w = leaf(1.0)
        with pytest.raises(DeadlineError if how == "budget" else TimeoutError):
            async with asyncio.timeout(1 if how == "asyncio.timeout" else 30):
                await session.backward((w * 3.0).sum())
        assert w.grad is None
        await until(lambda: (backend.running, backend.cancelled) == (0, 1))

    play(server, scenario, timeout=1 if how == "budget" else 60)


def test_a_failed_pass_changes_nothing_and_tells_the_line(server: Server) -> None:
    async def scenario(session: AsyncSession) -> None:
        w = leaf(1.0, 2.0)
        index = gm.tensor([5])
        loss = w.index_select(0, index).sum()
        results = await asyncio.gather(session.backward(loss), session.backward(w.sum()), return_exceptions=True)
        assert isinstance(results[0], OutOfRangeError)
        assert results[0].source.startswith("test_aio.py:")
        assert results[1] is None
        assert grad_of(w) == [1.0, 1.0]
        with pytest.raises(OutOfRangeError):  # And not that the graph was used up.
            await session.backward(loss)

    play(server, scenario)


def test_a_graph_serves_one_pass_unless_retained(held: tuple[HeldBackend, Server]) -> None:
    async def scenario(session: AsyncSession) -> None:
        w = leaf(2.0)
        loss = (w * w * w).sum()
        results = await asyncio.gather(
            session.backward(loss, retain_graph=True),
            session.backward(loss),
            session.backward(loss),
            return_exceptions=True,
        )
        assert results[:2] == [None, None]
        assert isinstance(results[2], AutogradError)
        assert "second time" in results[2].message
        assert results[2].source.startswith("test_aio.py:")
        assert grad_of(w) == [24.0]

    play(held[1], scenario)


def test_values_are_those_of_the_issue(held: tuple[HeldBackend, Server]) -> None:
    """What is written while a pass is under way is not seen by it."""
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(3.0)
        w = leaf(5.0)
        under_way = asyncio.create_task(session.backward((w * w * 3.0).sum()))
        await until(lambda: backend.running == 1)
        with gm.no_grad():
            w.fill_(100.0)
        backend.let_go(server, 3.0)
        await under_way
        assert grad_of(w) == [30.0]

    play(server, scenario)


def test_closing_ends_calls(held: tuple[HeldBackend, Server]) -> None:
    backend, server = held

    async def scenario(session: AsyncSession) -> None:
        backend.hold(3.0)
        w = leaf(1.0)
        waiting = asyncio.create_task(session.backward((w * 3.0).sum()))
        await until(lambda: backend.running == 1)
        await session.close()
        with pytest.raises(CancelledError):
            await waiting
        assert w.grad is None
        await until(lambda: backend.cancelled == 1)

    play(server, scenario)


def test_a_session_belongs_to_one_loop(server: Server) -> None:
    session = gm.aio.connect(server.address)

    async def use() -> None:
        await session.info()

    asyncio.run(use())
    with pytest.raises(InvalidRequestError, match="event loop"):
        asyncio.run(use())


@pytest.mark.parametrize(
    ("address", "options"),
    [("nowhere", {}), ("", {}), ("a:1", {"concurrency": 0})],
    ids=["port", "none", "concurrency"],
)
def test_connecting_with_bad_arguments(address: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        gm.aio.connect(address, **options)


def test_no_server_there() -> None:
    async def whole() -> None:
        with pytest.raises(GradmeshError) as caught:
            async with gm.aio.connect("127.0.0.1:1", timeout=5, retry=gm.Retry(attempts=1)):
                pass
        assert isinstance(caught.value, UnavailableError)

    asyncio.run(whole())


def test_arrays_come_back_with_the_same_bits(server: Server) -> None:
    """Streams in both directions, several at once."""

    async def scenario(session: AsyncSession) -> None:
        requests = [chain_request(MIB, seed=seed, wrt=(0,)) for seed in range(3)]
        with gm.LocalSession() as local:
            expected = [local.run(request) for request in requests]
        for got, wanted in zip(await asyncio.gather(*map(session.run, requests)), expected, strict=True):
            assert equal_bits(got.gradients[0], wanted.gradients[0])

    play(server, scenario)


def test_an_upload_that_breaks_off_is_made_again(server: Server) -> None:
    """What grpc.aio says where a server ends a call that is being written is no word of the server's."""

    async def scenario(session: AsyncSession) -> None:
        (endpoint,) = session._conversation.addresses.endpoints
        methods = session._connection(endpoint).methods
        upload, broken = methods["Upload"], []

        async def breaks_once(parts: Any, **options: Any) -> Any:
            if broken:
                return await upload(parts, **options)
            broken.append(parts)
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, details="Internal error from Core")

        methods["Upload"] = breaks_once
        request = chain_request(MIB, wrt=(0,))
        with gm.LocalSession() as local:
            expected = local.run(request)
        got = await session.run(request)
        assert broken and equal_bits(got.gradients[0], expected.gradients[0])

    play(server, scenario)
