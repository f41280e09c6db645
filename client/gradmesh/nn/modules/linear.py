"""Linear maps and tables of vectors."""

from __future__ import annotations

import math

from gradmesh import _creation, _dtype
from gradmesh._functions import layers as F
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer, made_bias
from gradmesh.nn.parameter import Parameter

__all__ = ["Bilinear", "Embedding", "Identity", "Linear"]


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


class Embedding(Layer):
    """Rows of a table that is trained: int64 (…) is (…, embedding_dim).

    The table (num_embeddings, embedding_dim) starts normal, its row `padding_idx` 0 and without gradient.

    Example: `gm.nn.Embedding(10, 3)(gm.tensor([1, 2])).shape` is `torch.Size([2, 3])`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError("Padding_idx must be within num_embeddings")
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = Parameter(_creation.empty((num_embeddings, embedding_dim), dtype=dtype, device=device))
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """An Embedding with a given table (num, width); trained only unless `freeze`."""
        found = cls(embeddings.shape[0], embeddings.shape[1], padding_idx, dtype=embeddings.dtype)
        found.weight = Parameter(embeddings, requires_grad=not freeze)
        return found

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        """int64 (…) is (…, embedding_dim). Raises OutOfRangeError for an index that is no row."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The table's sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
