"""The servicers: each call handed on, each error turned into a status, nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn, TypeVar

import grpc
import numpy as np
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from gradmesh import _codec
from gradmesh._status import REQUEST_ID_KEY, encode_error
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.backend import Backend, Pieces, Tensor
from gradmesh_engine.errors import (
    DeadlineError,
    DigestMismatchError,
    GradmeshError,
    InternalError,
    InvalidRequestError,
    LengthError,
    LimitError,
    MemoryLimitError,
    NotFoundError,
    TruncatedUploadError,
    UnavailableError,
)
from gradmesh_engine.graph import DIGEST_BYTES, TensorSpec, encode_spec
from gradmesh_engine.ops import TABLE
from gradmesh_server.admission import Admission
from gradmesh_server.auth import Authenticator
from gradmesh_server.blobs import BlobStore, new_handle, spec_of_tensor, stored_name
from gradmesh_server.catalogue import describe_ops
from gradmesh_server.config import MIB, Config
from gradmesh_server.coordinator import HIT, Coordinator, check_name
from gradmesh_server.inline import INLINE, past_deadline
from gradmesh_server.logs import about_request
from gradmesh_server.recall import Written
from gradmesh_server.telemetry import current_call
from gradmesh_server.version import package_version

logger = logging.getLogger("gradmesh.server")

_T = TypeVar("_T")
_Context = grpc.aio.ServicerContext

# Pieces whose parts interleave more finely than this are assembled before they are sent.
_SMALL_RUN_BYTES: Final = 64 * 1024


async def abort(context: _Context[Any, Any], error: GradmeshError) -> NoReturn:
    """End a call with the status its error declares."""
    code, message, details = encode_error(error)
    metadata: tuple[tuple[str, str | bytes], ...] = details
    call = current_call()
    if call is not None:
        call.error = error
        metadata = (*metadata, (REQUEST_ID_KEY, call.request_id))
    await context.abort(code, message, metadata)


async def _guard(context: _Context[Any, Any], work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, or the call ended with the status its error declares."""
    try:
        return await work
    except GradmeshError as error:
        await abort(context, error)
    except Exception as error:
        call = current_call()
        logger.exception("a request failed by a defect", extra=about_request(call.request_id if call else ""))
        await abort(context, InternalError(f"the server failed: {type(error).__name__}: {error}"))


