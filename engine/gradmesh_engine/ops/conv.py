"""Convolution: three primitives, bilinear and each other's derivatives.

A block of images is kept with the images innermost, `[C, *S, N]`: the columns of im2col are then
copied in long runs, and each product of matrices is one BLAS call for all images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradmesh_engine.builder import V
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Scratch, Site, Specs, declare
from gradmesh_engine.ops.layout import Ints
from gradmesh_engine.ops.pointwise import conjugate, in_float32
from gradmesh_engine.ops.windows import Windows

# Columns are made for as many images at a time as fit into this many bytes (at least one image).
COLUMN_BYTES = 1 << 20


@dataclass(frozen=True)
class Geometry:
    """Sizes of one convolution.

    Attributes:
        images: N.
        channels: C, of the input.
        filters: F, channels of the output.
        groups: G.
        sizes: S, spatial sizes of the input before padding.
        outputs: O, spatial sizes of the output.
        windows: kernel sizes, strides and dilations.
        low: padding before each spatial dim.
        high: padding after each spatial dim.
    """

    images: int
    channels: int
    filters: int
    groups: int
    sizes: Ints
    outputs: Ints
    windows: Windows
    low: Ints
    high: Ints

    @property
    def padded(self) -> Ints:
        """Spatial sizes of the padded input."""
        return tuple(a + n + b for a, n, b in zip(self.low, self.sizes, self.high, strict=True))

    @property
    def column(self) -> int:
        """Elements of one column: C * kernel."""
        return self.channels * self.windows.count

    def at_once(self, itemsize: int) -> int:
        """Images whose columns are made together."""
        one = self.column * math.prod(self.outputs) * itemsize
        runs = -(-self.images // max(1, COLUMN_BYTES // max(one, 1)))
        return max(1, -(-self.images // max(1, runs)))

    def workspace(self, itemsize: int) -> int:
        """Bytes of the buffers of the images whose columns are made together, see _Columns."""
        if self.plain:
            return 0
        outputs = math.prod(self.outputs)
        one = self.channels * math.prod(self.padded) + (self.column + self.filters) * outputs
        return self.at_once(itemsize) * one * itemsize

    @property
    def plain(self) -> bool:
        """Whether every window is one element and every element a window: the columns are the input."""
        return self.windows.count == 1 and self.outputs == self.sizes == self.padded

    def tiled(self) -> list[int]:
        """The spatial dims along which input and output can be cut together."""
        plain = [d for d in range(len(self.sizes)) if self.low[d] == 0 == self.high[d]]
        return [d for d in self.windows.tiled(self.sizes, self.outputs) if d in plain]


def _geometry(images: int, channels: int, sizes: Ints, w: Ints, attrs: Any, groups: int | None = None) -> Geometry:
    """The geometry of an input and a weight. Raises ShapeError with PyTorch's wording."""
    windows = Windows(w[2:], attrs["stride"], attrs["dilation"])
    low, high = attrs["low"], attrs["high"]
    for name in ("stride", "dilation"):
        if any(n < 1 for n in attrs[name]):
            what = (
                "dilation should be greater than zero"
                if name == "dilation"
                else f"non-positive {name} is not supported"
            )
            raise ShapeError(what, expected="at least 1", got=str(list(attrs[name])))
    if any(len(n) != len(sizes) for n in (windows.kernel, windows.stride, windows.dilation, low, high)):
        raise ShapeError(f"a weight of {len(w)} dims does not slide over {len(sizes)} spatial dims")
    windows.check_count()
    if any(n < 0 for n in (*low, *high)):
        raise ShapeError("negative padding is not supported", got=f"low {list(low)}, high {list(high)}")
    groups = int(attrs["groups"]) if groups is None else groups
    if groups < 1:
        raise ShapeError(f"non-positive groups is not supported: {groups}", expected="at least 1")
    if 0 < w[0] < groups:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{list(w)} instead",
            expected=f"at least {groups}",
            got=str(w[0]),
        )
    if channels != w[1] * groups:
        raise ShapeError(
            f"Given groups={groups}, weight of size {list(w)}, expected input{[images, channels, *sizes]} to have "
            f"{w[1] * groups} channels, but got {channels} channels instead",
            expected=str(w[1] * groups),
            got=str(channels),
        )
    if w[0] % groups:
        raise ShapeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size {list(w)} instead"
        )
    padded = tuple(a + n + b for a, n, b in zip(low, sizes, high, strict=True))
    reach = [d * (k - 1) + 1 for k, d in zip(windows.kernel, windows.dilation, strict=True)]
    if any(n < r for n, r in zip(padded, reach, strict=True)):
        raise ShapeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
            f"({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size"
        )
    return Geometry(images, channels, w[0], groups, sizes, windows.outputs(padded), windows, low, high)


