"""Attention in several heads. In shapes, L is the target's length, S the source's, N the batch, E the width."""

from __future__ import annotations

from gradmesh import _creation, _dtype
from gradmesh._functions import attention, layout
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.modules.linear import Linear
from gradmesh.nn.parameter import Parameter
from gradmesh_engine import dtypes

__all__ = ["MultiheadAttention"]


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
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
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
        self.bias_k = weight(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = weight(1, 1, embed_dim) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew (`init.xavier_uniform_`); biases 0, but those of keys and values drawn too."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            held = getattr(self, name)
            if held is not None:
                init.xavier_uniform_(held)
        for held in (self.in_proj_bias, self.out_proj.bias):
            if held is not None:
                init.zeros_(held)
        for held in (self.bias_k, self.bias_v):
            if held is not None:
                init.xavier_normal_(held)

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
        turned = self.batch_first and query.ndim == 3
        if turned:
            query, key, value = (layout.transpose(part, 0, 1) for part in (query, key, value))
        output, weights = attention.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=_checked("key_padding_mask", key_padding_mask),
            need_weights=need_weights,
            attn_mask=_checked("attn_mask", attn_mask),
            use_separate_proj_weight=self.in_proj_weight is None,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return layout.transpose(output, 0, 1) if turned else output, weights


def _checked(name: str, mask: Tensor | None) -> Tensor | None:
    if mask is not None and mask.np_dtype != dtypes.bool_ and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return mask
