"""Reductions: the splitting primitives, and PyTorch's functions composed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import AxisError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import (
    Attr,
    Factor,
    Order,
    Primitive,
    Reduction,
    Site,
    Specs,
    Vjp,
    declare,
    lookup,
)
from gradmesh_engine.ops.pointwise import Run, convert

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
            raise AxisError(
                f"Expected reduction dim {dim} to have non-zero size.",
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


def _turned(attrs: Mapping[str, AttrValue], orders: Sequence[Order], result: Order) -> Mapping[str, AttrValue]:
    dims = attrs["dims"]
    assert isinstance(dims, tuple)
    return {**attrs, "dims": tuple(sorted(orders[0].index(int(d)) for d in dims))}


def _reducer(ufunc: np.ufunc) -> Any:
    def kernel(site: Site) -> Run:
        dims: Any = site.attrs["dims"]
        reduce = ufunc.reduce
        return lambda x, out: reduce(x, axis=dims, out=out)

    return kernel


_RUN = 512
"""Floats are summed in runs of this length, whose sums are then summed: faster than NumPy's loop, and more exact."""


def _grouped(shape: tuple[int, ...], dims: Sequence[int]) -> list[tuple[bool, int]]:
    """Neighbouring dims that are all kept or all reduced, merged: (reduced, size) of each."""
    groups: list[tuple[bool, int]] = []
    for i, size in enumerate(shape):
        reduced = i in dims
        if size == 1:
            continue
        if groups and groups[-1][0] == reduced:
            groups[-1] = (reduced, groups[-1][1] * size)
        else:
            groups.append((reduced, size))
    return groups


def _sum_of_rows(rows: int, dtype: np.dtype) -> Run:
    """A kernel that sums the rows of a block by products with ones."""
    if rows < 2 * _RUN:
        few = np.ones(rows, dtype)
        return lambda x, out: np.matmul(few, x, out=out)
    full, rest = divmod(rows, _RUN)
    ones = np.ones(_RUN, dtype)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        columns = x.shape[1]
        parts = np.matmul(ones, x[: full * _RUN].reshape(full, _RUN, columns))
        np.add.reduce(parts, axis=0, out=out)
        if rest:
            np.add(out, np.matmul(ones[:rest], x[full * _RUN :]), out=out)

    return run


def _sum_of_all(size: int, dtype: np.dtype) -> Run:
    """A kernel that sums a vector into a 0-d array."""
    full, rest = divmod(size, _RUN)
    ones = np.ones(_RUN, dtype)
    parts = np.empty(full, dtype)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.matmul(x[: full * _RUN].reshape(full, _RUN), ones, out=parts)
        np.add.reduce(parts, out=out)
        if rest:
            np.add(out, np.add.reduce(x[full * _RUN :]), out=out)

    return run


def _sum_kernel(site: Site) -> Run:
    plain: Run = _reducer(np.add)(site)
    (spec,) = site.ins
    dims: Any = site.attrs["dims"]
    groups = _grouped(spec.shape, dims)
    pattern = [reduced for reduced, _ in groups]
    sizes = tuple(size for _, size in groups)
    if spec.dtype not in (dtypes.float32, dtypes.float64) or spec.size < 2 * _RUN or not any(pattern):
        return plain
    made = tuple(size for reduced, size in groups if not reduced)
    fast: Run
    if pattern == [True]:
        fast = _sum_of_all(sizes[0], spec.dtype)
    elif pattern == [True, False]:
        fast = _sum_of_rows(sizes[0], spec.dtype)
    elif pattern == [False, True]:
        ones = np.ones(sizes[1], spec.dtype)
        fast = lambda x, out: np.matmul(x, ones, out=out)  # noqa: E731
    elif pattern == [False, True, False] and sizes[2] >= 8:
        ones = np.ones(sizes[1], spec.dtype)
        fast = lambda x, out: np.matmul(ones, x, out=out)  # noqa: E731
    else:
        return plain

    def run(x: np.ndarray, out: np.ndarray) -> None:
        if x.flags.c_contiguous and out.flags.c_contiguous:
            fast(x.reshape(sizes), out.reshape(made))
        else:
            plain(x, out)

    return run


_WIDE = 512
"""Elements of a row from which NumPy reduces over rows at full speed."""


def _folded(ufunc: np.ufunc, rows: int, columns: int) -> Run:
    """A kernel that reduces the rows of a narrow block, many of them side by side at first."""
    fold = max(1, _WIDE // columns)
    full = rows // fold

    def run(x: np.ndarray, out: np.ndarray) -> None:
        wide = ufunc.reduce(x[: full * fold].reshape(full, fold * columns), axis=0)
        ufunc.reduce(wide.reshape(fold, columns), axis=0, out=out)
        if full * fold < rows:
            ufunc(out, ufunc.reduce(x[full * fold :], axis=0), out=out)

    return run


def _extreme_kernel(ufunc: np.ufunc) -> Any:
    def kernel(site: Site) -> Run:
        plain: Run = _reducer(ufunc)(site)
        (spec,) = site.ins
        dims: Any = site.attrs["dims"]
        groups = _grouped(spec.shape, dims)
        pattern = [reduced for reduced, _ in groups]
        if len(groups) != 2 or spec.size < 2 * _WIDE:
            return plain
        (_, rows), (_, columns) = groups
        if pattern == [True, False] and columns < _WIDE // 2 and rows * columns >= 2 * _WIDE:
            folded = _folded(ufunc, rows, columns)

            def run_folded(x: np.ndarray, out: np.ndarray) -> None:
                if x.flags.c_contiguous and out.flags.c_contiguous:
                    folded(x.reshape(rows, columns), out.reshape(columns))
                else:
                    plain(x, out)

            return run_folded
        if pattern != [False, True] or columns > 48:
            return plain
        # NumPy reduces a short last dim element by element: turned, it goes whole rows at a time.
        turned = np.empty((columns, rows), spec.dtype)

        def run_turned(x: np.ndarray, out: np.ndarray) -> None:
            if not out.flags.c_contiguous:
                plain(x, out)
                return
            np.copyto(turned, x.reshape(rows, columns).T)
            ufunc.reduce(turned, axis=0, out=out.reshape(rows))

        return run_turned

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
                "kernel": _sum_kernel
                if kind == "sum"
                else _extreme_kernel(ufunc)
                if kind in ("max", "min")
                else _reducer(ufunc),
                "blas": "matmul" if kind == "sum" else "",
                "vjp": vjp,
                "axes": reduce_axes(kind),
                "turned": _turned,
                "cost": lambda specs, out, attrs: float(specs[0].size),
                **changes,
            },
        )
    )


def _extreme_vjp(g: V, y: V, x: V, dims: tuple[int, ...]) -> tuple[V]:
    # Ties share evenly. No element equals NaN, of which each gets an infinite share of none: NaN.
    mask = convert(lookup("eq")(x, spread(y, dims, x.shape)), dtype=g.dtype.name)
    share = g / reduce_sum(mask, dims=dims)
    return (spread(share, dims, x.shape) * mask,)


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


def _prod_vjp(g: V, y: V, x: V, dims: tuple[int, ...]) -> tuple[V]:
    from gradmesh_engine.ops.running import prod_backward  # which is made of these

    return (prod_backward(g, y, x, dims),)


reduce_prod: Primitive = _reduction(
    "reduce_prod", np.multiply, "prod", _prod_vjp, "Product over `dims`, which are removed; the dtype stays."
)

# --- along one dim: positions of extremes, running sums and products ------------------------------


def _along(name: str, run: Callable[..., Any], vjp: Vjp | None, doc: str, *, index: bool = False) -> Primitive:
    """Declare a primitive that needs the whole of one dim; `index` ones remove it and give int64."""

    def spec(specs: Specs, dim: int) -> TensorSpec:
        if not index:
            _reduced_spec(specs, (dim,))
            return specs[0]
        return TensorSpec(_nonempty_spec(specs, (dim,)).shape, dtypes.int64)

    def axes(specs: Specs, out: TensorSpec, dim: int) -> list[Factor]:
        return [Factor((i,), i - (index and i > dim)) for i in range(specs[0].ndim) if i != dim]

    return declare(
        Primitive(
            name=name,
            arity=1,
            attrs={"dim": Attr("int")},
            grad_name=f"{name.replace('scan_', 'cum').capitalize()}Backward0" if vjp else "",
            doc=doc,
            spec=spec,
            kernel=lambda site: lambda x, out: run(x, axis=site.attrs["dim"], out=out),
            vjp=vjp,
            axes=axes,
            cost=lambda specs, out, attrs: 2.0 * specs[0].size,
        )
    )


def _backwards(v: V, dim: int) -> V:
    """The sum of every element and those behind it along `dim`."""
    flip = lookup("flip")
    result: V = flip(scan_sum(flip(v, dims=(dim,)), dim=dim), dims=(dim,))
    return result


def _scan_prod_vjp(g: V, y: V, x: V, dim: int) -> tuple[V]:
    return (lookup("scan_prod_backward")(g, x, dim=dim),)


argmax_along = _along("argmax_along", np.argmax, None, "Position of the first maximum along `dim`.", index=True)
argmin_along = _along("argmin_along", np.argmin, None, "Position of the first minimum along `dim`.", index=True)
scan_sum: Primitive = _along(
    "scan_sum", np.add.accumulate, lambda g, y, x, dim: (_backwards(g, dim),), "Running sums along `dim`."
)
scan_prod: Primitive = _along("scan_prod", np.multiply.accumulate, _scan_prod_vjp, "Running products along `dim`.")
