"""Gradients and gradients of gradients of every differentiable op."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gradmesh_engine import dtypes
from gradmesh_engine.graph import Graph
from gradmesh_engine.ops import TABLE
from gradmesh_engine.session import Query
from tests.ops.graphs import (
    Arrays,
    assert_close,
    evaluate,
    from_torch,
    one_node,
    pullback_graph,
    spec_of,
    to_torch,
    torch,
)
from tests.ops.rows import Row, Sample
from tests.ops.table import BY_ROW, SAMPLES

DIFFERENTIABLE = [p for p in SAMPLES if TABLE[p.values[0].op].differentiable and p.values[0].wrt != ()]


def _has_twin(parameters: Any) -> bool:
    row, sample = parameters.values
    return row.has_reference and not sample.untorched


TWICE = [p for p in DIFFERENTIABLE if p.values[0].twice]


@pytest.mark.parametrize(("row", "sample"), [p for p in DIFFERENTIABLE if p.values[0].smooth])
def test_gradient_agrees_with_finite_differences(row: Row, sample: Sample) -> None:
    arrays = sample.arrays(row.seed(sample))
    graph = one_node(row.op, arrays, sample.attrs)
    _check_direction(graph, arrays, row.differentiated(arrays), row)


@pytest.mark.parametrize(("row", "sample"), [p for p in TWICE if p.values[0].smooth])
def test_gradient_of_gradient_agrees_with_finite_differences(row: Row, sample: Sample) -> None:
    arrays = sample.arrays(row.seed(sample))
    wrt = row.differentiated(arrays)
    graph, _ = pullback_graph(row.op, arrays, sample.attrs, wrt)
    seeds = range(len(arrays), len(graph.inputs))
    rng = _rng(row, sample)
    cotangents = [_random(rng, spec.shape, spec.dtype) for spec in graph.inputs[len(arrays) :]]
    _check_direction(graph, [*arrays, *cotangents], (*wrt, *seeds), row)


@pytest.mark.oracle
@pytest.mark.parametrize(("row", "sample"), [p for p in DIFFERENTIABLE if _has_twin(p)])
def test_gradient_agrees_with_torch(row: Row, sample: Sample) -> None:
    arrays = sample.arrays(row.seed(sample))
    _compare_with_torch(row, sample, arrays)


@pytest.mark.oracle
@pytest.mark.parametrize("row", [p for p in BY_ROW if TABLE[p.values[0].op].differentiable and p.values[0].dtypes])
def test_gradient_of_every_dtype(row: Row) -> None:
    for name in row.dtypes:
        if dtypes.is_differentiable(dtypes.parse(name)):
            sample = row.samples[0]
            _compare_with_torch(row, sample, sample.arrays(row.seed(sample), name), f"{row.op} of {name}")


@pytest.mark.oracle
@pytest.mark.parametrize(("row", "sample"), [p for p in TWICE if _has_twin(p)])
def test_gradient_of_gradient_agrees_with_torch(row: Row, sample: Sample) -> None:
    arrays = sample.arrays(row.seed(sample))
    wrt = row.differentiated(arrays)
    graph, connected = pullback_graph(row.op, arrays, sample.attrs, wrt)
    if not connected:
        pytest.skip("no gradient")
    rng = _rng(row, sample)
    seeds = [_random(rng, spec.shape, spec.dtype) for spec in graph.inputs[len(arrays) :]]
    of = tuple(graph.outputs)
    directions = [_random(rng, graph.specs[i].shape, graph.specs[i].dtype) for i in of]
    inputs = [*arrays, *seeds]
    asked = (*wrt, *range(len(arrays), len(inputs)))
    query = Query(of, asked, (True,) * len(of))
    _, got = evaluate(graph, inputs, query, directions)

    xs = [to_torch(a).requires_grad_(i in wrt) for i, a in enumerate(arrays)]
    gs = [to_torch(a).requires_grad_() for a in seeds]
    ys = [y for y in row.reference(torch(), tuple(xs), sample.attrs) if y.requires_grad]
    first = torch().autograd.grad(ys, [xs[i] for i in connected], gs, create_graph=True, allow_unused=True)
    pairs = [(f, to_torch(d)) for f, d in zip(first, directions, strict=True) if f is not None and f.requires_grad]
    leaves = [xs[i] for i in wrt] + gs
    if pairs:
        expected = torch().autograd.grad([f for f, _ in pairs], leaves, [d for _, d in pairs], allow_unused=True)
    else:
        expected = [None] * len(leaves)
    for number, mine, theirs in zip(asked, got, expected, strict=True):
        _same_gradient(mine, theirs, inputs[number], row, f"{row.op}: second gradient by {number}")


def _compare_with_torch(row: Row, sample: Sample, arrays: Arrays, what: str = "") -> None:
    wrt = row.differentiated(arrays)
    graph = one_node(row.op, arrays, sample.attrs)
    of = tuple(i for i in graph.outputs if dtypes.is_differentiable(graph.specs[i].dtype))
    rng = _rng(row, sample)
    cotangents = [_random(rng, graph.specs[i].shape, graph.specs[i].dtype) for i in of]
    _, got = evaluate(graph, arrays, Query(of, wrt, (True,) * len(of)), cotangents)

    xs = [to_torch(a).requires_grad_(i in wrt) for i, a in enumerate(arrays)]
    results = row.reference(torch(), tuple(xs), sample.attrs)
    ys = [results[graph.outputs.index(i)] for i in of]
    pairs = [(y, to_torch(c)) for y, c in zip(ys, cotangents, strict=True) if y.requires_grad]
    expected = torch().autograd.grad(
        [y for y, _ in pairs], [xs[i] for i in wrt], [c for _, c in pairs], allow_unused=True
    )
    for number, mine, theirs in zip(wrt, got, expected, strict=True):
        _same_gradient(mine, theirs, arrays[number], row, what or f"{row.op} {sample}: gradient by {number}")


def _same_gradient(mine: np.ndarray | None, theirs: object, x: np.ndarray, row: Row, what: str) -> None:
    """Equal, where no gradient and a gradient of zeros are the same."""
    expected = np.zeros_like(x) if theirs is None else from_torch(theirs)
    got = np.zeros_like(x) if mine is None else mine
    assert_close(got, expected, row.loose * 8, what)


# --- finite differences ------------------------------------------------------------------------------


def _check_direction(graph: Graph, arrays: Arrays, wrt: Sequence[int], row: Row) -> None:
    """The derivative along one random direction: the gradient's word against central differences."""
    if not wrt:
        pytest.skip("nothing to differentiate")
    rng = np.random.default_rng(zlib.crc32(f"{row.op}{graph.digest!r}".encode()))
    of = tuple(i for i in graph.outputs if dtypes.is_differentiable(graph.specs[i].dtype))
    cotangents = [_random(rng, graph.specs[i].shape, graph.specs[i].dtype) for i in of]
    _, gradients = evaluate(graph, arrays, Query(of, tuple(wrt), (True,) * len(of)), cotangents)
    directions = [_random(rng, arrays[i].shape, arrays[i].dtype) for i in wrt]

    claimed = 0.0
    for number, gradient, direction in zip(wrt, gradients, directions, strict=True):
        if gradient is not None:
            assert spec_of(gradient) == spec_of(arrays[number]), f"{row.op}: the gradient has another shape or dtype"
            claimed += _inner(gradient, direction)

    def along(step: float) -> float:
        moved = list(arrays)
        for number, direction in zip(wrt, directions, strict=True):
            moved[number] = arrays[number] + direction * np.asarray(step, arrays[number].dtype)
        outputs, _ = evaluate(graph, moved)
        return sum(_inner(c, outputs[graph.outputs.index(i)]) for i, c in zip(of, cotangents, strict=True))

    measured, error = _central(along)
    assert abs(claimed - measured) <= 1e-6 * max(1.0, abs(measured)) * row.loose + 4 * error, (
        f"{row.op}: the gradient says {claimed}, finite differences {measured} ± {error}"
    )


