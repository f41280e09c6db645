"""Functions of sliding windows: convolutions, pooling, patches.

Operands are (N, C, …) or, for one sample, (C, …), with as many dims at the end as the function's name says. Strides,
paddings and the like are one number for all of these dims, or one for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from gradmesh._functions import layout, reduce
from gradmesh._functions._common import ints, many, one
from gradmesh_engine.errors import AttributeTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

Each: TypeAlias = int | Sequence[int]

# --- convolution ----------------------------------------------------------------------------------


def _conv(
    name: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Each,
    padding: str | Each,
    dilation: Each,
    groups: int,
) -> Tensor:
    attrs: dict[str, Any] = {
        "stride": ints(name, "stride", stride),
        "dilation": ints(name, "dilation", dilation),
        "groups": groups,
    }
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise AttributeTypeError(
                f"{name}: padding is 'same', 'valid' or numbers",
                op=name,
                expected="'same' or 'valid'",
                got=repr(padding),
            )
        attrs["padding_mode"] = padding
    else:
        attrs["padding"] = ints(name, "padding", padding)
    return one(name, *((input, weight) if bias is None else (input, weight, bias)), **attrs)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Each = 1,
    padding: str | Each = 0,
    dilation: Each = 1,
    groups: int = 1,
) -> Tensor:
    """(N, C, L) with (O, C / groups, K) and (O,) is (N, O, L').

    Example: `F.conv1d(gm.ones(1, 1, 3), gm.ones(1, 1, 2))` is `tensor([[[2., 2.]]])`.
    """
    return _conv("conv1d", input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Each = 1,
    padding: str | Each = 0,
    dilation: Each = 1,
    groups: int = 1,
) -> Tensor:
    """(N, C, H, W) with (O, C / groups, KH, KW) and (O,) is (N, O, H', W').

    Example: `F.conv2d(gm.ones(1, 1, 2, 2), gm.ones(1, 1, 2, 2))` is `tensor([[[[4.]]]])`.
    """
    return _conv("conv2d", input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Each = 1,
    padding: str | Each = 0,
    dilation: Each = 1,
    groups: int = 1,
) -> Tensor:
    """(N, C, D, H, W) with (O, C / groups, KD, KH, KW) and (O,) is (N, O, D', H', W').

    Example: `F.conv3d(gm.ones(1, 1, 1, 1, 1), gm.ones(1, 1, 1, 1, 1)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """
    return _conv("conv3d", input, weight, bias, stride, padding, dilation, groups)


def _transposed(
    name: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Each,
    padding: Each,
    output_padding: Each,
    groups: int,
    dilation: Each,
) -> Tensor:
    return one(
        name,
        *((input, weight) if bias is None else (input, weight, bias)),
        stride=ints(name, "stride", stride),
        padding=ints(name, "padding", padding),
        output_padding=ints(name, "output_padding", output_padding),
        groups=groups,
        dilation=ints(name, "dilation", dilation),
    )


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Each = 1,
    padding: Each = 0,
    output_padding: Each = 0,
    groups: int = 1,
    dilation: Each = 1,
) -> Tensor:
    """The gradient of `conv1d` with respect to its input, as a layer: weight is (C, O / groups, …).

    Example: `F.conv_transpose1d(gm.ones(1, 1, 2), gm.ones(1, 1, 2))` is `tensor([[[1., 2., 1.]]])`.
    """
    return _transposed("conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Each = 1,
    padding: Each = 0,
    output_padding: Each = 0,
    groups: int = 1,
    dilation: Each = 1,
) -> Tensor:
    """The gradient of `conv2d` with respect to its input, as a layer: weight is (C, O / groups, …).

    Example: `F.conv_transpose2d(gm.ones(1, 1, 1, 1), gm.ones(1, 1, 1, 2))` is `tensor([[[[1., 1.]]]])`.
    """
    return _transposed("conv_transpose2d", input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Each = 1,
    padding: Each = 0,
    output_padding: Each = 0,
    groups: int = 1,
    dilation: Each = 1,
) -> Tensor:
    """The gradient of `conv3d` with respect to its input, as a layer: weight is (C, O / groups, …).

    Example: `F.conv_transpose3d(gm.ones(1, 1, 1, 1, 1), gm.ones(1, 1, 1, 1, 2)).numel()` is `2`.
    """
    return _transposed("conv_transpose3d", input, weight, bias, stride, padding, output_padding, groups, dilation)


# --- pooling --------------------------------------------------------------------------------------


def _max_pool(
    name: str,
    input: Tensor,
    kernel_size: Each,
    stride: Each | None,
    padding: Each,
    dilation: Each,
    ceil_mode: bool,
    return_indices: bool,
) -> Tensor | tuple[Tensor, ...]:
    results = many(
        f"{name}_with_indices" if return_indices else name,
        input,
        kernel_size=ints(name, "kernel_size", kernel_size),
        stride=() if stride is None else ints(name, "stride", stride),
        padding=ints(name, "padding", padding),
        dilation=ints(name, "dilation", dilation),
        ceil_mode=ceil_mode,
    )
    return results if return_indices else results[0]


@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    *,
    return_indices: bool,
) -> Tensor | tuple[Tensor, ...]: ...
def max_pool1d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """Largest element of each window; with `return_indices` also where it stands in its channel, int64, in C order.

    Example: `F.max_pool1d(gm.ones(1, 2), 2)` is `tensor([[1.]])`.
    """
    return _max_pool("max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    *,
    return_indices: bool,
) -> Tensor | tuple[Tensor, ...]: ...
def max_pool2d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """Largest element of each window; with `return_indices` also where it stands in its channel, int64, in C order.

    Example: `F.max_pool2d(gm.ones(1, 2, 2), 2)` is `tensor([[[1.]]])`.
    """
    return _max_pool("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overload
def max_pool3d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool3d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    *,
    return_indices: bool,
) -> Tensor | tuple[Tensor, ...]: ...
def max_pool3d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """Largest element of each window; with `return_indices` also where it stands in its channel, int64, in C order.

    Example: `F.max_pool3d(gm.ones(1, 2, 2, 2), 2)` is `tensor([[[[1.]]]])`.
    """
    return _max_pool("max_pool3d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    name: str,
    input: Tensor,
    kernel_size: Each,
    stride: Each | None,
    padding: Each,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    return one(
        name,
        input,
        kernel_size=ints(name, "kernel_size", kernel_size),
        stride=() if stride is None else ints(name, "stride", stride),
        padding=ints(name, "padding", padding),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window; padding counts as elements unless `count_include_pad` is False.

    Example: `F.avg_pool1d(gm.ones(1, 2), 2)` is `tensor([[1.]])`.
    """
    return _avg_pool("avg_pool1d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window; padding counts as elements unless `count_include_pad` is False.

    Example: `F.avg_pool2d(gm.ones(1, 2, 2), 2)` is `tensor([[[1.]]])`.
    """
    return _avg_pool("avg_pool2d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window; padding counts as elements unless `count_include_pad` is False.

    Example: `F.avg_pool3d(gm.ones(1, 2, 2, 2), 2)` is `tensor([[[[1.]]]])`.
    """
    return _avg_pool("avg_pool3d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def wanted_sizes(rank: int, input: Tensor, output_size: int | Sequence[int | None]) -> tuple[int, ...]:
    """The output size of an adaptive pooling: one number for all dims, or one each, None for the operand's."""
    wanted = (output_size,) * rank if isinstance(output_size, int) else tuple(output_size)
    if len(wanted) != rank:
        what = "'output_size' should contain one int" if rank == 1 else f"output_size must be {rank}"
        raise ShapeError(f"adaptive pooling: {what}", expected=f"{rank} sizes", got=str(list(wanted)))
    if rank > 1 and input.ndim <= rank:
        raise ShapeError(f"Input dimension should be at least {rank + 1}", got=str(list(input.shape)))
    return tuple([have if size is None else size for have, size in zip(input.shape[-rank:], wanted, strict=True)])


def adaptive(rank: int, input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """`adaptive_avg_pool` over the last `rank` dims."""
    sizes = wanted_sizes(rank, input, output_size)
    if rank > 1 and sizes == (1,) * rank:
        return reduce.mean(input, tuple(range(-rank, 0)), keepdim=True)
    return one(f"adaptive_avg_pool{rank}d", input, output_size=sizes)


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Means of windows that tile the last 1 dim into the output size; None keeps a size.

    Example: `F.adaptive_avg_pool1d(gm.ones(1, 4), 2)` is `tensor([[1., 1.]])`.
    """
    return adaptive(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Means of windows that tile the last 2 dims into the output size; None keeps a size.

    Example: `F.adaptive_avg_pool2d(gm.ones(1, 4, 4), 1)` is `tensor([[[1.]]])`.
    """
    return adaptive(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Means of windows that tile the last 3 dims into the output size; None keeps a size.

    Example: `F.adaptive_avg_pool3d(gm.ones(1, 2, 2, 2), 1)` is `tensor([[[[1.]]]])`.
    """
    return adaptive(3, input, output_size)


# --- patches --------------------------------------------------------------------------------------


def unfold(input: Tensor, kernel_size: Each, dilation: Each = 1, padding: Each = 0, stride: Each = 1) -> Tensor:
    """Windows of (N, C, H, W) as columns: (N, C * KH * KW, windows).

    Example: `F.unfold(gm.ones(1, 1, 2, 2), 2).shape` is `torch.Size([1, 4, 1])`.
    """
    return one("im2col", input, **_blocks("unfold", kernel_size, dilation, padding, stride))


def fold(
    input: Tensor, output_size: Each, kernel_size: Each, dilation: Each = 1, padding: Each = 0, stride: Each = 1
) -> Tensor:
    """Columns of `unfold` added up in their places: (N, C, *output_size).

    Example: `F.fold(gm.ones(1, 4, 1), 2, 2).shape` is `torch.Size([1, 1, 2, 2])`.
    """
    blocks = _blocks("fold", kernel_size, dilation, padding, stride)
    return one("col2im", input, output_size=ints("fold", "output_size", output_size), **blocks)


def _blocks(name: str, kernel_size: Each, dilation: Each, padding: Each, stride: Each) -> dict[str, tuple[int, ...]]:
    return {
        "kernel_size": ints(name, "kernel_size", kernel_size),
        "dilation": ints(name, "dilation", dilation),
        "padding": ints(name, "padding", padding),
        "stride": ints(name, "stride", stride),
    }


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C * r², H, W) as (…, C, H * r, W * r).

    Example: `F.pixel_shuffle(gm.ones(1, 4, 1, 1), 2).shape` is `torch.Size([1, 1, 2, 2])`.
    """
    return one("pixel_shuffle", input, upscale_factor=upscale_factor)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H * r, W * r) as (…, C * r², H, W).

    Example: `F.pixel_unshuffle(gm.ones(1, 1, 2, 2), 2).shape` is `torch.Size([1, 4, 1, 1])`.
    """
    return one("pixel_unshuffle", input, downscale_factor=downscale_factor)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor | None = None, pad: int = 0) -> Tensor:
    """`conv1d` of time, batch, channels: (T, N, C) with (K, C, out) and (out,) is (T + 2 pad - K + 1, N, out).

    Example: `F.conv_tbc(gm.ones(3, 1, 1), gm.ones(2, 1, 1), gm.zeros(1)).flatten()` is `tensor([2., 2.])`.
    """
    turned = conv1d(layout.permute(input, (1, 2, 0)), layout.permute(weight, (2, 1, 0)), bias, padding=pad)
    return layout.permute(turned, (2, 0, 1))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, g * k, …) as (N, k * g, …): the channels of g groups interleaved.

    Example: `F.channel_shuffle(gm.ones(1, 4, 1), 2).shape` is `torch.Size([1, 4, 1])`.
    """
    return one("channel_shuffle", input, groups=groups)


native_channel_shuffle = channel_shuffle
