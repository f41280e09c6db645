"""The one place where errors become gRPC statuses, and statuses become errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc

from gradmesh.v1 import error_pb2 as error_pb
from gradmesh_engine.errors import (
    GradmeshError,
    InternalError,
    InvalidRequestError,
    LimitError,
    UnauthenticatedError,
    UnavailableError,
    all_errors,
)
from gradmesh_engine.graph import Graph

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The trailing metadata in which gRPC carries a google.rpc.Status."""

PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""The trailing metadata that tells gRPC libraries which retry by themselves when to do so."""

REQUEST_ID_KEY: Final = "x-request-id"
"""The metadata that names a call: a client may send it, every reply carries it."""

# Metadata is limited to 8 KiB by default, and both the status message and the details carry the text.
_CLIP: Final = {"message": 1024, "expected": 1024, "got": 512, "remedy": 512, "source": 256, "op": 128}


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def encode_error(error: GradmeshError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """What to end a call with: status code, message and trailing metadata."""
    code = grpc.StatusCode[error.status]
    text = {name: _clip(str(error.fields()[name]), limit) for name, limit in _CLIP.items()}
    later = error.retry_after_seconds if isinstance(error, LimitError) else 0.0
    detail = error_pb.ErrorDetail(error=type(error).__name__, node=error.node, retry_after_seconds=later)
    for name, value in text.items():
        setattr(detail, name, value)
    status = error_pb.RpcStatus(code=code.value[0], message=text["message"])
    status.details.add().Pack(detail)
    details = (DETAILS_KEY, status.SerializeToString())
    if later:
        return code, text["message"], (details, (PUSHBACK_KEY, str(max(1, round(later * 1000)))))
    return code, text["message"], (details,)


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


_OTHER_NAME: Final = (
    "its certificate is for another name",
    "connect by a name the certificate has, or give that name: tls=TLS(server_name=...)",
)

# What a failed TLS handshake is told by, in gRPC's text of an UNAVAILABLE. Trying again does not help.
_HANDSHAKE: Final = {
    "certificate has expired": ("its certificate has expired", "renew the server's certificate"),
    "WRONG_VERSION_NUMBER": ("it does not speak TLS", "connect without tls, or serve with --tls-cert and --tls-key"),
    "CERTIFICATE_VERIFY_FAILED": (
        "its certificate is not signed by an authority that is trusted here, or is for another name",
        "give the authority that signed it: tls=TLS(ca=...)",
    ),
    "Hostname Verification Check failed": _OTHER_NAME,
    "is not in peer certificate": _OTHER_NAME,  # grpcio up to 1.76
    "Tls handshake failed": ("the TLS handshake failed", "check the certificates of both sides"),
    "security handshaker": ("the TLS handshake cannot begin", "check the files given to tls=TLS(...)"),
}


def decode_error(error: grpc.RpcError, address: str, graph: Graph | None = None) -> GradmeshError:
    """The error a failed call stands for; node and source line refer to the caller's own `graph`."""
    # Every RpcError that a call raises is a grpc.Call too.
    code: grpc.StatusCode = error.code()
    result = _decode(error, code, address, graph)
    for key, value in _trailing_metadata(error):
        if key == REQUEST_ID_KEY:
            result.request_id = str(value)
            result.add_note(f"request id: {value}")
    return result


def _decode(error: grpc.RpcError, code: grpc.StatusCode, address: str, graph: Graph | None) -> GradmeshError:
    detail = _detail_of(error)
    if detail is None:
        text: str = error.details() or code.name.lower()
        cls = _CLASS_OF_STATUS.get(code.name, InternalError)
        if cls is UnavailableError:
            for mark, (said, remedy) in _HANDSHAKE.items():
                if mark in text:
                    return UnauthenticatedError(f"no trust in the server at {address}: {said}", got=text, remedy=remedy)
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
    if isinstance(result, LimitError):
        result.retry_after_seconds = detail.retry_after_seconds
    if graph is not None and detail.node >= 0:
        result.source = graph.source(detail.node) or result.source
    return result


def _trailing_metadata(error: grpc.RpcError) -> Iterable[tuple[str, Any]]:
    trailing: Callable[[], Iterable[tuple[str, Any]] | None] | None = getattr(error, "trailing_metadata", None)
    return (trailing() if trailing is not None else None) or ()


def _detail_of(error: grpc.RpcError) -> error_pb.ErrorDetail | None:
    for key, value in _trailing_metadata(error):
        if key == DETAILS_KEY:
            status = error_pb.RpcStatus.FromString(value)
            detail = error_pb.ErrorDetail()
            for packed in status.details:
                if packed.Unpack(detail):
                    return detail
    return None
