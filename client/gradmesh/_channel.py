"""Connections: their options, credentials and tokens, and why one cannot be made."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from gradmesh._options import TLS, Keepalive
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.errors import InvalidRequestError, UnauthenticatedError

MAX_MESSAGE_BYTES: Final = 64 << 20

_PROBE_SECONDS: Final = 2.0


def channel_options(keepalive: Keepalive, tls: TLS | None) -> list[tuple[str, Any]]:
    """Options of a channel, synchronous or not."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", int(keepalive.interval_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive.timeout_seconds * 1000)),
        # Retrying is ours; gRPC must not wait long before it looks for the server again.
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 2000),  # What this is besides: the time a connection may take to be made.
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),
        *([("grpc.ssl_target_name_override", tls.server_name)] if tls is not None and tls.server_name else []),
    ]


@dataclass(slots=True)
class Connection:
    """A channel and its methods by name. Final."""

    channel: Any
    methods: dict[str, Callable[..., Any]]


def connection(kind: Any, address: str, keepalive: Keepalive, tls: TLS | None) -> Connection:
    """Open a channel to an address; it connects when it is first used.

    Args:
        kind: `grpc`, or `grpc.aio` inside a running event loop.
        address: "host:port".
        keepalive: how a dead connection is noticed.
        tls: None for a plain connection.

    Raises InvalidRequestError for files that cannot be read.
    """
    options = channel_options(keepalive, tls)
    if tls is None:
        channel = kind.insecure_channel(address, options=options)
    else:
        channel = kind.secure_channel(address, credentials(tls), options=options)
    gradients, blobs = pb_grpc.GradientServiceStub(channel), blob_grpc.BlobServiceStub(channel)
    methods = {
        # From bytes to bytes: whoever calls wants to know how many.
        "Compute": channel.unary_unary("/gradmesh.v1.GradientService/Compute"),
        "Explain": gradients.Explain,
        "GetServerInfo": gradients.GetServerInfo,
        "ListOps": gradients.ListOps,
        "FindMissing": blobs.FindMissing,
        "Upload": blobs.Upload,
        "Download": blobs.Download,
    }
    return Connection(channel, methods)


def credentials(tls: TLS) -> grpc.ChannelCredentials:
    """Raises InvalidRequestError for files that cannot be read."""
    if (tls.cert is None) != (tls.key is None):
        raise InvalidRequestError(
            "a client certificate and its key go together",
            expected="cert and key, or neither",
            got="cert alone" if tls.key is None else "key alone",
        )
    return grpc.ssl_channel_credentials(_content("ca", tls.ca), _content("key", tls.key), _content("cert", tls.cert))


def _content(field: str, given: str | os.PathLike[str] | bytes | None) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise InvalidRequestError(
            f"TLS({field}=...) cannot be read: {error.strerror}", expected="a file in PEM", got=str(given)
        ) from None


def token_metadata(token: str | None, address: str, tls: TLS | None) -> tuple[tuple[str, str], ...] | None:
    """What every call carries. Raises InvalidRequestError for a token that is none, or would travel in the clear."""
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidRequestError(
            "the token has characters no token has",
            expected="the token as `gradmesh token` printed it",
            got=f"{len(token)} characters",
        )
    if tls is None and not _is_loopback(address):
        raise InvalidRequestError(
            f"the token would travel to {address} for everyone to read",
            expected="TLS, or an address of this machine",
            remedy="connect with tls=TLS(ca=...)",
        )
    return (("authorization", f"Bearer {token}"),)


def tls_from(environment: Mapping[str, str]) -> TLS | None:
    """What GRADMESH_TLS_CA, GRADMESH_TLS_CERT and GRADMESH_TLS_KEY say; None when none of them is set."""
    ca, cert, key = (environment.get(f"GRADMESH_TLS_{name}") or None for name in ("CA", "CERT", "KEY"))
    return TLS(ca, cert, key) if ca or cert or key else None


def why_unreachable(address: str, tls: TLS | None) -> UnauthenticatedError | None:
    """What gRPC does not tell of a server that ends every connection: that it wants TLS, or another certificate.

    None when that is not the reason.
    """
    host, _, port = address.rpartition(":")
    if address.startswith("unix:") or not port.isdecimal():
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whom we talk to was gRPC's to find out; here nothing is sent that matters.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    shaken = False
    try:
        if tls is not None and isinstance(tls.cert, (str, os.PathLike)) and isinstance(tls.key, (str, os.PathLike)):
            context.load_cert_chain(tls.cert, tls.key)
        elif tls is not None and tls.cert is not None:
            return None  # ssl takes the names of files only.
        with socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS) as plain:
            with context.wrap_socket(plain, server_hostname=host.strip("[]")) as wrapped:
                shaken = True
                # A server that takes us speaks first; one that does not like our certificate hangs up.
                refused = tls is not None and not wrapped.recv(1)
    except TimeoutError:
        return None
    except (OSError, ValueError) as error:  # An ssl.SSLError is an OSError.
        alert = isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")
        if not shaken and not alert:
            return None
        refused = tls is not None
    if refused:
        assert tls is not None
        return UnauthenticatedError(
            f"the server at {address} does not accept this client's certificate",
            expected="a certificate of an authority the server trusts, not expired",
            got="no certificate" if tls.cert is None else "another one",
            remedy="connect with tls=TLS(ca=..., cert=..., key=...)",
        )
    if tls is not None:
        return None
    return UnauthenticatedError(
        f"the server at {address} speaks TLS, and this session does not",
        remedy="connect with tls=TLS(ca=...), or set GRADMESH_TLS_CA",
    )


def _is_loopback(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
