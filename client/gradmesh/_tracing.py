"""Spans of the client, for programs that use OpenTelemetry; nothing is loaded for those that do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

_NOTHING: Final = nullcontext()


def client_span(address: str) -> AbstractContextManager[None]:
    """A span around one evaluation on the service at `address`."""
    # Whoever has a tracer provider has imported this.
    trace = sys.modules.get("opentelemetry.trace")
    return _NOTHING if trace is None else _span(trace, address)


@contextmanager
def _span(trace: Any, address: str) -> Iterator[None]:
    tracer = trace.get_tracer("gradmesh")
    host, _, port = address.rpartition(":")
    where = {"server.address": host, "server.port": int(port) if port.isdigit() else 0}
    with tracer.start_as_current_span("gradmesh.evaluate", kind=trace.SpanKind.CLIENT, attributes=where):
        yield


def outgoing() -> tuple[tuple[str, str], ...]:
    """The metadata that tells a service which span a call belongs to; () when there is none."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace.get_current_span().get_span_context().is_valid:
        return ()
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())
