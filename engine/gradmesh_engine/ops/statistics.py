"""Reductions as PyTorch offers them, composed of the primitives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import FLOAT, INT
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Primitive, Specs, declare, lookup
from gradmesh_engine.ops.numeric import absolute, isinf, isnan, pow_scalar, real, sgn, square
from gradmesh_engine.ops.pointwise import conjugate, convert, detach, eq, keep, logical_not, logical_or, nonzero, where
from gradmesh_engine.ops.reduce import (
    argmax_along,
    argmin_along,
    kept_shape,
    normal_dim,
    normal_dims,
    reduce_max,
    reduce_min,
    reduce_prod,
    reduce_sum,
    scan_prod,
    scan_sum,
    spread,
)
from gradmesh_engine.ops.smooth import exp, log, sqrt

DIMS = {
    "dim": Attr("ints", None, "the dims to reduce; all when absent or empty"),
    "keepdim": Attr("bool", False, "keep the reduced dims at size 1"),
}
ONE_DIM = {"dim": Attr("int", doc="the dim to reduce"), "keepdim": Attr("bool", False, "keep it at size 1")}

# --- helpers --------------------------------------------------------------------------------------


def widened(x: V) -> V:
    """16-bit floats as float32, which they compute in; anything else as it is."""
    result: V = convert(x, dtype="float32") if dtypes.is_half(x.dtype) else x
    return result


def finished(y: V, dims: Sequence[int], shape: Sequence[int], keepdim: bool) -> V:
    """The reduced value, its dims put back at size 1 when they are to be kept."""
    result: V = lookup("reshape")(y, shape=kept_shape(shape, dims)) if keepdim else y
    return result


def count_of(shape: Sequence[int], dims: Sequence[int]) -> int:
    """How many elements are reduced to one."""
    return math.prod(shape[dim] for dim in dims)


def need_float(name: str, x: V, message: str) -> None:
    """Raises DTypeError unless `x` is floating or complex."""
    if dtypes.category(x.dtype) < FLOAT:
        raise DTypeError(
            f"{name}: {message} Got: {dtypes.title(x.dtype)}",
            expected="a floating point or complex dtype",
            got=x.dtype.name,
            remedy="cast the operand to a float",
        )


def _by_dim(name: str) -> Callable[[Specs, Mapping[str, AttrValue]], str]:
    return lambda specs, attrs: f"{name}Backward{0 if attrs.get('dim') is None else 1}"


def _composite(name: str, body: Callable[..., Any], grad_name: Any, doc: str, **changes: Any) -> Composite:
    attrs = {**DIMS, **changes.pop("attrs", {})}
    return declare(Composite(name=name, arity=1, attrs=attrs, body=body, grad_name=grad_name, doc=doc, **changes))


# --- sums and products ----------------------------------------------------------------------------


def _accumulated(primitive: Primitive) -> Callable[..., V]:
    def body(x: V, dim: Sequence[int] | None, keepdim: bool, dtype: str | None) -> V:
        dims = normal_dims(dim, x.ndim)
        if dtype is not None:
            x = convert(x, dtype=dtype)
        elif dtypes.category(x.dtype) <= INT:
            x = convert(x, dtype="int64")
        y = convert(primitive(widened(x), dims=dims), dtype=x.dtype.name)
        return finished(y, dims, x.shape, keepdim)

    return body


def _mean(x: V, dim: Sequence[int] | None, keepdim: bool, dtype: str | None) -> V:
    dims = normal_dims(dim, x.ndim)
    if dtype is not None:
        x = convert(x, dtype=dtype)
    need_float(
        "mean()",
        x,
        f"could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a floating "
        "point or complex dtype.",
    )
    total = reduce_sum(widened(x), dims=dims)
    # The division waits for the whole sum: there is no mean of a part.
    y = convert(total / constant(total, float(count_of(x.shape, dims))), dtype=x.dtype.name)
    return finished(y, dims, x.shape, keepdim)


_DTYPE = {"dtype": Attr("dtype", None, "cast to it before")}

sum_ = _composite(
    "sum",
    _accumulated(reduce_sum),
    _by_dim("Sum"),
    "Sum over dims; integers and bools give int64.",
    attrs=_DTYPE,
)
prod = _composite(
    "prod",
    _accumulated(reduce_prod),
    _by_dim("Prod"),
    "Product over dims; integers and bools give int64.",
    attrs=_DTYPE,
)
mean = _composite("mean", _mean, _by_dim("Mean"), "Mean over dims.", attrs=_DTYPE)


def _nansum(x: V, dim: Sequence[int] | None, keepdim: bool, dtype: str | None) -> V:
    if dtypes.is_complex(x.dtype):
        raise DTypeError("nansum does not support complex inputs", expected="a real dtype", got=x.dtype.name)
    if dtypes.is_floating(x.dtype):
        x = keep(x, logical_not(isnan(x)))
    result: V = sum_(x, dim=dim, keepdim=keepdim, dtype=dtype)
    return result


def _nanmean(x: V, dim: Sequence[int] | None, keepdim: bool, dtype: str | None) -> V:
    need_float("nanmean()", x, "expected input to have floating point or complex dtype.")
    total = _nansum(x, dim, keepdim, dtype)
    there = convert(logical_not(isnan(x)), dtype="int64")
    count: V = sum_(there, dim=dim, keepdim=keepdim)
    return total / convert(count, dtype=total.dtype.name)


_composite("nansum", _nansum, "NansumBackward0", "Sum over dims of what is not NaN.", attrs=_DTYPE)
_composite("nanmean", _nanmean, "DivBackward0", "Mean over dims of what is not NaN.", attrs=_DTYPE)


def _running(primitive: Primitive) -> Callable[..., V]:
    def body(x: V, dim: int, dtype: str | None) -> V:
        at = normal_dim(dim, x.ndim)
        if dtype is not None:
            x = convert(x, dtype=dtype)
        elif dtypes.category(x.dtype) <= INT:
            x = convert(x, dtype="int64")
        if not x.ndim:
            return x
        result: V = convert(primitive(widened(x), dim=at), dtype=x.dtype.name)
        return result

    return body


for _name, _primitive in (("cumsum", scan_sum), ("cumprod", scan_prod)):
    declare(
        Composite(
            name=_name,
            arity=1,
            attrs={"dim": Attr("int"), **_DTYPE},
            grad_name=f"{_name.capitalize()}Backward0",
            doc=f"Running {'sums' if _name == 'cumsum' else 'products'} along a dim; integers and bools give int64.",
            body=_running(_primitive),
        )
    )

# --- extremes -------------------------------------------------------------------------------------


def _extreme(name: str, primitive: Primitive) -> Callable[..., V]:
    def body(x: V, dim: Sequence[int] | None = None, keepdim: bool = False) -> V:
        dims = normal_dims(dim, x.ndim)
        if not dim and not x.spec.size:
            raise ShapeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument.",
                got=str(list(x.shape)),
                expected="at least one element",
            )
        return finished(primitive(x, dims=dims), dims, x.shape, keepdim)

    return body


def _extreme_of_all_vjp(g: V, y: V, x: V) -> tuple[V]:
    dims = tuple(range(x.ndim))
    # NaN is the largest and the smallest where there is one.
    best = convert(logical_or(eq(x, spread(y, dims, x.shape)), isnan(x)), dtype=g.dtype.name)
    return (spread(g / reduce_sum(best, dims=dims), dims, x.shape) * best,)


def _aminmax(x: V, dim: Sequence[int] | None, keepdim: bool) -> tuple[V, V]:
    if dim is None and not x.spec.size:
        raise ShapeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.",
            got=str(list(x.shape)),
        )
    return _extreme("amin", reduce_min)(x, dim, keepdim), _extreme("amax", reduce_max)(x, dim, keepdim)


def _position(primitive: Primitive) -> Callable[..., V]:
    def body(x: V, dim: int | None, keepdim: bool) -> V:
        if x.dtype == dtypes.bool_:
            raise DTypeError(f"{primitive.name[:6]}(): does not support bool input", got="bool", remedy="cast it")
        flat = x if dim is not None and x.ndim else lookup("reshape")(x, shape=(x.spec.size,))
        at = 0 if dim is None or not x.ndim else normal_dim(dim, x.ndim)
        if dim is not None:
            normal_dim(dim, x.ndim)
        if not flat.shape[at]:
            name = primitive.name[:6]
            raise AxisError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
                if dim is None
                else f"{name}(): Expected reduction dim {at} to have non-zero size.",
                got=str(list(x.shape)),
            )
        y = primitive(flat, dim=at)
        dims = tuple(range(x.ndim)) if dim is None or not x.ndim else (at,)
        return finished(y, dims, x.shape, keepdim)

    return body


def _extreme_along(primitive: Primitive) -> Callable[..., tuple[V, V]]:
    def body(x: V, dim: int, keepdim: bool) -> tuple[V, V]:
        at = normal_dim(dim, x.ndim)
        if not x.ndim:
            return x + constant(x, 0), constant(x, 0, dtype=dtypes.int64)
        where = lookup("reshape")(primitive(x, dim=at), shape=kept_shape(x.shape, (at,)))
        # Gathered at the position, so that the gradient goes to that one element.
        values = lookup("gather")(x, where, dim=at)
        if keepdim:
            return values, where
        shape = tuple(size for i, size in enumerate(x.shape) if i != at)
        return lookup("reshape")(values, shape=shape), lookup("reshape")(where, shape=shape)

    return body


for _name, _primitive, _arg in (("max", reduce_max, argmax_along), ("min", reduce_min, argmin_along)):
    _title = _name.capitalize()
    _what = "Largest" if _name == "max" else "Smallest"
    _composite(
        f"a{_name}", _extreme(f"a{_name}", _primitive), f"A{_name}Backward0", f"{_what} element over dims; ties share."
    )
    declare(
        Composite(
            name=_name,
            arity=1,
            grad_name=f"{_title}Backward1",
            doc=f"{_what} of all elements; ties share the gradient.",
            body=_extreme(_name, _primitive),
            vjp=_extreme_of_all_vjp,
        )
    )
    declare(
        Composite(
            name=f"{_name}_dim",
            arity=1,
            attrs=ONE_DIM,
            grad_name=f"{_title}Backward0",
            doc=f"{_what} element along a dim and its first position, which gets the gradient.",
            body=_extreme_along(_arg),
        )
    )
    declare(
        Composite(
            name=f"arg{_name}",
            arity=1,
            attrs={"dim": Attr("int", None), "keepdim": ONE_DIM["keepdim"]},
            doc=f"int64 position of the first {_what.lower()} element, of all when dim is absent.",
            body=_position(_arg),
        )
    )

# --- truth ----------------------------------------------------------------------------------------


def _truth(primitive: Primitive, of_nothing: bool) -> Callable[..., V]:
    def body(x: V, dim: Sequence[int] | None, keepdim: bool) -> V:
        dims = normal_dims(dim, x.ndim)
        # PyTorch answers for uint8, its former mask dtype, in uint8.
        result = x.dtype if x.dtype == dtypes.uint8 else dtypes.bool_
        if count_of(x.shape, dims):
            y = primitive(convert(x, dtype="bool"), dims=dims)
        else:
            y = constant(x, of_nothing, tuple(s for i, s in enumerate(x.shape) if i not in dims), dtypes.bool_)
        return finished(convert(y, dtype=result.name), dims, x.shape, keepdim)

    return body


any_ = _composite("any", _truth(reduce_max, False), "", "True where at least one element is not 0.")
all_ = _composite("all", _truth(reduce_min, True), "", "True where no element is 0.")

# --- spread ---------------------------------------------------------------------------------------


def _centred(x: V, dims: Sequence[int]) -> tuple[V, V]:
    """X minus its mean over dims, and the mean."""
    total = reduce_sum(x, dims=tuple(dims))
    average = total / constant(total, float(count_of(x.shape, dims)))
    return x - spread(average, dims, x.shape), average


def _variance(x: V, dims: Sequence[int], correction: float) -> tuple[V, V]:
    """Variance in two passes, and the mean."""
    need_float("var()", x, "std and var only support floating point and complex dtypes.")
    off, average = _centred(x, dims)
    squares = real(off * conjugate(off)) if dtypes.is_complex(x.dtype) else square(off)
    total = reduce_sum(squares, dims=tuple(dims))
    freedom = max(0.0, count_of(x.shape, dims) - correction)
    return total / constant(total, freedom), average


def _variance_vjp(g: V, x: V, dims: Sequence[int], correction: float) -> V:
    """X's cotangent for the cotangent `g` (dims removed) of its variance."""
    freedom = max(0.0, count_of(x.shape, dims) - correction)
    off, _ = _centred(x, dims)
    return spread(g * constant(g, 2.0) / constant(g, freedom), dims, x.shape) * off


