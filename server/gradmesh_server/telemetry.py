"""What is known of a call, from its arrival to its end: the one place that counts, logs and traces calls."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from gradmesh._status import REQUEST_ID_KEY
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.backend import StageRun
from gradmesh_engine.errors import GradmeshError
from gradmesh_server.logs import LogFormat, RequestLog
from gradmesh_server.metrics import Metrics, Readings
from gradmesh_server.recall import RunStats
from gradmesh_server.tracing import TRACE_KEYS, make_tracing

ANONYMOUS: Final = "anonymous"

OK: Final = "ok"

METHODS: Final = {
    f"/{service.full_name}/{method.name}": (service.full_name, method.name)
    for service in (
        pb.DESCRIPTOR.services_by_name["GradientService"],
        blob_pb.DESCRIPTOR.services_by_name["BlobService"],
    )
    for method in service.methods
}

# Calls are told of so long after they ended, or when there are so many.
_TELL_SECONDS: Final = 0.02
_MOST_ENDED: Final = 64

# What a client calls a request goes to logs and back to the client as it is.
_GOOD_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class Call:
    """One call while it is under way, and what its log line, metrics and spans are made of.

    Attributes:
        service: full name of the service.
        method: name of the RPC.
        request_id: names the call, here and at the client.
        trace: the trace context the client sent along, by name of its metadata.
        began: on the clock of time.perf_counter().
        principal: who calls.
        error: what ended it; None while it is well.
        outcome: "ok", or the class of the error.
        received: bytes that came in.
        sent: bytes that went out.
        stats: how a Compute ran.
        stages: how its stages ran on workers.
        seconds: how long it took.
    """

    service: str
    method: str
    request_id: str
    began: float
    trace: dict[str, str] = field(default_factory=dict)
    principal: str = ANONYMOUS
    error: GradmeshError | None = None
    outcome: str = OK
    received: int = 0
    sent: int = 0
    stats: pb.Stats | RunStats | None = None
    stages: tuple[StageRun, ...] = ()
    seconds: float = 0.0


_CURRENT: Final[ContextVar[Call | None]] = ContextVar("gradmesh_call", default=None)


def current_call() -> Call | None:
    """The call this task works for."""
    return _CURRENT.get()


class Telemetry(grpc.aio.ServerInterceptor):
    """Sees every call of our services begin and end. Lives on the event loop. Final.

    Args:
        readings: see Metrics.
        log_format: how the line of a call looks; None for no lines.
    """

    def __init__(self, readings: Callable[[], Readings], log_format: LogFormat | None) -> None:
        self._log = RequestLog(log_format) if log_format is not None else None
        self.metrics = Metrics(readings)
        self._requests = self.metrics.counter("gradmesh_requests_total")
        self._received = self.metrics.counter("gradmesh_received_bytes_total")
        self._sent = self.metrics.counter("gradmesh_sent_bytes_total")
        self._runs = self.metrics.counter("gradmesh_runs_total")
        self._plans = self.metrics.counter("gradmesh_plans_made_total")
        self._seconds = self.metrics.histogram("gradmesh_request_seconds")
        self._phases = self.metrics.histogram("gradmesh_phase_seconds")
        self._tracing = make_tracing()
        self._ended: list[Call] = []
        self._telling: asyncio.TimerHandle | None = None
        self._handlers: dict[Any, Any] = {}
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, with ours around it."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or path not in METHODS:
            return handler
        known = self._handlers.get(handler)
        if known is None:
            known = self._handlers[handler] = self._around(handler, *METHODS[path])
        return known

    def _around(self, handler: Any, service: str, method: str) -> Any:
        """A handler that does what `handler` does and is seen."""
        if handler.response_streaming:
            answers = handler.unary_stream or handler.stream_stream

            async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
                call = self._begin(service, method, context)
                if not handler.request_streaming:
                    call.received = request.ByteSize()
                try:
                    async for part in answers(request, context):
                        call.sent += part.ByteSize()
                        if method == "Compute":
                            call.stats = part.stats
                        yield part
                except BaseException as error:
                    self._end(call, error)
                    raise
                self._end(call, None)

            serve = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return serve(
                stream,
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )

        inner = handler.unary_unary or handler.stream_unary
        streams = handler.unary_unary is None

        async def unary(request: Any, context: Any) -> Any:
            call = self._begin(service, method, context)
            if not streams:
                call.received = request.ByteSize()
            try:
                response = await inner(request, context)
            except BaseException as error:
                self._end(call, error)
                raise
            call.sent = response.ByteSize()
            if method == "Compute":
                call.stats = response.stats
            self._end(call, None)
            return response

        make = grpc.stream_unary_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return make(
            unary, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )

    def _begin(self, service: str, method: str, context: Any) -> Call:
        call = Call(service, method, "", time.perf_counter())
        for key, value in context.invocation_metadata() or ():
            if key == REQUEST_ID_KEY and _GOOD_ID.fullmatch(value):
                call.request_id = value
            elif key in TRACE_KEYS:
                call.trace[key] = value
        if not call.request_id:
            call.request_id = f"{self._prefix}-{next(self._numbers):x}"
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        _CURRENT.set(call)
        return call

    def _end(self, call: Call, error: BaseException | None) -> None:
        call.seconds = time.perf_counter() - call.began
        if error is not None:
            if call.error is not None:
                call.outcome = type(call.error).__name__
            else:
                gone = isinstance(error, (asyncio.CancelledError, GeneratorExit))
                call.outcome = "CancelledError" if gone else "InternalError"
        # Told together, after their replies: a turn of the event loop for each would cost more than the telling.
        self._ended.append(call)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TELL_SECONDS, self.flush)
        elif len(self._ended) >= _MOST_ENDED:
            self.flush()

    def flush(self) -> None:
        """Count, log and trace the calls that ended since the last time."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        ended, self._ended = self._ended, []
        for call in ended:
            self._tell(call)
        if self._log is not None:
            self._log.write(ended)

    def _tell(self, call: Call) -> None:
        method = (call.method,)
        self._requests[call.method, call.outcome, self.metrics.principal(call.principal)] += 1
        self._seconds.observe(method, call.seconds)
        self._received[method] += call.received
        self._sent[method] += call.sent
        stats = call.stats
        if stats is not None:
            observe = self._phases.observe
            observe(("wait",), stats.wait_seconds)
            observe(("decode",), stats.decode_seconds)
            observe(("plan",), stats.plan_seconds)
            observe(("run",), stats.run_seconds)
            observe(("encode",), stats.encode_seconds)
            self._runs[(stats.where,)] += 1
            if stats.cache != "hit":
                self._plans[(stats.cache.partition(":")[0],)] += 1
        if self._tracing is not None:
            self._tracing.record(call)
