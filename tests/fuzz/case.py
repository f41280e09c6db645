"""A case: calls made one after the other, as bytes, so that whatever made them can be left out when one is replayed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb

REQUESTS: Final[dict[str, type[Message]]] = {
    "Compute": pb.ComputeRequest,
    "Explain": pb.ExplainRequest,
    "FindMissing": blob_pb.FindMissingRequest,
    "Upload": blob_pb.UploadRequest,
    "Download": blob_pb.DownloadRequest,
}
"""The methods that take something, by the type they take."""


def handle_of_earlier(index: int) -> bytes:
    """Stands for the handle number `index` that earlier calls of the same case were answered with."""
    return b"earlier handle%2d" % index


@dataclass(frozen=True)
class Call:
    """One call. Upload takes any number of messages, every other method one."""

    method: str
    messages: tuple[bytes, ...]

    def decoded(self) -> tuple[Any, ...]:
        """The messages. Raises DecodeError."""
        return tuple(REQUESTS[self.method].FromString(message) for message in self.messages)


Case = tuple[Call, ...]


def call(method: str, *messages: Message) -> Call:
    return Call(method, tuple(message.SerializeToString(deterministic=True) for message in messages))


def to_text(case: Case) -> str:
    return json.dumps([[c.method, *(base64.b64encode(m).decode() for m in c.messages)] for c in case], indent=1)


def from_text(text: str) -> Case:
    return tuple(Call(method, tuple(map(base64.b64decode, messages))) for method, *messages in json.loads(text))


def save(case: Case, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(to_text(case) + "\n")


def load(file: Path) -> Case:
    return from_text(file.read_text())


def shown(case: Case) -> str:
    """For people: the messages as text, long ones cut."""
    lines = []
    for c in case:
        lines.append(f"{c.method}:")
        for data, message in zip(c.messages, _tried(c), strict=True):
            text = str(message).replace("\n", "\n  ") if message is not None else f"not a message: {data[:64]!r}"
            lines.append("  " + (text if len(text) < 3000 else text[:3000] + " …"))
    return "\n".join(lines)


def _tried(c: Call) -> list[Message | None]:
    found: list[Message | None] = []
    for data in c.messages:
        try:
            found.append(REQUESTS[c.method].FromString(data))
        except Exception:
            found.append(None)
    return found
