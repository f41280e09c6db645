"""The coordinator as a process: health, reflection, admission, deadlines, cancellation, coming and going."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gradmesh import _codec
from gradmesh._conversation import Fetch
from gradmesh._options import Budget, Retry, Timeout
from gradmesh._remote import INLINE_BYTES, connect
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.backend import BackendStats, Operand, Outcome, WorkerInfo
from gradmesh_engine.errors import (
    CancelledError,
    DeadlineError,
    GradmeshError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from gradmesh_engine.graph import Graph, Node, digest_of_array
from gradmesh_engine.program import Program
from gradmesh_engine.session import Request
from gradmesh_server import cli
from gradmesh_server.admission import Admission
from gradmesh_server.config import Config
from gradmesh_server.inline import InlineBackend
from gradmesh_server.server import SERVICES, Server, background
from tests.service.clients import Connect
from tests.service.graphs import F64, chain_request, equal_bits, frozen, node, spec, until

ONCE = Retry(attempts=1)


def slow_request(seconds: float) -> Request:
    """A request of many stages, each short, that takes about so long in all."""
    n = 400
    count = max(3, int(seconds / 1.5e-3))
    s = spec(n, n, dtype=F64)
    nodes: list[Node] = []
    for i in range(count):
        nodes.append(node("contract", (i, i), s, spec="ij,jk->ik"))
    return Request(Graph((s,), tuple(nodes), (count,)), (frozen(np.eye(n)),))


class GatedBackend(InlineBackend):
    """Runs in process, each run after the test has opened the gate; tells how runs ended."""

    def __init__(self) -> None:
        super().__init__(2)
        self.gate = asyncio.Event()
        self.started = 0
        self.cancelled = 0
        self.up = True
        self.forgotten: list[bytes] = []
        self.adopted: list[bytes] = []

    @property
    def ready(self) -> bool:
        return self.up and super().ready

    def workers(self) -> tuple[WorkerInfo, ...]:
        return (WorkerInfo("w0", os.getpid(), "here", completed=self.started),)

    def stats(self) -> BackendStats:
        return BackendStats()

    async def adopt(self, digest: bytes, array: np.ndarray) -> np.ndarray:
        self.adopted.append(digest)
        return array

    def forget(self, digest: bytes) -> None:
        self.forgotten.append(digest)

    async def run(self, program: Program, operands: Sequence[Operand], *, deadline: float) -> Outcome:
        self.started += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().run(program, operands, deadline=deadline)


@pytest.fixture
def gated() -> Iterator[tuple[GatedBackend, Server]]:
    backend = GatedBackend()
    config = Config(port=0, inline="never", max_running=2, max_waiting=1)
    with background(config, backend) as server:
        yield backend, server


def in_thread(work) -> tuple[threading.Thread, list[object]]:  # type: ignore[no-untyped-def]
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except GradmeshError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def open_gate(backend: GatedBackend, server: Server) -> None:
    assert server.loop is not None
    server.loop.call_soon_threadsafe(backend.gate.set)


# --- standard services ----------------------------------------------------------------------------


def health_of(address: str, service: str = "") -> int:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_is_serving(server: Server, service: str) -> None:
    assert health_of(server.address, service) == health_pb2.HealthCheckResponse.SERVING


def test_health_follows_the_workers(gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    assert health_of(server.address) == health_pb2.HealthCheckResponse.SERVING
    backend.up = False
    until(lambda: health_of(server.address, SERVICES[0]) == health_pb2.HealthCheckResponse.NOT_SERVING)
    backend.up = True
    until(lambda: health_of(server.address) == health_pb2.HealthCheckResponse.SERVING)


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    (reply,) = stub.ServerReflectionInfo(iter([ask]), timeout=10)
    names = {service.name for service in reply.list_services_response.service}
    assert {*SERVICES, "grpc.health.v1.Health"} <= names


# --- info, ops, metadata --------------------------------------------------------------------------


def test_the_catalogue_is_what_graphs_may_use(gradients: pb_grpc.GradientServiceStub) -> None:
    ops = {op.name: op for op in gradients.ListOps(pb.ListOpsRequest(), timeout=30).ops}
    assert list(ops) == sorted(ops)
    assert len(ops) == gradients.GetServerInfo(pb.GetServerInfoRequest()).ops
    add, total = ops["add"], ops["reduce_sum"]
    assert (add.min_operands, add.max_operands, add.differentiable) == (2, 2, True)
    assert add.grad_name == "AddBackward0"
    assert [(attr.name, attr.kind, attr.required) for attr in total.attrs] == [("dims", "ints", True)]
    assert "int64" in ops["take"].dtypes
    assert set(ops["bitwise_and"].dtypes) == {"bool", "uint8", "int8", "int16", "int32", "int64"}
    assert ops["concat"].max_operands == -1
    assert not ops["eq"].differentiable


def test_info_counts() -> None:
    with background(Config(port=0)) as server, connect(server.address) as session:
        before = session.info()
        session.run(chain_request(11, 5))
        with pytest.raises(GradmeshError):
            session.run(Request(chain_request(11, 5).graph, ()))
        after = session.info()
    assert after.pid == os.getpid()
    assert after.requests_served == before.requests_served + 1
    # The first attempt by digest, when the graph was not known, does not count.
    assert after.requests_failed == before.requests_failed + 1
    assert after.cached_graphs == before.cached_graphs + 1
    assert after.limits.max_message_bytes == server.config.max_message_bytes


def test_grad_fns_come_with_place_and_the_callers_lines(client: Connect, server: Server) -> None:
    with client(server.address, grad_fns=True) as session:
        fns = session.run(chain_request(3, 2)).grad_fns
    names = [fn.name for fn in fns]
    assert names == ["MulBackward0", "TanhBackward0", "ExpBackward0", "MulBackward0", "SumBackward1"]
    assert [fn.source for fn in fns] == [f"model.py:{line}" for line in range(10, 15)]
    assert [fn.next_functions for fn in fns] == [(-1, -1), (0,), (-1,), (1, 2), (3,)]
    assert all(fn.workers == ("inline",) and fn.stages for fn in fns)


def test_stats_say_why_the_plan_was_made(server: Server) -> None:
    with connect(server.address) as session:
        assert session.run(chain_request(13, 2)).stats.cache != "hit"
        assert "shapes" in session.run(chain_request(13, 4)).stats.cache
        stats = session.run(chain_request(13, 2, seed=3)).stats
    assert (stats.cache, stats.where) == ("hit", "inline")
    assert set(stats.seconds) == {"wait", "decode", "plan", "run", "encode"}
    assert stats.bytes["sent"] > 200
    assert stats.bytes["received"] > 200


# --- workers, admission, deadlines ----------------------------------------------------------------


def test_inline_never_goes_to_the_workers(gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    open_gate(backend, server)
    with connect(server.address) as session:
        result = session.run(chain_request(2, 2))
        assert result.stats.where == "workers"
        assert backend.started == 1
        assert "runs on 1 worker" in session.explain(chain_request(2, 2))
        (worker,) = session.info().workers
        assert (worker.id, worker.pid, worker.alive, worker.completed) == ("w0", os.getpid(), True, 1)


def test_large_uploads_are_adopted_and_forgotten(gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    open_gate(backend, server)
    with connect(server.address) as session:
        request = chain_request(server.config.adopt_bytes // 4, wrt=(0,))
        session.run(request)
        constant = digest_of_array(request.inputs[1])
        assert len(backend.adopted) == 2
        assert constant in backend.adopted
        # The parameter was for one use; the constant stays.
        assert constant not in backend.forgotten
        assert sum(name in backend.forgotten for name in backend.adopted) == 1


def refused_before_it_was_sent(address: str) -> grpc.StatusCode:
    """What a call is told whose message does not come."""
    never = threading.Event()

    def messages() -> Iterator[bytes]:
        never.wait()
        yield b""

    with grpc.insecure_channel(address) as channel:
        call = channel.stream_unary("/gradmesh.v1.GradientService/Compute").future(messages(), timeout=30)
        try:
            code: grpc.StatusCode = call.code()
        finally:
            never.set()
    return code


def test_who_is_too_much_is_turned_away(client: Connect, gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    with client(server.address, timeout=60) as session:
        session.explain(chain_request(2))  # Known from now on, so that each run is one call.
        working = [in_thread(lambda: session.run(chain_request(2))) for _ in range(3)]
        until(lambda: session.info().requests_waiting == 1)
        assert session.info().requests_running == 2
        with pytest.raises(OverloadedError):
            session.run(chain_request(2))
        assert refused_before_it_was_sent(server.address) == grpc.StatusCode.RESOURCE_EXHAUSTED
        open_gate(backend, server)
        for thread, results in working:
            thread.join()
            assert not isinstance(results[0], Exception), results
        until(lambda: session.info().requests_running == 0)


def test_a_deadline_frees_the_worker(client: Connect, gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    with client(server.address, timeout=1) as session:
        begin = time.monotonic()
        with pytest.raises(DeadlineError):
            session.run(chain_request(2))
        assert time.monotonic() - begin < 5
    until(lambda: backend.cancelled == backend.started == 1)
    with client(server.address) as session:
        until(lambda: session.info().requests_running == 0)
        open_gate(backend, server)
        session.run(chain_request(2))


def test_closing_cancels(client: Connect, gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    session = client(server.address, timeout=60)
    thread, results = in_thread(lambda: session.run(chain_request(2)))
    until(lambda: backend.started == 1)
    session.close()
    thread.join(timeout=10)
    assert isinstance(results[0], CancelledError), results
    until(lambda: backend.cancelled == 1)
    with pytest.raises(UnavailableError, match="closed"):
        session.run(chain_request(2))


def test_a_long_run_in_process_stops_at_its_deadline(client: Connect, server: Server) -> None:
    with client(server.address, timeout=0.4) as session:
        begin = time.monotonic()
        with pytest.raises(DeadlineError):
            session.run(slow_request(20))
        assert time.monotonic() - begin < 5
    with client(server.address) as session:
        until(lambda: session.info().requests_running == 0)


def test_the_loop_answers_while_it_computes(server: Server) -> None:
    with connect(server.address, timeout=120) as session:
        thread, results = in_thread(lambda: session.run(slow_request(1)))
        until(lambda: session.info().requests_running == 1 or bool(results))
        begin = time.monotonic()
        assert health_of(server.address) == health_pb2.HealthCheckResponse.SERVING
        answered = time.monotonic()
        thread.join()
        ended = time.monotonic()
    assert not isinstance(results[0], Exception), results
    # Both take long on a busy machine; a loop that computes answers at the end.
    assert answered - begin < (ended - begin) / 2


def test_admission_passes_a_cancelled_turn_on() -> None:
    async def scenario() -> None:
        admission = Admission(1, 5)
        order: list[int] = []

        async def work(number: int) -> None:
            async with admission.turn():
                order.append(number)

        async with admission.turn():
            tasks = [asyncio.create_task(work(number)) for number in range(3)]
            await asyncio.sleep(0)
            assert admission.waiting == 3
            tasks[1].cancel()
            await asyncio.sleep(0)
            assert admission.waiting == 2
        tasks[0].cancel()  # Its turn is here already, but it has not run yet.
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [2]
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(scenario())


# --- no server, a server that goes away -----------------------------------------------------------


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_no_server_there(client: Connect) -> None:
    begin = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        client(f"127.0.0.1:{free_port()}", timeout=30, retry=Retry(attempts=2, first_delay_seconds=0.01))
    assert time.monotonic() - begin < 10
    assert "127.0.0.1" in caught.value.message
    assert caught.value.remedy
    assert isinstance(caught.value, ConnectionError)


def test_an_address_without_a_port(client: Connect) -> None:
    with pytest.raises(InvalidRequestError, match="port"):
        client("localhost")


def test_a_server_that_never_answers(client: Connect) -> None:
    """It takes the connection and says nothing: the time budget ends the wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        begin = time.monotonic()
        with pytest.raises((DeadlineError, UnavailableError)):
            client(f"127.0.0.1:{listener.getsockname()[1]}", timeout=0.5)
        assert time.monotonic() - begin < 10


