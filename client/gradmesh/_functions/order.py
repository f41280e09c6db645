"""Functions of the order of elements: sorting, order statistics, running extremes, and what passes over NaN.

`dim` counts from the end when negative. NaN is larger than every number. What comes with an index is a named
tuple of `values` and int64 `indices`. A dim outside the rank raises AxisError, complex operands DTypeError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from gradmesh import _dtype, _tensor, return_types
from gradmesh._functions._common import Dims, many, one, scalar, spec
from gradmesh._functions.reduce import dims_of
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "argsort",
    "cummax",
    "cummin",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmean",
    "nanmedian",
    "nanquantile",
    "nansum",
    "quantile",
    "sort",
    "topk",
]

# --- sorted ---------------------------------------------------------------------------------------


def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> return_types.sort:
    """The elements along a dim in order; equal ones keep their order. Takes `stable=` for PyTorch's sake.

    Example: `gm.sort(gm.tensor([2, 1])).indices` is `tensor([1, 0])`.
    """
    attrs = {} if stable is None else {"stable": stable}
    return return_types.sort(*many("sort", input, dim=dim, descending=descending, **attrs))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """Where the elements of the sorted dim stood. Example: `gm.argsort(gm.tensor([2, 1]))` is `tensor([1, 0])`."""
    return one("argsort", input, dim=dim, descending=descending)


def msort(input: Tensor) -> Tensor:
    """Sorted along the first dim. Example: `gm.msort(gm.tensor([2, 1]))` is `tensor([1, 2])`."""
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> return_types.topk:
    """The k largest (or smallest) elements along a dim, in order whether `sorted` or not. Raises ShapeError for k.

    Example: `gm.topk(gm.tensor([1, 3, 2]), 2).values` is `tensor([3, 2])`.
    """
    return return_types.topk(*many("topk", input, k=k, dim=dim, largest=largest, sorted=sorted))


# --- one of the order -----------------------------------------------------------------------------


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.kthvalue:
    """The k-th smallest element along a dim, counted from 1. Raises ShapeError for k outside the dim.

    Example: `gm.kthvalue(gm.tensor([1, 3, 2]), 2).values` is `tensor(2)`.
    """
    return return_types.kthvalue(*many("kthvalue", input, k=k, dim=dim, keepdim=keepdim))


@overload
def median(input: Tensor) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False) -> return_types.median: ...
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | return_types.median:
    """The lower median of all elements (equal ones share its gradient) or along a dim; NaN where there is one.

    Example: `gm.median(gm.tensor([1., 4., 2., 3.]))` is `tensor(2.)`.
    """
    if dim is None:
        return one("median", input)
    return return_types.median(*many("median_dim", input, dim=dim, keepdim=keepdim))


@overload
def nanmedian(input: Tensor) -> Tensor: ...
@overload
def nanmedian(input: Tensor, dim: int, keepdim: bool = False) -> return_types.nanmedian: ...
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | return_types.nanmedian:
    """`median` of what is not NaN. Example: `gm.nanmedian(gm.tensor([1., gm.nan]))` is `tensor(1.)`."""
    if dim is None:
        return one("nanmedian", input)
    return return_types.nanmedian(*many("nanmedian_dim", input, dim=dim, keepdim=keepdim))


def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.mode:
    """The most frequent element along a dim, the smallest of several.

    Example: `gm.mode(gm.tensor([1, 2, 2])).values` is `tensor(2)`.
    """
    return return_types.mode(*many("mode", input, dim=dim, keepdim=keepdim))


def _levels(name: str, input: Tensor, q: float | Tensor) -> Tensor:
    if isinstance(q, _tensor.Tensor):
        return q
    if not 0 <= q <= 1:
        raise InvalidRequestError(f"{name}() q must be in the range [0, 1] but got {q}", op=name, got=str(q))
    return scalar(float(q), spec(input).dtype)


def quantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Quantiles of all elements or along a dim, of float32 or float64; in a new first dim where `q` is a vector.

    Interpolation is linear, lower, higher, midpoint or nearest. NaN where there is one.

    Example: `gm.quantile(gm.tensor([0., 1., 2.]), 0.25)` is `tensor(0.5000)`.
    """
    return one("quantile", input, _levels("quantile", input, q), dim=dim, keepdim=keepdim, interpolation=interpolation)


def nanquantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """`quantile` of what is not NaN.

    Example: `gm.nanquantile(gm.tensor([0., 1., gm.nan]), 0.5)` is `tensor(0.5000)`.
    """
    levels = _levels("nanquantile", input, q)
    return one("nanquantile", input, levels, dim=dim, keepdim=keepdim, interpolation=interpolation)


# --- running extremes -----------------------------------------------------------------------------


def cummax(input: Tensor, dim: int) -> return_types.cummax:
    """Running maxima along a dim; the last of equal ones. NaN stays.

    Example: `gm.cummax(gm.tensor([1, 3, 2]), 0).values` is `tensor([1, 3, 3])`.
    """
    return return_types.cummax(*many("cummax", input, dim=dim))


def cummin(input: Tensor, dim: int) -> return_types.cummin:
    """Running minima along a dim; the last of equal ones. NaN stays.

    Example: `gm.cummin(gm.tensor([3, 1, 2]), 0).values` is `tensor([3, 1, 1])`.
    """
    return return_types.cummin(*many("cummin", input, dim=dim))


# --- sums that pass over NaN ----------------------------------------------------------------------


def nansum(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: _dtype.DTypeLike | None = None
) -> Tensor:
    """Sum over dims of what is not NaN. Example: `gm.nansum(gm.tensor([1., gm.nan]))` is `tensor(1.)`."""
    return one("nansum", input, **dims_of("nansum", dim, keepdim, dtype))


def nanmean(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: _dtype.DTypeLike | None = None
) -> Tensor:
    """Mean over dims of what is not NaN, of floats only.

    Example: `gm.nanmean(gm.tensor([1., gm.nan]))` is `tensor(1.)`.
    """
    return one("nanmean", input, **dims_of("nanmean", dim, keepdim, dtype))
