"""Primitives that move elements without computing with them: views first, then copies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine.builder import V
from gradmesh_engine.errors import AxisError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare, lookup

Ints = tuple[int, ...]


def free(specs: Specs, out: TensorSpec, attrs: Mapping[str, AttrValue]) -> float:
    """Cost rule of views."""
    return 0.0


def copies(specs: Specs, out: TensorSpec, attrs: Mapping[str, AttrValue]) -> float:
    """Cost rule of ops that write each element of the result once."""
    return float(out.size)


def normal_dim(dim: int, rank: int) -> int:
    """`dim` counted from the front. Raises AxisError with PyTorch's wording; a 0-d tensor has dims 0 and -1."""
    limit = max(rank, 1)
    if not -limit <= dim < limit:
        raise AxisError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})",
            expected=f"{-limit} to {limit - 1}",
            got=str(dim),
        )
    return dim % limit


def normal_dims(dims: Sequence[int], rank: int) -> Ints:
    """Distinct dims counted from the front. Raises AxisError."""
    result = tuple(normal_dim(dim, rank) for dim in dims)
    for dim in result:
        if result.count(dim) > 1:
            raise AxisError(f"dim {dim} appears multiple times in the list of dims", got=str(list(dims)))
    return result


def zeros_like(x: V) -> V:
    """A constant 0 of the shape and dtype of `x`, in its graph."""
    return lookup("full").on(x.emitter, value=0, shape=x.shape, dtype=x.dtype.name)  # type: ignore[no-any-return]


# --- expand ---------------------------------------------------------------------------------------


def _expand_spec(specs: Specs, *, shape: Ints) -> TensorSpec:
    (x,) = specs
    lead = len(shape) - x.ndim
    if lead < 0:
        raise ShapeError(
            f"expand({x}, size={list(shape)}): the number of sizes provided ({len(shape)}) must be greater or equal "
            f"to the number of dimensions in the tensor ({x.ndim})",
            expected=f"at least {x.ndim} sizes",
            got=str(list(shape)),
        )
    sizes = list(shape)
    for dim, size in enumerate(shape):
        have = x.shape[dim - lead] if dim >= lead else None
        if size == -1 and have is not None:
            sizes[dim] = have
        elif size < 0:
            raise ShapeError(
                f"The expanded size of the tensor ({size}) isn't allowed in a leading, non-existing dimension {dim}",
                got=str(list(shape)),
            )
        elif have is not None and have != size and have != 1:
            raise ShapeError(
                f"The expanded size of the tensor ({size}) must match the existing size ({have}) at non-singleton "
                f"dimension {dim}.  Target sizes: {list(shape)}.  Tensor sizes: {list(x.shape)}",
                expected=str(have),
                got=str(size),
                remedy="only dims of size 1 and new leading dims can be expanded",
            )
    return TensorSpec(tuple(sizes), x.dtype)


def broadcast_axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    """Axis rule of broadcasting: an operand takes no part in the dims it lacks or has at size 1."""
    factors = []
    for dim, size in enumerate(out.shape):
        operands = []
        for spec in specs:
            own = dim - (out.ndim - spec.ndim)
            operands.append(own if own >= 0 and spec.shape[own] == size else None)
        factors.append(Factor(tuple(operands), dim))
    return factors


def sum_to(g: V, shape: Ints) -> V:
    """Undo broadcasting: sum `g` over the dims in which it is larger than `shape`."""
    lead = g.ndim - len(shape)
    dims = (*range(lead), *(i + lead for i, size in enumerate(shape) if size == 1 and g.shape[i + lead] != 1))
    if dims:
        g = lookup("reduce_sum")(g, dims=dims)
    return reshape(g, shape=shape)  # type: ignore[no-any-return]


def _expand_view(site: Site) -> Callable[..., np.ndarray]:
    shape = site.out.shape
    return lambda x: np.broadcast_to(x, shape)


expand = declare(
    Primitive(
        name="expand",
        arity=1,
        attrs={"shape": Attr("ints", doc="-1 keeps the operand's size")},
        grad_name="ExpandBackward0",
        doc="Broadcasts to a shape, aligned at the right.",
        spec=_expand_spec,
        view=_expand_view,
        vjp=lambda g, y, x, shape: (sum_to(g, x.shape),),
        axes=broadcast_axes,
        cost=free,
        cheap=True,
    )
)


# --- reshape --------------------------------------------------------------------------------------


def inferred_shape(shape: Sequence[int], size: int) -> Ints:
    """`shape` with its -1 replaced so that it holds `size` elements. Raises ShapeError with PyTorch's wording."""
    sizes = list(shape)
    if any(s < -1 for s in sizes):
        raise ShapeError(f"invalid shape dimension {next(s for s in sizes if s < -1)}", got=str(sizes))
    if sizes.count(-1) > 1:
        raise ShapeError("only one dimension can be inferred", got=str(sizes))
    if -1 in sizes:
        rest = math.prod(s for s in sizes if s != -1)
        if rest == 0 and size == 0:
            raise ShapeError(
                f"cannot reshape tensor of 0 elements into shape {sizes} because the unspecified dimension size -1 "
                "can be any value and is ambiguous",
                got=str(sizes),
                remedy="write all sizes",
            )
        if rest != 0 and size % rest == 0:
            sizes[sizes.index(-1)] = size // rest
    if -1 in sizes or math.prod(sizes) != size:
        raise ShapeError(
            f"shape '{list(shape)}' is invalid for input of size {size}",
            expected=f"sizes whose product is {size}",
            got=str(list(shape)),
        )
    return tuple(sizes)


