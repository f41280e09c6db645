"""PyTorch's functions that join, pad and cut out diagonals, composed of the layout primitives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import AttributeTypeError, AxisError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Specs, lookup
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.layout import Ints, expand, flip, normal_dim, permute
from gradmesh_engine.ops.regions import concat, narrowed, pad, strided_slice
from gradmesh_engine.ops.shaping import composite, reshaped, unsqueezed

# --- joining --------------------------------------------------------------------------------------


def _stack(*xs: V, dim: int) -> V:
    for position, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise ShapeError(
                f"stack expects each tensor to be equal size, but got {list(xs[0].shape)} at entry 0 and "
                f"{list(x.shape)} at entry {position}",
                expected=str(list(xs[0].shape)),
                got=str(list(x.shape)),
            )
    dim = normal_dim(dim, xs[0].ndim + 1)
    result: V = concat(*(unsqueezed(x, dim) for x in xs), dim=dim)
    return result


def _at_least(x: V, rank: int) -> V:
    """torch.atleast_1d, _2d and _3d."""
    shape = x.shape
    if rank == 3 and len(shape) == 2:
        return reshaped(x, *shape, 1)
    if rank == 3 and len(shape) == 1:
        return reshaped(x, 1, *shape, 1)
    return reshaped(x, *(1,) * (rank - len(shape)), *shape)


def _along(xs: Sequence[V], rank: int, dim: int) -> V:
    result: V = concat(*(_at_least(x, rank) for x in xs), dim=dim)
    return result


composite(
    "cat",
    lambda *xs, dim: concat(*xs, dim=dim),
    arity=(1, -1),
    attrs={"dim": Attr("int", 0)},
    grad_name="CatBackward0",
    doc="Joins tensors along a dim.",
)
composite(
    "stack",
    _stack,
    arity=(1, -1),
    attrs={"dim": Attr("int", 0)},
    grad_name="StackBackward0",
    doc="Joins tensors of one shape along a new dim.",
)
composite(
    "hstack",
    lambda *xs: _along(xs, 1, 0 if xs[0].ndim <= 1 else 1),
    arity=(1, -1),
    grad_name="CatBackward0",
    doc="Joins tensors side by side: along dim 1, 1-d ones along dim 0.",
)
composite(
    "vstack",
    lambda *xs: _along(xs, 2, 0),
    arity=(1, -1),
    grad_name="CatBackward0",
    doc="Joins tensors on top of each other, along dim 0.",
)
composite(
    "dstack",
    lambda *xs: _along(xs, 3, 2),
    arity=(1, -1),
    grad_name="CatBackward0",
    doc="Joins tensors in depth, along dim 2.",
)

# --- padding --------------------------------------------------------------------------------------


def padding_pairs(padding: Ints, rank: int) -> list[tuple[int, int]]:
    """(before, after) of every dim from PyTorch's order, last dim first. Raises ShapeError."""
    if len(padding) % 2:
        raise ShapeError("Padding length must be divisible by 2", got=str(list(padding)))
    if len(padding) // 2 > rank:
        raise ShapeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(padding)} and input of dimension {rank}",
            got=str(list(padding)),
        )
    pairs = list(zip(padding[::2], padding[1::2], strict=True))[::-1]
    return [(0, 0)] * (rank - len(pairs)) + pairs


def padded(x: V, padding: Ints, value: complex = 0) -> V:
    """F.pad in constant mode; negative padding cuts off."""
    pairs = padding_pairs(padding, x.ndim)
    for size, (before, after) in zip(x.shape, pairs, strict=True):
        if size + before + after < 0:
            raise ShapeError(
                f"The input size {size}, plus negative padding {before} and {after}, resulted in a negative output "
                "size",
                got=str(list(padding)),
            )
    if any(n < 0 for n in padding):
        # What both sides cut off may meet, as in a dim of 3 cut by 5 and filled by 4.
        low = tuple(max(a, 0) for a, _ in pairs)
        high = tuple(max(b, 0) for _, b in pairs)
        grown = pad(x, low=low, high=high, interior=(0,) * x.ndim, value=value)
        starts = tuple(max(-a, 0) for a, _ in pairs)
        stops = tuple(size - max(-b, 0) for size, (_, b) in zip(grown.shape, pairs, strict=True))
        cut: V = strided_slice(grown, starts=starts, stops=stops, steps=(1,) * x.ndim)
        return cut
    result: V = pad(
        x, low=tuple(a for a, _ in pairs), high=tuple(b for _, b in pairs), interior=(0,) * x.ndim, value=value
    )
    return result


