"""The same losses and gradients through the public API: in process, and served with one, two and three workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import gradmesh as gm
import gradmesh.nn.functional as F
from gradmesh_worker.cluster import numpy_kernels
from tests.cluster.test_lifecycle import FOLDERS

pytestmark = pytest.mark.cluster


def values(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(0.3 * rng.normal(size=shape)).astype(np.float32) for shape in shapes]


def parameters(*arrays: np.ndarray) -> list[gm.Tensor]:
    return [gm.tensor(array, requires_grad=True) for array in arrays]


def pointwise() -> tuple[gm.Tensor, list[gm.Tensor]]:
    x, a = parameters(*values((1_500_000,), (1_500_000,)))
    return (gm.tanh(x * a) * gm.exp(-x * x) + gm.sigmoid(a)).mean(), [x, a]


def logistic() -> tuple[gm.Tensor, list[gm.Tensor]]:
    x, w, b = values((200_000, 48), (48,), (1,))
    y = (x @ w > 0).astype(np.float32)
    weight, bias = parameters(w, b)
    loss = F.binary_cross_entropy_with_logits(gm.tensor(x) @ weight + bias, gm.tensor(y))
    return loss, [weight, bias]


def mlp() -> tuple[gm.Tensor, list[gm.Tensor]]:
    x, w1, b1, w2, b2 = values((12_000, 96), (64, 96), (64,), (10, 64), (10,))
    y = np.random.default_rng(1).integers(0, 10, 12_000)
    held = parameters(w1, b1, w2, b2)
    hidden = F.relu(F.linear(gm.tensor(x), held[0], held[1]))
    return F.cross_entropy(F.linear(hidden, held[2], held[3]), gm.tensor(y)), held


def batch_norm() -> tuple[gm.Tensor, list[gm.Tensor]]:
    x, w, scale, shift, out = values((60_000, 24), (32, 24), (32,), (32,), (8, 32))
    held = parameters(w, scale, shift, out)
    normal = F.batch_norm(F.linear(gm.tensor(x), held[0]), None, None, held[1], held[2], training=True)
    return F.linear(gm.tanh(normal), held[3]).square().mean(), held


def convolution() -> tuple[gm.Tensor, list[gm.Tensor]]:
    x, k1, k2, w = values((384, 1, 16, 16), (6, 1, 3, 3), (8, 6, 3, 3), (10, 128))
    y = np.random.default_rng(2).integers(0, 10, 384)
    held = parameters(k1, k2, w)
    hidden = F.max_pool2d(F.relu(F.conv2d(gm.tensor(x), held[0], padding=1)), 2)
    hidden = F.max_pool2d(F.relu(F.conv2d(hidden, held[1], padding=1)), 2)
    return F.cross_entropy(F.linear(hidden.flatten(1), held[2]), gm.tensor(y)), held


WORKLOADS: tuple[Callable[[], tuple[gm.Tensor, list[gm.Tensor]]], ...] = (
    pointwise,
    logistic,
    mlp,
    batch_norm,
    convolution,
)


def bits() -> dict[str, list[bytes]]:
    """Loss and gradients of every workload, in the default session."""
    found = {}
    for workload in WORKLOADS:
        loss, held = workload()
        loss.backward()
        gradients = [p.grad for p in held]
        assert all(g is not None and g.abs().max().item() > 0 for g in gradients)
        found[workload.__name__] = [t.detach().numpy().tobytes() for t in (loss, *gradients) if t is not None]
    return found


@contextmanager
def serving(workers: int) -> Iterator[str]:
    """A coordinator of the command line, with the BLAS kernels of this process."""
    command = [sys.executable, "-m", "gradmesh_server.cli", "serve", "--port", "0", "--inline", "never"]
    with subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": FOLDERS, "OPENBLAS_CORETYPE": numpy_kernels()},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("gradmesh serving on "), line
            yield line.split()[3]
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def in_process() -> dict[str, list[bytes]]:
    return bits()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_losses_and_gradients_do_not_depend_on_the_workers(workers: int, in_process: dict[str, list[bytes]]) -> None:
    with serving(workers) as address, gm.connect(address, timeout=120, progress=False):
        served = bits()
    for name, expected in in_process.items():
        assert served[name] == expected, name
