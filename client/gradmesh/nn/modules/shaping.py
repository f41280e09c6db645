"""Pooling, dropout, padding and reshaping as modules. In shapes, N is the batch, C channels, … any dims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from gradmesh._functions import activation, layers, layout, windows
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer, each

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Flatten",
    "Fold",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Unflatten",
    "Unfold",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Each = int | Sequence[int]

# --- pooling --------------------------------------------------------------------------------------


class _MaxPool(Layer):
    """The largest element of each window. Abstract."""

    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        kernel_size: Each,
        stride: Each | None = None,
        padding: Each = 0,
        dilation: Each = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) with shorter last dims; with the places of the elements if `return_indices`."""
        return type(self).function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class MaxPool1d(_MaxPool):
    """`F.max_pool1d` of (N, C, L). Example: `gm.nn.MaxPool1d(2)(gm.ones(1, 1, 4)).shape` is `torch.Size([1, 1, 2])`."""

    function = staticmethod(windows.max_pool1d)


class MaxPool2d(_MaxPool):
    """`F.max_pool2d` of (N, C, H, W).

    Example: `gm.nn.MaxPool2d(2)(gm.ones(1, 1, 4, 4)).shape` is `torch.Size([1, 1, 2, 2])`.
    """

    function = staticmethod(windows.max_pool2d)


class MaxPool3d(_MaxPool):
    """`F.max_pool3d` of (N, C, D, H, W).

    Example: `gm.nn.MaxPool3d(2)(gm.ones(1, 1, 2, 2, 2)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """

    function = staticmethod(windows.max_pool3d)


class AvgPool1d(Layer):
    """`F.avg_pool1d` of (N, C, L). Example: `gm.nn.AvgPool1d(2)(gm.ones(1, 1, 4)).shape` is `torch.Size([1, 1, 2])`."""

    shown = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: Each,
        stride: Each | None = None,
        padding: Each = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.padding = each(kernel_size, 1), each(padding, 1)
        self.stride = self.kernel_size if stride is None else each(stride, 1)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, L) or (C, L) with a shorter last dim."""
        return windows.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class _AvgPool(Layer):
    """The mean of each window. Abstract."""

    shown = ("kernel_size", "stride", "padding")
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        kernel_size: Each,
        stride: Each | None = None,
        padding: Each = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) with shorter last dims."""
        return type(self).function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool2d(_AvgPool):
    """`F.avg_pool2d` of (N, C, H, W).

    Example: `gm.nn.AvgPool2d(2)(gm.ones(1, 1, 4, 4)).shape` is `torch.Size([1, 1, 2, 2])`.
    """

    function = staticmethod(windows.avg_pool2d)


class AvgPool3d(_AvgPool):
    """`F.avg_pool3d` of (N, C, D, H, W).

    Example: `gm.nn.AvgPool3d(2)(gm.ones(1, 1, 2, 2, 2)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """

    function = staticmethod(windows.avg_pool3d)


