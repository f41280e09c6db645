"""The columns of a convolution: what its windows see, as matrices.

Images are kept innermost, `[C, *S, N]`, as turned blocks lie anyway: columns are then copied in long runs, and each
product of matrices is for all images. Where rows are long, columns are made along the other spatial dims alone;
those of a window's rows are rows of one matrix already, which begins further down for the next row of windows
(MEC, Cho and Brand 2017, arXiv:1706.06873).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradmesh_engine.errors import ShapeError
from gradmesh_engine.ops.base import Scratch, Site
from gradmesh_engine.ops.layout import Ints
from gradmesh_engine.ops.windows import Windows

# Columns are made for as many images at a time as fit into this many bytes (at least one image).
COLUMN_BYTES = 1 << 20

# Products for each row of windows are worth it from so many filters of a group, and elements of a row of the images
# whose columns are made together.
FILTERS, ROW = 4, 64

# Elements of a weight's gradients for each row of windows, at most, before these are added up.
SUMS = 1 << 16


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
        last: whether images are the last dim of input and output, [C, *S, N], not the first.
        of: what is computed, "output", "input" or "weight".
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
    last: bool
    of: str = "output"

    @property
    def padded(self) -> Ints:
        """Spatial sizes of the padded input."""
        return tuple(a + n + b for a, n, b in zip(self.low, self.sizes, self.high, strict=True))

    @property
    def column(self) -> int:
        """Elements of one column: C * kernel."""
        return self.channels * self.windows.count

    @property
    def row(self) -> int:
        """Outputs of one row of windows of an image."""
        return math.prod(self.outputs[1:])

    @cached_property
    def by_rows(self) -> bool:
        """Whether there is a product for each row of windows."""
        windows = self.windows
        return (
            len(self.outputs) > 1
            and windows.kernel[0] > 1
            and windows.dilation[0] == 1
            and self.filters >= FILTERS * self.groups
            and self.row * min(self.images, COLUMN_BYTES // (4 * max(self._by_rows_elements, 1)) or 1) >= ROW
            and (self.of != "input" or windows.stride[0] == 1)
            and (self.of != "weight" or self.outputs[0] * self.filters * self.column <= SUMS * self.groups)
        )

    @property
    def column_elements(self) -> int:
        """Elements of an image's columns."""
        return self._by_rows_elements if self.by_rows else self.column * math.prod(self.outputs)

    @property
    def _by_rows_elements(self) -> int:
        return self.channels * math.prod(self.windows.kernel[1:]) * self.padded[0] * self.row

    def at_once(self, itemsize: int) -> int:
        """Images whose columns are made together."""
        one = self.column_elements * itemsize
        runs = -(-self.images // max(1, COLUMN_BYTES // max(one, 1)))
        return max(1, -(-self.images // max(1, runs)))

    def workspace(self, itemsize: int) -> int:
        """Bytes of the buffers of the images whose columns are made together, see Columns."""
        if self.plain:
            return 0
        framed = self.filters * self.row * 2 * (self.windows.kernel[0] - 1) if self.by_rows else 0
        one = self.channels * math.prod(self.padded) + self.column_elements + framed
        return self.at_once(itemsize) * (one + self.filters * math.prod(self.outputs)) * itemsize

    @property
    def plain(self) -> bool:
        """Whether every window is one element and every element a window: the columns are the input."""
        return self.windows.count == 1 and self.outputs == self.sizes == self.padded

    def shape(self, channels: int, spatial: Ints) -> Ints:
        """Of an input or output."""
        return (channels, *spatial, self.images) if self.last else (self.images, channels, *spatial)

    def factors(self) -> list[tuple[int, int]]:
        """The dims of input and output along which both can be cut together, images first."""
        first = 1 if self.last else 2
        found = [(first + d, first + d) for d in self.tiled()]
        images = len(self.sizes) + 1 if self.last else 0
        return [(images, images), *found]

    def tiled(self) -> list[int]:
        """The spatial dims along which input and output can be cut together."""
        plain = [d for d in range(len(self.sizes)) if self.low[d] == 0 == self.high[d]]
        return [d for d in self.windows.tiled(self.sizes, self.outputs) if d in plain]


def parts_of(shape: Ints, attrs: Any) -> tuple[int, int, Ints]:
    """Images, channels and spatial sizes of an input or output."""
    return (shape[-1], shape[0], shape[1:-1]) if attrs.get("last") else (shape[0], shape[1], shape[2:])


def geometry_of(images: int, channels: int, sizes: Ints, w: Ints, attrs: Any, groups: int | None = None) -> Geometry:
    """The geometry of an input and a weight. Raises ShapeError with PyTorch's wording."""
    windows = Windows(w[2:], attrs["stride"], attrs["dilation"], True)
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
    outputs = windows.outputs(padded)
    return Geometry(images, channels, w[0], groups, sizes, outputs, windows, low, high, bool(attrs.get("last")))


class Columns:
    """Buffers of `count` images.

    Products are of one matrix per group, or with `by_rows` per group and row of windows: R of them. Weights
    [G, 1, F/G, K] times columns [G, R, K, L] are outputs [G, R, F/G, L].
    """

    def __init__(self, geometry: Geometry, count: int, dtype: np.dtype, scratch: Scratch) -> None:
        self.geometry, self.count = geometry, count
        windows, groups, channels = geometry.windows, geometry.groups, geometry.channels // geometry.groups
        outputs = geometry.outputs
        rest = windows.kernel[1:]
        self.inner = inner = Windows(rest, windows.stride[1:], windows.dilation[1:], True)
        # Turned images without padding are taken from, and given, where they are.
        self.direct = geometry.last and geometry.padded == geometry.sizes
        self.padded = np.zeros((0,) if self.direct else (geometry.channels, *geometry.padded, count), dtype)
        if not self.direct:
            cut = (slice(a, a + n) for a, n in zip(geometry.low, geometry.sizes, strict=True))
            self.inside = self._given(self.padded[(slice(None), *cut)])
        if geometry.by_rows:
            self.rows = outputs[0]
            shape: Ints = (groups, geometry.padded[0], channels, *rest, *outputs[1:], count)
        else:
            self.rows = 1
            shape = (groups, channels, *windows.kernel, *outputs, count)
        made, results = scratch.arrays(
            ((0,) if geometry.plain else shape, dtype), ((geometry.filters, *outputs, count), dtype)
        )
        self.made = made
        self.products = self.products_of(results)
        self.given = self._given(results)
        if geometry.by_rows:
            height, length = channels * inner.count, geometry.row * count
            step = length * dtype.itemsize
            self.columns = as_strided(
                made,
                (groups, self.rows, windows.kernel[0] * height, length),
                (made.strides[0], windows.stride[0] * height * step if self.rows > 1 else 0, step, dtype.itemsize),
            )
        elif not geometry.plain:
            self.columns = made.reshape(groups, 1, channels * windows.count, math.prod(outputs) * count)
        along, counts = (inner, outputs[1:]) if geometry.by_rows else (windows, outputs)
        self.slots = () if geometry.plain else along.slots(counts)
        self.seen = None if self.direct or geometry.plain else self._seen(self.padded)

    def _given(self, array: np.ndarray) -> np.ndarray:
        """An array [C, *S, N] the way inputs and outputs lie."""
        last = array.ndim - 1
        return array if self.geometry.last else array.transpose(last, *range(last))

    def products_of(self, array: np.ndarray) -> np.ndarray:
        """A view [G, R, F/G, L] of outputs [F, *O, N]."""
        groups = self.geometry.groups
        length = math.prod(array.shape[1:]) // self.rows
        parts = array.reshape(groups, array.shape[0] // groups, self.rows, length, copy=False)
        return parts.transpose(0, 2, 1, 3)

    def take(self, x: np.ndarray) -> np.ndarray:
        """The columns of the images `x`."""
        groups = self.geometry.groups
        if not self.direct:
            np.copyto(self.inside, x)
        if self.geometry.plain:
            return (x if self.direct else self.padded).reshape(groups, 1, self.geometry.column // groups, -1)
        np.copyto(self.made, self._seen(x) if self.seen is None else self.seen)
        return self.columns

    def _seen(self, padded: np.ndarray) -> np.ndarray:
        """What the columns are made of: a view of padded images [C, *P, N]."""
        geometry, windows, outputs = self.geometry, self.geometry.windows, self.geometry.outputs
        first, *steps, last = padded.strides
        if geometry.by_rows:
            moved = (steps[0], first, *self.inner.strides(tuple(steps[1:]), outputs[1:]))
        else:
            moved = (first, *windows.strides(tuple(steps), outputs))
        each = geometry.channels // geometry.groups * first
        return as_strided(padded, self.made.shape, (each, *moved, last), writeable=False)

    def give(self, out: np.ndarray) -> None:
        """Add the columns up where they come from, into the images `out`."""
        geometry = self.geometry
        total = out if self.direct else self.padded
        total[...] = 0
        parted = total.reshape(geometry.groups, -1, *total.shape[1:])
        if geometry.by_rows:
            # [G, P, C/G, …]
            parted = parted.swapaxes(1, 2)
        every: Any = slice(None)
        for place, slot in self.slots:
            target = parted[slot]
            np.add(target, self.made[(every, every, *(every,) * geometry.by_rows, *place)], out=target)
        if total is not out:
            np.copyto(out, self.inside)


def chunks_of(geometry: Geometry, site: Site) -> Callable[[], Iterator[tuple[Any, Columns]]]:
    """Runs of images with their buffers, which are made at the first use."""
    dtype = site.out.dtype
    step = geometry.at_once(dtype.itemsize)
    cuts = [slice(i, min(i + step, geometry.images)) for i in range(0, geometry.images, step)]
    buffers: dict[int, Columns] = {}

    def chunks() -> Iterator[tuple[Any, Columns]]:
        for cut in cuts:
            count = cut.stop - cut.start
            if count not in buffers:
                buffers[count] = Columns(geometry, count, dtype, site.scratch)
            yield (..., cut) if geometry.last else cut, buffers[count]

    return chunks


class Framed:
    """Outputs' gradients with rows of zeros around, so that windows slide over them in turn: a matrix for each row."""

    def __init__(self, work: Columns, dtype: np.dtype) -> None:
        geometry, groups = work.geometry, work.geometry.groups
        frame, filters = geometry.windows.kernel[0] - 1, geometry.filters // groups
        outputs, length = geometry.outputs, geometry.row * work.count
        framed = np.zeros((groups, outputs[0] + 2 * frame, filters, *outputs[1:], work.count), dtype)
        inside = framed[:, frame : frame + outputs[0]].swapaxes(1, 2)
        last = inside.ndim - 1
        self.inside = inside if geometry.last else inside.transpose(last, *range(last))
        step = length * dtype.itemsize
        self.matrices = as_strided(
            framed,
            (groups, geometry.padded[0], (frame + 1) * filters, length),
            (framed.strides[0], filters * step, step, dtype.itemsize),
        )
        self.columns = work.made.reshape(groups, geometry.padded[0], -1, length)

    def take(self, g: np.ndarray) -> np.ndarray:
        """The matrices of gradients."""
        np.copyto(self.inside, g.reshape(self.inside.shape))
        return self.matrices