class GradientServicer(pb_grpc.GradientServiceServicer):
    """gradmesh.v1.GradientService."""

    def __init__(
        self,
        config: Config,
        coordinator: Coordinator,
        blobs: BlobStore,
        admission: Admission,
        backend: Backend | None,
        authenticator: Authenticator,
    ) -> None:
        self._config = config
        self._authenticator = authenticator
        self._coordinator = coordinator
        self._blobs = blobs
        self._admission = admission
        self._backend = backend
        self._started = time.monotonic()
        self._version = package_version()
        self._catalogue: pb.ListOpsResponse | None = None
        self.served = 0
        self.failed = 0

    def recall(self, content: bytes, context: _Context[Any, Any]) -> Written | None:
        """The reply to a message of Compute that came before with other tensors; None where Compute is to answer."""
        owner = self._owner(context)
        if owner is None or not self._admission.free(owner):
            return None
        written = self._coordinator.recall(content, owner)
        self.served += written is not None
        return written

    def learn(
        self, content: bytes, request: pb.ComputeRequest, response: pb.ComputeResponse, context: _Context[Any, Any]
    ) -> None:
        """Be able to recall a message that Compute has answered, if it may be."""
        stats = response.stats
        if stats.cache == HIT and stats.where == INLINE and not stats.wait_seconds:
            owner = self._owner(context)
            if owner is not None:
                self._coordinator.learn(content, request, response, owner)

    def _owner(self, context: _Context[Any, Any]) -> str | None:
        """Who calls; None for whoever may not, or no longer may."""
        try:
            return self._authenticator.caller(context)
        except GradmeshError:
            return None

    async def Compute(self, request: pb.ComputeRequest, context: _Context[Any, Any]) -> pb.ComputeResponse:
        """Compute a graph's outputs and gradients."""
        return await _guard(context, self._compute(request, context))

    async def _compute(self, request: pb.ComputeRequest, context: _Context[Any, Any]) -> pb.ComputeResponse:
        owner = self._authenticator.caller(context)
        arrived = time.monotonic()
        # None for a call without a deadline, whatever the stubs say.
        remaining: Any = context.time_remaining()
        asked = self._config.default_timeout_seconds if remaining is None else float(remaining)
        granted = self._config.max_seconds
        deadline = arrived + min(asked, granted)
        try:
            response = self._coordinator.compute_now(request, owner) if self._admission.free(owner) else None
            if response is None:
                async with asyncio.timeout_at(deadline), self._admission.turn(owner, request.ByteSize()):
                    waited = time.monotonic() - arrived
                    response = await self._coordinator.compute(request, deadline, waited, owner)
        except BaseException as error:
            self.failed += not isinstance(error, NotFoundError)
            if isinstance(error, TimeoutError):  # Its own, or a DeadlineError.
                if asked > granted:
                    raise LimitError(
                        "the request takes more time than the server grants one request",
                        expected=f"at most {granted:g} s",
                        got=f"a deadline in {asked:g} s",
                        remedy="compute less at once, or raise the server's limit max_seconds",
                    ) from None
                if not isinstance(error, GradmeshError):
                    raise past_deadline() from None
            raise
        self.served += 1
        return response

    async def Explain(self, request: pb.ExplainRequest, context: _Context[Any, Any]) -> pb.ExplainResponse:
        """Tell how Compute would run a request."""
        return await _guard(context, self._explain(request, context))

    async def _explain(self, request: pb.ExplainRequest, context: _Context[Any, Any]) -> pb.ExplainResponse:
        owner = self._authenticator.caller(context)
        remaining: Any = context.time_remaining()
        asked = self._config.default_timeout_seconds if remaining is None else float(remaining)
        try:
            async with asyncio.timeout(asked):
                async with self._admission.turn(owner, request.ByteSize()):
                    return await self._coordinator.explain(request, owner)
        except TimeoutError:
            raise past_deadline() from None

    async def ListOps(self, request: pb.ListOpsRequest, context: _Context[Any, Any]) -> pb.ListOpsResponse:
        """Tell the operations."""
        return await _guard(context, self._list_ops(context))

    async def _list_ops(self, context: _Context[Any, Any]) -> pb.ListOpsResponse:
        self._authenticator.caller(context)
        if self._catalogue is None:
            loop = asyncio.get_running_loop()
            self._catalogue = pb.ListOpsResponse(ops=await loop.run_in_executor(None, describe_ops))
        return self._catalogue

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: _Context[Any, Any]
    ) -> pb.GetServerInfoResponse:
        """Tell who the server is."""
        return await _guard(context, self._info(context))

    async def _info(self, context: _Context[Any, Any]) -> pb.GetServerInfoResponse:
        self._authenticator.caller(context)
        self._blobs.sweep()
        workers = self._backend.workers() if self._backend is not None else ()
        return pb.GetServerInfoResponse(
            version=self._version,
            pid=os.getpid(),
            uptime_seconds=time.monotonic() - self._started,
            workers=[
                pb.Worker(
                    id=worker.id,
                    pid=worker.pid,
                    node=worker.node,
                    alive=worker.alive,
                    busy=worker.busy,
                    completed=worker.completed,
                )
                for worker in workers
            ],
            ops=len(TABLE),
            cached_graphs=self._coordinator.graphs,
            cached_plans=self._coordinator.programs,
            stored_blobs=len(self._blobs),
            stored_bytes=self._blobs.used_bytes,
            requests_served=self.served,
            requests_failed=self.failed,
            requests_running=self._admission.running,
            requests_waiting=self._admission.waiting,
            limits=self._config.limits(),
            draining=self._admission.draining,
        )


