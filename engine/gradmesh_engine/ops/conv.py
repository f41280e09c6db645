"""Convolution: three primitives, bilinear and each other's derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradmesh_engine.builder import V
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Order, Primitive, Site, Specs, declare
from gradmesh_engine.ops.columns import Framed, Geometry, chunks_of, geometry_of, parts_of
from gradmesh_engine.ops.layout import Ints
from gradmesh_engine.ops.pointwise import conjugate, in_float32


def _matrices(w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The weight as matrices [G, 1, F/G, K] in the order of the columns."""
    groups = geometry.groups
    parts = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    if geometry.by_rows:
        parts = parts.swapaxes(2, 3)
    return parts.reshape(groups, 1, parts.shape[1], math.prod(w.shape[1:]))


def _pointwise_product(matrices: np.ndarray, x: np.ndarray, out: np.ndarray, last: bool) -> None:
    """A convolution whose windows are single elements: a product per image, or one for all, without moving anything."""
    groups, _, rows, columns = matrices.shape
    if last:
        pixels = math.prod(x.shape[1:])
        seen, to = x.reshape(groups, 1, columns, pixels), out.reshape(groups, 1, rows, pixels, copy=False)
    else:
        pixels = math.prod(x.shape[2:])
        matrices = matrices[:, 0]
        seen = x.reshape(x.shape[0], groups, columns, pixels)
        to = out.reshape(x.shape[0], groups, rows, pixels, copy=False)
    np.matmul(matrices, seen, out=to)


_ATTRS = {
    "stride": Attr("ints", doc="one per spatial dim"),
    "dilation": Attr("ints", doc="one per spatial dim"),
    "low": Attr("ints", doc="zeros before each spatial dim"),
    "high": Attr("ints", doc="zeros after each spatial dim"),
    "groups": Attr("int", 1),
    "last": Attr("bool", None, "images are the last dim, not the first"),
}


def _same_dtype(specs: Specs) -> None:
    if specs[0].dtype != specs[1].dtype:
        raise DTypeError(
            f"Input type ({specs[0].dtype.name}) and weight type ({specs[1].dtype.name}) should be the same",
            expected=specs[0].dtype.name,
            got=specs[1].dtype.name,
            remedy="cast one of them",
        )


def _forward_geometry(specs: Specs, attrs: Any, groups: int | None = None) -> Geometry:
    x, w = specs
    if x.ndim < 3 or w.ndim != x.ndim:
        raise ShapeError(
            f"a convolution takes [N, C, *S] and [F, C/G, *K], not {list(x.shape)} and {list(w.shape)}",
            expected="equal numbers of dims, at least 3",
        )
    return geometry_of(*parts_of(x.shape, attrs), w.shape, attrs, groups)


def _turned(attrs: Mapping[str, AttrValue], orders: Sequence[Order], result: Order) -> Mapping[str, AttrValue] | None:
    """The images come last, in all that has any."""
    along = [order for order in (*orders, result) if order != tuple(range(len(order)))]
    images = (*range(1, len(result)), 0)
    two = len(along) == 2 and all(order == images for order in along)
    return {**attrs, "last": True} if two and not attrs.get("last") else None


def _local_groups(channels: int, w: Ints) -> int:
    """Groups in a block: a depthwise convolution may be cut along them."""
    return channels // max(w[1], 1)


# --- conv: x [N, C, *S], w [F, C/G, *K] -> [N, F, *O] ----------------------------------------------


def _conv_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    _same_dtype(specs)
    geometry = _forward_geometry(specs, attrs)
    return TensorSpec(geometry.shape(geometry.filters, geometry.outputs), specs[0].dtype)


