"""Functions that write values, or combine them, at places of a copy; and the few that pick by place in C order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradmesh import _tensor, _trace
from gradmesh._dtype import DTypeLike, of
from gradmesh._functions import binary
from gradmesh._functions._common import Operand, cast, fitted, ints, one, spec, wrong_type
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "diagonal_scatter",
    "fill",
    "index_put",
    "index_reduce",
    "put",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
    "take",
    "tril_indices",
    "triu_indices",
    "unravel_index",
]

# --- by index tensors -----------------------------------------------------------------------------


def _places(input: Tensor, indices: Sequence[Tensor]) -> list[Tensor]:
    """One int64 index per dim; a mask is one for each of its dims, and evaluates. Raises AxisError."""
    found: list[Tensor] = []
    for index in indices:
        if not isinstance(index, _tensor.Tensor):
            wrong_type("index_put_", "indices", "tuple of Tensors", index)
        kind = spec(index)
        if kind.dtype not in (dtypes.bool_, dtypes.uint8):
            found.append(cast(index, dtypes.int64))
            continue
        dim = len(found)
        if kind.shape != spec(input).shape[dim : dim + kind.ndim]:
            raise AxisError(
                f"The shape of the mask {list(kind.shape)} at index 0 does not match the shape of the indexed tensor "
                f"{list(spec(input).shape)} at index {dim}",
                got=str(list(kind.shape)),
            )
        found += [_trace.constant(np.ascontiguousarray(part)) for part in np.nonzero(index.numpy())]
    if len(found) > spec(input).ndim:
        raise AxisError(f"too many indices for tensor of dimension {spec(input).ndim}", got=str(len(found)))
    return found


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with x[indices] = values, or += values. Masks among the indices are evaluated.

    Example: `gm.index_put(gm.zeros(2), (gm.tensor([1]),), gm.ones(1))` is `tensor([0., 1.])`.
    """
    places = _places(input, indices)
    return one("index_put", input, values, *places, dims=tuple(range(len(places))), accumulate=accumulate)


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy whose slices at positions of a dim are combined with those of `source`: prod, mean, amax or amin.

    Without `include_self` what stood there takes no part. Example:
    `gm.index_reduce(gm.ones(2), 0, gm.tensor([1, 1]), gm.tensor([3., 5.]), "mean")` is `tensor([1., 3.])`.
    """
    return one("index_reduce", input, index, source, dim=dim, reduce=reduce, include_self=include_self)


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy whose [index[i][j]][j] is combined with all src[i][j], for dim 0: sum, prod, mean, amax or amin.

    Without `include_self` what stood there takes no part. Example:
    `gm.scatter_reduce(gm.ones(2), 0, gm.tensor([1, 1]), gm.tensor([3., 5.]), "amax")` is `tensor([1., 5.])`.
    """
    return one("scatter_reduce", input, index, src, dim=dim, reduce=reduce, include_self=include_self)


# --- by position in C order -----------------------------------------------------------------------


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions in C order, of the index's shape. Example: `gm.take(gm.eye(2), gm.tensor([3]))`."""
    return one("take_flat", input, index)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with values written, or added, at positions in C order.

    Example: `gm.put(gm.zeros(2), gm.tensor([1]), gm.ones(1))` is `tensor([0., 1.])`.
    """
    return one("put", input, index, source, accumulate=accumulate)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The int64 coordinates of positions in C order, one tensor per dim of `shape`.

    Example: `gm.unravel_index(gm.tensor([5]), (2, 3))` is `(tensor([1]), tensor([2]))`. Raises DTypeError.
    """
    if dtypes.category(spec(indices).dtype) != dtypes.INT:
        raise DTypeError("expected 'indices' to be integer dtype", expected="an integer dtype", got=str(indices.dtype))
    coordinates = []
    step, indices = 1, cast(indices, dtypes.int64)
    for size in reversed(ints("unravel_index", "shape", shape)):
        coordinates.append(binary.remainder(binary.div(indices, step, rounding_mode="floor"), size))
        step *= size
    return tuple(reversed(coordinates))


def _triangle(name: str, rows: int, columns: int, offset: int, dtype: DTypeLike | None) -> Tensor:
    if rows < 0 or columns < 0:
        raise ShapeError(f"{name}: row and col must be non-negative", op=name, got=f"{rows}, {columns}")
    pick = np.tri(rows, columns, offset if name == "tril_indices" else offset - 1, dtype=bool)
    places = np.stack(np.nonzero(pick if name == "tril_indices" else ~pick))
    return _trace.constant(places.astype(np.int64 if dtype is None else of(dtype).np))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: DTypeLike | None = None) -> Tensor:
    """Row and column of each element on and below a diagonal, (2, count). Example: `gm.tril_indices(1, 1).shape`."""
    return _triangle("tril_indices", row, col, offset, dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: DTypeLike | None = None) -> Tensor:
    """Row and column of each element on and above a diagonal, (2, count). Example: `gm.triu_indices(1, 1).shape`."""
    return _triangle("triu_indices", row, col, offset, dtype)


# --- into regions of a copy -----------------------------------------------------------------------


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy with `src` written to input[start:end:step] along a dim.

    Example: `gm.slice_scatter(gm.zeros(3), gm.ones(1), 0, 1, 2)` is `tensor([0., 1., 0.])`.
    """
    return one("slice_scatter", input, src, dim=dim, start=start, end=end, step=step)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with `src` written to input[index] along a dim.

    Example: `gm.select_scatter(gm.zeros(2), gm.tensor(1.), 0, 1)` is `tensor([0., 1.])`.
    """
    return one("select_scatter", input, src, dim=dim, index=index)


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy with `src` written to a diagonal of the matrices of two dims.

    Example: `gm.diagonal_scatter(gm.zeros(1, 1), gm.ones(1))` is `tensor([[1.]])`.
    """
    return one("diagonal_scatter", input, src, offset=offset, dim1=dim1, dim2=dim2)


def fill(input: Tensor, value: Operand) -> Tensor:
    """A tensor like the operand full of one value. Example: `gm.fill(gm.zeros(2), 5.)` is `tensor([5., 5.])`."""
    if isinstance(value, _tensor.Tensor):
        return one("fill", input, value, scalar=False)
    return one("fill", input, fitted(value, spec(input)))
