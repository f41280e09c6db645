"""Products of matrices and vectors. Shapes that do not fit raise ShapeError at the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradmesh._functions._common import Number, ints, number, one
from gradmesh_engine.errors import AttributeTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "addmm",
    "baddbmm",
    "bmm",
    "dot",
    "einsum",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
]


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product in all ranks: (…, n, k) @ (…, k, m) is (…, n, m).

    Batch dims broadcast; a vector is a row or a column.

    Example: `gm.matmul(gm.ones(2, 3), gm.ones(3))` is `tensor([3., 3.])`.
    """
    ranks = input.ndim, other.ndim
    if ranks == (2, 2):
        return one("mm", input, other)
    if ranks == (2, 1):
        return one("mv", input, other)
    if ranks == (1, 1):
        return one("dot", input, other)
    if ranks[1] > 2 and input.requires_grad and (ranks[0] == 2 or _alone(input, other)):
        # PyTorch turns these round and multiplies by one tall matrix, which shows in the derivative's name.
        return one("matmul", input, other, turned=True)
    return one("matmul", input, other)


def _alone(input: Tensor, other: Tensor) -> bool:
    """Whether one matrix as a batch of one meets a batch of several."""
    return input.ndim == other.ndim == 3 and input.shape[0] == 1 != other.shape[0]


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """(n, k) by (k, m) is (n, m). Example: `gm.mm(gm.ones(1, 2), gm.ones(2, 1))` is `tensor([[2.]])`."""
    return one("mm", input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """(n, k) by (k,) is (n,). Example: `gm.mv(gm.ones(2, 2), gm.ones(2))` is `tensor([2., 2.])`."""
    return one("mv", input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of products of two vectors of equal length. Example: `gm.dot(gm.ones(2), gm.ones(2))` is `tensor(2.)`."""
    return one("dot", input, tensor)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """(b, n, k) by (b, k, m) is (b, n, m).

    Example: `gm.bmm(gm.ones(1, 1, 2), gm.ones(1, 2, 1))` is `tensor([[[2.]]])`.
    """
    return one("bmm", input, mat2)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """(n,) and (m,) give (n, m). Example: `gm.outer(gm.ones(2), gm.ones(1))` is `tensor([[1.], [1.]])`."""
    return one("outer", input, vec2)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`.

    Example: `gm.addmm(gm.ones(1), gm.ones(1, 2), gm.ones(2, 1))` is `tensor([[3.]])`.
    """
    return one("addmm", input, mat1, mat2, beta=number(beta), alpha=number(alpha))


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """`beta * input + alpha * (batch1 @ batch2)` of batches of matrices.

    Example: `gm.baddbmm(gm.ones(1), gm.ones(1, 1, 2), gm.ones(1, 2, 1))` is `tensor([[[3.]]])`.
    """
    return one("baddbmm", input, batch1, batch2, beta=number(beta), alpha=number(alpha))


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Sum of products over the last `dims` dims of `a` and the first of `b`, or over two lists of dims.

    Example: `gm.tensordot(gm.ones(2, 3), gm.ones(3), 1)` is `tensor([3., 3.])`.
    """
    if isinstance(dims, int):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            what = "dims >= 0" if dims < 0 else "dims < ndim_a or ndim_b"
            raise ShapeError(f"tensordot expects {what}, but got dims={dims}", op="tensordot", got=str(dims))
        of_a, of_b = tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims))
    else:
        of_a, of_b = (ints("tensordot", "dims", part) for part in dims)
    return one("tensordot", a, b, dims_a=of_a, dims_b=of_b)


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
