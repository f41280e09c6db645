"""Graphs and messages the tests of the service are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from gradmesh_engine.graph import Attrs, Graph, Node, TensorSpec
from gradmesh_engine.session import Query, Request

F32 = np.dtype("float32")
F64 = np.dtype("float64")


def spec(*shape: int, dtype: str | np.dtype = F32) -> TensorSpec:
    return TensorSpec(shape, np.dtype(dtype))


def node(op: str, inputs: Sequence[int], out: TensorSpec, **attrs: object) -> Node:
    canonical: Attrs = tuple(sorted(attrs.items()))  # type: ignore[arg-type]
    return Node(op, tuple(inputs), canonical, (out,))


def chain(*shape: int, dtype: str | np.dtype = F32) -> Graph:
    """sum(tanh(x * y) * exp(x)): values 0, 1 in; 2 … 6 made; every derivative differs."""
    s = spec(*shape, dtype=dtype)
    nodes = (
        node("mul", (0, 1), s),
        node("tanh", (2,), s),
        node("exp", (0,), s),
        node("mul", (3, 4), s),
        node("reduce_sum", (5,), spec(dtype=dtype), dims=tuple(range(len(shape)))),
    )
    lines = tuple(f"model.py:{10 + i}" for i in range(len(nodes)))
    return Graph((s, s), nodes, (6, 3), lines)


def chain_request(*shape: int, dtype: str | np.dtype = F32, seed: int = 0, wrt: tuple[int, ...] = (0, 1)) -> Request:
    rng = np.random.default_rng(seed)
    arrays = tuple(frozen(rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    return Request(chain(*shape, dtype=dtype), arrays, Query((6,), wrt, (False,)))


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def equal_bits(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, by asking again and again."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.005)
