"""Requests that are no messages of the contract: an error of ours, where gRPC itself would say UNKNOWN."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError

from gradmesh_engine.errors import GradmeshError, InvalidRequestError
from gradmesh_server.auth import Authenticator
from gradmesh_server.recall import Written
from gradmesh_server.service import GradientServicer, abort


class _Malformed:
    """Stands for a message that could not be parsed until the handler is there, which can end the call properly."""

    def __init__(self, error: InvalidRequestError, size: int) -> None:
        self.error: Final = error
        self._size = size

    def ByteSize(self) -> int:
        """As of a message, for those who count what comes in."""
        return self._size


class _Unread:
    """A message that may not have to be parsed."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def ByteSize(self) -> int:
        """As of a message."""
        return len(self.content)


class Parsing:
    """Where servicers are registered in place of the server, so that it gets handlers that bear any bytes. Final.

    Args:
        server: the server.
        authenticator: tells who calls.
        gradients: the servicer that may know the answer to a message of Compute by its bytes.
    """

    def __init__(self, server: grpc.aio.Server, authenticator: Authenticator, gradients: GradientServicer) -> None:
        self._server = server
        self._authenticator = authenticator
        self._gradients = gradients

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Nothing: the same handlers are registered by their names too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register the methods of a service."""
        methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        ours = {}
        for name, handler in handlers.items():
            message = methods[name].input_type.full_name
            if handler.unary_unary == self._gradients.Compute:
                ours[name] = _recalling(handler, message, self._authenticator, self._gradients)
            else:
                ours[name] = _parsing(handler, message, self._authenticator)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, ours),))
        self._server.add_registered_method_handlers(service, ours)


def _parsing(handler: Any, message: str, authenticator: Authenticator) -> Any:
    """A handler that does what `handler` does, and ends calls whose request is not what `message` names."""
    parse = handler.request_deserializer

    def parse_part(content: bytes) -> Any:
        try:
            return parse(content)
        except DecodeError:
            raise _no_message(message, content) from None

    def parse_whole(content: bytes) -> Any:
        try:
            return parse(content)
        except DecodeError:
            return _Malformed(_no_message(message, content), len(content))

    if handler.request_streaming:
        # Parsed where the servicer reads it, which bears any error of ours.
        return handler._replace(request_deserializer=parse_part)
    if handler.response_streaming:
        return handler._replace(
            request_deserializer=parse_whole, unary_stream=_stream(handler.unary_stream, authenticator)
        )
    return handler._replace(request_deserializer=parse_whole, unary_unary=_unary(handler.unary_unary, authenticator))


def _recalling(handler: Any, message: str, authenticator: Authenticator, gradients: GradientServicer) -> Any:
    """The handler of Compute: a message whose answer is known is not parsed."""
    parse, serialize = handler.request_deserializer, handler.response_serializer

    async def unary(request: _Unread, context: Any) -> Any:
        content = request.content
        written = gradients.recall(content, context)
        if written is not None:
            return written
        try:
            parsed = parse(content)
        except DecodeError:
            await _refuse(_Malformed(_no_message(message, content), len(content)), context, authenticator)
        response = await gradients.Compute(parsed, context)
        gradients.learn(content, parsed, response, context)
        return response

    def write(response: Any) -> bytes:
        content: bytes = response.content if type(response) is Written else serialize(response)
        return content

    return handler._replace(request_deserializer=_Unread, response_serializer=write, unary_unary=unary)


def _no_message(message: str, content: bytes) -> InvalidRequestError:
    return InvalidRequestError(
        f"the message is not a {message}",
        expected=f"a {message} in protobuf's encoding",
        got=f"{len(content)} bytes that cannot be parsed",
        remedy="send messages made by code generated from the contract in proto/gradmesh/v1",
    )


async def _refuse(request: _Malformed, context: Any, authenticator: Authenticator) -> NoReturn:
    """End a call whose message is none; whoever may not call at all is told just that."""
    try:
        authenticator.caller(context)
    except GradmeshError as error:
        await abort(context, error)
    await abort(context, request.error)


def _unary(serve: Callable[[Any, Any], Any], authenticator: Authenticator) -> Callable[[Any, Any], Any]:
    async def unary(request: Any, context: Any) -> Any:
        if type(request) is _Malformed:
            await _refuse(request, context, authenticator)
        return await serve(request, context)

    return unary


def _stream(serve: Callable[[Any, Any], Any], authenticator: Authenticator) -> Callable[[Any, Any], Any]:
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        if type(request) is _Malformed:
            await _refuse(request, context, authenticator)
        async for part in serve(request, context):
            yield part

    return stream
