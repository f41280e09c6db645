"""PyTorch's functions that read and write by index or mask, composed of the indexing primitives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from gradmesh_engine.ops.base import Attr, Specs, lookup
from gradmesh_engine.ops.indexing import (
    check_along,
    check_index,
    gather,
    put_add,
    put_along,
    put_along_add,
    put_set,
    ravel_index,
    take,
)
from gradmesh_engine.ops.layout import Ints, expand, normal_dim, normal_dims, permute
from gradmesh_engine.ops.numeric import NUMBER_GIVEN, by_number
from gradmesh_engine.ops.pointwise import broadcast_shapes
from gradmesh_engine.ops.regions import assigned_shape, narrowed, pad, slice_update
from gradmesh_engine.ops.shaping import DIM, composite, reshaped


def op(name: str, *operands: V, **attrs: Any) -> V:
    """An op of another file."""
    result: V = lookup(name)(*operands, **attrs)
    return result


def same_dtype(name: str, x: V, other: V, what: str = "source") -> None:
    """Raises DTypeError unless both dtypes are equal."""
    if x.dtype != other.dtype:
        raise DTypeError(
            f"{name}(): self and {what} expected to have the same dtype, but got (self) {x.dtype.name} and ({what}) "
            f"{other.dtype.name}",
            expected=x.dtype.name,
            got=other.dtype.name,
            remedy=f"cast the {what}",
        )


# --- indexing with integer tensors ----------------------------------------------------------------


class _Indexed:
    """A tensor seen with its indexed dims merged into one, and the index into that one."""

    def __init__(self, x: V, indices: Sequence[V], dims: Ints) -> None:
        if len(dims) != len(indices):
            raise ShapeError(f"{len(indices)} indices for {len(dims)} dims", got=str(list(dims)))
        if x.ndim == 0:
            raise ShapeError("too many indices for tensor of dimension 0")
        self.dims = normal_dims(dims, x.ndim)
        for index in indices:
            check_index("index", index.spec)
        first = self.dims[0]
        adjacent = self.dims == tuple(range(first, first + len(dims)))
        rest = [d for d in range(x.ndim) if d not in self.dims]
        # PyTorch puts the dims of the indices where the indexed dims were when these are neighbours, else first.
        self.at = first if adjacent else 0
        self.order = (*rest[: self.at], *self.dims, *rest[self.at :])
        self.moved = tuple(x.shape[d] for d in self.order)
        sizes = tuple(x.shape[d] for d in self.dims)
        self.size = math.prod(sizes)
        self.merged = (*self.moved[: self.at], self.size, *self.moved[self.at + len(dims) :])
        self.index: V = indices[0] if len(indices) == 1 else ravel_index(*indices, sizes=sizes, dims=self.dims)
        self.shape = (*self.merged[: self.at], *self.index.shape, *self.merged[self.at + 1 :])

    def merge(self, x: V) -> V:
        """`x` with the indexed dims merged."""
        return reshaped(permute(x, dims=self.order), *self.merged)

    def restore(self, merged: V) -> V:
        """The reverse of `merge`."""
        back = tuple(self.order.index(d) for d in range(len(self.order)))
        result: V = permute(reshaped(merged, *self.moved), dims=back)
        return result


def _index(x: V, *indices: V, dims: Ints) -> V:
    at = _Indexed(x, indices, dims)
    result: V = take(at.merge(x), at.index, dim=at.at)
    return result


def _index_put(x: V, v: V, *indices: V, dims: Ints, accumulate: bool) -> V:
    at = _Indexed(x, indices, dims)
    if v.ndim:
        same_dtype("index_put_", x, v, "values")
    v = reshaped(v, *assigned_shape(v.shape, at.shape))
    values = expand(op("convert", v, dtype=x.dtype.name), shape=at.shape)
    if accumulate:
        return x + at.restore(put_add(at.index, values, dim=at.at, size=at.size))
    return at.restore(put_set(at.merge(x), at.index, values, dim=at.at))


index = composite(
    "index",
    _index,
    arity=(2, -1),
    attrs={"dims": Attr("ints", doc="the dim each index is for")},
    grad_name="IndexBackward0",
    doc="x[..., i, ..., j, ...] with integer tensors i, j, … that broadcast together.",
)
index_put = composite(
    "index_put",
    _index_put,
    arity=(3, -1),
    attrs={"dims": Attr("ints", doc="the dim each index is for"), "accumulate": Attr("bool", False)},
    grad_name="IndexPutBackward0",
    doc="(x, v, i, j, …): a copy of x with x[..., i, ..., j, ...] = v, or += v.",
)

# --- one index vector along a dim -----------------------------------------------------------------


def _vector(name: str, x: V, index: V, dim: int) -> tuple[V, int]:
    """The index as a vector and the dim from the front."""
    check_index(name, index.spec)
    if index.ndim > 1:
        raise AxisError(f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim}", got=str(index.spec))
    return (index if index.ndim else reshaped(index, 1)), normal_dim(dim, x.ndim)


def _index_select(x: V, index: V, *, dim: int) -> V:
    index, dim = _vector("index_select", x, index, dim)
    if not x.ndim:
        return reshaped(take(reshaped(x, 1), index, dim=0, wrap=False))
    result: V = take(x, index, dim=dim, wrap=False)
    return result


def rows_of(name: str, x: V, index: V, source: V, dim: int) -> tuple[V, V, V, int]:
    """Operands of index_add and index_copy with at least one dim, checked."""
    index, dim = _vector(name, x, index, dim)
    same_dtype(name, x, source)
    x1, source1 = (reshaped(v, *(v.shape or (1,))) for v in (x, source))
    if name == "index_add" and x1.ndim != source1.ndim:
        raise ShapeError(
            "index_add_(): source tensor shape must match self tensor shape, excluding the specified dimension. Got "
            f"self.shape = {list(x.shape)} source.shape = {list(source.shape)}",
            got=str(list(source.shape)),
        )
    if name == "index_add" and index.shape[0] != source1.shape[dim]:
        raise ShapeError(
            f"index_add_(): Number of indices ({index.shape[0]}) should be equal to source.size(dim): "
            f"({source1.shape[dim]}), for dim: {dim}",
            expected=str(source1.shape[dim]),
            got=str(index.shape[0]),
        )
    if source1.shape != (*x1.shape[:dim], index.shape[0], *x1.shape[dim + 1 :]):
        raise ShapeError(
            f"{name}(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{[*x1.shape[:dim], *x1.shape[dim + 1 :]]} at dimension {dim} and source slice shape: "
            f"{list(source1.shape)} for {index.shape[0]} indices",
            expected=str([*x1.shape[:dim], index.shape[0], *x1.shape[dim + 1 :]]),
            got=str(list(source1.shape)),
        )
    return x1, index, source1, dim


def _index_add(x: V, index: V, source: V, *, dim: int, alpha: float) -> V:
    x1, index, source1, dim = rows_of("index_add", x, index, source, dim)
    scaled = source1 if alpha == 1 else source1 * alpha
    return reshaped(x1 + put_add(index, scaled, dim=dim, size=x1.shape[dim]), *x.shape)


def _index_copy(x: V, index: V, source: V, *, dim: int) -> V:
    x1, index, source1, dim = rows_of("index_copy", x, index, source, dim)
    return reshaped(put_set(x1, index, source1, dim=dim), *x.shape)


def _bools(like: V, shape: Ints | None = None, value: bool = False) -> V:
    return constant(like, value, like.shape if shape is None else shape, dtypes.bool_)


def _filled(x: V, mask: V, value: V) -> V:
    """One 0-d value wherever the mask holds: its gradient counts an element once, however often an index names it."""
    return op("where", mask, op("convert", value, dtype=x.dtype.name), x)


def _index_fill(x: V, index: V, value: V, *, dim: int, number: bool | None) -> V:
    index, dim = _vector("index_fill", x, index, dim)
    if value.ndim:
        raise ShapeError(f"index_fill_ only supports a 0-dimensional value tensor, but got {value.ndim} dimension(s)")
    x1 = reshaped(x, *(x.shape or (1,)))
    shape = (*x1.shape[:dim], index.shape[0], *x1.shape[dim + 1 :])
    return reshaped(_filled(x1, put_set(_bools(x1), index, _bools(x1, shape, True), dim=dim), value), *x.shape)


composite(
    "index_select",
    _index_select,
    arity=2,
    attrs={"dim": DIM},
    grad_name="IndexSelectBackward0",
    doc="The entries of x along a dim that a vector names.",
)
composite(
    "index_add",
    _index_add,
    arity=3,
    attrs={"dim": DIM, "alpha": Attr("number", 1)},
    grad_name="IndexAddBackward0",
    doc="(x, index, source): a copy of x with alpha * source added at the entries a vector names.",
)
composite(
    "index_copy",
    _index_copy,
    arity=3,
    attrs={"dim": DIM},
    grad_name="IndexCopyBackward0",
    doc="(x, index, source): a copy of x with source written at the entries a vector names.",
)
composite(
    "index_fill",
    _index_fill,
    arity=3,
    attrs={"dim": DIM, **NUMBER_GIVEN},
    grad_name=by_number("IndexFillBackward1", "IndexFillBackward0"),
    doc="(x, index, value): a copy of x with a 0-d value written at the entries a vector names.",
)

# --- one index per element ------------------------------------------------------------------------


def _gather_fitted(x: V, index: V, *, dim: int) -> V:
    if not index.spec.size:
        nothing: V = reshaped(op("strided_slice", reshaped(x, x.spec.size), starts=(0,), stops=(0,), steps=(1,)), 0)
        return reshaped(nothing, *index.shape)
    x1, index1 = (reshaped(v, *(v.shape or (1,))) for v in (x, index))
    return reshaped(gather(x1, index1, dim=dim), *index.shape)


def _take_along_dim(x: V, index: V, *, dim: int | None) -> V:
    check_index("take_along_dim", index.spec)
    # Positions here may count from the end; those of gather may not.
    size = constant(index, x.spec.size if dim is None else x.shape[normal_dim(dim, x.ndim)])
    index = op("where", op("lt", index, constant(index, 0)), index + size, index)
    if dim is None:
        result: V = gather(reshaped(x, x.spec.size), reshaped(index, index.spec.size), dim=0)
        return result
    if x.ndim != index.ndim:
        raise ShapeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {x.ndim} "
            f"dimensions for input, and {index.ndim} dimensions for indices"
        )
    dim = normal_dim(dim, x.ndim)
    one = slice(dim, dim + 1)
    others = [(*v.shape[:dim], 1, *v.shape[dim + 1 :]) for v in (x, index)]
    shape = list(broadcast_shapes(others))
    shape[one] = x.shape[one]
    wide = expand(x, shape=tuple(shape))
    shape[one] = index.shape[one]
    found: V = gather(wide, expand(index, shape=tuple(shape)), dim=dim)
    return found


def scattered(name: str, x: V, index: V, src: V, dim: int) -> tuple[V, int]:
    """The values for each element of the index, and the dim from the front. Raises ShapeError, DTypeError."""
    dim = normal_dim(dim, x.ndim)
    check_along(name, x.spec, index.spec, dim)
    if x.dtype != src.dtype:
        raise DTypeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype", expected=x.dtype.name, got=src.dtype.name
        )
    if src.ndim != index.ndim:
        raise ShapeError(
            "Index tensor must have the same number of dimensions as src tensor",
            expected=f"{index.ndim} dims",
            got=str(list(src.shape)),
        )
    if any(a > b for a, b in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(x.shape)} apart from dimension {dim} "
            f"and to be no larger than src {list(src.shape)}",
            got=str(list(src.shape)),
        )
    for d, size in enumerate(index.shape):
        if src.shape[d] != size:
            src = narrowed(src, d, 0, size)
    return src, dim


def _reached(x: V, index: V, dim: int) -> dict[str, Ints] | None:
    """The region of x an index smaller than x can reach; None when that is all of it."""
    stops = tuple(x.shape[d] if d == dim else size for d, size in enumerate(index.shape))
    if stops == x.shape:
        return None
    return {"starts": (0,) * x.ndim, "stops": stops, "steps": (1,) * x.ndim}


def _scatter(x: V, index: V, src: V, *, dim: int, number: bool | None = None) -> V:
    if src.ndim == 0 and index.ndim:
        return _filled(x, _scatter(_bools(x), index, _bools(x, index.shape, True), dim=dim), src)
    src, dim = scattered("scatter", x, index, src, dim)
    region = _reached(x, index, dim)
    if region is None:
        result: V = put_along(x, index, src, dim=dim)
        return result
    inner = put_along(op("strided_slice", x, **region), index, src, dim=dim)
    result = slice_update(x, inner, **region)
    return result


def _scatter_add(x: V, index: V, src: V, *, dim: int) -> V:
    src, dim = scattered("scatter_add", x, index, src, dim)
    added: V = put_along_add(index, src, dim=dim, size=x.shape[dim] if x.ndim else 1)
    if added.shape != x.shape:
        high = tuple(a - b for a, b in zip(x.shape, added.shape, strict=True))
        added = pad(added, low=(0,) * x.ndim, high=high, interior=(0,) * x.ndim)
    return x + added


def _scatter_name(specs: Specs, attrs: Any) -> str:
    if attrs.get("number"):
        return "ScatterBackward1"
    return "ScatterBackward1" if specs[2].ndim == 0 and specs[1].ndim else "ScatterBackward0"


composite(
    "gather_fitted",
    _gather_fitted,
    arity=2,
    attrs={"dim": DIM},
    grad_name="GatherBackward0",
    doc="gather where an empty index fits anything, and a 0-d tensor counts as one with a dim.",
)
composite(
    "take_along_dim",
    _take_along_dim,
    arity=2,
    attrs={"dim": Attr("int", None, "of the flattened tensors when absent")},
    grad_name="GatherBackward0",
    doc="gather whose operands broadcast in the other dims.",
)
composite(
    "scatter",
    _scatter,
    arity=3,
    attrs={"dim": DIM, **NUMBER_GIVEN},
    grad_name=_scatter_name,
    doc="(x, index, src): a copy of x with out[i, index[i, j]] = src[i, j] for dim 1; src may be 0-d.",
)
composite(
    "scatter_add",
    _scatter_add,
    arity=3,
    attrs={"dim": DIM},
    grad_name="ScatterAddBackward0",
    doc="(x, index, src): a copy of x with out[i, index[i, j]] += src[i, j] for dim 1.",
)

# --- masks ----------------------------------------------------------------------------------------


def _check_mask(name: str, mask: V) -> None:
    if mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"{name} only supports boolean masks, but got mask with dtype {dtypes.title(mask.dtype)}",
            expected="bool",
            got=mask.dtype.name,
            remedy="compare or cast the mask",
        )


def _masked_fill(x: V, mask: V, value: V, *, scalar: bool) -> V:
    if dtypes.is_complex(value.dtype) and not dtypes.is_complex(x.dtype):
        raise DTypeError(
            f"value cannot be converted to type {dtypes.spelling(x.dtype)} without overflow",
            expected=x.dtype.name,
            got=value.dtype.name,
        )
    _check_mask("masked_fill_", mask)
    if value.ndim:
        raise ShapeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s).",
            expected="0 dims",
            got=str(value.spec),
        )
    return op("where", mask, op("convert", value, dtype=x.dtype.name), x)


def _masked_scatter(x: V, mask: V, source: V) -> V:
    _check_mask("masked_scatter_", mask)
    same_dtype("masked_scatter", x, source)
    shape = broadcast_shapes([x.shape, mask.shape])
    wide, chosen = expand(x, shape=shape), expand(mask, shape=shape)
    if not wide.spec.size:
        return reshaped(wide, *shape)
    flags = op("convert", reshaped(chosen, chosen.spec.size), dtype=dtypes.int64.name)
    # The n-th True takes the n-th value; what stands where the mask is False does not matter.
    order = op("cumsum", flags, dim=0) - 1
    at = reshaped(op("keep", order, reshaped(chosen, chosen.spec.size)), *shape)
    taken: V = take(reshaped(source, source.spec.size), at, dim=0, wrap=False)
    return op("where", chosen, taken, wide)


composite(
    "masked_fill",
    _masked_fill,
    arity=3,
    attrs={"scalar": Attr("bool", True, "the value was a Python number")},
    grad_name=lambda specs, attrs: "MaskedFillBackward0" if attrs.get("scalar", True) else "MaskedFillBackward1",
    doc="(x, mask, value): the 0-d value where the mask holds, x elsewhere.",
)
composite(
    "masked_select",
    lambda x, at: take(reshaped(x, x.spec.size), at, dim=0, wrap=False),
    arity=2,
    grad_name="MaskedSelectBackward0",
    doc="(x, positions): the elements of the flattened x there, which a client found by a mask.",
)
composite(
    "masked_scatter",
    _masked_scatter,
    arity=3,
    grad_name="MaskedScatterBackward0",
    doc="(x, mask, source): the values of source one after the other where the mask holds, x elsewhere.",
)
