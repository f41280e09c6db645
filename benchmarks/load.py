"""Many concurrent calls of one message, and how many of them are answered in a second."""

from __future__ import annotations

import asyncio
import time

import grpc
import numpy as np
from gradmesh import _codec
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import graph_pb2

CONCURRENT = 16


def tutorial_request() -> bytes:
    """The message of the tutorial's gradient: mean(3 (x + 2)²) of a 2 x 2 of ones."""
    arrays = [np.ones((2, 2), np.float32), np.float32(2), np.float32(3)]
    inputs = [_codec.encode_array(np.asarray(array)) for array in arrays]
    names = [("add", [0, 1]), ("mul", [3, 3]), ("mul", [4, 2]), ("mean", [5])]
    graph = graph_pb2.Graph(nodes=[graph_pb2.Node(op=op, inputs=operands) for op, operands in names])
    for tensor in inputs:
        graph.inputs.add(dtype=tensor.dtype, shape=tensor.shape)
    request = pb.ComputeRequest(graph=graph, inputs=inputs, of=[pb.Objective(value=6)], wrt=[0])
    return request.SerializeToString()


def calls_per_second(address: str, path: str, message: bytes, seconds: float) -> float:
    """Answers a second to CONCURRENT calls at a time."""
    return asyncio.run(_count(address, path, message, seconds)) / seconds


async def _count(address: str, path: str, message: bytes, seconds: float) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        await asyncio.gather(*[call(message) for _ in range(CONCURRENT)])
        end = time.perf_counter() + seconds
        answered = 0

        async def client() -> None:
            nonlocal answered
            while time.perf_counter() < end:
                await call(message)
                answered += 1

        await asyncio.gather(*[client() for _ in range(CONCURRENT)])
    return answered