def _without(v: V, dims: Sequence[int], shape: Sequence[int], keepdim: bool) -> V:
    """The dims kept at size 1 taken out again."""
    if not keepdim:
        return v
    result: V = lookup("reshape")(v, shape=tuple(s for i, s in enumerate(shape) if i not in dims))
    return result


def _spread_op(name: str, *, root: bool, with_mean: bool) -> None:
    def body(x: V, dim: Sequence[int] | None, keepdim: bool, correction: float) -> Any:
        dims = normal_dims(dim, x.ndim)
        value, average = _variance(widened(x), dims, correction)
        results = [sqrt(value) if root else value, average][: 1 + with_mean]
        # A complex operand has a real variance and a complex mean.
        wanted = [dtypes.real_of(x.dtype).name, x.dtype.name]
        return tuple(
            finished(convert(v, dtype=name), dims, x.shape, keepdim) for v, name in zip(results, wanted, strict=False)
        )

    def vjp(g: Any, y: Any, x: V, dim: Sequence[int] | None, keepdim: bool, correction: float) -> tuple[V | None]:
        dims = normal_dims(dim, x.ndim)
        g_value, g_mean = g if with_mean else (g, None)
        wide = widened(x)
        total: V | None = None
        if g_value is not None:
            value = widened(_without(y[0] if with_mean else y, dims, x.shape, keepdim))
            g_value = widened(_without(g_value, dims, x.shape, keepdim))
            if root:
                g_value = keep(g_value * 0.5 / value, nonzero(value))
            total = _variance_vjp(g_value, wide, dims, correction)
        if g_mean is not None:
            g_mean = widened(_without(g_mean, dims, x.shape, keepdim))
            part = spread(g_mean / constant(g_mean, float(count_of(x.shape, dims))), dims, x.shape)
            total = part if total is None else total + part
        return (None if total is None else convert(total, dtype=x.dtype.name),)

    _composite(
        name,
        body,
        "".join(part.capitalize() for part in name.split("_")) + "Backward0",
        ("Standard deviation" if root else "Variance")
        + " over dims, with n - correction in the denominator"
        + (", and mean." if with_mean else "."),
        attrs={"correction": Attr("float", 1.0)},
        vjp=vjp,
    )


