"""Large tensors: up once, known by digest, down as a stream; and the store that holds them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from gradmesh._blobs import Digests
from gradmesh._codec import encode_spec
from gradmesh._remote import CONSTANT_BYTES, RemoteSession, connect
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh_engine.backend import Pieces
from gradmesh_engine.errors import BlobNotFoundError, MemoryLimitError, OverloadedError
from gradmesh_engine.graph import digest_of_array
from gradmesh_engine.local import LocalSession
from gradmesh_engine.session import Query, Request
from gradmesh_server.blobs import BlobStore
from gradmesh_server.config import MIB, Config
from gradmesh_server.server import Server, background
from tests.service.graphs import F32, chain, chain_request, equal_bits, frozen, spec

# --- through a session ----------------------------------------------------------------------------


def same_as_local(session: RemoteSession, request: Request) -> tuple[int, int]:
    """Bytes sent and received for a result that is what the engine gives in process."""
    got, expected = session.run(request), LocalSession().run(request)
    for a, b in zip((*got.outputs, *got.gradients), (*expected.outputs, *expected.gradients), strict=True):
        assert equal_bits(a, b)
    return got.stats.bytes["sent"], got.stats.bytes["received"]


def test_constants_are_sent_once(session: RemoteSession) -> None:
    request = chain_request(CONSTANT_BYTES // 4 + 1, seed=5, wrt=(0,))
    nbytes = request.inputs[1].nbytes
    first, _ = same_as_local(session, request)
    assert first > 2 * nbytes
    second, _ = same_as_local(session, request)
    assert nbytes < second < 1.1 * nbytes  # The parameter alone.


def test_another_session_finds_what_the_first_uploaded(server: Server) -> None:
    request = chain_request(CONSTANT_BYTES, seed=6, wrt=())
    request = Request(request.graph, request.inputs)
    with connect(server.address) as one:
        first, _ = same_as_local(one, request)
        assert first > 2 * request.inputs[0].nbytes
    with connect(server.address) as two:
        second, _ = same_as_local(two, request)
        assert second < 1000


def test_the_same_constant_twice_is_one_blob(session: RemoteSession) -> None:
    base = chain_request(CONSTANT_BYTES, seed=7)
    request = Request(base.graph, (base.inputs[0], base.inputs[0]))
    before = session.info().stored_blobs
    sent, _ = same_as_local(session, request)
    assert sent < 1.1 * base.inputs[0].nbytes
    assert session.info().stored_blobs == before + 1


def test_50_mb_up_and_down(session: RemoteSession) -> None:
    """Past gRPC's 4 MiB, as parameter, cotangent, output and gradient; nothing of it stays."""
    count = 50 * MIB // 4
    base = chain_request(count, seed=8)
    weight = frozen(np.linspace(0, 1, count, dtype=F32))
    request = Request(base.graph, base.inputs, Query((5,), (0, 1), (True,)), (weight,))
    before = session.info()
    sent, received = same_as_local(session, request)
    assert sent > 3 * weight.nbytes
    assert received > 3 * weight.nbytes
    after = session.info()
    assert (after.stored_blobs, after.stored_bytes) == (before.stored_blobs, before.stored_bytes)


