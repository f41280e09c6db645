"""Writing into a tensor in place: copies, constants and random numbers. All return the tensor written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh import _tensor
from gradmesh._functions._common import Operand, in_place, one, scalar, spec

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write `src`, broadcast and cast, into the tensor. Example: `gm.zeros(1).copy_(gm.ones(1))` is `tensor([1.])`."""
    return in_place(input, one("copy", input, src))


def fill_(input: Tensor, value: Operand) -> Tensor:
    """Write one number everywhere. Example: `gm.zeros(1).fill_(5)` is `tensor([5.])`."""
    number = not isinstance(value, _tensor.Tensor)
    source = value if isinstance(value, _tensor.Tensor) else scalar(value, spec(input).dtype)
    return in_place(input, one("fill", input, source, scalar=number, inplace=True))


def zero_(input: Tensor) -> Tensor:
    """Write 0 everywhere. Example: `gm.ones(1).zero_()` is `tensor([0.])`."""
    return in_place(input, one("zero", input))
