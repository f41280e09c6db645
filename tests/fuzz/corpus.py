"""What mutation begins with: the conformance vectors, and a request for every sample of the op table's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import json_format

from gradmesh import _codec
from gradmesh._conformance import load_vectors, request_of
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine import dtypes
from gradmesh_engine.graph import Graph, TensorSpec, digest_of_array
from tests.fuzz.case import Call, Case, call, handle_of_earlier
from tests.ops.graphs import one_node
from tests.ops.table import KNOWN
from tests.service.graphs import chain_request


@dataclass(frozen=True)
class Template:
    """An application of an op that is legal: its graph and operands."""

    op: str
    graph: Graph
    arrays: tuple[np.ndarray, ...]

    @property
    def attrs(self) -> dict[str, Any]:
        return dict(self.graph.nodes[0].attrs)


@cache
def templates() -> tuple[Template, ...]:
    """One for each sample of each row of the op table's tests."""
    found = []
    for row in KNOWN:
        for sample in row.samples:
            arrays = sample.arrays(row.seed(sample))
            found.append(Template(row.op, one_node(row.op, arrays, sample.attrs), arrays))
    return tuple(found)


def request_for(graph: Graph, arrays: Sequence[np.ndarray], of: int | None = None) -> pb.ComputeRequest:
    """Everything a graph gives, and the gradients of value `of` by every input that has one."""
    message = pb.ComputeRequest(graph=_codec.encode_graph(graph), inputs=map(_codec.encode_array, arrays))
    if of is not None and dtypes.is_differentiable(graph.specs[of].dtype):
        cotangent = np.ones(graph.specs[of].shape, graph.specs[of].dtype)
        message.of.append(pb.Objective(value=of, cotangent=_codec.encode_array(cotangent)))
        message.wrt.extend(i for i, spec in enumerate(graph.inputs) if dtypes.is_differentiable(spec.dtype))
        message.want_grad_fns = True
    return message


def upload_of(array: np.ndarray, *, digest: bool = True) -> Call:
    spec = TensorSpec(array.shape, array.dtype)
    header = blob_pb.UploadHeader(spec=_codec.encode_spec(spec), length=spec.nbytes)
    if digest:
        header.digest = digest_of_array(array)
    content = array.tobytes()
    half = len(content) // 2
    chunks = [blob_pb.UploadRequest(chunk=part) for part in (content[:half], content[half:])]
    return call("Upload", blob_pb.UploadRequest(header=header), *chunks)


@cache
def seeds() -> tuple[Case, ...]:
    """Cases that are answered, and those the vectors say are refused."""
    found: list[Case] = []
    for vectors in load_vectors().values():
        for vector in vectors:
            if "blobs" in vector:  # Megabytes: _several_calls() has what they are about.
                continue
            parts = [json_format.ParseDict(part, blob_pb.UploadRequest()) for part in vector.get("upload", ())]
            found.append((call("Upload", *parts) if parts else call("Compute", request_of(vector)),))
    for template in templates():
        first = len(template.graph.inputs)
        found.append((call("Compute", request_for(template.graph, template.arrays, first)),))
    found += _several_calls()
    return tuple(found)


def _several_calls() -> list[Case]:
    """Tensors that go up before they are used, and results that are fetched."""
    request = chain_request(40, 5)
    message = request_for(request.graph, request.inputs, 6)
    explain = pb.ExplainRequest(graph=message.graph, of=message.of, wrt=message.wrt)
    by_digest, by_handle = pb.ComputeRequest(), pb.ComputeRequest()
    by_digest.CopyFrom(message)
    by_handle.CopyFrom(message)
    for number, array in enumerate(request.inputs):
        by_digest.inputs[number].digest = digest_of_array(array)
        by_handle.inputs[number].handle = handle_of_earlier(number)
    by_handle.inline_result_bytes = 1
    digests = blob_pb.FindMissingRequest(digests=[digest_of_array(array) for array in request.inputs])
    fetched = [call("Download", blob_pb.DownloadRequest(handle=handle_of_earlier(number))) for number in range(2, 5)]
    return [
        (call("Explain", explain),),
        (*[upload_of(array) for array in request.inputs], call("FindMissing", digests), call("Compute", by_digest)),
        (*[upload_of(array, digest=False) for array in request.inputs], call("Compute", by_handle), *fetched),
        (
            upload_of(request.inputs[0]),
            call("Download", blob_pb.DownloadRequest(digest=digest_of_array(request.inputs[0]))),
        ),
    ]
