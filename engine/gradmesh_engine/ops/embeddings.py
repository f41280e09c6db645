"""Rows of tables: one per index, or reduced over bags of indices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, ShapeError
from gradmesh_engine.ops.base import Attr
from gradmesh_engine.ops.indexing import check_index, gather, put_add, take
from gradmesh_engine.ops.layout import expand
from gradmesh_engine.ops.pointwise import convert, gt, keep, maximum, ne, where
from gradmesh_engine.ops.reduce import argmax_along, reduce_sum, scan_sum
from gradmesh_engine.ops.regions import narrowed
from gradmesh_engine.ops.scattering import put_along_reduce
from gradmesh_engine.ops.shaping import composite, reshaped
from gradmesh_engine.ops.statistics import widened

# --- one row per index ----------------------------------------------------------------------------


def _padding_row(weight: V, padding_idx: int) -> int:
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        raise ShapeError(
            "Padding_idx must be within num_embeddings", expected=f"{-rows} to {rows - 1}", got=str(padding_idx)
        )
    return padding_idx % rows


def _learns(weight: V, index: V, padding_idx: int | None) -> V | None:
    """A mask of the indices that are no padding, None when there is none."""
    if padding_idx is None:
        return None
    result: V = ne(index, constant(index, _padding_row(weight, padding_idx)))
    return result


def _embedding(weight: V, index: V, *, padding_idx: int | None, scale_grad_by_freq: bool) -> V:
    check_index("embedding", index.spec)
    if weight.ndim != 2:
        raise ShapeError("'weight' must be 2-D", expected="2 dims", got=str(weight.spec))
    if padding_idx is not None:
        _padding_row(weight, padding_idx)
    result: V = take(weight, index, dim=0, wrap=False)
    return result


def _embedding_vjp(
    g: V, y: V, weight: V, index: V, *, padding_idx: int | None, scale_grad_by_freq: bool
) -> Sequence[V | None]:
    rows = weight.shape[0]
    learns = _learns(weight, index, padding_idx)
    if learns is not None:
        g = keep(g, reshaped(learns, *index.shape, 1))
    if scale_grad_by_freq:
        counts = put_add(index, constant(index, 1, index.shape, dtypes.int64), dim=0, size=rows)
        times = convert(take(counts, index, dim=0, wrap=False), dtype=g.dtype.name)
        g = g / reshaped(times, *index.shape, 1)
    return put_add(index, g, dim=0, size=rows), None


_ROWS = {
    "padding_idx": Attr("int", None, "a row that learns nothing"),
    "scale_grad_by_freq": Attr("bool", False, "a row's gradient is divided by how often it is asked for"),
}

embedding = composite(
    "embedding",
    _embedding,
    arity=2,
    attrs=_ROWS,
    grad_name="EmbeddingBackward0",
    vjp=_embedding_vjp,
    doc="(weight, indices): the rows of a table [V, D] that indices of any shape name.",
)

# --- bags -----------------------------------------------------------------------------------------


def _bag_numbers(index: V, offsets: V) -> V:
    """For each index the number of the bag it is in: of the offsets up to its place, less one."""
    count = index.shape[0]
    starts = put_add(offsets, constant(index, 1, offsets.shape, dtypes.int64), dim=0, size=count + 1)
    result: V = scan_sum(narrowed(starts, 0, 0, count), dim=0) - 1
    return result


def _largest(rows: V, counts: V | None, bag: V | None, bags: int) -> V:
    """The largest of each bag; of an empty one 0."""
    if counts is not None:
        rows = where(counts, rows, constant(rows, -math.inf))
    if bag is None:
        if not rows.shape[1]:
            return constant(rows, 0, (bags, rows.shape[2]))
        first = argmax_along(rows, dim=1)
        first = reshaped(first, bags, 1, rows.shape[2])
        best = reshaped(gather(rows, first, dim=1), bags, rows.shape[2])
    else:
        best = put_along_reduce(expand(reshaped(bag, -1, 1), shape=rows.shape), rows, dim=0, size=bags, kind="max")
    return keep(best, gt(best, constant(best, -math.inf)))


def _embedding_bag(
    weight: V,
    index: V,
    *rest: V,
    mode: str,
    has_weights: bool,
    include_last_offset: bool,
    padding_idx: int | None,
    scale_grad_by_freq: bool,
) -> V:
    if mode not in ("sum", "mean", "max"):
        raise AttributeTypeError("mode has to be one of sum, mean or max", expected="sum, mean or max", got=mode)
    scales = rest[-1] if has_weights and rest else None
    offsets = rest[0] if len(rest) - (scales is not None) else None
    if (index.ndim != 2) if offsets is None else (index.ndim != 1 or offsets.ndim != 1):
        raise ShapeError(
            f"input has to be 2D, or 1D with 1D offsets, but got {list(index.shape)}"
            + ("" if offsets is None else f" and {list(offsets.shape)}"),
            expected="(N, L), or (L) and (N)",
            got=str(list(index.shape)),
        )
    if scales is not None and (mode != "sum" or scales.shape != index.shape):
        raise ShapeError(
            "per_sample_weights need mode 'sum' and the shape of the input, but got "
            f"{mode} and {list(scales.shape)} for {list(index.shape)}",
            expected=str(list(index.shape)),
            got=str(list(scales.shape)),
        )
    attrs = {"padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq}
    rows = widened(embedding(weight, index, **attrs))
    learns = _learns(weight, index, padding_idx)
    counted = None if learns is None else reshaped(learns, *index.shape, 1)
    bags = index.shape[0] if offsets is None else offsets.shape[0] - include_last_offset
    bag = None if offsets is None else _bag_numbers(index, offsets)

    def total(v: V) -> V:
        result: V = reduce_sum(v, dims=(1,)) if bag is None else put_add(bag, v, dim=0, size=bags)
        return result

    if mode == "max":
        y = _largest(rows, counted, bag, bags)
    else:
        if scales is not None:
            rows = rows * convert(reshaped(scales, *index.shape, 1), dtype=rows.dtype.name)
        y = total(rows if counted is None else keep(rows, counted))
    if mode == "mean":
        each = constant(index, 1, index.shape, dtypes.int64) if learns is None else convert(learns, dtype="int64")
        sizes = total(each)
        y = y / reshaped(convert(maximum(sizes, constant(sizes, 1)), dtype=y.dtype.name), bags, 1)
    result: V = convert(y, dtype=weight.dtype.name)
    return result


composite(
    "embedding_bag",
    _embedding_bag,
    arity=(2, 4),
    attrs={
        **_ROWS,
        "mode": Attr("str", "mean", "sum, mean or max"),
        "has_weights": Attr("bool", False, "the last operand is a weight per index"),
        "include_last_offset": Attr("bool", False, "the last offset is the end of the last bag"),
    },
    grad_name="EmbeddingBagBackward0",
    doc="(weight, indices [N, L], or [L] and the starts of the bags [N]): the rows named, reduced over each bag.",
)
