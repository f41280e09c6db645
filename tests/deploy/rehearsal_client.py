"""Run in the client's pod: asks for health, is refused without its token, then computes until told to stop.

Prints a line for each thing seen, so that the rehearsal can follow.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

import gradmesh as gm
from gradmesh_engine.errors import UnauthenticatedError

ROWS = 200_000


def healthy(address: str, service: str) -> bool:
    """What the kubelet's probe would find."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=20).status
    return bool(status == health_pb2.HealthCheckResponse.SERVING)


def gradients() -> str:
    """Digest of the loss and the gradients of a regression that is big enough for the workers."""
    numbers = np.random.default_rng(7)
    x = gm.tensor(numbers.standard_normal((ROWS, 32)).astype(np.float32))
    y = gm.tensor(numbers.standard_normal((ROWS, 1)).astype(np.float32))
    w = gm.zeros(32, 1, requires_grad=True)
    b = gm.zeros(1, requires_grad=True)
    loss = ((gm.tanh(x @ w + b) - y) ** 2).mean()
    loss.backward()
    assert w.grad is not None and b.grad is not None
    content = b"".join(value.numpy().tobytes() for value in (loss.detach(), w.grad, b.grad))
    return hashlib.blake2b(content).hexdigest()


def main(address: str, probed: str, stop: str, *services: str) -> None:
    """Compute at `address` until a file `stop` is there."""
    print("healthy" if all(healthy(probed, service) for service in services) else "ill", flush=True)
    try:
        with gm.connect(address, token="gm.client.wrong", timeout=20) as session:
            session.info()
    except UnauthenticatedError:
        print("refused", flush=True)
    expected = gradients()
    with gm.connect(address, timeout=110) as session:
        while not Path(stop).exists():
            began = time.monotonic()
            same = gradients() == expected
            print("right" if same else "wrong", f"{time.monotonic() - began:.2f}", flush=True)
        alive = sum(worker.alive for worker in session.info().workers)
        done = sum(worker.completed for worker in session.info().workers)
        print(f"alive {alive} done {done}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
