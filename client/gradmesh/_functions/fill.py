"""Writing into a tensor in place: copies, constants and random numbers. All return the tensor written to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _tensor, _trace, _views
from gradmesh._functions._common import Dims, Number, Operand, fitted, in_place, ints, one, spec
from gradmesh_engine.errors import AutogradError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write `src`, broadcast and cast, into the tensor. Example: `gm.zeros(1).copy_(gm.ones(1))` is `tensor([1.])`."""
    return in_place(input, one("copy", input, src))


def fill_(input: Tensor, value: Operand) -> Tensor:
    """Write one number everywhere. Example: `gm.zeros(1).fill_(5)` is `tensor([5.])`."""
    number = not isinstance(value, _tensor.Tensor)
    source = value if isinstance(value, _tensor.Tensor) else fitted(value, spec(input))
    return in_place(input, one("fill", input, source, scalar=number, inplace=True))


def apply_(input: Tensor, callable: Callable[[Any], Number]) -> Tensor:
    """Write what a Python function makes of each element; evaluates. Slow.

    Example: `gm.ones(1).apply_(lambda x: x + 1)` is `tensor([2.])`.
    """
    return map_(input, input, lambda x, _: callable(x))


def map_(input: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Number]) -> Tensor:
    """Write what a Python function makes of each element and that of another tensor; evaluates. Slow.

    Example: `gm.ones(1).map_(gm.ones(1), lambda x, y: x + y)` is `tensor([2.])`.
    """
    return map2_(input, tensor, tensor, lambda x, y, _: callable(x, y))


def map2_(input: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Number]) -> Tensor:
    """Write what a Python function makes of each element and those of two tensors; evaluates. Slow.

    Example: `gm.ones(1).map2_(gm.ones(1), gm.ones(1), lambda x, y, z: x + y + z)` is `tensor([3.])`.

    Raises AutogradError for tensors that require gradients.
    """
    operands = (input, x, y)
    if any(operand.requires_grad for operand in operands):
        raise AutogradError("Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead.")
    arrays = np.broadcast_arrays(*(operand.numpy() for operand in operands))
    made = [callable(*values) for values in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
    return in_place(input, _trace.constant(np.array(made, spec(input).dtype).reshape(spec(input).shape)))


def fill_diagonal_(input: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """Write one number on the main diagonal; of a tall matrix, with `wrap`, again after each of its squares.

    Example: `gm.zeros(1, 1).fill_diagonal_(5)` is `tensor([[5.]])`. Raises ShapeError for a vector, and for more than
    two dims unless all have one size.
    """
    shape = spec(input).shape
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        what = "all dimensions of input must be of equal length" if len(shape) > 2 else "dimensions must larger than 1"
        raise ShapeError(what, op="fill_diagonal_", expected="a matrix, or equal sizes", got=str(list(shape)))
    flat = one("reshape", input, shape=(-1,))
    size = spec(flat).size
    # From one element of the diagonal to the next is one step along every dim.
    step = sum([math.prod(shape[d + 1 :]) for d in range(len(shape))])
    square = len(shape) == 2 and not wrap
    fill_(one("slice", flat, dim=0, end=min(size, shape[1] ** 2) if square else size, step=step), fill_value)
    return input


def zero_(input: Tensor) -> Tensor:
    """Write 0 everywhere. Example: `gm.ones(1).zero_()` is `tensor([0.])`."""
    return in_place(input, one("zero", input))


# --- other dims -----------------------------------------------------------------------------------


def squeeze_(input: Tensor, dim: Dims | None = None) -> Tensor:
    """Take away dims of size 1, or those of `dim`. Example: `gm.ones(1, 2).squeeze_()` is `tensor([1., 1.])`."""
    if dim is None:
        return _views.become(input, "squeeze", "SqueezeBackward3")
    dims = ints("squeeze_", "dim", dim)
    return _views.become(input, "squeeze", f"SqueezeBackward{4 if isinstance(dim, int) else 5}", dim=dims)


def unsqueeze_(input: Tensor, dim: int) -> Tensor:
    """Put in a dim of size 1. Example: `gm.ones(1).unsqueeze_(0)` is `tensor([[1.]])`."""
    return _views.become(input, "unsqueeze", "UnsqueezeBackward1", dim=dim)


def transpose_(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Exchange two dims. Example: `gm.ones(2, 1).transpose_(0, 1)` is `tensor([[1., 1.]])`."""
    return _views.become(input, "transpose", "TransposeBackward1", dim0=dim0, dim1=dim1)


def t_(input: Tensor) -> Tensor:
    """Transpose a matrix. Example: `gm.ones(2, 1).t_()` is `tensor([[1., 1.]])`."""
    return _views.become(input, "t", "TBackward1")
