"""Products of matrices and vectors. Shapes that do not fit raise ShapeError at the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradmesh._functions import binary, layout
from gradmesh._functions._common import Number, check_rank, one
from gradmesh_engine.errors import AttributeTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product in all ranks: (…, n, k) @ (…, k, m) is (…, n, m); batch dims broadcast, a vector is a row or column.

    Example: `gm.matmul(gm.ones(2, 3), gm.ones(3))` is `tensor([3., 3.])`.
    """
    ranks = input.ndim, other.ndim
    if ranks == (2, 2):
        return one("mm", input, other)
    if ranks == (2, 1):
        return one("mv", input, other)
    if ranks == (1, 1):
        return one("dot", input, other)
    return one("matmul", input, other)


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """(n, k) by (k, m) is (n, m). Example: `gm.mm(gm.ones(1, 2), gm.ones(2, 1))` is `tensor([[2.]])`."""
    check_rank("mm", input, 2)
    check_rank("mm", mat2, 2)
    return one("mm", input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """(n, k) by (k,) is (n,). Example: `gm.mv(gm.ones(2, 2), gm.ones(2))` is `tensor([2., 2.])`."""
    check_rank("mv", input, 2)
    check_rank("mv", vec, 1)
    return one("mv", input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of products of two vectors of equal length. Example: `gm.dot(gm.ones(2), gm.ones(2))` is `tensor(2.)`."""
    check_rank("dot", input, 1)
    check_rank("dot", tensor, 1)
    return one("dot", input, tensor)


inner_product = dot


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """(b, n, k) by (b, k, m) is (b, n, m).

    Example: `gm.bmm(gm.ones(1, 1, 2), gm.ones(1, 2, 1))` is `tensor([[[2.]]])`.
    """
    check_rank("bmm", input, 3)
    check_rank("bmm", mat2, 3)
    return one("bmm", input, mat2)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """(n,) and (m,) give (n, m). Example: `gm.outer(gm.ones(2), gm.ones(1))` is `tensor([[1.], [1.]])`."""
    check_rank("outer", input, 1)
    check_rank("outer", vec2, 1)
    return binary.mul(layout.reshape(input, (-1, 1)), vec2)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`.

    Example: `gm.addmm(gm.ones(1), gm.ones(1, 2), gm.ones(2, 1))` is `tensor([[3.]])`.
    """
    if beta != 1:
        input = binary.mul(input, beta)
    if alpha != 1:
        mat1 = binary.mul(mat1, alpha)
    return one("addmm", input, mat1, mat2)


def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """Sum of products by Einstein's convention.

    Example: `gm.einsum("ij,ij->i", gm.ones(2, 3), gm.ones(2, 3))` is `tensor([3., 3.])`.
    """
    if not isinstance(equation, str):
        raise AttributeTypeError("einsum(): the equation comes first", op="einsum", expected="str", got=repr(equation))
    flat: list[Tensor] = []
    for operand in operands:
        if isinstance(operand, Sequence):
            flat.extend(operand)
        else:
            flat.append(operand)
    return one("einsum", *flat, equation=equation)
