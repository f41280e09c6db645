"""Reductions: the splitting primitives, and PyTorch's functions composed of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradmesh_engine.builder import V
from gradmesh_engine.errors import AxisError, ShapeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Reduction, Site, Specs, Vjp, declare, lookup
from gradmesh_engine.ops.pointwise import Run, convert, keep

# --- dims -----------------------------------------------------------------------------------------


def normal_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front. Raises AxisError with PyTorch's wording."""
    bound = max(ndim, 1)
    if not -bound <= dim < bound:
        raise AxisError(
            f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})",
            expected=f"{-bound} to {bound - 1}",
            got=str(dim),
        )
    return dim % bound


def normal_dims(dims: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Sorted dims counted from the front; None or none at all means every dim. Raises AxisError, ShapeError."""
    if not dims:
        return tuple(range(ndim))
    found = sorted(normal_dim(dim, ndim) for dim in dims)
    for a, b in zip(found, found[1:], strict=False):
        if a == b:
            raise ShapeError(f"dim {a} appears multiple times in the list of dims", got=str(tuple(dims)))
    # A 0-d operand accepts dim 0 and -1 and has nothing to reduce.
    return tuple(dim for dim in found if dim < ndim)


def kept_shape(shape: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """`shape` with the reduced `dims` at size 1."""
    return tuple(1 if i in dims else size for i, size in enumerate(shape))


def spread(v: V, dims: Sequence[int], shape: tuple[int, ...]) -> V:
    """The reduced value laid out again over the shape it was reduced from (the dims put back)."""
    result: V = lookup("expand")(lookup("reshape")(v, shape=kept_shape(shape, dims)), shape=shape)
    return result


# --- primitives -----------------------------------------------------------------------------------


def _reduced_spec(specs: Specs, dims: tuple[int, ...]) -> TensorSpec:
    (x,) = specs
    for dim in dims:
        if not 0 <= dim < x.ndim:
            raise AxisError(f"dim {dim} is outside an operand of {x.ndim} dims", got=str(dims))
    if len(set(dims)) != len(dims):
        raise ShapeError("a dim appears twice", got=str(dims))
    return TensorSpec(tuple(size for i, size in enumerate(x.shape) if i not in dims), x.dtype)


def _nonempty_spec(specs: Specs, dims: tuple[int, ...]) -> TensorSpec:
    for dim in dims:
        if 0 <= dim < specs[0].ndim and specs[0].shape[dim] == 0:
            raise ShapeError(
                f"the reduction has no identity over dim {dim} of size 0",
                got=str(list(specs[0].shape)),
                expected="a size > 0",
            )
    return _reduced_spec(specs, dims)


def reduce_axes(kind: Reduction) -> Any:
    """The axis rule of a reduction whose partials combine by `kind`."""

    def axes(specs: Specs, out: TensorSpec, dims: tuple[int, ...]) -> list[Factor]:
        factors = []
        result = 0
        for dim in range(specs[0].ndim):
            if dim in dims:
                factors.append(Factor((dim,), None, kind))
            else:
                factors.append(Factor((dim,), result))
                result += 1
        return factors

    return axes


def _reducer(ufunc: np.ufunc) -> Any:
    def kernel(site: Site) -> Run:
        dims: Any = site.attrs["dims"]
        reduce = ufunc.reduce
        return lambda x, out: reduce(x, axis=dims, out=out)

    return kernel


def _reduction(name: str, ufunc: np.ufunc, kind: Reduction, vjp: Vjp, doc: str, **changes: Any) -> Primitive:
    return declare(
        Primitive(
            name=name,
            arity=1,
            attrs={"dims": Attr("ints", doc="the dims to remove")},
            grad_name=f"{name.removeprefix('reduce_').capitalize()}Backward1",
            doc=doc,
            **{
                "spec": _reduced_spec if kind in ("sum", "prod") else _nonempty_spec,
                "kernel": _reducer(ufunc),
                "vjp": vjp,
                "axes": reduce_axes(kind),
                "cost": lambda specs, out, attrs: float(specs[0].size),
                **changes,
            },
        )
    )


def _extreme_vjp(g: V, y: V, x: V, dims: tuple[int, ...]) -> tuple[V]:
    # Ties share evenly.
    mask = lookup("eq")(x, spread(y, dims, x.shape))
    share = g / reduce_sum(convert(mask, dtype=g.dtype.name), dims=dims)
    return (keep(spread(share, dims, x.shape), mask),)


reduce_sum = _reduction(
    "reduce_sum",
    np.add,
    "sum",
    lambda g, y, x, dims: (spread(g, dims, x.shape),),
    "Sum over `dims`, which are removed; the dtype stays.",
)
reduce_max = _reduction(
    "reduce_max", np.maximum, "max", _extreme_vjp, "Maximum over `dims`, which are removed; NaN wins, ties share."
)
reduce_min = _reduction(
    "reduce_min", np.minimum, "min", _extreme_vjp, "Minimum over `dims`, which are removed; NaN wins, ties share."
)
