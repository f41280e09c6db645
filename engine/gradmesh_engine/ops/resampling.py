"""Images at other resolutions: interpolation between neighbours, separable over the spatial dims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Specs
from gradmesh_engine.ops.contract import contract
from gradmesh_engine.ops.indexing import take
from gradmesh_engine.ops.layout import Ints
from gradmesh_engine.ops.numeric import absolute, floor, round_
from gradmesh_engine.ops.picking import counting
from gradmesh_engine.ops.pointwise import convert, ge, is_zero, keep, logical_and, lt, maximum, minimum, where
from gradmesh_engine.ops.reduce import reduce_sum
from gradmesh_engine.ops.shaping import composite, reshaped
from gradmesh_engine.ops.smooth import sin
from gradmesh_engine.ops.statistics import widened

CUBIC: Final = -0.75
"""The parameter of the cubic convolution (Keys 1981) that PyTorch uses; -0.5 when it antialiases."""

# --- kernels --------------------------------------------------------------------------------------


def cubic_near(x: V, a: float) -> V:
    """The cubic convolution kernel for 0 ≤ x ≤ 1."""
    return ((a + 2) * x - (a + 3)) * x * x + 1


def cubic_far(x: V, a: float) -> V:
    """The cubic convolution kernel for 1 ≤ x ≤ 2."""
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def cubic_weights(t: V) -> list[V]:
    """The weights of the four neighbours of a point at `t` in [0, 1) between the middle two."""
    return [cubic_far(t + 1, CUBIC), cubic_near(t, CUBIC), cubic_near(1 - t, CUBIC), cubic_far(2 - t, CUBIC)]


def _triangle(x: V) -> V:
    return keep(1 - absolute(x), lt(absolute(x), constant(x, 1)))


def _smooth_cubic(x: V) -> V:
    size = absolute(x)
    far = keep(cubic_far(size, -0.5), lt(size, constant(x, 2)))
    result: V = where(lt(size, constant(x, 1)), cubic_near(size, -0.5), far)
    return result


def _lanczos(x: V) -> V:
    """sinc(x) sinc(x / 3) for |x| < 3."""
    angle = x * math.pi
    safe = where(is_zero(x), constant(x, 1), angle)
    value = where(is_zero(x), constant(x, 1), 3 * sin(safe) * sin(safe / constant(x, 3)) / (safe * safe))
    return keep(value, lt(absolute(x), constant(x, 3)))


# --- positions ------------------------------------------------------------------------------------


class _Dim:
    """How one spatial dim changes its size."""

    def __init__(self, size: int, count: int, align_corners: bool, factor: float | None) -> None:
        self.size, self.count, self.align_corners = size, count, align_corners
        if align_corners:
            self.step = (size - 1) / (count - 1) if count > 1 else 0.0
        else:
            self.step = 1.0 / factor if factor else size / count

    @property
    def same(self) -> bool:
        """Whether nothing is to be done."""
        return self.size == self.count and (self.align_corners or self.step == 1)

    def nearest(self, like: V, exact: bool) -> V:
        """The position of the neighbour of every result, in float32 as in PyTorch."""
        place = convert(counting(like, self.count), dtype="float32")
        step = float(np.float32(self.step))
        at = convert(floor((place + 0.5 if exact else place) * step), dtype="int64")
        return minimum(at, constant(at, self.size - 1))

    def real(self, like: V) -> V:
        """Where every result stands among the elements, as a float of the dtype of `like`."""
        place = convert(counting(like, self.count), dtype=like.dtype.name)
        return place * self.step if self.align_corners else (place + 0.5) * self.step - 0.5

    def clipped(self, at: V, beyond: int = 0) -> V:
        """Positions limited to those that exist, or to `beyond` more."""
        return minimum(maximum(at, constant(at, 0)), constant(at, self.size - 1 + beyond))


def _taken(x: V, dim: int, at: V, weight: V) -> V:
    shape = (*(1,) * dim, weight.shape[0], *(1,) * (x.ndim - 1 - dim))
    return take(x, at, dim=dim) * reshaped(weight, *shape)


def _nearest(exact: bool) -> Callable[[V, int, _Dim], V]:
    return lambda x, dim, how: take(x, how.nearest(x, exact), dim=dim)


def _linear(x: V, dim: int, how: _Dim) -> V:
    real = how.real(x)
    real = maximum(real, constant(real, 0))
    low = how.clipped(convert(real, dtype="int64"))
    high = how.clipped(low + 1)
    part = real - convert(low, dtype=real.dtype.name)
    part = minimum(part, constant(part, 1))
    return _taken(x, dim, low, 1 - part) + _taken(x, dim, high, part)


def _cubic(x: V, dim: int, how: _Dim) -> V:
    real = how.real(x)
    whole = floor(real)
    first = convert(whole, dtype="int64") - 1
    total: V | None = None
    for i, weight in enumerate(cubic_weights(real - whole)):
        part = _taken(x, dim, how.clipped(first + i), weight)
        total = part if total is None else total + part
    assert total is not None
    return total


def _antialiased(kernel: Callable[[V], V], reach: int) -> Callable[[V, int, _Dim], V]:
    """Interpolation with a kernel as wide as the elements that fall together: a product with a matrix of weights."""

    def resize(x: V, dim: int, how: _Dim) -> V:
        wide = max(how.step, 1.0)
        centre = reshaped((convert(counting(x, how.count), dtype=x.dtype.name) + 0.5) * how.step, how.count, 1)
        place = reshaped(convert(counting(x, how.size), dtype=x.dtype.name), 1, how.size)
        first, last = (how.clipped(convert(centre + side * reach * wide + 0.5, dtype="int64"), 1) for side in (-1, 1))
        inside = logical_and(
            ge(place, convert(first, dtype=x.dtype.name)), lt(place, convert(last, dtype=x.dtype.name))
        )
        weights = keep(kernel((place - centre + 0.5) * (1 / wide)), inside)
        weights = weights / reshaped(reduce_sum(weights, dims=(1,)), how.count, 1)
        letters = "abcdefgh"[: x.ndim]
        result: V = contract(x, weights, spec=f"{letters},z{letters[dim]}->{letters.replace(letters[dim], 'z')}")
        return result

    return resize


# --- the op ---------------------------------------------------------------------------------------

_MODES: Final[Mapping[str, tuple[Callable[[V, int, _Dim], V], tuple[int, ...], str]]] = {
    "nearest": (_nearest(False), (1, 2, 3), "Nearest"),
    "nearest-exact": (_nearest(True), (1, 2, 3), "NearestExact"),
    "linear": (_linear, (1,), "Linear"),
    "bilinear": (_linear, (2,), "Bilinear"),
    "trilinear": (_linear, (3,), "Trilinear"),
    "bicubic": (_cubic, (2,), "Bicubic"),
}
_ANTIALIASED: Final[Mapping[str, tuple[Callable[[V, int, _Dim], V], tuple[int, ...], str]]] = {
    "bilinear": (_antialiased(_triangle, 1), (2,), "Bilinear"),
    "bicubic": (_antialiased(_smooth_cubic, 2), (2,), "Bicubic"),
    "lanczos": (_antialiased(_lanczos, 3), (2,), "Lanczos"),
}


def _interpolate(
    x: V, *, output_size: Ints, mode: str, align_corners: bool, factors: Sequence[float], antialias: bool
) -> V:
    known = _ANTIALIASED if antialias else _MODES
    rank = x.ndim - 2
    if mode not in known or rank not in known[mode][1]:
        raise AttributeTypeError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {x.ndim}D) for the modes: nearest | linear "
            f"| bilinear | bicubic | trilinear | area | nearest-exact (got {mode}{' with antialias' * antialias})",
            expected="a mode for the number of dims",
            got=f"{mode} of {x.ndim} dims",
        )
    resize, _, _ = known[mode]
    if len(output_size) != rank or (factors and len(factors) != rank):
        raise ShapeError(
            f"It is expected output_size equals to {rank}, but got size {len(output_size)}",
            expected=f"{rank} sizes",
            got=str(list(output_size)),
        )
    if min(output_size, default=1) < 1 or 0 in x.shape[1:]:
        raise ShapeError(
            f"Input and output sizes should be greater than 0, but got input {list(x.shape)} and output "
            f"{list(output_size)}",
            expected="sizes > 0",
        )
    if not (dtypes.is_floating(x.dtype) or x.dtype == dtypes.uint8):
        raise DTypeError(dtypes.refusal("interpolate", x.dtype), got=x.dtype.name, remedy="cast it")
    exact = mode.startswith("nearest")
    wide = x if exact else convert(x, dtype="float32") if x.dtype == dtypes.uint8 else widened(x)
    # The last dim first: most elements are made by the last step.
    for dim in range(x.ndim - 1, 1, -1):
        how = _Dim(x.shape[dim], output_size[dim - 2], align_corners, factors[dim - 2] if factors else None)
        if not how.same:
            wide = resize(wide, dim, how)
    if x.dtype == dtypes.uint8 and not exact:
        wide = minimum(maximum(round_(wide), constant(wide, 0)), constant(wide, 255))
    result: V = convert(wide, dtype=x.dtype.name)
    return result


def _interpolate_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    antialias = attrs.get("antialias", False)
    known = _ANTIALIASED if antialias else _MODES
    title = known[str(attrs["mode"])][2]
    return f"Upsample{title}{specs[0].ndim - 2}D{'Aa' if antialias else ''}Backward0"


composite(
    "interpolate",
    _interpolate,
    attrs={
        "output_size": Attr("ints", doc="of the spatial dims"),
        "mode": Attr("str", "nearest", " | ".join(sorted({*_MODES, *_ANTIALIASED}))),
        "align_corners": Attr("bool", False, "the corner elements stay where they are"),
        "factors": Attr("floats", (), "the scale factors; size ratios when empty"),
        "antialias": Attr("bool", False, "a kernel as wide as the elements that fall together"),
    },
    grad_name=_interpolate_name,
    doc="[N, C, …] at other spatial sizes, interpolated between neighbours.",
)
