"""Graphs of every kind of kernel, as requests, whose bits nothing around them may change.

Run as a module, with a number of BLAS threads and of cores, it prints a digest of the bits of each.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import threadpoolctl

import gradmesh as gm
from gradmesh._session import enter_session, leave_session
from gradmesh.nn import functional as F
from gradmesh_engine.local import LocalSession
from gradmesh_engine.session import Request, Result, Session

Inputs = tuple[tuple[tuple[int, ...], str], ...]


def _sums(x: Any) -> Any:
    return gm.cat([x.sum(0), x.mean(1), x.var(0), x.logsumexp(1), x.amax(0), x.cumsum(1)[:, -1]]), x.sum()


def _pointwise(x: Any, y: Any) -> Any:
    return x.tanh() * y.exp() + (x * y).sin() * x.erf() + (x.abs() + 0.1) ** 1.7 + gm.lgamma(y.abs() + 0.3)


def _matrices(a: Any, b: Any) -> Any:
    spd = a @ a.mT + a.shape[-1] * gm.eye(a.shape[-1], dtype=a.dtype)
    linalg = gm.linalg
    return (
        linalg.solve(a, b),
        linalg.cholesky(spd),
        gm.cholesky_solve(b, spd),
        linalg.inv(spd),
        linalg.lu_factor(a)[0],
        linalg.qr(a)[0],
        linalg.solve_triangular(a, b, upper=True),
        linalg.matrix_exp(a * 0.1),
    )


def _spectra(a: Any) -> Any:
    spd = a @ a.mT
    return gm.linalg.svdvals(a), gm.linalg.eigvalsh(spd), gm.linalg.pinv(a), gm.linalg.slogdet(spd)[1]


def _attention(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _convolutions(x: Any, w: Any, b: Any) -> Any:
    y = F.relu(F.conv2d(x, w, b, padding=1))
    return F.max_pool2d(y, 2), F.conv_transpose2d(y, w, stride=2)


def _network(x: Any, w: Any, b: Any, u: Any) -> Any:
    h = F.gelu(F.layer_norm(F.linear(x, w, b), b.shape))
    h = (h - h.mean(0)) / (h.var(0) + 1e-3).sqrt()
    return F.log_softmax(h @ u, dim=1)


def _picks(x: Any) -> Any:
    index = gm.arange(0, x.shape[0], 3)
    return x.sort(1)[0], x.index_select(0, index).cumprod(1), x.roll(3, 0).flip(1).unfold(1, 5, 2).sum(-1)


def _fourier(x: Any) -> Any:
    return gm.fft.rfft(x, dim=1).abs(), F.normalize(x, dim=0)


def _complex(a: Any, b: Any) -> Any:
    return a @ b, (a * a.conj()).real.sum(1), gm.linalg.solve(a @ a.mH + 9 * gm.eye(a.shape[0], dtype=a.dtype), a)


@dataclass(frozen=True)
class Row:
    """A function of tensors, and their shapes and dtypes.

    Attributes:
        make: the function.
        inputs: the shapes and dtypes.
        scale: of the inputs' values.
        blocks: it is cut into blocks, and may use threads.
        gradients: they are asked for as well.
    """

    make: Callable[..., Any]
    inputs: Inputs
    scale: float = 1.0
    blocks: bool = False
    gradients: bool = True


ROWS: dict[str, Row] = {
    "product": Row(lambda a, b: a @ b, (((150, 170), "float32"), ((170, 190), "float32"))),
    "product64": Row(lambda a, b: a @ b, (((70, 90), "float64"), ((90, 50), "float64"))),
    "gram": Row(lambda a, b: a @ b.mT, (((33, 300), "float32"), ((33, 300), "float32"))),
    "gram64": Row(lambda a, b: a.mT @ b, (((2, 300, 40), "float64"), ((2, 300, 40), "float64"))),
    "vectors": Row(lambda a, b: ((a @ b) * 2, a.mT @ (a @ b)), (((160, 400), "float32"), ((400,), "float32"))),
    "half": Row(lambda a, b: a @ b, (((64, 96), "float16"), ((96, 64), "float16"))),
    "complex": Row(_complex, (((40, 40), "complex128"), ((40, 40), "complex128"))),
    "complex64": Row(_complex, (((60, 60), "complex64"), ((60, 60), "complex64"))),
    "sums": Row(_sums, (((120, 130), "float32"),)),
    "sums64": Row(_sums, (((300, 257), "float64"),)),
    "sums16": Row(_sums, (((90, 70), "float16"),)),
    "pointwise": Row(_pointwise, (((77, 31), "float64"), ((77, 31), "float64"))),
    "denormals": Row(lambda x, y: (x * 0.5 + y, x.sum(), x / 3), (((500,), "float64"), ((500,), "float64")), 1e-308),
    "denormals32": Row(lambda x, y: (x * 0.5 + y, x.sum(), x / 3), (((500,), "float32"), ((500,), "float32")), 1e-38),
    "matrices": Row(_matrices, (((60, 60), "float64"), ((60, 60), "float64"))),
    "matrices32": Row(_matrices, (((3, 40, 40), "float32"), ((3, 40, 40), "float32"))),
    "one inverse": Row(lambda a: gm.linalg.inv(a), (((40, 40), "float32"),), gradients=False),
    "one solution": Row(
        lambda a, b: gm.linalg.solve_triangular(a, b, upper=True),
        (((60, 60), "float64"), ((60, 60), "float64")),
        gradients=False,
    ),
    "one exponential": Row(lambda a: gm.linalg.matrix_exp(a), (((20, 20), "float64"),), gradients=False),
    "one convolution": Row(F.conv2d, (((1, 1, 64, 64), "float32"), ((1, 1, 32, 32), "float32")), gradients=False),
    "one sum": Row(lambda x: x.sum(0), (((150, 100), "float32"),), gradients=False),
    "spectra": Row(_spectra, (((80, 80), "float64"),)),
    "attention": Row(_attention, (((2, 3, 64, 32), "float32"),) * 3),
    "convolutions": Row(_convolutions, (((3, 16, 20, 20), "float32"), ((16, 16, 3, 3), "float32"), ((16,), "float32"))),
    "network": Row(
        _network,
        (((40_000, 24), "float32"), ((32, 24), "float32"), ((32,), "float32"), ((32, 10), "float32")),
        blocks=True,
    ),
    "long": Row(_pointwise, (((400_000,), "float32"), ((400_000,), "float32")), blocks=True),
    "picks": Row(_picks, (((60, 40), "float32"),)),
    "fourier": Row(_fourier, (((50, 96), "float32"),)),
}


@dataclass
class _Recorder:
    """Runs requests in process and keeps them. Final."""

    inner: LocalSession = field(default_factory=LocalSession)
    requests: list[Request] = field(default_factory=list)

    def run(self, request: Request) -> Result:
        self.requests.append(request)
        return self.inner.run(request)

    def explain(self, request: Request) -> str:
        return self.inner.explain(request)

    def close(self) -> None:
        self.inner.close()


@lru_cache(maxsize=len(ROWS))
def request_of(name: str) -> Request:
    """The row's values, and the gradients of the sum of their squares, as the client asks for them."""
    row, rng = ROWS[name], np.random.default_rng(7)
    tensors = []
    for shape, dtype in row.inputs:
        array = rng.normal(size=shape)
        if np.dtype(dtype).kind == "c":
            array = array + 1j * rng.normal(size=shape)
        tensors.append(gm.from_numpy((array * row.scale).astype(dtype)).requires_grad_(row.gradients))
    recorder = _Recorder()
    enter_session(recorder)
    try:
        results = row.make(*tensors)
        results = results if isinstance(results, tuple) else (results,)
        if row.gradients:
            total: Any = sum((r.abs() ** 2).sum() if row.scale == 1 else r.sum() for r in results)
            total.backward()
        else:
            results[0].numpy()
    finally:
        leave_session(recorder)
    (request,) = recorder.requests
    return request


