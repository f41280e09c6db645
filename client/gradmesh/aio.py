"""The asyncio client: many gradients under way at once, from one event loop, over one connection.

    async with gm.aio.connect("127.0.0.1:50051", timeout=30) as session:
        await asyncio.gather(*[session.backward(loss) for loss in losses])

Tensors are recorded as ever; what is awaited is computed by the service. docs/clients.md says what is ordered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Hashable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

import grpc
import numpy as np

from gradmesh import _backward
from gradmesh._addresses import Endpoint
from gradmesh._backward import cotangents_of, several
from gradmesh._blobs import Receiver
from gradmesh._channel import Connection, connection
from gradmesh._conversation import HEAVY_BYTES, Call, Conversation, Fetch, Pause, Steps, Wait, Work
from gradmesh._evaluate import Asking, Issue, evaluating
from gradmesh._explain import asked_of
from gradmesh._leaf import Leaf
from gradmesh._options import TLS, Keepalive, Retry, Timeout
from gradmesh._state import Needed
from gradmesh._stats import RECORDER
from gradmesh._tensor import Tensor
from gradmesh._tracing import client_span
from gradmesh._value import user_line
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.errors import (
    AttributeTypeError,
    CancelledError,
    DeadlineError,
    GradmeshError,
    InvalidRequestError,
)
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Request, Result

__all__ = ["AsyncSession", "connect"]

_T = TypeVar("_T")

_BROKEN_OFF: Final = "Internal error from Core"
"""What grpc.aio says of a call that the server ended while it was being written. It forgets how the server ended it."""


class _Ticket:
    """A pass's place in line for each of its targets. Final."""

    __slots__ = ("targets", "wake")

    def __init__(self, targets: Iterable[Hashable]) -> None:
        self.targets = tuple(dict.fromkeys(targets))
        self.wake: asyncio.Future[None] | None = None


