"""More load than a server can bear, and principals of unequal appetite: who runs, who waits, who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gradmesh._remote import connect
from gradmesh_engine.errors import MemoryLimitError, OverloadedError, UnavailableError
from gradmesh_engine.local import LocalSession
from gradmesh_server.admission import Admission
from gradmesh_server.blobs import BlobStore
from gradmesh_server.config import Config
from gradmesh_server.server import background
from tests.service.graphs import chain_request, equal_bits, until
from tests.service.test_server import GatedBackend, in_thread, open_gate


@dataclass
class Crowd:
    """Requests of several principals, each of which runs until the test lets it go."""

    admission: Admission
    ran: list[str] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def come(self, *names: str, nbytes: int = 1) -> None:
        """Requests called "a1", "b2": the letter is the principal."""
        for name in names:
            self.gates[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._work(name, nbytes))
            for _ in range(3):  # Turns of the loop: the request's own, and those of whoever it displaces.
                await asyncio.sleep(0)

    async def _work(self, name: str, nbytes: int) -> None:
        async with self.admission.turn(name[0], nbytes):
            self.ran.append(name)
            await self.gates[name].wait()

    async def go(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()
            await asyncio.gather(self.tasks[name])
            await asyncio.sleep(0)

    def error(self, name: str) -> OverloadedError:
        error = self.tasks[name].exception()
        assert type(error) is OverloadedError, error
        return error

    async def finish(self) -> None:
        for gate in self.gates.values():
            gate.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        admission = self.admission
        assert (admission.running, admission.waiting, admission.waiting_bytes) == (0, 0, 0)
        assert not admission._running_of and not admission._queues


def scenario(admission: Admission) -> Callable[[Callable[[Crowd], Coroutine[Any, Any, None]]], None]:
    def run(play: Callable[[Crowd], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            crowd = Crowd(admission)
            await play(crowd)
            await crowd.finish()

        asyncio.run(whole())

    return run


def test_turns_go_round_the_principals() -> None:
    @scenario(Admission(1, 10))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", "a2", "a3", "a4", "b1", "b2", "c1")
        await crowd.go("a1", "a2", "b1", "c1", "a3", "b2", "a4")
        assert crowd.ran == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_one_principal_cannot_run_more_than_its_own() -> None:
    @scenario(Admission(3, 10, own_running=2))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", "a2", "a3", "a4")
        assert crowd.ran == ["a1", "a2"]
        assert not crowd.admission.free("a")
        assert crowd.admission.free("b")
        await crowd.come("b1")
        assert crowd.ran == ["a1", "a2", "b1"]
        await crowd.go("b1")
        assert crowd.ran == ["a1", "a2", "b1"]  # The place stays free for others.
        await crowd.go("a2")
        assert crowd.ran == ["a1", "a2", "b1", "a3"]


def test_one_principal_cannot_wait_with_more_than_its_own() -> None:
    @scenario(Admission(1, 10, own_waiting=2))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", "a2", "a3", "a4", "b1")
        error = crowd.error("a4")
        assert (error.expected, error.got) == ("at most 2 waiting", "2 waiting")
        assert "of a" in error.message
        assert crowd.admission.waiting == 3


def test_who_waits_with_most_makes_room_for_who_waits_with_fewer() -> None:
    @scenario(Admission(1, 4))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", "a2", "a3", "a4", "a5", "b1")
        assert "most of them yours" in crowd.error("a5").message
        await crowd.come("b2")
        crowd.error("a4")
        await crowd.come("b3", "a6")  # Two each: from now on the newcomer is told.
        crowd.error("b3")
        crowd.error("a6")
        await crowd.come("c1")
        assert crowd.admission.waiting == 4
        await crowd.go("a1")
        assert crowd.ran[-1] == "a2"


def test_bytes_that_wait_are_bounded() -> None:
    @scenario(Admission(1, 10, max_waiting_bytes=100))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", nbytes=1000)  # It runs.
        await crowd.come("a2", "a3", nbytes=40)
        await crowd.come("a4", nbytes=40)
        assert "80 bytes waiting, and 40" in crowd.error("a4").got
        await crowd.come("b1", nbytes=30)  # Who has fewer goes before.
        crowd.error("a3")
        await crowd.come("b2", nbytes=101)
        crowd.error("b2")
        assert crowd.admission.waiting_bytes == 70


def test_who_is_told_to_come_later_is_told_when() -> None:
    now = [0.0]

    @scenario(Admission(2, 2, clock=lambda: now[0]))
    async def play(crowd: Crowd) -> None:
        for _ in range(50):  # Requests take 4 s here.
            await crowd.come("a0")
            now[0] += 4
            await crowd.go("a0")
        await crowd.come("a1", "a2", "a3", "a4", "a5", "a6", "a7")
        # One place becomes free every 2 s, the third of them for the first who is told; two are told for each place.
        told = [crowd.error(name).retry_after_seconds for name in ("a5", "a6", "a7")]
        assert told == pytest.approx([6, 7, 8], rel=0.01)
        now[0] += 2
        await crowd.come("a8")
        assert crowd.error("a8").retry_after_seconds == pytest.approx(7, rel=0.01)
        await crowd.go("a1", "a2", "a3", "a4")  # A place stays free: whoever was told could have come now.
        await crowd.come("b1", "b2", "b3", "b4", "b5")
        assert crowd.error("b5").retry_after_seconds == pytest.approx(crowd.admission._seconds * 3 / 2, rel=0.01)


def test_who_gives_up_leaves_no_trace() -> None:
    @scenario(Admission(1, 3))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", "a2", "b1", "b2")
        crowd.tasks["b1"].cancel()
        crowd.tasks["a1"].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert crowd.ran == ["a1", "a2"]
        assert crowd.admission.waiting == 1
        crowd.admission.draining = True
        await crowd.come("c1")
        assert type(crowd.tasks["c1"].exception()) is UnavailableError


def test_a_burst_may_wait_and_a_queue_that_stays_is_short() -> None:
    now = [0.0]

    @scenario(Admission(2, 20, max_wait_seconds=0.5, clock=lambda: now[0]))
    async def play(crowd: Crowd) -> None:
        admission = crowd.admission
        for _ in range(50):  # Requests take 0.1 s here: 10 get their turn in the time allowed.
            await crowd.come("a0")
            now[0] += 0.1
            await crowd.go("a0")
        await crowd.come(*[f"b{n}" for n in range(20)])
        assert (admission.room, admission.waiting, admission.crowded) == (20, 18, False)
        now[0] += 1.0
        assert (admission.room, admission.waiting, admission.crowded) == (10, 18, True)
        await crowd.come("b30")
        assert crowd.error("b30").expected == "at most 10 waiting"
        with pytest.raises(OverloadedError, match="too many requests"):
            admission.check_room("b")
        admission.check_room("c")  # Who has fewer waiting displaces another.
        assert admission.waiting == 18
        for number in range(20):
            now[0] += 0.1
            await crowd.go(f"b{number}")
        assert (admission.waiting, admission.room) == (0, 4)
        for _ in range(2):  # The burst is over when hardly anybody waited for a whole second.
            now[0] += 1.0
            room = admission.room
        assert room == 20


def test_one_may_wait_however_long_the_others_take() -> None:
    now = [0.0]

    @scenario(Admission(2, 20, max_wait_seconds=0.05, clock=lambda: now[0]))
    async def play(crowd: Crowd) -> None:
        for _ in range(50):
            await crowd.come("a0")
            now[0] += 60
            await crowd.go("a0")
        await crowd.come("a1", "a2", "a3")
        now[0] += 2
        assert crowd.admission.room == 1


@pytest.mark.parametrize(("occupied", "stands"), [(0.9, True), (0.3, True), (0.1, False)])
def test_load_stays_while_many_still_wait(occupied: float, stands: bool) -> None:
    """A short queue is empty again and again: that alone does not make the load pass."""
    now = [0.0]

    @scenario(Admission(1, 20, max_wait_seconds=0.0, clock=lambda: now[0]))
    async def play(crowd: Crowd) -> None:
        await crowd.come("a1", "a2")
        now[0] += 2.0
        assert crowd.admission.room == 1
        for turn in range(10):  # Somebody waits for this share of every 0.2 s.
            await crowd.go(f"a{turn + 1}")
            now[0] += 0.2 * (1 - occupied)
            await crowd.come(f"a{turn + 3}")
            now[0] += 0.2 * occupied
        assert crowd.admission.room == (1 if stands else 20)


# --- room to store --------------------------------------------------------------------------------


def put(store: BlobStore, owner: str, name: bytes, count: int) -> None:
    store.begin(count, owner)
    store.finish(name, np.zeros(count, "uint8"), once=False, owner=owner)


def store_of(**more: int) -> BlobStore:
    return BlobStore(max_bytes=100, max_uploads=4, ttl_seconds=9, clock=lambda: 0.0, on_drop=lambda name: None, **more)


def test_whoever_stores_most_makes_room() -> None:
    store = store_of()
    put(store, "alice", b"1" * 16, 20)
    for number in range(3):
        put(store, "bob", bytes([number]) * 16, 25)
    put(store, "alice", b"2" * 16, 20)
    assert store.missing([b"1" * 16, b"2" * 16], "alice") == []
    assert store.missing([bytes([number]) * 16 for number in range(3)], "bob") == [bytes(16)]
    assert store.used_bytes == 90


def test_each_principal_has_its_own_bounds() -> None:
    store = store_of(own_bytes=50, own_uploads=1)
    put(store, "bob", b"0" * 16, 30)
    put(store, "bob", b"1" * 16, 30)  # His own makes room.
    assert (store.used_bytes, store.missing([b"0" * 16, b"1" * 16], "bob")) == (30, [b"0" * 16])
    with pytest.raises(MemoryLimitError) as caught:
        store.begin(51, "bob")
    assert (caught.value.expected, caught.value.got) == ("at most 50 bytes stored, 30 are", "51 bytes")
    store.begin(10, "bob")
    with pytest.raises(OverloadedError, match="of bob") as overloaded:
        store.begin(10, "bob")
    assert overloaded.value.retry_after_seconds > 0
    store.begin(10, "alice")
    store.abandon(10, "alice")
    store.abandon(10, "bob")
    assert (store.used_bytes, store.uploads, len(store)) == (30, 0, 1)
    store.hold(np.zeros(5, "uint8"), "alice")
    with pytest.raises(LookupError):
        store.peek(next(iter(store._held)), "bob")


# --- a server ---------------------------------------------------------------------------------------


def test_ten_times_what_a_server_bears() -> None:
    """Three have room. The others are told at once, and when to come again; nothing of them is kept."""
    backend, room = GatedBackend(), 3
    expected = LocalSession().run(chain_request(2)).outputs[0]
    config = Config(port=0, inline="never", max_running=2, max_waiting=1)
    with background(config, backend) as server, connect(server.address, timeout=60) as session:
        callers = [in_thread(lambda: session.run(chain_request(2))) for _ in range(10 * room)]
        until(lambda: sum(bool(results) for _, results in callers) == 9 * room)
        told: list[Any] = [results[0] for _, results in callers if results]
        assert {type(error) for error in told} == {OverloadedError}
        assert all(error.retry_after_seconds >= 0.05 and error.request_id for error in told)
        until(lambda: (backend.started, server._admission.waiting) == (2, 1))
        open_gate(backend, server)
        for thread, _ in callers:
            thread.join()
        answers: list[Any] = [results[0] for _, results in callers if results[0] not in told]
        assert len(answers) == room and all(equal_bits(answer.outputs[0], expected) for answer in answers)
        info = session.info()
    assert (info.requests_running, info.requests_waiting, info.stored_bytes) == (0, 0, 0)
    assert info.requests_served == room
