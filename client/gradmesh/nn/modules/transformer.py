"""The transformer (Vaswani et al. 2017): encoder, decoder, and both.

In shapes, S is the source's length, T the target's, N the batch, E the width `d_model`; N comes first if `batch_first`,
and may be left out. Masks are those of `MultiheadAttention`: true where attention may not go, or floats that are added.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from gradmesh import _creation, _dtype
from gradmesh._functions import activation as activations
from gradmesh._functions import binary, layout, unary
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.modules.attention import MultiheadAttention
from gradmesh.nn.modules.container import ModuleList
from gradmesh.nn.modules.dropout import Dropout
from gradmesh.nn.modules.linear import Linear
from gradmesh.nn.modules.module import Module
from gradmesh.nn.modules.norm import LayerNorm
from gradmesh_engine.errors import InvalidRequestError, ShapeError

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = str | Callable[[Tensor], Tensor]


class _Block(Layer):
    """Attentions and then a network of two layers, each on a path beside which its input passes. Abstract."""

    def __init__(
        self,
        attentions: Sequence[str],
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        device: object,
        dtype: _dtype.DTypeLike | None,
    ) -> None:
        super().__init__()
        for name in attentions:
            made = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            setattr(self, name, made)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        paths = range(1, len(attentions) + 2)
        for path in paths:
            setattr(self, f"norm{path}", LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype))
        for path in paths:
            setattr(self, f"dropout{path}", Dropout(dropout))
        self.activation = _activation(activation) if isinstance(activation, str) else activation

    def _beside(self, path: int, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """`x` plus what a function makes of it, normalised before or after."""
        norm, dropout = getattr(self, f"norm{path}"), getattr(self, f"dropout{path}")
        if self.norm_first:
            return binary.add(x, dropout(function(norm(x))))
        found: Tensor = norm(binary.add(x, dropout(function(x))))
        return found

    def _fed(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return found


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ("relu", "gelu"):
        raise InvalidRequestError(f"activation should be relu/gelu, not {name}")
    return unary.relu if name == "relu" else activations.gelu


class TransformerEncoderLayer(_Block):
    """Self-attention and a network of two layers: (S, N, E) is (S, N, E).

    Example: `gm.nn.TransformerEncoderLayer(4, 2, 8)(gm.ones(3, 1, 4)).shape` is `torch.Size([3, 1, 4])`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = unary.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            ["self_attn"], d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, device, dtype,
        )  # fmt: skip

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """(S, N, E) is (S, N, E); `is_causal` is a hint, given with a mask. Raises InvalidRequestError, ShapeError."""

        def attended(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]  # type: ignore[no-any-return]

        return self._beside(2, self._beside(1, src, attended), self._fed)


class TransformerDecoderLayer(_Block):
    """Self-attention, attention to the encoder's memory and a network of two layers: (T, N, E) is (T, N, E).

    Example: `gm.nn.TransformerDecoderLayer(4, 2, 8)(gm.ones(3, 1, 4), gm.ones(5, 1, 4)).shape` is
    `torch.Size([3, 1, 4])`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = unary.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            ["self_attn", "multihead_attn"], d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
            batch_first, norm_first, bias, device, dtype,
        )  # fmt: skip

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """(T, N, E) and the memory (S, N, E) are (T, N, E); the hints are given with a mask."""

        def attended(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]  # type: ignore[no-any-return]

        def remembered(x: Tensor) -> Tensor:
            found = self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal
            )
            return found[0]  # type: ignore[no-any-return]

        x = self._beside(2, self._beside(1, tgt, attended), remembered)
        return self._beside(3, x, self._fed)


class _Stack(Layer):
    """Copies of a layer, one after the other, and a norm. Abstract."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def _through(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        for layer in self.layers:
            x = layer(x, *args, **options)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Copies of an encoder layer, one after the other. The two last arguments are hints for PyTorch's fast path.

    Example: `gm.nn.TransformerEncoder(gm.nn.TransformerEncoderLayer(4, 2, 8), 2)(gm.ones(3, 1, 4)).shape` is
    `torch.Size([3, 1, 4])`.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """(S, N, E) is (S, N, E)."""
        return self._through(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=is_causal is True)


class TransformerDecoder(_Stack):
    """Copies of a decoder layer, one after the other.

    Example: `gm.nn.TransformerDecoder(gm.nn.TransformerDecoderLayer(4, 2, 8), 2)(gm.ones(3, 1, 4), gm.ones(5, 1,
    4)).shape` is `torch.Size([3, 1, 4])`.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """(T, N, E) and the memory (S, N, E) are (T, N, E)."""
        return self._through(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal is True,
            memory_is_causal=memory_is_causal,
        )


class Transformer(Layer):
    """An encoder of the source and a decoder of the target: (S, N, E) and (T, N, E) are (T, N, E).

    Example: `gm.nn.Transformer(4, 2, 1, 1, 8)(gm.ones(5, 1, 4), gm.ones(3, 1, 4)).shape` is `torch.Size([3, 1, 4])`.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = unary.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        made: tuple[Any, ...] = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        made += (batch_first, norm_first, bias, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is None:
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*made), num_encoder_layers, norm())
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*made), num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """(S, N, E) and (T, N, E) are (T, N, E). Raises ShapeError when batch or width differ."""
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise ShapeError("the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ShapeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        found: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return found

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: object = None, dtype: _dtype.DTypeLike | None = None
    ) -> Tensor:
        """The mask (sz, sz) that hides what comes later: -inf above the diagonal, else 0."""
        return layout.triu(_creation.full((sz, sz), float("-inf"), dtype=dtype, device=device), 1)
