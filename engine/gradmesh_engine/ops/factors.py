"""Whether two operands can be multiplied as matrices, batches of them or vectors, in PyTorch's words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import DTypeError, ShapeError

Sizes = Sequence[int]


def _refuse(message: str, a: Sizes, b: Sizes, expected: str) -> None:
    raise ShapeError(message, expected=expected, got=f"{list(a)} and {list(b)}", remedy="transpose or reshape one")


def fit_matrices(a: Sizes, b: Sizes, names: tuple[str, str] = ("self", "mat2")) -> None:
    """(n, k) and (k, m). Raises ShapeError."""
    for sizes, name in zip((a, b), names, strict=True):
        if len(sizes) != 2:
            _refuse(f"{name} must be a matrix", a, b, "two matrices")
    if a[1] != b[0]:
        _refuse(
            f"mat1 and mat2 shapes cannot be multiplied ({a[0]}x{a[1]} and {b[0]}x{b[1]})",
            a, b, f"{a[1]} rows of the second",
        )  # fmt: skip


def fit_batches(a: Sizes, b: Sizes) -> None:
    """(b, n, k) and (b, k, m). Raises ShapeError."""
    for sizes, name in ((a, "batch1"), (b, "batch2")):
        if len(sizes) != 3:
            _refuse(f"{name} must be a 3D tensor", a, b, "two batches of matrices")
    if (a[0], a[2]) != (b[0], b[1]):
        _refuse(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got: "
            f"[{b[0]}, {b[1]}].",
            a, b, f"[{a[0]}, {a[2]}, m]",
        )  # fmt: skip


def fit_matrix_and_vector(a: Sizes, b: Sizes, term: int = 1) -> None:
    """(n, k) and (k,). Raises ShapeError."""
    if (len(a), len(b)) != (2, 1):
        _refuse(f"vector + matrix @ vector expected, got {term}, {len(a)}, {len(b)}", a, b, "a matrix and a vector")
    if a[1] != b[0]:
        _refuse(f"size mismatch, got input ({a[0]}), mat ({a[0]}x{a[1]}), vec ({b[0]})", a, b, f"[{a[1]}]")


def fit_vectors(a: V, b: V) -> None:
    """Two vectors of one length and dtype. Raises ShapeError, DTypeError."""
    if (a.ndim, b.ndim) != (1, 1):
        _refuse(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors", a.shape, b.shape, "two vectors")
    if a.dtype != b.dtype:
        raise DTypeError(
            "dot : expected both vectors to have same dtype, but found "
            f"{dtypes.title(a.dtype)} and {dtypes.title(b.dtype)}",
            expected=a.dtype.name,
            got=b.dtype.name,
            remedy="cast one operand",
        )
    n, m = a.shape[0], b.shape[0]
    if n != m:
        _refuse(
            f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of elements, but "
            f"got {n} and {m} elements respectively",
            a.shape, b.shape, f"[{n}]",
        )  # fmt: skip


def fit_any(a: V, b: V) -> None:
    """The operands of matmul: what PyTorch makes of their ranks decides how it says that they do not fit.

    Raises ShapeError, DTypeError.
    """
    one, two = a.shape, b.shape
    if len(one) == len(two) == 1:
        fit_vectors(a, b)
        return
    if one[-1] == two[-2 if len(two) > 1 else 0]:
        return
    rows = math.prod(one[:-1])
    if len(two) == 1:
        fit_matrix_and_vector((rows, one[-1]), two)
    elif len(two) == 2:
        fit_matrices((rows, one[-1]), two)
    else:
        fit_batches((math.prod(two[:-2]), one[-2] if len(one) > 1 else 1, one[-1]), (math.prod(two[:-2]), *two[-2:]))


def whole(factor: Any, dtype: np.dtype) -> int:
    """A number as one of an integer dtype, without its fraction, as PyTorch takes it. Raises DTypeError."""
    if isinstance(factor, complex) or not math.isfinite(factor):
        raise DTypeError(
            f"value cannot be converted to type {dtypes.spelling(dtype)} without overflow",
            expected="a finite real number",
            got=str(factor),
        )
    return int(factor)
