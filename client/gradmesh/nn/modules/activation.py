"""Activations as modules, element by element or along a dim."""

from __future__ import annotations

from typing import ClassVar, Literal

from gradmesh import _creation, _dtype
from gradmesh._functions import activation as F
from gradmesh._functions import unary
from gradmesh._tensor import Tensor
from gradmesh.nn.init import constant_
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.parameter import Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Inplace(Layer):
    """An activation that can write over its input. Abstract."""

    inplace: bool

    def extra_repr(self) -> str:
        """The shown attributes, and `inplace` where it is set."""
        parts = [super().extra_repr(), "inplace=True" if self.inplace else ""]
        return ", ".join(filter(None, parts))


class ReLU(_Inplace):
    """`F.relu`. Example: `gm.nn.ReLU()(gm.tensor([-1., 1.]))` is `tensor([0., 1.])`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """max(x, 0), any shape."""
        return F.relu(input, self.inplace)


class Hardtanh(_Inplace):
    """`F.hardtanh`. Example: `gm.nn.Hardtanh()(gm.tensor([-2., 1.]))` is `tensor([-1.,  1.])`."""

    shown: ClassVar[tuple[str, ...]] = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if max_val <= min_val:
            raise ValueError(f"max_val must be larger than min_val, but got max_val={max_val} and min_val={min_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Limited to [min_val, max_val], any shape."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """`F.relu6`. Example: `gm.nn.ReLU6()(gm.tensor([7., 1.]))` is `tensor([6., 1.])`."""

    shown = ()

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)


class Threshold(_Inplace):
    """`F.threshold`. Example: `gm.nn.Threshold(0.5, 9.)(gm.tensor([0., 1.]))` is `tensor([9., 1.])`."""

    shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        """`x` where it is above the threshold, else the value; any shape."""
        return F.threshold(input, self.threshold, self.value, self.inplace)


class LeakyReLU(_Inplace):
    """`F.leaky_relu`. Example: `gm.nn.LeakyReLU(0.1)(gm.tensor([-1., 1.]))` is `tensor([-0.1000,  1.0000])`."""

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        """x, or negative_slope * x below 0; any shape."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class ELU(_Inplace):
    """`F.elu`. Example: `gm.nn.ELU()(gm.tensor([-1., 1.]))` is `tensor([-0.6321,  1.0000])`."""

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        """x, or alpha (exp(x) - 1) below 0; any shape."""
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Inplace):
    """`F.celu`. Example: `gm.nn.CELU()(gm.tensor([-1., 1.]))` is `tensor([-0.6321,  1.0000])`."""

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0), any shape."""
        return F.celu(input, self.alpha, self.inplace)


class SELU(_Inplace):
    """`F.selu`. Example: `gm.nn.SELU()(gm.tensor([1.]))` is `tensor([1.0507])`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The self-normalising ELU, any shape."""
        return F.selu(input, self.inplace)


class RReLU(_Inplace):
    """`F.rrelu`. Example: `gm.nn.RReLU(0.5, 0.5)(gm.tensor([-1., 1.]))` is `tensor([-0.5000,  1.0000])`."""

    shown = ("lower", "upper")

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        """x, or x times a slope below 0, drawn from [lower, upper) in training; any shape."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class SiLU(_Inplace):
    """`F.silu`. Example: `gm.nn.SiLU()(gm.tensor([1.]))` is `tensor([0.7311])`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """`x` sigmoid(x), any shape."""
        return F.silu(input, self.inplace)


class Mish(_Inplace):
    """`F.mish`. Example: `gm.nn.Mish()(gm.tensor([1.]))` is `tensor([0.8651])`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """`x` tanh(softplus(x)), any shape."""
        return F.mish(input, self.inplace)


class Hardswish(Layer):
    """`F.hardswish`. Example: `gm.nn.Hardswish()(gm.tensor([3.]))` is `tensor([3.])`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """`x` min(max(x + 3, 0), 6) / 6, any shape."""
        return F.hardswish(input, self.inplace)


class Hardsigmoid(Layer):
    """`F.hardsigmoid`. Example: `gm.nn.Hardsigmoid()(gm.tensor([3.]))` is `tensor([1.])`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """min(max(x + 3, 0), 6) / 6, any shape."""
        return F.hardsigmoid(input, self.inplace)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)). Example: `gm.nn.Sigmoid()(gm.zeros(1))` is `tensor([0.5000])`."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return unary.sigmoid(input)


