"""Several addresses: which one is tried, and what users see of servers that go away, come back, drain or refuse."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import gradmesh as gm
from gradmesh._addresses import LONGEST_REST_SECONDS, Addresses, Endpoint, parse
from gradmesh._remote import CONSTANT_BYTES
from gradmesh_engine.errors import (
    AttributeTypeError,
    GradmeshError,
    InvalidRequestError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)
from gradmesh_engine.session import Request, Result
from gradmesh_server.config import Config
from gradmesh_server.server import Server, background
from gradmesh_server.tokens import make_token
from tests.service.clients import Connect
from tests.service.graphs import chain_request, equal_bits, until
from tests.service.test_server import ONCE, GatedBackend, free_port, in_thread, open_gate

PATIENT = gm.Retry(attempts=200, first_delay_seconds=0.01, max_delay_seconds=0.05)

# --- which address: decisions alone ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("a:1", ("a:1",)),
        ("a:1,b:2", ("a:1", "b:2")),
        (" a:1 , b:2, ", ("a:1", "b:2")),
        (["a:1", "b:2", "a:1"], ("a:1", "b:2")),
        ("[::1]:5,unix:/run/g", ("[::1]:5", "unix:/run/g")),
        ("", InvalidRequestError),
        ([], InvalidRequestError),
        ("a:1,b", InvalidRequestError),
        (["a:1", 2], AttributeTypeError),
    ],
    ids=str,
)
def test_addresses_are_parsed(given: Any, addresses: tuple[str, ...] | type[GradmeshError]) -> None:
    if isinstance(addresses, tuple):
        assert parse(given) == addresses
    else:
        with pytest.raises(addresses):
            parse(given)


# What happens, in order: "a" is chosen, "-a" it fails, "+a" it answers, "b/a" b is chosen after a was tried,
# a number of seconds passes.
SCRIPTS: dict[str, Sequence[str | float]] = {
    "kept to while it answers": ["a", "+a", "a", "+a", 100.0, "a"],
    "the next one at once": ["a", "-a", "b/a", "+b", "b", "+b"],
    "one request finds out whether it is back": ["a", "-a", "b/a", "+b", 0.1, "a", "b", "b", "+a", "a"],
    "still gone: rests longer": ["a", "-a", 0.1, "a", "-a", "b/a", 0.1, "b", 0.1, "a", "-a", 0.2, "b", 0.2, "a"],
    "as a last resort, the one that failed longest ago": ["a", "-a", 0.06, "b/a", "-b", "c/ab", "-c", "a"],
    "a failure known already counts once": ["a", "a", "a", "-a", "-a0", "-a0", 0.1, "a"],
    "what began before the failure tells nothing": ["a", "a", "-a", "+a0", "b"],
    "recovered, it is preferred again": ["a", "-a", "b/a", "+b", 0.1, "a", "+a", "b/a", "a"],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_which_address_is_next(script: Sequence[str | float]) -> None:
    now = [0.0]
    addresses = Addresses(("a", "b", "c"), lambda: now[0])
    by_name = {endpoint.address: endpoint for endpoint in addresses.endpoints}
    for step in script:
        if isinstance(step, float):
            now[0] += step
        elif step[0] in "+-":
            endpoint = by_name[step[1]]
            generation = int(step[2]) if step[2:] else endpoint.generation
            (addresses.answered if step[0] == "+" else addresses.failed)(endpoint, generation)
        else:
            tried = [by_name[name] for name in step[2:]]
            assert addresses.choose(tried).address == step[0], step


def test_rests_grow_and_end() -> None:
    now = [0.0]
    (endpoint,) = (addresses := Addresses(("a",), lambda: now[0])).endpoints
    rests = []
    for _ in range(20):
        addresses.failed(endpoint, endpoint.generation)
        rests.append(endpoint.rests_until - now[0])
    assert 0.05 <= rests[0] <= 0.1
    assert all(rest <= LONGEST_REST_SECONDS for rest in rests)
    assert min(rests[-5:]) >= LONGEST_REST_SECONDS / 2
    addresses.answered(endpoint, endpoint.generation)
    assert (endpoint.failures, endpoint.rests_until) == (0, 0.0)


def test_what_is_stored_is_known_per_address_and_forgotten_with_it() -> None:
    addresses = Addresses(("a", "b"))
    a, b = addresses.endpoints
    a.stored.add(b"x")
    b.stored.add(b"y")
    addresses.failed(a, 0)
    assert (a.stored, b.stored) == (set(), {b"y"})
    assert isinstance(a, Endpoint)


# --- with real servers ----------------------------------------------------------------------------


@contextmanager
def process(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, which may be killed."""
    command = [sys.executable, "-m", "gradmesh_server.cli", "serve", "--port", str(port), "--workers", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        try:
            found = re.search(r"127\.0\.0\.1:\d+", running.stdout.readline())
            assert found
            yield running, found[0]
        finally:
            running.kill()


def same(a: Result, b: Result) -> bool:
    return all(equal_bits(x, y) for x, y in zip((*a.outputs, *a.gradients), (*b.outputs, *b.gradients), strict=True))


def constant_request() -> Request:
    """Its second input is large enough to be stored at the server, and to be missed at another."""
    return chain_request(CONSTANT_BYTES // 4 + 1, wrt=(0,))


def test_a_server_killed_mid_stream_costs_nothing_but_time(client: Connect) -> None:
    request = constant_request()
    expected = gm.LocalSession().run(request)
    with ExitStack() as stack:
        first, one = stack.enter_context(process())
        _, two = stack.enter_context(process())
        session = stack.enter_context(client([one, two], timeout=60))
        results: list[bool] = []
        stop = threading.Event()

        def stream() -> None:
            while not stop.is_set():
                results.append(same(session.run(request), expected))

        streams = [in_thread(stream) for _ in range(3)]
        until(lambda: len(results) > 20)
        assert session.address == one
        first.kill()
        first.wait()
        at = len(results)
        until(lambda: len(results) > at + 50)
        until(lambda: session.address == two)
        with process(int(one.rpartition(":")[2])), gm.connect(one) as direct:
            # Found again by one of the requests, and preferred again by all.
            until(lambda: direct.info().requests_served > 50)
            until(lambda: session.address == one)
            stop.set()
            for thread, failures in streams:
                thread.join()
                assert failures == [None]
        assert all(results)


def test_the_first_is_down_from_the_beginning(client: Connect, server: Server) -> None:
    with client(f"127.0.0.1:{free_port()},{server.address}", timeout=30, retry=ONCE) as session:
        assert session.address == server.address
        assert same(session.run(chain_request(3)), gm.LocalSession().run(chain_request(3)))


def test_none_answers(client: Connect) -> None:
    one, two = (f"127.0.0.1:{free_port()}" for _ in range(2))
    begin = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        client([one, two], timeout=30, retry=gm.Retry(attempts=2, first_delay_seconds=0.01))
    assert time.monotonic() - begin < 10
    said = [caught.value.message, *caught.value.__notes__]
    assert all(any(address in text for text in said) for address in (one, two)), said


@pytest.fixture
def pair(server: Server) -> Iterator[tuple[GatedBackend, Server, Server]]:
    """A server each run of which waits for the test, and one that just serves."""
    backend = GatedBackend()
    with background(Config(port=0, inline="never", max_running=1, max_waiting=0), backend) as gated:
        yield backend, gated, server


def stop_now(server: Server, grace_seconds: float = 0.0) -> Any:
    assert server.loop is not None
    return asyncio.run_coroutine_threadsafe(server.stop(grace_seconds), server.loop)


def test_a_call_cut_short_goes_on_elsewhere(client: Connect, pair: tuple[GatedBackend, Server, Server]) -> None:
    backend, gated, other = pair
    request = constant_request()
    with client([gated.address, other.address], timeout=60, retry=ONCE) as session:
        thread, results = in_thread(lambda: session.run(request))
        until(lambda: backend.started == 1)
        stop_now(gated).result(30)
        thread.join()
        assert isinstance(results[0], Result), results
        assert same(results[0], gm.LocalSession().run(request))
        assert session.address == other.address


def test_a_server_that_restarts_mid_call_answers_it_after_all(client: Connect) -> None:
    backend = GatedBackend()
    request = constant_request()
    with background(Config(port=0, inline="never"), backend) as first:
        session = client(first.address, timeout=60, retry=PATIENT)
        thread, results = in_thread(lambda: session.run(request))
        until(lambda: backend.started == 1)
        stop_now(first).result(30)
        with background(Config(port=first.port)):
            thread.join()
            assert isinstance(results[0], Result), results
            assert same(results[0], gm.LocalSession().run(request))
            session.close()


def test_a_draining_server_keeps_its_calls_and_loses_new_ones(
    client: Connect, pair: tuple[GatedBackend, Server, Server]
) -> None:
    backend, gated, other = pair
    with client([gated.address, other.address], timeout=60, retry=ONCE) as session:
        thread, results = in_thread(lambda: session.run(chain_request(2)))
        until(lambda: backend.started == 1)
        stopping = stop_now(gated, 30.0)
        until(lambda: gated._admission.draining)
        for request in (chain_request(3), constant_request()):  # The second begins with an upload.
            assert same(session.run(request), gm.LocalSession().run(request))
            assert session.address == other.address
        assert not results
        open_gate(backend, gated)
        thread.join()
        assert isinstance(results[0], Result), results
        stopping.result(30)
        assert backend.started == 1


def test_a_busy_server_is_not_a_missing_one(client: Connect, pair: tuple[GatedBackend, Server, Server]) -> None:
    backend, gated, other = pair
    with client([gated.address, other.address], timeout=60) as session:
        thread, results = in_thread(lambda: session.run(chain_request(2)))
        until(lambda: backend.started == 1)
        with pytest.raises(OverloadedError) as caught:
            session.run(chain_request(2))
        assert caught.value.retry_after_seconds > 0
        assert session.address == gated.address
        open_gate(backend, gated)
        thread.join()
        assert isinstance(results[0], Result), results


def test_a_refusal_is_not_asked_for_elsewhere(client: Connect, server: Server, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(make_token("alice")[1] + "\n")
    with background(Config(port=0, tokens=str(tmp_path / "tokens"))) as locked:
        with pytest.raises(UnauthenticatedError):
            client([locked.address, server.address], timeout=30, token="nobody's")


def test_retries_end_with_the_budget(client: Connect) -> None:
    """However many attempts are left."""
    begin = time.monotonic()
    with pytest.raises(UnavailableError):
        client(f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}", timeout=0.5, retry=PATIENT)
    assert 0.1 < time.monotonic() - begin < 5


def test_the_environment_may_name_several(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADMESH_ADDRESS", f"127.0.0.1:{free_port()},{server.address}")
    before = gm.set_default_session(None)
    try:
        gm.stats(reset=True)
        assert (gm.ones(2) * 3).tolist() == [3.0, 3.0]
        assert gm.stats().bytes_sent > 0
    finally:
        gm.set_default_session(before)
