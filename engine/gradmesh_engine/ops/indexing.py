"""Primitives that read and write at positions given by integer tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

try:
    # Adds rows at given positions in one C loop, 4-10x as fast as np.add.at and in the same order.
    from scipy.sparse._sparsetools import csc_matvecs
except ImportError:  # a SciPy that moved it
    csc_matvecs = None

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import DTypeError, OutOfRangeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare
from gradmesh_engine.ops.layout import copies, normal_dim

Ints = tuple[int, ...]


def check_index(name: str, spec: TensorSpec) -> None:
    """Raises DTypeError unless `spec` can hold positions."""
    if dtypes.category(spec.dtype) != dtypes.INT:
        raise DTypeError(
            f"{name}(): Expected dtype int32/int64 for index, got {spec.dtype.name}",
            expected="an integer dtype",
            got=spec.dtype.name,
            remedy="cast the index to int64; turn a mask into positions with nonzero()",
        )


def positions(index: np.ndarray, size: int, dim: int, wrap: bool = True) -> np.ndarray:
    """`index` with every element in 0..size-1; negative ones count from the end where `wrap` allows them.

    Raises OutOfRangeError naming the first offender.
    """
    if index.size == 0:
        return index
    if index.dtype.kind == "i":
        # Seen as unsigned, a negative position is a huge one: one pass finds both kinds of trouble.
        if int(index.view(f"u{index.dtype.itemsize}").max()) < size:
            return index
    elif int(index.max()) < size:
        return index
    wide = index.astype(np.int64)
    wrong = (wide >= size) | (wide < (-size if wrap else 0))
    if wrong.any():
        value = int(wide[wrong].flat[0])
        raise OutOfRangeError(
            f"index {value} is out of bounds for dimension {dim} with size {size}",
            expected=f"{-size if wrap else 0} to {size - 1}" if size else "no index at all",
            got=str(value),
        )
    return np.where(wide < 0, wide + size, wide)


# --- take and its adjoint, put_add ----------------------------------------------------------------


def _take_spec(specs: Specs, *, dim: int, wrap: bool) -> TensorSpec:
    x, index = specs
    check_index("take", index)
    if x.ndim == 0:
        raise ShapeError("take needs a tensor with at least one dim", got=str(x))
    dim = normal_dim(dim, x.ndim)
    return TensorSpec(x.shape[:dim] + index.shape + x.shape[dim + 1 :], x.dtype)


def _take_kernel(site: Site) -> Callable[..., None]:
    dim = normal_dim(int(site.attrs["dim"]), site.ins[0].ndim)  # type: ignore[arg-type]
    size = site.ins[0].shape[dim]
    wrap = bool(site.attrs["wrap"])

    def run(x: np.ndarray, index: np.ndarray, out: np.ndarray) -> None:
        # mode="raise" would make np.take build the result in a second buffer.
        np.take(x, positions(index, size, dim, wrap), axis=dim, out=out, mode="clip")

    return run


def _take_axes(specs: Specs, out: TensorSpec, *, dim: int, **_: AttrValue) -> list[Factor]:
    x, index = specs
    dim = normal_dim(dim, x.ndim)
    factors = [Factor((d, None), d if d < dim else d - 1 + index.ndim) for d in range(x.ndim) if d != dim]
    return factors + [Factor((None, d), dim + d) for d in range(index.ndim)]


def _take_vjp(g: V, y: V, x: V, index: V, *, dim: int, wrap: bool) -> Sequence[V | None]:
    dim = normal_dim(dim, x.ndim)
    return put_add(index, g, dim=dim, size=x.shape[dim]), None


take = declare(
    Primitive(
        name="take",
        arity=2,
        attrs={"dim": Attr("int", 0), "wrap": Attr("bool", True, "negative positions count from the end")},
        grad_name="IndexSelectBackward0",
        doc="x[..., index, ...]: the index's dims take the place of dim.",
        spec=_take_spec,
        kernel=_take_kernel,
        vjp=_take_vjp,
        axes=_take_axes,
        cost=copies,
    )
)


def _put_add_spec(specs: Specs, *, dim: int, size: int) -> TensorSpec:
    index, g = specs
    check_index("put_add", index)
    if not 0 <= dim <= g.ndim - index.ndim or g.shape[dim : dim + index.ndim] != index.shape or size < 0:
        raise ShapeError(
            f"put_add: an index of shape {list(index.shape)} does not fit values of shape {list(g.shape)} at dim {dim}",
            expected="values that have the index's dims at dim",
        )
    return TensorSpec(g.shape[:dim] + (size,) + g.shape[dim + index.ndim :], g.dtype)


def _put_add_into(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    size: Any = site.attrs["size"]
    # The C loop trusts its arguments.
    if _put_add_spec(site.ins, dim=dim, size=size).shape != site.out.shape:
        raise ShapeError("put_add was compiled for operands that do not fit", got=str(site.ins))
    shape = site.ins[1].shape
    rank = site.ins[0].ndim
    before, count, row = math.prod(shape[:dim]), site.ins[0].size, math.prod(shape[dim + rank :])
    base = np.arange(before).reshape(-1, 1) * size if before > 1 else None
    ends = np.arange(before * count + 1)
    ones = np.ones(before * count, site.out.dtype)
    in_c = csc_matvecs is not None and row > 1 and not dtypes.is_half(site.out.dtype) and site.out.dtype != dtypes.bool_

    def run(index: np.ndarray, g: np.ndarray, acc: np.ndarray) -> None:
        at = positions(index, size, dim).reshape(-1).astype(np.int64, copy=False)
        if base is not None:
            at = (base + at).reshape(-1)
        if g.size == 0:
            return
        flat = acc.reshape(-1, copy=False)
        if in_c:
            csc_matvecs(before * size, before * count, row, ends, np.ascontiguousarray(at), ones, g.reshape(-1), flat)
        else:
            if row > 1:
                at = (at.reshape(-1, 1) * row + np.arange(row)).reshape(-1)
            np.add.at(flat, at, g.reshape(-1))

    return run


def from_zero(accumulate: Callable[[Site], Callable[..., None]]) -> Callable[[Site], Callable[..., None]]:
    """The kernel that starts at 0 and accumulates."""

    def kernel(site: Site) -> Callable[..., None]:
        into = accumulate(site)

        def run(*args: np.ndarray) -> None:
            args[-1][...] = 0
            into(*args)

        return run

    return kernel


def _put_add_axes(specs: Specs, out: TensorSpec, *, dim: int, size: int) -> list[Factor]:
    index, g = specs
    factors = [Factor((d, dim + d), None, "sum") for d in range(index.ndim)]
    factors += [Factor((None, d), d) for d in range(dim)]
    return factors + [Factor((None, d), d - index.ndim + 1) for d in range(dim + index.ndim, g.ndim)]


put_add = declare(
    Primitive(
        name="put_add",
        arity=2,
        attrs={"dim": Attr("int", 0), "size": Attr("int", doc="of the result along dim")},
        grad_name="IndexAddBackward0",
        doc="Adds values into zeros at the positions an index names along dim; the adjoint of take.",
        spec=_put_add_spec,
        kernel=from_zero(_put_add_into),
        accumulate=_put_add_into,
        vjp=lambda g, y, index, values, dim, size: (None, take(g, index, dim=dim)),
        axes=_put_add_axes,
        cost=lambda specs, out, attrs: 2.0 * specs[1].size + out.size,
    )
)
