"""Functions PyTorch offers beneath its layers: with their statistics, masks and positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gradmesh import _creation
from gradmesh._functions._common import Number, check_rank, ints, many, one
from gradmesh._functions.layers import affine, batch_norm, move_statistics
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "constant_pad_nd",
    "grid_sampler_2d",
    "grid_sampler_3d",
    "max_pool2d_with_indices_backward",
    "native_batch_norm",
    "native_dropout_backward",
    "native_group_norm",
    "native_layer_norm",
]


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Number = 0) -> Tensor:
    """`nn.functional.pad` with a constant: (before, after) of the last dim, then of the one before it, and so on.

    Example: `gm.constant_pad_nd(gm.ones(1), (1, 0))` is `tensor([0., 1.])`.
    """
    return one("constant_pad_nd", input, pad=ints("constant_pad_nd", "pad", pad), value=value)


_SAMPLING: Final = ("bilinear", "nearest", "bicubic")
_PADDING: Final = ("zeros", "border", "reflection")


def _sampled(name: str, input: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    if not (0 <= mode < len(_SAMPLING) and 0 <= padding < len(_PADDING)):
        raise InvalidRequestError(f"{name}: modes are 0 to 2, got {mode} and {padding}", op=name)
    how = {"mode": _SAMPLING[mode], "padding_mode": _PADDING[padding], "align_corners": align_corners}
    return one("grid_sample", input, grid, **how)


def grid_sampler_2d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`nn.functional.grid_sample` of (N, C, H, W): 0, 1, 2 are bilinear, nearest, bicubic; zeros, border, reflection.

    Example: `gm.grid_sampler_2d(gm.ones(1, 1, 2, 2), gm.zeros(1, 1, 1, 2), 0, 0, False)` is `tensor([[[[1.]]]])`.
    """
    check_rank("grid_sampler_2d", input, 4)
    return _sampled("grid_sampler_2d", input, grid, interpolation_mode, padding_mode, align_corners)


def grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`nn.functional.grid_sample` of (N, C, D, H, W): 0, 1 are bilinear, nearest; 0, 1, 2 zeros, border, reflection.

    Example: `gm.grid_sampler_3d(gm.ones(1, 1, 2, 2, 2), gm.zeros(1, 1, 1, 1, 3), 0, 0, False).item()` is `1.0`.
    """
    check_rank("grid_sampler_3d", input, 5)
    return _sampled("grid_sampler_3d", input, grid, interpolation_mode, padding_mode, align_corners)


def max_pool2d_with_indices_backward(
    grad_output: Tensor,
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """The gradient of `nn.functional.max_pool2d`: cotangents added where `indices` say, in zeros like `input`.

    Example: `gm.max_pool2d_with_indices_backward(gm.ones(1, 1, 1), gm.ones(1, 1, 2), (1, 2), 1, 0, 1, False,
    gm.tensor([[[1]]]))` is `tensor([[[0., 1.]]])`.
    """
    return one("max_pool2d_with_indices_backward", grad_output, input, indices)


def native_layer_norm(
    input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(`layer_norm`, mean, 1 / standard deviation); the latter two keep the normalised dims at size 1.

    Example: `gm.native_layer_norm(gm.tensor([1., 3.]), (2,), None, None, 0.)[1]` is `tensor([2.])`.
    """
    shape = ints("native_layer_norm", "normalized_shape", normalized_shape)
    results = many("native_layer_norm", input, *affine(weight, bias), normalized_shape=shape, eps=float(eps))
    return results[0], results[1].detach(), results[2].detach()


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(`group_norm`, mean, 1 / standard deviation); the latter two are (N, group).

    Example: `gm.native_group_norm(gm.tensor([[1., 3.]]), None, None, 1, 2, 1, 1, 0.)[1]` is `tensor([[2.]])`.
    """
    result = many("native_group_norm", input, *affine(weight, bias), num_groups=group, eps=float(eps))
    return result[0], result[1], result[2]


def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(`batch_norm`, mean, 1 / standard deviation) per channel; not in training the latter two are empty.

    Example: `gm.native_batch_norm(gm.tensor([[1.], [3.]]), *[None] * 4, True, 0.1, 0.)[1]` is `tensor([2.])`.
    """
    if not training:
        y = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return y, _creation.empty((0,), dtype=input.dtype), _creation.empty((0,), dtype=input.dtype)
    results = many("native_batch_norm", input, *affine(weight, bias), eps=float(eps))
    if running_mean is not None and running_var is not None:
        move_statistics(input, running_mean, running_var, float(momentum))
    return results[0], results[1].detach(), results[2].detach()


def native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    """`grad_output * mask * scale`, in the dtype of `grad_output`.

    Example: `gm.native_dropout_backward(gm.ones(2), gm.tensor([True, False]), 2.)` is `tensor([2., 0.])`.
    """
    return one("native_dropout_backward", grad_output, mask, scale=float(scale))
