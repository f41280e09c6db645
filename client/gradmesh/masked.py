"""Reductions and normalisations of the elements a mask holds for, as in `torch.masked`.

`mask` is True where an element counts, and broadcasts to the operand; without one all elements count. `dim` is an int
or several, None all. Where nothing counts a sum is 0, a product 1, an extreme infinite, and a mean or median NaN.
Results have the operand's dtype, sums and products of narrow integers int64, unless `dtype` says otherwise.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gradmesh import _creation, _dtype
from gradmesh._functions import activation, binary, convert, layout, order, reduce, select, unary
from gradmesh._functions._common import Dims, cast, dim_of, ints, maybe_cast, scalar, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AxisError, DTypeError, InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]

# --- what does not count --------------------------------------------------------------------------


def _lowest(dtype: np.dtype) -> float:
    """The number that no maximum minds."""
    if dtypes.category(dtype) >= dtypes.FLOAT:
        return -math.inf
    if dtype == dtypes.bool_:
        raise DTypeError("a masked maximum of bools has no identity", got="bool", remedy="cast the operand")
    return int(np.iinfo(dtype).min)


def _highest(dtype: np.dtype) -> float:
    """The number that no minimum minds."""
    return -_lowest(dtype) if dtypes.category(dtype) >= dtypes.FLOAT else int(np.iinfo(dtype).max)


def _canonical(input: Tensor, mask: Tensor) -> Tensor:
    """The mask as bools of the operand's shape. Raises AxisError."""
    if mask.ndim > input.ndim:
        raise AxisError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)",
            expected=f"at most {input.ndim} dims",
            got=str(mask.ndim),
        )
    return cast(layout.broadcast_to(mask, tuple(input.shape)), dtypes.bool_)


def _filled(input: Tensor, mask: Tensor | None, identity: float | Callable[[np.dtype], float]) -> Tensor:
    """The operand with a number where the mask does not hold."""
    if mask is None:
        return input
    own = spec(input).dtype
    value = identity(own) if callable(identity) else identity
    return select.where(_canonical(input, mask), input, scalar(value, own))


def _dims(function: str, input: Tensor, dim: Dims | None) -> tuple[int, ...]:
    """The dims from the front, sorted; a 0-d operand has dim 0."""
    given = () if dim is None else ints(function, "dim", dim)
    return tuple(sorted(dim_of(d, input.ndim) for d in given)) if given else tuple(range(builtins.max(input.ndim, 1)))


def _widened(input: Tensor, dtype: _dtype.DTypeLike | None) -> Tensor:
    """The operand in the dtype it is summed in: narrow integers in int64."""
    if dtype is None and dtypes.category(spec(input).dtype) <= dtypes.INT:
        return cast(input, dtypes.int64)
    return maybe_cast(input, dtype)


# --- sums and products ----------------------------------------------------------------------------


