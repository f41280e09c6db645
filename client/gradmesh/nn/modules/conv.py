"""Convolutions as modules. In shapes, N is the batch, C channels, L, D, H and W lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from gradmesh import _creation, _dtype
from gradmesh._functions import layers, windows
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer, each, made_bias
from gradmesh.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Each = int | Sequence[int]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class _Conv(Layer):
    """What convolutions of any rank share. Abstract.

    Weight and bias start evenly drawn from ±1 / sqrt(in_channels / groups * prod(kernel_size)).
    """

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]
    transposed: ClassVar[bool] = False
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Each,
        stride: Each,
        padding: str | Each,
        dilation: Each,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: object,
        dtype: _dtype.DTypeLike | None,
        output_padding: Each = 0,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = each(kernel_size, self.rank), each(stride, self.rank)
        self.padding = padding if isinstance(padding, str) else each(padding, self.rank)
        self.dilation, self.output_padding = each(dilation, self.rank), each(output_padding, self.rank)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be 'same' or 'valid'")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(f"padding_mode must be zeros, reflect, replicate or circular, but got {padding_mode!r}")
        if self.transposed and padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (ends[0], ends[1] // groups, *self.kernel_size)
        self.weight = Parameter(_creation.empty(shape, dtype=dtype, device=device))
        self.register_parameter("bias", made_bias(out_channels, bias, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        fan = math.prod(self.weight.shape[1:])
        bound = 1 / math.sqrt(fan) if fan else 0.0
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) is (N, out_channels, …) or (out_channels, …). Raises ShapeError."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input = layers.pad(input, self._edges(), mode=self.padding_mode)
            padding = 0
        return type(self).function(
            input, self.weight, self.bias, self.stride, padding, dilation=self.dilation, groups=self.groups
        )

    def _edges(self) -> list[int]:
        """What is put around the input: before and after, of the last dim first."""
        edges: list[int] = []
        for dim in reversed(range(self.rank)):
            if isinstance(self.padding, str):
                total = self.dilation[dim] * (self.kernel_size[dim] - 1) if self.padding == "same" else 0
                edges += [total // 2, total - total // 2]
            else:
                edges += [self.padding[dim], self.padding[dim]]
        return edges

    def extra_repr(self) -> str:
        """Channels, kernel and stride, and what differs from the defaults."""
        parts = [str(self.in_channels), str(self.out_channels)]
        parts += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        if self.padding != (0,) * self.rank:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self.rank:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self.rank:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Forward(_Conv):
    """A convolution. Abstract."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Each,
        stride: Each = 1,
        padding: str | Each = 0,
        dilation: Each = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )


class Conv1d(_Forward):
    """`F.conv1d`: (N, C, L) with weight (out_channels, C / groups, K) is (N, out_channels, L′).

    Example: `gm.nn.Conv1d(2, 4, 3)(gm.ones(1, 2, 5)).shape` is `torch.Size([1, 4, 3])`.
    """

    rank = 1
    function = staticmethod(windows.conv1d)


class Conv2d(_Forward):
    """`F.conv2d`: (N, C, H, W) with weight (out_channels, C / groups, K, K) is (N, out_channels, H′, W′).

    Example: `gm.nn.Conv2d(2, 4, 3)(gm.ones(1, 2, 5, 5)).shape` is `torch.Size([1, 4, 3, 3])`.
    """

    rank = 2
    function = staticmethod(windows.conv2d)


class Conv3d(_Forward):
    """`F.conv3d`: (N, C, D, H, W) is (N, out_channels, D′, H′, W′).

    Example: `gm.nn.Conv3d(2, 4, 3)(gm.ones(1, 2, 5, 5, 5)).shape` is `torch.Size([1, 4, 3, 3, 3])`.
    """

    rank = 3
    function = staticmethod(windows.conv3d)


class _Transposed(_Conv):
    """A transposed convolution. Abstract."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Each,
        stride: Each = 1,
        padding: Each = 0,
        output_padding: Each = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Each = 1,
        padding_mode: PaddingMode = "zeros",
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
            output_padding,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """(N, C, …) is (N, out_channels, …), of one of the lengths that the stride leaves open if `output_size` says.

        Raises ValueError for a size that is none of them, ShapeError.
        """
        padding = self.output_padding
        if output_size is not None:
            padding = self._missing(input, tuple(output_size)[-self.rank :])
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
        )

    def _missing(self, input: Tensor, wanted: tuple[int, ...]) -> tuple[int, ...]:
        assert not isinstance(self.padding, str)
        least = [
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for size, stride, padding, dilation, kernel in zip(
                input.shape[-self.rank :], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        missing = tuple(want - size for want, size in zip(wanted, least, strict=True))
        if any(not 0 <= more < stride for more, stride in zip(missing, self.stride, strict=True)):
            most = [size + stride - 1 for size, stride in zip(least, self.stride, strict=True)]
            raise ValueError(
                f"requested an output size of {list(wanted)}, but valid sizes range from {least} to {most} (for an "
                f"input of {input.shape[2:]})"
            )
        return missing


class ConvTranspose1d(_Transposed):
    """`F.conv_transpose1d`: (N, C, L) with weight (C, out_channels / groups, K) is (N, out_channels, L′).

    Example: `gm.nn.ConvTranspose1d(2, 4, 3)(gm.ones(1, 2, 5)).shape` is `torch.Size([1, 4, 7])`.
    """

    rank = 1
    function = staticmethod(windows.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """`F.conv_transpose2d`: (N, C, H, W) is (N, out_channels, H′, W′).

    Example: `gm.nn.ConvTranspose2d(2, 4, 3)(gm.ones(1, 2, 5, 5)).shape` is `torch.Size([1, 4, 7, 7])`.
    """

    rank = 2
    function = staticmethod(windows.conv_transpose2d)


class ConvTranspose3d(_Transposed):
    """`F.conv_transpose3d`: (N, C, D, H, W) is (N, out_channels, D′, H′, W′).

    Example: `gm.nn.ConvTranspose3d(2, 4, 3)(gm.ones(1, 2, 5, 5, 5)).shape` is `torch.Size([1, 4, 7, 7, 7])`.
    """

    rank = 3
    function = staticmethod(windows.conv_transpose3d)
