"""Primitives over sliding windows of the trailing dims, and their adjoints.

`kernel`, `stride` and `dilation` have one number per windowed dim. A result keeps the leading dims
of its operand; windowed sizes `H` become `O = (H - dilation * (kernel - 1) - 1) // stride + 1`. With `last` one dim
stands behind the windowed ones: that of a turned block's rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Order, Primitive, Site, Specs, declare
from gradmesh_engine.ops.layout import Ints, free
from gradmesh_engine.ops.pointwise import in_float32

Slot = tuple[Any, ...]

# Beyond this many elements of a window, their places are not listed.
_FEW_SLOTS = 4096

# Kernels go through a window place by place: so many take ten seconds.
_MOST_PLACES = 1 << 22


@dataclass(frozen=True)
class Windows:
    """The geometry of sliding windows over the trailing `len(kernel)` dims, or with `last` those before the last."""

    kernel: Ints
    stride: Ints
    dilation: Ints
    last: bool = False

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def count(self) -> int:
        """Elements of one window."""
        return math.prod(self.kernel)

    @property
    def behind(self) -> Slot:
        """What stands behind the windowed dims in an index of elements."""
        return (slice(None),) * self.last

    def split(self, shape: Ints) -> tuple[Ints, Ints, Ints]:
        """Sizes of the dims before the windowed ones, of these, and behind them."""
        stop = len(shape) - self.last
        start = stop - self.rank
        return shape[:start], shape[start:stop], shape[stop:]

    def check(self, rank: int) -> None:
        """Raises ShapeError unless the numbers fit each other and a tensor of `rank` dims."""
        lengths = {len(self.kernel), len(self.stride), len(self.dilation)}
        if len(lengths) != 1 or self.rank + self.last > rank:
            raise ShapeError(
                f"windows over {self.rank} dims of a tensor of {rank}",
                expected="as many kernel, stride and dilation numbers as windowed dims",
            )
        for name in ("kernel", "stride", "dilation"):
            if any(n < 1 for n in getattr(self, name)):
                raise ShapeError(f"{name} must be greater than zero, but got {list(getattr(self, name))}")
        self.check_count()

    def check_count(self) -> None:
        """Raises ShapeError for windows of more elements than can be gone through one by one."""
        if self.count > _MOST_PLACES:
            raise ShapeError(
                f"a window of {' x '.join(map(str, self.kernel))} is too large",
                expected=f"at most {_MOST_PLACES} elements",
                got=str(self.count),
            )

    def outputs(self, sizes: Sequence[int]) -> Ints:
        """Number of windows along each dim. Raises ShapeError when one does not fit."""
        reach = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        if any(n < r for n, r in zip(sizes, reach, strict=True)):
            raise ShapeError(
                f"a window of {' x '.join(map(str, reach))} does not fit into {' x '.join(map(str, sizes))}",
                expected=f"sizes of at least {reach}",
                got=str(list(sizes)),
            )
        return tuple((n - r) // s + 1 for n, r, s in zip(sizes, reach, self.stride, strict=True))

    def strides(self, steps: Ints, outputs: Ints) -> Ints:
        """Strides of the view [*kernel, *outputs] of dims whose strides are `steps`."""
        # Along a dim of one element the step may be one that no array's strides can hold, and matters to nobody.
        apart, counts = (*self.dilation, *self.stride), (*self.kernel, *outputs)
        return tuple([s * d if n > 1 else 0 for s, d, n in zip(steps * 2, apart, counts, strict=True)])

    def slots(self, outputs: Sequence[int]) -> Iterable[tuple[Ints, Slot]]:
        """Every place in the window, in C order, with the index of the elements at that place."""
        slots = _Slots(self, tuple(outputs))
        return list(slots) if self.count <= _FEW_SLOTS else slots

    def along(self, dim: int, outputs: int, after: Slot) -> Iterable[Slot]:
        """For each place in the window the index of the elements at that place, along one windowed dim."""
        step, gap = self.stride[dim], self.dilation[dim]
        reach = (outputs - 1) * step + 1
        slots = _Each(lambda k: (..., slice(k * gap, k * gap + reach, step), *after, *self.behind), self.kernel[dim])
        return list(slots) if self.kernel[dim] <= _FEW_SLOTS else slots

    def slot(self, outputs: Sequence[int], place: Ints) -> Slot:
        """The index of the elements at one place in every window."""
        steps = zip(place, outputs, self.stride, self.dilation, strict=True)
        slices = [slice(k * gap, k * gap + (n - 1) * step + 1, step) for k, n, step, gap in steps]
        return (..., *slices, *self.behind)

    def apart(self, dim: int) -> bool:
        """Whether no two windows share an element along a windowed dim."""
        return self.dilation[dim] * (self.kernel[dim] - 1) + 1 <= self.stride[dim]

    @property
    def all_apart(self) -> bool:
        """Whether no two windows share an element."""
        return all(map(self.apart, range(self.rank)))

    def covers(self, sizes: Sequence[int], outputs: Sequence[int]) -> bool:
        """Whether windows that are apart hold every element."""
        return all(k * n == size for k, n, size in zip(self.kernel, outputs, sizes, strict=True))

    def tiled(self, sizes: Sequence[int], outputs: Sequence[int]) -> list[int]:
        """The windowed dims that fall into one stretch per window, so that both can be cut together."""
        return [d for d in range(self.rank) if self.apart(d) and sizes[d] == outputs[d] * self.stride[d]]


@dataclass(frozen=True)
class _Each:
    """What a function gives for 0, 1, … up to a count, made while it is gone through."""

    make: Callable[[int], Slot]
    count: int

    def __iter__(self) -> Iterator[Slot]:
        return map(self.make, range(self.count))


@dataclass(frozen=True)
class _Slots:
    """The places of large windows: made while they are gone through, since a list of them may be larger than data."""

    geometry: Windows
    outputs: Ints

    def __iter__(self) -> Iterator[tuple[Ints, Slot]]:
        for place in _places(self.geometry.kernel):
            yield place, self.geometry.slot(self.outputs, place)


def _places(sizes: Ints) -> Iterator[Ints]:
    # Not itertools.product, which begins with a list of every dim.
    return map(tuple, np.ndindex(*sizes))


def windows_of(attrs: Any) -> Windows:
    """The geometry in a node's attributes."""
    return Windows(attrs["kernel"], attrs["stride"], attrs["dilation"], bool(attrs.get("last")))


