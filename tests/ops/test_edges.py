"""Values and gradients at NaN, infinities, signed zeros, subnormals, large values and kinks are PyTorch's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import gradmesh as gm
from tests.ops import edges
from tests.ops.edges import Edge

pytestmark = pytest.mark.oracle

TOLERANCE = {"float64": (1e-9, 1e-12), "float32": (2e-5, 1e-6)}
COPIES = 35
FAMILIES = {"one": edges.UNARY, "two": edges.BINARY, "rows": edges.REDUCTIONS, "all": edges.WHOLE}


def _run(library: Any, edge: Edge, arrays: Sequence[np.ndarray], g: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """The value, and the gradient by each operand, of the cotangent `g`, or of one that is made."""
    tensors = [library.tensor(a, requires_grad=True) for a in arrays]
    y = edge.call(library, *tensors)
    if g is None:
        g = np.linspace(0.5, 1.5, y.numel()).reshape(tuple(y.shape)).astype(arrays[0].dtype)
    found = library.autograd.grad(y, tensors, library.tensor(g), allow_unused=True)
    # PyTorch gives a zero of its own kind where only a copy can be read.
    made = [np.zeros_like(a) if g is None else g.clone().numpy() for g, a in zip(found, arrays, strict=True)]
    return (y.detach().numpy(), *made)


def _same(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    relative, absolute = TOLERANCE[left.dtype.name]
    near = np.abs(left - right) <= absolute + relative * np.where(np.isfinite(right), np.abs(right), 0)
    return near | (left == right) | (np.isnan(left) & np.isnan(right))


def differences(family: str, edge: Edge, arrays: Sequence[np.ndarray]) -> Iterator[tuple[list[Any], str]]:
    """Where gradmesh's value or gradient is not PyTorch's: the operands there, and what differs."""
    import torch

    mine, other = (_run(library, edge, arrays, None) for library in (gm, torch))
    for stage, (left, right) in enumerate(zip(mine, other, strict=True)):
        assert left.shape == right.shape
        assert left.dtype == right.dtype
        for at in map(tuple, np.argwhere(~_same(left, right))):
            given = [a.tolist() if family == "all" else a[at[0]].tolist() for a in arrays]
            if family in ("one", "two") and len(left) == len(arrays[0]):
                # What PyTorch computes of an element may depend on its place: in vectors, and otherwise of the last.
                cotangent = np.linspace(0.5, 1.5, len(left))[at[0]]
                copies = [np.full(COPIES, v, left.dtype) for v in (*(a[at[0]] for a in arrays), cotangent)]
                if _same(left[at], _run(torch, edge, copies[:-1], copies[-1])[stage]).any():
                    continue
            what = f"gradient {stage}" if stage else "value"
            yield given, f"{what} at {given}: {left[at]}, PyTorch's is {right[at]}"


def _operands(family: str, dtype: str) -> Iterator[list[np.ndarray]]:
    if family == "one":
        yield [np.array(edges.points(dtype), dtype)]
    elif family == "two":
        yield [np.array(side, dtype) for side in edges.pairs(dtype)]
    elif family == "rows":
        yield [np.array(edges.rows(dtype), dtype)]
    else:
        yield from ([np.array(row, dtype)] for row in edges.rows(dtype))


CASES = [
    pytest.param(family, edge, dtype, id=f"{edge.name} {family} {dtype}")
    for family, table in FAMILIES.items()
    for edge in table
    for dtype in TOLERANCE
]


@pytest.mark.parametrize(("family", "edge", "dtype"), CASES)
def test_edges_are_pytorchs(family: str, edge: Edge, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    expected = edges.DIFFERENT.get((family, edge.name))
    found, met = [], False
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        for arrays in _operands(family, dtype):
            for given, text in differences(family, edge, arrays):
                if expected is not None and expected.where(*given):
                    met = True
                else:
                    found.append(text)
    assert not found, "\n".join(found[:10])
    if expected is not None and expected.kernels in ("", torch.backends.cpu.get_cpu_capability()):
        assert met or dtype not in expected.dtypes, f"it does not differ: {expected.why}"


def test_what_differs_is_of_the_table() -> None:
    names = {(family, edge.name) for family, table in FAMILIES.items() for edge in table}
    assert set(edges.DIFFERENT) <= names
    assert len(names) == sum(map(len, FAMILIES.values()))
