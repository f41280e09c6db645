"""Filling parameters in place: each function writes into a tensor, outside the recorded graph, and returns it."""

from __future__ import annotations

import math
import warnings
from typing import Final

import numpy as np

from gradmesh import _creation, _dtype, _trace
from gradmesh._functions import binary, factor, layout, order, special, unary
from gradmesh._modes import no_grad
from gradmesh._random import Generator
from gradmesh._tensor import Tensor
from gradmesh_engine.errors import InvalidRequestError, ShapeError

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS: Final = {
    "linear": 1, "conv1d": 1, "conv2d": 1, "conv3d": 1, "conv_transpose1d": 1, "conv_transpose2d": 1,
    "conv_transpose3d": 1, "sigmoid": 1, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's input should be scaled up to keep its variance; `param` is a leaky slope.

    Example: `gm.nn.init.calculate_gain("relu")` is `1.4142135623730951`. Raises ValueError for an unknown name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Drawn evenly from [a, b). Example: `gm.nn.init.uniform_(gm.empty(3))`."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Drawn from a normal distribution. Example: `gm.nn.init.normal_(gm.empty(3), std=0.02)`."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All of one value. Example: `gm.nn.init.constant_(gm.empty(2), 0.3)` is `tensor([0.3000, 0.3000])`."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """All 1. Example: `gm.nn.init.ones_(gm.empty(2))` is `tensor([1., 1.])`."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """All 0. Example: `gm.nn.init.zeros_(gm.empty(2))` is `tensor([0., 0.])`."""
    return constant_(tensor, 0.0)


def _write(tensor: Tensor, array: np.ndarray) -> Tensor:
    with no_grad():
        return tensor.copy_(_trace.constant(array))


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix. Raises ValueError unless the tensor has two dims.

    Example: `gm.nn.init.eye_(gm.empty(2, 2))` is `tensor([[1., 0.], [0., 1.]])`.
    """
    if tensor.ndim != 2:
        raise ShapeError("Only tensors with 2 dimensions are supported", expected="2 dims", got=f"{tensor.ndim} dims")
    return _write(tensor, np.eye(*tensor.shape, dtype=tensor.np_dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight (out, in / groups, …) that passes its input on. Raises ValueError for other shapes.

    Example: `gm.nn.init.dirac_(gm.empty(1, 1, 3))` is `tensor([[[0., 1., 0.]]])`.
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise ShapeError("Only tensors with 3, 4, or 5 dimensions are supported", got=f"{len(shape)} dims")
    if shape[0] % groups:
        raise InvalidRequestError("dim 0 must be divisible by groups", got=f"{shape[0]} and {groups}")
    array = np.zeros(shape, tensor.np_dtype)
    middle = tuple(size // 2 for size in shape[2:])
    of_group = shape[0] // groups
    for group in range(groups):
        for channel in range(min(of_group, shape[1])):
            array[(group * of_group + channel, channel, *middle)] = 1
    return _write(tensor, array)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output has, and how many outputs each input."""
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ShapeError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions",
            expected="2 dims or more",
            got=f"{len(shape)} dims",
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Evenly from ±gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010). Raises ValueError below two dims.

    Example: `gm.nn.init.xavier_uniform_(gm.empty(3, 5))`.
    """
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal, of std gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010). Raises ValueError below two dims.

    Example: `gm.nn.init.xavier_normal_(gm.empty(3, 5))`.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise InvalidRequestError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']", got=mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Evenly from ±gain sqrt(3 / fan) (He et al. 2015), `a` being the slope of a leaky ReLU.

    Example: `gm.nn.init.kaiming_uniform_(gm.empty(3, 5))`. Raises ValueError below two dims.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal, of std gain / sqrt(fan) (He et al. 2015), `a` being the slope of a leaky ReLU.

    Example: `gm.nn.init.kaiming_normal_(gm.empty(3, 5))`. Raises ValueError below two dims.
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, times gain (Saxe et al. 2013); dims behind the first are one.

    Example: `gm.nn.init.orthogonal_(gm.empty(3, 5))`. Raises ValueError below two dims.
    """
    if tensor.ndim < 2:
        raise ShapeError("Only tensors with 2 or more dimensions are supported", got=f"{tensor.ndim} dims")
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with no_grad():
        drawn = normal_(
            _creation.empty((max(rows, columns), min(rows, columns)), dtype=tensor.dtype), generator=generator
        )
        q, r = factor.linalg_qr(drawn)
        # Signs that make the diagonal positive make the draw uniform over all orthogonal matrices.
        q = binary.mul(q, unary.sign(layout.diagonal(r)))
        q = layout.t(q) if rows < columns else q
        return tensor.copy_(binary.mul(layout.reshape(q, tuple(tensor.shape)), gain))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Drawn from a normal distribution within [a, b], by the inverse of its distribution function.

    Example: `gm.nn.init.trunc_normal_(gm.empty(3, 5))`. Warns when the mean is far outside.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )

    def below(x: float) -> float:
        return math.erf((x - mean) / (std * math.sqrt(2.0)))

    with no_grad():
        wide = uniform_(_creation.empty(tuple(tensor.shape), dtype=_dtype.float64), below(a), below(b), generator)
        drawn = binary.add(binary.mul(special.erfinv(wide), std * math.sqrt(2.0)), mean)
        return tensor.copy_(binary.clamp(drawn, a, b))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, but a share `sparsity` of each column, rounded up, 0 (Martens 2010). Raises ValueError unless 2-d.

    Example: `gm.nn.init.sparse_(gm.empty(3, 5), sparsity=0.5)`
    """
    if tensor.ndim != 2:
        raise ShapeError("Only tensors with 2 dimensions are supported", expected="2 dims", got=f"{tensor.ndim} dims")
    zeros = math.ceil(sparsity * tensor.shape[0])
    with no_grad():
        normal_(tensor, 0, std, generator)
        # The places of random numbers in their order are a random order of the rows, in each column.
        places = uniform_(_creation.empty(tuple(tensor.shape)), generator=generator)
        ranks = order.argsort(order.argsort(places, 0), 0)
        return tensor.masked_fill_(binary.lt(ranks, zeros), 0)
