"""Tensors of random numbers. `generator` gives the stream they come from, by default the process's (`manual_seed`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradmesh import _dtype, _tensor
from gradmesh._creation import DTypeLike, Size
from gradmesh._functions import binary
from gradmesh._functions._common import cast, ints, lift, one, sizes
from gradmesh._functions._making import finish, same_dtype, wanted_dtype
from gradmesh._functions.sample import key, multinomial
from gradmesh._random import Generator
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, DTypeError, InvalidRequestError
from gradmesh_engine.ops.creation import checked_shape

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def _drawn(op: str, shape: Sequence[int], dtype: np.dtype, generator: Generator | None) -> Tensor:
    if dtypes.category(dtype) < dtypes.FLOAT:
        raise DTypeError(dtypes.refusal(op, dtype), op=op, expected="a float", got=dtype.name)
    if dtypes.is_complex(dtype):
        parts = [_drawn(op, shape, dtypes.real_of(dtype), generator) for _ in range(2)]
        drawn = one("complex", *parts)
        # A complex normal number has variance 1 in all.
        return binary.mul(drawn, math.sqrt(0.5)) if op == "randn" else drawn
    return one(op, key(generator), shape=checked_shape(tuple(shape)), dtype=dtype.name)


__all__ = [
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
]


def rand(
    *size: Size,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Drawn evenly from [0, 1). Example: `gm.rand(2, 3).shape` is `torch.Size([2, 3])`."""
    return finish(_drawn("rand", sizes("rand", size), wanted_dtype(dtype), generator), requires_grad, device)


def randn(
    *size: Size,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Drawn from the standard normal distribution. Example: `gm.randn(2, 3).shape` is `torch.Size([2, 3])`."""
    return finish(_drawn("randn", sizes("randn", size), wanted_dtype(dtype), generator), requires_grad, device)


def rand_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """`rand` of the shape and dtype of `input`. Example: `gm.rand_like(gm.ones(2)).shape` is `torch.Size([2])`."""
    return finish(_drawn("rand", input.shape, same_dtype(input, dtype), None), requires_grad, device)


def randn_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """`randn` of the shape and dtype of `input`. Example: `gm.randn_like(gm.ones(2)).shape` is `torch.Size([2])`."""
    return finish(_drawn("randn", input.shape, same_dtype(input, dtype), None), requires_grad, device)


def randint(
    low: int,
    high: int | Size | None = None,
    size: Size | None = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """int64 drawn evenly from [low, high): `randint(high, size)` or `randint(low, high, size)`.

    Example: `gm.randint(10, (2,)).shape` is `torch.Size([2])`. Raises InvalidRequestError unless low < high.
    """
    if size is None:
        low, high, size = 0, low, high
    if size is None or not isinstance(high, int):
        raise AttributeTypeError("randint(): give high and size, or low, high and size", op="randint")
    if low >= high:
        raise InvalidRequestError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}", op="randint"
        )
    shape = checked_shape(ints("randint", "size", size))
    drawn = one("randint", key(generator), low=low, high=high, shape=shape)
    return finish(cast(drawn, dtypes.int64 if dtype is None else _dtype.of(dtype).np), requires_grad, device)


def randint_like(
    input: Tensor,
    low: int | Tensor,
    high: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Drawn evenly from [low, high), of the shape and dtype of `input`: `randint_like(x, high)` or with both.

    Example: `gm.randint_like(gm.ones(2), 10).shape` is `torch.Size([2])`. Raises InvalidRequestError unless low < high.
    """
    first = int(low)
    low, high = (0, first) if high is None else (first, int(high))
    drawn = randint(low, high, tuple(input.shape), dtype=_dtype.from_numpy(same_dtype(input, dtype)))
    return finish(drawn, requires_grad, device)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: DTypeLike | None = None, device: object = None
) -> Tensor:
    """0 to n - 1 in random order, int64. Example: `gm.randperm(3).shape` is `torch.Size([3])`."""
    (count,) = checked_shape((n,))
    order = one("randperm", key(generator), n=count)
    return finish(order if dtype is None else cast(order, _dtype.of(dtype).np), False, device)


def normal(
    mean: float | Tensor = 0.0,
    std: float | Tensor = 1.0,
    size: Size | None = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Drawn from normal distributions: of one mean and std and a size, or of a tensor of either.

    Example: `gm.normal(0., 1., (2,)).shape` is `torch.Size([2])`. Raises InvalidRequestError for a negative std.
    """
    if not isinstance(std, _tensor.Tensor) and std < 0:
        raise InvalidRequestError(f"normal expects std >= 0.0, but found std {std}", op="normal", got=str(std))
    form = isinstance(mean, _tensor.Tensor) + 2 * isinstance(std, _tensor.Tensor)
    if form:
        return finish(one("normal", *lift(mean, std), key(generator), form=form), requires_grad, device)
    if size is None:
        raise AttributeTypeError("normal(): needs a size when mean and std are numbers", op="normal")
    shape, wanted = ints("normal", "size", size), wanted_dtype(dtype)
    drawn = _drawn("randn", shape, wanted, generator)
    return finish(binary.add(binary.mul(drawn, std), mean), requires_grad, device)