def _edges(x: V, dim: int, before: int, after: int, mode: str) -> V:
    """One dim of F.pad in reflect, replicate or circular mode."""
    size = x.shape[dim]
    limit = {"reflect": size - 1, "circular": size, "replicate": max(before, after)}[mode]
    if not (0 <= before <= limit and 0 <= after <= limit) or size == 0:
        raise ShapeError(
            f"Padding size should be less than the corresponding input dimension, but got: padding ({before}, {after}) "
            f"at dimension {dim} of input {list(x.shape)}",
            expected=f"0 to {limit}",
            got=f"{before}, {after}",
        )
    if mode == "reflect":
        head = flip(narrowed(x, dim, 1, 1 + before), dims=(dim,))
        tail = flip(narrowed(x, dim, size - 1 - after, size - 1), dims=(dim,))
    elif mode == "circular":
        head, tail = narrowed(x, dim, size - before, size), narrowed(x, dim, 0, after)
    else:
        head = expand(narrowed(x, dim, 0, 1), shape=(*x.shape[:dim], before, *x.shape[dim + 1 :]))
        tail = expand(narrowed(x, dim, size - 1, size), shape=(*x.shape[:dim], after, *x.shape[dim + 1 :]))
    parts = [part for part, n in ((head, before), (x, 1), (tail, after)) if n]
    return concat(*parts, dim=dim) if len(parts) > 1 else x


def _cut(x: V, dim: int, before: int, after: int) -> V:
    """What negative padding leaves of a dim. Raises ShapeError when that is less than nothing."""
    start, stop = max(-before, 0), x.shape[dim] - max(-after, 0)
    if start > stop:
        raise ShapeError(
            f"padding ({before}, {after}) cuts more off dimension {dim} than its {x.shape[dim]} elements",
            expected=f"at most {x.shape[dim]} in all",
            got=f"{before}, {after}",
        )
    return narrowed(x, dim, start, stop) if stop - start < x.shape[dim] else x


def _pad_mode(x: V, *, pad: Ints, mode: str) -> V:
    if mode not in ("reflect", "replicate", "circular"):
        raise AttributeTypeError(f"unknown padding mode {mode!r}", expected="reflect, replicate or circular", got=mode)
    for dim, (before, after) in enumerate(padding_pairs(pad, x.ndim)):
        more = max(before, 0), max(after, 0)
        if mode == "circular":
            # A period has the elements that are left; the other modes cut after padding.
            x = _cut(x, dim, before, after)
            x = _edges(x, dim, *more, mode) if any(more) else x
        else:
            x = _edges(x, dim, *more, mode) if any(more) else x
            x = _cut(x, dim, before, after)
    return x


def _edges_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    names = {"reflect": "Reflection", "replicate": "Replication"}
    pad: Any = attrs["pad"]
    mode = str(attrs["mode"])
    return f"{names[mode]}Pad{len(pad) // 2}DBackward0" if mode in names else "CopySlices"


_PAD = Attr("ints", doc="before and after the last dim, then the one before it, …")

composite(
    "constant_pad_nd",
    lambda x, pad, value: padded(x, pad, value),
    attrs={"pad": _PAD, "value": Attr("number", 0)},
    grad_name="ConstantPadNdBackward0",
    doc="Surrounds with a constant; negative padding cuts off.",
)
composite(
    "pad_edges",
    _pad_mode,
    attrs={"pad": _PAD, "mode": Attr("str", doc="reflect, replicate or circular")},
    grad_name=_edges_name,
    doc="Surrounds with what is at the edges.",
)

# --- triangles and diagonals ----------------------------------------------------------------------


def _triangle(x: V, diagonal: int, upper: bool) -> V:
    if x.ndim < 2:
        raise ShapeError(
            f"{'triu' if upper else 'tril'}: input tensor must have at least 2 dimensions", got=str(x.spec)
        )
    rows, columns = x.shape[-2:]
    name = dtypes.int64.name
    row = iota.on(x.emitter, shape=(rows, 1), dim=0, start=diagonal, dtype=name)
    column = iota.on(x.emitter, shape=(1, columns), dim=1, dtype=name)
    kept = lookup("le")(row, column) if upper else lookup("ge")(row, column)
    result: V = lookup("keep")(x, kept)
    return result


