"""Workloads that differ in what they ask of a cluster: partials, stored pieces, stages, windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gradmesh_engine.backend import Operand, Outcome, Pieces
from gradmesh_engine.graph import TensorSpec, digest_of_array
from gradmesh_engine.program import Program, compile_query
from gradmesh_engine.session import Query
from tests.engine.graphs import Maker

Built = tuple[Maker, tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The graph's maker, its outputs, what is differentiated and by what."""


def pointwise(rows: int = 1_500_000) -> Built:
    """A chain of pointwise ops; its gradients are as large as its inputs."""
    m = Maker()
    x, a = m.input((rows,), "float32"), m.input((rows,), "float32")
    value = m("add", m("mul", m("tanh", m("mul", x, a)), m("exp", m("neg", m("mul", x, x)))), m("sigmoid", a))
    loss = m("mean", value)
    return m, (loss, value), (loss,), (x, a)


def logistic(rows: int = 250_000, columns: int = 48) -> Built:
    """Logistic regression: small partials, no stored pieces."""
    m = Maker()
    x, w, y = m.input((rows, columns), "float32"), m.input((columns,), "float32"), m.input((rows,), "float32")
    z = m("contract", x, w, spec="ij,j->i")
    loss = m("mean", m("sub", m("log1pexp", z), m("mul", z, y)))
    return m, (loss,), (loss,), (w,)


def mlp(rows: int = 12_000) -> Built:
    """Three layers and a log-sum-exp; partials of several sizes."""
    m = Maker()
    x = m.input((rows, 96), "float32")
    w1, b1 = m.input((64, 96), "float32"), m.input((64,), "float32")
    w2, b2 = m.input((48, 64), "float32"), m.input((48,), "float32")
    w3 = m.input((10, 48), "float32")
    hidden = m("tanh", m("linear", x, w1, b1))
    hidden = m("sigmoid", m("linear", hidden, w2, b2))
    scores = m("linear", hidden, w3)
    loss = m("mean", m("logsumexp", scores, dim=(1,)))
    return m, (loss, scores), (loss,), (x, w1, b1, w2, b2, w3)


def batch_norm(rows: int = 60_000, columns: int = 24) -> Built:
    """Means over the batch in mid-graph: several stages, pieces stored between them."""
    m = Maker()
    x, w, y = m.input((rows, columns), "float32"), m.input((16, columns), "float32"), m.input((rows, 16), "float32")
    centred = m("sub", x, m("mean", x, dim=(0,), keepdim=True))
    variance = m("mean", m("mul", centred, centred), dim=(0,), keepdim=True)
    small = m("full", value=1e-5, shape=(), dtype="float32")
    normal = m("mul", centred, m("rsqrt", m("add", variance, small)))
    error = m("sub", m("tanh", m("linear", normal, w)), y)
    loss = m("mean", m("mul", error, error))
    return m, (loss,), (loss,), (x, w)


def convolution(images: int = 512) -> Built:
    """Two convolutions over a batch of images."""
    m = Maker()
    x = m.input((images, 3, 16, 16), "float32")
    k1, k2 = m.input((8, 3, 3, 3), "float32"), m.input((6, 8, 3, 3), "float32")
    plain = {"dilation": (1, 1), "low": (1, 1), "high": (1, 1)}
    hidden = m("tanh", m("conv", x, k1, stride=(1, 1), **plain))
    hidden = m("conv", hidden, k2, stride=(2, 2), **plain)
    loss = m("mean", m("mul", hidden, m("sigmoid", hidden)))
    return m, (loss,), (loss,), (x, k1, k2)


def small() -> Built:
    """Too small to be split."""
    m = Maker()
    x, w = m.input((7, 5)), m.input((5,))
    loss = m("mean", m("tanh", m("contract", x, w, spec="ij,j->i")))
    return m, (loss, x), (loss,), (x, w)


BUILDERS: dict[str, Callable[[], Built]] = {
    "pointwise": pointwise,
    "logistic": logistic,
    "mlp": mlp,
    "batch_norm": batch_norm,
    "convolution": convolution,
    "small": small,
}


@dataclass(frozen=True)
class Case:
    """A program with its inputs and what it gives in process."""

    program: Program
    operands: tuple[Operand, ...]
    expected: tuple[np.ndarray, ...]

    def assert_same_bits(self, outcome: Outcome) -> None:
        assert len(outcome.outputs) == len(self.expected)
        for got, want in zip(outcome.outputs, self.expected, strict=True):
            assert_same_bits(got, want)


def assert_same_bits(got: np.ndarray | Pieces, want: np.ndarray) -> None:
    array = got.assemble() if isinstance(got, Pieces) else got
    assert (array.shape, array.dtype) == (want.shape, want.dtype)
    assert array.tobytes() == want.tobytes()


def make(built: Built, seed: int = 0) -> Case:
    m, outputs, of, wrt = built
    program = compile_query(m.graph(*outputs), Query(of, wrt, (False,) * len(of)))
    return with_inputs(program, seed)


def with_inputs(program: Program, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(0, 8, spec.shape) if spec.dtype.kind == "i" else _normal(rng, spec) for spec in program.input_specs
    ]
    operands = tuple(Operand(a, digest_of_array(a) if a.nbytes > 64 << 10 else b"") for a in arrays)
    return Case(program, operands, tuple(program.run(arrays)))


def _normal(rng: np.random.Generator, spec: TensorSpec) -> np.ndarray:
    return np.asarray(0.5 * rng.normal(size=spec.shape)).astype(spec.dtype)


@lru_cache(maxsize=len(BUILDERS))
def case(name: str) -> Case:
    return make(BUILDERS[name]())