_spread_op("var", root=False, with_mean=False)
_spread_op("std", root=True, with_mean=False)
_spread_op("var_mean", root=False, with_mean=True)
_spread_op("std_mean", root=True, with_mean=True)

# --- norms ----------------------------------------------------------------------------------------


def _norm(x: V, p: float, dim: Sequence[int] | None, keepdim: bool) -> V:
    need_float("norm", x, "Expected a floating point or complex tensor as input.")
    dims = normal_dims(dim, x.ndim)
    wide = widened(x)
    size = absolute(wide)
    if p == 2:
        y = sqrt(reduce_sum(square(size if dtypes.is_complex(x.dtype) else wide), dims=dims))
    elif p == 1:
        y = reduce_sum(size, dims=dims)
    elif p == 0:
        y = reduce_sum(convert(nonzero(size), dtype=size.dtype.name), dims=dims)
    elif math.isinf(p):
        y = (reduce_max if p > 0 else reduce_min)(size, dims=dims)
    else:
        y = pow_scalar(reduce_sum(pow_scalar(size, exponent=p), dims=dims), exponent=1 / p)
    return finished(convert(y, dtype=dtypes.real_of(x.dtype).name), dims, x.shape, keepdim)


def _norm_vjp(g: V, y: V, x: V, p: float, dim: Sequence[int] | None, keepdim: bool) -> tuple[V | None]:
    dims = normal_dims(dim, x.ndim)
    wide = widened(x)
    g, y = (widened(_without(v, dims, x.shape, keepdim)) for v in (g, y))
    # What is divided by, so that neither the quotient nor its derivative is NaN where it does not count.
    safe = where(nonzero(y), y, constant(y, 1))
    if p == 0:
        return (None,)
    if p == 1:
        result = spread(g, dims, x.shape) * sgn(wide)
    elif p == 2:
        result = spread(keep(g / safe, nonzero(y)), dims, x.shape) * wide
    elif math.isinf(p):
        size = absolute(wide)
        mask = eq(size, spread(y, dims, x.shape))
        share = g / reduce_sum(convert(mask, dtype=g.dtype.name), dims=dims)
        result = keep(spread(share, dims, x.shape), mask) * sgn(wide)
    else:
        size = absolute(wide)
        scale = keep(g * pow_scalar(safe, exponent=1 - p), nonzero(y))
        rise = keep(pow_scalar(size, exponent=p - 1), nonzero(size)) if p < 1 else pow_scalar(size, exponent=p - 1)
        result = spread(scale, dims, x.shape) * rise * sgn(wide)
    return (convert(result, dtype=x.dtype.name),)


