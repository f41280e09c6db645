"""Random numbers.

Which ones depends on `manual_seed` and on how many random functions came before, never on how the work is divided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh._functions import binary
from gradmesh._functions._common import cast, in_place, one, scalar, spec
from gradmesh._random import Generator, next_key
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def key(generator: Generator | None = None) -> Tensor:
    """The key operand of one random op."""
    return scalar(next_key(generator), dtypes.int64)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability each element gives, else 0. Example: `gm.bernoulli(gm.ones(2))` is `tensor([1., 1.])`."""
    return one("bernoulli", input, key(generator))


# --- in place -------------------------------------------------------------------------------------


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn evenly from [from_, to). Example: `gm.empty(2).uniform_(-1, 1)`."""
    if from_ > to:
        raise InvalidRequestError(
            f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}", op="uniform_"
        )
    drawn = one("rand", key(generator), shape=spec(input).shape, dtype=spec(input).dtype.name)
    return in_place(input, drawn if (from_, to) == (0.0, 1.0) else binary.add(binary.mul(drawn, to - from_), from_))


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn from a normal distribution.

    Example: `gm.empty(2).normal_(0, 0.02)`. Raises InvalidRequestError for std < 0.
    """
    if std < 0:
        raise InvalidRequestError(f"normal expects std >= 0.0, but found std {std}", op="normal_", got=str(std))
    drawn = one("randn", key(generator), shape=spec(input).shape, dtype=spec(input).dtype.name)
    return in_place(input, drawn if (mean, std) == (0.0, 1.0) else binary.add(binary.mul(drawn, std), mean))


def random_(
    input: Tensor, from_: int | None = None, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Write whole numbers drawn evenly from [from_, to); by default all the dtype holds exactly, from 0.

    Example: `gm.empty(2).random_(6)`.
    """
    own = spec(input)
    low, high = (0, from_) if to is None else (from_ or 0, to)
    if high is None:
        digits = {1: 1, 2: 15, 4: 31, 8: 63} if own.dtype.kind in "biu" else {2: 11, 4: 24, 8: 53}
        high = 2 ** (
            8 if own.dtype == dtypes.bfloat16 else 7 if own.dtype == dtypes.int8 else digits[own.dtype.itemsize]
        )
    return in_place(input, cast(one("randint", key(generator), low=low, high=high, shape=own.shape), own.dtype))


def bernoulli_(input: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability p, else 0. Example: `gm.empty(2).bernoulli_(1.)` is `tensor([1., 1.])`."""
    drawn = one("rand", key(generator), shape=spec(input).shape, dtype="float32")
    return in_place(input, cast(binary.lt(drawn, p), spec(input).dtype))
