"""Linear and bilinear maps."""

from __future__ import annotations

import math

from gradmesh import _creation, _dtype
from gradmesh._functions import layers as F
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer, made_bias
from gradmesh.nn.parameter import Parameter

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Layer):
    """Passes its input on, whatever it is made with. Example: `gm.nn.Identity()(gm.ones(1))` is `tensor([1.])`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input itself."""
        return input


class Linear(Layer):
    """`input @ weightᵀ + bias`: (…, in_features) is (…, out_features).

    Weight (out_features, in_features) and bias (out_features,) start evenly drawn from ±1 / sqrt(in_features).

    Example: `gm.nn.Linear(2, 3)(gm.ones(4, 2)).shape` is `torch.Size([4, 3])`.
    """

    shown = ("in_features", "out_features")
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(_creation.empty((out_features, in_features), dtype=dtype, device=device))
        self.register_parameter("bias", made_bias(out_features, bias, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """(…, in_features) is (…, out_features). Raises ShapeError for another last dim."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, and whether there is a bias."""
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class Bilinear(Layer):
    """x₁ᵀ W x₂ + bias: (…, in1_features), (…, in2_features) is (…, out_features).

    Example: `gm.nn.Bilinear(2, 3, 4)(gm.ones(5, 2), gm.ones(5, 3)).shape` is `torch.Size([5, 4])`.
    """

    shown = ("in1_features", "in2_features", "out_features")
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(_creation.empty(shape, dtype=dtype, device=device))
        self.register_parameter("bias", made_bias(out_features, bias, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """(…, in1_features), (…, in2_features) is (…, out_features)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, and whether there is a bias."""
        return f"{super().extra_repr()}, bias={self.bias is not None}"
