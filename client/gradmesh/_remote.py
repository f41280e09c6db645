"""The session that runs requests on a service, over gRPC."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import numpy as np

from gradmesh import _codec
from gradmesh._blobs import Digests, receive, upload_parts
from gradmesh._channel import channel_options, credentials, tls_from, token_metadata, why_unreachable
from gradmesh._options import TLS, Budget, Keepalive, Retry, Timeout
from gradmesh._progress import Progress
from gradmesh._session import enter_session, leave_session
from gradmesh._status import decode_error
from gradmesh._tracing import client_span, outgoing
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh.v1 import tensor_pb2 as tensor_pb
from gradmesh_engine.errors import (
    BlobNotFoundError,
    CancelledError,
    GraphNotFoundError,
    InvalidRequestError,
    UnavailableError,
)
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Query, Request, Result

CONSTANT_BYTES: Final = 64 * 1024
"""Inputs of more bytes that no gradient is asked for are uploaded once and named by digest from then on."""

INLINE_BYTES: Final = 2 << 20
"""Tensors of up to this many bytes in all travel inside the request; the others are streamed before it."""

_HEALS: Final = 4

_T = TypeVar("_T")
_Computes: TypeAlias = "pb.ComputeRequest | pb.ExplainRequest"


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


class RemoteSession:
    """Evaluates on a service; see `connect`. Safe to use from several threads. Final.

    As a context manager it evaluates what the block computes, and is closed at the end.
    """

    def __init__(
        self,
        address: str,
        timeout: Timeout,
        retry: Retry,
        keepalive: Keepalive,
        progress: bool,
        grad_fns: bool,
        tls: TLS | None = None,
        token: str | None = None,
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._retry = retry
        self._progress = progress
        self._grad_fns = grad_fns
        self._tls = tls
        self._metadata = token_metadata(token, address, tls)
        options = channel_options(keepalive, tls)
        if tls is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials(tls), options)
        # Serialised here rather than by the stub, because that tells the number of bytes.
        self._compute: Callable[..., bytes] = self._channel.unary_unary("/gradmesh.v1.GradientService/Compute")
        self._gradients = pb_grpc.GradientServiceStub(self._channel)
        self._blobs = blob_grpc.BlobServiceStub(self._channel)
        self._digests = Digests()
        self._stored: set[bytes] = set()
        self._inline_bytes = INLINE_BYTES
        self._lock = threading.Lock()
        self._closed = False
        self._met = False  # Whether the server ever answered.

    def __repr__(self) -> str:
        return f"<gradmesh session at {self.address}{', closed' if self._closed else ''}>"

    # --- the session's interface --------------------------------------------------------------------

    def run(self, request: Request) -> Result:
        """Evaluate; see Session.run."""
        budget = self._timeout.start()
        with client_span(self.address):
            return self._persist(lambda: self._run_once(request, budget), budget)

    def explain(self, request: Request) -> str:
        """The plan as text, and where it would run; see Session.explain."""
        budget = self._timeout.start()
        graph, query = request.graph, request.query
        message = pb.ExplainRequest(graph_digest=graph.digest, wrt=query.wrt)
        for value, given in zip(query.of, query.given, strict=True):
            message.of.append(pb.Objective(value=value, cotangent=tensor_pb.Tensor() if given else None))

        def ask() -> str:
            try:
                reply = self._guard(lambda: self._gradients.Explain(message, **self._with(budget)), graph)
            except GraphNotFoundError:
                message.graph.CopyFrom(_codec.encode_graph(graph))
                reply = self._guard(lambda: self._gradients.Explain(message, **self._with(budget)), graph)
            return reply.text

        return self._persist(ask, budget)

    def close(self) -> None:
        """Close the connection; calls that are waiting end with CancelledError. Idempotent."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._channel.close()

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
        budget = self._timeout.start()
        request = pb.GetServerInfoRequest()
        return self._persist(
            lambda: self._guard(lambda: self._gradients.GetServerInfo(request, **self._with(budget))), budget
        )

    def ops(self) -> Sequence[pb.OpInfo]:
        """The operations the server knows, sorted by name."""
        budget = self._timeout.start()
        request = pb.ListOpsRequest()
        return self._persist(
            lambda: self._guard(lambda: self._gradients.ListOps(request, **self._with(budget))), budget
        ).ops

    def greet(self) -> None:
        """Make sure that a gradmesh server answers, and respect its limits. Raises UnavailableError."""
        limits = self.info().limits
        if limits.max_message_bytes:
            self._inline_bytes = min(INLINE_BYTES, limits.max_message_bytes // 4)

    # --- one evaluation -----------------------------------------------------------------------------

    def _run_once(self, request: Request, budget: Budget) -> Result:
        graph, query = request.graph, request.query
        moved = _Moved()
        sending = self._sort(request)
        message = pb.ComputeRequest(graph_digest=graph.digest, wrt=query.wrt, want_grad_fns=self._grad_fns)
        tensors = self._tensors(sending, budget, moved)
        for heal in range(_HEALS):
            self._fill(message, request, tensors)
            try:
                reply = self._exchange(message, graph, budget, moved)
                break
            except GraphNotFoundError:
                if heal == _HEALS - 1:
                    raise
                message.graph.CopyFrom(_codec.encode_graph(graph))
            except BlobNotFoundError:
                if heal == _HEALS - 1 or not (sending.digests or sending.streamed):
                    raise
                # The server made room, or is another one now. Streamed tensors are used up.
                with self._lock:
                    self._stored.difference_update(sending.digests.values())
                tensors = self._tensors(sending, budget, moved)
        return self._result(reply, graph, budget, moved)

    def _sort(self, request: Request) -> _Sending:
        """Decide how each tensor travels. A rule of their sizes and of the gradients asked for."""
        sending = _Sending((*request.inputs, *request.cotangents))
        budget = self._inline_bytes
        total = sum([array.nbytes for array in sending.tensors])
        if total <= CONSTANT_BYTES:  # Nothing can be too large: the usual case of a small request.
            return sending
        wrt = frozenset(request.query.wrt)
        inline = []
        for index, array in enumerate(sending.tensors):
            if index < len(request.inputs) and index not in wrt and array.nbytes > CONSTANT_BYTES:
                sending.digests[index] = self._digests.of(array)
            else:
                inline.append(index)
        for index in sorted(inline, key=lambda i: sending.tensors[i].nbytes):
            budget -= sending.tensors[index].nbytes
            if budget < 0:
                sending.streamed.append(index)
        return sending

    def _tensors(self, sending: _Sending, budget: Budget, moved: _Moved) -> list[tensor_pb.Tensor]:
        """The messages of a request's tensors, after what has to be uploaded was."""
        arrays = sending.tensors
        if not sending.digests and not sending.streamed:
            return [_codec.encode_array(array) for array in arrays]
        missing = self._missing(sending, budget)
        todo = [(index, digest) for digest, index in missing.items()] + [(index, b"") for index in sending.streamed]
        handles: dict[int, bytes] = {}
        if todo:
            with Progress(sum(arrays[index].nbytes for index, _ in todo), self._progress) as progress:
                for index, digest in todo:
                    parts = upload_parts(arrays[index], digest, progress.advance)
                    reply = self._guard(lambda parts=parts: self._blobs.Upload(parts, **self._with(budget)))  # type: ignore[misc]
                    moved.sent += arrays[index].nbytes
                    if digest:
                        with self._lock:
                            self._stored.add(digest)
                    else:
                        handles[index] = reply.handle
        tensors = []
        for index, array in enumerate(arrays):
            if index in sending.digests:
                tensors.append(tensor_pb.Tensor(digest=sending.digests[index]))
            elif index in handles:
                tensors.append(tensor_pb.Tensor(handle=handles[index]))
            else:
                tensors.append(_codec.encode_array(array))
        return tensors

    def _missing(self, sending: _Sending, budget: Budget) -> dict[bytes, int]:
        """Which of the constants the server lacks, by digest; it is asked about those it was not sent before."""
        with self._lock:
            unsure = {digest: index for index, digest in sending.digests.items() if digest not in self._stored}
        if not unsure:
            return {}
        ask = blob_pb.FindMissingRequest(digests=unsure)
        missing = self._guard(lambda: self._blobs.FindMissing(ask, **self._with(budget))).missing
        with self._lock:
            self._stored.update(unsure.keys() - set(missing))
        return {digest: unsure[digest] for digest in missing if digest in unsure}

    @staticmethod
    def _fill(message: pb.ComputeRequest, request: Request, tensors: Sequence[tensor_pb.Tensor]) -> None:
        """Put tensors, and the objectives that go with them, into a message."""
        count = len(request.inputs)
        del message.inputs[:], message.of[:]
        message.inputs.extend(tensors[:count])
        cotangents = iter(tensors[count:])
        query: Query = request.query
        if sum(query.given) != len(tensors) - count:
            raise InvalidRequestError(
                "there is not one cotangent per flag in query.given",
                expected=f"{sum(query.given)} cotangents",
                got=f"{len(tensors) - count}",
            )
        for value, given in zip(query.of, query.given, strict=True):
            message.of.append(pb.Objective(value=value, cotangent=next(cotangents) if given else None))

    def _exchange(self, message: pb.ComputeRequest, graph: Graph, budget: Budget, moved: _Moved) -> pb.ComputeResponse:
        data = message.SerializeToString()
        moved.sent += len(data)
        reply = self._guard(lambda: self._compute(data, **self._with(budget)), graph)
        moved.received += len(reply)
        return pb.ComputeResponse.FromString(reply)

    def _result(self, reply: pb.ComputeResponse, graph: Graph, budget: Budget, moved: _Moved) -> Result:
        outputs = tuple([self._tensor(tensor, budget, moved) for tensor in reply.outputs])
        gradients = tuple(
            [
                self._tensor(gradient.tensor, budget, moved) if gradient.HasField("tensor") else None
                for gradient in reply.gradients
            ]
        )
        return Result(
            outputs,
            gradients,
            _codec.decode_grad_fns(reply.grad_fns, graph) if reply.grad_fns else (),
            _codec.decode_stats(reply.stats, moved.counts()),
        )

    def _tensor(self, tensor: tensor_pb.Tensor, budget: Budget, moved: _Moved) -> np.ndarray:
        if tensor.WhichOneof("content") == "data":
            return _codec.decode_array(tensor)
        spec = _codec.spec_of(tensor.dtype, tuple(tensor.shape))
        request = blob_pb.DownloadRequest(handle=tensor.handle)
        array = self._guard(lambda: receive(self._blobs.Download(request, **self._with(budget)), spec))
        moved.received += array.nbytes
        return array

    # --- calls --------------------------------------------------------------------------------------

    def _with(self, budget: Budget) -> dict[str, Any]:
        """What goes with every call."""
        span = outgoing()
        return {"timeout": budget.left(), "metadata": (*(self._metadata or ()), *span) if span else self._metadata}

    def _guard(self, call: Callable[[], _T], graph: Graph | None = None) -> _T:
        """What a call returns; what gRPC raises becomes an error of ours."""
        try:
            return call()
        except grpc.RpcError as error:
            found = decode_error(error, self.address, graph)
            if isinstance(found, CancelledError) and not self._closed:
                # Only closing the session cancels on this side: a server that stopped did.
                found = UnavailableError(f"the server at {self.address} ended the call", remedy="try again")
            raise found from None
        except ValueError as error:
            if self._closed and not isinstance(error, UnavailableError):
                raise self._is_closed() from None
            raise

    def _persist(self, work: Callable[[], _T], budget: Budget) -> _T:
        """`work()`, again while no server answers, as far as attempts and budget go."""
        attempt = 0
        while True:
            if self._closed:
                raise self._is_closed()
            attempt += 1
            try:
                result = work()
                self._met = True
                return result
            except UnavailableError:
                if not self._met and attempt == 1:
                    reason = why_unreachable(self.address, self._tls)
                    if reason is not None:
                        raise reason from None
                delay = self._retry.delay_seconds(attempt)
                if attempt >= self._retry.attempts or not budget.allows(delay):
                    raise
                with self._lock:
                    self._stored.clear()  # What answers next may be another server.
                time.sleep(delay)

    def _is_closed(self) -> UnavailableError:
        return UnavailableError(f"the session at {self.address} is closed", remedy="connect again")


def connect(
    address: str,
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
        address: "host:port".
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
    if not isinstance(timeout, Timeout):
        timeout = Timeout(timeout)
    if ":" not in address:
        raise InvalidRequestError("an address has a port", expected="host:port", got=address)
    tls = tls_from(os.environ) if tls is None else tls
    token = os.environ.get("GRADMESH_TOKEN", "").strip() if token is None else token
    session = RemoteSession(address, timeout, retry, keepalive, progress, grad_fns, tls, token)
    try:
        session.greet()
    except BaseException:
        session.close()
        raise
    return session
