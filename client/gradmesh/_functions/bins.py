"""Functions that count values and find their places among others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _tensor, _trace, return_types
from gradmesh._functions._common import Number, ints, many, one, scalar, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import DTypeError, InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "bincount",
    "bucketize",
    "histc",
    "histogram",
    "histogramdd",
    "nonzero_static",
    "searchsorted",
    "unique_consecutive",
]

# --- places among boundaries ----------------------------------------------------------------------


def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | Number,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value would go in the ascending last dim of a sequence: before equal elements, or behind (`right`).

    A sequence of several dims has the leading dims of the values. `sorter` is the order of a sequence that is not
    sorted. Raises ShapeError, DTypeError.

    Example: `gm.searchsorted(gm.tensor([1, 3, 5]), gm.tensor([3]))` is `tensor([1])`.
    """
    if side is not None:
        if side not in ("left", "right"):
            raise InvalidRequestError(
                f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}", got=side
            )
        if side == "left" and right:
            raise InvalidRequestError("torch.searchsorted(): side and right can't be set to opposites", got=side)
        right = side == "right"
    if sorter is not None:
        if spec(sorter).shape != spec(sorted_sequence).shape:
            raise ShapeError(
                "torch.searchsorted(): boundary and sorter must have the same size",
                expected=str(list(spec(sorted_sequence).shape)),
                got=str(list(spec(sorter).shape)),
            )
        sorted_sequence = one("gather", sorted_sequence, sorter, dim=-1)
    if not isinstance(input, _tensor.Tensor):
        input = scalar(input, spec(sorted_sequence).dtype)
    return one("searchsorted", sorted_sequence, input, right=right, out_int32=out_int32)


def bucketize(input: Tensor | Number, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """`searchsorted` of values between boundaries in one dim.

    Example: `gm.bucketize(gm.tensor([3]), gm.tensor([1, 3, 5]))` is `tensor([1])`.
    """
    if spec(boundaries).ndim != 1:
        raise ShapeError(
            f"boundaries tensor must be 1 dimension, but got dim({spec(boundaries).ndim})",
            op="bucketize",
            expected="one dim",
            got=str(spec(boundaries)),
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


# --- counts ---------------------------------------------------------------------------------------


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` of one width from min to max, or over the extremes if these are equal.

    Example: `gm.histc(gm.tensor([1., 2., 1.]), 4, 0, 3)` is `tensor([0., 2., 1., 0.])`.
    """
    return one("histc", input, bins=bins, min=float(min), max=float(max))


def _histogram(
    op: str,
    input: Tensor,
    bins: tuple[int, ...],
    edges: Sequence[Tensor],
    range: Sequence[float] | None,
    weight: Tensor | None,
    density: bool,
) -> tuple[Tensor, ...]:
    attrs: dict[str, Any] = {} if range is None else {"range": tuple([float(v) for v in range])}
    weights = () if weight is None else (weight,)
    return many(op, input, *weights, *edges, bins=bins, weighted=weight is not None, density=density, **attrs)


def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.histogram:
    """How many elements (or how much weight) fall into each bin, and the edges of the bins.

    `bins` is a number of bins of one width, over `range` or the extremes of the elements, or the edges themselves.
    With `density` the integral over the bins is 1. Raises ShapeError, DTypeError.

    Example: `gm.histogram(gm.tensor([1., 2., 1.]), 2, range=(0., 4.)).hist` is `tensor([2., 1.])`.
    """
    if isinstance(bins, _tensor.Tensor):
        found = _histogram("histogram", input, (), (bins,), range, weight, density)
    else:
        found = _histogram("histogram", input, (bins,), (), range, weight, density)
    return return_types.histogram(*found)


def histogramdd(
    input: Tensor,
    bins: int | Sequence[int] | Sequence[Tensor],
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.histogramdd:
    """`histogram` of the points in the last dim: over as many dims as they have coordinates.

    Example: `gm.histogramdd(gm.tensor([[0., 1.], [1., 0.]]), [2, 2]).hist` is `tensor([[0., 1.], [1., 0.]])`.
    """
    edges: Sequence[Any] = ()
    counts: tuple[int, ...] = ()
    if isinstance(bins, (list, tuple)) and bins and isinstance(bins[0], _tensor.Tensor):
        edges = bins
    elif isinstance(bins, int):
        counts = (bins,) * (spec(input).shape[-1] if spec(input).shape else 1)
    else:
        counts = ints("histogramdd", "bins", bins)
    found = _histogram("histogramdd", input, counts, edges, range, weight, density)
    return return_types.histogramdd(found[0], found[1:])


# --- what depends on values: these evaluate -------------------------------------------------------


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, … occurs in a vector of integers, or the sum of its weights. Evaluates.

    Example: `gm.bincount(gm.tensor([1, 1, 3]))` is `tensor([0, 2, 0, 1])`.
    """
    if dtypes.category(spec(input).dtype) > dtypes.INT:
        raise DTypeError(dtypes.refusal("bincount_cpu", spec(input).dtype), op="bincount", got=spec(input).dtype.name)
    array = input.numpy(force=True)
    if array.ndim != 1 or dtypes.category(array.dtype) != dtypes.INT or (array < 0).any():
        raise InvalidRequestError(
            "bincount only supports 1-d non-negative integral inputs.", op="bincount", got=str(spec(input))
        )
    if minlength < 0:
        raise InvalidRequestError("minlength should be >= 0", op="bincount", got=str(minlength))
    values = None if weights is None else weights.numpy(force=True)
    if values is not None and values.shape != array.shape:
        raise ShapeError(
            "weights should be 1-d and have the same length as input", op="bincount", got=str(values.shape)
        )
    counted = np.bincount(array.astype(np.int64), values, minlength)
    kind = np.int64 if values is None else np.float32 if values.dtype == np.float32 else np.float64
    return _trace.constant(counted.astype(kind))


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """`nonzero` in a given number of rows: cut off, or filled up. Does not evaluate.

    Example: `gm.nonzero_static(gm.tensor([0, 5]), size=2)` is `tensor([[ 1], [-1]])`.
    """
    return one("nonzero_static", input, size=size, fill_value=fill_value)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Tensor | tuple[Tensor, ...]:
    """The first of each run of equal elements (or slices of a dim); on demand also each one's run, and the lengths.

    Evaluates. Example: `gm.unique_consecutive(gm.tensor([1, 1, 2, 1]))` is `tensor([1, 2, 1])`.
    """
    array = input.numpy(force=True)
    lanes = array.reshape(-1) if dim is None else np.moveaxis(array, dim, 0)
    rows = lanes.reshape(lanes.shape[0], -1) if lanes.size else np.zeros((lanes.shape[0], 0))
    new = np.ones(lanes.shape[0], bool)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    inverse = np.cumsum(new) - 1
    kept = lanes[starts]
    results = [_trace.constant(np.ascontiguousarray(kept if dim is None else np.moveaxis(kept, 0, dim)))]
    if return_inverse:
        results.append(_trace.constant(inverse.reshape(array.shape) if dim is None else inverse))
    if return_counts:
        results.append(_trace.constant(np.diff(starts, append=lanes.shape[0])))
    return results[0] if len(results) == 1 else tuple(results)
