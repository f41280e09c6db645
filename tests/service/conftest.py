"""One server without workers for all tests that do not need their own, and both kinds of client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from gradmesh._remote import RemoteSession, connect
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_server.config import Config
from gradmesh_server.server import Server, background
from tests.service.clients import CLIENTS, Connect


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with background(Config(port=0)) as running:
        yield running


@pytest.fixture
def session(server: Server) -> Iterator[RemoteSession]:
    with connect(server.address, timeout=60) as open_session:
        yield open_session


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Connect:
    """How to connect, for each kind of client."""
    return CLIENTS[request.param]


@pytest.fixture
def each_session(server: Server, client: Connect) -> Iterator[Any]:
    """A session of each kind of client."""
    with client(server.address, timeout=60) as open_session:
        yield open_session


@pytest.fixture(scope="session")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as open_channel:
        yield open_channel


@pytest.fixture(scope="session")
def gradients(channel: grpc.Channel) -> pb_grpc.GradientServiceStub:
    return pb_grpc.GradientServiceStub(channel)


@pytest.fixture(scope="session")
def blobs(channel: grpc.Channel) -> blob_grpc.BlobServiceStub:
    return blob_grpc.BlobServiceStub(channel)


@pytest.fixture
def keeps_nothing(gradients: pb_grpc.GradientServiceStub) -> Iterator[None]:
    """After the test the server still serves, and holds what it held before."""
    before = gradients.GetServerInfo(pb.GetServerInfoRequest())
    yield
    after = gradients.GetServerInfo(pb.GetServerInfoRequest())
    for held in ("cached_graphs", "cached_plans", "stored_blobs", "stored_bytes", "requests_running"):
        assert getattr(after, held) == getattr(before, held), held
    assert after.requests_served == before.requests_served