def _diagonal_span(rows: int, columns: int, offset: int) -> tuple[int, int]:
    """C-order position of the first element of a diagonal, and its length."""
    if offset >= 0:
        return min(offset, columns), max(0, min(rows, columns - offset))
    return min(-offset, rows) * columns, max(0, min(rows + offset, columns))


def diagonal_of(x: V, offset: int = 0, dim1: int = 0, dim2: int = 1) -> V:
    """A diagonal of the matrices in dims dim1 and dim2, as the last dim."""
    a, b = normal_dim(dim1, x.ndim), normal_dim(dim2, x.ndim)
    if a == b or x.ndim < 2:
        raise AxisError(f"diagonal dimensions cannot be identical {dim1}, {dim2}", got=f"{dim1}, {dim2}")
    rest = [d for d in range(x.ndim) if d not in (a, b)]
    rows, columns = x.shape[a], x.shape[b]
    first, count = _diagonal_span(rows, columns, offset)
    flat = reshaped(permute(x, dims=(*rest, a, b)), *(x.shape[d] for d in rest), rows * columns)
    if not count:
        return narrowed(flat, flat.ndim - 1, 0, 0)
    # In C order the next element of a diagonal is one row and one column on.
    step = columns + 1
    return narrowed(flat, flat.ndim - 1, first, first + (count - 1) * step + 1, step)


def _diag_embed(x: V, *, offset: int, dim1: int, dim2: int) -> V:
    if not x.ndim:
        raise ShapeError("diag_embed needs a tensor with at least one dim", got=str(x.spec))
    rank = x.ndim + 1
    a, b = normal_dim(dim1, rank), normal_dim(dim2, rank)
    if a == b:
        raise AxisError(f"diagonal dimensions cannot be identical {dim1}, {dim2}", got=f"{dim1}, {dim2}")
    count = x.shape[-1]
    size = count + abs(offset)
    first, _ = _diagonal_span(size, size, offset)
    lead = (0,) * (x.ndim - 1)
    span = (count - 1) * (size + 1) + 1 if count else 0
    flat = pad(x, low=(*lead, first), high=(*lead, size * size - first - span), interior=(*lead, size))
    square = reshaped(flat, *x.shape[:-1], size, size)
    rest = iter(range(rank - 2))
    order = tuple(rank - 2 if d == a else rank - 1 if d == b else next(rest) for d in range(rank))
    result: V = permute(square, dims=order)
    return result


def _diag(x: V, *, diagonal: int) -> V:
    if x.ndim == 1:
        return _diag_embed(x, offset=diagonal, dim1=0, dim2=1)
    if x.ndim == 2:
        return diagonal_of(x, diagonal)
    raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {x.ndim}D", got=str(x.spec))


def _trace(x: V) -> V:
    if x.ndim != 2:
        raise ShapeError(f"trace: expected a matrix, but got tensor with dim {x.ndim}", got=str(x.spec))
    total: V = lookup("sum")(diagonal_of(x))
    return total


composite(
    "triu",
    lambda x, diagonal: _triangle(x, diagonal, True),
    attrs={"diagonal": Attr("int", 0)},
    grad_name="TriuBackward0",
    doc="The elements on and above a diagonal, 0 elsewhere.",
)
composite(
    "tril",
    lambda x, diagonal: _triangle(x, diagonal, False),
    attrs={"diagonal": Attr("int", 0)},
    grad_name="TrilBackward0",
    doc="The elements on and below a diagonal, 0 elsewhere.",
)
composite(
    "diagonal",
    lambda x, offset, dim1, dim2: diagonal_of(x, offset, dim1, dim2),
    attrs={"offset": Attr("int", 0), "dim1": Attr("int", 0), "dim2": Attr("int", 1)},
    grad_name="DiagonalBackward0",
    doc="A diagonal of the matrices in two dims, as the last dim.",
)
composite(
    "diag_embed",
    _diag_embed,
    attrs={"offset": Attr("int", 0), "dim1": Attr("int", -2), "dim2": Attr("int", -1)},
    grad_name="DiagEmbedBackward0",
    doc="Square matrices in two dims with the last dim on a diagonal.",
)
composite(
    "diag",
    _diag,
    attrs={"diagonal": Attr("int", 0)},
    grad_name=lambda specs, attrs: "DiagEmbedBackward0" if specs[0].ndim == 1 else "DiagonalBackward0_copy",
    doc="The diagonal of a matrix, or the matrix with a diagonal.",
)
composite("trace", _trace, grad_name="TraceBackward0", doc="The sum of the diagonal of a matrix.")