def test_a_blob_the_server_dropped_is_sent_again() -> None:
    """Two constants take turns in a store that has room for one."""
    with background(Config(port=0, max_stored_bytes=3 * MIB // 2)) as server, connect(server.address) as session:
        requests = [
            Request(chain(MIB // 4), (array, array))
            for array in (chain_request(MIB // 4, seed=seed).inputs[0] for seed in (1, 2))
        ]
        for request in (*requests, *requests):
            sent, _ = same_as_local(session, request)
            assert sent > MIB
        sent, _ = same_as_local(session, requests[1])
        assert sent < 1000


def test_a_result_nobody_fetches_is_dropped() -> None:
    from gradmesh import _codec
    from gradmesh.v1 import gradient_service_pb2 as pb
    from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
    from tests.service.graphs import until

    with background(Config(port=0, handle_ttl_seconds=0.2)) as server, connect(server.address) as session:
        request = chain_request(MIB)
        message = pb.ComputeRequest(graph=_codec.encode_graph(request.graph), inline_result_bytes=1)
        message.inputs.extend(map(_codec.encode_array, request.inputs))
        with grpc.insecure_channel(server.address) as channel:
            reply = pb_grpc.GradientServiceStub(channel).Compute(message, timeout=30)
        assert [len(tensor.handle) for tensor in reply.outputs] == [16, 16]
        assert session.info().stored_blobs == 2
        until(lambda: session.info().stored_blobs == 0)


def test_download_by_digest(session: RemoteSession, blobs: blob_grpc.BlobServiceStub) -> None:
    array = chain_request(CONSTANT_BYTES, seed=9).inputs[0]
    session.run(Request(chain(CONSTANT_BYTES), (array, array)))
    parts = list(blobs.Download(blob_pb.DownloadRequest(digest=digest_of_array(array)), timeout=30))
    assert parts[0].header.length == array.nbytes
    assert b"".join(part.chunk for part in parts[1:]) == array.tobytes()


def test_a_tensor_without_elements_goes_up_and_down(blobs: blob_grpc.BlobServiceStub) -> None:
    from gradmesh._blobs import receive, upload_parts

    empty = np.empty((3, 0), "int16")
    reply = blobs.Upload(upload_parts(empty, digest_of_array(empty), lambda count: None), timeout=30)
    assert reply.digest == digest_of_array(empty)
    back = receive(blobs.Download(blob_pb.DownloadRequest(digest=reply.digest), timeout=30), spec(3, 0, dtype="int16"))
    assert equal_bits(back, empty)


# --- digests --------------------------------------------------------------------------------------


def test_digests_of_read_only_arrays_are_remembered_while_they_live() -> None:
    digests = Digests()
    array = frozen(np.arange(10.0))
    assert digests.of(array) == digests.of(array) == digest_of_array(array)
    assert len(digests) == 1
    del array
    gc.collect()
    assert len(digests) == 0


def test_digests_of_writable_arrays_follow_their_content() -> None:
    digests = Digests()
    array = np.arange(10.0)
    before = digests.of(array)
    array[3] = 7
    assert digests.of(array) == digest_of_array(array) != before
    assert len(digests) == 0


def test_digests_tell_dtype_and_shape_apart() -> None:
    array = np.zeros(4, "float32")
    others = (array.view("int32"), array.reshape(2, 2), array.reshape(1, 4), np.zeros(5, "float32"))
    assert len({digest_of_array(array), *map(digest_of_array, others)}) == 5


def test_the_server_makes_digests_for_those_who_cannot(
    blobs: blob_grpc.BlobServiceStub, session: RemoteSession
) -> None:
    array = np.arange(5.0)
    header = blob_pb.UploadHeader(spec=encode_spec(spec(5, dtype="float64")), length=40, content_addressed=True)
    parts = [blob_pb.UploadRequest(header=header), blob_pb.UploadRequest(chunk=array.tobytes())]
    before = session.info()
    for _ in range(2):
        reply = blobs.Upload(iter(parts))
        assert (reply.digest, reply.handle) == (digest_of_array(array), b"")
    after = session.info()
    assert (after.stored_blobs, after.stored_bytes) == (before.stored_blobs + 1, before.stored_bytes + 40)
    with pytest.raises(grpc.RpcError, match="ended before"):
        blobs.Upload(iter(parts[:1]))


# --- pieces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_pieces_run_in_c_order(dim: int) -> None:
    whole = np.random.default_rng(0).standard_normal((3, 7, 5)).astype(F32)
    parts = np.split(whole, [1, 1, 3], axis=dim)  # One of them without elements.
    pieces = Pieces(spec(3, 7, 5), dim, tuple(map(np.ascontiguousarray, parts)))
    assert b"".join(run.tobytes() for run in pieces.runs()) == whole.tobytes()
    assert equal_bits(pieces.assemble(), whole)


# --- the store ------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dropped() -> list[bytes]:
    return []


@pytest.fixture
def store(clock: Clock, dropped: list[bytes]) -> Iterator[BlobStore]:
    yield BlobStore(max_bytes=100, max_uploads=2, ttl_seconds=10, clock=clock, on_drop=dropped.append)


def put(store: BlobStore, name: bytes, count: int, once: bool = False) -> None:
    store.begin(count)
    store.finish(name, np.zeros(count, "uint8"), once=once)


def test_the_longest_unused_makes_room(store: BlobStore, dropped: list[bytes]) -> None:
    for name in (b"a", b"b", b"c"):
        put(store, name, 30)
    store.get(b"a")
    put(store, b"d", 30)
    assert dropped == [b"b"]
    assert store.missing([b"a", b"b", b"c", b"d"]) == [b"b"]
    assert store.used_bytes == 90


def test_what_is_for_one_use_makes_no_room(store: BlobStore) -> None:
    put(store, b"h", 80, once=True)
    with pytest.raises(MemoryLimitError):
        store.begin(30)
    assert (store.used_bytes, store.uploads) == (80, 0)
    store.drop(b"h")
    assert store.used_bytes == 0
    with pytest.raises(BlobNotFoundError):
        store.peek(b"h")


def test_handles_expire(store: BlobStore, clock: Clock, dropped: list[bytes]) -> None:
    put(store, b"h", 10, once=True)
    clock.now = 9
    store.peek(b"h")  # Asked for: it stays for another while.
    clock.now = 18
    store.sweep()
    assert len(store) == 1
    clock.now = 19.5
    store.sweep()
    assert (len(store), store.used_bytes, dropped) == (0, 0, [b"h"])


def test_uploads_are_bounded(store: BlobStore) -> None:
    store.begin(10)
    store.begin(10)
    with pytest.raises(OverloadedError):
        store.begin(10)
    store.abandon(10)
    store.begin(10)
    assert (store.used_bytes, store.uploads) == (20, 2)


def test_two_uploads_of_one_tensor_count_once(store: BlobStore) -> None:
    store.begin(10)
    store.begin(10)
    for _ in range(2):
        store.finish(b"a", np.zeros(10, "uint8"), once=False)
    assert (len(store), store.used_bytes, store.uploads) == (1, 10, 0)
