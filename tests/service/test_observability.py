"""What a platform team sees of a coordinator: metrics, health, log lines, request ids, spans."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from gradmesh import _codec
from gradmesh._remote import INLINE_BYTES, connect
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.backend import Operand, Outcome, RangeRun
from gradmesh_engine.errors import GradmeshError, InvalidGraphError, UnavailableError
from gradmesh_engine.program import Program
from gradmesh_engine.session import Request
from gradmesh_server import logs, metrics
from gradmesh_server.config import Config
from gradmesh_server.inline import InlineBackend
from gradmesh_server.server import Server, background
from tests.service.graphs import chain_request, until
from tests.service.test_server import ONCE, GatedBackend, in_thread, open_gate

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def watched() -> Iterator[Server]:
    with background(Config(port=0, metrics_port=0, log_format="json")) as server:
        yield server


def get(server: Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(server: Server) -> Samples:
    status, text = get(server, "/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def message_of(request: Request) -> pb.ComputeRequest:
    message = pb.ComputeRequest(
        graph=_codec.encode_graph(request.graph),
        inputs=[_codec.encode_array(array) for array in request.inputs],
        of=[pb.Objective(value=v) for v in request.query.of],
        wrt=request.query.wrt,
    )
    return message


# --- metrics --------------------------------------------------------------------------------------


def test_requests_are_counted_by_method_outcome_and_phase(watched: Server) -> None:
    before = scrape(watched)
    with connect(watched.address, retry=ONCE) as session:
        for _ in range(3):
            session.run(chain_request(5, 7))
        with grpc.insecure_channel(watched.address) as channel, pytest.raises(grpc.RpcError):
            pb_grpc.GradientServiceStub(channel).Compute(pb.ComputeRequest(), timeout=10)

    def grown(name: str, **labels: str) -> float:
        return value(scrape(watched), name, **labels) - value(before, name, **labels)

    ok = {"method": "Compute", "outcome": "ok", "principal": "anonymous"}
    until(lambda: grown("gradmesh_request_seconds_count", method="Compute") == 5)
    assert grown("gradmesh_requests_total", **ok) == 3
    assert grown("gradmesh_requests_total", **{**ok, "outcome": "InvalidRequestError"}) == 1
    # The first was refused because the graph was new: the client then sent it.
    assert grown("gradmesh_requests_total", **{**ok, "outcome": "GraphNotFoundError"}) == 1
    assert grown("gradmesh_request_seconds_count", method="Compute") == 5
    for phase in metrics.PHASES:
        assert grown("gradmesh_phase_seconds_count", phase=phase) == 3
    assert (
        0 < grown("gradmesh_phase_seconds_sum", phase="run") < grown("gradmesh_request_seconds_sum", method="Compute")
    )
    assert grown("gradmesh_runs_total", where="inline") == 3
    assert grown("gradmesh_cache_misses_total", cache="graph") == 1
    assert grown("gradmesh_cache_hits_total", cache="graph") == 2
    assert grown("gradmesh_cache_hits_total", cache="plan") == 2
    assert (
        grown("gradmesh_plans_made_total", reason="new graph") + grown("gradmesh_plans_made_total", reason="new shapes")
        == 1
    )
    assert grown("gradmesh_received_bytes_total", method="Compute") > 3 * 2 * 5 * 7 * 4
    assert grown("gradmesh_sent_bytes_total", method="Compute") > 3 * 2 * 5 * 7 * 4


def test_a_histogram_puts_each_observation_in_its_bucket() -> None:
    found = metrics.Metrics(dict)
    histogram = found.histogram("gradmesh_phase_seconds")
    for seconds in (1e-5, 1.1e-5, 0.3, 1000.0):
        histogram.observe(("run",), seconds)
    ((labels, buckets, total),) = histogram.read()
    assert labels == ("run",)
    assert total == pytest.approx(1000.300021)
    counts = dict(buckets)
    assert (counts["1e-05"], counts["2.5e-05"], counts["0.25"], counts["0.5"], counts["300.0"]) == (1, 2, 2, 3, 3)
    assert counts["+Inf"] == 4


def test_blobs_are_counted() -> None:
    """A store that holds two of three tensors, each uploaded under its digest."""
    size = INLINE_BYTES
    config = Config(port=0, metrics_port=0, max_stored_bytes=2 * size + size // 2)
    with background(config) as server, connect(server.address) as session:
        for seed in range(3):
            session.run(chain_request(size // 4, seed=seed, wrt=()))  # two constants each
        session.run(chain_request(size // 4, seed=2, wrt=()))
        until(lambda: value(scrape(server), "gradmesh_runs_total", where="inline") == 4)
        found = scrape(server)
    assert value(found, "gradmesh_blob_bytes") == 2 * size
    assert value(found, "gradmesh_blob_limit_bytes") == config.max_stored_bytes
    assert value(found, "gradmesh_cache_evictions_total", cache="blob") == 4
    assert value(found, "gradmesh_blob_evicted_bytes_total") == 4 * size
    assert value(found, "gradmesh_cache_hits_total", cache="blob") >= 8
    assert value(found, "gradmesh_cache_misses_total", cache="blob") == 6
    assert value(found, "gradmesh_received_bytes_total", method="Upload") == 6 * size


def test_queue_workers_and_health_are_told() -> None:
    backend = GatedBackend()
    with background(Config(port=0, metrics_port=0, inline="never", max_running=1), backend) as server:
        with connect(server.address, timeout=60) as session:
            session.explain(chain_request(2))
            working = [in_thread(lambda: session.run(chain_request(2))) for _ in range(2)]
            until(lambda: session.info().requests_waiting == 1)
            found = scrape(server)
            assert value(found, "gradmesh_requests_running") == 1
            assert value(found, "gradmesh_requests_waiting") == 1
            assert value(found, "gradmesh_workers") == value(found, "gradmesh_workers_alive") == 1
            assert value(found, "gradmesh_serving") == 1
            assert get(server, "/healthz") == (200, "serving\n")
            backend.up = False
            assert get(server, "/healthz") == (503, "not serving: no worker is alive\n")
            assert value(scrape(server), "gradmesh_serving") == 0
            backend.up = True
            assert server.loop is not None
            stopping = asyncio.run_coroutine_threadsafe(server.stop(30), server.loop)
            until(lambda: session.info().draining)
            assert get(server, "/healthz") == (503, "not serving: draining\n")
            open_gate(backend, server)
            for thread, results in working:
                thread.join()
                assert not isinstance(results[0], Exception), results
            stopping.result(30)


def test_the_port_answers_nothing_else(watched: Server) -> None:
    assert get(watched, "/")[0] == 404
    assert get(watched, "/metrics?name=x")[0] == 200


def test_a_metrics_port_that_is_taken(watched: Server) -> None:
    assert watched.metrics_port is not None
    with (
        pytest.raises(UnavailableError, match="for metrics"),
        background(Config(port=0, metrics_port=watched.metrics_port)),
    ):
        pass


def test_what_is_exposed_is_the_table(watched: Server) -> None:
    with connect(watched.address) as session:
        session.run(chain_request(2))
    until(lambda: value(scrape(watched), "gradmesh_phase_seconds_count", phase="run") > 0)
    declared = {metric.name: metric for metric in metrics.TABLE}
    _, text = get(watched, "/metrics")
    seen = set()
    for family in text_string_to_metric_families(text):
        name = family.name + "_total" if family.type == "counter" else family.name
        metric = declared[name]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
            seen.add(name)
    only_with_workers = {
        "gradmesh_worker_restarts_total",
        "gradmesh_range_retries_total",
        "gradmesh_placed_bytes_total",
    }
    assert set(declared) - seen == only_with_workers


def test_principals_do_not_make_labels_without_end() -> None:
    found = metrics.Metrics(dict)
    labels = {found.principal(f"team-{number}") for number in range(1000)}
    assert len(labels) == metrics.MOST_PRINCIPALS + 1
    assert found.principal("team-0") == "team-0"
    assert found.principal("team-999") == metrics.OTHERS


# --- log lines and request ids --------------------------------------------------------------------


class Lines:
    """What was written to standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


