"""Turns calls away before their message is read, while there is no room for them anyway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from gradmesh_engine.errors import GradmeshError
from gradmesh_server.admission import Admission
from gradmesh_server.auth import Authenticator
from gradmesh_server.service import abort

_GATED: Final = frozenset(f"/gradmesh.v1.GradientService/{method}" for method in ("Compute", "Explain"))


class Gate(grpc.aio.ServerInterceptor):
    """Lives on the event loop. Final.

    While requests wait, the handler of a call looks for room first and reads the message only when there
    is some: a message that nobody will look at is not worth copying and parsing.
    """

    def __init__(self, admission: Admission, authenticator: Authenticator) -> None:
        self._admission = admission
        self._authenticator = authenticator
        self._handlers: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, or while others wait one that looks for room before it reads."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if not self._admission.crowded or path not in _GATED or handler is None:
            return handler
        known = self._handlers.get(path)
        if known is None or known[0] is not handler:
            known = self._handlers[path] = handler, self._gated(handler)
        return known[1]

    def _gated(self, handler: Any) -> Any:
        async def handle(requests: Any, context: Any) -> AsyncIterator[Any]:
            try:
                self._admission.check_room(self._authenticator.caller(context))
            except GradmeshError as error:
                await abort(context, error)
            async for request in requests:
                yield await handler.unary_unary(request, context)
                return

        # To a client a stream of one message each way is a unary call.
        return grpc.stream_stream_rpc_method_handler(
            handle, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )
