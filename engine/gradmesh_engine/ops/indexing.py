"""Primitives that read and write at positions given by integer tensors."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import AxisError, DTypeError, OutOfRangeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare
from gradmesh_engine.ops.layout import Ints, broadcast_axes, copies, expand, normal_dim, reshape, zeros_like
from gradmesh_engine.ops.pointwise import broadcast_shapes
from gradmesh_engine.ops.regions import narrowed


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


@lru_cache(maxsize=1)
def _sparse_loops() -> Any:
    """SciPy's loops that add rows at given positions, 4-10x as fast as np.add.at and in the same order; None without.

    Loaded when first needed, and alone where that is possible: importing the package around it takes 130 ms.
    """
    name = "scipy.sparse._sparsetools"
    try:
        scipy = find_spec("scipy")
        places = [] if scipy is None else [f"{place}/sparse" for place in scipy.submodule_search_locations or ()]
        spec = None if name in sys.modules else PathFinder.find_spec(name, places)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module(module_from_spec(spec))  # it enters itself into sys.modules
        found = importlib.import_module(name)
        _ = found.csc_matvecs, found.csr_matvecs, found.csr_tocsc
    except (ImportError, AttributeError):  # a SciPy that moved it
        return None
    return found


def _told_apart(g: np.ndarray, first: int, stop: int) -> tuple[np.ndarray, int]:
    """The values without the last dims before `stop` along which they are one value, and how many these hold."""
    each = 1
    for dim in range(stop - 1, first - 1, -1):
        if g.strides[dim] != 0 and g.shape[dim] != 1:
            break
        each *= g.shape[dim]
        g = g[(slice(None),) * dim + (0,)]
    return g, each


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
    ends = {1: np.arange(before * count + 1)}
    ones = np.ones(before * count, site.out.dtype)
    plain = row > 1 and not dtypes.is_half(site.out.dtype) and site.out.dtype != dtypes.bool_
    loops = _sparse_loops() if plain else None
    add_rows = None if loops is None else loops.csc_matvecs

    def run(index: np.ndarray, g: np.ndarray, acc: np.ndarray) -> None:
        at = positions(index, size, dim).reshape(-1).astype(np.int64, copy=False)
        if base is not None:
            at = (base + at).reshape(-1)
        if g.size == 0:
            return
        flat = acc.reshape(-1, copy=False)
        if add_rows is not None:
            g, each = _told_apart(g, dim, dim + rank)
            if each not in ends:
                ends[each] = ends[1][::each].copy()
            add_rows(
                before * size,
                before * count // each,
                row,
                ends[each],
                np.ascontiguousarray(at),
                ones,
                g.reshape(-1),
                flat,
            )
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


_SORTED_BYTES = 1 << 20
"""Results of at least so many bytes do not stay in cache while rows are added to them in any order."""

_TOGETHER_BYTES = 1 << 18
"""What is made of such a result together."""


def _put_add_kernel(site: Site) -> Callable[..., None]:
    """Into large results row after row: what is added to each, in the same order, is found by sorting first."""
    index_spec, g_spec = site.ins
    dim: Any = site.attrs["dim"]
    size, count, row = site.out.shape[dim], index_spec.size, math.prod(g_spec.shape[index_spec.ndim :])
    usual = dtypes.is_half(site.out.dtype) or site.out.dtype == dtypes.bool_ or dim > 0 or row < 2 or count < size
    loops = None if usual or site.out.nbytes < _SORTED_BYTES else _sparse_loops()
    if loops is None or _put_add_spec(site.ins, dim=dim, size=size).shape != site.out.shape:
        return from_zero(_put_add_into)(site)
    starts, ends = np.empty(size + 1, np.int64), np.arange(count + 1)
    ones, weights = np.ones(count, site.out.dtype), np.empty(count, site.out.dtype)
    found = np.empty(count, np.int64)
    step = max(1, _TOGETHER_BYTES // (row * site.out.dtype.itemsize))

    def run(index: np.ndarray, g: np.ndarray, out: np.ndarray) -> None:
        at = np.ascontiguousarray(positions(index, size, 0).reshape(-1).astype(np.int64, copy=False))
        g, each = _told_apart(g, 0, index_spec.ndim)
        loops.csr_tocsc(count // each, size, ends[::each].copy(), at, ones, starts, found, weights)
        rows, total = g.reshape(-1), out.reshape(size, row, copy=False)
        for first in range(0, size, step):
            part = total[first : first + step]
            part.fill(0)
            loops.csr_matvecs(
                len(part),
                count // each,
                row,
                starts[first : first + len(part) + 1],
                found,
                ones,
                rows,
                part.reshape(-1),
            )

    return run


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
        kernel=_put_add_kernel,
        accumulate=_put_add_into,
        vjp=lambda g, y, index, values, dim, size: (None, take(g, index, dim=dim)),
        axes=_put_add_axes,
        cost=lambda specs, out, attrs: 2.0 * specs[1].size + out.size,
        gathers=True,
    )
)


# --- take_sum -------------------------------------------------------------------------------------


def _take_sum_spec(specs: Specs, *, wrap: bool) -> TensorSpec:
    x, index = specs
    check_index("take_sum", index)
    if not x.ndim or not index.ndim:
        raise ShapeError("take_sum needs a tensor and an index with at least one dim", got=f"{x} and {index}")
    return TensorSpec(index.shape[:-1] + x.shape[1:], x.dtype)


def _take_sum_kernel(site: Site) -> Callable[..., None]:
    wrap = bool(site.attrs["wrap"])
    size, length = site.ins[0].shape[0], site.ins[1].shape[-1]
    bags, row = site.ins[1].size // max(length, 1), math.prod(site.ins[0].shape[1:])
    loops = _sparse_loops() if site.out.dtype.kind == "f" and site.out.dtype.itemsize > 2 else None
    if loops is None or not site.out.size:
        accumulated = dtypes.float32 if dtypes.is_half(site.out.dtype) else site.out.dtype

        def run_plain(x: np.ndarray, index: np.ndarray, out: np.ndarray) -> None:
            rows = np.take(x, positions(index, size, 0, wrap), axis=0)
            np.copyto(out, rows.sum(index.ndim - 1, dtype=accumulated), casting="unsafe")

        return run_plain
    ends, ones = np.arange(bags + 1) * length, np.ones(bags * length, site.out.dtype)

    def run(x: np.ndarray, index: np.ndarray, out: np.ndarray) -> None:
        at = np.ascontiguousarray(positions(index, size, 0, wrap).reshape(-1).astype(np.int64, copy=False))
        total = out.reshape(-1, copy=False)
        total.fill(0)
        loops.csr_matvecs(bags, size, row, ends, at, ones, x.reshape(-1), total)

    return run


def _take_sum_axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    x, index = specs
    last = index.ndim - 1
    factors = [Factor((None, d), d) for d in range(last)] + [Factor((None, last), None, "sum")]
    return factors + [Factor((d, None), last + d - 1) for d in range(1, x.ndim)]


def _take_sum_vjp(g: V, y: V, x: V, index: V, *, wrap: bool) -> Sequence[V | None]:
    last = index.ndim - 1
    apart = reshape(g, shape=(*g.shape[:last], 1, *g.shape[last:]))
    return put_add(index, expand(apart, shape=(*index.shape, *x.shape[1:])), dim=0, size=x.shape[0]), None


take_sum = declare(
    Primitive(
        name="take_sum",
        arity=2,
        attrs={"wrap": Attr("bool", True, "negative positions count from the end")},
        grad_name="EmbeddingBagBackward0",
        doc="The sums of x[index] over the index's last dim: of bags of rows, which are not made.",
        spec=_take_sum_spec,
        kernel=_take_sum_kernel,
        vjp=_take_sum_vjp,
        axes=_take_sum_axes,
        cost=lambda specs, out, attrs: 2.0 * specs[1].size * math.prod(specs[0].shape[1:]),
    )
)


# --- put_set --------------------------------------------------------------------------------------


def _put_set_spec(specs: Specs, *, dim: int) -> TensorSpec:
    x, index, v = specs
    check_index("put_set", index)
    if not 0 <= dim < x.ndim or v.shape != x.shape[:dim] + index.shape + x.shape[dim + 1 :] or v.dtype != x.dtype:
        raise ShapeError(
            f"put_set: values {v} and an index of shape {list(index.shape)} do not fit {x} at dim {dim}",
            expected="values shaped as take would give them",
        )
    return x


def _put_set_kernel(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    size = site.out.shape[dim]
    before = (slice(None),) * dim

    def run(x: np.ndarray, index: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
        at = positions(index, size, dim)
        np.copyto(out, x)
        out[(*before, at)] = v

    return run


def _put_set_axes(specs: Specs, out: TensorSpec, *, dim: int) -> list[Factor]:
    rank = specs[1].ndim
    return [Factor((d, None, d if d < dim else d - 1 + rank), d) for d in range(out.ndim) if d != dim]


def _put_set_vjp(g: V, y: V, x: V, index: V, v: V, *, dim: int) -> Sequence[V | None]:
    return put_set(g, index, zeros_like(v), dim=dim), None, take(g, index, dim=dim)


put_set = declare(
    Primitive(
        name="put_set",
        arity=3,
        attrs={"dim": Attr("int", 0)},
        grad_name="IndexCopyBackward0",
        doc="A copy of x with values written at the positions an index names along dim; the last of equal ones wins.",
        spec=_put_set_spec,
        kernel=_put_set_kernel,
        vjp=_put_set_vjp,
        axes=_put_set_axes,
        cost=copies,
    )
)


# --- gather and its adjoint, put_along_add; put_along ---------------------------------------------


def _along_prepare(operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> Sequence[V]:
    """Cut x to the index in the dims that are not gathered over."""
    x, index = operands
    _gather_spec((x.spec, index.spec), **attrs)  # type: ignore[arg-type]
    dim = normal_dim(int(attrs["dim"]), x.ndim)  # type: ignore[arg-type]
    for d, size in enumerate(index.shape):
        if d != dim and size != x.shape[d]:
            x = narrowed(x, d, 0, size)
    return x, index


def _gather_spec(specs: Specs, *, dim: int) -> TensorSpec:
    x, index = specs
    check_along("gather", x, index, normal_dim(dim, x.ndim))
    return TensorSpec(index.shape, x.dtype)


def check_along(name: str, x: TensorSpec, index: TensorSpec, dim: int) -> None:
    """Raises unless `index` is an index into `x` along `dim`."""
    if not 0 <= dim < max(x.ndim, 1):
        raise AxisError(f"{name}: no dim {dim} in {x}", expected=f"0 to {max(x.ndim, 1) - 1}", got=str(dim))
    check_index(name, index)
    if index.ndim != x.ndim:
        other = "self" if "scatter" in name else "input"
        raise ShapeError(
            f"Index tensor must have the same number of dimensions as {other} tensor",
            expected=f"{x.ndim} dims",
            got=str(list(index.shape)),
        )
    wide = next((d for d, size in enumerate(index.shape) if d != dim and size > x.shape[d]), None)
    if wide is not None:
        raise ShapeError(
            f"Size does not match at dimension {wide} expected index {list(index.shape)} to be no larger than self "
            f"{list(x.shape)} apart from dimension {dim}",
            expected=f"at most {list(x.shape)} apart from dimension {dim}",
            got=str(list(index.shape)),
        )


def flat_base(shape: Ints, dim: int) -> tuple[np.ndarray, int]:
    """Flat C-order position in `shape` of every element with coordinate 0 along `dim`, and the stride of `dim`.

    A 0-d tensor counts as one element along dim 0.
    """
    shape = shape or (1,)
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    base = np.zeros([1] * len(shape), np.int64)
    for d, size in enumerate(shape):
        if d != dim:
            along = [1] * len(shape)
            along[d] = size
            base = base + (np.arange(size) * strides[d]).reshape(along)
    return base, strides[dim]


def _gather_kernel(site: Site) -> Callable[..., None]:
    x_spec = site.ins[0]
    dim = normal_dim(int(site.attrs["dim"]), x_spec.ndim)  # type: ignore[arg-type]
    size = x_spec.shape[dim] if x_spec.ndim else 1
    base, stride = flat_base(x_spec.shape, dim)

    def run(x: np.ndarray, index: np.ndarray, out: np.ndarray) -> None:
        at = positions(index, size, dim, wrap=False)
        if x.flags.c_contiguous:
            np.take(x.reshape(-1), (at * stride + base).reshape(out.shape), out=out, mode="clip")
        else:
            np.copyto(out, np.take_along_axis(x, at, dim))

    return run


def _gather_vjp(g: V, y: V, x: V, index: V, *, dim: int) -> Sequence[V | None]:
    dim = normal_dim(dim, x.ndim)
    return put_along_add(index, g, dim=dim, size=x.shape[dim] if x.ndim else 1), None


def _gather_axes(specs: Specs, out: TensorSpec, *, dim: int) -> list[Factor]:
    dim = normal_dim(dim, out.ndim)
    return [Factor((None if d == dim else d, d), d) for d in range(out.ndim)]


gather = declare(
    Primitive(
        name="gather",
        arity=2,
        attrs={"dim": Attr("int")},
        grad_name="GatherBackward0",
        doc="out[i, j] = x[i, index[i, j]] for dim 1; the index may be smaller than x in the other dims.",
        spec=_gather_spec,
        kernel=_gather_kernel,
        vjp=_gather_vjp,
        axes=_gather_axes,
        cost=lambda specs, out, attrs: 3.0 * out.size,
        prepare=_along_prepare,
    )
)


def put_along_add_spec(specs: Specs, *, dim: int, size: int) -> TensorSpec:
    """Spec of what is combined along `dim`. Raises ShapeError."""
    index, src = specs
    check_index("put_along_add", index)
    if index.shape != src.shape or not 0 <= dim < max(src.ndim, 1) or size < 0:
        raise ShapeError(f"put_along_add: the index {index} and the values {src} have different shapes")
    if src.ndim == 0:
        return src
    return TensorSpec(src.shape[:dim] + (size,) + src.shape[dim + 1 :], src.dtype)


def _put_along_add_into(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    size: Any = site.attrs["size"]
    base, stride = flat_base(site.out.shape, dim)

    def run(index: np.ndarray, src: np.ndarray, acc: np.ndarray) -> None:
        at = positions(index, size, dim, wrap=False) * stride + base
        np.add.at(acc.reshape(-1, copy=False), at.reshape(-1), src.reshape(-1))

    return run


def _put_along_add_axes(specs: Specs, out: TensorSpec, *, dim: int, size: int) -> list[Factor]:
    return [Factor((d, d), None, "sum") if d == dim else Factor((d, d), d) for d in range(out.ndim)]


put_along_add = declare(
    Primitive(
        name="put_along_add",
        arity=2,
        attrs={"dim": Attr("int"), "size": Attr("int", doc="of the result along dim")},
        grad_name="ScatterAddBackward0",
        doc="out[i, index[i, j]] += src[i, j] for dim 1, from zero; the adjoint of gather.",
        spec=put_along_add_spec,
        kernel=from_zero(_put_along_add_into),
        accumulate=_put_along_add_into,
        vjp=lambda g, y, index, src, dim, size: (None, gather(g, index, dim=dim)),
        axes=_put_along_add_axes,
        cost=lambda specs, out, attrs: 4.0 * specs[1].size + out.size,
    )
)


def _put_along_spec(specs: Specs, *, dim: int) -> TensorSpec:
    x, index, src = specs
    check_along("put_along", x, index, dim)
    same = all(a == b for d, (a, b) in enumerate(zip(index.shape, x.shape, strict=True)) if d != dim)
    if index.shape != src.shape or not same or src.dtype != x.dtype:
        raise ShapeError(f"put_along: the index {index} and the values {src} do not fit {x}")
    return x


def _put_along_kernel(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    size = site.out.shape[dim] if site.out.ndim else 1
    base, stride = flat_base(site.out.shape, dim)

    def run(x: np.ndarray, index: np.ndarray, src: np.ndarray, out: np.ndarray) -> None:
        at = positions(index, size, dim, wrap=False) * stride + base
        np.copyto(out, x)
        out.reshape(-1, copy=False)[at.reshape(src.shape)] = src

    return run


def _put_along_vjp(g: V, y: V, x: V, index: V, src: V, *, dim: int) -> Sequence[V | None]:
    return put_along(g, index, zeros_like(src), dim=dim), None, gather(g, index, dim=dim)


put_along = declare(
    Primitive(
        name="put_along",
        arity=3,
        attrs={"dim": Attr("int")},
        grad_name="ScatterBackward0",
        doc="A copy of x with out[i, index[i, j]] = src[i, j] for dim 1; the last of equal positions wins.",
        spec=_put_along_spec,
        kernel=_put_along_kernel,
        vjp=_put_along_vjp,
        axes=lambda specs, out, dim: [Factor((d, d, d), d) for d in range(out.ndim) if d != dim],
        cost=lambda specs, out, attrs: 3.0 * specs[1].size + out.size,
    )
)


# --- ravel_index ----------------------------------------------------------------------------------


def _ravel_spec(specs: Specs, *, sizes: Ints, dims: Ints) -> TensorSpec:
    if len(sizes) != len(specs) or len(dims) != len(specs):
        raise ShapeError(f"ravel_index: {len(specs)} indices, {len(sizes)} sizes, {len(dims)} dims")
    for spec in specs:
        check_index("index", spec)
    try:
        shape = broadcast_shapes([spec.shape for spec in specs])
    except ShapeError:
        shapes = ", ".join(str(list(spec.shape)) for spec in specs)
        raise AxisError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}",
            got=shapes,
        ) from None
    return TensorSpec(shape, dtypes.int64)


def _ravel_kernel(site: Site) -> Callable[..., None]:
    sizes: Any = site.attrs["sizes"]
    dims: Any = site.attrs["dims"]

    def run(*args: np.ndarray) -> None:
        out = args[-1]
        for i, (size, dim) in enumerate(zip(sizes, dims, strict=True)):
            at = positions(args[i], size, dim)
            if i == 0:
                np.copyto(out, at, casting="unsafe")
            else:
                np.multiply(out, size, out=out)
                np.add(out, at, out=out, casting="unsafe")

    return run


ravel_index = declare(
    Primitive(
        name="ravel_index",
        arity=(1, -1),
        attrs={"sizes": Attr("ints", doc="of the indexed dims"), "dims": Attr("ints", doc="their numbers, for errors")},
        doc="The position in C order that one index per dim names; the indices broadcast.",
        spec=_ravel_spec,
        kernel=_ravel_kernel,
        axes=broadcast_axes,
        cost=lambda specs, out, attrs: 3.0 * out.size * len(specs),
        cheap=True,
    )
)
