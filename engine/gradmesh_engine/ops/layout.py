"""Primitives that lay the same elements out anew: expand, reshape, permute, flip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
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
    zeros: V = lookup("full").on(x.emitter, value=0, shape=x.shape, dtype=x.dtype.name)
    return zeros


# --- expand ---------------------------------------------------------------------------------------


def _expand_spec(specs: Specs, *, shape: Ints) -> TensorSpec:
    (x,) = specs
    lead = len(shape) - x.ndim
    if lead < 0:
        raise ShapeError(
            f"expand(torch.{dtypes.title(x.dtype)}Tensor{{{list(x.shape)}}}, size={list(shape)}): the number of sizes "
            f"provided ({len(shape)}) must be greater or equal to the number of dimensions in the tensor ({x.ndim})",
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
    summed: V = reshape(g, shape=shape)
    return summed


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
        neutral=True,
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
        neutral=True,
    )
)


# --- permute --------------------------------------------------------------------------------------


def _permute_spec(specs: Specs, *, dims: Ints) -> TensorSpec:
    (x,) = specs
    if len(dims) != x.ndim:
        raise ShapeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {x.ndim} is not equal to len(dims) = {len(dims)}",
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


# --- turn -----------------------------------------------------------------------------------------

_SET_BYTES = 4096
"""Rows so many bytes, or a multiple, apart fall on the same few lines of a cache."""


def _turn_kernel(site: Site) -> Callable[..., None]:
    order = _order(site.attrs["dims"])
    (x,) = site.ins
    # Elements side by side in the result come from afar; where they would come from the same lines of the
    # cache, rows are moved apart first.
    columns = x.shape[-1] if x.ndim else 0
    if not columns or columns * x.dtype.itemsize % _SET_BYTES or order[-1] == x.ndim - 1:
        return lambda x, out: np.copyto(out, x.transpose(order))
    apart = np.empty((*x.shape[:-1], columns + 64 // x.dtype.itemsize), x.dtype)[..., :columns]
    turned = apart.transpose(order)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.copyto(apart, x)
        np.copyto(out, turned)

    return run


turn = declare(
    Primitive(
        name="turn",
        arity=1,
        attrs={"dims": Attr("ints")},
        doc="Reorders the dims and copies, so that the result lies in C order; internal to planning.",
        spec=_permute_spec,
        kernel=_turn_kernel,
        axes=lambda specs, out, dims: [Factor((dim,), i) for i, dim in enumerate(_order(dims))],
        cost=copies,
        time=lambda specs, out, attrs: 5.0 * out.size,
        cheap=True,
    )
)


# --- flip -----------------------------------------------------------------------------------------


def _flip_view(site: Site) -> Callable[..., np.ndarray]:
    flipped = normal_dims(site.attrs["dims"], site.out.ndim)  # type: ignore[arg-type]
    # With an ellipsis a 0-d array stays an array.
    region = (*(slice(None, None, -1) if dim in flipped else slice(None) for dim in range(site.out.ndim)), ...)
    return lambda x: x[region]


def _flip_spec(specs: Specs, *, dims: Ints) -> TensorSpec:
    normal_dims(dims, specs[0].ndim)
    return specs[0]


def _flip_vjp(g: V, y: V, x: V, *, dims: Ints) -> Sequence[V | None]:
    return (flip(g, dims=dims),)


def _flip_axes(specs: Specs, out: TensorSpec, *, dims: Ints) -> list[Factor]:
    flipped = normal_dims(dims, out.ndim)
    return [Factor((dim,), dim) for dim in range(out.ndim) if dim not in flipped]


flip = declare(
    Primitive(
        name="flip",
        arity=1,
        attrs={"dims": Attr("ints")},
        grad_name="FlipBackward0",
        doc="Reverses the order along dims.",
        spec=_flip_spec,
        view=_flip_view,
        vjp=_flip_vjp,
        axes=_flip_axes,
        cost=free,
        cheap=True,
    )
)
