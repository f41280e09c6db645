"""One layer in place of a linear map or a convolution and the batch norm behind it."""

from __future__ import annotations

import copy
from typing import TypeVar

from gradmesh import _creation
from gradmesh._functions import binary, layout, unary
from gradmesh._tensor import Tensor
from gradmesh.nn.modules.conv import _Conv
from gradmesh.nn.modules.linear import Linear
from gradmesh.nn.modules.norm import _BatchNorm
from gradmesh.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

_C = TypeVar("_C", bound=_Conv)


def _statistics(bn: _BatchNorm, *layers: _Conv | Linear) -> tuple[Tensor, Tensor]:
    if bn.training or any(layer.training for layer in layers):
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    return bn.running_mean, bn.running_var


def fuse_conv_bn_eval(conv: _C, bn: _BatchNorm, transpose: bool = False) -> _C:
    """A copy of a convolution that does what it and the batch norm behind it do; both in evaluation.

    Raises AssertionError in training, or without running statistics.

    Example: `gm.nn.utils.fuse_conv_bn_eval(gm.nn.Conv1d(2, 3, 1).eval(), gm.nn.BatchNorm1d(3).eval())`
    """
    mean, variance = _statistics(bn, conv)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, mean, variance, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution with the batch norm behind it.

    Example: `gm.nn.utils.fuse_conv_bn_weights(weight, None, mean, variance, 1e-5, None, None)`
    """
    ends = (1, -1) if transpose else (-1, 1)
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, (*ends, *(1,) * (conv_w.ndim - 2)))


def _fused(
    weight: Tensor, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float, scale: Tensor | None,
    shift: Tensor | None, shape: tuple[int, ...],
) -> tuple[Parameter, Parameter]:  # fmt: skip
    dtype = weight.dtype if bias is None else bias.dtype
    bias = _creation.zeros_like(mean) if bias is None else bias
    factor = unary.rsqrt(binary.add(variance, eps))
    factor = factor if scale is None else binary.mul(scale, factor)
    moved = binary.mul(binary.sub(bias, mean), factor)
    moved = moved if shift is None else binary.add(moved, shift)
    scaled = binary.mul(weight, layout.reshape(factor, shape)).to(weight.dtype)
    return (
        Parameter(scaled.detach(), weight.requires_grad),
        Parameter(moved.to(dtype).detach(), bias.requires_grad),
    )


def fuse_linear_bn_eval(linear: Linear, bn: _BatchNorm) -> Linear:
    """A copy of a linear layer that does what it and the batch norm behind it do; both in evaluation.

    Raises AssertionError in training, without running statistics, or for another number of features.

    Example: `gm.nn.utils.fuse_linear_bn_eval(gm.nn.Linear(2, 3).eval(), gm.nn.BatchNorm1d(3).eval())`
    """
    mean, variance = _statistics(bn, linear)
    if bn.num_features not in (1, linear.out_features):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    assert bn.weight is not None and bn.bias is not None
    fused.weight, fused.bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, mean, variance, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer with the batch norm behind it.

    Example: `gm.nn.utils.fuse_linear_bn_weights(weight, None, mean, variance, 1e-5, scale, shift)`
    """
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, (-1, 1))