@in_float32
def _conv_kernel(site: Site) -> Callable[..., None]:
    x_spec, w_spec = site.ins
    local = _local_groups(parts_of(x_spec.shape, site.attrs)[1], w_spec.shape)
    geometry = _forward_geometry(site.ins, site.attrs, local)
    last = geometry.last
    if geometry.plain:
        return lambda x, w, out: _pointwise_product(_matrices(w, geometry), x, out, last)
    chunks = chunks_of(geometry, site)

    def run(x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        matrices = _matrices(w, geometry)
        for cut, work in chunks():
            columns = work.take(x[cut])
            if last and work.count == geometry.images:
                np.matmul(matrices, columns, out=work.products_of(out))
            else:
                np.matmul(matrices, columns, out=work.products)
                np.copyto(out[cut], work.given)

    return run


def _depthwise(channels: int, filters: int, groups: int) -> bool:
    """Whether channels and filters can be cut together: wherever one is cut, a group ends."""
    return groups > 1 and math.gcd(channels, filters) == groups


def _conv_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = _forward_geometry(specs, attrs)
    at = 1 - geometry.last
    factors = [Factor((x, None), y) for x, y in geometry.factors()]
    if geometry.groups == 1:
        factors += [Factor((None, 0), at), Factor((at, 1), None, "sum")]
    elif _depthwise(geometry.channels, geometry.filters, geometry.groups):
        factors.append(Factor((at, 0), at))
    return factors


def _conv_cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    w = specs[1].shape
    return 2.0 * out.size * math.prod(w[1:])


def _time(flops: float, filters: int) -> float:
    """A FLOP takes a tenth of an add's time, twice that with few filters; see contract. Columns take the rest."""
    return flops * (0.15 if filters >= 8 else 0.25)


def _conv_vjp(g: V, y: V, x: V, w: V, **attrs: Any) -> Sequence[V | None]:
    return (
        conv_input(g, conjugate(w), size=parts_of(x.shape, attrs)[2], **attrs),
        conv_weight(conjugate(x), g, kernel=w.shape[2:], **attrs),
    )


conv = declare(
    Primitive(
        name="conv",
        arity=2,
        attrs=_ATTRS,
        grad_name="ConvolutionBackward0",
        doc="[N, C, *S] and [F, C/G, *K] to [N, F, *O]: cross-correlation.",
        spec=_conv_spec,
        kernel=_conv_kernel,
        blas="matmul",
        vjp=_conv_vjp,
        workspace=lambda specs, out, attrs: _forward_geometry(specs, attrs).workspace(out.dtype.itemsize),
        axes=_conv_axes,
        turned=_turned,
        cost=_conv_cost,
        time=lambda specs, out, attrs: _time(_conv_cost(specs, out, attrs), specs[1].shape[0]),
        in_order=4.0,
    )
)

# --- conv_input: g [N, F, *O], w [F, C/G, *K] -> [N, C, *size] -------------------------------------


def _input_geometry(specs: Specs, attrs: Any, size: Ints, groups: int) -> Geometry:
    g, w = specs
    if g.ndim < 3 or w.ndim != g.ndim:
        raise ShapeError(
            f"a transposed convolution takes [N, F, *O] and [F, C/G, *K], not {list(g.shape)} and {list(w.shape)}",
            expected="equal numbers of dims, at least 3",
        )
    geometry = geometry_of(parts_of(g.shape, attrs)[0], w.shape[1] * groups, size, w.shape, attrs, groups)
    geometry = replace(geometry, of="input")
    expected = geometry.shape(geometry.filters, geometry.outputs)
    if g.shape != expected:
        raise ShapeError(
            f"expected {list(expected)}, got {list(g.shape)}, for a weight of size {list(w.shape)} and a result of "
            f"spatial size {list(size)}",
            expected=str(list(expected)),
            got=str(list(g.shape)),
        )
    return geometry


def _input_spec(specs: Specs, *, size: Ints, **attrs: AttrValue) -> TensorSpec:
    _same_dtype(specs)
    geometry = _input_geometry(specs, attrs, size, int(attrs["groups"]))  # type: ignore[arg-type]
    return TensorSpec(geometry.shape(geometry.channels, size), specs[0].dtype)


def _adjoint_matrices(w: np.ndarray, groups: int) -> np.ndarray:
    """The weight as matrices [G, 1, C/G * K', K * F/G]: places along the first spatial dim, in reverse, are columns."""
    parts = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])[:, :, :, ::-1]
    parts = parts.transpose(0, 2, *range(4, parts.ndim), 3, 1)
    return parts.reshape(groups, 1, -1, parts.shape[-2] * parts.shape[-1])


