"""Attention, alone and in several heads.

In shapes, L is the target's length, S the source's, N the batch, E the width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradmesh import _creation, _dtype
from gradmesh._functions import activation, binary, layers, layout, linalg, reduce, select
from gradmesh._functions._common import lift, one, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query keyᵀ · scale + mask) value: (…, L, E), (…, S, E), (…, S, V) is (…, L, V).

    A bool mask is true where attention may go; a float mask is added. `scale` is 1 / sqrt(E) unless given. With
    `enable_gqa` each head of (N, heads, …) keys and values serves a group of heads of the queries.

    Example: `F.scaled_dot_product_attention(gm.ones(1, 1), gm.ones(1, 1), gm.ones(1, 1))` is `tensor([[1.]])`.
    """
    if is_causal and attn_mask is not None:
        raise InvalidRequestError("give either attn_mask or is_causal, not both", op="scaled_dot_product_attention")
    if enable_gqa:
        key, value = (_shared(query, part) for part in (key, value))
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    operands = (query, key, value) if attn_mask is None else (query, key, value, attn_mask)
    # PyTorch computes in one step what has four dims and no dropout, and otherwise records the parts.
    whole = query.ndim == key.ndim == value.ndim == 4 and query.shape[-1] == value.shape[-1]
    if whole and not dropout_p and (attn_mask is None or not attn_mask.requires_grad):
        return one("scaled_dot_product_attention", *operands, scale=factor, is_causal=is_causal)
    scores = binary.mul(linalg.matmul(query, layout.matrix_transpose(key)), factor)
    if is_causal:
        attn_mask = layout.tril(_creation.ones((query.shape[-2], key.shape[-2]), dtype=_dtype.bool))
    if attn_mask is not None:
        if spec(attn_mask).dtype == dtypes.bool_:
            scores = select.masked_fill(scores, binary.logical_xor(attn_mask, *lift(True)), -math.inf)
        else:
            scores = binary.add(scores, attn_mask)
    weights = activation.softmax(scores, -1)
    if attn_mask is not None and scores.shape[-1]:
        # A query that may look nowhere sees nothing.
        blind = binary.eq(reduce.amax(scores.detach(), -1, keepdim=True), -math.inf)
        weights = select.masked_fill(weights, blind, 0.0)
    return linalg.matmul(activation.dropout(weights, dropout_p), value)


def _shared(query: Tensor, part: Tensor) -> Tensor:
    """Heads of keys or values, each as often as there are heads of the query to a group."""
    heads, groups = query.shape[-3], part.shape[-3]
    if heads % groups:
        raise ShapeError(
            f"the number of heads in key/value ({groups}) must divide that in query ({heads})",
            op="scaled_dot_product_attention",
        )
    return layout.repeat_interleave(part, heads // groups, part.ndim - 3) if heads != groups else part


# --- several heads --------------------------------------------------------------------------------


def _added(mask: Tensor | None, dtype: _dtype.dtype) -> Tensor | None:
    """A mask as what is added to the scores: -inf where a bool one holds."""
    if mask is None or spec(mask).dtype != dtypes.bool_:
        return mask
    return select.masked_fill(_creation.zeros(tuple(mask.shape), dtype=dtype), mask, -math.inf)


def _projected(
    parts: tuple[Tensor, Tensor, Tensor], weights: tuple[Tensor, ...], bias: Tensor | None
) -> tuple[Tensor, ...]:
    biases = (None, None, None) if bias is None else layout.chunk(bias, 3)
    return tuple([layers.linear(x, w, b) for x, w, b in zip(parts, weights, biases, strict=True)])


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention in several heads (Vaswani et al. 2017): (L, N, E), (S, N, E), (S, N, E) is (L, N, E), and the weights.

    The batch dim may be left out. Masks are true where attention may not go, or floats that are added:
    `key_padding_mask` (N, S), `attn_mask` (L, S) or (N * heads, L, S). The weights are (N, L, S), or with heads unless
    `average_attn_weights`, and None unless `need_weights`.

    Raises InvalidRequestError, ShapeError.

    Example: `gm.nn.MultiheadAttention` has the parameters this takes.
    """
    name = "multi_head_attention_forward"
    alone = query.ndim == 2
    if alone:
        query, key, value = (layout.unsqueeze(part, 1) for part in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = layout.unsqueeze(key_padding_mask, 0)
    if is_causal and attn_mask is None:
        raise InvalidRequestError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask.",
            op=name,
        )
    length, batch, width = query.shape
    if width != embed_dim_to_check or width % num_heads:
        raise ShapeError(
            f"was expecting embedding dimension of {embed_dim_to_check}, divisible by {num_heads}, but got {width}",
            op=name,
        )
    size = width // num_heads
    if use_separate_proj_weight:
        weights: tuple[Tensor | None, ...] = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        weights = (None,) * 3 if in_proj_weight is None else layout.chunk(in_proj_weight, 3)
    given = tuple([weight for weight in weights if weight is not None])
    if len(given) != 3:
        raise InvalidRequestError("give in_proj_weight, or a weight each for query, key and value", op=name)
    q, k, v = _projected((query, key, value), given, in_proj_bias)
    padding, mask = _added(key_padding_mask, query.dtype), _added(attn_mask, query.dtype)
    if mask is not None and mask.ndim == 2:
        mask = layout.unsqueeze(mask, 0)

    def one_more(part: Tensor | None) -> Tensor | None:
        return None if part is None else layers.pad(part, (0, 1))

    if bias_k is not None and bias_v is not None:
        k, v = (select.cat([x, layout.tile(b, (1, batch, 1))]) for x, b in ((k, bias_k), (v, bias_v)))
        padding, mask = one_more(padding), one_more(mask)

    def heads(part: Tensor) -> Tensor:
        return layout.transpose(layout.view(part, (part.shape[0], batch * num_heads, size)), 0, 1)

    q, k, v = heads(q), heads(k) if static_k is None else static_k, heads(v) if static_v is None else static_v
    if add_zero_attn:
        nothing = _creation.zeros((batch * num_heads, 1, size), dtype=query.dtype)
        k, v = select.cat([k, nothing], 1), select.cat([v, nothing], 1)
        padding, mask = one_more(padding), one_more(mask)
    source = k.shape[1]
    if padding is not None:
        every = layout.broadcast_to(layout.reshape(padding, (batch, 1, 1, source)), (batch, num_heads, 1, source))
        padding = layout.reshape(every, (batch * num_heads, 1, source))
        mask = padding if mask is None else mask + padding
    scores = linalg.bmm(q * math.sqrt(1.0 / size), layout.transpose(k, -2, -1))
    if mask is not None:
        scores = scores + mask
    attention = activation.dropout(activation.softmax(scores, -1), dropout_p, training)
    mixed = layout.reshape(layout.transpose(linalg.bmm(attention, v), 0, 1), (length * batch, width))
    output = layout.view(layers.linear(mixed, out_proj_weight, out_proj_bias), (length, batch, -1))
    shown = None
    if need_weights:
        shown = layout.view(attention, (batch, num_heads, length, source))
        shown = reduce.mean(shown, 1) if average_attn_weights else shown
        shown = layout.squeeze(shown, 0) if alone else shown
    return layout.squeeze(output, 1) if alone else output, shown
