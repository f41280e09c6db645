"""Layers that learn from their first input how wide it is, and then become ordinary ones.

Until then their parameters have no shape: convert and load them as others, but give them to an optimizer only after a
first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gradmesh import _creation, _dtype
from gradmesh._tensor import Tensor
from gradmesh.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    PaddingMode,
    _Conv,
)
from gradmesh.nn.modules.linear import Linear
from gradmesh.nn.modules.module import Module
from gradmesh.nn.modules.norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _Tracking,
)
from gradmesh.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from gradmesh_engine.errors import AutogradError, ShapeError

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
]

Each = int | Sequence[int]


class LazyModuleMixin(Module):
    """Base of modules some of whose parameters get their shape with the first call. Abstract.

    Attributes:
        cls_to_become: the class this takes on when they have it, or None.
    """

    cls_to_become: ClassVar[type[Module] | None] = None

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give parameters their shapes, from the arguments of the first call."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(is_lazy(held) for held in (*self._parameters.values(), *self._buffers.values()))

    def reset_parameters(self) -> None:
        """Draw the parameters anew, where they have a shape."""
        if not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, before which the first call gives parameters their shapes."""
        if "_known" not in self.__dict__:
            self.initialize_parameters(*args, **kwargs)
            if self.has_uninitialized_params():
                raise AutogradError(f"module {type(self).__name__} has not been fully initialized")
            if self.cls_to_become is None:
                self._known = True
            else:
                self.__class__ = self.cls_to_become  # type: ignore[assignment]
        return Module.__call__(self, *args, **kwargs)

    def _wait(self, names: Sequence[str], bias: bool, device: object, dtype: _dtype.DTypeLike | None) -> None:
        for name in names:
            if bias or name != "bias":
                setattr(self, name, UninitializedParameter(device=device, dtype=dtype))


class LazyLinear(LazyModuleMixin, Linear):
    """`Linear` whose `in_features` is the first input's.

    Example: `gm.nn.LazyLinear(3)(gm.ones(4, 2)).shape` is `torch.Size([4, 3])`.
    """

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: object = None, dtype: _dtype.DTypeLike | None = None
    ) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self._wait(("weight", "bias"), bias, device, dtype)

    def initialize_parameters(self, input: Tensor) -> None:
        """Give weight and bias their shapes. Raises AssertionError when a weight that was loaded does not fit."""
        width = input.shape[-1]
        waiting = self.has_uninitialized_params()
        if not waiting and self.weight.shape[-1] != width:
            raise AssertionError(
                f"The in_features inferred from input: {width} is not equal to in_features from self.weight: "
                f"{self.weight.shape[-1]}"
            )
        self.in_features = width
        _shaped(self.weight, (self.out_features, width))
        _shaped(self.bias, (self.out_features,))
        if waiting:
            self.reset_parameters()


def _shaped(held: Tensor | None, shape: tuple[int, ...]) -> None:
    if is_lazy(held):
        held.materialize(shape)


class _LazyConv(LazyModuleMixin, _Conv):
    """A convolution whose `in_channels` is the first input's. Abstract."""

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Give weight and bias their shapes. Raises ShapeError, ValueError for an input that does not fit."""
        waiting = self.has_uninitialized_params()
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ShapeError(
                f"Expected {self.rank + 1}D (unbatched) or {self.rank + 2}D (batched) input to {type(self).__name__}, "
                f"but got input of size: {input.shape}"
            )
        channels = input.shape[-self.rank - 1]
        if channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        self.in_channels = channels
        ends = (channels, self.out_channels) if self.transposed else (self.out_channels, channels)
        _shaped(self.weight, (ends[0], ends[1] // self.groups, *self.kernel_size))
        _shaped(self.bias, (self.out_channels,))
        if waiting:
            self.reset_parameters()


class _LazyForward(_LazyConv):
    """A convolution. Abstract."""

    def __init__(
        self,
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
        _Conv.__init__(self, 0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self.out_channels = out_channels
        self._wait(("weight", "bias"), bias, device, dtype)


class _LazyTransposed(_LazyConv):
    """A transposed convolution. Abstract."""

    def __init__(
        self,
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
        _Conv.__init__(
            self, 0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype,
            output_padding,
        )  # fmt: skip
        self.out_channels = out_channels
        self._wait(("weight", "bias"), bias, device, dtype)


class _LazyNorm(LazyModuleMixin, _Tracking):
    """A normalisation whose `num_features` is the first input's. Abstract."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        _Tracking.__init__(self, 0, eps, momentum, False, False, device, dtype)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self._wait(("weight", "bias"), bias, device, dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = _creation.tensor(0)

    def initialize_parameters(self, input: Tensor) -> None:
        """Give parameters and statistics their shapes."""
        waiting = self.has_uninitialized_params()
        self.num_features = input.shape[1]
        for held in (self.weight, self.bias, self.running_mean, self.running_var):
            _shaped(held, (self.num_features,))
        if waiting:
            self.reset_running_stats()
            self.reset_parameters()