def test_a_server_that_goes_away_and_comes_back(client: Connect) -> None:
    request = chain_request(1 << 16, 3, wrt=(0,))
    with background(Config(port=0)) as first:
        session = client(first.address, timeout=30, retry=Retry(attempts=40, max_delay_seconds=0.1))
        expected = session.run(request)
        port = first.port
    impatient = connect_lazily(first.address)
    with pytest.raises(UnavailableError):
        impatient.run(request)
    impatient.close()
    thread, results = in_thread(lambda: session.run(request))
    with background(Config(port=port)):  # Graph and blobs are gone: both are sent again.
        thread.join()
        (got,) = results
        assert not isinstance(got, Exception), got
        assert equal_bits(got.gradients[0], expected.gradients[0])  # type: ignore[attr-defined]
    session.close()


def connect_lazily(address: str):  # type: ignore[no-untyped-def]
    from gradmesh._conversation import Conversation
    from gradmesh._options import Keepalive
    from gradmesh._remote import RemoteSession

    return RemoteSession(Conversation(address, Timeout(10), ONCE, Keepalive(), False, False, None, "", threading.Event))


def test_a_draining_server_finishes_what_it_has(client: Connect, gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    assert server.loop is not None
    with client(server.address, timeout=60, retry=ONCE) as session:
        thread, results = in_thread(lambda: session.run(chain_request(2)))
        until(lambda: backend.started == 1)
        stopping = asyncio.run_coroutine_threadsafe(server.stop(30), server.loop)
        until(lambda: session.info().draining)
        assert health_of(server.address) == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(UnavailableError, match="stopping"):
            session.run(chain_request(2))
        with pytest.raises(UnavailableError, match="stopping"):
            session.run(chain_request(INLINE_BYTES))  # It begins with an upload.
        open_gate(backend, server)
        thread.join()
        assert not isinstance(results[0], Exception), results
        stopping.result(30)
        with pytest.raises(UnavailableError, match="cannot reach"):
            session.run(chain_request(2))


def test_a_draining_server_waits_for_results_to_be_fetched(gated: tuple[GatedBackend, Server]) -> None:
    backend, server = gated
    open_gate(backend, server)
    assert server.loop is not None
    with connect(server.address, timeout=60, retry=ONCE) as session:
        request = chain_request(INLINE_BYTES // 2, wrt=(0,))
        expected = session.run(request)
        fetch = session._takers[Fetch]
        stopping: list[Future[None]] = []

        def slowly(step):  # type: ignore[no-untyped-def]
            """The server is told to stop between its reply and the download."""
            if not stopping:
                assert server.loop is not None
                stopping.append(asyncio.run_coroutine_threadsafe(server.stop(30), server.loop))
                until(lambda: session.info().draining)
            return fetch(step)

        session._takers[Fetch] = slowly
        got = session.run(request)
        assert equal_bits(got.gradients[0], expected.gradients[0])
        stopping[0].result(30)


def test_budgets_and_retries() -> None:
    assert Timeout(None).start().left() is None
    with pytest.raises(DeadlineError):
        Budget(time.monotonic() - 1).left()
    delays = [Retry(first_delay_seconds=0.1, max_delay_seconds=0.5).delay_seconds(n) for n in range(1, 9)]
    assert all(0.05 <= delay <= 0.5 for delay in delays)
    assert delays[-1] >= 0.25


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "gradmesh_server.cli", "serve", "--port", "0", "--workers", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"gradmesh serving on (127\.0\.0\.1:\d+) with (.*)\n", line)
        assert found, (line, process.stderr and process.stderr.read())
        try:
            yield process, found[1]
        finally:
            process.kill()


def test_serve_and_info(served: tuple[subprocess.Popen[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    process, address = served
    with connect(address) as session:
        session.run(chain_request(3))
        session.run(chain_request(3))
    assert cli.main(["info", address, "--ops"]) == 0
    out = capsys.readouterr().out
    assert f"pid {process.pid}" in out
    assert "cached: 1 graphs, 1 plans" in out
    assert "requests: 2 served" in out
    assert "AddBackward0" not in out
    assert "  add: " in out
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert cli.main(["info", address, "--timeout", "2"]) == 1
    assert "cannot reach" in capsys.readouterr().err


def test_sigterm_lets_a_request_finish(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    with connect(address, timeout=120, retry=ONCE) as session:
        thread, results = in_thread(lambda: session.run(slow_request(1.5)))
        until(lambda: session.info().requests_running == 1 or bool(results))
        process.send_signal(signal.SIGTERM)
        thread.join()
    assert not isinstance(results[0], Exception), results
    assert process.wait(20) == 0


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert cli.main(["serve", "--workers", "0", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_workers_without_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("ray", "gradmesh_worker")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["serve", "--workers", "2", "--port", "0"]) == 1
    assert "gradmesh[cluster]" in capsys.readouterr().err


def test_messages_of_another_make_get_the_digest_to_use_from_now_on(gradients: pb_grpc.GradientServiceStub) -> None:
    """A client that computes neither shapes nor digests, as one in another language would."""
    request = chain_request(4, 3)
    message = pb.ComputeRequest(
        graph=_codec.encode_graph(request.graph),
        inputs=[_codec.encode_array(array) for array in request.inputs],
        of=[pb.Objective(value=6)],
        wrt=[0],
    )
    for sent in message.graph.nodes:
        del sent.outputs[:]
    first = gradients.Compute(message, timeout=30)
    assert first.graph_digest == request.graph.digest
    message.graph_digest = first.graph_digest
    assert not message.HasField("graph")
    second = gradients.Compute(message, timeout=30)
    assert second.gradients[0].tensor.data == first.gradients[0].tensor.data != b""
