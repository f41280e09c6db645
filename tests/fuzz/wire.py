"""Cases over gRPC to a server with tight limits, and bytes that are no gRPC at all to its port."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import grpc
from google.protobuf.message import DecodeError

from gradmesh._status import decode_error
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.errors import GradmeshError
from gradmesh_server.server import Server, background
from tests.fuzz.case import Call, Case
from tests.fuzz.corpus import seeds
from tests.fuzz.generate import generated
from tests.fuzz.mutate import mangled, mutated
from tests.fuzz.target import MALFORMED, TIGHT, Fault
from tests.service.graphs import until

SECONDS = 30.0
"""What one call may take."""

_SERVICES = {"Compute": "GradientService", "Explain": "GradientService"}
_HELD = ("requests_running", "requests_waiting")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes(3) + b"\x04" + bytes(5)


def over_the_wire(start: int, seconds: float, note: Callable[[Case], None]) -> None:
    """Each case is noted before it is sent. Raises Fault."""
    outcomes: Counter[str] = Counter()
    with background(replace(TIGHT, handle_ttl_seconds=1.0, upload_idle_seconds=1.0)) as server:
        with grpc.insecure_channel(server.address) as channel:
            begin, number = time.monotonic(), 0
            while time.monotonic() - begin < seconds:
                rng = Random(f"{start}/wire/{number}")
                number += 1
                if rng.random() < 0.1:
                    _garbage(rng, server)
                    outcomes["garbage"] += 1
                    continue
                case = generated(rng) if rng.random() < 0.5 else mutated(rng, rng.choice(seeds()))
                note(case)
                for c in case:
                    outcomes[_call(channel, c)] += 1
            _nothing_left(channel)
    total = sum(outcomes.values())
    print(f"wire: {total} calls, {total / seconds:.0f} a second, {dict(outcomes.most_common())}", flush=True)


def _call(channel: grpc.Channel, c: Call) -> str:
    method = f"/gradmesh.v1.{_SERVICES.get(c.method, 'BlobService')}/{c.method}"
    try:
        if c.method == "Upload":
            channel.stream_unary(method)(iter(c.messages), timeout=SECONDS)
        elif c.method == "Download":
            for _ in channel.unary_stream(method)(c.messages[0], timeout=SECONDS):
                pass
        else:
            channel.unary_unary(method)(c.messages[0], timeout=SECONDS)
    except grpc.RpcError as failure:
        status: str = failure.code().name
        error = decode_error(failure, "the server")
        if status in ("INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED") or type(error) is GradmeshError:
            raise Fault(f"{c.method}: {status}: {failure.details()}") from None
        if not _is_message(c):
            # Of an upload, the parts before it may be refused first.
            if c.method != "Upload" and not error.message.startswith("the message is not a "):
                raise Fault(
                    f"{c.method}: what is no message was taken for one: {status}: {failure.details()}"
                ) from None
            return MALFORMED
        return status
    if not _is_message(c) and c.method != "Upload":  # A tensor that is there already is not read.
        raise Fault(f"{c.method}: what is no message was answered")
    return "OK"


def _is_message(c: Call) -> bool:
    try:
        c.decoded()
    except DecodeError:
        return False
    return True


def _garbage(rng: Random, server: Server) -> None:
    """What is no HTTP/2, or ends in the middle of it."""
    content = rng.choice(
        (
            rng.randbytes(rng.randrange(200)),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            _PREFACE[: rng.randrange(len(_PREFACE))],
            _PREFACE + _SETTINGS + rng.randbytes(rng.randrange(300)),
            _PREFACE + mangled(rng, _SETTINGS * 3),
            _PREFACE + _SETTINGS + b"\xff\xff\xff\x00\x01" + rng.randbytes(20),
        )
    )
    with socket.create_connection((server.config.host, server.port), timeout=5) as connection:
        try:
            connection.sendall(content)
            if rng.random() < 0.3:
                connection.settimeout(0.02)
                connection.recv(100)
        except (OSError, TimeoutError):
            pass  # The server may hang up.


def _nothing_left(channel: grpc.Channel) -> None:
    """The server still answers, and within their time to live lets go of what was uploaded or computed for one use."""
    stub = pb_grpc.GradientServiceStub(channel)

    def free() -> bool:
        info = stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=SECONDS)
        return not any(getattr(info, name) for name in _HELD) and info.stored_bytes <= TIGHT.max_stored_bytes

    try:
        until(free)
    except AssertionError:
        raise Fault(f"the server still has {stub.GetServerInfo(pb.GetServerInfoRequest())}") from None
