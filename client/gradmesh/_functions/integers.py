"""Functions of whole numbers, which broadcast and promote as the pointwise ones do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh._functions._common import Operand, lift, one, one_is_tensor

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "bitwise_left_shift",
    "bitwise_right_shift",
    "gcd",
    "lcm",
]


def bitwise_left_shift(input: Operand, other: Operand) -> Tensor:
    """`input << other`; no bit is left past the width.

    Example: `gm.bitwise_left_shift(gm.tensor([3]), 2)` is `tensor([12])`.
    """
    one_is_tensor("bitwise_left_shift", input, other)
    return one("bitwise_left_shift", *lift(input, other))


def bitwise_right_shift(input: Operand, other: Operand) -> Tensor:
    """`input >> other`, which keeps the sign. Example: `gm.bitwise_right_shift(gm.tensor([-12]), 2)` is `tensor([-3])`.

    Past the width it is 0 or -1.
    """
    one_is_tensor("bitwise_right_shift", input, other)
    return one("bitwise_right_shift", *lift(input, other))


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor. Example: `gm.gcd(gm.tensor([12]), gm.tensor([18]))` is `tensor([6])`."""
    return one("gcd", input, other)


def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple. Example: `gm.lcm(gm.tensor([4]), gm.tensor([6]))` is `tensor([12])`."""
    return one("lcm", input, other)
