"""Functions that gather many elements into fewer.

`dim` is an int or several, counted from the end when negative; None means all. `keepdim` keeps the
removed dims at size 1. Sums and products of integers are int64. A dim outside the rank raises AxisError.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, overload

from gradmesh import _dtype, return_types
from gradmesh._functions import binary
from gradmesh._functions._common import Dims, ints, many, maybe_cast, one
from gradmesh_engine.errors import AttributeTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


def _name(dtype: _dtype.DTypeLike | None) -> str | None:
    return None if dtype is None else _dtype.of(dtype).name


def dims_of(function: str, dim: Dims | None, keepdim: bool, dtype: _dtype.DTypeLike | None = None) -> dict[str, Any]:
    """The attributes reductions share; no dims means all, and what is left out is the op's default."""
    attrs: dict[str, Any] = {}
    if dim is not None:
        dims = ints(function, "dim", dim)
        if dims:
            attrs["dim"] = dims
    if keepdim:
        attrs["keepdim"] = True
    if dtype is not None:
        attrs["dtype"] = _name(dtype)
    return attrs


# --- sums, products, means ------------------------------------------------------------------------


def sum(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: _dtype.DTypeLike | None = None
) -> Tensor:
    """Sum over dims. Example: `gm.sum(gm.ones(2, 3), dim=0)` is `tensor([2., 2., 2.])`."""
    attrs = dims_of("sum", dim, keepdim, dtype)
    if dim is not None:
        # No dims are all of them, but PyTorch's name of the derivative tells them apart.
        attrs.setdefault("dim", ())
    return one("sum", input, **attrs)


def mean(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: _dtype.DTypeLike | None = None
) -> Tensor:
    """Mean over dims, of floats only. Example: `gm.mean(gm.ones(2, 3))` is `tensor(1.)`."""
    attrs = dims_of("mean", dim, keepdim, dtype)
    if dim is not None:
        attrs.setdefault("dim", ())
    return one("mean", input, **attrs)


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: _dtype.DTypeLike | None = None
) -> Tensor:
    """Product over one dim or all. Example: `gm.prod(gm.full((3,), 2.))` is `tensor(8.)`."""
    return one("prod", input, **dims_of("prod", dim, keepdim, dtype))


def cumsum(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None) -> Tensor:
    """Running sum along a dim, of the same shape. Example: `gm.cumsum(gm.ones(3), 0)` is `tensor([1., 2., 3.])`."""
    return one("cumsum", input, dim=dim, dtype=_name(dtype))


def cumprod(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None) -> Tensor:
    """Running product along a dim, of the same shape. Example: `gm.cumprod(gm.ones(2), 0)` is `tensor([1., 1.])`."""
    return one("cumprod", input, dim=dim, dtype=_name(dtype))


# --- spread ---------------------------------------------------------------------------------------


def _spread(
    function: str,
    dim: Dims | bool | None,
    unbiased: bool | None,
    keepdim: bool,
    correction: float | None,
) -> dict[str, Any]:
    """Attributes of var and std: PyTorch takes `var(unbiased)` as well as `var(dim, unbiased)`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1.0 if unbiased is None or unbiased else 0.0
    elif unbiased is not None:
        raise AttributeTypeError(f"{function}(): give either unbiased or correction, not both", op=function)
    return {"correction": float(correction), **dims_of(function, dim, keepdim)}


def var(
    input: Tensor,
    dim: Dims | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over dims, with n - correction in the denominator (1 unless told otherwise).

    Example: `gm.var(gm.tensor([1., 3.]))` is `tensor(2.)`.
    """
    return one("var", input, **_spread("var", dim, unbiased, keepdim, correction))


