"""What cases are tried on: the servicers in this process, and what must hold after every one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from gradmesh import _codec
from gradmesh._status import encode_error
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import tensor_pb2
from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.ops.base import UNFORESEEN
from gradmesh_server import service
from gradmesh_server.admission import Admission
from gradmesh_server.auth import Authenticator
from gradmesh_server.blobs import BlobStore
from gradmesh_server.config import MIB, Config
from gradmesh_server.coordinator import Coordinator
from tests.fuzz.case import Call, Case, handle_of_earlier
from tests.service.graphs import chain_request

TIGHT: Final = Config(
    port=0,
    workers=0,
    max_message_bytes=4 * MIB,
    max_graph_nodes=300,
    max_graph_bytes=MIB,
    max_attribute_bytes=16 << 10,
    max_tensors=500,
    max_planning_steps=30_000,
    max_rank=40,
    max_elements=1 << 20,
    max_request_bytes=16 * MIB,
    max_tensor_bytes=MIB,
    max_stored_bytes=8 * MIB,
    max_flops=1e8,
    max_seconds=10,
    default_timeout_seconds=10,
    graphs=64,
    programs=64,
    cached_nodes=20_000,
    inline_result_bytes=64 << 10,
    handle_ttl_seconds=60,
    upload_idle_seconds=5,
)
"""Limits that a request soon passes, and that keep those that do not quick."""

LIMIT = [TIGHT.max_seconds]
MALFORMED: Final = "not a message"
SLOW_SECONDS: Final = 3.0
"""What a case within the limits may take of the processors: how busy they are otherwise tells nothing about it."""

# Found when the request runs: graph and plan were sound, and are kept.
_WHILE_RUNNING: Final = frozenset({"OUT_OF_RANGE", "DEADLINE_EXCEEDED"})
_DEFECTS: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED"})


class Fault(Exception):
    """Something that must never happen did."""


class _Ended(Exception):
    """The call was ended with a status."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class _Context:
    """What a servicer sees of a call."""

    def __init__(self, parts: Sequence[Any] = ()) -> None:
        self._parts = iter(parts)

    def time_remaining(self) -> float:
        return LIMIT[0]

    async def read(self) -> Any:
        return next(self._parts, grpc.aio.EOF)

    async def abort(self, code: grpc.StatusCode, message: str = "", metadata: Sequence[Any] = ()) -> None:
        size = sum(len(key) + len(value) for key, value in metadata)
        if size > 7000:
            raise Fault(f"{size} bytes of trailing metadata do not fit the 8 KiB gRPC allows")
        raise _Ended(code.name, message)


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fresh arrays have another content each time: a kernel that returns what it did not write gives other bits."""
    empty, count = np.empty, 0

    def poisoned(*args: Any, **options: Any) -> np.ndarray:
        nonlocal count
        array = empty(*args, **options)
        if 0 < array.nbytes <= MIB and array.dtype != object and array.flags.forc:
            count += 1
            array.reshape(-1, order="A").view(np.uint8).fill(count % 251)
        return array

    np.empty = poisoned  # type: ignore[assignment]
    try:
        yield
    finally:
        np.empty = empty


class Target:
    """A coordinator without a network around it."""

    def __init__(self, config: Config = TIGHT) -> None:
        self.config = config
        self._loop = asyncio.new_event_loop()
        self._blobs = BlobStore(
            max_bytes=config.max_stored_bytes,
            max_uploads=config.max_uploads,
            ttl_seconds=config.handle_ttl_seconds,
            clock=time.monotonic,
            on_drop=lambda name: None,
        )
        self._admission = Admission(config.max_running, config.max_waiting)
        self._coordinator = Coordinator(config, None, self._blobs)
        who = Authenticator(config)
        self._gradients = service.GradientServicer(config, self._coordinator, self._blobs, self._admission, None, who)
        self._tensors = service.BlobServicer(config, self._blobs, self._admission, None, who)
        self.outcomes: Counter[str] = Counter()
        self._known: list[bytes] = []  # handles the case at hand was answered with
        self._right = self._reference()

    def close(self) -> None:
        self._tensors.close()
        self._loop.run_until_complete(self._coordinator.close())
        self._loop.close()

    # --- one case ---------------------------------------------------------------------------------

    def run(self, case: Case) -> tuple[str, ...]:
        """The statuses the calls of a case ended with, "OK" for replies. Raises Fault."""
        self._known = []
        begin = time.process_time()
        try:
            statuses = tuple([self._loop.run_until_complete(self._once(c)) for c in case])
        finally:
            for handle in self._known:
                self._blobs.drop(handle)
        seconds = time.process_time() - begin
        self._left_behind()
        if seconds > SLOW_SECONDS:
            raise Fault(f"took {seconds:.1f} s of processor time")
        self.outcomes.update(statuses)
        return statuses

    async def _once(self, c: Call) -> str:
        try:
            messages = c.decoded()
        except DecodeError:
            return MALFORMED
        before = self._coordinator.graphs, self._coordinator.programs
        try:
            await getattr(self, f"_{c.method.lower()}")(messages)
        except _Ended as end:
            if UNFORESEEN in end.message:
                self.outcomes[f"unforeseen: {end.message.partition(' ')[0]}"] += 1
            if end.status in _DEFECTS:
                raise Fault(str(end)) from None
            after = self._coordinator.graphs, self._coordinator.programs
            grew = any(a > b for a, b in zip(after, before, strict=True))
            if grew and end.status not in _WHILE_RUNNING and not await self._sound(messages[0]):
                raise Fault(f"{before} graphs and programs became {after} by a request that was refused") from None
            return end.status
        return "OK"

    async def _compute(self, messages: Sequence[Any]) -> None:
        (request,) = messages
        for tensor in _tensors_of(request):
            self._real(tensor)
        used = any(tensor.WhichOneof("content") == "handle" for tensor in _tensors_of(request))
        reply = await self._gradients.Compute(request, _Context())  # type: ignore[arg-type]
        results = await self._results(reply)
        graph = _codec.decode_graph(request.graph) if request.HasField("graph") else None
        if graph is not None:
            specs = [*(graph.specs[v] for v in graph.outputs), *(graph.specs[v] for v in request.wrt)]
            for (spec, _), declared in zip(filter(None, results), _connected(specs, results), strict=True):
                if spec != declared:
                    raise Fault(f"a result of {spec} where the graph declares {declared}")
        if used:
            return
        # By the digest, so that it takes another way: the program is there already.
        request.graph_digest = reply.graph_digest
        try:
            again = await self._gradients.Compute(request, _Context())  # type: ignore[arg-type]
        except _Ended as end:
            if end.status == "RESOURCE_EXHAUSTED" and self._known:
                return  # The first ones' results are still there.
            raise
        if await self._results(again) != results:
            raise Fault("the same request again gave other bits")
        content, context = request.SerializeToString(), _Context()
        self._gradients.learn(content, request, again, context)  # type: ignore[arg-type]
        written = self._gradients.recall(content, context)  # type: ignore[arg-type]
        if written is not None and await self._results(pb.ComputeResponse.FromString(written.content)) != results:
            raise Fault("the same request known by its bytes gave other bits")

    async def _sound(self, request: pb.ComputeRequest) -> bool:
        """Whether graph and plan are well, and so worth keeping: then it was the tensors' values that were not."""
        asked = pb.ExplainRequest(graph=request.graph, of=request.of, wrt=request.wrt)
        try:
            await self._gradients.Explain(asked, _Context())  # type: ignore[arg-type]
        except _Ended:
            return False
        return True

    async def _results(self, reply: pb.ComputeResponse) -> list[tuple[Any, bytes] | None]:
        tensors = [*reply.outputs, *(g.tensor if g.HasField("tensor") else None for g in reply.gradients)]
        results: list[tuple[Any, bytes] | None] = []
        for tensor in tensors:
            if tensor is None:
                results.append(None)
                continue
            spec = _codec.spec_of(tensor.dtype, tuple(tensor.shape))
            data = tensor.data
            if tensor.WhichOneof("content") == "handle":
                self._known.append(tensor.handle)
                found = self._blobs.peek(tensor.handle)
                assert isinstance(found, np.ndarray)
                data = found.tobytes()
            if len(data) != spec.nbytes:
                raise Fault(f"a result of {spec} has {len(data)} bytes")
            results.append((spec, data))
        return results

    async def _explain(self, messages: Sequence[Any]) -> None:
        (request,) = messages
        await self._gradients.Explain(request, _Context())  # type: ignore[arg-type]

    async def _findmissing(self, messages: Sequence[Any]) -> None:
        (request,) = messages
        await self._tensors.FindMissing(request, _Context())  # type: ignore[arg-type]

    async def _upload(self, messages: Sequence[Any]) -> None:
        reply = await self._tensors.Upload(None, _Context(messages))  # type: ignore[arg-type]
        if reply.handle:
            self._known.append(reply.handle)

    async def _download(self, messages: Sequence[Any]) -> None:
        (request,) = messages
        self._real(request)
        announced = received = 0
        async for part in self._tensors.Download(request, _Context()):  # type: ignore[arg-type]
            announced += part.header.length
            received += len(part.chunk)
        if announced != received:
            raise Fault(f"a download announced {announced} bytes and had {received}")

    def _real(self, message: tensor_pb2.Tensor | blob_pb.DownloadRequest) -> None:
        """Put the handle of an earlier reply where a stand-in is."""
        for index, handle in enumerate(self._known):
            if message.handle == handle_of_earlier(index):
                message.handle = handle

    # --- what holds between cases -----------------------------------------------------------------

    def _left_behind(self) -> None:
        admission, blobs = self._admission, self._blobs
        counts = {
            "running": admission.running,
            "waiting": admission.waiting,
            "waiting bytes": admission.waiting_bytes,
            "uploads": blobs.uploads,
            "results": blobs.results,
            "one-use tensors": len(blobs._held),
            "bytes nobody has": blobs.used_bytes
            - sum(a.nbytes for s in blobs._shares.values() for a in s.blobs.values()),
        }
        left = {what: count for what, count in counts.items() if count}
        if left:
            raise Fault(f"left behind: {left}")

    def still_right(self) -> None:
        """Raises Fault unless a request known before gives what it gave."""
        if self._reference() != self._right:
            raise Fault("a request of before gives something else now")

    def _reference(self) -> list[Any]:
        request = chain_request(3, 2)
        message = pb.ComputeRequest(
            graph=_codec.encode_graph(request.graph),
            inputs=[_codec.encode_array(array) for array in request.inputs],
            of=[pb.Objective(value=6)],
            wrt=[0, 1],
        )
        x, y = (array.astype(np.float64) for array in request.inputs)

        async def ask() -> list[Any]:
            return await self._results(await self._gradients.Compute(message, _Context()))  # type: ignore[arg-type]

        results = self._loop.run_until_complete(ask())
        tanh = np.tanh(x * y)
        expected = [
            (tanh * np.exp(x)).sum(),
            tanh,
            np.exp(x) * ((1 - tanh**2) * y + tanh),
            np.exp(x) * (1 - tanh**2) * x,
        ]
        for (spec, data), right in zip(results, expected, strict=True):
            np.testing.assert_allclose(np.frombuffer(data, spec.dtype).reshape(spec.shape), right, rtol=1e-5)
        return results


def _tensors_of(request: pb.ComputeRequest) -> list[tensor_pb2.Tensor]:
    return [*request.inputs, *(of.cotangent for of in request.of if of.HasField("cotangent"))]


def _connected(specs: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    return [spec for spec, result in zip(specs, results, strict=True) if result is not None]


def status_of(error: GradmeshError) -> str:
    return encode_error(error)[0].name