norm = _composite(
    "norm",
    _norm,
    "LinalgVectorNormBackward0",
    "The p-norm of the elements over dims; its gradient at 0 is 0.",
    attrs={"p": Attr("float", 2.0, "the order; 0 counts, inf and -inf take extremes")},
    vjp=_norm_vjp,
)

_composite("aminmax", _aminmax, "AminmaxBackward0", "Smallest and largest element over dims.")

# --- logsumexp ------------------------------------------------------------------------------------


class _Exponentials(NamedTuple):
    """e^(x - top) and its sum over dims, which are removed; top is None without elements."""

    each: V
    total: V
    top: V | None


def _exponentials(x: V, dims: tuple[int, ...]) -> _Exponentials:
    if dtypes.category(x.dtype) <= INT:
        x = convert(x, dtype=dtypes.DEFAULT.name)
    x = widened(x)
    top = None
    if count_of(x.shape, dims):
        # Complex numbers have no largest one; that of the real parts will do.
        top = detach(reduce_max(real(x) if dtypes.is_complex(x.dtype) else x, dims=dims))
        top = keep(top, logical_not(isinf(top)))
        x = x - spread(top, dims, x.shape)
    each = exp(x)
    return _Exponentials(each, reduce_sum(each, dims=dims), top)


def _logsumexp(x: V, dim: Sequence[int] | None, keepdim: bool) -> V:
    dims = normal_dims(dim, x.ndim)
    _, total, top = _exponentials(x, dims)
    y = log(total) if top is None else log(total) + top
    dtype = dtypes.DEFAULT if dtypes.category(x.dtype) <= INT else x.dtype
    return finished(convert(y, dtype=dtype.name), dims, x.shape, keepdim)


def _logsumexp_vjp(g: V, y: V, x: V, dim: Sequence[int] | None, keepdim: bool) -> tuple[V]:
    dims = normal_dims(dim, x.ndim)
    # e^(x - y) would be an exponential more than those y is made of.
    each, total, _ = _exponentials(x, dims)
    share = widened(_without(g, dims, x.shape, keepdim)) / conjugate(total)
    return (convert(spread(share, dims, x.shape) * conjugate(each), dtype=x.dtype.name),)


logsumexp = _composite(
    "logsumexp",
    _logsumexp,
    "LogsumexpBackward0",
    "log of the sum of exp over dims, without overflow.",
    vjp=_logsumexp_vjp,
)