class BlobServicer(blob_grpc.BlobServiceServicer):
    """gradmesh.v1.BlobService."""

    def __init__(
        self,
        config: Config,
        blobs: BlobStore,
        admission: Admission,
        backend: Backend | None,
        authenticator: Authenticator,
    ) -> None:
        self._config = config
        self._authenticator = authenticator
        self._blobs = blobs
        self._admission = admission
        self._backend = backend
        # Hashing and copying release the interpreter; two threads keep up with a fast network.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="gradmesh-blob")

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def FindMissing(
        self, request: blob_pb.FindMissingRequest, context: _Context[Any, Any]
    ) -> blob_pb.FindMissingResponse:
        """Tell which tensors have to be uploaded."""
        return await _guard(context, self._find_missing(request, context))

    async def _find_missing(
        self, request: blob_pb.FindMissingRequest, context: _Context[Any, Any]
    ) -> blob_pb.FindMissingResponse:
        owner = self._authenticator.caller(context)
        for digest in request.digests:
            check_name(digest, "digests")
        return blob_pb.FindMissingResponse(missing=self._blobs.missing(request.digests, owner))

    async def Upload(self, request_iterator: object, context: _Context[Any, Any]) -> blob_pb.UploadResponse:
        """Take one tensor."""
        return await _guard(context, self._upload(context))

    async def _upload(self, context: _Context[Any, Any]) -> blob_pb.UploadResponse:
        owner = self._authenticator.caller(context)
        idle = self._config.upload_idle_seconds
        loop = asyncio.get_running_loop()
        call = current_call()
        try:
            async with asyncio.timeout(idle) as patience:
                spec, digest, keep = self._header(await context.read())
                if digest and self._blobs.has(digest, owner):
                    return blob_pb.UploadResponse(digest=digest)
                self._blobs.begin(spec.nbytes, owner)
                finished = False
                try:
                    content = _Receiver(spec, digest, keep)
                    pending: asyncio.Future[None] | None = None
                    while (part := await context.read()) is not grpc.aio.EOF:
                        patience.reschedule(loop.time() + idle)
                        if part.WhichOneof("part") != "chunk":
                            raise InvalidRequestError(
                                "an upload's parts after the first are chunks", expected="chunk", got="header"
                            )
                        chunk = part.chunk
                        if call is not None:
                            call.received += len(chunk)
                        content.expect(len(chunk))
                        if pending is not None:
                            await pending
                        pending = loop.run_in_executor(self._pool, content.store, chunk)
                    if pending is not None:
                        await pending
                    patience.reschedule(None)
                    array = await loop.run_in_executor(self._pool, content.finish)
                    name = content.digest() if keep else new_handle()
                    shared = self._backend is not None and array.nbytes >= self._config.adopt_bytes
                    if shared and not (keep and self._blobs.has(name, owner)):
                        array = await self._adopt(stored_name(owner, name) if keep else name, array, content)
                    self._blobs.finish(name, array, once=not keep, owner=owner)
                    finished = True
                finally:
                    if not finished:
                        self._blobs.abandon(spec.nbytes, owner)
        except TimeoutError as error:
            if isinstance(error, GradmeshError):
                raise
            raise DeadlineError(
                f"the upload paused for more than {idle:g} s", remedy="send the chunks without a pause"
            ) from None
        return blob_pb.UploadResponse(digest=name) if keep else blob_pb.UploadResponse(handle=name)

    async def _adopt(self, name: bytes, array: np.ndarray, content: _Receiver) -> np.ndarray:
        """Let the backend take the content over, and drop the copy that was received."""
        assert self._backend is not None
        content.release()
        return await self._backend.adopt(name, array)

    def _header(self, part: Any) -> tuple[TensorSpec, bytes, bool]:
        """Spec and digest an upload announces, b"" for none, and whether it is kept under its digest."""
        if self._admission.draining:
            raise UnavailableError("the server is stopping", remedy="try again at another server, or later")
        if part is grpc.aio.EOF or part.WhichOneof("part") != "header":
            raise InvalidRequestError("an upload begins with a header", expected="header", got="something else")
        header = part.header
        spec = _codec.decode_spec(header.spec)
        if header.length != spec.nbytes:
            raise LengthError(
                f"a tensor of {spec} does not have {header.length} bytes",
                expected=f"{spec.nbytes} bytes",
                got=f"{header.length} bytes",
                remedy="announce the number of bytes that dtype and shape make",
            )
        if spec.nbytes > self._config.max_tensor_bytes:
            raise MemoryLimitError(
                "the tensor is larger than the server accepts",
                expected=f"at most {self._config.max_tensor_bytes} bytes",
                got=f"{spec.nbytes} bytes",
                remedy="send it in parts, or raise the server's limit",
            )
        if header.digest:
            check_name(header.digest, "digest")
        return spec, header.digest, bool(header.digest) or header.content_addressed

    async def Download(
        self, request: blob_pb.DownloadRequest, context: _Context[Any, Any]
    ) -> AsyncIterator[blob_pb.DownloadResponse]:
        """Send one tensor."""
        tensor = await _guard(context, self._find(request, context))
        spec = spec_of_tensor(tensor)
        header = blob_pb.DownloadHeader(spec=_codec.encode_spec(spec), length=spec.nbytes)
        yield blob_pb.DownloadResponse(header=header)
        for chunk in _chunks(tensor):
            yield blob_pb.DownloadResponse(chunk=chunk)
        if request.WhichOneof("name") == "handle":
            self._blobs.drop(request.handle)

    async def _find(self, request: blob_pb.DownloadRequest, context: _Context[Any, Any]) -> Tensor:
        owner = self._authenticator.caller(context)
        which = request.WhichOneof("name")
        if which is None:
            raise InvalidRequestError("a download names a tensor", expected="digest or handle", got="neither")
        if which == "digest":
            check_name(request.digest, "digest")
            return self._blobs.get(request.digest, owner)
        check_name(request.handle, "handle")
        tensor = self._blobs.peek(request.handle, owner)
        if isinstance(tensor, Pieces) and _run_bytes(tensor) < _SMALL_RUN_BYTES:
            return await asyncio.get_running_loop().run_in_executor(self._pool, tensor.assemble)
        return tensor


class Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """gRPC's reflection, for those who may call the services it describes."""

    def __init__(self, authenticator: Authenticator, names: Sequence[str]) -> None:
        super().__init__(names)
        self._authenticator = authenticator

    async def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        """Describe the services."""
        try:
            self._authenticator.caller(context)
        except GradmeshError as error:
            await abort(context, error)
        async for reply in super().ServerReflectionInfo(request_iterator, context):
            yield reply


class _Receiver:
    """The bytes of one upload as they come in."""

    def __init__(self, spec: TensorSpec, digest: bytes, keep: bool) -> None:
        self._spec = spec
        self._digest = digest
        self._announced = 0
        self._stored = 0
        self._buffer: np.ndarray | None = np.empty(spec.nbytes, np.uint8)
        self._hasher = hashlib.blake2b(encode_spec(spec), digest_size=DIGEST_BYTES) if keep else None

    def expect(self, count: int) -> None:
        """Raises LengthError when `count` more bytes would be too many."""
        self._announced += count
        if self._announced > self._spec.nbytes:
            raise LengthError(
                "an upload is longer than announced",
                expected=f"{self._spec.nbytes} bytes",
                got=f"at least {self._announced} bytes",
                remedy="announce the number of bytes that are sent",
            )

    def store(self, chunk: bytes) -> None:
        """Take the next bytes. Called on another thread, one call at a time."""
        assert self._buffer is not None
        stop = self._stored + len(chunk)
        self._buffer[self._stored : stop] = np.frombuffer(chunk, np.uint8)
        if self._hasher is not None:
            self._hasher.update(chunk)
        self._stored = stop

    def finish(self) -> np.ndarray:
        """The verified tensor. Raises TruncatedUploadError, DigestMismatchError, InvalidRequestError."""
        if self._stored < self._spec.nbytes:
            raise TruncatedUploadError(
                "an upload ended before its announced length",
                expected=f"{self._spec.nbytes} bytes",
                got=f"{self._stored} bytes",
                remedy="send the whole tensor",
            )
        if self._digest and self.digest() != self._digest:
            raise DigestMismatchError(
                "an upload's content does not hash to its digest",
                expected=self._digest.hex(),
                got=self.digest().hex(),
                remedy="make the digest over dtype, shape and little-endian C-order bytes",
            )
        assert self._buffer is not None
        return _codec.array_over(self._buffer, self._spec)

    def digest(self) -> bytes:
        """The digest of the whole tensor."""
        assert self._hasher is not None
        return self._hasher.digest()

    def release(self) -> None:
        """Let go of the buffer."""
        self._buffer = None


def _run_bytes(pieces: Pieces) -> float:
    runs = len(pieces.parts) * int(np.prod(pieces.spec.shape[: pieces.dim], dtype=np.int64))
    return pieces.spec.nbytes / max(1, runs)


def _chunks(tensor: Tensor) -> Iterator[bytes]:
    """The content of a tensor in order, about 1 MiB at a time."""
    for run in tensor.runs() if isinstance(tensor, Pieces) else (tensor,):
        if run.nbytes:
            content = _codec.bytes_of(run)
            for start in range(0, len(content), MIB):
                yield bytes(content[start : start + MIB])
