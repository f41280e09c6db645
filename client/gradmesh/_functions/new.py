"""New tensors of the dtype of another: methods of Tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

# The module, not its names: it is complete by the time of a call.
from gradmesh import _creation, _dtype
from gradmesh._functions._common import Number
from gradmesh._functions._making import filled, same_dtype

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

DTypeLike: TypeAlias = _dtype.DTypeLike
Size: TypeAlias = int | Sequence[int]


def new_zeros(
    input: Tensor,
    *size: Size,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """All 0, of the dtype of `input`. Example: `gm.arange(1).new_zeros(2)` is `tensor([0, 0])`."""
    return filled("new_zeros", size, 0, same_dtype(input, dtype), requires_grad, device)


def new_ones(
    input: Tensor,
    *size: Size,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """All 1, of the dtype of `input`. Example: `gm.arange(1).new_ones(2)` is `tensor([1, 1])`."""
    return filled("new_ones", size, 1, same_dtype(input, dtype), requires_grad, device)


def new_empty(
    input: Tensor,
    *size: Size,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """All 0, of the dtype of `input`. Example: `gm.arange(1).new_empty(2).shape` is `torch.Size([2])`."""
    return filled("new_empty", size, 0, same_dtype(input, dtype), requires_grad, device)


def new_full(
    input: Tensor,
    size: Size,
    fill_value: Number,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """All `fill_value`, of the dtype of `input`. Example: `gm.arange(1).new_full((2,), 5)` is `tensor([5, 5])`."""
    return _creation.full(
        size,
        fill_value,
        dtype=input.dtype if dtype is None else dtype,
        device=device,
        requires_grad=requires_grad,
    )


def new_tensor(
    input: Tensor,
    data: Any,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`tensor(data)` of the dtype of `input`. Example: `gm.arange(1).new_tensor([1.5])` is `tensor([1])`."""
    return _creation.tensor(
        data, dtype=input.dtype if dtype is None else dtype, device=device, requires_grad=requires_grad
    )