class LazyConv1d(_LazyForward, Conv1d):
    """`Conv1d` whose `in_channels` is the first input's.

    Example: `gm.nn.LazyConv1d(2, 3)(gm.ones(1, 3, 6)).shape` is `torch.Size([1, 2, 4])`.
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyForward, Conv2d):
    """`Conv2d` whose `in_channels` is the first input's.

    Example: `gm.nn.LazyConv2d(2, 3)(gm.ones(1, 3, 6, 6)).shape` is `torch.Size([1, 2, 4, 4])`.
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyForward, Conv3d):
    """`Conv3d` whose `in_channels` is the first input's.

    Example: `gm.nn.LazyConv3d(2, 3)(gm.ones(1, 3, 6, 6, 6)).shape` is `torch.Size([1, 2, 4, 4, 4])`.
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):
    """`ConvTranspose1d` whose `in_channels` is the first input's.

    Example: `gm.nn.LazyConvTranspose1d(2, 3)(gm.ones(1, 3, 6)).shape` is `torch.Size([1, 2, 8])`.
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):
    """`ConvTranspose2d` whose `in_channels` is the first input's.

    Example: `gm.nn.LazyConvTranspose2d(2, 3)(gm.ones(1, 3, 6, 6)).shape` is `torch.Size([1, 2, 8, 8])`.
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):
    """`ConvTranspose3d` whose `in_channels` is the first input's.

    Example: `gm.nn.LazyConvTranspose3d(2, 3)(gm.ones(1, 3, 6, 6, 6)).shape` is `torch.Size([1, 2, 8, 8, 8])`.
    """

    cls_to_become = ConvTranspose3d


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """`BatchNorm1d` whose `num_features` is the first input's.

    Example: `gm.nn.LazyBatchNorm1d()(gm.ones(2, 3, 6)).shape` is `torch.Size([2, 3, 6])`.
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """`BatchNorm2d` whose `num_features` is the first input's.

    Example: `gm.nn.LazyBatchNorm2d()(gm.ones(2, 3, 6, 6)).shape` is `torch.Size([2, 3, 6, 6])`.
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """`BatchNorm3d` whose `num_features` is the first input's.

    Example: `gm.nn.LazyBatchNorm3d()(gm.ones(2, 3, 6, 6, 6)).shape` is `torch.Size([2, 3, 6, 6, 6])`.
    """

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """`InstanceNorm1d` whose `num_features` is the first input's.

    Example: `gm.nn.LazyInstanceNorm1d()(gm.ones(2, 3, 6)).shape` is `torch.Size([2, 3, 6])`.
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """`InstanceNorm2d` whose `num_features` is the first input's.

    Example: `gm.nn.LazyInstanceNorm2d()(gm.ones(2, 3, 6, 6)).shape` is `torch.Size([2, 3, 6, 6])`.
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """`InstanceNorm3d` whose `num_features` is the first input's.

    Example: `gm.nn.LazyInstanceNorm3d()(gm.ones(2, 3, 6, 6, 6)).shape` is `torch.Size([2, 3, 6, 6, 6])`.
    """

    cls_to_become = InstanceNorm3d
