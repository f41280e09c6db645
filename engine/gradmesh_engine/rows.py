"""Ufuncs of a matrix and a row, with the row repeated: NumPy's loops are then as long as over two matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from gradmesh_engine.ops import Scratch

RUN: Final = 8192
"""Elements of NumPy's buffers. It copies an operand that broadcasts into one where it has shorter runs than that."""

LEAST_RUNS: Final = 8
"""With fewer runs, repeating the row takes what it gains."""


def with_row_repeated(
    ufunc: np.ufunc, operands: Sequence[np.ndarray], shape: tuple[int, ...], scratch: Scratch
) -> Callable[..., Any]:
    """A ufunc for operands one of which is added, say, to every row of the other; itself for any others.

    Args:
        ufunc: what is computed.
        operands: arrays of the shapes, dtypes and strides it will be given.
        shape: the result's, which lies in C order.
        scratch: where the row is repeated.
    """
    if len(operands) != 2 or operands[0].dtype is not operands[1].dtype:
        return ufunc
    at = 0 if operands[0].size < operands[1].size else 1
    row, full = operands[at], operands[1 - at]
    if not 1 < row.size < RUN or full.shape != shape or not full.flags.c_contiguous:
        return ufunc
    aligned = (1,) * (len(shape) - row.ndim) + row.shape
    lead = next(i for i, size in enumerate(aligned) if size > 1)
    times = 1 << ((RUN - 1) // row.size).bit_length()
    runs, left = divmod(full.size, times * row.size)
    if aligned[lead:] != shape[lead:] or left or runs < LEAST_RUNS:
        return ufunc
    (tile,) = scratch.arrays(((times, row.size), row.dtype))
    long, matrix = tile.reshape(-1), (runs, tile.size)

    def before(row: np.ndarray, full: np.ndarray, out: np.ndarray) -> None:
        np.copyto(tile, row.reshape(-1))
        ufunc(long, full.reshape(matrix), out.reshape(matrix))

    def after(full: np.ndarray, row: np.ndarray, out: np.ndarray) -> None:
        np.copyto(tile, row.reshape(-1))
        ufunc(full.reshape(matrix), long, out.reshape(matrix))

    return after if at else before