def _split(shape: Ints, rank: int) -> tuple[Ints, Ints]:
    """Leading and trailing sizes."""
    cut = len(shape) - rank
    return shape[:cut], shape[cut:]


_GEOMETRY = {"kernel": Attr("ints"), "stride": Attr("ints"), "dilation": Attr("ints")}
_SIZE = {"size": Attr("ints", doc="sizes of the windowed dims of the result")}
_LAST = {"last": Attr("bool", None, "a dim stands behind the windowed ones")}


def _turned(attrs: Mapping[str, AttrValue], orders: Sequence[Order], result: Order) -> Mapping[str, AttrValue] | None:
    """A leading dim comes behind the windowed ones, in operands and result alike."""
    rank = len(attrs["kernel"])  # type: ignore[arg-type]
    dim, dims = result[-1], len(result)
    innermost = (*(d for d in range(dims) if d != dim), dim)
    if attrs.get("last") or dim >= dims - rank or any(order != innermost for order in (*orders, result)):
        return None
    return {**attrs, "last": True}


def _axes(geometry: Windows, shape: Ints, outputs: Ints, operands: int) -> list[Factor]:
    """The factors of operands of which one has this shape, where windows along its dims number `outputs`."""
    lead, sizes, rear = geometry.split(shape)
    tiled = (len(lead) + d for d in geometry.tiled(sizes, outputs))
    first = len(shape) - len(rear)
    return [Factor((d,) * operands, d) for d in (*range(len(lead)), *tiled, *range(first, len(shape)))]


# --- windows and its adjoint, fold_windows --------------------------------------------------------


def _windows_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    (x,) = specs
    geometry = windows_of(attrs)
    geometry.check(x.ndim)
    lead, sizes = _split(x.shape, geometry.rank)
    return TensorSpec(lead + geometry.kernel + geometry.outputs(sizes), x.dtype)


def _windows_view(site: Site) -> Callable[..., np.ndarray]:
    geometry = windows_of(site.attrs)
    shape = site.out.shape

    def run(x: np.ndarray) -> np.ndarray:
        lead, steps = _split(x.strides, geometry.rank)
        moved = geometry.strides(steps, shape[len(shape) - geometry.rank :])
        return as_strided(x, shape, (*lead, *moved), writeable=False)

    return run


def _windows_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = windows_of(attrs)
    lead, sizes = _split(specs[0].shape, geometry.rank)
    first = len(lead) + geometry.rank
    factors = [Factor((d,), d) for d in range(len(lead))]
    return factors + [Factor((len(lead) + d,), first + d) for d in geometry.tiled(sizes, out.shape[first:])]


def _windows_vjp(g: V, y: V, x: V, **attrs: Ints) -> Sequence[V | None]:
    return (fold_windows(g, size=_split(x.shape, len(attrs["kernel"]))[1], **attrs),)


