"""Activation functions, softmaxes and dropout. The result has the operand's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmesh import _creation, _dtype, _limits
from gradmesh._functions import binary, layout, unary
from gradmesh._functions._common import in_place, maybe_cast, one
from gradmesh._functions.sample import exponential_, key
from gradmesh._functions.unary import sigmoid, tanh
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "alpha_dropout",
    "celu",
    "celu_",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "feature_alpha_dropout",
    "feature_dropout",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]


def _finish(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    return in_place(input, result) if inplace and result is not input else result


# --- rectifiers -----------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0). Example: `F.relu(gm.tensor([-1., 2.]))` is `tensor([0., 2.])`."""
    return _finish(input, unary.relu(input), inplace)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place. Example: `F.relu_(gm.tensor([-1., 2.]))` is `tensor([0., 2.])`."""
    return relu(input, inplace=True)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x, or negative_slope * x where x < 0. Example: `F.leaky_relu(gm.tensor([-1.]))` is `tensor([-0.0100])`."""
    return _finish(input, one("leaky_relu", input, negative_slope=float(negative_slope)), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with a learned slope: one, or one per channel (dim 1).

    Example: `F.prelu(gm.tensor([-1.]), gm.ones(1))` is `tensor([-1.])`.
    """
    if weight.ndim > 1:
        raise ShapeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}", op="prelu"
        )
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if not input.ndim:
            raise ShapeError("Not allow zero-dim input tensor.", op="prelu")
        if channels != weight.numel():
            raise ShapeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} and "
                f"channel size = {channels}.",
                op="prelu",
            )
    if weight.numel() > 1 and input.ndim > 1:
        weight = weight.reshape((-1, *(1,) * (input.ndim - 2)))
    elif weight.ndim > input.ndim:
        weight = weight.reshape(())
    return one("prelu", input, weight)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha * (exp(x) - 1) where x < 0. Example: `F.elu(gm.tensor([-1.]))` is `tensor([-0.6321])`."""
    return _finish(input, one("elu", input, alpha=float(alpha)), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)). Example: `F.celu(gm.tensor([-1.]))` is `tensor([-0.6321])`."""
    return _finish(input, one("celu", input, alpha=float(alpha)), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` scaled to keep mean and variance. Example: `F.selu(gm.ones(1))` is `tensor([1.0507])`."""
    return _finish(input, one("selu", input), inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """`x` limited to [min_val, max_val]. Example: `F.hardtanh(gm.tensor([3.]))` is `tensor([1.])`."""
    if min_val > max_val:
        raise InvalidRequestError(
            f"min_val cannot be greater than max_val, got {min_val} and {max_val}", op="hardtanh", got=str(min_val)
        )
    return _finish(input, one("hardtanh", input, min_val=float(min_val), max_val=float(max_val)), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """`x` limited to [0, 6]. Example: `F.relu6(gm.tensor([9.]))` is `tensor([6.])`."""
    return hardtanh(input, 0.0, 6.0, inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`x` where x > threshold, else value. Example: `F.threshold(gm.ones(1), 2., 5.)` is `tensor([5.])`."""
    result = one("threshold", input, threshold=float(threshold), value=float(value))
    return _finish(input, result, inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`x` where |x| > lambd, else 0. Example: `F.hardshrink(gm.tensor([0.2, 3.]))` is `tensor([0., 3.])`."""
    return one("hardshrink", input, lambd=float(lambd))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """`x` moved towards 0 by lambd, not past it. Example: `F.softshrink(gm.tensor([3.]))` is `tensor([2.5000])`."""
    if lambd < 0:
        raise InvalidRequestError(
            f"lambda must be in range [0, {_limits.finfo(input.dtype).max}] for input dtype {input.dtype}, but found "
            f"{lambd}",
            op="softshrink",
            got=str(lambd),
        )
    return one("softshrink", input, lambd=float(lambd))


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`x`, or x times a slope where x < 0: drawn from [lower, upper) per element in training, else their mean.

    Example: `F.rrelu(gm.tensor([-1.]), 0.5, 0.5)` is `tensor([-0.5000])`.
    """
    result = one("rrelu", input, key(), lower=float(lower), upper=float(upper), training=training)
    return _finish(input, result, inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along a dim times the sigmoid of the second. Example: `F.glu(gm.zeros(2))` is `tensor([0.])`."""
    return one("glu", input, dim=dim)


# --- smooth ones ----------------------------------------------------------------------------------


def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """`x` times the normal distribution function of x, exact or by tanh.

    Example: `F.gelu(gm.ones(1))` is `tensor([0.8413])`.
    """
    if approximate not in ("none", "tanh"):
        raise AttributeTypeError(
            "approximate argument must be either none or tanh.",
            op="gelu",
            expected="'none' or 'tanh'",
            got=repr(approximate),
        )
    return one("gelu", input, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """`x * sigmoid(x)`. Example: `F.silu(gm.ones(1))` is `tensor([0.7311])`."""
    return _finish(input, one("silu", input), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """`x * tanh(softplus(x))`. Example: `F.mish(gm.ones(1))` is `tensor([0.8651])`."""
    return _finish(input, one("mish", input), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x where beta * x > threshold.

    Example: `F.softplus(gm.zeros(1))` is `tensor([0.6931])`.
    """
    return one("softplus", input, beta=float(beta), threshold=float(threshold))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)) without overflow. Example: `F.logsigmoid(gm.zeros(1))` is `tensor([-0.6931])`."""
    return one("logsigmoid", input)


def softsign(input: Tensor) -> Tensor:
    """`x / (1 + |x|)`. Example: `F.softsign(gm.ones(1))` is `tensor([0.5000])`."""
    return binary.div(input, binary.add(unary.abs(input), 1))


def tanhshrink(input: Tensor) -> Tensor:
    """`x - tanh(x)`. Example: `F.tanhshrink(gm.zeros(1))` is `tensor([0.])`."""
    return binary.sub(input, tanh(input))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """clamp(x + 3, 0, 6) / 6. Example: `F.hardsigmoid(gm.zeros(1))` is `tensor([0.5000])`."""
    return _finish(input, one("hardsigmoid", input), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """`x * clamp(x + 3, 0, 6) / 6`. Example: `F.hardswish(gm.ones(1))` is `tensor([0.6667])`."""
    return _finish(input, one("hardswish", input), inplace)


# --- softmaxes ------------------------------------------------------------------------------------


def softmax(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None) -> Tensor:
    """exp(x) over its sum along a dim. Example: `F.softmax(gm.zeros(2), 0)` is `tensor([0.5000, 0.5000])`."""
    return one("softmax", maybe_cast(input, dtype), dim=dim)


def log_softmax(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None) -> Tensor:
    """Log of `softmax`, without overflow. Example: `F.log_softmax(gm.zeros(2), 0)` is `tensor([-0.6931, -0.6931])`."""
    return one("log_softmax", maybe_cast(input, dtype), dim=dim)


def softmin(input: Tensor, dim: int, *, dtype: _dtype.DTypeLike | None = None) -> Tensor:
    """`softmax` of -x. Example: `F.softmin(gm.zeros(2), 0)` is `tensor([0.5000, 0.5000])`."""
    return softmax(unary.neg(input), dim, dtype=dtype)


# --- dropout --------------------------------------------------------------------------------------


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability p and scale the rest by 1 / (1 - p); the operand itself when not training.

    Which elements depends on `manual_seed` and on how many random functions came before, never on
    how the work is divided. Raises InvalidRequestError unless 0 <= p <= 1.

    Example: `F.dropout(gm.ones(3), 0.5, training=False)` is `tensor([1., 1., 1.])`.
    """
    if not 0.0 <= p <= 1.0:
        raise InvalidRequestError(
            f"dropout probability has to be between 0 and 1, but got {p}", op="dropout", expected="0 to 1", got=str(p)
        )
    if not training or p == 0.0:
        return input
    return _finish(input, one("dropout", input, key(), p=float(p)), inplace)


def _check_probability(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise InvalidRequestError(
            f"dropout probability has to be between 0 and 1, but got {p}", op="dropout", expected="0 to 1", got=str(p)
        )


def feature_dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """`dropout` of whole channels: dims 0 and 1 have one fate each (N, C, …).

    Example: `gm.feature_dropout(gm.ones(1, 2, 3), 0.5, training=False).shape` is `torch.Size([1, 2, 3])`.
    """
    _check_probability(p)
    if not training or p == 0.0:
        return input
    return one("feature_dropout", input, key(), p=float(p))


def _channels(rank: int, input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    """`feature_dropout` of (N, C, …) or, with one dim less, of one sample."""
    alone = input.ndim == rank + 1
    result = feature_dropout(layout.unsqueeze(input, 0) if alone else input, p, training)
    result = layout.squeeze(result, 0) if alone else result
    return _finish(input, result, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L).

    Example: `F.dropout1d(gm.ones(1, 2), 0.5, training=False)` is `tensor([[1., 1.]])`.
    """
    if input.ndim not in (2, 3):
        raise ShapeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs).",
            op="dropout1d",
            got=f"{input.ndim}D",
            expected="2D or 3D",
        )
    return _channels(1, input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W); three dims are (N, C, L), as in PyTorch.

    Example: `F.dropout2d(gm.ones(1, 1, 2), 0.5, training=False)` is `tensor([[[1., 1.]]])`.
    """
    return _finish(input, feature_dropout(input, p, training), inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W).

    Example: `F.dropout3d(gm.ones(1, 1, 1, 2), 0.5, training=False)` is `tensor([[[[1., 1.]]]])`.
    """
    return _channels(3, input, p, training, inplace)


def _alpha(input: Tensor, p: float, training: bool, features: bool, inplace: bool) -> Tensor:
    _check_probability(p)
    if not training or p == 0.0 or not input.numel():
        return input
    return _finish(input, one("alpha_dropout", input, key(), p=float(p), features=features), inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`dropout` for `selu`: mean and variance persist.

    Example: `F.alpha_dropout(gm.ones(2), 0.5)` is `tensor([1., 1.])`.
    """
    return _alpha(input, p, training, False, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels: (N, C, …).

    Example: `F.feature_alpha_dropout(gm.ones(1, 2), 0.5)` is `tensor([[1., 1.]])`.
    """
    return _alpha(input, p, training, True, inplace)


# --- in place -------------------------------------------------------------------------------------


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place. Example: `F.leaky_relu_(gm.tensor([-1., 2.]))` is `tensor([-0.0100,  2.0000])`."""
    return leaky_relu(input, negative_slope, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place. Example: `F.elu_(gm.tensor([-1., 2.]))` is `tensor([-0.6321,  2.0000])`."""
    return elu(input, alpha, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place. Example: `F.celu_(gm.tensor([-1., 2.]))` is `tensor([-0.6321,  2.0000])`."""
    return celu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place. Example: `F.selu_(gm.ones(1))` is `tensor([1.0507])`."""
    return selu(input, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place. Example: `F.hardtanh_(gm.tensor([3.]))` is `tensor([1.])`."""
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place. Example: `F.threshold_(gm.ones(1), 2., 5.)` is `tensor([5.])`."""
    return _finish(input, one("threshold", input, threshold=float(threshold), value=float(value)), True)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place. Example: `F.rrelu_(gm.tensor([-1.]), 0.5, 0.5)` is `tensor([-0.5000])`."""
    return rrelu(input, lower, upper, training, inplace=True)


# --- choices --------------------------------------------------------------------------------------


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Softmax of the logits with Gumbel noise, over `tau`: near a choice of one, with the logits' probabilities.

    `hard` gives the choice itself, 1 there and 0 elsewhere, with the softmax's gradient (Jang, Gu and Poole 2016).
    `eps` has no effect.

    Example: `F.gumbel_softmax(gm.zeros(2, 3), hard=True).sum(-1)` is `tensor([1., 1.])`.
    """
    noise = unary.neg(unary.log(exponential_(_creation.empty_like(logits.detach()))))
    soft = softmax(binary.div(binary.add(logits, noise), tau), dim)
    if not hard:
        return soft
    chosen = one("argmax", soft.detach(), dim=dim, keepdim=True)
    place = binary.eq(chosen, _along(soft, dim))
    return binary.add(binary.sub(place.to(soft.dtype), soft.detach()), soft)


def _along(tensor: Tensor, dim: int) -> Tensor:
    """The positions along a dim, of a shape that broadcasts with the tensor."""
    shape = [1] * tensor.ndim
    shape[dim] = tensor.shape[dim]
    return layout.reshape(_creation.arange(tensor.shape[dim]), tuple(shape))
