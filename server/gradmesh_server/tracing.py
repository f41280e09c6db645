"""OpenTelemetry spans of calls: made when a call has ended, from what was measured while it ran."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Any, Final

import grpc

if TYPE_CHECKING:
    from gradmesh_server.telemetry import Call

TRACE_KEYS: Final = frozenset(("traceparent", "tracestate"))
"""Metadata of the W3C trace context."""


def make_tracing() -> Tracing | None:
    """What records spans; None when OpenTelemetry is not installed."""
    return Tracing() if importlib.util.find_spec("opentelemetry") is not None else None


class Tracing:
    """Hands spans to whatever tracer provider the process has; none are made while it has none. Final."""

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace: Any = trace
        self._no_context: Final = Context()
        self._propagator: Final = TraceContextTextMapPropagator()

    def record(self, call: Call) -> None:
        """Make the span of a call that has just ended, with a child per phase and per range of a worker."""
        trace = self._trace
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            return
        tracer = provider.get_tracer("gradmesh")
        begin = time.time_ns() - int((time.perf_counter() - call.began) * 1e9)
        parent = self._propagator.extract(call.trace, self._no_context)
        span = tracer.start_span(
            f"{call.service}/{call.method}",
            context=parent,
            kind=trace.SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": call.service,
                "rpc.method": call.method,
                "gradmesh.request_id": call.request_id,
                "gradmesh.principal": call.principal,
                "gradmesh.outcome": call.outcome,
            },
            start_time=begin,
        )
        if span.is_recording():
            if call.error is not None:
                span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[call.error.status].value[0])
                span.set_status(trace.Status(trace.StatusCode.ERROR, call.error.message))
            elif call.outcome != "ok":
                span.set_status(trace.Status(trace.StatusCode.ERROR, call.outcome))
            else:
                span.set_attribute("rpc.grpc.status_code", 0)
            if call.stats is not None:
                self._phases(tracer, span, call, begin)
        span.end(begin + int(call.seconds * 1e9))

    def _phases(self, tracer: Any, span: Any, call: Call, begin: int) -> None:
        stats = call.stats
        assert stats is not None
        span.set_attributes({"gradmesh.cache": stats.cache, "gradmesh.where": stats.where})
        inside = self._trace.set_span_in_context(span, self._no_context)
        for phase, seconds in (
            ("wait", stats.wait_seconds),
            ("decode", stats.decode_seconds),
            ("plan", stats.plan_seconds),
            ("run", stats.run_seconds),
            ("encode", stats.encode_seconds),
        ):
            end = begin + int(seconds * 1e9)
            child = tracer.start_span(phase, context=inside, start_time=begin)
            if phase == "run":
                self._ranges(tracer, child, call, begin)
            child.end(end)
            begin = end

    def _ranges(self, tracer: Any, span: Any, call: Call, begin: int) -> None:
        inside = self._trace.set_span_in_context(span, self._no_context)
        for number, stage in enumerate(call.stages):
            for piece in stage.ranges:
                first, stop = piece.groups
                start = begin + int(piece.begin_seconds * 1e9)
                child = tracer.start_span(
                    f"stage {number}" + (f" groups {first}-{stop - 1}" if stop else ""),
                    context=inside,
                    attributes={
                        "gradmesh.worker": piece.worker,
                        "gradmesh.stage": number,
                        "gradmesh.first_group": first,
                        "gradmesh.groups": stop - first,
                        "gradmesh.busy_seconds": piece.busy_seconds,
                    },
                    start_time=start,
                )
                if piece.lost:
                    child.set_status(self._trace.Status(self._trace.StatusCode.ERROR, piece.lost))
                child.end(start + int(piece.seconds * 1e9))