def sum(
    input: Tensor,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Sum of what counts. Example: `gm.masked.sum(gm.ones(2), mask=gm.tensor([True, False]))` is `tensor(1.)`."""
    return reduce.sum(_filled(input, mask, 0), _dims("sum", input, dim), keepdim, dtype=dtype)


def prod(
    input: Tensor,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Product of what counts.

    Example: `gm.masked.prod(gm.tensor([2., 3.]), mask=gm.tensor([True, False]))` is `tensor(2.)`.
    """
    result = _widened(_filled(input, mask, 1), dtype)
    nothing = not input.ndim and (dim is None or dim == ())
    for d in () if nothing else reversed(_dims("prod", input, dim)):
        result = reduce.prod(result, d, keepdim)
    return result


def cumsum(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None, mask: Tensor | None = None) -> Tensor:
    """Running sums of what counts.

    Example: `gm.masked.cumsum(gm.ones(2), 0, mask=gm.tensor([True, False]))` is `tensor([1., 1.])`.
    """
    return reduce.cumsum(_filled(input, mask, 0), dim, dtype=input.dtype if dtype is None else dtype)


def cumprod(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None, mask: Tensor | None = None) -> Tensor:
    """Running products of what counts.

    Example: `gm.masked.cumprod(gm.tensor([2., 3.]), 0, mask=gm.tensor([True, False]))` is `tensor([2., 2.])`.
    """
    return reduce.cumprod(_filled(input, mask, 1), dim, dtype=input.dtype if dtype is None else dtype)


# --- extremes -------------------------------------------------------------------------------------


def amax(
    input: Tensor,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Largest of what counts.

    Example: `gm.masked.amax(gm.tensor([2., 3.]), mask=gm.tensor([True, False]))` is `tensor(2.)`.
    """
    return maybe_cast(reduce.amax(_filled(input, mask, _lowest), _dims("amax", input, dim), keepdim), dtype)


def amin(
    input: Tensor,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Smallest of what counts.

    Example: `gm.masked.amin(gm.tensor([2., 3.]), mask=gm.tensor([False, True]))` is `tensor(3.)`.
    """
    return maybe_cast(reduce.amin(_filled(input, mask, _highest), _dims("amin", input, dim), keepdim), dtype)


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Position of the largest of what counts, in the operand's dtype unless `dtype` says otherwise.

    Example: `gm.masked.argmax(gm.tensor([2., 3.]), mask=gm.tensor([True, False]))` is `tensor(0.)`.
    """
    found = reduce.argmax(_filled(input, mask, _lowest), dim, keepdim)
    return maybe_cast(found, input.dtype if dtype is None else dtype)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Position of the smallest of what counts, in the operand's dtype unless `dtype` says otherwise.

    Example: `gm.masked.argmin(gm.tensor([2., 3.]), mask=gm.tensor([False, True]))` is `tensor(1.)`.
    """
    found = reduce.argmin(_filled(input, mask, _highest), dim, keepdim)
    return maybe_cast(found, input.dtype if dtype is None else dtype)


# --- middles and spreads --------------------------------------------------------------------------


def _counted(input: Tensor, dims: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements count, int64."""
    if mask is None:
        mask = _creation.ones(tuple(input.shape), dtype=_dtype.bool)
    return reduce.sum(_canonical(input, mask), dims, keepdim)


def mean(
    input: Tensor,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean of what counts. Raises InvalidRequestError for integers.

    Example: `gm.masked.mean(gm.tensor([2., 3.]), mask=gm.tensor([True, False]))` is `tensor(2.)`.
    """
    wanted = spec(input).dtype if dtype is None else _dtype.of(dtype).np
    if not dtypes.is_differentiable(wanted):
        raise InvalidRequestError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {wanted.name}",
            op="mean",
            got=wanted.name,
            remedy="pass dtype",
        )
    dims = _dims("mean", input, dim)
    total = sum(input, dims, keepdim=keepdim, dtype=dtype, mask=mask)
    return binary.div(total, _counted(input, dims, keepdim, mask))


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Lower median along a dim of what counts and is not NaN.

    Example: `gm.masked.median(gm.tensor([2., 3.]), 0, mask=gm.tensor([False, True]))` is `tensor(3.)`.
    """
    if dtypes.is_floating(spec(input).dtype):
        return order.nanmedian(_filled(input, mask, math.nan), dim, keepdim).values
    found = order.nanmedian(_filled(cast(input, dtypes.float32), mask, math.nan), dim, keepdim).values
    if bool(reduce.any(unary.isnan(found))):
        raise InvalidRequestError(
            "masked median expects no fully masked out rows if dtype is not floating point", op="median"
        )
    return maybe_cast(found, input.dtype if dtype is None else dtype)


def _variance(
    input: Tensor,
    dim: Dims | None,
    unbiased: bool | None,
    correction: float | None,
    keepdim: bool,
    dtype: _dtype.DTypeLike | None,
    mask: Tensor | None,
) -> Tensor:
    if unbiased is not None and correction is not None:
        raise InvalidRequestError("Only one of unbiased and correction may be given", op="var")
    less = 1.0 if unbiased is None else float(unbiased)
    less = less if correction is None else float(correction)
    wanted = spec(input).dtype if dtype is None else _dtype.of(dtype).np
    if dtype is None and not dtypes.is_differentiable(wanted):
        wanted = dtypes.float32
    name = wanted.name if dtypes.is_differentiable(wanted) else "float32"
    dims = _dims("var", input, dim)
    count = _counted(input, dims, True, mask)
    middle = binary.div(sum(input, dims, keepdim=True, dtype=wanted.name, mask=mask), count)
    off = binary.sub(input, middle)
    total = sum(binary.mul(off, convert.conj(off)), dims, keepdim=keepdim, dtype=name, mask=mask)
    if not keepdim:
        count = layout.reshape(count, tuple(total.shape))
    if less:
        count = binary.clamp_min(binary.sub(cast(count, dtypes.real_of(dtypes.parse(name))), less), 0)
    return cast(binary.div(total, count), wanted)


def var(
    input: Tensor,
    dim: Dims | None = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Variance of what counts, with n - correction (1 unless given) in the denominator.

    Example: `gm.masked.var(gm.tensor([1., 3., 9.]), mask=gm.tensor([True, True, False]))` is `tensor(2.)`.
    """
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(
    input: Tensor,
    dim: Dims | None = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Square root of `var`.

    Example: `gm.masked.std(gm.tensor([1., 3., 9.]), mask=gm.tensor([True, True, False]))` is `tensor(1.4142)`.
    """
    return unary.sqrt(_variance(input, dim, unbiased, correction, keepdim, dtype, mask))


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The norm of order `ord` (2 when None) of what counts.

    Example: `gm.masked.norm(gm.tensor([3., 4.]), 2, mask=gm.tensor([True, False]))` is `tensor(3.)`.
    """
    ord = 2.0 if ord is None else float(ord)
    filled = _filled(input, mask, math.inf if ord == -math.inf else 0)
    return reduce.norm(filled, ord, _dims("norm", input, dim), keepdim, dtype=dtype)


# --- normalisations -------------------------------------------------------------------------------


def softmax(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of what counts, 0 for the rest.

    Example: `gm.masked.softmax(gm.ones(2), 0, mask=gm.tensor([True, False]))` is `tensor([1., 0.])`.
    """
    return activation.softmax(_filled(input, mask, _lowest), dim, dtype=dtype)


def log_softmax(
    input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None, mask: Tensor | None = None
) -> Tensor:
    """Log of `softmax`.

    Example: `gm.masked.log_softmax(gm.ones(2), 0, mask=gm.tensor([True, False]))` is `tensor([0., -inf])`.
    """
    return activation.log_softmax(_filled(input, mask, _lowest), dim, dtype=dtype)


def softmin(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of the negative.

    Example: `gm.masked.softmin(gm.ones(2), 0, mask=gm.tensor([True, False]))` is `tensor([1., 0.])`.
    """
    return activation.softmin(_filled(input, mask, _highest), dim, dtype=dtype)


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """What counts over its norm along a dim, which is at least `eps`; 0 for the rest.

    Example: `gm.masked.normalize(gm.tensor([3., 4.]), 2, 0, mask=gm.tensor([True, False]))` is `tensor([1., 0.])`.
    """
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return binary.div(_filled(input, mask, 0), binary.maximum(size, scalar(eps, spec(size).dtype)))


# --- logarithms of sums ---------------------------------------------------------------------------


def logsumexp(
    input: Tensor,
    dim: Dims | None = None,
    *,
    keepdim: bool = False,
    dtype: _dtype.DTypeLike | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Log of the sum of exp of what counts.

    Example: `gm.masked.logsumexp(gm.zeros(2), mask=gm.tensor([True, False]))` is `tensor(0.)`.
    """
    found = reduce.logsumexp(_filled(input, mask, _lowest), _dims("logsumexp", input, dim), keepdim)
    return maybe_cast(found, input.dtype if dtype is None else dtype)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: _dtype.DTypeLike | None = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """log(exp(input) + exp(other)), without what does not count.

    Example: `gm.masked.logaddexp(gm.zeros(1), gm.zeros(1), other_mask=gm.tensor([False]))` is `tensor([0.])`.
    """
    found = binary.logaddexp(_filled(input, input_mask, _lowest), _filled(other, other_mask, _lowest))
    return maybe_cast(found, input.dtype if dtype is None else dtype)
