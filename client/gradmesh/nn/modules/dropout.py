"""Dropout as modules. In shapes, N is the batch, C channels, … any dims."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gradmesh._functions import activation
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class _Dropout(Layer):
    """Zeroes at random in training, and scales the rest by 1 / (1 - p). Abstract."""

    shown = ("p", "inplace")

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace


class Dropout(_Dropout):
    """`F.dropout`: single elements. Example: `gm.nn.Dropout(0.5).eval()(gm.ones(2))` is `tensor([1., 1.])`."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return activation.dropout(input, self.p, self.training, self.inplace)


class _ChannelDropout(_Dropout):
    """Whole channels. Abstract."""

    function: ClassVar[Callable[..., Tensor]]

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …), or (C, …) where that has fewer dims."""
        return type(self).function(input, self.p, self.training, self.inplace)


class Dropout1d(_ChannelDropout):
    """Whole channels of (N, C, L). Example: `gm.nn.Dropout1d().eval()(gm.ones(1, 1, 1))` is `tensor([[[1.]]])`."""

    function = staticmethod(activation.dropout1d)


class Dropout2d(_ChannelDropout):
    """Whole channels of (N, C, H, W).

    Example: `gm.nn.Dropout2d().eval()(gm.ones(1, 1, 1, 1))` is `tensor([[[[1.]]]])`.
    """

    function = staticmethod(activation.dropout2d)


class Dropout3d(_ChannelDropout):
    """Whole channels of (N, C, D, H, W).

    Example: `gm.nn.Dropout3d().eval()(gm.ones(1, 1, 1, 1, 1)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """

    function = staticmethod(activation.dropout3d)


class AlphaDropout(_Dropout):
    """`F.alpha_dropout`: single elements, of a network of SELUs.

    Example: `gm.nn.AlphaDropout().eval()(gm.ones(2))` is `tensor([1., 1.])`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return activation.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """`F.feature_alpha_dropout`: whole channels, of a network of SELUs.

    Example: `gm.nn.FeatureAlphaDropout().eval()(gm.ones(1, 1, 1))` is `tensor([[[1.]]])`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …)."""
        return activation.feature_alpha_dropout(input, self.p, self.training)
