"""The port for health checks without TLS."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.errors import UnavailableError
from gradmesh_server.config import Config
from gradmesh_server.probes import LIVE
from gradmesh_server.server import SERVICES, Server, background


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with background(Config(port=0, health_port=0)) as running:
        yield running


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        yield channel


@pytest.mark.parametrize("service", ["", LIVE, *SERVICES])
def test_answers_for_health(channel: grpc.Channel, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_offers_nothing_else(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pb_grpc.GradientServiceStub(channel).Compute(pb.ComputeRequest(), timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_says_when_its_port_is_taken(server: Server) -> None:
    with pytest.raises(UnavailableError, match="health checks"):
        with background(Config(port=0, health_port=server.health_port)):
            pass