@in_float32
def _input_kernel(site: Site) -> Callable[..., None]:
    groups = _local_groups(parts_of(site.out.shape, site.attrs)[1], site.ins[1].shape)
    geometry = _input_geometry(site.ins, site.attrs, parts_of(site.out.shape, site.attrs)[2], groups)
    last = geometry.last
    if geometry.plain:
        return lambda g, w, out: _pointwise_product(_matrices(w, geometry).swapaxes(2, 3), g, out, last)
    chunks = chunks_of(geometry, site)
    frames: dict[int, Framed] = {}

    def run_by_rows(g: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        matrices = _adjoint_matrices(w, groups)
        for cut, work in chunks():
            if work.count not in frames:
                frames[work.count] = Framed(work, site.out.dtype)
            frame = frames[work.count]
            np.matmul(matrices, frame.take(g[cut]), out=frame.columns)
            work.give(out[cut])

    def run(g: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        matrices = _matrices(w, geometry).swapaxes(2, 3)
        for cut, work in chunks():
            np.copyto(work.given, g[cut])
            np.matmul(matrices, work.products, out=work.columns)
            work.give(out[cut])

    return run_by_rows if geometry.by_rows else run


def _input_axes(specs: Specs, out: TensorSpec, *, size: Ints, **attrs: AttrValue) -> list[Factor]:
    geometry = _input_geometry(specs, attrs, size, int(attrs["groups"]))  # type: ignore[arg-type]
    at = 1 - geometry.last
    factors = [Factor((y, None), x) for x, y in geometry.factors()]
    if geometry.groups == 1:
        factors += [Factor((None, 1), at), Factor((at, 0), None, "sum")]
    elif _depthwise(geometry.channels, geometry.filters, geometry.groups):
        factors.append(Factor((at, 0), at))
    return factors


def _input_cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    return 2.0 * specs[0].size * math.prod(specs[1].shape[1:])


def _input_vjp(h: V, y: V, g: V, w: V, *, size: Ints, **attrs: Any) -> Sequence[V | None]:
    return conv(h, conjugate(w), **attrs), conv_weight(h, conjugate(g), kernel=w.shape[2:], **attrs)


conv_input = declare(
    Primitive(
        name="conv_input",
        arity=2,
        attrs={**_ATTRS, "size": Attr("ints", doc="spatial sizes of the result")},
        grad_name="ConvolutionBackward0",
        doc="[N, F, *O] and [F, C/G, *K] to [N, C, *size]: the adjoint of conv in its input, a transposed convolution.",
        spec=_input_spec,
        kernel=_input_kernel,
        blas="matmul",
        vjp=_input_vjp,
        workspace=lambda specs, out, attrs: _input_geometry(
            specs,
            attrs,
            parts_of(out.shape, attrs)[2],
            int(attrs["groups"]),  # type: ignore[arg-type]
        ).workspace(out.dtype.itemsize),
        axes=_input_axes,
        turned=_turned,
        cost=_input_cost,
        time=lambda specs, out, attrs: _time(_input_cost(specs, out, attrs), specs[1].shape[0]),
        in_order=4.0,
    )
)

# --- conv_weight: x [N, C, *S], g [N, F, *O] -> [F, C/G, *kernel] ----------------------------------


def _weight_geometry(specs: Specs, attrs: Any, kernel: Ints, groups: int) -> Geometry:
    x, g = specs
    if x.ndim < 3 or g.ndim != x.ndim or groups < 1 or parts_of(x.shape, attrs)[1] % groups:
        raise ShapeError(f"conv_weight takes [N, C, *S] and [N, F, *O], not {list(x.shape)} and {list(g.shape)}")
    images, channels, sizes = parts_of(x.shape, attrs)
    w = (parts_of(g.shape, attrs)[1], channels // groups, *kernel)
    geometry = replace(geometry_of(images, channels, sizes, w, attrs, groups), of="weight")
    expected = geometry.shape(geometry.filters, geometry.outputs)
    if g.shape != expected:
        raise ShapeError(
            f"expected an output gradient of {list(expected)}, got {list(g.shape)}",
            got=str(list(g.shape)),
        )
    return geometry


def _weight_spec(specs: Specs, *, kernel: Ints, **attrs: AttrValue) -> TensorSpec:
    _same_dtype(specs)
    groups = int(attrs["groups"])  # type: ignore[arg-type]
    geometry = _weight_geometry(specs, attrs, kernel, groups)
    return TensorSpec((geometry.filters, geometry.channels // groups, *kernel), specs[0].dtype)


def _weight_accumulate(site: Site) -> Callable[..., None]:
    groups = parts_of(site.ins[0].shape, site.attrs)[1] // max(site.out.shape[1], 1)
    geometry = _weight_geometry(site.ins, site.attrs, site.out.shape[2:], groups)
    chunks = chunks_of(geometry, site)
    filters, channels, *kernel = site.out.shape
    each = (groups, filters // max(groups, 1))

    def run(x: np.ndarray, g: np.ndarray, acc: np.ndarray) -> None:
        total = acc.reshape(*each, channels, *kernel, copy=False)
        if geometry.by_rows:
            total = total.swapaxes(2, 3)
        for cut, work in chunks():
            columns = work.take(x[cut])
            if geometry.last and work.count == geometry.images:
                products = work.products_of(np.ascontiguousarray(g))
            else:
                np.copyto(work.given, g[cut])
                products = work.products
            rows = np.matmul(products, columns.swapaxes(2, 3))
            np.add(total, rows.sum(1).reshape(total.shape), out=total)

    return run


@in_float32
def _weight_kernel(site: Site) -> Callable[..., None]:
    into = _weight_accumulate(site)

    def run(x: np.ndarray, g: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        into(x, g, out)

    return run


def _weight_axes(specs: Specs, out: TensorSpec, *, kernel: Ints, **attrs: AttrValue) -> list[Factor]:
    geometry = _weight_geometry(specs, attrs, kernel, int(attrs["groups"]))  # type: ignore[arg-type]
    at = 1 - geometry.last
    factors = [Factor(both, None, "sum") for both in geometry.factors()]
    if geometry.groups == 1:
        factors += [Factor((None, at), 0), Factor((at, None), 1)]
    elif _depthwise(geometry.channels, geometry.filters, geometry.groups):
        factors.append(Factor((at, at), 0))
    return factors


def _weight_cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    return 2.0 * specs[1].size * math.prod(out.shape[1:])


def _weight_vjp(h: V, y: V, x: V, g: V, *, kernel: Ints, **attrs: Any) -> Sequence[V | None]:
    size = parts_of(x.shape, attrs)[2]
    return conv_input(conjugate(g), h, size=size, **attrs), conv(conjugate(x), h, **attrs)


conv_weight = declare(
    Primitive(
        name="conv_weight",
        arity=2,
        attrs={**_ATTRS, "kernel": Attr("ints", doc="spatial sizes of the weight")},
        grad_name="ConvolutionBackwardBackward0",
        doc="[N, C, *S] and [N, F, *O] to [F, C/G, *kernel]: the adjoint of conv in its weight.",
        spec=_weight_spec,
        kernel=_weight_kernel,
        blas="matmul",
        vjp=_weight_vjp,
        workspace=lambda specs, out, attrs: _weight_geometry(
            specs,
            attrs,
            out.shape[2:],
            int(attrs["groups"]),  # type: ignore[arg-type]
        ).workspace(out.dtype.itemsize),
        axes=_weight_axes,
        turned=_turned,
        cost=_weight_cost,
        time=lambda specs, out, attrs: _time(_weight_cost(specs, out, attrs), out.shape[0]),
        in_order=8.0,
    )
)