def line_of(lines: Lines, request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [line for line in map(json.loads, lines.text.splitlines()) if line["request_id"] == request_id]

    until(lambda: bool(found()))
    (line,) = found()
    return line


def test_one_line_per_request_tells_how_it_went(watched: Server, lines: Lines) -> None:
    with grpc.insecure_channel(watched.address) as channel:
        _, call = pb_grpc.GradientServiceStub(channel).Compute.with_call(
            message_of(chain_request(6, 11)), metadata=(("x-request-id", "train-17/step:4"),), timeout=10
        )
    assert dict(call.trailing_metadata())["x-request-id"] == "train-17/step:4"
    line = line_of(lines, "train-17/step:4")
    assert (line["method"], line["outcome"], line["principal"]) == ("Compute", "ok", "anonymous")
    assert (line["where"], line["workers"], line["level"]) == ("inline", 1, "info")
    assert line["cache"].startswith("new ")
    assert line["received_bytes"] > 2 * 6 * 11 * 4
    assert line["sent_bytes"] > 2 * 6 * 11 * 4
    phases = [line[f"{phase}_seconds"] for phase in metrics.PHASES]
    assert 0 < sum(phases) <= line["seconds"] + 1e-5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


@pytest.mark.parametrize("bad", ["", "x" * 129, 'a"b', "two words"])
def test_a_bad_request_id_is_replaced(watched: Server, bad: str) -> None:
    with grpc.insecure_channel(watched.address) as channel:
        ids = [
            dict(call.trailing_metadata())["x-request-id"]
            for _ in range(2)
            for _, call in [
                pb_grpc.GradientServiceStub(channel).GetServerInfo.with_call(
                    pb.GetServerInfoRequest(), metadata=(("x-request-id", bad),), timeout=10
                )
            ]
        ]
    assert ids[0] != ids[1]
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", found) for found in ids)


def test_an_error_carries_the_id_of_its_line(watched: Server, lines: Lines) -> None:
    wrong = chain_request(4)
    with connect(watched.address) as session, pytest.raises(GradmeshError) as caught:
        session.run(Request(wrong.graph, wrong.inputs[:1], wrong.query))
    assert caught.value.request_id
    line = line_of(lines, caught.value.request_id)
    assert line["outcome"] == type(caught.value).__name__
    assert line["status"] == "INVALID_ARGUMENT"
    assert caught.value.message in line["error"]
    assert any(caught.value.request_id in note for note in caught.value.__notes__)


def test_a_call_that_is_given_up_has_a_line(lines: Lines) -> None:
    backend = GatedBackend()
    with (
        background(Config(port=0, inline="never", log_format="json"), backend) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        pending = pb_grpc.GradientServiceStub(channel).Compute.future(
            message_of(chain_request(3)), metadata=(("x-request-id", "gone"),), timeout=30
        )
        until(lambda: backend.started == 1)
        pending.cancel()
        assert line_of(lines, "gone")["outcome"] == "CancelledError"


def test_text_lines_are_for_people(lines: Lines) -> None:
    with background(Config(port=0, log_format="text")) as server, connect(server.address) as session:
        session.run(chain_request(2, 9))
        until(lambda: "outcome=ok" in lines.text and "GraphNotFoundError" in lines.text)
    (line,) = [line for line in lines.text.splitlines() if "outcome=ok" in line and "method=Compute" in line]
    assert re.match(r"\S+Z INFO gradmesh.requests: request request_id=\S+ principal=anonymous ", line)
    assert ' cache="new graph" where=inline stages=' in line


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_other_records_look_alike(log_format: logs.LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.set_up("warning", log_format)
        try:
            raise ValueError('bad "thing"')
        except ValueError:
            logging.getLogger("gradmesh.server").exception("it\nfailed", extra=logs.about_request("a-7"))
        logging.getLogger("gradmesh.server").info("not this")
    finally:
        root.handlers[:], root.level = before
    text = capsys.readouterr().err
    if log_format == "text":
        assert "ERROR gradmesh.server: it\nfailed request_id=a-7\nTraceback" in text
        return
    (line,) = map(json.loads, text.splitlines())
    assert (line["level"], line["message"], line["request_id"]) == ("error", "it\nfailed", "a-7")
    assert line["exception"].endswith('ValueError: bad "thing"')


def test_errors_of_this_process_have_no_id() -> None:
    assert InvalidGraphError("wrong").request_id == ""


# --- spans ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    """The spans of this process, which is the client and the server. A process has one provider for ever."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    exporter.shutdown()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def child_of(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether one span lies within the other, in the tree and in time (clocks are read microseconds apart)."""
    slack = 2_000_000
    assert child.parent is not None and child.context is not None and parent.context is not None
    assert None not in (child.start_time, child.end_time, parent.start_time, parent.end_time)
    return (
        child.context.trace_id == parent.context.trace_id
        and child.parent.span_id == parent.context.span_id
        and parent.start_time - slack <= child.start_time <= child.end_time <= parent.end_time + slack  # type: ignore[operator]
    )


COMPUTE = "gradmesh.v1.GradientService/Compute"


def test_a_trace_leads_from_the_client_through_the_phases(
    watched: Server, spans: InMemorySpanExporter, lines: Lines
) -> None:
    with connect(watched.address, retry=ONCE) as session:
        session.run(chain_request(4, 17))
    until(lambda: len(named(spans, COMPUTE)) == 2 and bool(named(spans, "encode")))
    (client,) = named(spans, "gradmesh.evaluate")
    assert client.parent is None
    unknown, found = named(spans, COMPUTE)
    assert child_of(unknown, client) and child_of(found, client)
    assert unknown.status.status_code is trace.StatusCode.ERROR
    assert unknown.attributes is not None and found.attributes is not None and client.context is not None
    assert unknown.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert (found.attributes["rpc.grpc.status_code"], found.attributes["gradmesh.where"]) == (0, "inline")
    phases = [named(spans, phase)[0] for phase in metrics.PHASES]
    assert all(child_of(phase, found) for phase in phases)
    assert [a.end_time for a in phases[:-1]] == [b.start_time for b in phases[1:]]
    line = line_of(lines, str(found.attributes["gradmesh.request_id"]))
    assert line["trace_id"] == f"{client.context.trace_id:032x}"


def test_a_callers_own_span_is_the_parent(watched: Server, spans: InMemorySpanExporter) -> None:
    """As a client in another language sends it."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with grpc.insecure_channel(watched.address) as channel:
        pb_grpc.GradientServiceStub(channel).Compute(
            message_of(chain_request(4, 18)), metadata=(("traceparent", parent),), timeout=10
        )
    until(lambda: bool(named(spans, COMPUTE)))
    (span,) = named(spans, COMPUTE)
    assert span.context is not None and span.parent is not None
    assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" == parent[3:-3]


class RangedBackend(InlineBackend):
    """Runs in process and tells of it as workers do: one range that is lost, then one that ends."""

    async def run(self, program: Program, operands: Sequence[Operand], *, deadline: float) -> Outcome:
        outcome = await super().run(program, operands, deadline=deadline)
        stage = outcome.stages[0]
        half = stage.seconds / 2
        ranges = (
            RangeRun("worker-1", 0.0, half, 0.0, (0, 4), lost="the worker died"),
            RangeRun("worker-0", half, half, half, (0, 4)),
        )
        return replace(outcome, stages=(replace(stage, workers=("worker-0",), retries=1, ranges=ranges),))


def test_each_range_of_a_worker_has_a_span(spans: InMemorySpanExporter, lines: Lines) -> None:
    config = Config(port=0, inline="never", log_format="json")
    with background(config, RangedBackend(1)) as server, grpc.insecure_channel(server.address) as channel:
        pb_grpc.GradientServiceStub(channel).Compute(
            message_of(chain_request(300, 500)), metadata=(("x-request-id", "ranged"),), timeout=10
        )
        until(lambda: bool(named(spans, COMPUTE)))
    (run,) = named(spans, "run")
    lost, ended = named(spans, "stage 0 groups 0-3")
    assert child_of(lost, run) and child_of(ended, run)
    assert (lost.status.status_code, lost.status.description) == (trace.StatusCode.ERROR, "the worker died")
    assert lost.end_time == pytest.approx(ended.start_time, abs=2)
    assert ended.attributes is not None
    assert ended.attributes["gradmesh.worker"] == "worker-0"
    line = line_of(lines, "ranged")
    assert (line["where"], line["retries"], line["workers"]) == ("workers", 1, 1)