class _Columns:
    """Buffers for `count` images: padded input `[C, *P, N]`, its columns `[G, C/G*K, O*N]`, outputs `[G, F/G, O*N]`."""

    def __init__(self, geometry: Geometry, count: int, dtype: np.dtype, scratch: Scratch) -> None:
        windows, groups, outputs = geometry.windows, geometry.groups, geometry.outputs
        padded = np.zeros((geometry.channels, *geometry.padded, count), dtype)
        self.padded = padded
        cut = (slice(a, a + n) for a, n in zip(geometry.low, geometry.sizes, strict=True))
        spatial = range(1, len(outputs) + 1)
        self.inside = padded[(slice(None), *cut)].transpose(len(outputs) + 1, 0, *spatial)
        # [C, *K, *O, N]: what each column is made of
        self.seen = as_strided(
            padded,
            (geometry.channels, *windows.kernel, *outputs, count),
            (padded.strides[0], *windows.strides(padded.strides[1:-1], outputs), padded.strides[-1]),
        )
        plain = geometry.plain
        made, results = scratch.arrays(
            ((0,) if plain else self.seen.shape, dtype), ((geometry.filters, *outputs, count), dtype)
        )
        self.made = self.seen if plain else made
        self.plain = plain
        cells = math.prod(outputs) * count
        self.columns = self.made.reshape(groups, geometry.column // groups, cells)
        self.slots = () if plain else windows.slots(outputs)
        self.rows = results.reshape(groups, geometry.filters // groups, cells)
        self.results = results.transpose(len(outputs) + 1, 0, *spatial)

    def take(self, x: np.ndarray) -> None:
        """Make the columns of the images `x`, [N, C, *S]."""
        np.copyto(self.inside, x)
        if not self.plain:
            np.copyto(self.made, self.seen)

    def give(self, out: np.ndarray) -> None:
        """Add the columns up where they come from, into the images `out`."""
        if not self.plain:
            self.padded[...] = 0
            every: Any = slice(None)
            for place, slot in self.slots:
                target = self.padded[(every, *slot[1:], every)]
                np.add(target, self.made[(every, *place)], out=target)
        np.copyto(out, self.inside)


def _chunks(geometry: Geometry, site: Site) -> Callable[[], Iterator[tuple[slice, _Columns]]]:
    """Runs of images with their buffers, which are made at the first use."""
    dtype = site.out.dtype
    step = geometry.at_once(dtype.itemsize)
    cuts = [slice(i, min(i + step, geometry.images)) for i in range(0, geometry.images, step)]
    buffers: dict[int, _Columns] = {}

    def chunks() -> Iterator[tuple[slice, _Columns]]:
        for cut in cuts:
            count = cut.stop - cut.start
            if count not in buffers:
                buffers[count] = _Columns(geometry, count, dtype, site.scratch)
            yield cut, buffers[count]

    return chunks


def _matrices(w: np.ndarray, groups: int) -> np.ndarray:
    """The weight as one matrix [F/G, C/G * K] per group."""
    return w.reshape(groups, w.shape[0] // groups, math.prod(w.shape[1:]))


def _pointwise_product(matrices: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """A convolution whose windows are single elements: one product per image, without moving anything."""
    images, groups = x.shape[0], matrices.shape[0]
    pixels = math.prod(x.shape[2:])
    seen = x.reshape(images, groups, matrices.shape[2], pixels)
    np.matmul(matrices, seen, out=out.reshape(images, groups, matrices.shape[1], pixels, copy=False))


_ATTRS = {
    "stride": Attr("ints", doc="one per spatial dim"),
    "dilation": Attr("ints", doc="one per spatial dim"),
    "low": Attr("ints", doc="zeros before each spatial dim"),
    "high": Attr("ints", doc="zeros after each spatial dim"),
    "groups": Attr("int", 1),
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
    return _geometry(x.shape[0], x.shape[1], x.shape[2:], w.shape, attrs, groups)


def _local_groups(channels: int, w: Ints) -> int:
    """Groups in a block: a depthwise convolution may be cut along them."""
    return channels // max(w[1], 1)


# --- conv: x [N, C, *S], w [F, C/G, *K] -> [N, F, *O] ----------------------------------------------


def _conv_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    _same_dtype(specs)
    geometry = _forward_geometry(specs, attrs)
    return TensorSpec((geometry.images, geometry.filters, *geometry.outputs), specs[0].dtype)


@in_float32
def _conv_kernel(site: Site) -> Callable[..., None]:
    x_spec, w_spec = site.ins
    geometry = _forward_geometry(site.ins, site.attrs, _local_groups(x_spec.shape[1], w_spec.shape))
    groups = geometry.groups
    if geometry.plain:
        return lambda x, w, out: _pointwise_product(_matrices(w, groups), x, out)
    chunks = _chunks(geometry, site)

    def run(x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        matrices = _matrices(w, groups)
        for cut, work in chunks():
            work.take(x[cut])
            np.matmul(matrices, work.columns, out=work.rows)
            np.copyto(out[cut], work.results)

    return run


def _depthwise(channels: int, filters: int, groups: int) -> bool:
    """Whether channels and filters can be cut together: wherever one is cut, a group ends."""
    return groups > 1 and math.gcd(channels, filters) == groups


def _conv_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = _forward_geometry(specs, attrs)
    factors = [Factor((0, None), 0)]
    if geometry.groups == 1:
        factors += [Factor((None, 0), 1), Factor((1, 1), None, "sum")]
    elif _depthwise(geometry.channels, geometry.filters, geometry.groups):
        factors.append(Factor((1, 0), 1))
    return factors + [Factor((2 + d, None), 2 + d) for d in geometry.tiled()]


def _conv_cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    w = specs[1].shape
    return 2.0 * out.size * math.prod(w[1:])


def _conv_vjp(g: V, y: V, x: V, w: V, **attrs: Any) -> Sequence[V | None]:
    return (
        conv_input(g, conjugate(w), size=x.shape[2:], **attrs),
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
        cost=_conv_cost,
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
    geometry = _geometry(g.shape[0], w.shape[1] * groups, size, w.shape, attrs, groups)
    if g.shape[1:] != (geometry.filters, *geometry.outputs):
        raise ShapeError(
            f"expected {[g.shape[0], geometry.filters, *geometry.outputs]}, got {list(g.shape)}, for a weight of "
            f"size {list(w.shape)} and a result of spatial size {list(size)}",
            expected=str([g.shape[0], geometry.filters, *geometry.outputs]),
            got=str(list(g.shape)),
        )
    return geometry


def _input_spec(specs: Specs, *, size: Ints, **attrs: AttrValue) -> TensorSpec:
    _same_dtype(specs)
    geometry = _input_geometry(specs, attrs, size, int(attrs["groups"]))  # type: ignore[arg-type]
    return TensorSpec((geometry.images, geometry.channels, *size), specs[0].dtype)


@in_float32
def _input_kernel(site: Site) -> Callable[..., None]:
    groups = _local_groups(site.out.shape[1], site.ins[1].shape)
    geometry = _input_geometry(site.ins, site.attrs, site.out.shape[2:], groups)
    if geometry.plain:
        return lambda g, w, out: _pointwise_product(_matrices(w, groups).transpose(0, 2, 1), g, out)
    chunks = _chunks(geometry, site)

    def run(g: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
        matrices = _matrices(w, groups).transpose(0, 2, 1)
        for cut, work in chunks():
            np.copyto(work.results, g[cut])
            np.matmul(matrices, work.rows, out=work.columns)
            work.give(out[cut])

    return run


def _input_axes(specs: Specs, out: TensorSpec, *, size: Ints, **attrs: AttrValue) -> list[Factor]:
    geometry = _input_geometry(specs, attrs, size, int(attrs["groups"]))  # type: ignore[arg-type]
    factors = [Factor((0, None), 0)]
    if geometry.groups == 1:
        factors += [Factor((None, 1), 1), Factor((1, 0), None, "sum")]
    elif _depthwise(geometry.channels, geometry.filters, geometry.groups):
        factors.append(Factor((1, 0), 1))
    return factors + [Factor((2 + d, None), 2 + d) for d in geometry.tiled()]


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
            out.shape[2:],
            int(attrs["groups"]),  # type: ignore[arg-type]
        ).workspace(out.dtype.itemsize),
        axes=_input_axes,
        cost=lambda specs, out, attrs: 2.0 * specs[0].size * math.prod(specs[1].shape[1:]),
    )
)

# --- conv_weight: x [N, C, *S], g [N, F, *O] -> [F, C/G, *kernel] ----------------------------------


def _weight_geometry(specs: Specs, attrs: Any, kernel: Ints, groups: int) -> Geometry:
    x, g = specs
    if x.ndim < 3 or g.ndim != x.ndim or groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"conv_weight takes [N, C, *S] and [N, F, *O], not {list(x.shape)} and {list(g.shape)}")
    w = (g.shape[1], x.shape[1] // groups, *kernel)
    geometry = _geometry(x.shape[0], x.shape[1], x.shape[2:], w, attrs, groups)
    if g.shape != (geometry.images, geometry.filters, *geometry.outputs):
        raise ShapeError(
            f"expected an output gradient of {[geometry.images, geometry.filters, *geometry.outputs]}, got "
            f"{list(g.shape)}",
            got=str(list(g.shape)),
        )
    return geometry


def _weight_spec(specs: Specs, *, kernel: Ints, **attrs: AttrValue) -> TensorSpec:
    _same_dtype(specs)
    groups = int(attrs["groups"])  # type: ignore[arg-type]
    geometry = _weight_geometry(specs, attrs, kernel, groups)
    return TensorSpec((geometry.filters, geometry.channels // groups, *kernel), specs[0].dtype)


def _weight_accumulate(site: Site) -> Callable[..., None]:
    x_spec = site.ins[0]
    groups = x_spec.shape[1] // max(site.out.shape[1], 1)
    geometry = _weight_geometry(site.ins, site.attrs, site.out.shape[2:], groups)
    chunks = _chunks(geometry, site)
    part = np.empty(site.out.shape, site.out.dtype)
    rows = _matrices(part, groups)

    def run(x: np.ndarray, g: np.ndarray, acc: np.ndarray) -> None:
        for cut, work in chunks():
            work.take(x[cut])
            np.copyto(work.results, g[cut])
            np.matmul(work.rows, work.columns.transpose(0, 2, 1), out=rows)
            np.add(acc, part, out=acc)

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
    factors = [Factor((0, 0), None, "sum")]
    if geometry.groups == 1:
        factors += [Factor((None, 1), 0), Factor((1, None), 1)]
    elif _depthwise(geometry.channels, geometry.filters, geometry.groups):
        factors.append(Factor((1, 1), 0))
    return factors + [Factor((2 + d, 2 + d), None, "sum") for d in geometry.tiled()]


def _weight_vjp(h: V, y: V, x: V, g: V, *, kernel: Ints, **attrs: Any) -> Sequence[V | None]:
    return conv_input(conjugate(g), h, size=x.shape[2:], **attrs), conv(conjugate(x), h, **attrs)


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
        cost=lambda specs, out, attrs: 2.0 * specs[1].size * math.prod(out.shape[1:]),
    )
)