class _Turns:
    """Passes change what they have in common in the order in which they were issued. Final."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[_Ticket]] = {}

    def issue(self, targets: Iterable[Hashable]) -> _Ticket:
        """A place behind those who want to change one of these."""
        ticket = _Ticket(targets)
        for target in ticket.targets:
            self._lines.setdefault(target, deque()).append(ticket)
        return ticket

    async def come(self, ticket: _Ticket) -> None:
        """Wait until everyone before is done."""
        while any(self._lines[target][0] is not ticket for target in ticket.targets):
            ticket.wake = asyncio.get_running_loop().create_future()
            await ticket.wake

    def done(self, ticket: _Ticket) -> None:
        """Leave the line, from wherever in it."""
        for target in ticket.targets:
            line = self._lines[target]
            line.remove(ticket)
            if not line:
                del self._lines[target]
            elif line[0].wake is not None and not line[0].wake.done():
                line[0].wake.set_result(None)


class AsyncSession:
    """Evaluates on a service, for the tasks of one event loop; see `connect`. Final.

    Requests of different tasks go on side by side. Gradients are added to `.grad` in the order in which the
    passes were issued, whichever is computed first, so sums have the same bits each time. A task that is
    cancelled cancels its call: the service stops computing, and no tensor has changed.
    """

    def __init__(self, conversation: Conversation, concurrency: int) -> None:
        self._conversation: Final = conversation
        self._room = asyncio.Semaphore(concurrency)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._along = Needed()
        self._turns = _Turns()
        self._takers: Final[dict[type, Callable[[Any], Coroutine[Any, Any, Any]]]] = {
            Call: self._call,
            Fetch: self._fetch,
            Pause: self._pause,
            Wait: self._wait,
            Work: self._work,
        }

    def __repr__(self) -> str:
        return f"<gradmesh asyncio session at {self.address}{', closed' if self._conversation.closed else ''}>"

    @property
    def address(self) -> str:
        """Where the latest request went: "host:port"."""
        return self._conversation.address

    # --- opening and closing --------------------------------------------------------------------------

    async def _open(self) -> AsyncSession:
        try:
            await self._drive(self._conversation.greet())
        except BaseException:
            await self.close()
            raise
        return self

    def __await__(self) -> Generator[Any, None, AsyncSession]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncSession:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls that are waiting end with CancelledError of gradmesh. Idempotent."""
        conversation = self._conversation
        closed, conversation.closed = conversation.closed, True
        if not closed:
            for endpoint in conversation.addresses.endpoints:
                if endpoint.connection is not None:
                    await endpoint.connection.channel.close()

    # --- tensors --------------------------------------------------------------------------------------

    def evaluate(self, *tensors: Tensor) -> Coroutine[Any, Any, None]:
        """Compute the content of tensors, in one request; reading them is free afterwards.

        Raises AttributeTypeError for anything but Tensors, and whatever computing them raises.

        Example:
            await session.evaluate(loss, accuracy)
            print(loss.item(), accuracy.item())
        """
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise AttributeTypeError(
                    "evaluate takes Tensors", expected="Tensor", got=type(tensor).__name__, source=user_line()
                )
        return self._answer(_evaluating(tensors, self._along), user_line())

    def backward(
        self,
        tensors: Tensor | Sequence[Tensor],
        grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Add the gradients of the sum of `tensors` to the `.grad` of the leaves; as `gm.autograd.backward`.

        The pass is issued when the awaiting begins; `asyncio.gather` begins in the order of its arguments. It
        uses the values tensors have then. A graph that is not retained is used up from then on; if the pass
        fails or is cancelled it is not, and no `.grad` has changed.

        Args:
            tensors: what to differentiate.
            grad_tensors: a cotangent per tensor, of its shape; None for 1 where the tensor has one element.
            retain_graph: keep the graph for another pass; by default as `create_graph`.
            create_graph: record the pass itself, for derivatives of higher order; nothing is computed then.
            inputs: only accumulate into these tensors.

        Raises as Tensor.backward.

        Example: `await session.backward(loss)`
        """
        asking = _backward.backward(
            several(tensors), cotangents_of(grad_tensors), retain_graph, create_graph, inputs, self._along
        )
        return self._answer(asking, user_line())

    def grad(
        self,
        outputs: Tensor | Sequence[Tensor],
        inputs: Tensor | Sequence[Tensor],
        grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        allow_unused: bool | None = None,
        materialize_grads: bool = False,
    ) -> Coroutine[Any, Any, tuple[Tensor, ...]]:
        """The gradients of the sum of `outputs` with respect to `inputs`; as `gm.autograd.grad`.

        With `create_graph` they are recorded, not computed: await what is made of them.

        Args:
            outputs: what to differentiate.
            inputs: with respect to what; leaves or computed tensors.
            grad_outputs: a cotangent per output, of its shape; None for 1 where it has one element.
            retain_graph: keep the graph for another pass; by default as `create_graph`.
            create_graph: record the pass itself, for derivatives of higher order.
            allow_unused: give None for inputs no path leads to, instead of raising.
            materialize_grads: give zeros for inputs no path leads to.

        Raises as `gm.autograd.grad`.

        Example: `(dx,) = await session.grad(y.sum(), x)`
        """
        asking = _backward.grad(
            several(outputs),
            several(inputs),
            cotangents_of(grad_outputs),
            retain_graph,
            create_graph,
            allow_unused,
            materialize_grads,
            self._along,
        )
        return self._answer(asking, user_line())

    async def explain(self, tensor: Tensor) -> str:
        """The plan of computing a tensor and its gradients on the service, as text; see `gm.explain`."""
        request = asked_of(tensor)
        if isinstance(request, str):
            return request
        return await self._drive(self._conversation.explain(request))

    async def _answer(self, asking: Asking[_T], line: str) -> _T:
        """Give what is asked for, until the result is known."""
        ticket: _Ticket | None = None
        try:
            asked = next(asking)
            while True:
                came: Result | None = None
                try:
                    if isinstance(asked, Request):
                        came = await self.run(asked)
                        RECORDER.request(line, came.stats)
                    elif isinstance(asked, Issue):
                        ticket = self._turns.issue(_targets(asked))
                    elif ticket is not None:
                        await self._turns.come(ticket)
                except BaseException as error:
                    asked = asking.throw(error)
                else:
                    asked = asking.send(came)
        except StopIteration as stop:
            result: _T = stop.value
            return result
        except GradmeshError as error:
            error.at(source=line)
            raise
        finally:
            if ticket is not None:
                self._turns.done(ticket)

    # --- requests -------------------------------------------------------------------------------------

    async def run(self, request: Request) -> Result:
        """Evaluate one request; see Session.run. For programs that make graphs themselves."""
        conversation = self._conversation
        steps = conversation.evaluate(request)  # Its time begins.
        try:
            async with asyncio.timeout(conversation.timeout.total_seconds):
                await self._room.acquire()
        except TimeoutError:
            raise DeadlineError(
                "the time for this evaluation ran out before its turn came",
                remedy="give the session a longer timeout, or a higher concurrency",
            ) from None
        try:
            with client_span(self.address):
                return await self._drive(steps)
        finally:
            self._room.release()

    async def info(self) -> pb.GetServerInfoResponse:
        """Version, workers, caches, counters and limits of the server."""
        return await self._drive(self._conversation.info())

    async def ops(self) -> Sequence[pb.OpInfo]:
        """The operations the server knows, sorted by name."""
        return (await self._drive(self._conversation.ops())).ops

    async def _drive(self, steps: Steps[_T]) -> _T:
        """Take each step, until the result is known."""
        takers = self._takers
        try:
            step = next(steps)
            while True:
                try:
                    came = await takers[step.__class__](step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(came)
        except StopIteration as stop:
            result: _T = stop.value
            return result

    # --- steps ----------------------------------------------------------------------------------------

    async def _call(self, step: Call) -> Any:
        endpoint = step.endpoint
        method = self._connection(endpoint).methods[step.method]
        try:
            return await method(step.message, timeout=step.timeout_seconds, metadata=self._conversation.metadata())
        except (grpc.RpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            cause: BaseException = error
            if isinstance(error, grpc.aio.AioRpcError) and error.details() == _BROKEN_OFF and step.method == "Upload":
                cause = await self._why_ended(step)
            raise self._failure(cause, endpoint, step.graph) from None

    async def _why_ended(self, step: Call) -> BaseException:
        """Why a server ended a call whose parts were still being written: what it says to one without parts."""
        method = self._connection(step.endpoint).methods[step.method]
        try:
            await method(iter(()), timeout=step.timeout_seconds, metadata=self._conversation.metadata())
        except asyncio.CancelledError as error:
            return error
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                return error
        return self._conversation.ended(step.endpoint)

    async def _fetch(self, step: Fetch) -> np.ndarray:
        endpoint = step.endpoint
        method = self._connection(endpoint).methods["Download"]
        receiver = Receiver(step.spec)
        try:
            metadata = self._conversation.metadata()
            async for part in method(step.message, timeout=step.timeout_seconds, metadata=metadata):
                receiver.take(part)
        except (grpc.RpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            raise self._failure(error, endpoint, None) from None
        if step.spec.nbytes > HEAVY_BYTES:
            return await asyncio.get_running_loop().run_in_executor(None, receiver.finish)
        return receiver.finish()

    async def _pause(self, step: Pause) -> None:
        await asyncio.sleep(step.seconds)

    async def _wait(self, step: Wait) -> None:
        event: Any = step.event
        try:
            async with asyncio.timeout(step.timeout_seconds):
                await event.wait()
        except TimeoutError:
            pass  # Whoever waits looks at the time.

    async def _work(self, step: Work) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, step.function)

    def _connection(self, endpoint: Endpoint) -> Connection:
        """The channel to an address, opened when it is first used."""
        conversation = self._conversation
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise InvalidRequestError(
                    "an asyncio session belongs to one event loop",
                    expected="the loop it was first used in",
                    got="another one",
                    remedy="connect once in each loop",
                )
            self._loop = loop
        if conversation.closed:
            raise conversation.is_closed()
        found: Connection | None = endpoint.connection
        if found is None:
            found = connection(grpc.aio, endpoint.address, conversation.keepalive, conversation.tls)
            endpoint.connection = found
        return found

    def _failure(self, error: BaseException, endpoint: Endpoint, graph: Graph | None) -> BaseException:
        """What gRPC raised, as an error of ours; a task that was cancelled is told as asyncio does."""
        if isinstance(error, grpc.RpcError):
            return self._conversation.failure(error, endpoint, graph)
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if self._conversation.closed and (task is None or not task.cancelling()):
                return CancelledError(f"the session at {endpoint.address} was closed", remedy="connect again")
            return error
        return self._conversation.is_closed() if self._conversation.closed else error


def _evaluating(tensors: Sequence[Tensor], along: Needed) -> Asking[None]:
    """Compute the values tensors have once this begins."""
    yield from evaluating([tensor.value for tensor in tensors], along)


def _targets(issue: Issue) -> Iterable[Hashable]:
    """What a pass changes: the gradients of these leaves and computed values."""
    for value in (*issue.wrt, *issue.retained):
        yield value.meta if value.meta.__class__ is Leaf else value


def connect(
    address: str | Sequence[str],
    *,
    timeout: float | Timeout | None = Timeout(),  # noqa: B008 (frozen)
    retry: Retry = Retry(),  # noqa: B008
    keepalive: Keepalive = Keepalive(),  # noqa: B008
    concurrency: int = 64,
    grad_fns: bool = False,
    tls: TLS | None = None,
    token: str | None = None,
) -> AsyncSession:
    """A session with the service at `address`, to be entered (`async with`) or awaited.

    Args:
        address: "host:port", or several; as `gradmesh.connect`.
        timeout: budget of each evaluation in seconds, retries and transfers included; None for no limit.
        retry: what to do while no server answers.
        keepalive: how a dead connection is noticed.
        concurrency: how many requests are under way at once; more wait their turn.
        grad_fns: whether results carry the metadata of every grad_fn.
        tls: as `gradmesh.connect`.
        token: as `gradmesh.connect`.

    Entering or awaiting raises as `gradmesh.connect`.

    Example:
        async with gm.aio.connect("127.0.0.1:50051", timeout=30) as session:
            await session.backward(loss)
    """
    if concurrency < 1:
        raise InvalidRequestError("concurrency is too small", expected="at least 1", got=str(concurrency))
    conversation = Conversation(address, timeout, retry, keepalive, False, grad_fns, tls, token, asyncio.Event)
    return AsyncSession(conversation, concurrency)
