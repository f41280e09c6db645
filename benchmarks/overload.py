"""Ten times the load a server bears: what those it lets in wait, what the rest are told, what it costs in memory.

Either from ten times as many clients as it can run at once, which come again when they are told to ("clients"),
or at ten times the rate, whatever they are told ("rate"). Run by `bench.py`, in a process of its own, as
`overload.py ADDRESS PID clients|rate`; prints JSON. All times are the caller's.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import numpy as np
import psutil
from gradmesh import _codec
from gradmesh._blobs import upload_parts
from gradmesh._status import PUSHBACK_KEY
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import graph_pb2
from gradmesh_engine.graph import TensorSpec, digest_of_array

ROWS, COLUMNS = 3_000_000, 16
SECONDS = 4.0
# A burst may wait, and is let through first; what is measured is load that stays.
SETTLE_SECONDS = 10.0
TIMES = 10

Compute: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"


@dataclass
class Seen:
    """How long the calls of one phase took, in seconds.

    Attributes:
        admitted: those with an answer.
        refused: those that were told to come again.
        cut: those that gRPC ended by itself, with CANCELLED, because too many had not even been looked at.
        unexpected: how many ended with any other status.
    """

    admitted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)
    unexpected: dict[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, object]:
        """Rates per second and medians in seconds."""
        return {
            "admitted_rate": len(self.admitted) / SECONDS,
            "admitted_p50_s": statistics.median(self.admitted),
            "refused_rate": len(self.refused) / SECONDS,
            "refused_p50_s": statistics.median(self.refused) if self.refused else None,
            "cut_rate": len(self.cut) / SECONDS,
            "cut_p50_s": statistics.median(self.cut) if self.cut else None,
            "unexpected": self.unexpected,
        }


def prepare(address: str) -> bytes:
    """A request of about 20 ms whose data the server has: d/dw of mean(tanh(X w)²)."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    weights = rng.standard_normal(COLUMNS, dtype=np.float32)
    digest = digest_of_array(data)
    with grpc.insecure_channel(address) as channel:
        blob_grpc.BlobServiceStub(channel).Upload(upload_parts(data, digest, lambda count: None))
    specs = [_codec.encode_spec(TensorSpec(array.shape, array.dtype)) for array in (data, weights)]
    request = pb.ComputeRequest(
        graph=graph_pb2.Graph(
            inputs=specs,
            nodes=[
                graph_pb2.Node(op="matmul", inputs=[0, 1]),
                graph_pb2.Node(op="tanh", inputs=[2]),
                graph_pb2.Node(op="mul", inputs=[3, 3]),
                graph_pb2.Node(op="mean", inputs=[4]),
            ],
        ),
        of=[pb.Objective(value=5)],
        wrt=[1],
    )
    request.inputs.add(digest=digest)
    request.inputs.append(_codec.encode_array(weights))
    return request.SerializeToString()


async def call(compute: Compute, message: bytes, seen: Seen) -> float:
    """One call, counted by how it ended; returns in how many seconds to come again."""
    begin = time.perf_counter()
    try:
        await compute(message, timeout=60)
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED):
            (seen.cut if error.code() is grpc.StatusCode.CANCELLED else seen.refused).append(
                time.perf_counter() - begin
            )
            told = dict(error.trailing_metadata() or ()).get(PUSHBACK_KEY, "100")
            return int(told) / 1000 * random.uniform(1.0, 1.5)
        else:
            seen.unexpected[error.code().name] = seen.unexpected.get(error.code().name, 0) + 1
    else:
        seen.admitted.append(time.perf_counter() - begin)
    return 0.0


async def crowd(compute: Compute, message: bytes, clients: int, settle_seconds: float) -> Seen:
    """So many clients that call one time after another; what they see once they have settled."""
    seen, before = Seen(), Seen()
    settled = time.perf_counter() + settle_seconds

    async def client() -> None:
        while (now := time.perf_counter()) < settled + SECONDS:
            await asyncio.sleep(await call(compute, message, before if now < settled else seen))

    await asyncio.gather(*[client() for _ in range(clients)])
    return seen


async def flood(compute: Compute, message: bytes, rate: float) -> Seen:
    """So many calls a second; what those see that come after things have settled."""
    seen, before = Seen(), Seen()
    tasks: set[asyncio.Task[float]] = set()
    begin = time.perf_counter()
    sent = 0
    while (now := time.perf_counter() - begin) < SETTLE_SECONDS + SECONDS:
        for _ in range(sent, int(now * rate)):
            task = asyncio.create_task(call(compute, message, before if now < SETTLE_SECONDS else seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    return seen


async def measure(address: str, pid: int, way: str) -> dict[str, object]:
    """As many clients as run at once, one call after another; then ten times the load."""
    message = prepare(address)
    async with grpc.aio.insecure_channel(address) as channel:
        compute: Compute = channel.unary_unary("/gradmesh.v1.GradientService/Compute")
        ask: Compute = channel.unary_unary("/gradmesh.v1.GradientService/GetServerInfo")
        running = pb.GetServerInfoResponse.FromString(await ask(b"")).limits.max_running
        await call(compute, message, Seen())
        borne = await crowd(compute, message, running, 0.0)
        memory = psutil.Process(pid).memory_info().rss
        if way == "clients":
            seen = await crowd(compute, message, TIMES * running, SETTLE_SECONDS)
        else:
            seen = await flood(compute, message, TIMES * len(borne.admitted) / SECONDS)
        grown = psutil.Process(pid).memory_info().rss - memory
    return {"borne": borne.summary(), "overload": seen.summary(), "grown_bytes": grown}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