windows = declare(
    Primitive(
        name="windows",
        arity=1,
        attrs=_GEOMETRY,
        grad_name="UnfoldBackward0",
        doc="[..., H] to [..., kernel, O]: the windows of the trailing dims, as a view.",
        spec=_windows_spec,
        view=_windows_view,
        vjp=_windows_vjp,
        axes=_windows_axes,
        cost=free,
        cheap=True,
    )
)


def _sized(lead: Ints, outputs: Ints, rear: Ints, dtype: np.dtype, attrs: Any) -> TensorSpec:
    """Spec of an adjoint's result. Raises ShapeError unless its windows number `outputs`."""
    geometry = windows_of(attrs)
    size = attrs["size"]
    geometry.check(len(lead) + len(size) + len(rear))
    if len(size) != geometry.rank or geometry.outputs(size) != outputs:
        raise ShapeError(f"{list(outputs)} windows do not come from sizes {list(size)}", got=str(list(outputs)))
    return TensorSpec(lead + size + rear, dtype)


def _fold_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    (g,) = specs
    geometry = windows_of(attrs)
    rest, outputs = _split(g.shape, geometry.rank)
    lead, kernel = _split(rest, geometry.rank)
    if kernel != geometry.kernel:
        raise ShapeError(f"windows of {list(kernel)} are not {list(geometry.kernel)}", got=str(list(g.shape)))
    return _sized(lead, outputs, (), g.dtype, attrs)


def _adder(site: Site, outputs: Ints) -> Callable[[Callable[[Ints], np.ndarray], np.ndarray], None]:
    """Sums what belongs to each place of the windows into a result."""
    geometry = windows_of(site.attrs)
    slots = geometry.slots(outputs)
    sizes = geometry.split(site.out.shape)[1]
    apart, covered = geometry.all_apart, geometry.covers(sizes, outputs)

    def run(part: Callable[[Ints], np.ndarray], out: np.ndarray) -> None:
        if not (apart and covered):
            out[...] = 0
        for place, slot in slots:
            target = out[slot]
            if apart:
                np.copyto(target, part(place))
            else:
                np.add(target, part(place), out=target)

    return run


@in_float32
def _fold_kernel(site: Site) -> Callable[..., None]:
    rank = len(site.attrs["kernel"])  # type: ignore[arg-type]
    add = _adder(site, _split(site.ins[0].shape, rank)[1])
    every: tuple[Any, ...] = (slice(None),) * rank

    def run(g: np.ndarray, out: np.ndarray) -> None:
        def part(place: Ints) -> np.ndarray:
            index: Slot = (..., *place, *every)
            return g[index]

        add(part, out)

    return run


def _fold_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = windows_of(attrs)
    lead, sizes = _split(out.shape, geometry.rank)
    first = len(lead) + geometry.rank
    factors = [Factor((d,), d) for d in range(len(lead))]
    return factors + [Factor((first + d,), len(lead) + d) for d in geometry.tiled(sizes, specs[0].shape[first:])]


def _fold_vjp(g: V, y: V, x: V, *, size: Ints, **attrs: Ints) -> Sequence[V | None]:
    return (windows(g, **attrs),)


fold_windows = declare(
    Primitive(
        name="fold_windows",
        arity=1,
        attrs={**_GEOMETRY, **_SIZE},
        grad_name="Col2ImBackward0",
        doc="[..., kernel, O] to [..., H]: adds the windows up where they came from.",
        spec=_fold_spec,
        kernel=_fold_kernel,
        vjp=_fold_vjp,
        axes=_fold_axes,
        cost=lambda specs, out, attrs: float(specs[0].size + out.size),
    )
)

# --- window_sum and its adjoint, window_fill ------------------------------------------------------


def _reduced_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    (x,) = specs
    geometry = windows_of(attrs)
    geometry.check(x.ndim)
    lead, sizes, rear = geometry.split(x.shape)
    return TensorSpec(lead + geometry.outputs(sizes) + rear, x.dtype)


def _reducer(ufunc: np.ufunc) -> Callable[[Site], Callable[..., None]]:
    """The kernel that reduces windows one dim after the other: kernel sums in place of kernel products."""

    def kernel(site: Site) -> Callable[..., None]:
        geometry = windows_of(site.attrs)
        rank = geometry.rank
        lead, sizes, rear = geometry.split(site.ins[0].shape)
        outputs = geometry.split(site.out.shape)[1]
        steps: list[tuple[Iterable[Slot], np.ndarray | None]] = []
        for dim in range(rank):
            after = (slice(None),) * (rank - 1 - dim)
            between = lead + outputs[: dim + 1] + sizes[dim + 1 :] + rear
            buffer = np.empty(between, site.out.dtype) if dim < rank - 1 else None
            steps.append((geometry.along(dim, outputs[dim], after), buffer))

        def run(x: np.ndarray, out: np.ndarray) -> None:
            for each, buffer in steps:
                target = out if buffer is None else buffer
                parts = iter(each)
                first, second = next(parts), next(parts, None)
                if second is None:
                    np.copyto(target, x[first])
                else:
                    ufunc(x[first], x[second], out=target)
                    for part in parts:
                        ufunc(target, x[part], out=target)
                x = target

        return run

    return kernel