def bits(session: Session, request: Request) -> list[bytes]:
    """The bytes of all that a request gives."""
    result = session.run(request)
    return [a.tobytes() for a in (*result.outputs, *result.gradients) if a is not None]


@contextmanager
def in_process(threads: int | None = None) -> Iterator[Session]:
    """A session of its own, with nothing planned yet."""
    session = LocalSession(threads=threads)
    yield session
    session.close()


def digests() -> dict[str, str]:
    """A digest of the bits of each row."""
    with in_process() as session:
        return {name: hashlib.blake2b(b"".join(bits(session, request_of(name)))).hexdigest() for name in ROWS}


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Every BLAS set to so many threads, and found so at the end."""
    import scipy.linalg  # noqa: F401  (brings a BLAS of its own)

    # Not the engine's own list: it might lack one.
    loaded = [c for c in threadpoolctl.ThreadpoolController().lib_controllers if c.user_api == "blas"]
    before = [library.get_num_threads() for library in loaded]

    def set_counts(counts: list[int]) -> None:
        for library, threads in zip(loaded, counts, strict=True):
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)
            library.set_num_threads(threads)

    set_counts([count] * len(loaded))
    try:
        yield
        assert {library.get_num_threads() for library in loaded} <= {count}
    finally:
        set_counts(before)


def main(threads: int, cores: int) -> None:
    """Print the digests found with so many BLAS threads, on so many of the cores (0: all)."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with blas_threads(threads):
        found = digests()
    sys.stdout.write("\n".join(f"{name} {digest}" for name, digest in found.items()) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
