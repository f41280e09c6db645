"""Log lines: one per call, and every other record, as JSON or as text."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from gradmesh_server.telemetry import Call

REQUESTS: Final = logging.getLogger("gradmesh.requests")
"""Takes one record of level INFO per call."""

LogFormat = Literal["json", "text"]

_FIELDS: Final = "gradmesh_fields"
_LONGEST_MESSAGE: Final = 400


def log_call(call: Call) -> None:
    """Write a call's line."""
    REQUESTS.info("request", extra={_FIELDS: call_fields(call)})


def about_request(request_id: str) -> dict[str, Any]:
    """The `extra` of a record that belongs to a call."""
    return {_FIELDS: {"request_id": request_id}}


def call_fields(call: Call) -> dict[str, Any]:
    """What a call's line tells; times in seconds."""
    fields: dict[str, Any] = {
        "request_id": call.request_id,
        "principal": call.principal,
        "method": call.method,
        "outcome": call.outcome,
        "seconds": round(call.seconds, 6),
        "received_bytes": call.received,
        "sent_bytes": call.sent,
    }
    if call.error is not None:
        fields["status"] = call.error.status
        fields["error"] = str(call.error)[:_LONGEST_MESSAGE]
    stats = call.stats
    if stats is not None:
        fields["cache"] = stats.cache
        fields["where"] = stats.where
        fields["stages"] = stats.stages
        fields["workers"] = stats.workers
        fields["wait_seconds"] = round(stats.wait_seconds, 6)
        fields["decode_seconds"] = round(stats.decode_seconds, 6)
        fields["plan_seconds"] = round(stats.plan_seconds, 6)
        fields["run_seconds"] = round(stats.run_seconds, 6)
        fields["encode_seconds"] = round(stats.encode_seconds, 6)
        if stats.placed_bytes:
            fields["placed_bytes"] = stats.placed_bytes
    retries = sum([stage.retries for stage in call.stages])
    if retries:
        fields["retries"] = retries
    return fields


def _moment(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] | None = getattr(record, _FIELDS, None)
    return fields if fields is not None else {}


class JsonFormatter(logging.Formatter):
    """One JSON object per record. Final."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line per record, for people, with what a call's record tells as key=value. Final."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        parts = [f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}"]
        for key, value in _fields_of(record).items():
            text = f"{value:.6f}" if isinstance(value, float) else str(value)
            parts.append(f"{key}={json.dumps(text, ensure_ascii=False) if _awkward(text) else text}")
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _awkward(text: str) -> bool:
    return not text or any(c in ' "=' or not c.isprintable() for c in text)


def set_up(level: str, log_format: LogFormat | None) -> None:
    """Send records of at least `level` to standard error; with a format, a line per call too."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    REQUESTS.setLevel(logging.INFO if log_format is not None else logging.WARNING)