def _reshape_spec(specs: Specs, *, shape: Ints) -> TensorSpec:
    return TensorSpec(inferred_shape(shape, specs[0].size), specs[0].dtype)


def _reshape_axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    """Dims are matched in the smallest groups of equal product; of each only the major dims split together."""
    source, target = specs[0].shape, out.shape
    if out.size == 0:
        return []
    left = [dim for dim, size in enumerate(source) if size != 1]
    right = [dim for dim, size in enumerate(target) if size != 1]
    factors = []
    i = j = 0
    while i < len(left) and j < len(right):
        major, minor = left[i], right[j]
        a, b = source[major], target[minor]
        if a % b == 0 or b % a == 0:
            factors.append(Factor((major,), minor))
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                a, i = a * source[left[i]], i + 1
            else:
                b, j = b * target[right[j]], j + 1
    return factors


def _reshape_view(site: Site) -> Callable[..., np.ndarray]:
    shape = site.out.shape
    return lambda x: np.reshape(x, shape, copy=False)


def _reshape_kernel(site: Site) -> Callable[..., None]:
    shape = site.ins[0].shape

    def run(x: np.ndarray, out: np.ndarray) -> None:
        # The result is a fresh C-ordered buffer, so it can always be seen in the operand's shape.
        np.copyto(out.reshape(shape), x)

    return run


def _reshape_vjp(g: V, y: V, x: V, *, shape: Ints) -> Sequence[V | None]:
    return (reshape(g, shape=x.shape),)


reshape = declare(
    Primitive(
        name="reshape",
        arity=1,
        attrs={"shape": Attr("ints", doc="one size may be -1")},
        grad_name="ViewBackward0",
        doc="The same elements in C order under another shape; a view where the strides allow one.",
        spec=_reshape_spec,
        view=_reshape_view,
        kernel=_reshape_kernel,
        vjp=_reshape_vjp,
        axes=_reshape_axes,
        cost=free,
        cheap=True,
    )
)


# --- permute --------------------------------------------------------------------------------------


def _permute_spec(specs: Specs, *, dims: Ints) -> TensorSpec:
    (x,) = specs
    if len(dims) != x.ndim:
        raise ShapeError(
            "permute: number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {x.ndim} is not equal to len(dims) = {len(dims)}",
            expected=f"{x.ndim} dims",
            got=str(list(dims)),
        )
    order = [normal_dim(dim, x.ndim) for dim in dims]
    if len(set(order)) != len(order):
        raise ShapeError("permute(): duplicate dims are not allowed.", got=str(list(dims)))
    return TensorSpec(tuple(x.shape[dim] for dim in order), x.dtype)


def _order(dims: Any) -> Ints:
    return tuple(dim % len(dims) for dim in dims)


def _permute_vjp(g: V, y: V, x: V, *, dims: Ints) -> Sequence[V | None]:
    order = _order(dims)
    return (permute(g, dims=tuple(order.index(dim) for dim in range(len(order)))),)


def _permute_view(site: Site) -> Callable[..., np.ndarray]:
    order = _order(site.attrs["dims"])
    return lambda x: x.transpose(order)


permute = declare(
    Primitive(
        name="permute",
        arity=1,
        attrs={"dims": Attr("ints")},
        grad_name="PermuteBackward0",
        doc="Reorders the dims.",
        spec=_permute_spec,
        view=_permute_view,
        vjp=_permute_vjp,
        axes=lambda specs, out, dims: [Factor((dim,), i) for i, dim in enumerate(_order(dims))],
        cost=free,
        cheap=True,
    )
)


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


def _whole_dims(shape: Ints, starts: Ints, stops: Ints, steps: Ints) -> list[int]:
    """The dims a slice leaves as they are."""
    return [d for d, size in enumerate(shape) if starts[d] == 0 and stops[d] == size and steps[d] == 1]


def _region(site: Site) -> tuple[slice, ...]:
    """The index of a slicing node; a dim that is split is a whole one and has its block's size."""
    attrs: Any = site.attrs
    triples = zip(attrs["starts"], attrs["stops"], attrs["steps"], strict=True)
    return tuple(slice(None) if dim == site.split else slice(*triple) for dim, triple in enumerate(triples))


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
        axes=lambda specs, out, **region: [Factor((d,), d) for d in _whole_dims(specs[0].shape, **region)],
        cost=free,
        cheap=True,
    )
)


def _pad_spec(specs: Specs, *, low: Ints, high: Ints, interior: Ints, value: complex) -> TensorSpec:
    (x,) = specs
    _one_per_dim("pad", x.ndim, low, high, interior)
    if any(n < 0 for n in (*low, *high, *interior)):
        raise ShapeError("pad cannot take elements away", got=f"low {low}, high {high}, interior {interior}")
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
    untouched = [d for d in range(out.ndim) if not (low[d] or high[d] or interior[d])]
    return [Factor((d,), d) for d in untouched]


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
