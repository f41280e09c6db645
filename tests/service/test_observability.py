"""What a platform team sees of a coordinator: metrics, health, log lines, request ids, spans."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gradmesh import _codec
from gradmesh._remote import INLINE_BYTES, connect
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.errors import GradmeshError, InvalidGraphError, UnavailableError
from gradmesh_engine.session import Request
from gradmesh_server import logs, metrics
from gradmesh_server.config import Config
from gradmesh_server.server import Server, background
from tests.service.graphs import chain_request, until
from tests.service.test_server import ONCE, GatedBackend, in_thread, open_gate

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def watched() -> Iterator[Server]:
    with background(Config(port=0, metrics_port=0)) as server:
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
    until(lambda: grown("gradmesh_requests_total", **ok) == 3)
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
            until(lambda: value(scrape(server), "gradmesh_runs_total", where="workers") == 0 or True)
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


class Lines(logging.Handler):
    """Keeps what would be written."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler = Lines(logs.JsonFormatter())
    before = logs.REQUESTS.level
    logs.REQUESTS.addHandler(handler)
    logs.REQUESTS.setLevel(logging.INFO)
    yield handler.lines
    logs.REQUESTS.removeHandler(handler)
    logs.REQUESTS.setLevel(before)


def line_of(lines: list[str], request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [line for line in map(json.loads, lines) if line["request_id"] == request_id]

    until(lambda: bool(found()))
    (line,) = found()
    return line


def test_one_line_per_request_tells_how_it_went(watched: Server, lines: list[str]) -> None:
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


def test_an_error_carries_the_id_of_its_line(watched: Server, lines: list[str]) -> None:
    wrong = chain_request(4)
    with connect(watched.address) as session, pytest.raises(GradmeshError) as caught:
        session.run(Request(wrong.graph, wrong.inputs[:1], wrong.query))
    assert caught.value.request_id
    line = line_of(lines, caught.value.request_id)
    assert line["outcome"] == type(caught.value).__name__
    assert line["status"] == "INVALID_ARGUMENT"
    assert caught.value.message in line["error"]
    assert any(caught.value.request_id in note for note in caught.value.__notes__)


def test_a_call_that_is_given_up_has_a_line(lines: list[str]) -> None:
    backend = GatedBackend()
    with (
        background(Config(port=0, inline="never"), backend) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        pending = pb_grpc.GradientServiceStub(channel).Compute.future(
            message_of(chain_request(3)), metadata=(("x-request-id", "gone"),), timeout=30
        )
        until(lambda: backend.started == 1)
        pending.cancel()
        assert line_of(lines, "gone")["outcome"] == "CancelledError"


def test_text_lines_are_for_people() -> None:
    record = logging.makeLogRecord({"name": "gradmesh.requests", "levelname": "INFO", "msg": "request", "created": 0.0})
    record.gradmesh_fields = {"request_id": "a-1", "cache": "new graph", "seconds": 0.25}
    text = logs.TextFormatter().format(record)
    assert text.endswith('INFO gradmesh.requests: request request_id=a-1 cache="new graph" seconds=0.250000')


def test_errors_of_this_process_have_no_id() -> None:
    assert InvalidGraphError("wrong").request_id == ""
