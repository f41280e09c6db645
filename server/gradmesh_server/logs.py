"""Log lines: one per call, and every other record, as JSON or as text."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from gradmesh_server.telemetry import Call

LogFormat = Literal["json", "text"]

_FIELDS: Final = "gradmesh_fields"
_LONGEST_MESSAGE: Final = 400
_REQUESTS: Final = "gradmesh.requests"

_encode: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=str).encode


class RequestLog:
    """Writes a line per call to standard error. Final.

    Not a logger: making a record takes longer than all else that is done for a small request.
    """

    def __init__(self, log_format: LogFormat) -> None:
        self._json: Final = log_format == "json"

    def write(self, calls: Sequence[Call]) -> None:
        """Write the lines of calls, at once."""
        line = _json_line if self._json else _text_line
        clocks = time.time() - time.perf_counter()
        lines = []
        for call in calls:
            head = (_moment(clocks + call.began + call.seconds), "info", _REQUESTS, "request")
            lines.append(line(head, call_fields(call)) + "\n")
        sys.stderr.write("".join(lines))
        sys.stderr.flush()


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
    if call.trace:
        fields["trace_id"] = call.trace.get("traceparent", "")[3:35]
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


def _json_line(head: tuple[str, str, str, str], fields: Mapping[str, Any]) -> str:
    moment, level, name, message = head
    return _encode({"time": moment, "level": level, "logger": name, "message": message, **fields})


def _text_line(head: tuple[str, str, str, str], fields: Mapping[str, Any]) -> str:
    moment, level, name, message = head
    parts = [f"{moment} {level.upper()} {name}: {message}"]
    for key, value in fields.items():
        text = f"{value:.6f}" if isinstance(value, float) else str(value)
        parts.append(f"{key}={_encode(text) if _awkward(text) else text}")
    return " ".join(parts)


def _moment(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class _Formatter(logging.Formatter):
    """Makes other records look like the lines of calls. Final."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._json: Final = log_format == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The line; in text, an exception follows it."""
        head = (_moment(record.created), record.levelname.lower(), record.name, record.getMessage())
        fields: dict[str, Any] = {**getattr(record, _FIELDS, {})}
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._json:
            return _json_line(head, {**fields, "exception": trace} if trace else fields)
        line = _text_line(head, fields)
        return f"{line}\n{trace}" if trace else line


def _awkward(text: str) -> bool:
    return not text or any(c in ' "=' or not c.isprintable() for c in text)


def set_up(level: str, log_format: LogFormat | None) -> None:
    """Send records of at least `level` to standard error, in a format or as text."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(log_format or "text"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
