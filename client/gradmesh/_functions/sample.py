"""Random numbers.

Which ones depends on `manual_seed` and on how many random functions came before, never on how the work is divided.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradmesh._functions import binary, unary
from gradmesh._functions._common import cast, in_place, one, scalar, spec
from gradmesh._modes import STATE
from gradmesh._random import Generator, next_key
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def key(generator: Generator | None = None) -> Tensor:
    """The key operand of one random op."""
    made = scalar(next_key(generator), dtypes.int64)
    for trace in STATE.traces:
        trace.keys.add(made._value)
    if STATE.capture is not None:
        STATE.capture.keys.append((made._value, generator))
    return made


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability each element gives, else 0. Example: `gm.bernoulli(gm.ones(2))` is `tensor([1., 1.])`."""
    return one("bernoulli", input, key(generator))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions drawn with probabilities in proportion to the last dim of a vector or matrix, int64.

    Without `replacement` no position comes twice. Example: `gm.multinomial(gm.tensor([0., 1.]), 1)` is `tensor([1])`.
    Raises ShapeError for another rank and for too many samples; InvalidRequestError where the weights are negative,
    not finite, or too few are positive.
    """
    return one("multinomial", input, key(generator), num_samples=num_samples, replacement=replacement)


# --- in place -------------------------------------------------------------------------------------


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn evenly from [from_, to). Example: `gm.empty(2).uniform_(-1, 1)`."""
    if from_ > to:
        raise InvalidRequestError(
            f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}", op="uniform_"
        )
    own = spec(input)

    def drawn() -> Tensor:
        unit = one("rand", key(generator), shape=own.shape, dtype=dtypes.real_of(own.dtype).name)
        return unit if (from_, to) == (0.0, 1.0) else binary.add(binary.mul(unit, to - from_), from_)

    if dtypes.is_complex(own.dtype):
        return in_place(input, one("complex", drawn(), drawn()))
    return in_place(input, drawn())


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn from a normal distribution.

    Example: `gm.empty(2).normal_(0, 0.02)`. Raises InvalidRequestError for std < 0.
    """
    if std < 0:
        raise InvalidRequestError(f"normal expects std >= 0.0, but found std {std}", op="normal_", got=str(std))
    own = spec(input)
    if dtypes.is_complex(own.dtype):
        parts = [one("randn", key(generator), shape=own.shape, dtype=dtypes.real_of(own.dtype).name) for _ in range(2)]
        # A complex normal number has variance 1 in all.
        return in_place(input, binary.add(binary.mul(one("complex", *parts), std * math.sqrt(0.5)), mean))
    drawn = one("randn", key(generator), shape=own.shape, dtype=own.dtype.name)
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


def _positive(name: str, argument: str, value: float, allowed: bool) -> None:
    if not allowed:
        argument = "lambda" if argument == "lambd" else argument
        wanted, found = ("p to be in (0, 1)", "got") if argument == "p" else (f"{argument} > 0.0", "found")
        raise InvalidRequestError(f"{name} expects {wanted}, but {found} {argument}={value}", op=name, got=str(value))


def _uniform(input: Tensor, generator: Generator | None) -> Tensor:
    """Uniform numbers in [0, 1) of the tensor's shape, float64 for what is no float."""
    own = spec(input)
    wanted = own.dtype if dtypes.is_floating(own.dtype) else dtypes.float64
    return one("rand", key(generator), shape=own.shape, dtype=wanted.name)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts drawn from Poisson distributions of the rates `input` gives, in its dtype.

    Rates below 0 raise InvalidRequestError when it is computed.

    Example: `gm.poisson(gm.zeros(2))` is `tensor([0., 0.])`.
    """
    return one("poisson", input, key(generator))


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Successes among `count` trials of probability `prob`, drawn anew for each pair of elements.

    Example: `gm.binomial(gm.tensor([5.]), gm.ones(1))` is `tensor([5.])`.
    """
    return one("binomial", count, prob, key(generator))


def cauchy_(input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn from the Cauchy distribution. Example: `gm.empty(2).cauchy_()`.

    Raises InvalidRequestError for sigma <= 0.
    """
    _positive("cauchy_", "sigma", sigma, sigma > 0)
    angle = binary.mul(binary.sub(_uniform(input, generator), 0.5), math.pi)
    return in_place(input, binary.add(binary.mul(unary.tan(angle), sigma), median))


def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn from the exponential distribution of rate `lambd`. Example: `gm.empty(2).exponential_()`.

    Raises InvalidRequestError for lambd <= 0.
    """
    _positive("exponential_", "lambd", lambd, lambd > 0)
    return in_place(input, binary.div(unary.log1p(unary.neg(_uniform(input, generator))), -lambd))


def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Write the numbers of trials until the first success, of probability p: 1, 2, …

    Example: `gm.empty(2).geometric_(0.5)`. Raises InvalidRequestError unless 0 < p < 1.
    """
    _positive("geometric_", "p", p, 0 < p < 1)
    trials = binary.div(unary.log1p(unary.neg(_uniform(input, generator))), math.log1p(-p))
    return in_place(input, cast(binary.add(unary.floor(trials), 1), spec(input).dtype))


def log_normal_(input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers whose logarithms are normal of `mean` and `std`. Example: `gm.empty(2).log_normal_(0, 1)`.

    Raises InvalidRequestError for std <= 0.
    """
    _positive("log_normal_", "std", std, std > 0)
    drawn = one("randn", key(generator), shape=spec(input).shape, dtype=spec(input).dtype.name)
    return in_place(input, unary.exp(binary.add(binary.mul(drawn, std), mean)))