def _reduced_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = windows_of(attrs)
    return _axes(geometry, specs[0].shape, geometry.split(out.shape)[1], 1)


def _reduced_cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    return float(out.size * sum(attrs["kernel"]) * 2)


def _sum_vjp(g: V, y: V, x: V, **attrs: Ints) -> Sequence[V | None]:
    return (window_fill(g, size=windows_of(attrs).split(x.shape)[1], **attrs),)


window_sum = declare(
    Primitive(
        name="window_sum",
        arity=1,
        attrs={**_GEOMETRY, **_LAST},
        grad_name="AvgPool2DBackward0",
        doc="[..., H] to [..., O]: the sum of each window.",
        spec=_reduced_spec,
        kernel=in_float32(_reducer(np.add)),
        vjp=_sum_vjp,
        axes=_reduced_axes,
        turned=_turned,
        cost=_reduced_cost,
        in_order=16.0,
    )
)


def _fill_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    (g,) = specs
    lead, outputs, rear = windows_of(attrs).split(g.shape)
    return _sized(lead, outputs, rear, g.dtype, attrs)


@in_float32
def _fill_kernel(site: Site) -> Callable[..., None]:
    add = _adder(site, windows_of(site.attrs).split(site.ins[0].shape)[1])

    def run(g: np.ndarray, out: np.ndarray) -> None:
        add(lambda place: g, out)

    return run


def _fill_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = windows_of(attrs)
    return _axes(geometry, out.shape, geometry.split(specs[0].shape)[1], 1)


def _fill_vjp(g: V, y: V, x: V, *, size: Ints, **attrs: Ints) -> Sequence[V | None]:
    return (window_sum(g, **attrs),)


window_fill = declare(
    Primitive(
        name="window_fill",
        arity=1,
        attrs={**_GEOMETRY, **_SIZE, **_LAST},
        grad_name="AvgPool2DBackwardBackward0",
        doc="[..., O] to [..., H]: adds each value to every element of its window.",
        spec=_fill_spec,
        kernel=_fill_kernel,
        vjp=_fill_vjp,
        axes=_fill_axes,
        turned=_turned,
        cost=lambda specs, out, attrs: float(specs[0].size * math.prod(attrs["kernel"]) + out.size),  # type: ignore[arg-type]
    )
)

# --- window_max, and how gradients pass it: window_max_spread and its adjoint, window_max_pick ----

_BITS: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.int8),
    2: np.dtype(np.int16),
    4: np.dtype(np.int32),
    8: np.dtype(np.int64),
}


def _max_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    if dtypes.is_complex(specs[0].dtype):
        raise DTypeError("complex numbers have no maximum", got=specs[0].dtype.name)
    return _reduced_spec(specs, **attrs)


def _max_vjp(g: V, y: V, x: V, **attrs: Ints) -> Sequence[V | None]:
    return (window_max_spread(g, x, y, **attrs),)


window_max = declare(
    Primitive(
        name="window_max",
        arity=1,
        attrs={**_GEOMETRY, **_LAST},
        grad_name="MaxPool2DWithIndicesBackward0",
        doc="[..., H] to [..., O]: the maximum of each window; NaN wins.",
        spec=_max_spec,
        kernel=_reducer(np.maximum),
        vjp=_max_vjp,
        axes=_reduced_axes,
        turned=_turned,
        cost=_reduced_cost,
        in_order=16.0,
    )
)


def _first_hits(site: Site) -> Callable[..., Any]:
    """Iterates over the places of the windows: their slot, and where the first maximum is at that place."""
    geometry = windows_of(site.attrs)
    y_spec = site.ins[2]
    slots = geometry.slots(geometry.split(y_spec.shape)[1])
    hit, free_yet, is_nan = (np.empty(y_spec.shape, np.bool_) for _ in range(3))

    def hits(x: np.ndarray, y: np.ndarray) -> Any:
        free_yet[...] = True
        np.not_equal(y, y, out=is_nan)
        any_nan = is_nan.any()
        for _, slot in slots:
            part = x[slot]
            np.equal(part, y, out=hit)
            if any_nan:
                np.logical_or(hit, part != part, out=hit)
            np.logical_and(hit, free_yet, out=hit)
            np.greater(free_yet, hit, out=free_yet)
            yield slot, hit

    return hits


