"""Order: the primitives that find it along a dim, and PyTorch's functions composed of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.base import Attr, Composite, Factor, Primitive, Site, Specs, declare, lookup
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.indexing import gather, put_along, put_along_add
from gradmesh_engine.ops.layout import zeros_like
from gradmesh_engine.ops.numeric import isnan
from gradmesh_engine.ops.pointwise import convert, eq, keep, logical_and, logical_not, logical_or, lt, ne, where
from gradmesh_engine.ops.reduce import argmax_along, kept_shape, normal_dim, reduce_max, reduce_sum, scan_sum, spread
from gradmesh_engine.ops.regions import concat, narrowed
from gradmesh_engine.ops.shaping import DIM, reshaped
from gradmesh_engine.ops.statistics import ONE_DIM

# --- primitives -----------------------------------------------------------------------------------


def _comparable(name: str, x: TensorSpec) -> None:
    if dtypes.is_complex(x.dtype):
        raise DTypeError(
            f"{name} has no order for complex numbers",
            expected="a real dtype",
            got=x.dtype.name,
            remedy="order by abs() or by the real part",
        )


def _one_dim_axes(specs: Specs, out: TensorSpec, *, dim: int, **_: Any) -> list[Factor]:
    return [Factor((d,), d) for d in range(out.ndim) if d != dim]


def _ordered(x: np.ndarray) -> np.ndarray:
    # ml_dtypes' own order of bfloat16 goes astray at NaN.
    return x.astype(np.float32) if x.dtype == dtypes.bfloat16 else x


def _order_spec(specs: Specs, *, dim: int, descending: bool, start: int = 0, count: int | None = None) -> TensorSpec:
    (x,) = specs
    _comparable("order", x)
    if not 0 <= dim < x.ndim:
        raise ShapeError(f"order: dim {dim} is outside an operand of {x.ndim} dims", got=str(dim))
    size = x.shape[dim]
    length = size - start if count is None else count
    if start < 0 or length < 0 or start + length > size:
        raise ShapeError(f"order: {length} from {start} on of {size} elements", expected=f"0 to {size}", got=str(count))
    return TensorSpec((*x.shape[:dim], length, *x.shape[dim + 1 :]), dtypes.int64)


def _order_all(x: np.ndarray, descending: bool) -> np.ndarray:
    """Stable order along the last dim; NaN counts as larger than everything."""
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    # Backwards on both sides, so that equal ones stay in their order.
    found: np.ndarray = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return found


def _order_first(x: np.ndarray, descending: bool, count: int) -> np.ndarray:
    """The first `count` of the order along the last dim: picked first, then put in order."""
    size = x.shape[-1]
    if descending:
        picked = np.argpartition(x, size - count, axis=-1)[..., size - count :]
    else:
        picked = np.argpartition(x, count - 1, axis=-1)[..., :count]
    picked = np.sort(picked, axis=-1)
    found: np.ndarray = np.take_along_axis(picked, _order_all(np.take_along_axis(x, picked, -1), descending), -1)
    return found


def _order_kernel(site: Site) -> Callable[..., None]:
    attrs: Any = site.attrs
    dim, descending, start = attrs["dim"], attrs["descending"], attrs["start"]
    size, length = site.ins[0].shape[dim], site.out.shape[dim]
    stop = start + length
    kth = size - 1 - start if descending else start
    # NumPy sorts arrays of up to 32 dims only: lanes lie in two.
    lanes_shape = (math.prod(site.ins[0].shape[:dim] + site.ins[0].shape[dim + 1 :]), size)
    moved = (*site.out.shape[:dim], *site.out.shape[dim + 1 :], length)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        lanes = _ordered(np.moveaxis(x, dim, -1)).reshape(lanes_shape)
        if length == 1:
            found = np.argpartition(lanes, kth, axis=-1)[..., kth : kth + 1]
        elif 0 < stop <= size // 2:
            found = _order_first(lanes, descending, stop)[..., start:]
        else:
            found = _order_all(lanes, descending)[..., start:stop]
        np.copyto(out, np.moveaxis(found.reshape(moved), -1, dim))

    return run


order = declare(
    Primitive(
        name="order",
        arity=1,
        attrs={
            "dim": Attr("int"),
            "descending": Attr("bool", False),
            "start": Attr("int", 0, "how many to leave out at the front"),
            "count": Attr("int", None, "how many from there; all when absent"),
        },
        doc="Positions along dim in the order of their elements. NaN is the largest; equal ones keep their order, "
        "but for which of them a count takes in.",
        spec=_order_spec,
        kernel=_order_kernel,
        axes=_one_dim_axes,
        cost=lambda specs, out, attrs: 100.0 * specs[0].size,
    )
)


def _running_spec(specs: Specs, *, dim: int, largest: bool) -> TensorSpec:
    (x,) = specs
    _comparable("running_extreme", x)
    if not 0 <= dim < x.ndim:
        raise ShapeError(f"running_extreme: dim {dim} is outside an operand of {x.ndim} dims", got=str(dim))
    return TensorSpec(x.shape, dtypes.int64)


def _running_kernel(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    ufunc = np.maximum if site.attrs["largest"] else np.minimum
    along = [1] * site.out.ndim
    along[dim] = -1
    places = np.arange(site.out.shape[dim]).reshape(along)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        x = _ordered(x)
        best = ufunc.accumulate(x, axis=dim)
        # NaN is kept once it is met, and each later NaN takes over as an equal would.
        np.maximum.accumulate(np.where((x == best) | (x != x), places, 0), axis=dim, out=out)

    return run


running_extreme = declare(
    Primitive(
        name="running_extreme",
        arity=1,
        attrs={"dim": Attr("int"), "largest": Attr("bool", True)},
        doc="Position of the extreme of every element and those before it along dim; the last of equal ones, NaN wins.",
        spec=_running_spec,
        kernel=_running_kernel,
        axes=_one_dim_axes,
        cost=lambda specs, out, attrs: 5.0 * out.size,
    )
)

# --- sorted ---------------------------------------------------------------------------------------


def _lanes(name: str, x: V, dim: int) -> tuple[V, int]:
    """`x` with at least one dim, and the dim from the front. Raises DTypeError for complex operands."""
    _comparable(name, x.spec)
    return (x if x.ndim else reshaped(x, 1)), normal_dim(dim, x.ndim)


def _picked(x: V, at: V, dim: int) -> V:
    result: V = gather(x, at, dim=dim)
    return result


def _back(g: V, at: V, x: V, dim: int) -> V:
    """The cotangent of what was picked, at most one element per position, at the positions it was picked from."""
    result: V = put_along(zeros_like(x), at, g, dim=dim)
    return result


def _along_vjp(g: Any, y: Any, x: V, *, dim: int, **_: Any) -> tuple[V | None]:
    if g[0] is None:
        return (None,)
    if not x.ndim:
        return (g[0],)
    return (_back(g[0], y[1], x, normal_dim(dim, x.ndim)),)


def _reduced_vjp(g: Any, y: Any, x: V, *, dim: int, **_: Any) -> tuple[V | None]:
    if g[0] is None:
        return (None,)
    at = normal_dim(dim, x.ndim)
    kept = kept_shape(x.shape, (at,))
    return (_back(reshaped(g[0], *kept), reshaped(y[1], *kept), x, at),)


def _sort(x: V, dim: int, descending: bool, stable: bool | None) -> tuple[V, V]:
    lanes, at = _lanes("sort", x, dim)
    places = order(lanes, dim=at, descending=descending)
    return reshaped(_picked(lanes, places, at), *x.shape), reshaped(places, *x.shape)


def _argsort(x: V, dim: int, descending: bool, stable: bool | None) -> V:
    lanes, at = _lanes("argsort", x, dim)
    return reshaped(order(lanes, dim=at, descending=descending), *x.shape)


def _topk(x: V, k: int, dim: int, largest: bool, sorted: bool) -> tuple[V, V]:
    lanes, at = _lanes("topk", x, dim)
    size = lanes.shape[at]
    if not 0 <= k <= size:
        raise ShapeError("selected index k out of range", expected=f"0 to {size}", got=str(k))
    if not x.ndim:  # PyTorch gives the one element for k = 0 too.
        return x, reshaped(order(lanes, dim=at, count=1))
    places = order(lanes, dim=at, descending=largest, count=k)
    return _picked(lanes, places, at), places


_ORDER = {
    "dim": Attr("int", -1),
    "descending": Attr("bool", False),
    "stable": Attr("bool", None, "said by the caller; equal elements keep their order either way"),
}
sort = declare(
    Composite(
        name="sort",
        arity=1,
        attrs=_ORDER,
        grad_name=lambda specs, attrs: f"SortBackward{0 if attrs.get('stable') is None else 1}",
        doc="The elements along a dim in order, and where they stood. NaN is the largest.",
        body=_sort,
        vjp=_along_vjp,
    )
)
argsort = declare(
    Composite(name="argsort", arity=1, attrs=_ORDER, doc="Where the elements of a sorted dim stood.", body=_argsort)
)
topk = declare(
    Composite(
        name="topk",
        arity=1,
        attrs={
            "k": Attr("int"),
            "dim": Attr("int", -1),
            "largest": Attr("bool", True),
            "sorted": Attr("bool", True, "they are in order either way"),
        },
        grad_name="TopkBackward0",
        doc="The k largest or smallest elements along a dim in order, and where they stood.",
        body=_topk,
        vjp=_along_vjp,
    )
)

# --- one element of the order ---------------------------------------------------------------------


def _without(v: V, dim: int, shape: Sequence[int], keepdim: bool) -> V:
    """A result whose reduced dim has size 1, without that dim unless it is to be kept."""
    if not shape:
        return reshaped(v)
    return v if keepdim else reshaped(v, *shape[:dim], *shape[dim + 1 :])


def _selected(x: V, lanes: V, at: V, dim: int, keepdim: bool) -> tuple[V, V]:
    """The elements at one position per lane, and the positions."""
    return tuple(_without(v, dim, x.shape, keepdim) for v in (_picked(lanes, at, dim), at))  # type: ignore[return-value]


def _kth(lanes: V, dim: int, k: int) -> V:
    """Position of the k-th smallest element, counted from 0, along `dim`."""
    result: V = order(lanes, dim=dim, start=k, count=1)
    return result


def _kthvalue(x: V, k: int, dim: int, keepdim: bool) -> tuple[V, V]:
    lanes, at = _lanes("kthvalue", x, dim)
    if not 1 <= k <= lanes.shape[at]:
        raise ShapeError(
            f"kthvalue(): selected number k out of range for dimension {at}",
            expected=f"1 to {lanes.shape[at]}",
            got=str(k),
        )
    return _selected(x, lanes, _kth(lanes, at, k - 1), at, keepdim)


def _median_place(name: str, lanes: V, dim: int) -> V:
    """Position of the lower median along `dim`; of the first NaN where `name` is median and there is one."""
    size = lanes.shape[dim]
    if not size:
        raise AxisError(f"{name}(): Expected reduction dim {dim} to have non-zero size.", got=str(list(lanes.shape)))
    if not dtypes.is_floating(lanes.dtype):
        return _kth(lanes, dim, (size - 1) // 2)
    missing = isnan(lanes)
    if name == "nanmedian":
        shape = kept_shape(lanes.shape, (dim,))
        found = reshaped(reduce_sum(convert(logical_not(missing), dtype="int64"), dims=(dim,)), *shape)
        middle = where(eq(found, constant(found, 0)), found, _half(found - 1))
        return _picked(order(lanes, dim=dim), middle, dim)
    shape = kept_shape(lanes.shape, (dim,))
    wrong, first = (reshaped(v, *shape) for v in (reduce_max(missing, dims=(dim,)), argmax_along(missing, dim=dim)))
    result: V = where(wrong, first, _kth(lanes, dim, (size - 1) // 2))
    return result


def _half(count: V) -> V:
    result: V = convert(convert(count, dtype="float64") * 0.5, dtype="int64")
    return result


def _median_along(name: str) -> Callable[..., tuple[V, V]]:
    def body(x: V, dim: int, keepdim: bool) -> tuple[V, V]:
        lanes, at = _lanes(name, x, dim)
        return _selected(x, lanes, _median_place(name, lanes, at), at, keepdim)

    return body


def _median_of_all(name: str) -> Callable[..., V]:
    def body(x: V) -> V:
        _comparable(name, x.spec)
        if not x.spec.size:
            # As in PyTorch: NaN for floats, the least number for integers.
            floats = dtypes.is_floating(x.dtype)
            return constant(x, float("nan") if floats else int(np.iinfo(x.dtype).min))
        flat = reshaped(x, x.spec.size)
        return reshaped(_picked(flat, _median_place(name, flat, 0), 0))

    return body


def _shared_vjp(g: V, y: V, x: V) -> tuple[V]:
    # All that equal the median share its gradient.
    dims = tuple(range(x.ndim))
    wide = spread(y, dims, x.shape)
    mask = logical_or(eq(x, wide), logical_and(isnan(x), isnan(wide)))
    share = g / reduce_sum(convert(mask, dtype=g.dtype.name), dims=dims)
    return (keep(spread(share, dims, x.shape), mask),)


declare(
    Composite(
        name="kthvalue",
        arity=1,
        attrs={"k": Attr("int", doc="counted from 1"), "dim": Attr("int", -1), "keepdim": ONE_DIM["keepdim"]},
        grad_name="KthvalueBackward0",
        doc="The k-th smallest element along a dim, and where it stood.",
        body=_kthvalue,
        vjp=_reduced_vjp,
    )
)
for _name, _what in (("median", "NaN where there is one"), ("nanmedian", "of what is not NaN")):
    declare(
        Composite(
            name=_name,
            arity=1,
            grad_name=f"{_name.capitalize()}Backward0",
            doc=f"The lower median of all elements, {_what}; equal elements share its gradient.",
            body=_median_of_all(_name),
            vjp=_shared_vjp,
        )
    )
    declare(
        Composite(
            name=f"{_name}_dim",
            arity=1,
            attrs=ONE_DIM,
            grad_name=f"{_name.capitalize()}Backward1",
            doc=f"The lower median along a dim, {_what}, and where it stands.",
            body=_median_along(_name),
            vjp=_reduced_vjp,
        )
    )

# --- the most frequent ----------------------------------------------------------------------------


def _mode(x: V, dim: int, keepdim: bool) -> tuple[V, V]:
    lanes, at = _lanes("mode", x, dim)
    size = lanes.shape[at]
    if not size:
        raise AxisError(f"mode(): Expected reduction dim {at} to have non-zero size.", got=str(list(x.shape)))
    places = order(lanes, dim=at)
    values = _picked(lanes, places, at)
    # Runs of equal elements, numbered; the longest, its last element.
    new = convert(ne(narrowed(values, at, 1, size), narrowed(values, at, 0, size - 1)), dtype="int64")
    first = constant(new, 0, kept_shape(lanes.shape, (at,)))
    run = scan_sum(concat(first, new, dim=at), dim=at)
    lengths = put_along_add(run, constant(run, 1, run.shape), dim=at, size=size)
    longest = reshaped(argmax_along(lengths, dim=at), *kept_shape(lanes.shape, (at,)))
    last = _picked(scan_sum(lengths, dim=at), longest, at) - 1
    return _selected(x, lanes, _picked(places, last, at), at, keepdim)


declare(
    Composite(
        name="mode",
        arity=1,
        attrs={"dim": Attr("int", -1), "keepdim": ONE_DIM["keepdim"]},
        grad_name="ModeBackward0",
        doc="The most frequent element along a dim, the smallest of several, and where its last one stands.",
        body=_mode,
        vjp=_reduced_vjp,
    )
)

# --- running extremes -----------------------------------------------------------------------------


def _running(name: str, largest: bool) -> Callable[..., tuple[V, V]]:
    def body(x: V, dim: int) -> tuple[V, V]:
        lanes, at = _lanes(name, x, dim)
        places = running_extreme(lanes, dim=at, largest=largest)
        return reshaped(_picked(lanes, places, at), *x.shape), reshaped(places, *x.shape)

    return body


for _name in ("cummax", "cummin"):
    declare(
        Composite(
            name=_name,
            arity=1,
            attrs={"dim": DIM},
            grad_name=f"{_name.capitalize()}Backward0",
            doc=f"Running {_name[3:]}ima along a dim, and where they stand; the last of equal ones.",
            body=_running(_name, _name == "cummax"),
        )
    )

# --- quantiles ------------------------------------------------------------------------------------

_ROUNDED = {"lower": "floor", "higher": "ceil", "nearest": "round"}


def _quantile(name: str) -> Callable[..., V]:
    def body(x: V, q: V, dim: int | None, keepdim: bool, interpolation: str) -> V:
        _check_quantile(name, x, q, interpolation)
        lanes = reshaped(x, x.spec.size) if dim is None else x if x.ndim else reshaped(x, 1)
        at = 0 if dim is None else normal_dim(dim, x.ndim)
        if not lanes.shape[at]:
            raise ShapeError(f"{name}() input tensor must be non-empty", got=str(list(x.shape)))
        # The quantiles take the place of the dim.
        levels = reshaped(q, *(1,) * at, q.spec.size, *(1,) * (lanes.ndim - at - 1))
        shape = (*lanes.shape[:at], q.spec.size, *lanes.shape[at + 1 :])
        ranks = _ranks(name, lanes, lookup("expand")(levels, shape=shape), at)
        inexact = interpolation in ("linear", "midpoint")
        if not inexact:
            ranks = lookup(_ROUNDED[interpolation])(ranks)
        values = _picked(lanes, order(lanes, dim=at), at)
        below = convert(ranks, dtype="int64")
        result = _picked(values, below, at)
        if inexact:
            above = _picked(values, convert(lookup("ceil")(ranks), dtype="int64"), at)
            part = ranks - convert(below, dtype=x.dtype.name)
            weight = part if interpolation == "linear" else constant(x, 0.5)
            result = result + weight * (above - result)
        kept = (1,) * x.ndim if dim is None else kept_shape(x.shape, (at,))
        rest = kept if keepdim else () if dim is None else tuple(n for d, n in enumerate(x.shape) if d != at)
        if not q.ndim:
            return reshaped(result, *rest)
        front = lookup("movedim")(result, source=(at,), destination=(0,)) if at else result
        return reshaped(front, q.shape[0], *rest)

    return body


def _check_quantile(name: str, x: V, q: V, interpolation: str) -> None:
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(f"{name}() input tensor must be either float or double dtype", got=x.dtype.name)
    if q.dtype != x.dtype:
        raise DTypeError(f"{name}() q tensor must be same dtype as the input tensor", got=q.dtype.name)
    if q.ndim > 1:
        raise ShapeError(f"{name}() q must be a scalar or 1D tensor", got=str(q.spec))
    if interpolation not in (*_ROUNDED, "linear", "midpoint"):
        raise ShapeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, got {interpolation}",
            got=interpolation,
        )


def _ranks(name: str, lanes: V, levels: V, dim: int) -> V:
    """Places in the order, not rounded yet. NaN takes all of a quantile, and none of a nanquantile."""
    shape = kept_shape(lanes.shape, (dim,))
    missing = isnan(lanes)
    last = lanes.shape[dim] - 1
    if name == "nanquantile":
        found = reduce_sum(convert(logical_not(missing), dtype=lanes.dtype.name), dims=(dim,))
        ranks = levels * reshaped(found - 1.0, *shape)
        floor: V = where(lt(ranks, constant(ranks, 0.0)), constant(ranks, 0.0), ranks)
        return floor
    wrong = reshaped(reduce_max(missing, dims=(dim,)), *shape)
    result: V = where(wrong, constant(levels, float(last)), levels * float(last))
    return result


for _name in ("quantile", "nanquantile"):
    declare(
        Composite(
            name=_name,
            arity=2,
            attrs={
                "dim": Attr("int", None, "of the flattened tensor when absent"),
                "keepdim": ONE_DIM["keepdim"],
                "interpolation": Attr("str", "linear", "linear, lower, higher, midpoint or nearest"),
            },
            grad_name="SqueezeBackward4",
            doc="(x, q): quantiles along a dim, in a new first dim where q is a vector"
            + ("; NaN is passed over." if _name == "nanquantile" else "; NaN where there is one."),
            body=_quantile(_name),
        )
    )

# --- positions of what is not 0 -------------------------------------------------------------------


def _nonzero_static(x: V, *, size: int, fill_value: int) -> V:
    if size < 0:
        raise ShapeError("nonzero_static: 'size' must be an non-negative integer", got=str(size))
    flags = reshaped(ne(x, constant(x, 0)), x.spec.size)
    # In a stable order those that are not 0 come first, as they stood.
    places = order(flags, dim=0, descending=True)
    count = reduce_sum(convert(flags, dtype="int64"), dims=(0,))
    found = lt(iota.on(x.emitter, shape=places.shape, dim=0, dtype="int64"), count)
    fill = constant(places, fill_value)
    columns = []
    step = x.spec.size
    for length in x.shape:
        step //= max(length, 1)
        at = lookup("remainder")(lookup("div_floor")(places, constant(places, max(step, 1))), constant(places, length))
        columns.append(reshaped(where(found, at, fill), places.shape[0], 1))
    if not columns:
        return constant(places, 0, (size, 0))
    rows = concat(*columns, dim=1)
    have = rows.shape[0]
    if size <= have:
        return narrowed(rows, 0, 0, size)
    rest = constant(places, fill_value, (size - have, x.ndim))
    result: V = concat(rows, rest, dim=0)
    return result


declare(
    Composite(
        name="nonzero_static",
        arity=1,
        attrs={"size": Attr("int", doc="number of rows"), "fill_value": Attr("int", -1, "in the rows that are left")},
        doc="int64 positions of the first elements that are not 0, one row each.",
        body=_nonzero_static,
    )
)