class _AdaptivePool(Layer):
    """The means of windows that leave a given size. Abstract."""

    shown = ("output_size",)
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) with last dims of `output_size`."""
        return type(self).function(input, self.output_size)


class AdaptiveAvgPool1d(_AdaptivePool):
    """`F.adaptive_avg_pool1d`.

    Example: `gm.nn.AdaptiveAvgPool1d(2)(gm.ones(1, 1, 6)).shape` is `torch.Size([1, 1, 2])`.
    """

    function = staticmethod(windows.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    """`F.adaptive_avg_pool2d`.

    Example: `gm.nn.AdaptiveAvgPool2d(1)(gm.ones(1, 1, 6, 6)).shape` is `torch.Size([1, 1, 1, 1])`.
    """

    function = staticmethod(windows.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptivePool):
    """`F.adaptive_avg_pool3d`.

    Example: `gm.nn.AdaptiveAvgPool3d(1)(gm.ones(1, 1, 2, 2, 2)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """

    function = staticmethod(windows.adaptive_avg_pool3d)


# --- dropout --------------------------------------------------------------------------------------


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

    rank: ClassVar[int]

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …), or (C, …) where that has fewer dims."""
        if input.ndim == self.rank + 1:
            return activation.feature_dropout(layout.unsqueeze(input, 0), self.p, self.training).squeeze(0)
        return activation.feature_dropout(input, self.p, self.training)


class Dropout1d(_ChannelDropout):
    """Whole channels of (N, C, L). Example: `gm.nn.Dropout1d().eval()(gm.ones(1, 1, 1))` is `tensor([[[1.]]])`."""

    rank = 1


class Dropout2d(_ChannelDropout):
    """Whole channels of (N, C, H, W).

    Example: `gm.nn.Dropout2d().eval()(gm.ones(1, 1, 1, 1))` is `tensor([[[[1.]]]])`.
    """

    rank = 2


class Dropout3d(_ChannelDropout):
    """Whole channels of (N, C, D, H, W).

    Example: `gm.nn.Dropout3d().eval()(gm.ones(1, 1, 1, 1, 1)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """

    rank = 3


# --- padding --------------------------------------------------------------------------------------


class _Pad(Layer):
    """Elements around the last dims. Abstract."""

    rank: ClassVar[int]
    mode: ClassVar[str] = "constant"
    shown: ClassVar[tuple[str, ...]] = ("=padding",)
    value: float = 0.0

    def __init__(self, padding: Each) -> None:
        super().__init__()
        self.padding = each(padding, 2 * self.rank)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) with longer last dims."""
        return layers.pad(input, self.padding, self.mode, self.value if self.mode == "constant" else None)


class _ConstantPad(_Pad):
    """A constant around the last dims. Abstract."""

    shown = ("padding", "value")

    def __init__(self, padding: Each, value: float) -> None:
        super().__init__(padding)
        self.value = value


class ConstantPad1d(_ConstantPad):
    """A constant around (N, C, L). Example: `gm.nn.ConstantPad1d(1, 2.)(gm.ones(1, 1))` is `tensor([[2., 1., 2.]])`."""

    rank = 1


class ConstantPad2d(_ConstantPad):
    """A constant around (N, C, H, W).

    Example: `gm.nn.ConstantPad2d(1, 2.)(gm.ones(1, 2, 2)).shape` is `torch.Size([1, 4, 4])`.
    """

    rank = 2


class ConstantPad3d(_ConstantPad):
    """A constant around (N, C, D, H, W).

    Example: `gm.nn.ConstantPad3d(1, 2.)(gm.ones(1, 2, 2, 2)).shape` is `torch.Size([1, 4, 4, 4])`.
    """

    rank = 3


class ZeroPad1d(_Pad):
    """Zeros around (N, C, L). Example: `gm.nn.ZeroPad1d(1)(gm.ones(1, 1))` is `tensor([[0., 1., 0.]])`."""

    rank = 1


class ZeroPad2d(_Pad):
    """Zeros around (N, C, H, W).

    Example: `gm.nn.ZeroPad2d(1)(gm.ones(1, 2, 2)).shape` is `torch.Size([1, 4, 4])`.
    """

    rank = 2


class ZeroPad3d(_Pad):
    """Zeros around (N, C, D, H, W).

    Example: `gm.nn.ZeroPad3d(1)(gm.ones(1, 2, 2, 2)).shape` is `torch.Size([1, 4, 4, 4])`.
    """

    rank = 3


class ReflectionPad1d(_Pad):
    """(N, C, L) mirrored at its ends.

    Example: `gm.nn.ReflectionPad1d(1)(gm.tensor([[1., 2.]]))` is `tensor([[2., 1., 2., 1.]])`.
    """

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """(N, C, H, W) mirrored at its edges.

    Example: `gm.nn.ReflectionPad2d(1)(gm.ones(1, 2, 2)).shape` is `torch.Size([1, 4, 4])`.
    """

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """(N, C, D, H, W) mirrored at its faces.

    Example: `gm.nn.ReflectionPad3d(1)(gm.ones(1, 2, 2, 2)).shape` is `torch.Size([1, 4, 4, 4])`.
    """

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """(N, C, L) with its ends repeated.

    Example: `gm.nn.ReplicationPad1d(1)(gm.tensor([[1., 2.]]))` is `tensor([[1., 1., 2., 2.]])`.
    """

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """(N, C, H, W) with its edges repeated.

    Example: `gm.nn.ReplicationPad2d(1)(gm.ones(1, 2, 2)).shape` is `torch.Size([1, 4, 4])`.
    """

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """(N, C, D, H, W) with its faces repeated.

    Example: `gm.nn.ReplicationPad3d(1)(gm.ones(1, 2, 2, 2)).shape` is `torch.Size([1, 4, 4, 4])`.
    """

    rank, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """(N, C, L) continued from its other end.

    Example: `gm.nn.CircularPad1d(1)(gm.tensor([[1., 2.]]))` is `tensor([[2., 1., 2., 1.]])`.
    """

    rank, mode = 1, "circular"


class CircularPad2d(_Pad):
    """(N, C, H, W) continued from its other edges.

    Example: `gm.nn.CircularPad2d(1)(gm.ones(1, 2, 2)).shape` is `torch.Size([1, 4, 4])`.
    """

    rank, mode = 2, "circular"


class CircularPad3d(_Pad):
    """(N, C, D, H, W) continued from its other faces.

    Example: `gm.nn.CircularPad3d(1)(gm.ones(1, 2, 2, 2)).shape` is `torch.Size([1, 4, 4, 4])`.
    """

    rank, mode = 3, "circular"


# --- shapes ---------------------------------------------------------------------------------------


class Flatten(Layer):
    """A run of dims as one. Example: `gm.nn.Flatten()(gm.ones(2, 3, 4)).shape` is `torch.Size([2, 12])`."""

    shown = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return layout.flatten(input, self.start_dim, self.end_dim)


class Unflatten(Layer):
    """One dim as several. Example: `gm.nn.Unflatten(1, (2, 3))(gm.ones(4, 6)).shape` is `torch.Size([4, 2, 3])`."""

    shown = ("dim", "unflattened_size")

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return layout.unflatten(input, self.dim, tuple(self.unflattened_size))


class PixelShuffle(Layer):
    """`F.pixel_shuffle`: (…, C r², H, W) is (…, C, H r, W r).

    Example: `gm.nn.PixelShuffle(2)(gm.ones(1, 4, 2, 2)).shape` is `torch.Size([1, 1, 4, 4])`.
    """

    shown = ("upscale_factor",)

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """(…, C r², H, W) is (…, C, H r, W r)."""
        return windows.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(Layer):
    """`F.pixel_unshuffle`: (…, C, H r, W r) is (…, C r², H, W).

    Example: `gm.nn.PixelUnshuffle(2)(gm.ones(1, 1, 4, 4)).shape` is `torch.Size([1, 4, 2, 2])`.
    """

    shown = ("downscale_factor",)

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """(…, C, H r, W r) is (…, C r², H, W)."""
        return windows.pixel_unshuffle(input, self.downscale_factor)


class Unfold(Layer):
    """`F.unfold`: (N, C, H, W) is (N, C K K, L), a column per window.

    Example: `gm.nn.Unfold(2)(gm.ones(1, 1, 3, 3)).shape` is `torch.Size([1, 4, 4])`.
    """

    shown = ("kernel_size", "dilation", "padding", "stride")

    def __init__(self, kernel_size: Each, dilation: Each = 1, padding: Each = 0, stride: Each = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) is (N, C K K, L)."""
        return windows.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Layer):
    """`F.fold`: (N, C K K, L) is (N, C, H, W), windows added up.

    Example: `gm.nn.Fold((3, 3), 2)(gm.ones(1, 4, 4)).shape` is `torch.Size([1, 1, 3, 3])`.
    """

    shown = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(
        self, output_size: Each, kernel_size: Each, dilation: Each = 1, padding: Each = 0, stride: Each = 1
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """(N, C K K, L) is (N, C, H, W)."""
        return windows.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
