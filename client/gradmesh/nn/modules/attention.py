"""Attention and the transformer's encoder.

In shapes, L is the target's length, S the source's, N the batch, E the width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

from gradmesh import _creation, _dtype
from gradmesh._functions import activation, binary, layers, layout, linalg, reduce, select, unary
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.modules.container import ModuleList
from gradmesh.nn.modules.dropout import Dropout
from gradmesh.nn.modules.linear import Linear
from gradmesh.nn.modules.module import Module
from gradmesh.nn.modules.norm import LayerNorm
from gradmesh.nn.parameter import Parameter
from gradmesh_engine import dtypes

__all__ = ["MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer"]


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear`, under the name that PyTorch shows for the output projection. Final."""


class MultiheadAttention(Layer):
    """Scaled dot-product attention in several heads (Vaswani et al. 2017).

    Query (L, N, E), key (S, N, kdim) and value (S, N, vdim) give (L, N, E) and the weights (N, L, S); N
    comes first if `batch_first`, and may be left out.

    Example: `gm.nn.MultiheadAttention(4, 2)(gm.ones(3, 1, 4), gm.ones(3, 1, 4), gm.ones(3, 1, 4))[0].shape` is
    `torch.Size([3, 1, 4])`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead"
            )
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        alike = self.kdim == embed_dim and self.vdim == embed_dim

        def weight(*shape: int) -> Parameter:
            return Parameter(_creation.empty(shape, dtype=dtype, device=device))

        self.register_parameter("in_proj_weight", weight(3 * embed_dim, embed_dim) if alike else None)
        for name, width in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if alike else weight(embed_dim, width))
        self.register_parameter("in_proj_bias", weight(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew (`init.xavier_uniform_`); biases 0."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            held = getattr(self, name)
            if held is not None:
                init.xavier_uniform_(held)
        for held in (self.in_proj_bias, self.out_proj.bias):
            if held is not None:
                init.zeros_(held)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values, and the weights if `need_weights`: mean over the heads, or (N, heads, L, S).

        Args:
            query: (L, N, E).
            key: (S, N, kdim).
            value: (S, N, vdim).
            key_padding_mask: (N, S), true where a key does not count, or a float that is added.
            need_weights: whether to return the weights.
            attn_mask: (L, S) or (N * heads, L, S), true where attention may not go, or a float that is added.
            average_attn_weights: whether to return the mean of the heads' weights.
            is_causal: a hint; `attn_mask` must be given with it.

        Raises ValueError for `is_causal` without a mask.
        """
        if is_causal and attn_mask is None:
            raise ValueError("Need attn_mask if specifying the is_causal hint.")
        single = query.ndim == 2
        if single:
            query, key, value = (layout.unsqueeze(part, 0) for part in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = layout.unsqueeze(key_padding_mask, 0)
        elif not self.batch_first:
            query, key, value = (layout.transpose(part, 0, 1) for part in (query, key, value))
        heads = [self._heads(part) for part in self._projected(query, key, value)]
        batch, length, source = query.shape[0], query.shape[1], key.shape[1]
        scores = linalg.matmul(binary.mul(heads[0], 1 / math.sqrt(self.head_dim)), layout.matrix_transpose(heads[1]))
        if attn_mask is not None:
            if attn_mask.ndim == 3:
                attn_mask = layout.reshape(attn_mask, (batch, self.num_heads, length, source))
            scores = _masked(scores, attn_mask)
        if key_padding_mask is not None:
            scores = _masked(scores, layout.reshape(key_padding_mask, (batch, 1, 1, source)))
        weights = activation.dropout(activation.softmax(scores, -1), self.dropout, self.training)
        mixed = layout.transpose(linalg.matmul(weights, heads[2]), 1, 2)
        output = self.out_proj(layout.reshape(mixed, (batch, length, self.embed_dim)))
        shown = None
        if need_weights:
            shown = reduce.mean(weights, 1) if average_attn_weights else weights
            shown = shown.squeeze(0) if single else shown
        if single:
            return output.squeeze(0), shown
        return output if self.batch_first else layout.transpose(output, 0, 1), shown

    def _projected(self, *parts: Tensor) -> list[Tensor]:
        width = self.embed_dim
        if self.in_proj_weight is not None:
            weights = layout.split(self.in_proj_weight, width, 0)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else layout.split(self.in_proj_bias, width, 0)
        return [layers.linear(p, w, b) for p, w, b in zip(parts, weights, biases, strict=True)]

    def _heads(self, part: Tensor) -> Tensor:
        """(N, L, E) as (N, heads, L, E / heads)."""
        split = layout.reshape(part, (part.shape[0], part.shape[1], self.num_heads, self.head_dim))
        return layout.transpose(split, 1, 2)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    if mask.np_dtype == dtypes.bool_:
        return select.masked_fill(scores, mask, -math.inf)
    return binary.add(scores, mask)


class TransformerEncoderLayer(Layer):
    """Self-attention and a network of two layers, each with a residual path and a norm (Vaswani et al. 2017).

    (L, N, d_model) is (L, N, d_model); N comes first if `batch_first`.

    Example: `gm.nn.TransformerEncoderLayer(4, 2, 8)(gm.ones(3, 1, 4)).shape` is `torch.Size([3, 1, 4])`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = _activation(activation) if isinstance(activation, str) else activation

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """(L, N, d_model) is (L, N, d_model); masks as in `MultiheadAttention`."""

        def attended(x: Tensor) -> Tensor:
            found, _ = self.self_attn(
                x, x, x, src_key_padding_mask, need_weights=False, attn_mask=src_mask, is_causal=is_causal
            )
            return self.dropout1(found)  # type: ignore[no-any-return]

        def fed(x: Tensor) -> Tensor:
            return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))  # type: ignore[no-any-return]

        if self.norm_first:
            src = binary.add(src, attended(self.norm1(src)))
            return binary.add(src, fed(self.norm2(src)))
        src = self.norm1(binary.add(src, attended(src)))
        return self.norm2(binary.add(src, fed(src)))  # type: ignore[no-any-return]


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {name}")
    return unary.relu if name == "relu" else activation.gelu


class TransformerEncoder(Layer):
    """Copies of an encoder layer, one after the other.

    Example: `gm.nn.TransformerEncoder(gm.nn.TransformerEncoderLayer(4, 2, 8), 2)(gm.ones(3, 1, 4)).shape` is
    `torch.Size([3, 1, 4])`.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None) -> Tensor:
        """(L, N, d_model) is (L, N, d_model); masks as in `MultiheadAttention`."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask)
        return src if self.norm is None else self.norm(src)
