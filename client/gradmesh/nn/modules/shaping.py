"""Padding, reshaping and resizing as modules. In shapes, N is the batch, C channels, … any dims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gradmesh._functions import images, layers, layout, windows
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer, each

__all__ = [
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Flatten",
    "Fold",
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
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Each = int | Sequence[int]

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
    """One dim as several. Raises TypeError for sizes that are no ints.

    Example: `gm.nn.Unflatten(1, (2, 3))(gm.ones(4, 6)).shape` is `torch.Size([4, 2, 3])`.
    """

    shown = ("dim", "unflattened_size")

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                f"unflattened_size must be a tuple of ints, but found type {type(unflattened_size).__name__}"
            )
        for index, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                raise TypeError(
                    f"unflattened_size must be tuple of ints, but found element of type {type(size).__name__} at pos "
                    f"{index}"
                )
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


class ChannelShuffle(Layer):
    """`F.channel_shuffle`: channels of g groups, one of each group in turn.

    Example: `gm.nn.ChannelShuffle(2)(gm.arange(4.).reshape(1, 4, 1, 1)).flatten()` is `tensor([0., 2., 1., 3.])`.
    """

    shown = ("groups",)

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) of the same shape."""
        return windows.channel_shuffle(input, self.groups)


class Upsample(Layer):
    """`F.interpolate` to a size or by a factor.

    Example: `gm.nn.Upsample(scale_factor=2)(gm.tensor([[[1., 2.]]]))` is `tensor([[[1., 1., 2., 2.]]])`.
    """

    def __init__(
        self,
        size: Each | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: images.Mode = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name, self.size, self.mode = type(self).__name__, size, mode
        self.scale_factor: float | tuple[float, ...] | None = None
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple([float(factor) for factor in scale_factor])
        elif scale_factor:
            self.scale_factor = float(scale_factor)
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) with other last dims."""
        return images.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        """The size or the factor, and the mode."""
        wanted = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{wanted}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of (N, C, H, W) by the nearest elements.

    Example: `gm.nn.UpsamplingNearest2d(2)(gm.ones(1, 1, 1, 1)).shape` is `torch.Size([1, 1, 2, 2])`.
    """

    def __init__(self, size: Each | None = None, scale_factor: float | tuple[float, float] | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of (N, C, H, W) along lines, corners on corners.

    Example: `gm.nn.UpsamplingBilinear2d(2)(gm.ones(1, 1, 1, 1)).shape` is `torch.Size([1, 1, 2, 2])`.
    """

    def __init__(self, size: Each | None = None, scale_factor: float | tuple[float, float] | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
