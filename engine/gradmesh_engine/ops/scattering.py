"""Functions that combine several values written to one place, and those that write into regions of a copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, AxisError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare, lookup
from gradmesh_engine.ops.indexing import (
    check_index,
    flat_base,
    gather,
    positions,
    put_add,
    put_along_add,
    put_along_add_spec,
    put_set,
    take,
)
from gradmesh_engine.ops.joining import diagonal_of
from gradmesh_engine.ops.layout import Ints, expand, normal_dim, zeros_like
from gradmesh_engine.ops.pointwise import convert, eq, is_zero, keep, logical_and, where
from gradmesh_engine.ops.regions import pad, slice_update
from gradmesh_engine.ops.selecting import rows_of, same_dtype, scattered
from gradmesh_engine.ops.shaping import DIM, composite, reshaped

# --- the primitive --------------------------------------------------------------------------------

_UFUNCS = {"prod": np.multiply, "max": np.maximum, "min": np.minimum}


def _identity(kind: str, dtype: np.dtype) -> Any:
    """What changes nothing when it is combined with a number of this dtype."""
    if kind == "prod":
        return 1
    if dtype == dtypes.bool_:
        return kind == "min"
    if dtypes.is_floating(dtype):
        return -math.inf if kind == "max" else math.inf
    limits = np.iinfo(dtype)
    return limits.min if kind == "max" else limits.max


def _reduce_spec(specs: Specs, *, dim: int, size: int, kind: str) -> TensorSpec:
    if kind not in _UFUNCS:
        raise AttributeTypeError(f"put_along_reduce has no kind {kind!r}", expected="prod, max or min", got=kind)
    return put_along_add_spec(specs, dim=dim, size=size)


def _reduce_kernel(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    size: Any = site.attrs["size"]
    kind: Any = site.attrs["kind"]
    base, stride = flat_base(site.out.shape, dim)
    identity = _identity(kind, site.out.dtype)
    combine = _UFUNCS[kind].at

    def run(index: np.ndarray, src: np.ndarray, out: np.ndarray) -> None:
        at = positions(index, size, dim, wrap=False) * stride + base
        out[...] = identity
        combine(out.reshape(-1, copy=False), at.reshape(-1), src.reshape(-1))

    return run


def _reduce_axes(specs: Specs, out: TensorSpec, *, dim: int, kind: Any, **_: Any) -> list[Factor]:
    return [Factor((d, d), None, kind) if d == dim else Factor((d, d), d) for d in range(out.ndim)]


def _product_vjp(
    g: V,
    y: V,
    src: V,
    back: Callable[[V], V],
    summed: Callable[[V], V],
    product: Callable[[V], V],
) -> V:
    """The product of the others: y / src, or, at a single zero, the product made as if it were 1."""
    one, zero = constant(src, 1), is_zero(src)
    zeros = back(summed(convert(zero, dtype="int64")))
    single = logical_and(zero, eq(zeros, constant(zeros, 1)))
    without_zeros = where(zero, one, src)
    result: V = where(single, back(g * product(without_zeros)), back(g * y) / without_zeros)
    return result


def _put_along_reduce_vjp(g: V, y: V, index: V, src: V, *, dim: int, size: int, kind: str) -> Sequence[V | None]:
    def back(v: V) -> V:
        result: V = gather(v, index, dim=dim)
        return result

    def summed(v: V) -> V:
        result: V = put_along_add(index, v, dim=dim, size=size)
        return result

    if kind == "prod":
        product = lambda v: put_along_reduce(index, v, dim=dim, size=size, kind="prod")  # noqa: E731
        return None, _product_vjp(g, y, src, back, summed, product)
    # Equal ones share evenly.
    mask = convert(eq(src, back(y)), dtype=g.dtype.name)
    return None, back(g) * mask / back(summed(mask))


put_along_reduce: Primitive = declare(
    Primitive(
        name="put_along_reduce",
        arity=2,
        attrs={
            "dim": Attr("int"),
            "size": Attr("int", doc="of the result along dim"),
            "kind": Attr("str", doc="prod, max or min"),
        },
        grad_name="ScatterReduceBackward0",
        doc="out[i, k] = the product or extreme of all src[i, j] with index[i, j] = k for dim 1; of none, the number "
        "that changes nothing.",
        spec=_reduce_spec,
        kernel=_reduce_kernel,
        vjp=_put_along_reduce_vjp,
        axes=_reduce_axes,
        cost=lambda specs, out, attrs: 6.0 * specs[1].size + out.size,
    )
)

# --- scatter_reduce and index_reduce --------------------------------------------------------------


class _Targets:
    """Where the elements of an index point to along one dim of x: what both functions are made of."""

    def __init__(self, x: V, index: V, src: V, dim: int) -> None:
        self.shape = x.shape
        self.dim = dim
        self.size = x.shape[dim] if x.ndim else 1
        self.index = index
        self.src = src

    def whole(self, reached: V, value: Any) -> V:
        """A result over the region the index can reach, laid out over all of x."""
        if reached.shape == self.shape:
            return reached
        high = tuple(a - b for a, b in zip(self.shape, reached.shape, strict=True))
        nothing = (0,) * len(high)
        result: V = pad(reached, low=nothing, high=high, interior=nothing, value=value)
        return result

    def summed(self, src: V) -> V:
        """The sums of what goes to each place."""
        return self.whole(put_along_add(self.index, src, dim=self.dim, size=self.size), 0)

    def reduced(self, kind: str, src: V) -> V:
        """The products or extremes of what goes to each place; the identity where nothing goes."""
        found = put_along_reduce(self.index, src, dim=self.dim, size=self.size, kind=kind)
        return self.whole(found, _identity(kind, src.dtype))

    def count(self) -> V:
        """int64: how many go to each place."""
        return self.summed(constant(self.index, 1, self.index.shape, dtypes.int64))

    def back(self, v: V) -> V:
        """What stands at the place of each element."""
        result: V = gather(v, self.index, dim=self.dim)
        return result


def _floor_div(a: V, b: V) -> V:
    result: V = lookup("div_floor")(a, b)
    return result


def _combined(x: V, to: _Targets, reduce: str, include_self: bool) -> V:
    if reduce in ("sum", "mean"):
        base = x if include_self else _untouched(x, to, 0)
        total = base + to.summed(to.src)
        if reduce == "sum":
            return total
        return _mean(total, to, include_self)
    kind = reduce.removeprefix("a")
    own = x if include_self else _untouched(x, to, _identity(kind, x.dtype))
    reached = to.reduced(kind, to.src)
    if kind == "prod":
        return own * reached
    result: V = lookup("maximum" if kind == "max" else "minimum")(own, reached)
    return result


def _untouched(x: V, to: _Targets, value: Any) -> V:
    """`x` where nothing is written, `value` elsewhere."""
    result: V = where(eq(to.count(), constant(to.index, 0, dtype=dtypes.int64)), x, constant(x, value))
    return result


def _shares(to: _Targets, like: V, include_self: bool) -> V:
    """By how much the mean at each place divides."""
    count = to.count()
    if include_self:
        count = count + 1
    else:
        count = lookup("maximum")(count, constant(count, 1))
    result: V = convert(count, dtype=like.dtype.name)
    return result


def _mean(total: V, to: _Targets, include_self: bool) -> V:
    shares = _shares(to, total, include_self)
    return total / shares if dtypes.category(total.dtype) >= dtypes.FLOAT else _floor_div(total, shares)


def _by_mean(g: V, y: V, x: V, to: _Targets, include_self: bool) -> tuple[V, V]:
    share = g / _shares(to, g, include_self)
    return share, to.back(share)


def _by_extreme(g: V, y: V, x: V, to: _Targets, include_self: bool) -> tuple[V, V]:
    # All that equal the result share its gradient, the element that was there among them.
    own, others = (convert(v, dtype=g.dtype.name) for v in (eq(x, y), eq(to.src, to.back(y))))
    share = g / (own + to.summed(others))
    return keep(share, eq(x, y)), to.back(share) * others


def _by_prod(g: V, y: V, x: V, to: _Targets, include_self: bool) -> tuple[V, V]:
    own = x if include_self else _untouched(x, to, 1)
    reached = to.reduced("prod", to.src)
    by_src = _product_vjp(g * own, reached, to.src, to.back, to.summed, lambda src: to.reduced("prod", src))
    return g * reached, by_src


_VJPS: dict[str, Callable[[V, V, V, _Targets, bool], tuple[V, V]]] = {
    "sum": lambda g, y, x, to, include_self: (g, to.back(g)),
    "mean": _by_mean,
    "amax": _by_extreme,
    "amin": _by_extreme,
    "prod": _by_prod,
}


def _reduction_vjp(g: V, y: V, x: V, to: _Targets, reduce: str, include_self: bool) -> tuple[V, V]:
    by_x, by_src = _VJPS[reduce](g, y, x, to, include_self)
    return (by_x if include_self else _untouched(by_x, to, 0)), by_src


def _check_reduce(name: str, reduce: str, known: Sequence[str]) -> None:
    if reduce not in known:
        raise AttributeTypeError(
            f"{name}(): reduce argument must be one of {', '.join(known)}, got {reduce}",
            expected=", ".join(known),
            got=reduce,
        )


def _scatter_targets(x: V, index: V, src: V, dim: int, reduce: str) -> _Targets:
    _check_reduce("scatter_reduce", reduce, tuple(_VJPS))
    values, at = scattered("scatter_reduce", x, index, src, dim)
    return _Targets(x, index, values, at)


def _scatter_reduce(x: V, index: V, src: V, *, dim: int, reduce: str, include_self: bool) -> V:
    return _combined(x, _scatter_targets(x, index, src, dim, reduce), reduce, include_self)


def _scatter_reduce_vjp(
    g: V, y: V, x: V, index: V, src: V, *, dim: int, reduce: str, include_self: bool
) -> Sequence[V | None]:
    to = _scatter_targets(x, index, src, dim, reduce)
    by_x, by_src = _reduction_vjp(g, y, x, to, reduce, include_self)
    if by_src.shape != src.shape:
        high = tuple(a - b for a, b in zip(src.shape, by_src.shape, strict=True))
        by_src = pad(by_src, low=(0,) * src.ndim, high=high, interior=(0,) * src.ndim)
    return by_x, None, by_src


_INDEX_REDUCTIONS = ("prod", "mean", "amax", "amin")


def _row_targets(x: V, index: V, source: V, dim: int, reduce: str) -> tuple[V, _Targets]:
    _check_reduce("index_reduce", reduce, _INDEX_REDUCTIONS)
    x1, index, source1, dim = rows_of("index_reduce", x, index, source, dim)
    along = reshaped(index, *(index.shape[0] if d == dim else 1 for d in range(x1.ndim)))
    return x1, _Targets(x1, expand(along, shape=source1.shape), source1, dim)


def _index_reduce(x: V, index: V, source: V, *, dim: int, reduce: str, include_self: bool) -> V:
    x1, to = _row_targets(x, index, source, dim, reduce)
    return reshaped(_combined(x1, to, reduce, include_self), *x.shape)


def _index_reduce_vjp(
    g: V, y: V, x: V, index: V, source: V, *, dim: int, reduce: str, include_self: bool
) -> Sequence[V | None]:
    x1, to = _row_targets(x, index, source, dim, reduce)
    g1, y1 = (reshaped(v, *x1.shape) for v in (g, y))
    by_x, by_src = _reduction_vjp(g1, y1, x1, to, reduce, include_self)
    return reshaped(by_x, *x.shape), None, reshaped(by_src, *source.shape)


_INCLUDE = Attr("bool", True, "what stands there takes part")
composite(
    "scatter_reduce",
    _scatter_reduce,
    arity=3,
    attrs={"dim": DIM, "reduce": Attr("str", doc="sum, prod, mean, amax or amin"), "include_self": _INCLUDE},
    grad_name="ScatterReduceBackward0",
    vjp=_scatter_reduce_vjp,
    doc="(x, index, src): a copy of x whose [i, k] is combined with all src[i, j] with index[i, j] = k, for dim 1.",
)
composite(
    "index_reduce",
    _index_reduce,
    arity=3,
    attrs={"dim": DIM, "reduce": Attr("str", doc="prod, mean, amax or amin"), "include_self": _INCLUDE},
    grad_name="IndexReduceBackward0",
    vjp=_index_reduce_vjp,
    doc="(x, index, source): a copy of x whose entries a vector names are combined with those of source.",
)

# --- by position in C order -----------------------------------------------------------------------


def _take_flat(x: V, index: V) -> V:
    check_index("take", index.spec)
    result: V = take(reshaped(x, x.spec.size), index, dim=0)
    return result


def _put(x: V, index: V, source: V, *, accumulate: bool) -> V:
    check_index("put_", index.spec)
    same_dtype("put_", x, source, "source")
    if index.spec.size != source.spec.size:
        raise ShapeError(
            f"put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.spec.size}, index.numel() = {index.spec.size}",
            expected=str(index.spec.size),
            got=str(source.spec.size),
        )
    places, values = (reshaped(v, v.spec.size) for v in (index, source))
    if accumulate:
        return x + reshaped(put_add(places, values, dim=0, size=x.spec.size), *x.shape)
    return reshaped(put_set(reshaped(x, x.spec.size), places, values, dim=0), *x.shape)


composite(
    "take_flat",
    _take_flat,
    arity=2,
    grad_name="TakeBackward0",
    doc="(x, index): the elements at positions in C order, of the index's shape; PyTorch's take.",
)
composite(
    "put",
    _put,
    arity=3,
    attrs={"accumulate": Attr("bool", False)},
    grad_name="PutBackward0",
    doc="(x, index, source): a copy of x with values written, or added, at positions in C order.",
)

# --- into regions of a copy -----------------------------------------------------------------------


def _same_shape(name: str, src: V, shape: Ints) -> None:
    if src.shape != shape:
        raise ShapeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(shape)}",
            op=name,
            expected=str(list(shape)),
            got=str(list(src.shape)),
        )


def _written(x: V, src: V, dim: int, start: int, stop: int, step: int = 1) -> V:
    starts, stops, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[dim], stops[dim], steps[dim] = start, stop, step
    result: V = slice_update(x, src, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))
    return result


def _slice_scatter(x: V, src: V, *, dim: int, start: int | None, end: int | None, step: int) -> V:
    if not x.ndim:
        raise AxisError("slice_scatter() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise ShapeError("slice step must be positive", expected="at least 1", got=str(step))
    dim = normal_dim(dim, x.ndim)
    first, last, _ = slice(start, end).indices(x.shape[dim])
    last = max(first, last)
    _same_shape("slice_scatter", src, (*x.shape[:dim], len(range(first, last, step)), *x.shape[dim + 1 :]))
    return _written(x, src, dim, first, last, step)


def _select_scatter(x: V, src: V, *, dim: int, index: int) -> V:
    if not x.ndim:
        raise AxisError("select() cannot be applied to a 0-dim tensor.")
    dim = normal_dim(dim, x.ndim)
    size = x.shape[dim]
    if not -size <= index < size:
        raise AxisError(
            f"select(): index {index} out of range for tensor of size {list(x.shape)} at dimension {dim}",
            expected=f"{-size} to {size - 1}",
            got=str(index),
        )
    rest = (*x.shape[:dim], *x.shape[dim + 1 :])
    _same_shape("select_scatter", src, rest)
    index %= size
    return _written(x, reshaped(src, *x.shape[:dim], 1, *x.shape[dim + 1 :]), dim, index, index + 1)


def _diagonal_scatter(x: V, src: V, *, offset: int, dim1: int, dim2: int) -> V:
    shape = diagonal_of(x, offset, dim1, dim2).shape
    _same_shape("diagonal_scatter", src, shape)
    a, b = normal_dim(dim1, x.ndim), normal_dim(dim2, x.ndim)
    embed = lookup("diag_embed")
    count = shape[-1]
    # The diagonal in a square of its own, put where it belongs among the rows and columns of x.
    rows, columns = x.shape[a], x.shape[b]
    first = (-offset if offset < 0 else 0, offset if offset > 0 else 0)
    low, high = [0] * x.ndim, [0] * x.ndim
    for d, start, size in ((a, min(first[0], rows), rows), (b, min(first[1], columns), columns)):
        low[d], high[d] = start, size - start - count
    mask = constant(src, True, src.shape, dtypes.bool_)
    values, chosen = (
        pad(embed(v, dim1=a, dim2=b), low=tuple(low), high=tuple(high), interior=(0,) * x.ndim) for v in (src, mask)
    )
    result: V = where(chosen, values, x)
    return result


composite(
    "slice_scatter",
    _slice_scatter,
    arity=2,
    attrs={"dim": Attr("int", 0), "start": Attr("int", None), "end": Attr("int", None), "step": Attr("int", 1)},
    grad_name="SliceScatterBackward0",
    doc="(x, src): a copy of x with src written to x[start:end:step] along a dim.",
)
composite(
    "select_scatter",
    _select_scatter,
    arity=2,
    attrs={"dim": DIM, "index": Attr("int", doc="counted from the end when negative")},
    grad_name="SelectScatterBackward0",
    doc="(x, src): a copy of x with src written to x[index] along a dim.",
)
composite(
    "diagonal_scatter",
    _diagonal_scatter,
    arity=2,
    attrs={"offset": Attr("int", 0), "dim1": Attr("int", 0), "dim2": Attr("int", 1)},
    grad_name="DiagonalScatterBackward0",
    doc="(x, src): a copy of x with src written to a diagonal of the matrices in two dims.",
)


def _fill(x: V, value: V) -> V:
    if value.ndim:
        raise ShapeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.",
            expected="0 dims",
            got=str(value.spec),
        )
    result: V = expand(convert(value, dtype=x.dtype.name), shape=x.shape)
    return result


def _fill_vjp(g: V, y: V, x: V, value: V, *, scalar: bool, inplace: bool) -> Sequence[V | None]:
    by_value = None if scalar else convert(lookup("sum")(g), dtype=value.dtype.name)
    return zeros_like(x), by_value


def _fill_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    return f"FillBackward{2 * bool(attrs.get('inplace', False)) + (not attrs.get('scalar', True))}"


composite(
    "fill",
    lambda x, value, scalar, inplace: _fill(x, value),
    arity=2,
    attrs={
        "scalar": Attr("bool", True, "the value was a Python number"),
        "inplace": Attr("bool", False, "it is written into x"),
    },
    grad_name=_fill_name,
    vjp=_fill_vjp,
    doc="(x, value): a tensor like x full of a 0-d value.",
)
composite(
    "zero",
    lambda x: zeros_like(x),
    grad_name="ZeroBackward0",
    vjp=lambda g, y, x: (zeros_like(x),),
    doc="Zeros like x, which they are written into.",
)
