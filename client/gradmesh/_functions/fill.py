"""Writing into a tensor in place: copies, constants and random numbers. All return the tensor written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh import _tensor
from gradmesh._functions._common import Operand, cast, in_place, one, scalar, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write `src`, broadcast and cast, into the tensor. Example: `gm.zeros(1).copy_(gm.ones(1))` is `tensor([1.])`."""
    return in_place(input, one("copy", input, src))


def fill_(input: Tensor, value: Operand) -> Tensor:
    """Write one number everywhere. Example: `gm.zeros(1).fill_(5)` is `tensor([5.])`."""
    if not isinstance(value, _tensor.Tensor):
        value = scalar(value, spec(input).dtype)
    elif value.ndim:
        raise ShapeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.",
            op="fill_",
            expected="0-d tensor",
            got=str(value.shape),
        )
    everywhere = scalar(True, dtypes.bool_)
    return in_place(input, one("masked_fill", input, everywhere, cast(value, spec(input).dtype)))


def zero_(input: Tensor) -> Tensor:
    """Write 0 everywhere. Example: `gm.ones(1).zero_()` is `tensor([0.])`."""
    return fill_(input, 0)