class Tanh(Layer):
    """Hyperbolic tangent. Example: `gm.nn.Tanh()(gm.zeros(1))` is `tensor([0.])`."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return unary.tanh(input)


class LogSigmoid(Layer):
    """`F.logsigmoid`. Example: `gm.nn.LogSigmoid()(gm.zeros(1))` is `tensor([-0.6931])`."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return F.logsigmoid(input)


class Softsign(Layer):
    """`F.softsign`. Example: `gm.nn.Softsign()(gm.ones(1))` is `tensor([0.5000])`."""

    def forward(self, input: Tensor) -> Tensor:
        """`x` / (1 + |x|), any shape."""
        return F.softsign(input)


class GLU(Layer):
    """`F.glu`. Example: `gm.nn.GLU()(gm.tensor([2., 0.]))` is `tensor([1.])`."""

    shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """The first half along the dim times the sigmoid of the second; any shape."""
        return F.glu(input, self.dim)


class _Shrink(Layer):
    """An activation that is 0 within ±lambd. Abstract."""

    shown = ("=lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd


class Hardshrink(_Shrink):
    """`F.hardshrink`. Example: `gm.nn.Hardshrink()(gm.tensor([0.3, 1.]))` is `tensor([0., 1.])`."""

    def forward(self, input: Tensor) -> Tensor:
        """x, or 0 within ±lambd; any shape."""
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """`F.softshrink`. Example: `gm.nn.Softshrink()(gm.tensor([0.3, 1.]))` is `tensor([0.0000, 0.5000])`."""

    def forward(self, input: Tensor) -> Tensor:
        """X moved towards 0 by lambd; any shape."""
        return F.softshrink(input, self.lambd)


class Tanhshrink(Layer):
    """`F.tanhshrink`. Example: `gm.nn.Tanhshrink()(gm.ones(1))` is `tensor([0.2384])`."""

    def forward(self, input: Tensor) -> Tensor:
        """`x` - tanh(x), any shape."""
        return F.tanhshrink(input)


class GELU(Layer):
    """`F.gelu`. Example: `gm.nn.GELU()(gm.ones(1))` is `tensor([0.8413])`."""

    shown = ("approximate",)

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """`x` times the normal distribution's cumulative probability, any shape."""
        return F.gelu(input, self.approximate)


class Softplus(Layer):
    """`F.softplus`. Example: `gm.nn.Softplus()(gm.zeros(1))` is `tensor([0.6931])`."""

    shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        """log(1 + exp(beta x)) / beta, linear above the threshold; any shape."""
        return F.softplus(input, self.beta, self.threshold)


class PReLU(Layer):
    """`F.prelu` with a weight that is trained: of all channels, or of each (dim 1).

    Example: `gm.nn.PReLU()(gm.tensor([-1.]))` is `tensor([-0.2500], grad_fn=<PreluKernelBackward0>)`.
    """

    shown = ("num_parameters",)

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: object = None, dtype: _dtype.DTypeLike | None = None
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(_creation.full((num_parameters,), float(init), dtype=dtype, device=device))

    def reset_parameters(self) -> None:
        """The slope that was given."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """x, or weight * x below 0; any shape."""
        return F.prelu(input, self.weight)


def _dim(dim: int | None, rank: int) -> int:
    """The dim PyTorch takes where none is given."""
    return dim if dim is not None else 0 if rank in (0, 1, 3) else 1


class Softmax(Layer):
    """`F.softmax` along a dim. Example: `gm.nn.Softmax(0)(gm.zeros(2))` is `tensor([0.5000, 0.5000])`."""

    shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Non-negative and of sum 1 along the dim; any shape."""
        return F.softmax(input, _dim(self.dim, input.ndim))


class LogSoftmax(Layer):
    """`F.log_softmax` along a dim. Example: `gm.nn.LogSoftmax(0)(gm.zeros(2))` is `tensor([-0.6931, -0.6931])`."""

    shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """log(softmax(x)), any shape."""
        return F.log_softmax(input, _dim(self.dim, input.ndim))


class Softmin(Layer):
    """`F.softmin` along a dim. Example: `gm.nn.Softmin(0)(gm.zeros(2))` is `tensor([0.5000, 0.5000])`."""

    shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """softmax(-x), any shape."""
        return F.softmin(input, _dim(self.dim, input.ndim))


class Softmax2d(Layer):
    """`F.softmax` over the channels of (N, C, H, W) or (C, H, W). Raises ValueError for another number of dims.

    Example: `gm.nn.Softmax2d()(gm.zeros(2, 1, 1))` is `tensor([[[0.5000]], [[0.5000]]])`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) of the same shape."""
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
