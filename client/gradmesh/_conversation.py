"""What is said to a service in one evaluation, and what is decided on the way. Who carries it is up to a session.

Everything here is a generator: it yields steps (a call, a download, a pause), is sent what came of each, or
has thrown into it the error that did, and returns the result. It does no I/O and waits for nothing itself, so
that sessions with and without an event loop share it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import grpc
import numpy as np

from gradmesh import _codec
from gradmesh._addresses import Addresses, Endpoint, parse
from gradmesh._blobs import Digests, upload_parts
from gradmesh._channel import tls_from, token_metadata, why_unreachable
from gradmesh._exchanges import Exchanges
from gradmesh._options import TLS, Budget, Keepalive, Retry, Timeout
from gradmesh._progress import Progress
from gradmesh._status import decode_error
from gradmesh._tracing import outgoing
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import graph_pb2 as graph_pb
from gradmesh.v1 import tensor_pb2 as tensor_pb
from gradmesh_engine.errors import (
    BlobNotFoundError,
    CancelledError,
    GradmeshError,
    GraphNotFoundError,
    InvalidRequestError,
    UnavailableError,
)
from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.session import Query, Request, Result

CONSTANT_BYTES: Final = 64 * 1024
"""Inputs of more bytes that no gradient is asked for are uploaded once and named by digest from then on."""

INLINE_BYTES: Final = 2 << 20
"""Tensors of up to this many bytes in all travel inside the request; the others are streamed before it."""

HEAVY_BYTES: Final = 256 * 1024
"""Hashing, copying or decoding more bytes than this is a `Work`."""

_HEAVY_NODES: Final = 300  # Encoding a graph takes about 10 µs a node.
_HEALS: Final = 4

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)


# --- steps ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Call:
    """Call a method. Sent back: its reply. The message of an upload is the iterator of its parts."""

    endpoint: Endpoint
    method: str
    message: Any
    timeout_seconds: float | None
    graph: Graph | None = None


@dataclass(slots=True)
class Fetch:
    """Download a result. Sent back: the array."""

    endpoint: Endpoint
    message: blob_pb.DownloadRequest
    spec: TensorSpec
    timeout_seconds: float | None


@dataclass(slots=True)
class Pause:
    """Wait for so long."""

    seconds: float


@dataclass(slots=True)
class Wait:
    """Wait for an event, or until the time is over."""

    event: Event
    timeout_seconds: float | None


@dataclass(slots=True)
class Work:
    """Call a function that may take long without waiting for anyone. Sent back: what it returns."""

    function: Callable[[], Any]


Step: TypeAlias = "Call | Fetch | Pause | Wait | Work"
Steps: TypeAlias = Generator[Step, Any, _T]


class Event(Protocol):
    """A threading.Event or an asyncio.Event. Abstract."""

    def set(self) -> None:
        """Tell those who wait."""


# --- what one evaluation keeps book of --------------------------------------------------------------


@dataclass(slots=True)
class _Moved:
    """Bytes one evaluation moved."""

    sent: int = 0
    received: int = 0

    def counts(self) -> dict[str, int]:
        return {"sent": self.sent, "received": self.received}


@dataclass(slots=True)
class _Sending:
    """How the tensors of one request travel: inline, as constants by digest, or streamed for one use."""

    tensors: Sequence[np.ndarray]
    digests: dict[int, bytes] = field(default_factory=dict)
    streamed: list[int] = field(default_factory=list)
    inline_bytes: int = 0


class Conversation:
    """Everything a session with a service knows and decides. Thread-safe. Final.

    Args:
        addresses: one or several, see `connect`.
        timeout: budget of each evaluation.
        retry: what to do when no server answers.
        keepalive: how a dead connection is noticed.
        progress: whether uploads may show a progress bar.
        grad_fns: whether results carry the metadata of every grad_fn.
        tls: None for what the environment says.
        token: None for what the environment says.
        event: makes the events of `Wait`.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        timeout: float | Timeout | None,
        retry: Retry,
        keepalive: Keepalive,
        progress: bool,
        grad_fns: bool,
        tls: TLS | None,
        token: str | None,
        event: Callable[[], Event],
    ) -> None:
        parsed = parse(addresses)
        self.addresses = Addresses(parsed)
        self.timeout = timeout if isinstance(timeout, Timeout) else Timeout(timeout)
        self.retry = retry
        self.keepalive = keepalive
        self.tls = tls_from(os.environ) if tls is None else tls
        self.closed = False
        self._progress = progress
        self._grad_fns = grad_fns
        token = os.environ.get("GRADMESH_TOKEN", "").strip() if token is None else token
        self._metadata: tuple[tuple[str, str], ...] | None = None
        for address in parsed:
            self._metadata = token_metadata(token, address, self.tls)
        self._event = event
        self._digests = Digests()
        self._exchanges = Exchanges()
        self._hashing: dict[int, Event] = {}
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """Where the latest request went."""
        return self.addresses.current.address

    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        """What goes with every call."""
        span = outgoing()
        return (*(self._metadata or ()), *span) if span else self._metadata

    def failure(self, error: grpc.RpcError, endpoint: Endpoint, graph: Graph | None = None) -> GradmeshError:
        """What a failed call stands for."""
        found = decode_error(error, endpoint.address, graph)
        if isinstance(found, CancelledError) and not self.closed:
            # Only closing the session, or the caller's task, cancels on this side: a server that stopped did.
            return self.ended(endpoint)
        return found

    def ended(self, endpoint: Endpoint) -> UnavailableError:
        """What a call says that the server ended without a word."""
        return UnavailableError(f"the server at {endpoint.address} ended the call", remedy="try again")

    def is_closed(self) -> UnavailableError:
        """What a closed session says."""
        return UnavailableError(f"the session at {self.address} is closed", remedy="connect again")

    # --- what can be asked --------------------------------------------------------------------------

    def evaluate(self, request: Request) -> Steps[Result]:
        """See Session.run."""
        budget = self.timeout.start()
        return self._persist(lambda endpoint: self._evaluate(request, endpoint, budget), budget)

    def explain(self, request: Request) -> Steps[str]:
        """See Session.explain."""
        budget = self.timeout.start()
        return self._persist(lambda endpoint: self._explain(request, endpoint, budget), budget)

    def info(self) -> Steps[pb.GetServerInfoResponse]:
        """Who the server is."""
        return self._ask("GetServerInfo", pb.GetServerInfoRequest())

    def ops(self) -> Steps[pb.ListOpsResponse]:
        """The operations the server knows."""
        return self._ask("ListOps", pb.ListOpsRequest())

    def greet(self) -> Steps[None]:
        """Make sure that a server answers."""
        budget = self.timeout.start()
        return self._persist(lambda endpoint: _no_step(), budget)

    def _ask(self, method: str, message: Any) -> Steps[Any]:
        budget = self.timeout.start()

        def attempt(endpoint: Endpoint) -> Steps[Any]:
            return (yield Call(endpoint, method, message, budget.left()))

        return self._persist(attempt, budget)

    # --- again, and elsewhere -------------------------------------------------------------------------

    def _persist(self, attempt: Callable[[Endpoint], Steps[_T]], budget: Budget) -> Steps[_T]:
        """The result of an attempt; of another while no server answers, as far as addresses, rounds and budget go."""
        addresses = self.addresses
        tried: list[Endpoint] = []
        failures: dict[str, UnavailableError] = {}
        round_ = 1
        while True:
            if self.closed:
                raise self.is_closed()
            endpoint = addresses.choose(tried)
            generation = endpoint.generation
            try:
                if endpoint.inline_bytes is None:
                    yield from self._meet(endpoint, budget)
                result = yield from attempt(endpoint)
            except UnavailableError as error:
                if self.closed:
                    raise
                if not endpoint.met and not endpoint.failures:
                    reason = yield Work(partial(why_unreachable, endpoint.address, self.tls))
                    if reason is not None:
                        raise reason from None
                addresses.failed(endpoint, generation)
                failures[endpoint.address] = error
                tried.append(endpoint)
                if len(tried) < len(addresses.endpoints):
                    if not budget.allows(0.0):
                        raise _with_others(error, failures) from None
                    continue
                delay = self.retry.delay_seconds(round_)
                if round_ >= self.retry.attempts or not budget.allows(delay):
                    raise _with_others(error, failures) from None
                round_ += 1
                tried.clear()
                yield Pause(delay)
            else:
                addresses.answered(endpoint, generation)
                return result

    def _meet(self, endpoint: Endpoint, budget: Budget) -> Steps[None]:
        """Learn the limits of whoever answers at an address."""
        limits = (yield Call(endpoint, "GetServerInfo", pb.GetServerInfoRequest(), budget.left())).limits
        most = limits.max_message_bytes
        endpoint.inline_bytes = min(INLINE_BYTES, most // 4) if most else INLINE_BYTES

    # --- one evaluation at one address ------------------------------------------------------------------

    def _evaluate(self, request: Request, endpoint: Endpoint, budget: Budget) -> Steps[Result]:
        graph, query = request.graph, request.query
        known = self._exchanges.find((graph.digest, query))
        written = None if known is None else known.write((*request.inputs, *request.cotangents))
        if known is not None and written is not None:
            try:
                reply = yield Call(endpoint, "Compute", written, budget.left(), graph)
            except GraphNotFoundError:
                pass
            else:
                result = known.read(reply, len(written))
                if result is not None:
                    return result
                response = pb.ComputeResponse.FromString(reply)
                return (yield from self._result(response, graph, endpoint, budget, _Moved(len(written), len(reply))))
        moved = _Moved()
        sending = yield from self._sort(request, endpoint, budget)
        heavy = sending.inline_bytes > HEAVY_BYTES
        message = pb.ComputeRequest(
            graph_digest=graph.digest, wrt=query.wrt, want_grad_fns=self._grad_fns, segments=query.segments
        )
        handles: dict[int, bytes] = {}
        elsewhere = bool(sending.digests or sending.streamed)
        upload = elsewhere
        for heal in range(_HEALS):
            try:
                if upload:
                    handles = yield from self._upload(sending, endpoint, budget, moved)
                    upload = False
                encode = partial(_encode, message, request, sending, handles)
                data = (yield Work(encode)) if heavy else encode()
                moved.sent += len(data)
                reply = yield Call(endpoint, "Compute", data, budget.left(), graph)
                break
            except GraphNotFoundError:
                if heal == _HEALS - 1:
                    raise
                message.graph.CopyFrom((yield from _encoded(graph)))
            except BlobNotFoundError:
                if heal == _HEALS - 1 or not elsewhere:
                    raise
                # The server made room, or is another one now. Streamed tensors are used up.
                upload = True
                with self._lock:
                    endpoint.stored.difference_update(sending.digests.values())
        moved.received += len(reply)
        decode = partial(pb.ComputeResponse.FromString, reply)
        response = (yield Work(decode)) if len(reply) > HEAVY_BYTES else decode()
        result = yield from self._result(response, graph, endpoint, budget, moved)
        if not heal and sending.inline_bytes <= CONSTANT_BYTES and len(reply) <= CONSTANT_BYTES and not elsewhere:
            self._exchanges.learn((graph.digest, query), data, sending.tensors, reply, response, result.stats)
        return result

    def _sort(self, request: Request, endpoint: Endpoint, budget: Budget) -> Steps[_Sending]:
        """Decide how each tensor travels. A rule of their sizes and of the gradients asked for."""
        sending = _Sending((*request.inputs, *request.cotangents))
        sending.inline_bytes = total = sum([array.nbytes for array in sending.tensors])
        if total <= CONSTANT_BYTES:  # Nothing can be too large: the usual case of a small request.
            return sending
        wrt = frozenset(request.query.wrt)
        room = INLINE_BYTES if endpoint.inline_bytes is None else endpoint.inline_bytes
        constant: list[int] = []
        inline: list[int] = []
        for index, array in enumerate(sending.tensors):
            is_constant = index < len(request.inputs) and index not in wrt and array.nbytes > CONSTANT_BYTES
            (constant if is_constant else inline).append(index)
        for index in constant:
            sending.digests[index] = yield from self._digest(sending.tensors[index], budget)
        sending.inline_bytes = 0
        for index in sorted(inline, key=lambda i: sending.tensors[i].nbytes):
            nbytes = sending.tensors[index].nbytes
            room -= nbytes
            if room < 0:
                sending.streamed.append(index)
            else:
                sending.inline_bytes += nbytes
        return sending

    def _digest(self, array: np.ndarray, budget: Budget) -> Steps[bytes]:
        digests = self._digests
        if array.nbytes <= HEAVY_BYTES or digests.known(array):
            return digests.of(array)
        if array.flags.writeable:  # Not remembered.
            digest: bytes = yield Work(partial(digests.of, array))
            return digest

        def work(keys: Sequence[int]) -> Steps[None]:
            yield Work(partial(digests.of, array))

        yield from self._once([id(array)], self._hashing, lambda key: digests.known(array), work, budget)
        return digests.of(array)

    def _once(
        self,
        keys: Collection[_K],
        under_way: dict[_K, Event],
        is_done: Callable[[_K], bool],
        work: Callable[[Sequence[_K]], Steps[None]],
        budget: Budget,
    ) -> Steps[None]:
        """Do `work` for those of the keys that are not done, and wait for those another request is at."""
        while True:
            with self._lock:
                left = [key for key in keys if not is_done(key)]
                mine = [key for key in left if key not in under_way]
                event = self._event() if mine else None
                if event is not None:
                    under_way.update(dict.fromkeys(mine, event))
                theirs = None if mine or not left else under_way[left[0]]
            if theirs is not None:
                yield Wait(theirs, budget.left())
                continue
            if event is None:
                return
            try:
                yield from work(mine)
            finally:
                with self._lock:
                    for key in mine:
                        del under_way[key]
                event.set()

    def _upload(self, sending: _Sending, endpoint: Endpoint, budget: Budget, moved: _Moved) -> Steps[dict[int, bytes]]:
        """Send what has to be there before the request; returns the handles of what is for one use."""
        handles: dict[int, bytes] = {}
        if sending.digests:
            index_of = {digest: index for index, digest in sending.digests.items()}

            def constants(digests: Sequence[bytes]) -> Steps[None]:
                ask = blob_pb.FindMissingRequest(digests=digests)
                missing = (yield Call(endpoint, "FindMissing", ask, budget.left())).missing
                with self._lock:
                    endpoint.stored.update(set(digests) - set(missing))
                todo = {index_of[digest]: digest for digest in missing if digest in index_of}
                for index in (yield from self._stream(sending, todo, endpoint, budget, moved)):
                    with self._lock:
                        endpoint.stored.add(todo[index])

            stored = endpoint.stored
            yield from self._once(list(index_of), endpoint.moving, stored.__contains__, constants, budget)
        if sending.streamed:
            handles = yield from self._stream(sending, dict.fromkeys(sending.streamed, b""), endpoint, budget, moved)
        return handles

    def _stream(
        self, sending: _Sending, todo: dict[int, bytes], endpoint: Endpoint, budget: Budget, moved: _Moved
    ) -> Steps[dict[int, bytes]]:
        """Upload tensors, each under its digest or, when that is b"", for one use; returns the handle of each."""
        handles: dict[int, bytes] = {}
        if not todo:
            return handles
        with Progress(sum(sending.tensors[index].nbytes for index in todo), self._progress) as progress:
            for index, digest in todo.items():
                array = sending.tensors[index]
                if not array.flags.c_contiguous and array.nbytes > HEAVY_BYTES:
                    array = yield Work(partial(np.ascontiguousarray, array))
                parts = upload_parts(array, digest, progress.advance)
                reply = yield Call(endpoint, "Upload", parts, budget.left())
                moved.sent += array.nbytes
                handles[index] = reply.handle
        return handles

    def _result(
        self, reply: pb.ComputeResponse, graph: Graph, endpoint: Endpoint, budget: Budget, moved: _Moved
    ) -> Steps[Result]:
        arrays: list[np.ndarray | None] = []
        tensors: list[tensor_pb.Tensor | None] = [*reply.outputs]
        tensors += [gradient.tensor if gradient.HasField("tensor") else None for gradient in reply.gradients]
        for tensor in tensors:
            if tensor is None:
                arrays.append(None)
            elif tensor.WhichOneof("content") == "data":
                arrays.append(_codec.decode_array(tensor))
            else:
                spec = _codec.spec_of(tensor.dtype, tuple(tensor.shape))
                array = yield Fetch(endpoint, blob_pb.DownloadRequest(handle=tensor.handle), spec, budget.left())
                moved.received += array.nbytes
                arrays.append(array)
        count = len(reply.outputs)
        return Result(
            tuple(arrays[:count]),  # type: ignore[arg-type]
            tuple(arrays[count:]),
            _codec.decode_grad_fns(reply.grad_fns, graph) if reply.grad_fns else (),
            _codec.decode_stats(reply.stats, moved.counts()),
        )

    def _explain(self, request: Request, endpoint: Endpoint, budget: Budget) -> Steps[str]:
        graph, query = request.graph, request.query
        message = pb.ExplainRequest(graph_digest=graph.digest, wrt=query.wrt, segments=query.segments)
        for value, given in zip(query.of, query.given, strict=True):
            message.of.append(pb.Objective(value=value, cotangent=tensor_pb.Tensor() if given else None))
        try:
            reply = yield Call(endpoint, "Explain", message, budget.left(), graph)
        except GraphNotFoundError:
            message.graph.CopyFrom((yield from _encoded(graph)))
            reply = yield Call(endpoint, "Explain", message, budget.left(), graph)
        text: str = reply.text
        return text


def _no_step() -> Steps[None]:
    """No step at all."""
    yield from ()


def _encoded(graph: Graph) -> Steps[graph_pb.Graph]:
    """The message of a graph."""
    encode = partial(_codec.encode_graph, graph)
    return (yield Work(encode)) if len(graph.nodes) > _HEAVY_NODES else encode()


def _encode(message: pb.ComputeRequest, request: Request, sending: _Sending, handles: dict[int, bytes]) -> bytes:
    """Put tensors, and the objectives that go with them, into a message; the bytes of it."""
    if sending.digests or handles:
        tensors = [*_named(sending, handles)]
    else:
        tensors = [_codec.encode_array(array) for array in sending.tensors]
    count = len(request.inputs)
    query: Query = request.query
    if sum(query.given) != len(tensors) - count:
        raise InvalidRequestError(
            "there is not one cotangent per flag in query.given",
            expected=f"{sum(query.given)} cotangents",
            got=f"{len(tensors) - count}",
        )
    del message.inputs[:], message.of[:]
    message.inputs.extend(tensors[:count])
    cotangents = iter(tensors[count:])
    for value, given in zip(query.of, query.given, strict=True):
        message.of.append(pb.Objective(value=value, cotangent=next(cotangents) if given else None))
    # Serialised here rather than by the stub, because that tells the number of bytes.
    return message.SerializeToString()


def _named(sending: _Sending, handles: dict[int, bytes]) -> Iterator[tensor_pb.Tensor]:
    for index, array in enumerate(sending.tensors):
        if index in sending.digests:
            yield tensor_pb.Tensor(digest=sending.digests[index])
        elif index in handles:
            yield tensor_pb.Tensor(handle=handles[index])
        else:
            yield _codec.encode_array(array)


def _with_others(error: UnavailableError, failures: dict[str, UnavailableError]) -> UnavailableError:
    """The error of the address tried last, with what the others said."""
    for other in failures.values():
        if other is not error:
            error.add_note(str(other))
    return error
