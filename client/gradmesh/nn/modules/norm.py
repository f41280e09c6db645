"""Normalisation as modules. In shapes, N is the batch, C channels, … any dims."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar

from gradmesh import _creation, _dtype
from gradmesh._functions import layers as F
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.modules.module import Module
from gradmesh.nn.parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


class _Affine(Layer):
    """A normalisation that may scale and shift its result. Abstract."""

    weight: Parameter | None
    bias: Parameter | None

    def _register(self, shape: Sequence[int], weight: bool, bias: bool, device: object, dtype: object) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            made = Parameter(_creation.empty(tuple(shape), dtype=dtype, device=device)) if wanted else None  # type: ignore[arg-type]
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1 and bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _Tracking(_Affine):
    """A normalisation of channels that may follow their statistics. Abstract.

    Attributes:
        running_mean, running_var: buffers (C,) that follow the batches' statistics in training.
        num_batches_tracked: buffer, how many batches they have followed.
    """

    shown = ("=num_features", "eps", "momentum", "affine")
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        tracked = track_running_stats
        ones = _creation.ones(num_features, dtype=dtype, device=device) if tracked else None
        zeros = _creation.zeros(num_features, dtype=dtype, device=device) if tracked else None
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var", ones)
        self.register_buffer("num_batches_tracked", _creation.tensor(0) if tracked else None)
        self._register((num_features,), affine, affine and bias, device, dtype)

    def reset_running_stats(self) -> None:
        """Forget the batches seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"{super().extra_repr()}, bias={self.bias is not None}, track_running_stats={self.track_running_stats}"


class _BatchNorm(_Tracking):
    """`F.batch_norm` with statistics of its own. Abstract."""

    ranks: ClassVar[tuple[int, ...]]

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) of the same shape. Raises ValueError for another number of dims."""
        if input.ndim not in self.ranks:
            ranks = " or ".join(f"{rank}D" for rank in self.ranks)
            raise ValueError(f"expected {ranks} input (got {input.ndim}D input)")
        momentum = self.momentum or 0.0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / self.num_batches_tracked.item()
        mean, variance = self.running_mean, self.running_var
        alone = self.training or mean is None
        return F.batch_norm(input, mean, variance, self.weight, self.bias, alone, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """`F.batch_norm` of (N, C) or (N, C, L).

    Example: `gm.nn.BatchNorm1d(2)(gm.ones(3, 2)).shape` is `torch.Size([3, 2])`.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`F.batch_norm` of (N, C, H, W).

    Example: `gm.nn.BatchNorm2d(2)(gm.ones(3, 2, 4, 4)).shape` is `torch.Size([3, 2, 4, 4])`.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """`F.batch_norm` of (N, C, D, H, W).

    Example: `gm.nn.BatchNorm3d(1)(gm.ones(2, 1, 2, 2, 2)).shape` is `torch.Size([2, 1, 2, 2, 2])`.
    """

    ranks = (5,)


class _InstanceNorm(_Tracking):
    """`F.instance_norm`: each channel of each sample on its own. Abstract."""

    rank: ClassVar[int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) or (C, …) of the same shape. Raises ValueError for another number of dims or of channels."""
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ValueError(f"expected {self.rank + 1}D or {self.rank + 2}D input (got {input.ndim}D input)")
        dim = input.ndim - self.rank - 1
        if input.shape[dim] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={dim} to match num_features ({self.num_features}), but got: "
                    f"{input.shape[dim]}."
                )
            warnings.warn(
                f"input's size at dim={dim} does not match num_features. You can silence this warning by not passing "
                "in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        if dim == 0:
            return self._normalized(input.unsqueeze(0)).squeeze(0)
        return self._normalized(input)

    def _normalized(self, input: Tensor) -> Tensor:
        own = self.training or not self.track_running_stats
        return F.instance_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum or 0.0, self.eps
        )


class InstanceNorm1d(_InstanceNorm):
    """`F.instance_norm` of (N, C, L).

    Example: `gm.nn.InstanceNorm1d(2)(gm.ones(3, 2, 4)).shape` is `torch.Size([3, 2, 4])`.
    """

    rank = 1


class InstanceNorm2d(_InstanceNorm):
    """`F.instance_norm` of (N, C, H, W).

    Example: `gm.nn.InstanceNorm2d(2)(gm.ones(3, 2, 4, 4)).shape` is `torch.Size([3, 2, 4, 4])`.
    """

    rank = 2


class InstanceNorm3d(_InstanceNorm):
    """`F.instance_norm` of (N, C, D, H, W).

    Example: `gm.nn.InstanceNorm3d(1)(gm.ones(2, 1, 2, 2, 2)).shape` is `torch.Size([2, 1, 2, 2, 2])`.
    """

    rank = 3


class LayerNorm(_Affine):
    """`F.layer_norm` over the last dims.

    Example: `gm.nn.LayerNorm(3)(gm.ones(2, 3)).shape` is `torch.Size([2, 3])`.
    """

    shown = ("=normalized_shape", "eps", "elementwise_affine")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self._register(shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """(…, *normalized_shape) of the same shape. Raises ShapeError."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class GroupNorm(_Affine):
    """`F.group_norm` over groups of channels.

    Example: `gm.nn.GroupNorm(1, 2)(gm.ones(3, 2)).shape` is `torch.Size([3, 2])`.
    """

    shown = ("=num_groups", "=num_channels", "eps", "affine")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._register((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) of the same shape. Raises ShapeError."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """`F.rms_norm` over the last dims.

    Example: `gm.nn.RMSNorm(3)(gm.ones(2, 3)).shape` is `torch.Size([2, 3])`.
    """

    shown = ("=normalized_shape", "eps", "elementwise_affine")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self.register_parameter("weight", None)
        if elementwise_affine:
            self.weight = Parameter(_creation.ones(shape, dtype=dtype, device=device))

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """(…, *normalized_shape) of the same shape. Raises ShapeError."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class LocalResponseNorm(Layer):
    """`F.local_response_norm` over neighbouring channels.

    Example: `gm.nn.LocalResponseNorm(2)(gm.ones(1, 3, 2)).shape` is `torch.Size([1, 3, 2])`.
    """

    shown = ("=size", "alpha", "beta", "k")

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) of the same shape. Raises InvalidRequestError below 3 dims."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


def forget_statistics(module: Module) -> None:
    """Make a batch norm normalise by each batch alone; leaves other modules as they are."""
    if isinstance(module, _BatchNorm):
        module.running_mean = module.running_var = module.num_batches_tracked = None
        module.track_running_stats = False
