"""The one place where errors become gRPC statuses, and statuses become errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc

from gradmesh.v1 import error_pb2 as error_pb
from gradmesh_engine.errors import GradmeshError, InternalError, InvalidRequestError, UnavailableError, all_errors
from gradmesh_engine.graph import Graph

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a google.rpc.Status."""

# Metadata is limited to 8 KiB by default, and both the status message and the details carry the text.
_CLIP: Final = {"message": 1024, "expected": 1024, "got": 512, "remedy": 512, "source": 256, "op": 128}


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def encode_error(error: GradmeshError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """What to end a call with: status code, message and trailing metadata."""
    code = grpc.StatusCode[error.status]
    text = {name: _clip(str(error.fields()[name]), limit) for name, limit in _CLIP.items()}
    detail = error_pb.ErrorDetail(error=type(error).__name__, node=error.node, **text)
    status = error_pb.RpcStatus(code=code.value[0], message=text["message"])
    status.details.add().Pack(detail)
    return code, text["message"], ((DETAILS_KEY, status.SerializeToString()),)


def _class_of_status() -> dict[str, type[GradmeshError]]:
    """For each status the most general class that declares it, for replies without details."""
    table = {cls.__dict__["status"]: cls for cls in all_errors().values() if "status" in cls.__dict__}
    # Two families share INVALID_ARGUMENT, and the base class INTERNAL.
    return table | {"INTERNAL": InternalError, "INVALID_ARGUMENT": InvalidRequestError}


_CLASS_OF_STATUS: Final = _class_of_status()

_REMEDY: Final = {
    "UNAVAILABLE": "check the address and that the server is running, then try again",
    "DEADLINE_EXCEEDED": "give the call a longer timeout",
    "RESOURCE_EXHAUSTED": "raise the server's limits, or send less at once",
    "UNIMPLEMENTED": "use the same version of gradmesh on both sides",
}


def decode_error(error: grpc.RpcError, address: str, graph: Graph | None = None) -> GradmeshError:
    """The error a failed call stands for; node and source line refer to the caller's own `graph`."""
    # Every RpcError that a call raises is a grpc.Call too.
    code: grpc.StatusCode = error.code()
    detail = _detail_of(error)
    if detail is None:
        text: str = error.details() or code.name.lower()
        cls = _CLASS_OF_STATUS.get(code.name, InternalError)
        what = "cannot reach" if cls is UnavailableError else "the call failed at"
        return cls(f"{what} {address}: {text}", remedy=_REMEDY.get(code.name, ""))
    cls = all_errors().get(detail.error) or _CLASS_OF_STATUS.get(code.name, InternalError)
    result = cls(
        detail.message,
        op=detail.op,
        node=detail.node,
        source=detail.source,
        expected=detail.expected,
        got=detail.got,
        remedy=detail.remedy,
    )
    if graph is not None and detail.node >= 0:
        result.source = graph.source(detail.node) or result.source
    return result


def _detail_of(error: grpc.RpcError) -> error_pb.ErrorDetail | None:
    trailing: Callable[[], object] | None = getattr(error, "trailing_metadata", None)
    metadata = trailing() if trailing is not None else None
    for key, value in metadata or ():  # type: ignore[attr-defined]
        if key == DETAILS_KEY:
            status = error_pb.RpcStatus.FromString(value)
            detail = error_pb.ErrorDetail()
            for packed in status.details:
                if packed.Unpack(detail):
                    return detail
    return None
