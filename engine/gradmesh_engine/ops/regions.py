"""Primitives on rectangular parts of a tensor: cutting them out, surrounding, writing and joining them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare, lookup
from gradmesh_engine.ops.creation import check_constant
from gradmesh_engine.ops.layout import Ints, copies, expand, free, normal_dim, reshape, zeros_like

# --- strided_slice and its adjoint, pad -----------------------------------------------------------


def _one_per_dim(name: str, rank: int, *values: Ints) -> None:
    if any(len(v) != rank for v in values):
        raise ShapeError(
            f"{name} of a tensor with {rank} dims needs {rank} numbers per attribute",
            expected=str(rank),
            got=", ".join(str(list(v)) for v in values),
        )


def region_shape(shape: Ints, starts: Ints, stops: Ints, steps: Ints) -> Ints:
    """Shape of `x[starts:stops:steps]`. Raises ShapeError unless 0 <= start <= stop <= size and step > 0."""
    _one_per_dim("slicing", len(shape), starts, stops, steps)
    for dim, (size, start, stop, step) in enumerate(zip(shape, starts, stops, steps, strict=True)):
        if not (0 <= start <= stop <= size and step > 0):
            raise ShapeError(
                f"slice {start}:{stop}:{step} does not lie in dimension {dim} with size {size}",
                expected=f"0 <= start <= stop <= {size} and step > 0",
                got=f"{start}:{stop}:{step}",
            )
    return tuple(-(-(stop - start) // step) for start, stop, step in zip(starts, stops, steps, strict=True))


def _even_dims(shape: Ints, starts: Ints, stops: Ints, steps: Ints) -> list[int]:
    """The dims of which a slice takes one element of every stretch of `step`; whole dims among them."""
    return [
        d
        for d, (size, start, stop, step) in enumerate(zip(shape, starts, stops, steps, strict=True))
        if start < step and size % step == 0 and -(-(stop - start) // step) == size // step
    ]


def _region(site: Site) -> tuple[slice, ...]:
    """The index of a slicing node; along the dim that is split the end is that of the block."""
    attrs: Any = site.attrs
    triples = zip(attrs["starts"], attrs["stops"], attrs["steps"], strict=True)
    return tuple(
        slice(start, None if dim == site.split else stop, step) for dim, (start, stop, step) in enumerate(triples)
    )


def _slice_view(site: Site) -> Callable[..., np.ndarray]:
    region = _region(site)
    return lambda x: x[region]


def _slice_vjp(g: V, y: V, x: V, *, starts: Ints, stops: Ints, steps: Ints) -> Sequence[V | None]:
    spans = [(n - 1) * step + 1 if n else 0 for n, step in zip(g.shape, steps, strict=True)]
    high = tuple(size - start - span for size, start, span in zip(x.shape, starts, spans, strict=True))
    return (pad(g, low=starts, high=high, interior=tuple(step - 1 for step in steps)),)


strided_slice = declare(
    Primitive(
        name="strided_slice",
        arity=1,
        attrs={"starts": Attr("ints"), "stops": Attr("ints"), "steps": Attr("ints")},
        grad_name="SliceBackward0",
        doc="x[start:stop:step] in every dim; 0 <= start <= stop <= size, step > 0.",
        spec=lambda specs, **region: TensorSpec(region_shape(specs[0].shape, **region), specs[0].dtype),
        view=_slice_view,
        vjp=_slice_vjp,
        axes=lambda specs, out, **region: [Factor((d,), d) for d in _even_dims(specs[0].shape, **region)],
        cost=free,
        cheap=True,
    )
)


def _pad_spec(specs: Specs, *, low: Ints, high: Ints, interior: Ints, value: complex) -> TensorSpec:
    (x,) = specs
    _one_per_dim("pad", x.ndim, low, high, interior)
    if any(n < 0 for n in (*low, *high, *interior)):
        raise ShapeError("pad cannot take elements away", got=f"low {low}, high {high}, interior {interior}")
    check_constant(value, x.dtype)
    shape = tuple(
        before + n + max(n - 1, 0) * between + after
        for n, before, after, between in zip(x.shape, low, high, interior, strict=True)
    )
    return TensorSpec(shape, x.dtype)


def _pad_kernel(site: Site) -> Callable[..., None]:
    attrs: Any = site.attrs
    low, interior = attrs["low"], attrs["interior"]
    value = np.asarray(attrs["value"]).astype(site.out.dtype)[()]
    inside: list[slice] = []
    borders: list[tuple[slice, ...]] = []
    for dim, n in enumerate(site.ins[0].shape):
        step = interior[dim] + 1
        stop = low[dim] + ((n - 1) * step + 1 if n else 0)
        before = (slice(None),) * dim
        if low[dim]:
            borders.append((*before, slice(0, low[dim])))
        if stop < site.out.shape[dim]:
            borders.append((*before, slice(stop, None)))
        inside.append(slice(low[dim], stop, step))
    region = tuple(inside)
    if any(interior):
        borders = [(...,)]  # type: ignore[list-item]

    def run(x: np.ndarray, out: np.ndarray) -> None:
        for border in borders:
            out[border] = value
        out[region] = x

    return run


def _pad_vjp(g: V, y: V, x: V, *, low: Ints, high: Ints, interior: Ints, value: complex) -> Sequence[V | None]:
    steps = tuple(n + 1 for n in interior)
    stops = tuple(start + ((n - 1) * step + 1 if n else 0) for start, n, step in zip(low, x.shape, steps, strict=True))
    return (strided_slice(g, starts=low, stops=stops, steps=steps),)


def _pad_axes(specs: Specs, out: TensorSpec, *, low: Ints, high: Ints, interior: Ints, **_: AttrValue) -> list[Factor]:
    # Where what surrounds an element is what lies between two, each has a stretch of its own.
    return [Factor((d,), d) for d in range(out.ndim) if low[d] + high[d] == interior[d]]


pad = declare(
    Primitive(
        name="pad",
        arity=1,
        attrs={
            "low": Attr("ints", doc="elements before each dim"),
            "high": Attr("ints", doc="elements after each dim"),
            "interior": Attr("ints", doc="elements between neighbours of each dim"),
            "value": Attr("number", 0),
        },
        grad_name="ConstantPadNdBackward0",
        doc="Surrounds and interleaves a tensor with a constant.",
        spec=_pad_spec,
        kernel=_pad_kernel,
        vjp=_pad_vjp,
        axes=_pad_axes,
        cost=copies,
        cheap=True,
    )
)


# --- slice_update ---------------------------------------------------------------------------------


def assigned_shape(value: Ints, target: Ints) -> Ints:
    """The shape to give a value so that it broadcasts to `target`: leading dims of size 1 too many are dropped.

    Raises ShapeError with PyTorch's wording.
    """
    extra = max(0, len(value) - len(target))
    shape = value[extra:]
    lead = len(target) - len(shape)
    if any(n != 1 for n in value[:extra]) or any(n not in (1, target[lead + dim]) for dim, n in enumerate(shape)):
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(value)} cannot be broadcast to indexing result of shape "
            f"{list(target)}",
            expected=str(list(target)),
            got=str(list(value)),
        )
    return shape


def _slice_update_spec(specs: Specs, **region: Ints) -> TensorSpec:
    x, v = specs
    assigned_shape(v.shape, region_shape(x.shape, **region))
    return x


def _slice_update_prepare(operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> Sequence[V]:
    x, v = operands
    shape = region_shape(x.shape, **attrs)  # type: ignore[arg-type]
    v = reshape(v, shape=assigned_shape(v.shape, shape))
    return x, expand(lookup("convert")(v, dtype=x.dtype.name), shape=shape)


def _slice_update_kernel(site: Site) -> Callable[..., None]:
    region = _region(site)
    if site.ins[1].shape == site.out.shape:
        # Everything is replaced; `out` may then be the very memory of the new values.
        return lambda x, v, out: np.copyto(out, v)

    def run(x: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, x)
        out[region] = v

    return run


def _slice_update_vjp(g: V, y: V, x: V, v: V, **region: Ints) -> Sequence[V | None]:
    return slice_update(g, zeros_like(v), **region), strided_slice(g, **region)


slice_update = declare(
    Primitive(
        name="slice_update",
        arity=2,
        attrs={"starts": Attr("ints"), "stops": Attr("ints"), "steps": Attr("ints")},
        grad_name="CopySlices",
        doc="A copy of x in which x[start:stop:step] is v, broadcast and cast.",
        spec=_slice_update_spec,
        kernel=_slice_update_kernel,
        vjp=_slice_update_vjp,
        axes=lambda specs, out, **region: [Factor((d, d), d) for d in _even_dims(out.shape, **region)],
        cost=copies,
        cheap=True,
        inplace=True,
        prepare=_slice_update_prepare,
    )
)


# --- concat ---------------------------------------------------------------------------------------


def _joined(specs: Specs) -> list[TensorSpec]:
    """The operands that count: PyTorch ignores empty 1-d ones."""
    return [s for s in specs if s.shape != (0,)] or list(specs[:1])


def _concat_spec(specs: Specs, *, dim: int) -> TensorSpec:
    dtype = dtypes.result_type([(s.dtype, 2) for s in specs])
    for position, spec in enumerate(specs):
        if spec.ndim == 0:
            raise ShapeError(
                f"zero-dimensional tensor (at position {position}) cannot be concatenated",
                expected="at least one dim",
                remedy="use stack, or unsqueeze the operand",
            )
    joined = _joined(specs)
    first = joined[0]
    dim = normal_dim(dim, first.ndim)
    for position, spec in enumerate(specs):
        if spec.shape == (0,):
            continue
        if spec.ndim != first.ndim:
            raise ShapeError(
                f"Tensors must have same number of dimensions: got {first.ndim} and {spec.ndim}",
                expected=f"{first.ndim} dims",
                got=str(spec),
            )
        for d, (expected, got) in enumerate(zip(first.shape, spec.shape, strict=True)):
            if d != dim and expected != got:
                raise ShapeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {expected} but got size "
                    f"{got} for tensor number {position} in the list.",
                    expected=str(expected),
                    got=str(got),
                )
    total = sum(s.shape[dim] for s in joined)
    return TensorSpec(first.shape[:dim] + (total,) + first.shape[dim + 1 :], dtype)


def _concat_prepare(operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> Sequence[V]:
    specs = tuple(v.spec for v in operands)
    out = _concat_spec(specs, dim=attrs["dim"])  # type: ignore[arg-type]
    at = normal_dim(int(attrs["dim"]), out.ndim)  # type: ignore[arg-type]
    nothing = (*out.shape[:at], 0, *out.shape[at + 1 :])
    # An empty vector joins anything, and has an empty gradient of its own.
    fitted = [reshape(v, shape=nothing) if v.shape == (0,) and v.ndim != out.ndim else v for v in operands]
    return [lookup("convert")(v, dtype=out.dtype.name) for v in fitted]


def _concat_kernel(site: Site) -> Callable[..., None]:
    dim = normal_dim(int(site.attrs["dim"]), site.out.ndim)  # type: ignore[arg-type]
    places = []
    start = 0
    for spec in site.ins:
        stop = start + spec.shape[dim]
        places.append((*(slice(None),) * dim, slice(start, stop)))
        start = stop

    def run(*args: np.ndarray) -> None:
        out = args[-1]
        for place, x in zip(places, args, strict=False):
            out[place] = x

    return run


def _concat_vjp(g: V, y: V, *xs: V, dim: int) -> Sequence[V | None]:
    dim = normal_dim(dim, g.ndim)
    gradients: list[V | None] = []
    start = 0
    for x in xs:
        stop = start + x.shape[dim]
        gradients.append(narrowed(g, dim, start, stop))
        start = stop
    return gradients


def narrowed(x: V, dim: int, start: int, stop: int, step: int = 1) -> V:
    """x[..., start:stop:step, ...] along `dim`."""
    starts, stops, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[dim], stops[dim], steps[dim] = start, stop, step
    result: V = strided_slice(x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))
    return result


def _concat_axes(specs: Specs, out: TensorSpec, *, dim: int) -> list[Factor]:
    dim = normal_dim(dim, out.ndim)
    return [Factor((d,) * len(specs), d) for d in range(out.ndim) if d != dim]


concat = declare(
    Primitive(
        name="concat",
        arity=(1, -1),
        attrs={"dim": Attr("int", 0)},
        grad_name="CatBackward0",
        doc="Joins tensors along dim, cast to their common dtype.",
        spec=_concat_spec,
        kernel=_concat_kernel,
        vjp=_concat_vjp,
        axes=_concat_axes,
        cost=copies,
        cheap=True,
        prepare=_concat_prepare,
    )
)
