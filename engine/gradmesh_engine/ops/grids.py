"""Values of images at points of a grid, and grids of affine maps.

A point has its coordinates in the order (x, y[, z]), the last dim of the image first, from -1 to 1 across it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.ops.activations import hardtanh
from gradmesh_engine.ops.base import Attr, lookup
from gradmesh_engine.ops.contract import contract
from gradmesh_engine.ops.indexing import gather
from gradmesh_engine.ops.layout import Ints, expand
from gradmesh_engine.ops.numeric import floor, remainder, round_
from gradmesh_engine.ops.picking import counting
from gradmesh_engine.ops.pointwise import convert, detach, eq, ge, keep, le, logical_and, lt, maximum, minimum, where
from gradmesh_engine.ops.resampling import cubic_weights
from gradmesh_engine.ops.shaping import composite, reshaped
from gradmesh_engine.ops.statistics import widened

# --- coordinates ----------------------------------------------------------------------------------


def _elements(at: V, size: int, align_corners: bool) -> V:
    """Coordinates from -1 to 1 as places among the elements of a dim."""
    return (at + 1) * ((size - 1) / 2) if align_corners else ((at + 1) * size - 1) * 0.5


def _reflected(at: V, size: int, align_corners: bool) -> V:
    """Places beyond the borders mirrored at them, as often as it takes."""
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    span = high - low
    if not span:
        return keep(at, constant(at, False, dtype=dtypes.bool_))
    off = at - low
    off = where(lt(off, constant(off, 0)), -off, off)
    turns = detach(floor(off / constant(off, span)))
    rest = off - turns * span
    even = eq(remainder(turns, constant(turns, 2)), constant(turns, 0))
    return where(even, rest, span - rest) + low


def _placed(at: V, size: int, padding: str, align_corners: bool) -> V:
    """Places moved to the image as the padding says; at a border the gradient is 0."""
    if padding == "zeros":
        return at
    if padding == "reflection":
        at = _reflected(at, size, align_corners)
    limited: V = hardtanh(at, min_val=0.0, max_val=float(size - 1))
    return limited


class _Image:
    """An image with its spatial dims merged, and what is read of it."""

    def __init__(self, x: V, points: Ints) -> None:
        self.sizes = x.shape[2:]
        self.flat = reshaped(x, *x.shape[:2], math.prod(self.sizes))
        self.count = math.prod(points)

    def at(self, places: Sequence[V]) -> V:
        """The elements [N, C, P] at whole places [N, P] of each dim, 0 outside."""
        inside: V | None = None
        index: V | None = None
        for place, size in zip(places, self.sizes, strict=True):
            own = logical_and(ge(place, constant(place, 0)), le(place, constant(place, size - 1)))
            inside = own if inside is None else logical_and(inside, own)
            whole = convert(place, dtype="int64")
            whole = minimum(maximum(whole, constant(whole, 0)), constant(whole, size - 1))
            index = whole if index is None else index * size + whole
        assert inside is not None and index is not None
        n, c = self.flat.shape[:2]
        every = expand(reshaped(index, n, 1, self.count), shape=(n, c, self.count))
        return keep(gather(self.flat, every, dim=2), reshaped(inside, n, 1, self.count))

    def weighted(self, places: Sequence[V], weight: V) -> V:
        """The elements at places, times weights [N, P]."""
        return self.at(places) * reshaped(weight, weight.shape[0], 1, self.count)


def _total(parts: Sequence[V]) -> V:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


# --- how values are read between the elements -----------------------------------------------------


def _nearest(image: _Image, places: Sequence[V], padding: str, align_corners: bool) -> V:
    moved = [_placed(at, size, padding, align_corners) for at, size in zip(places, image.sizes, strict=True)]
    whole = [round_(at) for at in moved]
    found = image.at([detach(at) for at in whole])
    # Nothing is added, but the points are connected, with a gradient of 0.
    nothing = keep(_total(whole), constant(found, False, dtype=dtypes.bool_))
    return found + reshaped(nothing, nothing.shape[0], 1, image.count)


def _linear(image: _Image, places: Sequence[V], padding: str, align_corners: bool) -> V:
    moved = [_placed(at, size, padding, align_corners) for at, size in zip(places, image.sizes, strict=True)]
    ends = []
    for at in moved:
        low = detach(floor(at))
        part = at - low
        ends.append(((low, 1 - part), (low + 1, part)))
    parts = []
    for corner in itertools.product(*ends):
        weight = corner[0][1]
        for _, more in corner[1:]:
            weight = weight * more
        parts.append(image.weighted([place for place, _ in corner], weight))
    return _total(parts)


def _cubic(image: _Image, places: Sequence[V], padding: str, align_corners: bool) -> V:
    taps = []
    for at, size in zip(places, image.sizes, strict=True):
        low = detach(floor(at))
        neighbours = [_placed(low + i, size, padding, align_corners) for i in (-1, 0, 1, 2)]
        taps.append(list(zip(neighbours, cubic_weights(at - low), strict=True)))
    rows = []
    for y, weight in taps[0]:
        row = _total([image.weighted((y, x), w) for x, w in taps[1]])
        rows.append(row * reshaped(weight, weight.shape[0], 1, image.count))
    return _total(rows)


_MODES: Final[Mapping[str, tuple[Callable[[_Image, Sequence[V], str, bool], V], tuple[int, ...]]]] = {
    "bilinear": (_linear, (2, 3)),
    "nearest": (_nearest, (2, 3)),
    "bicubic": (_cubic, (2,)),
}
_PADDINGS: Final = ("zeros", "border", "reflection")


def _grid_sample(x: V, grid: V, *, mode: str, padding_mode: str, align_corners: bool) -> V:
    rank = x.ndim - 2
    if rank not in (2, 3) or grid.ndim != x.ndim:
        raise ShapeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(x.shape)} and grid with sizes {list(grid.shape)}",
            expected="[N, C, …] and [N, …, 2 or 3]",
            got=f"{list(x.shape)} and {list(grid.shape)}",
        )
    if grid.shape[0] != x.shape[0] or grid.shape[-1] != rank:
        raise ShapeError(
            "grid_sampler(): expected grid and input to have same batch size, and grid to have size "
            f"{rank} in last dimension, but got input with sizes {list(x.shape)} and grid with sizes "
            f"{list(grid.shape)}",
            expected=f"[{x.shape[0]}, …, {rank}]",
            got=str(list(grid.shape)),
        )
    if 0 in x.shape[2:]:
        raise ShapeError("grid_sampler(): expected input to have non-empty spatial dimensions", got=str(list(x.shape)))
    if x.dtype != grid.dtype or not dtypes.is_floating(x.dtype):
        raise DTypeError(
            f"grid_sampler(): expected input and grid to have same dtype, but input has {x.dtype.name} and grid has "
            f"{grid.dtype.name}",
            expected="one floating dtype",
            got=f"{x.dtype.name} and {grid.dtype.name}",
        )
    if mode not in _MODES or rank not in _MODES[mode][1] or padding_mode not in _PADDINGS:
        raise AttributeTypeError(
            f"grid_sampler(): no mode {mode!r} with padding {padding_mode!r} for {rank + 2}D input",
            expected=f"{' | '.join(_MODES)} (bicubic for 4D input only) and {' | '.join(_PADDINGS)}",
            got=f"{mode} and {padding_mode}",
        )
    points = grid.shape[1:-1]
    image = _Image(widened(x), points)
    flat = reshaped(widened(grid), grid.shape[0], image.count, rank)
    select = lookup("select")
    places = [
        _elements(select(flat, dim=2, index=rank - 1 - dim), size, align_corners)
        for dim, size in enumerate(image.sizes)
    ]
    y = _MODES[mode][0](image, places, padding_mode, align_corners)
    result: V = convert(reshaped(y, *x.shape[:2], *points), dtype=x.dtype.name)
    return result


composite(
    "grid_sample",
    _grid_sample,
    arity=2,
    attrs={
        "mode": Attr("str", "bilinear", " | ".join(_MODES)),
        "padding_mode": Attr("str", "zeros", " | ".join(_PADDINGS)),
        "align_corners": Attr("bool", False, "-1 and 1 are the middles of the corner elements, not their outer edges"),
    },
    grad_name=lambda specs, attrs: f"GridSampler{specs[0].ndim - 2}DBackward0",
    doc="(x [N, C, H, W], grid [N, H', W', 2]): the values [N, C, H', W'] at the points; or with a depth.",
)

# --- grids of affine maps -------------------------------------------------------------------------


def _across(like: V, count: int, align_corners: bool) -> V:
    """`count` coordinates from -1 to 1, of the corners of the elements or of their middles."""
    place = convert(counting(like, count), dtype=like.dtype.name)
    if align_corners:
        return place * (2 / (count - 1)) - 1 if count > 1 else place * 0
    return (place * 2 + 1) * (1 / count) - 1


def _affine_grid(theta: V, *, size: Ints, align_corners: bool) -> V:
    rank = len(size) - 2
    if rank not in (2, 3) or theta.shape != (size[0], rank, rank + 1):
        raise ShapeError(
            f"Expected a batch of {max(rank, 2)}D affine matrices of shape Nx{max(rank, 2)}x{max(rank, 2) + 1} for "
            f"size {list(size)}. Got {list(theta.shape)}.",
            expected="sizes [N, C, H, W] or [N, C, D, H, W] and a matrix for each of N",
            got=str(list(theta.shape)),
        )
    if not dtypes.is_floating(theta.dtype):
        raise DTypeError("Expected theta to have floating point type", got=theta.dtype.name)
    if min(size) < 1:
        raise ShapeError(f"Expected non-zero, positive output size. Got {list(size)}", got=str(list(size)))
    wide = widened(theta)
    spatial = size[2:]
    columns = []
    for dim in range(rank - 1, -1, -1):
        shape = (*(1,) * dim, spatial[dim], *(1,) * (rank - 1 - dim), 1)
        at = reshaped(_across(wide, spatial[dim], align_corners), *shape)
        columns.append(expand(at, shape=(*spatial, 1)))
    columns.append(constant(wide, 1, (*spatial, 1)))
    points = reshaped(lookup("concat")(*columns, dim=rank), math.prod(spatial), rank + 1)
    moved = contract(points, wide, spec="pk,nik->npi")
    result: V = convert(reshaped(moved, size[0], *spatial, rank), dtype=theta.dtype.name)
    return result


composite(
    "affine_grid",
    _affine_grid,
    attrs={"size": Attr("ints", doc="of the image, with batch and channels"), "align_corners": Attr("bool", False)},
    grad_name="AffineGridGeneratorBackward0",
    doc="Affine maps [N, 2, 3] or [N, 3, 4] of the points of a regular grid: [N, H, W, 2] or [N, D, H, W, 3].",
)