def _spread_kernel(site: Site) -> Callable[..., None]:
    geometry = windows_of(site.attrs)
    g_spec, x_spec, y_spec = site.ins
    slots = geometry.slots(geometry.split(y_spec.shape)[1])
    bits = _BITS[site.out.dtype.itemsize]
    hit, nan = np.empty(y_spec.shape, np.bool_), np.empty(y_spec.shape, np.bool_)
    ones, rest, kept = np.empty(y_spec.shape, np.int8), np.empty(y_spec.shape, bits), np.empty(y_spec.shape, bits)
    apart = geometry.all_apart
    covered = apart and geometry.covers(geometry.split(x_spec.shape)[1], geometry.split(y_spec.shape)[1])

    def run(g: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        if not covered:
            out[...] = 0
        any_nan = np.not_equal(y, y, out=nan).any()
        # What has found no maximum yet; the last place takes what is left.
        np.copyto(rest, g.view(bits))
        places = iter(slots)
        _, slot = next(places)
        for _, following in places:
            part = x[slot]
            np.equal(part, y, out=hit)
            if any_nan:
                np.logical_or(hit, part != part, out=hit)
            np.negative(hit.view(np.int8), out=ones)
            found = out[slot].view(bits) if apart else kept
            np.bitwise_and(rest, ones, out=found)
            np.bitwise_xor(rest, found, out=rest)
            if not apart:
                np.add(out[slot], kept.view(out.dtype), out=out[slot])
            slot = following
        if apart:
            np.copyto(out[slot], rest.view(out.dtype))
        else:
            np.add(out[slot], rest.view(out.dtype), out=out[slot])

    return run


def _pick_kernel(site: Site) -> Callable[..., None]:
    hits = _first_hits(site)

    def run(h: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0  # A y that is no maximum of x has no hit.
        for slot, hit in hits(x, y):
            np.copyto(out, h[slot], where=hit)

    return run


def _max_triple(specs: Specs, first: TensorSpec, attrs: Any) -> None:
    """Raises ShapeError unless (first, x, y) belong together."""
    if _reduced_spec(specs[1:2], **attrs).shape != specs[2].shape or specs[0].shape != first.shape:
        raise ShapeError("the operands are not a tensor, its window maxima and values of one of the two shapes")


def _spread_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    _max_triple(specs, specs[2], attrs)
    return TensorSpec(specs[1].shape, specs[0].dtype)


def _pick_spec(specs: Specs, **attrs: AttrValue) -> TensorSpec:
    _max_triple(specs, specs[1], attrs)
    return TensorSpec(specs[2].shape, specs[0].dtype)


def _triple_axes(specs: Specs, out: TensorSpec, **attrs: AttrValue) -> list[Factor]:
    geometry = windows_of(attrs)
    return _axes(geometry, specs[1].shape, geometry.split(specs[2].shape)[1], 3)


def _triple_cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    return float(5 * specs[2].size * math.prod(attrs["kernel"]) + out.size)


def _spread_vjp(h: V, out: V, g: V, x: V, y: V, **attrs: Ints) -> Sequence[V | None]:
    return window_max_pick(h, x, y, **attrs), None, None


def _pick_vjp(g: V, out: V, h: V, x: V, y: V, **attrs: Ints) -> Sequence[V | None]:
    return window_max_spread(g, x, y, **attrs), None, None


window_max_spread = declare(
    Primitive(
        name="window_max_spread",
        arity=3,
        attrs={**_GEOMETRY, **_LAST},
        grad_name="MaxPool2DWithIndicesBackwardBackward0",
        doc="(g, x, y = window_max(x)): adds each g at the first maximum of its window.",
        spec=_spread_spec,
        kernel=_spread_kernel,
        vjp=_spread_vjp,
        axes=_triple_axes,
        turned=_turned,
        cost=_triple_cost,
        in_order=10.0,
    )
)
window_max_pick = declare(
    Primitive(
        name="window_max_pick",
        arity=3,
        attrs={**_GEOMETRY, **_LAST},
        grad_name="GatherBackward0",
        doc="(h, x, y = window_max(x)): the h at the first maximum of each window.",
        spec=_pick_spec,
        kernel=_pick_kernel,
        vjp=_pick_vjp,
        axes=_triple_axes,
        turned=_turned,
        cost=_triple_cost,
        in_order=40.0,
    )
)
