"""Attention over keys and values."""

from __future__ import annotations

import math

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.ops.base import Attr, lookup
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.layout import permute
from gradmesh_engine.ops.pointwise import convert, eq, keep, le, logical_not, where
from gradmesh_engine.ops.reduce import kept_shape, reduce_max
from gradmesh_engine.ops.shaping import composite, reshaped


def _attention(q: V, k: V, v: V, mask: V | None = None, *, scale: float, is_causal: bool) -> V:
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            "scaled_dot_product_attention takes query [..., L, E], key [..., S, E] and value [..., S, V], but got "
            f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}",
            expected="[..., L, E], [..., S, E], [..., S, V]",
            got=f"{list(q.shape)}, {list(k.shape)}, {list(v.shape)}",
        )
    if not dtypes.is_floating(q.dtype) or q.dtype != k.dtype or q.dtype != v.dtype:
        raise DTypeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{q.dtype.name} key.dtype: {k.dtype.name} and value.dtype: {v.dtype.name} instead.",
            expected="one floating dtype",
        )
    matmul = lookup("matmul")
    turned = permute(k, dims=(*range(k.ndim - 2), k.ndim - 1, k.ndim - 2))
    scores = matmul(q, turned) * scale
    never = constant(scores, -math.inf)
    if is_causal:
        rows, columns = scores.shape[-2:]
        row = iota.on(q.emitter, shape=(rows, 1), dim=0, start=0, step=1, dtype="int64")
        column = iota.on(q.emitter, shape=(1, columns), dim=1, start=0, step=1, dtype="int64")
        scores = where(le(column, row), scores, never)
    if mask is not None:
        is_bool = mask.dtype == dtypes.bool_
        scores = where(mask, scores, never) if is_bool else scores + convert(mask, dtype=scores.dtype.name)
    weights = lookup("softmax")(scores, dim=-1)
    if mask is not None and scores.shape[-1]:
        # A query that may look nowhere sees nothing, where softmax would divide 0 by 0.
        last = (scores.ndim - 1,)
        best = reshaped(reduce_max(scores, dims=last), *kept_shape(scores.shape, last))
        weights = keep(weights, logical_not(eq(best, never)))
    result: V = matmul(weights, v)
    return result


composite(
    "scaled_dot_product_attention",
    _attention,
    arity=(3, 4),
    attrs={"scale": Attr("float"), "is_causal": Attr("bool", False, "a query sees no keys behind its own place")},
    grad_name="ScaledDotProductFlashAttentionForCpuBackward0",
    doc="(query, key, value, mask): softmax(query keyᵀ scale + mask) value; a bool mask says where to look.",
)
