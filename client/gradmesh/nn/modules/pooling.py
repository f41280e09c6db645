"""Pooling as modules. In shapes, N is the batch, C channels, … any dims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from gradmesh._functions import pooling, windows
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer, each

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

Each = int | Sequence[int]


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


class _MaxUnpool(Layer):
    """Undoes a max pooling: zeros but where the maxima stood. Abstract."""

    shown = ("kernel_size", "stride", "padding")
    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Each, stride: Each | None = None, padding: Each = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = each(kernel_size, self.rank), each(padding, self.rank)
        self.stride = self.kernel_size if stride is None else each(stride, self.rank)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Maxima (N, C, …) or (C, …) and their positions, with longer last dims. Raises ValueError for a wrong size."""
        return type(self).function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """`F.max_unpool1d`.

    Example: `gm.nn.MaxUnpool1d(2)(gm.ones(1, 1), gm.tensor([[1]]))` is `tensor([[0., 1.]])`.
    """

    rank, function = 1, staticmethod(pooling.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """`F.max_unpool2d`.

    Example: `gm.nn.MaxUnpool2d(2)(gm.ones(1, 1, 1), gm.tensor([[[3]]]))` is `tensor([[[0., 0.], [0., 1.]]])`.
    """

    rank, function = 2, staticmethod(pooling.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """`F.max_unpool3d`.

    Example: `gm.nn.MaxUnpool3d(2)(gm.ones(1, 1, 1, 1), gm.tensor([[[[3]]]])).shape` is `torch.Size([1, 2, 2, 2])`.
    """

    rank, function = 3, staticmethod(pooling.max_unpool3d)


class _FractionalMaxPool(Layer):
    """The largest element of each of random windows (Graham 2014). Abstract."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Each,
        output_size: Each | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size, self.return_indices = each(kernel_size, self.rank), return_indices
        if any(size <= 0 for size in self.kernel_size):
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.register_buffer("_random_samples", _random_samples)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        self.output_size = None if output_size is None else each(output_size, self.rank)
        self.output_ratio: tuple[float, ...] | None = None
        if output_ratio is not None:
            ratios = (output_ratio,) * self.rank if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
            if not all(0 < ratio < 1 for ratio in ratios):
                raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")
            self.output_ratio = ratios

    def forward(self, input: Tensor) -> Any:
        """(N, C, …) or (C, …) with shorter last dims; with the places of the elements if `return_indices`."""
        return type(self).function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """`F.fractional_max_pool2d`.

    Example: `gm.nn.FractionalMaxPool2d(2, 3)(gm.ones(1, 6, 6)).shape` is `torch.Size([1, 3, 3])`.
    """

    rank, function = 2, staticmethod(pooling.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """`F.fractional_max_pool3d`.

    Example: `gm.nn.FractionalMaxPool3d(2, 3)(gm.ones(1, 6, 6, 6)).shape` is `torch.Size([1, 3, 3, 3])`.
    """

    rank, function = 3, staticmethod(pooling.fractional_max_pool3d)


class _LPPool(Layer):
    """The p-norm of each window. Abstract."""

    shown = ("norm_type", "kernel_size", "stride", "ceil_mode")
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, norm_type: float, kernel_size: Each, stride: Each | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) with shorter last dims."""
        return type(self).function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """`F.lp_pool1d`. Example: `gm.nn.LPPool1d(2, 2)(gm.tensor([[3., 4.]]))` is `tensor([[5.]])`."""

    function = staticmethod(pooling.lp_pool1d)


class LPPool2d(_LPPool):
    """`F.lp_pool2d`. Example: `gm.nn.LPPool2d(2, 2)(gm.ones(1, 2, 2))` is `tensor([[[2.]]])`."""

    function = staticmethod(pooling.lp_pool2d)


class LPPool3d(_LPPool):
    """`F.lp_pool3d`. Example: `gm.nn.LPPool3d(3, 2)(gm.ones(1, 2, 2, 2))` is `tensor([[[[2.]]]])`."""

    function = staticmethod(pooling.lp_pool3d)


class _AdaptiveMaxPool(Layer):
    """The largest elements of windows that leave a given size. Abstract."""

    shown = ("output_size",)
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, output_size: int | Sequence[int | None], return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) with last dims of `output_size`; with the elements' places if `return_indices`."""
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """`F.adaptive_max_pool1d`.

    Example: `gm.nn.AdaptiveMaxPool1d(2)(gm.ones(1, 1, 6)).shape` is `torch.Size([1, 1, 2])`.
    """

    function = staticmethod(pooling.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """`F.adaptive_max_pool2d`.

    Example: `gm.nn.AdaptiveMaxPool2d(1)(gm.ones(1, 1, 6, 6)).shape` is `torch.Size([1, 1, 1, 1])`.
    """

    function = staticmethod(pooling.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """`F.adaptive_max_pool3d`.

    Example: `gm.nn.AdaptiveMaxPool3d(1)(gm.ones(1, 1, 2, 2, 2)).shape` is `torch.Size([1, 1, 1, 1, 1])`.
    """

    function = staticmethod(pooling.adaptive_max_pool3d)
