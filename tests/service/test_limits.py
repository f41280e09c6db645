"""Each limit of the configuration: passed by one request, named in its error with the request's own figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import grpc
import numpy as np
import pytest

from gradmesh import _codec
from gradmesh._options import Retry
from gradmesh._remote import connect
from gradmesh._status import decode_error
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.errors import GradmeshError, GraphTooLargeError, LimitError, MemoryLimitError
from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.session import Request
from gradmesh_server.config import Config
from gradmesh_server.server import Server, background
from tests.service.graphs import F32, chain_request, frozen, node, spec
from tests.service.test_server import slow_request


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    config = Config(
        port=0,
        max_graph_nodes=20,
        max_graph_bytes=3000,
        max_attribute_bytes=64,
        max_rank=3,
        max_elements=10_000,
        max_tensor_bytes=100_000,
        max_request_bytes=50_000,
        max_flops=1e6,
        max_tensors=12,
        max_planning_steps=2000,
        max_message_bytes=200_000,
    )
    with background(config) as server:
        yield server


def ones(s: TensorSpec) -> np.ndarray:
    return frozen(np.ones(s.shape, s.dtype))


def unary(count: int, *shape: int) -> Request:
    s = spec(*shape)
    return Request(Graph((s,), tuple(node("tanh", (i,), s) for i in range(count)), (count,)), (ones(s),))


def expanded() -> Request:
    s, wide = spec(101, 1), spec(101, 100)
    return Request(Graph((s,), (node("expand", (0,), wide, shape=(101, 100)),), (1,)), (ones(s),))


def square(n: int) -> Request:
    s = spec(n, n)
    return Request(Graph((s,), (node("contract", (0, 0), s, spec="ij,jk->ik"),), (1,)), (ones(s),))


def picky() -> Request:
    """An attribute of many numbers."""
    s, dims = spec(), tuple(range(100))
    return Request(Graph((spec(2),), (node("reduce_sum", (0,), s, dims=dims),), (1,)), (ones(spec(2)),))


def repeated() -> Request:
    """One value, asked for again and again."""
    request = unary(1, 2)
    return replace(request, graph=replace(request.graph, outputs=(1,) * 13))


def joined() -> Request:
    s = spec(1)
    return Request(Graph((s,), (node("concat", (0,) * 13, spec(13), dim=0),), (1,)), (ones(s),))


def expanding() -> Request:
    """A few bytes that stand for a thousand operations, some of them seen again in every pass."""
    s, means = spec(1, 1, 1000), spec(1, 1, 999)
    return Request(Graph((s,), (node("adaptive_avg_pool1d", (0,), means, output_size=(999,)),), (1,)), (ones(s),))


PASSED: dict[str, tuple[Request, type[GradmeshError], str, str]] = {
    "nodes": (unary(21, 2), GraphTooLargeError, "at most 20 nodes", "21 nodes"),
    "attribute": (picky(), GraphTooLargeError, "at most 64 bytes", " bytes"),
    "results": (repeated(), LimitError, "at most 12", "13"),
    "operands": (joined(), LimitError, "at most 12", "13"),
    "planning": (expanding(), GraphTooLargeError, "at most 2000, one for each primitive operation", "more"),
    "rank of an input": (unary(1, 1, 1, 1, 1), LimitError, "at most 3", "4"),
    "elements of an input": (unary(1, 10_001), LimitError, "at most 10000", "10001"),
    "elements in between": (expanded(), LimitError, "at most 10000", "10100"),
    "flops": (square(90), LimitError, "at most 1e+06", "e+06"),
    "memory": (unary(6, 9_999), MemoryLimitError, "at most 50000 bytes", "39996 bytes of results"),
}


@pytest.mark.parametrize("case", PASSED)
def test_a_limit_is_named_with_the_figure(strict: Server, case: str) -> None:
    request, cls, expected, got = PASSED[case]
    with connect(strict.address, retry=Retry(attempts=1)) as session:
        before = session.info()
        with pytest.raises(LimitError) as caught:
            session.run(request)
        after = session.info()
    error = caught.value
    assert type(error) is cls, error
    assert error.expected.startswith(expected)
    assert got in error.got
    assert error.remedy
    assert error.retry_after_seconds == 0  # The same again would fare the same.
    assert (after.cached_graphs, after.cached_plans) == (before.cached_graphs, before.cached_plans)


def test_a_node_that_passes_a_limit_is_named(strict: Server) -> None:
    with connect(strict.address) as session:
        with pytest.raises(LimitError) as caught:
            session.run(expanded())
        assert (caught.value.op, caught.value.node) == ("expand", 0)
        session.run(chain_request(3))


def test_a_message_that_is_too_long(strict: Server) -> None:
    """GRPC's own limit, found before the message is read; a session of ours does not send such messages."""
    message = pb.ComputeRequest(inputs=[_codec.encode_array(np.ones(60_000, F32))])
    with grpc.insecure_channel(strict.address) as channel, pytest.raises(grpc.RpcError) as caught:
        pb_grpc.GradientServiceStub(channel).Compute(message, timeout=30)
    error = decode_error(caught.value, strict.address)
    assert type(error) is LimitError
    assert "200000" in error.message
    assert "240" in error.message


def test_time_is_a_limit_too() -> None:
    with background(Config(port=0, max_seconds=0.2)) as server, connect(server.address, timeout=60) as session:
        session.explain(slow_request(10))
        with pytest.raises(LimitError) as caught:
            session.run(slow_request(10))
    assert caught.value.expected == "at most 0.2 s"
    assert caught.value.got.startswith("a deadline in ")
