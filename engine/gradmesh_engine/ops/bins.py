"""Where values fall between boundaries, and histograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import ArityError, DTypeError, ShapeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.base import Attr, Composite, Factor, Primitive, Site, Specs, declare, lookup
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.indexing import put_add, ravel_index
from gradmesh_engine.ops.layout import expand
from gradmesh_engine.ops.pointwise import convert, eq, keep, le, logical_and, lt, where
from gradmesh_engine.ops.reduce import reduce_max, reduce_min
from gradmesh_engine.ops.regions import concat, narrowed
from gradmesh_engine.ops.shaping import reshaped

# --- searchsorted ---------------------------------------------------------------------------------


def _search_spec(specs: Specs, *, right: bool, out_int32: bool) -> TensorSpec:
    bounds, values = specs
    if dtypes.is_complex(bounds.dtype):
        raise DTypeError("torch.searchsorted(): complex numbers have no order", got=bounds.dtype.name)
    if bounds.dtype != values.dtype:
        raise DTypeError(
            "torch.searchsorted(): boundary tensor and input value tensor should have same dtype, but got boundary "
            f"tensor dtype {bounds.dtype.name} and input value tensor dtype {values.dtype.name}",
            expected=bounds.dtype.name,
            got=values.dtype.name,
            remedy="cast one of them",
        )
    if bounds.ndim == 0 or (bounds.ndim > 1 and bounds.shape[:-1] != values.shape[:-1]):
        raise ShapeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(bounds.shape)} and input "
            f"value tensor {list(values.shape)}",
            expected="one dim, or the leading dims of the values",
            got=str(list(bounds.shape)),
        )
    return TensorSpec(values.shape, dtypes.int32 if out_int32 else dtypes.int64)


def _bisect(bounds: np.ndarray, values: np.ndarray, right: bool) -> np.ndarray:
    """Binary search of every value at once; what it finds in boundaries out of order is PyTorch's answer too.

    `bounds` is [rows, n], `values` [rows, m].
    """
    size = bounds.shape[1]
    low = np.zeros(values.shape, np.int64)
    high = np.full(values.shape, size, np.int64)
    row = np.arange(bounds.shape[0]).reshape(-1, 1)
    for _ in range(size.bit_length()):
        middle = (low + high) >> 1
        found = bounds[row, np.minimum(middle, size - 1)]
        on = ~(found > values) if right else ~(found >= values)
        open_ = low < high
        low = np.where(open_ & on, middle + 1, low)
        high = np.where(open_ & ~on, middle, high)
    return low


def _search_kernel(site: Site) -> Callable[..., None]:
    right = bool(site.attrs["right"])
    size = site.ins[0].shape[-1]
    one = site.ins[0].ndim == 1

    def run(bounds: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
        if bounds.dtype == dtypes.bfloat16:
            bounds, values = bounds.astype(np.float32), values.astype(np.float32)
        if one and bool((bounds[1:] >= bounds[:-1]).all()) and not (values != values).any():
            np.copyto(out, np.searchsorted(bounds, values, "right" if right else "left"), casting="unsafe")
            return
        rows = bounds.reshape(-1, size) if size else np.zeros((max(math.prod(bounds.shape[:-1]), 1), 0))
        found = _bisect(rows, values.reshape(rows.shape[0], -1), right) if values.size else values
        np.copyto(out, found.reshape(out.shape), casting="unsafe")

    return run


def _search_axes(specs: Specs, out: TensorSpec, **_: Any) -> list[Factor]:
    batched = specs[0].ndim > 1
    return [Factor((d if batched and d < out.ndim - 1 else None, d), d) for d in range(out.ndim)]


searchsorted = declare(
    Primitive(
        name="searchsorted",
        arity=2,
        attrs={
            "right": Attr("bool", False, "behind equal boundaries instead of before"),
            "out_int32": Attr("bool", False, "int32 positions instead of int64"),
        },
        doc="(boundaries, values): where each value would have to go in the last dim of the ascending boundaries.",
        spec=_search_spec,
        kernel=_search_kernel,
        axes=_search_axes,
        cost=lambda specs, out, attrs: 8.0 * out.size * max(1, specs[0].shape[-1]).bit_length(),
    )
)

# --- histograms -----------------------------------------------------------------------------------


def _need_float(name: str, x: V) -> None:
    if not dtypes.is_floating(x.dtype):
        raise DTypeError(dtypes.refusal(name, x.dtype), expected="a floating point dtype", got=x.dtype.name)


def _span(x: V, margin: float) -> tuple[V, V]:
    """Least and largest element, moved apart by `margin` where they are equal; 0 and 1 when there is none."""
    if not x.spec.size:
        return constant(x, 0), constant(x, 1)
    dims = tuple(range(x.ndim))
    low, high = reduce_min(x, dims=dims), reduce_max(x, dims=dims)
    apart = where(eq(low, high), constant(x, margin), constant(x, 0))
    return low - apart, high + apart


def _fixed(low: V, high: V, margin: float) -> tuple[V, V]:
    apart = where(eq(low, high), constant(low, margin), constant(low, 0))
    return low - apart, high + apart


def _inside(x: V, low: V, high: V) -> V:
    result: V = logical_and(le(low, x), le(x, high))
    return result


def _histc(x: V, *, bins: int, min: float, max: float) -> V:
    _need_float("histogram_cpu", x)
    if bins <= 0:
        raise ShapeError("torch.histc(): bins must be > 0", expected="at least 1", got=str(bins))
    if min > max:
        raise ShapeError("torch.histc: max must be larger than min", got=f"{min}, {max}")
    if not (math.isfinite(min) and math.isfinite(max)):
        raise ShapeError(f"torch.histc: range of [{min}, {max}] is not finite", got=f"{min}, {max}")
    flat = reshaped(x, x.spec.size)
    if min == max and x.spec.size:
        low, high = _span(flat, 1.0)
    else:
        low, high = _fixed(constant(x, min), constant(x, max), 1.0)
    inside = _inside(flat, low, high)
    place = convert(keep((flat - low) * float(bins) / (high - low), inside), dtype="int64")
    place = lookup("minimum")(place, constant(place, bins - 1))
    return _counted(place, inside, constant(flat, 1, flat.shape), bins)


def _counted(place: V, inside: V, weight: V, size: int) -> V:
    result: V = put_add(place, keep(weight, inside), dim=0, size=size)
    return result


def _edges(low: V, high: V, bins: int) -> V:
    """`bins` + 1 evenly spaced edges; the second half counts back from the end, so that the end itself is exact."""
    count = bins + 1
    half = count // 2
    step = (high - low) / float(bins)
    ramps = [
        iota.on(low.emitter, shape=(n,), dim=0, start=start, step=by, dtype=low.dtype.name)
        for n, start, by in ((half, 0.0, 1.0), (count - half, float(count - half - 1), -1.0))
    ]
    result: V = concat(low + step * ramps[0], high - step * ramps[1], dim=0)
    return result


def _binned(column: V, edges: V) -> tuple[V, V]:
    """The bin of each element, 0 for those outside, and a mask of those inside. The last edge belongs to its bin."""
    size = edges.shape[0]
    low, high = (reshaped(narrowed(edges, 0, at, at + 1)) for at in (0, size - 1))
    inside = _inside(column, low, high)
    place = searchsorted(edges, column, right=True) - 1
    last = constant(place, size - 2)
    place = where(lt(last, place), last, place)
    return where(inside, place, constant(place, 0)), inside


def _histogram_of(
    x: V, weight: V | None, edges: list[V], bins: tuple[int, ...], span: tuple[float, ...], density: bool
) -> tuple[V, ...]:
    """(hist, edges of each dim) of the points in the rows of x."""
    points, dims = x.shape
    columns = [reshaped(narrowed(x, 1, d, d + 1), points) for d in range(dims)]
    if not edges:
        bounds = [
            _fixed(constant(x, span[2 * d]), constant(x, span[2 * d + 1]), 0.5) if span else _span(column, 0.5)
            for d, column in enumerate(columns)
        ]
        edges = [_edges(low, high, count) for (low, high), count in zip(bounds, bins, strict=True)]
    sizes = tuple(edge.shape[0] - 1 for edge in edges)
    places, insides = zip(*(_binned(c, e) for c, e in zip(columns, edges, strict=True)), strict=True)
    inside = insides[0]
    for other in insides[1:]:
        inside = logical_and(inside, other)
    place = ravel_index(*places, sizes=sizes, dims=tuple(range(dims)))
    weight = constant(x, 1, (points,)) if weight is None else reshaped(weight, points)
    hist = reshaped(_counted(place, inside, weight, math.prod(sizes)), *sizes)
    if density:
        hist = hist / lookup("sum")(hist)
        for d, (edge, size) in enumerate(zip(edges, sizes, strict=True)):
            widths = narrowed(edge, 0, 1, size + 1) - narrowed(edge, 0, 0, size)
            hist = hist / expand(reshaped(widths, *(size if i == d else 1 for i in range(dims))), shape=sizes)
    return (hist, *edges)


def _told_apart(rest: Sequence[V], weighted: bool) -> tuple[V | None, list[V]]:
    """Weight and bin edges."""
    if weighted and not rest:
        raise ArityError("histogram: there is no weight", expected="a weight after the input", got="1 operand")
    return (rest[0], list(rest[1:])) if weighted else (None, list(rest))


def _histogramdd(
    x: V, *rest: V, bins: tuple[int, ...], range: tuple[float, ...], weighted: bool, density: bool
) -> tuple[V, ...]:
    _need_float("histogramdd", x)
    if x.ndim < 2:
        raise ShapeError(
            f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {x.ndim}", got=str(x.spec)
        )
    dims = x.shape[-1]
    weight, edges = _told_apart(rest, weighted)
    count = len(edges) if edges else len(bins)
    if count != dims:
        raise ShapeError(
            f"torch.histogramdd: expected {dims} sequences of bin edges for a {dims}-dimensional histogram but got "
            f"{count}"
            if edges
            else "histogramdd: The size of bins must be equal to the innermost dimension of the input.",
            expected=str(dims),
            got=str(count),
        )
    _check_bins("torch.histogramdd", x, weight, x.shape[:-1], edges, bins, range)
    rows = reshaped(x, math.prod(x.shape[:-1]), dims)
    return _histogram_of(rows, weight, edges, bins, range, density)


def _check_bins(
    name: str,
    x: V,
    weight: V | None,
    shape: tuple[int, ...],
    edges: list[V],
    bins: tuple[int, ...],
    span: tuple[float, ...],
) -> None:
    if any(n <= 0 for n in bins):
        raise ShapeError(f"{name}(): bins must be > 0, but got {bins}", expected="at least 1", got=str(bins))
    for edge in edges:
        if edge.ndim != 1 or edge.shape[0] < 2:
            raise ShapeError(f"{name}(): a tensor of bin edges has one dim and two elements", got=str(edge.spec))
        if edge.dtype != x.dtype:
            raise DTypeError(f"{name}(): bin edges must have the dtype of the input {x.dtype}", got=edge.dtype.name)
    if weight is not None and (weight.shape != shape or weight.dtype != x.dtype):
        raise ShapeError(
            f"{name}(): if weight tensor is provided it should have the same shape as the input tensor excluding its "
            f"innermost dimension, and its dtype: got {weight.spec}",
            expected=str(TensorSpec(shape, x.dtype)),
            got=str(weight.spec),
        )
    if span and (edges or len(span) != 2 * len(bins)):
        raise ShapeError(f"{name}(): range is two numbers per dim, without bin edges", got=str(list(span)))
    for low, high in zip(span[::2], span[1::2], strict=True):
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise ShapeError(f"{name}(): range [{low}, {high}] is not finite and ascending", got=str(list(span)))


def _histogram(
    x: V, *rest: V, bins: tuple[int, ...], range: tuple[float, ...], weighted: bool, density: bool
) -> tuple[V, ...]:
    _need_float("histogram", x)
    weight, edges = _told_apart(rest, weighted)
    if len(edges) + len(bins) != 1:
        raise ShapeError("torch.histogram(): one number of bins, or one tensor of bin edges")
    _check_bins("torch.histogram", x, weight, x.shape, edges, bins, range)
    return _histogram_of(reshaped(x, x.spec.size, 1), weight, edges, bins, range, density)


declare(
    Composite(
        name="histc",
        arity=1,
        attrs={
            "bins": Attr("int", 100),
            "min": Attr("float", 0.0),
            "max": Attr("float", 0.0, "the least and largest element when equal to min"),
        },
        doc="How many elements fall into each of bins of one width; those outside do not count.",
        body=_histc,
    )
)
_BINS = {
    "bins": Attr("ints", (), "how many per dim, where no edges are given"),
    "range": Attr("floats", (), "first and last edge of each dim; the extremes of the data when empty"),
    "weighted": Attr("bool", False, "the second operand is a weight per point"),
    "density": Attr("bool", False, "so that the integral over all bins is 1"),
}
for _name, _body, _what in (
    ("histogram", _histogram, "elements"),
    ("histogramdd", _histogramdd, "points, in the last dim,"),
):
    declare(
        Composite(
            name=_name,
            arity=(1, -1),
            attrs=_BINS,
            doc=f"(x, weight?, edges…): how many {_what} fall into each bin, and the edges.",
            body=_body,
        )
    )