def _central(f: Callable[[float], float]) -> tuple[float, float]:
    """f'(0) by Richardson's extrapolation of central differences, and an estimate of its error."""
    coarse, middle, fine = ((f(h) - f(-h)) / (2 * h) for h in (4e-4, 2e-4, 1e-4))
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return second, abs(second - first)


def _inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum((np.conj(a) * b).real))


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    values = rng.uniform(-1, 1, shape)
    if dtype.kind == "c":
        values = values + 1j * rng.uniform(-1, 1, shape)
    return np.asarray(values).astype(dtype)


def _rng(row: Row, sample: Sample) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"cotangents of {row.seed(sample)}".encode()))


@pytest.mark.oracle
@pytest.mark.parametrize("op", ["relu", "maximum", "minimum"])
def test_the_gradient_at_nan_is_that_of_torch(op: str) -> None:
    """Nothing is larger than NaN, nor smaller: the cotangent passes."""
    nan = float("nan")
    arrays = [np.array([nan, 1.0, nan, 2.0, -1.0]), np.array([1.0, nan, nan, 2.0, 3.0])][: 1 if op == "relu" else 2]
    wrt = tuple(range(len(arrays)))
    graph, _ = pullback_graph(op, arrays, {}, wrt)
    cotangent = np.arange(1.0, 6.0)
    got, _ = evaluate(graph, [*arrays, cotangent])
    xs = [to_torch(a).requires_grad_() for a in arrays]
    expected = torch().autograd.grad(getattr(torch(), op)(*xs), xs, to_torch(cotangent))
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, from_torch(theirs))
