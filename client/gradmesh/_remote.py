"""The session that runs requests on a service, over gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

import grpc
import numpy as np

from gradmesh._addresses import Endpoint
from gradmesh._blobs import receive
from gradmesh._channel import Connection, connection
from gradmesh._conversation import CONSTANT_BYTES, INLINE_BYTES, Call, Conversation, Fetch, Pause, Steps, Wait, Work
from gradmesh._options import TLS, Keepalive, Retry, Timeout
from gradmesh._session import enter_session, leave_session
from gradmesh._tracing import client_span
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Request, Result

__all__ = ["CONSTANT_BYTES", "INLINE_BYTES", "RemoteSession", "connect"]

_T = TypeVar("_T")


class RemoteSession:
    """Evaluates on a service; see `connect`. Safe to use from several threads. Final.

    As a context manager it evaluates what the block computes, and is closed at the end.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation: Final = conversation
        self._lock = threading.Lock()
        self._takers: Final[dict[type, Callable[[Any], Any]]] = {
            Call: self._call,
            Fetch: self._fetch,
            Pause: lambda step: time.sleep(step.seconds),
            Wait: lambda step: step.event.wait(step.timeout_seconds),
            Work: lambda step: step.function(),
        }

    def __repr__(self) -> str:
        return f"<gradmesh session at {self.address}{', closed' if self._conversation.closed else ''}>"

    @property
    def address(self) -> str:
        """Where the latest request went: "host:port"."""
        return self._conversation.address

    # --- the session's interface --------------------------------------------------------------------

    def run(self, request: Request) -> Result:
        """Evaluate; see Session.run."""
        with client_span(self.address):
            return self._drive(self._conversation.evaluate(request))

    def explain(self, request: Request) -> str:
        """The plan as text, and where it would run; see Session.explain."""
        return self._drive(self._conversation.explain(request))

    def close(self) -> None:
        """Close the connections; calls that are waiting end with CancelledError. Idempotent."""
        conversation = self._conversation
        with self._lock:
            closed, conversation.closed = conversation.closed, True
        if not closed:
            for endpoint in conversation.addresses.endpoints:
                if endpoint.connection is not None:
                    endpoint.connection.channel.close()

    def __enter__(self) -> RemoteSession:
        enter_session(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave_session(self)
        self.close()

    # --- what only a service has --------------------------------------------------------------------

    def info(self) -> pb.GetServerInfoResponse:
        """Version, workers, caches, counters and limits of the server."""
        return self._drive(self._conversation.info())

    def ops(self) -> Sequence[pb.OpInfo]:
        """The operations the server knows, sorted by name."""
        return self._drive(self._conversation.ops()).ops

    def greet(self) -> None:
        """Make sure that a gradmesh server answers, and respect its limits. Raises UnavailableError."""
        self._drive(self._conversation.greet())

    # --- calls --------------------------------------------------------------------------------------

    def _drive(self, steps: Steps[_T]) -> _T:
        """Take each step, until the result is known."""
        takers = self._takers
        try:
            step = next(steps)
            while True:
                try:
                    came = takers[step.__class__](step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as stop:
            result: _T = stop.value
            return result

    def _call(self, step: Call) -> Any:
        endpoint = step.endpoint
        try:
            return self.connection(endpoint).methods[step.method](
                step.message, timeout=step.timeout_seconds, metadata=self._conversation.metadata()
            )
        except (grpc.RpcError, ValueError) as error:
            raise self._failure(error, endpoint, step.graph) from None

    def _fetch(self, step: Fetch) -> np.ndarray:
        endpoint = step.endpoint
        try:
            parts = self.connection(endpoint).methods["Download"](
                step.message, timeout=step.timeout_seconds, metadata=self._conversation.metadata()
            )
            return receive(parts, step.spec)
        except (grpc.RpcError, ValueError) as error:
            raise self._failure(error, endpoint, None) from None

    def connection(self, endpoint: Endpoint) -> Connection:
        """The channel to an address, opened when it is first used."""
        found: Connection | None = endpoint.connection
        if found is not None:
            return found
        conversation = self._conversation
        with self._lock:
            if conversation.closed:
                raise conversation.is_closed()
            if endpoint.connection is None:
                endpoint.connection = connection(grpc, endpoint.address, conversation.keepalive, conversation.tls)
            found = endpoint.connection
        return found

    def _failure(self, error: Exception, endpoint: Endpoint, graph: Graph | None) -> Exception:
        """What gRPC raised, as an error of ours; a ValueError is how it says that a channel is closed."""
        if isinstance(error, grpc.RpcError):
            return self._conversation.failure(error, endpoint, graph)
        if self._conversation.closed and not isinstance(error, GradmeshError):
            return self._conversation.is_closed()
        return error


def connect(
    address: str | Sequence[str],
    *,
    timeout: float | Timeout | None = Timeout(),  # noqa: B008 (frozen)
    retry: Retry = Retry(),  # noqa: B008
    keepalive: Keepalive = Keepalive(),  # noqa: B008
    progress: bool = True,
    grad_fns: bool = False,
    tls: TLS | None = None,
    token: str | None = None,
) -> RemoteSession:
    """A session with the service at `address`.

    Args:
        address: "host:port"; several, as "a:1,b:2" or a sequence, are coordinators any of which will do. The
            first that answers is kept to; when it no longer does, the request goes on at the next, and comes
            back to the earlier one once that has recovered.
        timeout: budget of each evaluation in seconds, retries and transfers included; None for no limit.
        retry: what to do while no server answers.
        keepalive: how a dead connection is noticed.
        progress: whether uploads of more than two seconds show a progress bar when stderr is a terminal.
        grad_fns: whether results carry the metadata of every grad_fn: where it ran, in which stages.
        tls: encrypt, and know the server by its certificate; not given, the environment variables
            GRADMESH_TLS_CA, GRADMESH_TLS_CERT and GRADMESH_TLS_KEY say so, or else the connection is plain.
        token: says who calls; not given, the environment variable GRADMESH_TOKEN is. A token goes to
            other machines over TLS only.

    Raises:
        UnavailableError: no server answers there.
        UnauthenticatedError: the server does not know the token or certificate, or is not to be trusted.
        DeadlineError: none answers in time.

    Example:
        with gm.connect("127.0.0.1:50051", timeout=30) as session:
            loss.backward()
    """
    session = RemoteSession(
        Conversation(address, timeout, retry, keepalive, progress, grad_fns, tls, token, threading.Event)
    )
    try:
        session.greet()
    except BaseException:
        session.close()
        raise
    return session