def std(
    input: Tensor,
    dim: Dims | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Square root of `var`. Example: `gm.std(gm.tensor([1., 3.]))` is `tensor(1.4142)`."""
    return one("std", input, **_spread("std", dim, unbiased, keepdim, correction))


def var_mean(
    input: Tensor,
    dim: Dims | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(`var`, `mean`). Example: `gm.var_mean(gm.tensor([1., 3.]))` is `(tensor(2.), tensor(2.))`."""
    spread, middle = many("var_mean", input, **_spread("var_mean", dim, unbiased, keepdim, correction))
    return spread, middle


def std_mean(
    input: Tensor,
    dim: Dims | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(`std`, `mean`). Example: `gm.std_mean(gm.tensor([1., 3.]))` is `(tensor(1.4142), tensor(2.))`."""
    spread, middle = many("std_mean", input, **_spread("std_mean", dim, unbiased, keepdim, correction))
    return spread, middle


def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims | None = None,
    keepdim: bool = False,
    *,
    dtype: _dtype.DTypeLike | None = None,
) -> Tensor:
    """The p-norm of the elements over dims; "fro" and None mean 2, "nuc" the sum of singular values.

    Example: `gm.norm(gm.tensor([3., 4.]))` is `tensor(5.)`.
    """
    if p is None or p == "fro":
        p = 2.0
    elif isinstance(p, str):
        if p != "nuc":
            raise AttributeTypeError(
                "norm(): p is a number, 'fro' or 'nuc'", op="norm", expected="a number, 'fro' or 'nuc'", got=repr(p)
            )
        from gradmesh._functions.solve import linalg_matrix_norm

        dims = (0, 1) if dim is None else ints("norm", "dim", dim)
        return linalg_matrix_norm(maybe_cast(input, dtype), "nuc", dims, keepdim)
    return one("norm", maybe_cast(input, dtype), p=float(p), **dims_of("norm", dim, keepdim))


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Log of the sum of exp over dims, without overflow.

    Example: `gm.logsumexp(gm.zeros(2), 0)` is `tensor(0.6931)`.
    """
    return one("logsumexp", input, **dims_of("logsumexp", dim, keepdim))


# --- extremes -------------------------------------------------------------------------------------


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Largest element over dims; ties share the gradient. Example: `gm.amax(gm.tensor([1., 3.]))` is `tensor(3.)`."""
    return one("amax", input, **dims_of("amax", dim, keepdim))


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Smallest element over dims; ties share the gradient. Example: `gm.amin(gm.tensor([1., 3.]))` is `tensor(1.)`."""
    return one("amin", input, **dims_of("amin", dim, keepdim))


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> return_types.aminmax:
    """(`amin`, `amax`). Example: `gm.aminmax(gm.tensor([1., 3.])).max` is `tensor(3.)`."""
    low, high = many("aminmax", input, **dims_of("aminmax", dim, keepdim))
    return return_types.aminmax(low, high)


@overload
def max(input: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> return_types.max: ...
@overload
def max(input: Tensor, dim: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, *, other: Tensor) -> Tensor: ...
def max(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Tensor | return_types.max:
    """Largest element: of all, along a dim (with its index), or of each pair with another tensor.

    Example: `gm.max(gm.tensor([1., 3.]), 0).indices` is `tensor(1)`.
    """
    if dim is None and other is None:
        return one("max", input)
    if isinstance(dim, int):
        return return_types.max(*many("max_dim", input, dim=dim, keepdim=keepdim))
    pair = other if dim is None else dim
    assert pair is not None
    return binary.maximum(input, pair)


@overload
def min(input: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> return_types.min: ...
@overload
def min(input: Tensor, dim: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, *, other: Tensor) -> Tensor: ...
def min(
    input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Tensor | return_types.min:
    """Smallest element: of all, along a dim (with its index), or of each pair with another tensor.

    Example: `gm.min(gm.tensor([1., 3.]), 0).indices` is `tensor(0)`.
    """
    if dim is None and other is None:
        return one("min", input)
    if isinstance(dim, int):
        return return_types.min(*many("min_dim", input, dim=dim, keepdim=keepdim))
    pair = other if dim is None else dim
    assert pair is not None
    return binary.minimum(input, pair)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """int64 position of the first largest element. Example: `gm.argmax(gm.tensor([1., 3.]))` is `tensor(1)`."""
    return one("argmax", input, dim=None if dim is None else operator.index(dim), keepdim=keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """int64 position of the first smallest element. Example: `gm.argmin(gm.tensor([1., 3.]))` is `tensor(0)`."""
    return one("argmin", input, dim=None if dim is None else operator.index(dim), keepdim=keepdim)


# --- truth ----------------------------------------------------------------------------------------


def any(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """True where at least one element is nonzero. Example: `gm.any(gm.zeros(2))` is `tensor(False)`."""
    return one("any", input, **dims_of("any", dim, keepdim))


def all(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """True where no element is zero. Example: `gm.all(gm.ones(2))` is `tensor(True)`."""
    return one("all", input, **dims_of("all", dim, keepdim))


def count_nonzero(input: Tensor, dim: Dims | None = None) -> Tensor:
    """int64 number of elements that are not zero. Example: `gm.count_nonzero(gm.ones(2))` is `tensor(2)`."""
    return sum(binary.ne(input, 0), dim)
