"""Certifies a server against recorded vectors: `gradmesh conformance HOST:PORT`.

The vectors are the JSON files of `vectors/`; docs/protocol.md says how to read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, TypeAlias

import grpc
import numpy as np
from google.protobuf import json_format

from gradmesh import _codec
from gradmesh._options import Budget, Timeout
from gradmesh._remote import RemoteSession
from gradmesh._status import decode_error
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import tensor_pb2 as tensor_pb
from gradmesh_engine.dtypes import is_complex, is_differentiable
from gradmesh_engine.errors import GradmeshError, InvalidGraphError
from gradmesh_engine.graph import digest_of_array, encode_canonical

Vector: TypeAlias = "dict[str, Any]"

TIMEOUT_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 1 << 20
_FN_FIELDS: Final = ("name", "node", "next_functions", "shape", "dtype")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one vector.

    Attributes:
        name: "family/vector".
        faults: what differs from the vector, in words; none when the server conforms.
    """

    name: str
    faults: tuple[str, ...]


def load_vectors() -> dict[str, list[Vector]]:
    """The vectors by family, families sorted by name."""
    folder = resources.files("gradmesh") / "vectors"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return {file.name.removesuffix(".json"): json.loads(file.read_text("utf-8"))["vectors"] for file in files}


def certify(session: RemoteSession, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[Verdict]:
    """Try every vector, in order; each may take `timeout_seconds`."""
    for family, vectors in load_vectors().items():
        for vector in vectors:
            yield Verdict(f"{family}/{vector['name']}", faults(session, vector, timeout_seconds))


# --- one vector -----------------------------------------------------------------------------------


def faults(session: RemoteSession, vector: Vector, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[str, ...]:
    """What a server's answer, or this package's own encoder, has different from a vector."""
    # Both replies may have the same fault.
    return tuple(dict.fromkeys(_faults(_Wire(session, Timeout(timeout_seconds).start()), vector)))


class _Wire:
    """The calls a vector is tried with, inside one budget of time. Nothing is sent again and nothing is healed."""

    def __init__(self, session: RemoteSession, budget: Budget) -> None:
        self._session = session
        self._budget = budget

    def _call(self, method: str, message: Any) -> Any:
        conversation = self._session._conversation
        methods = self._session.connection(conversation.addresses.current).methods
        return methods[method](message, timeout=self._budget.left(), metadata=conversation.metadata())

    def compute(self, request: pb.ComputeRequest) -> pb.ComputeResponse:
        return pb.ComputeResponse.FromString(self._call("Compute", request.SerializeToString()))

    def find_missing(self, digest: bytes) -> bool:
        return bool(self._call("FindMissing", blob_pb.FindMissingRequest(digests=[digest])).missing)

    def upload(self, parts: Iterator[blob_pb.UploadRequest]) -> None:
        self._call("Upload", parts)

    def download(self, handle: bytes) -> bytes:
        parts = self._call("Download", blob_pb.DownloadRequest(handle=handle))
        return b"".join(part.chunk for part in parts)

    def error(self, failure: grpc.RpcError) -> GradmeshError:
        return decode_error(failure, self._session.address)


def _faults(wire: _Wire, vector: Vector) -> Iterator[str]:
    yield from encoding_faults(vector)
    try:
        yield from _answer_faults(wire, vector)
    except grpc.RpcError as failure:
        yield from _error_faults(wire.error(failure), vector.get("error"))


def _answer_faults(wire: _Wire, vector: Vector) -> Iterator[str]:
    replies = _ask(wire, vector)
    if "error" in vector:
        yield f"answered, instead of ending in {vector['error']['error']}"
        return
    tolerance = vector.get("tolerance", 0.0)
    contents = []
    for reply in replies:
        found: dict[str, list[tensor_pb.Tensor | None]] = {
            "outputs": list(reply.outputs),
            "gradients": [gradient_of(gradient) for gradient in reply.gradients],
        }
        arrays = {kind: [_content(wire, tensor) for tensor in tensors] for kind, tensors in found.items()}
        contents.append([None if a is None else (a.dtype, a.shape, a.tobytes()) for v in arrays.values() for a in v])
        for kind in arrays:
            expected = [tensor_of(message, kind) for message in vector["reply"].get(kind, ())]
            yield from _tensor_faults(kind, arrays[kind], expected, tolerance)
        if "gradFns" in vector["reply"]:
            yield from _grad_fn_faults(reply.grad_fns, vector["reply"]["gradFns"])
        if reply.graph_digest.hex() != vector["graph"]["digest"]:
            yield f"the reply names the graph {reply.graph_digest.hex()}, not {vector['graph']['digest']}"
    if contents[0] != contents[1]:
        yield "the same request gave other bits when the graph was named by its digest"


def _ask(wire: _Wire, vector: Vector) -> list[pb.ComputeResponse]:
    """The replies to the request as it stands, and with the graph named by its digest."""
    for blob in vector.get("blobs", ()):
        if wire.find_missing(bytes.fromhex(blob["digest"])):
            wire.upload(_parts(blob))
    if "upload" in vector:
        wire.upload(json_format.ParseDict(part, blob_pb.UploadRequest()) for part in vector["upload"])
    request = request_of(vector)
    first = wire.compute(request)
    if request.WhichOneof("graph_source") == "graph":
        request.graph_digest = first.graph_digest
    return [first, wire.compute(request)]


def request_of(vector: Vector) -> pb.ComputeRequest:
    """The request of a vector."""
    return json_format.ParseDict(vector["request"], pb.ComputeRequest())


def content_of(blob: Vector) -> bytes:
    """The content of a blob, which the vector gives as bytes to repeat."""
    spec = _codec.decode_spec(json_format.ParseDict(blob["spec"], tensor_pb.TensorSpec()))
    pattern = bytes.fromhex(blob["repeat"])
    return pattern * (spec.nbytes // len(pattern))


def _parts(blob: Vector) -> Iterator[blob_pb.UploadRequest]:
    content = content_of(blob)
    spec = json_format.ParseDict(blob["spec"], tensor_pb.TensorSpec())
    header = blob_pb.UploadHeader(spec=spec, length=len(content), digest=bytes.fromhex(blob["digest"]))
    yield blob_pb.UploadRequest(header=header)
    for start in range(0, len(content), _CHUNK_BYTES):
        yield blob_pb.UploadRequest(chunk=content[start : start + _CHUNK_BYTES])


def gradient_of(gradient: pb.Gradient) -> tensor_pb.Tensor | None:
    """The tensor of a gradient, None when no path leads to it."""
    return gradient.tensor if gradient.HasField("tensor") else None


def tensor_of(message: Vector, kind: str) -> tensor_pb.Tensor | None:
    """The tensor of an output, or of a gradient, of a vector's reply."""
    if kind == "gradients":
        return gradient_of(json_format.ParseDict(message, pb.Gradient()))
    return json_format.ParseDict(message, tensor_pb.Tensor())


def _content(wire: _Wire, tensor: tensor_pb.Tensor | None) -> np.ndarray | None:
    if tensor is None:
        return None
    if tensor.WhichOneof("content") == "data":
        return _codec.decode_array(tensor)
    content = wire.download(tensor.handle)
    return _codec.decode_array(tensor_pb.Tensor(dtype=tensor.dtype, shape=tensor.shape, data=content))


# --- what may differ --------------------------------------------------------------------------------


def _tensor_faults(
    kind: str, got: Sequence[np.ndarray | None], expected: Sequence[tensor_pb.Tensor | None], tolerance: float
) -> Iterator[str]:
    if len(got) != len(expected):
        yield f"{len(got)} {kind} instead of {len(expected)}"
        return
    for number, (array, tensor) in enumerate(zip(got, expected, strict=True)):
        fault = _difference(array, tensor, tolerance)
        if fault:
            yield f"{kind}[{number}] {fault}"


def _difference(array: np.ndarray | None, tensor: tensor_pb.Tensor | None, tolerance: float) -> str:
    if array is None or tensor is None:
        return "" if array is None and tensor is None else f"is {'not ' if array is None else ''}set"
    spec = _codec.spec_of(tensor.dtype, tuple(tensor.shape))
    if (array.dtype, array.shape) != (spec.dtype, spec.shape):
        return f"is {array.dtype.name}{list(array.shape)} instead of {spec}"
    if tensor.WhichOneof("content") == "digest":
        return "" if digest_of_array(array) == tensor.digest else "has another digest"
    wanted = _codec.decode_array(tensor)
    wrong = np.flatnonzero(~close(array, wanted, tolerance))
    if not wrong.size:
        return ""
    at = int(wrong[0])
    return f"differs in {wrong.size} of {array.size} elements; at {at}: {array.flat[at]} instead of {wanted.flat[at]}"


def close(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> np.ndarray:
    """For each element, flat, whether it is right.

    NaN is NaN whatever its bits, infinities agree, and a finite number is off by at most
    tolerance * max(1, |wanted|). Without a tolerance signs of zero agree too.
    """
    if is_complex(got.dtype):
        parts = np.dtype("f4" if got.dtype.itemsize == 8 else "f8")
        both = [np.ascontiguousarray(array).reshape(-1).view(parts) for array in (got, wanted)]
        return np.asarray(close(both[0], both[1], tolerance).reshape(-1, 2).all(axis=1))
    if not is_differentiable(got.dtype):
        return np.asarray(got.reshape(-1) == wanted.reshape(-1))
    a, b = got.reshape(-1).astype(np.float64), wanted.reshape(-1).astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= tolerance * np.maximum(1.0, np.abs(b))
        same = (a == b) & ((a != 0) | (np.signbit(a) == np.signbit(b)) | bool(tolerance))
    if tolerance:
        same |= near & np.isfinite(a) & np.isfinite(b)
    return np.asarray(same | (np.isnan(a) & np.isnan(b)))


def _grad_fn_faults(got: Sequence[pb.GradFn], expected: Sequence[Vector]) -> Iterator[str]:
    wanted = [json_format.ParseDict(message, pb.GradFn()) for message in expected]
    if [_fn_fields(fn) for fn in got] != [_fn_fields(fn) for fn in wanted]:
        yield f"grad_fns are {[fn.name for fn in got]}, with other edges or specs, or not {[fn.name for fn in wanted]}"


def _fn_fields(fn: pb.GradFn) -> list[object]:
    values = [getattr(fn, field) for field in _FN_FIELDS]
    return [value if isinstance(value, (str, int)) else list(value) for value in values]


def _error_faults(error: GradmeshError, expected: Vector | None) -> Iterator[str]:
    if expected is None:
        yield f"failed with {type(error).__name__}: {error}"
        return
    got = {"status": error.status, "error": type(error).__name__, "op": error.op, "node": error.node}
    got["source"] = error.source
    for field, value in expected.items():
        if got[field] != value:
            yield f"the error's {field} is {got[field]!r} instead of {value!r}"
    if not error.message:
        yield "the error has no message"


# --- encodings --------------------------------------------------------------------------------------


def encoding_faults(vector: Vector) -> Iterator[str]:
    """What this package's own encoder makes of a vector's graph and tensors, where it differs."""
    if "graph" in vector:
        try:
            graph = _codec.decode_graph(request_of(vector).graph)
        except InvalidGraphError as error:
            yield f"the graph does not decode: {error}"
            return
        text = encode_canonical(graph).decode()
        if text != vector["graph"]["text"]:
            yield f"the graph's canonical text is {text!r}"
        if graph.digest.hex() != vector["graph"]["digest"]:
            yield f"the graph's digest is {graph.digest.hex()}"
    inputs = request_of(vector).inputs if "inputDigests" in vector else ()
    for number, (tensor, digest) in enumerate(zip(inputs, vector.get("inputDigests", ()), strict=True)):
        found = digest_of_array(_codec.decode_array(tensor)).hex()
        if found != digest:
            yield f"the digest of input {number} is {found} instead of {digest}"
