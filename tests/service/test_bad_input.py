"""What a client of another make may send: a clear error, and the server keeps serving and keeps nothing."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import replace

import grpc
import numpy as np
import pytest

from gradmesh import _codec
from gradmesh._remote import connect
from gradmesh._status import decode_error
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh.v1 import tensor_pb2
from gradmesh_engine.errors import (
    ArityError,
    AttributeTypeError,
    AxisError,
    BlobNotFoundError,
    CycleError,
    DigestMismatchError,
    GradmeshError,
    GraphNotFoundError,
    GraphTooLargeError,
    InputMismatchError,
    InvalidGraphError,
    InvalidRequestError,
    LengthError,
    LimitError,
    MemoryLimitError,
    MissingInputError,
    TruncatedUploadError,
    UnknownDTypeError,
    UnknownOpError,
)
from gradmesh_engine.graph import digest_of_array
from gradmesh_server.config import MIB, Config
from gradmesh_server.server import Server, background
from tests.service.graphs import F32, chain, chain_request, node, spec, until

pytestmark = pytest.mark.usefixtures("keeps_nothing")


def good() -> pb.ComputeRequest:
    request = chain_request(7, 3)
    return pb.ComputeRequest(
        graph=_codec.encode_graph(request.graph),
        inputs=[_codec.encode_array(array) for array in request.inputs],
        of=[pb.Objective(value=6)],
        wrt=[0, 1],
    )


def error_of(call: Callable[[], object]) -> GradmeshError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = decode_error(caught.value, "the server")
    assert caught.value.code().name == error.status  # type: ignore[attr-defined]
    return error


def change(edit: Callable[[pb.ComputeRequest], object]) -> pb.ComputeRequest:
    request = good()
    edit(request)
    return request


def set_attr(request: pb.ComputeRequest, index: int, name: str, value: object) -> None:
    request.graph.nodes[index].attrs[name].CopyFrom(_codec.encode_attr(value))  # type: ignore[arg-type]


AT = {"op": "tanh", "node": 1, "source": "model.py:11"}
SUM = {"op": "reduce_sum", "node": 4, "source": "model.py:14"}
COMPUTE: dict[str, tuple[Callable[[pb.ComputeRequest], object], type[GradmeshError], dict[str, object]]] = {
    "no graph": (lambda r: r.ClearField("graph"), InvalidRequestError, {}),
    "unknown digest": (lambda r: setattr(r, "graph_digest", b"d" * 16), GraphNotFoundError, {"got": "64" * 16}),
    "short digest": (lambda r: setattr(r, "graph_digest", b"d"), InvalidRequestError, {"got": "1 bytes"}),
    "unknown op": (lambda r: setattr(r.graph.nodes[1], "op", "tanhh"), UnknownOpError, AT | {"op": "tanhh"}),
    "too many operands": (lambda r: r.graph.nodes[1].inputs.append(0), ArityError, AT | {"expected": "1", "got": "2"}),
    "too few operands": (lambda r: r.graph.nodes[1].ClearField("inputs"), ArityError, AT),
    "unknown attribute": (lambda r: set_attr(r, 1, "speed", 3), AttributeTypeError, AT | {"got": "speed"}),
    "attribute of a wrong type": (lambda r: set_attr(r, 4, "dims", "0, 1"), AttributeTypeError, SUM),
    "missing attribute": (lambda r: r.graph.nodes[4].attrs.clear(), AttributeTypeError, SUM),
    "attribute without a value": (lambda r: r.graph.nodes[1].attrs["x"].SetInParent(), AttributeTypeError, AT),
    "shape given wrongly": (lambda r: r.graph.nodes[1].outputs[0].shape.__setitem__(0, 8), InvalidGraphError, AT),
    "dtype given wrongly": (
        lambda r: setattr(r.graph.nodes[1].outputs[0], "dtype", "float64"),
        InvalidGraphError,
        AT,
    ),
    "operands that do not fit": (
        lambda r: r.graph.inputs[1].shape.__setitem__(0, 8),
        InvalidGraphError,
        {"op": "mul", "node": 0, "source": "model.py:10"},
    ),
    "cycle": (lambda r: r.graph.nodes[1].inputs.__setitem__(0, 4), CycleError, AT),
    "itself": (lambda r: r.graph.nodes[1].inputs.__setitem__(0, 3), CycleError, AT),
    "no such output": (lambda r: r.graph.outputs.append(7), GradmeshError, {}),
    "axis": (lambda r: set_attr(r, 4, "dims", (0, 5)), AxisError, SUM),
    "negative dim in a spec": (lambda r: r.graph.inputs[0].shape.__setitem__(0, -7), LengthError, {}),
    "overflowing spec": (
        lambda r: r.graph.nodes[1].outputs[0].shape.extend([1 << 62, 1 << 62]),
        LengthError,
        AT,
    ),
    "unknown dtype of a spec": (
        lambda r: setattr(r.graph.inputs[0], "dtype", "f32"),
        UnknownDTypeError,
        {"got": "f32"},
    ),
    "unknown dtype of an input": (lambda r: setattr(r.inputs[0], "dtype", "half"), UnknownDTypeError, {"got": "half"}),
    "missing input": (lambda r: r.inputs.__delitem__(1), MissingInputError, {}),
    "no input": (lambda r: r.ClearField("inputs"), MissingInputError, {}),
    "input of another shape": (
        lambda r: (r.inputs[0].shape.__setitem__(0, 3), r.inputs[0].shape.__setitem__(1, 7)),
        InputMismatchError,
        {"expected": "float32[7, 3]", "got": "float32[3, 7]"},
    ),
    "input of another dtype": (lambda r: setattr(r.inputs[0], "dtype", "int32"), InputMismatchError, {}),
    "input without content": (lambda r: r.inputs[0].ClearField("data"), InvalidRequestError, {}),
    "lying length": (
        lambda r: setattr(r.inputs[0], "data", b"\0" * 80),
        LengthError,
        {"expected": "84 bytes", "got": "80 bytes"},
    ),
    "lying shape": (lambda r: r.inputs[0].shape.__setitem__(0, 1 << 40), LengthError, {}),
    "unknown blob": (lambda r: setattr(r.inputs[0], "digest", b"b" * 16), BlobNotFoundError, {"got": "62" * 16}),
    "unknown handle": (lambda r: setattr(r.inputs[0], "handle", b"h" * 16), BlobNotFoundError, {"got": "68" * 16}),
    "short handle": (lambda r: setattr(r.inputs[0], "handle", b"h"), InvalidRequestError, {}),
    "no such objective": (lambda r: setattr(r.of[0], "value", 77), InvalidGraphError, {}),
    "segments of fewer nodes": (lambda r: r.segments.append(1), InvalidGraphError, {}),
    "no such wrt": (lambda r: r.wrt.append(77), InvalidGraphError, {}),
    "objective of many elements": (lambda r: setattr(r.of[0], "value", 5), InvalidGraphError, {}),
    "cotangent of another shape": (
        lambda r: r.of[0].cotangent.CopyFrom(_codec.encode_array(np.zeros(3, F32))),
        InputMismatchError,
        {"expected": "float32[]", "got": "float32[3]"},
    ),
}


FAMILIES = (GradmeshError, InvalidGraphError)
"""Where the rows leave it to the engine which member of the family fits best."""


@pytest.mark.parametrize("name", COMPUTE)
def test_compute(gradients: pb_grpc.GradientServiceStub, name: str) -> None:
    edit, cls, fields = COMPUTE[name]
    request = change(edit)
    error = error_of(lambda: gradients.Compute(request, timeout=30))
    assert type(error) is cls or (cls in FAMILIES and isinstance(error, cls)), error
    assert error.status == ("NOT_FOUND" if "NotFound" in cls.__name__ else "INVALID_ARGUMENT")
    for field, value in fields.items():
        assert getattr(error, field) == value, (field, str(error))
    assert error.message


GARBAGE: dict[str, str] = {
    "GradientService/Compute": "ComputeRequest",
    "GradientService/Explain": "ExplainRequest",
    "GradientService/ListOps": "ListOpsRequest",
    "BlobService/FindMissing": "FindMissingRequest",
    "BlobService/Upload": "UploadRequest",
    "BlobService/Download": "DownloadRequest",
}


@pytest.mark.parametrize("path", GARBAGE)
def test_no_message(channel: grpc.Channel, path: str) -> None:
    """For a client a unary call is a stream of one message each way."""
    call = channel.stream_stream(f"/gradmesh.v1.{path}")
    error = error_of(lambda: list(call(iter([b"\xff\xff\xff"]), timeout=30)))
    assert type(error) is InvalidRequestError
    assert error.message == f"the message is not a gradmesh.v1.{GARBAGE[path]}"
    assert error.got.startswith("3 bytes") and "contract" in error.remedy


# --- uploads --------------------------------------------------------------------------------------

ARRAY = np.arange(300_000, dtype=F32)


def header(**change: object) -> blob_pb.UploadRequest:
    fields = {
        "spec": _codec.encode_spec(spec(len(ARRAY))),
        "length": ARRAY.nbytes,
        "digest": digest_of_array(ARRAY),
    } | change
    return blob_pb.UploadRequest(header=blob_pb.UploadHeader(**fields))  # type: ignore[arg-type]


def chunk(content: bytes) -> blob_pb.UploadRequest:
    return blob_pb.UploadRequest(chunk=content)


CONTENT = ARRAY.tobytes()
HALF = len(CONTENT) // 2
UPLOADS: dict[str, tuple[list[blob_pb.UploadRequest], type[GradmeshError]]] = {
    "truncated": ([header(), chunk(CONTENT[:HALF])], TruncatedUploadError),
    "nothing after the header": ([header()], TruncatedUploadError),
    "one byte short": ([header(), chunk(CONTENT[:HALF]), chunk(CONTENT[HALF:-1])], TruncatedUploadError),
    "truncated, without digest": ([header(digest=b""), chunk(CONTENT[:HALF])], TruncatedUploadError),
    "too long": ([header(), chunk(CONTENT), chunk(b"\0")], LengthError),
    "other content": ([header(), chunk(CONTENT[HALF:]), chunk(CONTENT[:HALF])], DigestMismatchError),
    "one bit off": ([header(), chunk(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])], DigestMismatchError),
    "digest of another dtype": (
        [header(spec=_codec.encode_spec(spec(len(ARRAY), dtype="int32"))), chunk(CONTENT)],
        DigestMismatchError,
    ),
    "lying length": ([header(length=ARRAY.nbytes - 4), chunk(CONTENT)], LengthError),
    "lying shape": ([header(spec=_codec.encode_spec(spec(1 << 40)), length=4), chunk(CONTENT)], LengthError),
    "huge": (
        [header(spec=_codec.encode_spec(spec(1 << 40)), length=4 << 40), chunk(CONTENT)],
        MemoryLimitError,
    ),
    "overflow": (
        [header(spec=tensor_pb2.TensorSpec(dtype="float32", shape=[1 << 62, 8]), length=0)],
        LengthError,
    ),
    "negative dim": ([header(spec=tensor_pb2.TensorSpec(dtype="float32", shape=[-1]))], LengthError),
    "unknown dtype": ([header(spec=tensor_pb2.TensorSpec(dtype="float31", shape=[1]))], UnknownDTypeError),
    "short digest": ([header(digest=b"abc"), chunk(CONTENT)], InvalidRequestError),
    "no header": ([chunk(CONTENT)], InvalidRequestError),
    "two headers": ([header(), header(), chunk(CONTENT)], InvalidRequestError),
    "nothing": ([], InvalidRequestError),
    "an empty part": ([header(), blob_pb.UploadRequest()], InvalidRequestError),
    "no bools": (
        [
            header(spec=tensor_pb2.TensorSpec(dtype="bool", shape=[3]), length=3, digest=b""),
            chunk(b"\0\1\2"),
        ],
        InvalidRequestError,
    ),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_upload(blobs: blob_grpc.BlobServiceStub, name: str) -> None:
    parts, cls = UPLOADS[name]
    error = error_of(lambda: blobs.Upload(iter(parts), timeout=30))
    assert type(error) is cls
    missing = blobs.FindMissing(blob_pb.FindMissingRequest(digests=[digest_of_array(ARRAY)])).missing
    assert missing == [digest_of_array(ARRAY)]


def test_an_upload_that_is_given_up(blobs: blob_grpc.BlobServiceStub, gradients: pb_grpc.GradientServiceStub) -> None:
    """The client goes away in the middle: the room is given back."""

    def stored() -> int:
        return gradients.GetServerInfo(pb.GetServerInfoRequest()).stored_bytes

    before = stored()
    parts: queue.Queue[blob_pb.UploadRequest | None] = queue.Queue()
    parts.put(header())
    parts.put(chunk(CONTENT[:HALF]))
    call = blobs.Upload.future(iter(parts.get, None), timeout=60)
    until(lambda: stored() == before + ARRAY.nbytes)
    call.cancel()
    parts.put(None)
    until(lambda: stored() == before)


@pytest.mark.parametrize("field", ["digest", "handle"])
def test_download_of_nothing(blobs: blob_grpc.BlobServiceStub, field: str) -> None:
    unknown = blob_pb.DownloadRequest(**{field: b"x" * 16})  # type: ignore[arg-type]
    assert type(error_of(lambda: list(blobs.Download(unknown, timeout=30)))) is BlobNotFoundError
    short = blob_pb.DownloadRequest(**{field: b"x"})  # type: ignore[arg-type]
    assert type(error_of(lambda: list(blobs.Download(short, timeout=30)))) is InvalidRequestError
    assert type(error_of(lambda: list(blobs.Download(blob_pb.DownloadRequest(), timeout=30)))) is InvalidRequestError


# --- limits ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    config = Config(
        port=0,
        max_graph_nodes=20,
        max_graph_bytes=4096,
        max_message_bytes=1 * MIB,
        max_request_bytes=2 * MIB,
        max_tensor_bytes=4 * MIB,
        max_stored_bytes=6 * MIB,
    )
    with background(config) as running:
        yield running


def test_a_graph_with_too_many_nodes(strict: Server) -> None:
    base = chain_request(2)
    nodes = base.graph.nodes + tuple(node("tanh", (6 + i,), spec()) for i in range(16))
    with connect(strict.address) as session:
        with pytest.raises(GraphTooLargeError) as caught:
            session.run(replace(base, graph=replace(base.graph, nodes=nodes)))
        assert (caught.value.expected, caught.value.got) == ("at most 20 nodes", "21 nodes")
        assert session.info().cached_graphs == 0
        session.run(base)
        assert session.info().cached_graphs == 1


def test_a_graph_with_too_many_bytes(strict: Server) -> None:
    base = chain_request(3)
    sources = tuple("x" * 2000 for _ in base.graph.nodes)
    with connect(strict.address) as session:
        with pytest.raises(GraphTooLargeError):
            session.run(replace(base, graph=replace(base.graph, sources=sources)))


def test_a_request_over_the_memory(strict: Server) -> None:
    """Refused from the plan: the inputs were not even looked at, let alone anything computed."""
    graph = chain(1 << 10, 1 << 10)
    request = pb.ComputeRequest(graph=_codec.encode_graph(graph), of=[pb.Objective(value=6)], wrt=[0])
    with grpc.insecure_channel(strict.address) as channel:
        stub = pb_grpc.GradientServiceStub(channel)
        before = stub.GetServerInfo(pb.GetServerInfoRequest())
        error = error_of(lambda: stub.Compute(request, timeout=30))
        assert type(error) is MemoryLimitError
        assert str(2 * MIB) in error.expected
        after = stub.GetServerInfo(pb.GetServerInfoRequest())
        assert (after.cached_graphs, after.cached_plans) == (before.cached_graphs, before.cached_plans)


def test_a_tensor_over_the_limit(strict: Server) -> None:
    with connect(strict.address) as session, pytest.raises(MemoryLimitError):
        session.run(chain_request(1 << 20, 2))


def test_a_message_over_the_limit(strict: Server) -> None:
    with grpc.insecure_channel(strict.address) as channel:
        stub = pb_grpc.GradientServiceStub(channel)
        request = good()
        request.inputs[0].data = b"\0" * (2 * MIB)
        error = error_of(lambda: stub.Compute(request, timeout=30))
        assert type(error) is LimitError
