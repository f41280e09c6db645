"""Kernels of the error function and its relatives.

SciPy's are loops of scalar calls, 6 to 11 ns per element. Made of vectorised ufuncs, a rational approximation (of erf)
or a polynomial's tanh (the cdf) takes a third of that in float32, and a table of values with a step from the nearest
one half of it in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

from gradmesh_engine.ops.base import Scratch

Run = Callable[..., Any]

_ERF_SLOPE: Final = 2 / math.sqrt(math.pi)
"""That of erf at 0."""

# --- float32 --------------------------------------------------------------------------------------

_EDGE: Final = 3.92
"""Where erf rounds to 1 in float32."""

# erf(x) / x = P(x²) / Q(x²) for |x| ≤ _EDGE, fitted by reweighted least squares to a relative error
# of 1.9e-8; all coefficients are positive, so nothing cancels. Low powers first.
_P: Final = (
    1.1283791462014299, 0.19040334974512105, 0.05274825397951366,
    0.0037654683464268413, 0.00028487698705853884, 2.050079850771705e-06,
)  # fmt: skip
_Q: Final = (
    1.0, 0.5020733169994362, 0.11410777220705436,
    0.01496891986455871, 0.0011624950445802236, 3.8091337590767344e-05,
)  # fmt: skip


def _numbers(values: Sequence[float], dtype: np.dtype) -> list[np.ndarray]:
    """Numbers as 0-d arrays: a ufunc would make one of each Python number at every call."""
    return [np.array(value, dtype) for value in values]


def _horner(t: np.ndarray, coefficients: Sequence[np.ndarray], out: np.ndarray) -> None:
    np.multiply(t, coefficients[-1], out)
    np.add(out, coefficients[-2], out)
    for coefficient in coefficients[-3::-1]:
        np.multiply(out, t, out)
        np.add(out, coefficient, out)


def _erf_float32(shape: tuple[int, ...]) -> Run:
    squared, divisor = (np.empty(shape, np.float32) for _ in range(2))
    # Limits are arrays, because two arrays meet in half the time of an array and a number.
    edge, top, bottom = (np.full(shape, v, np.float32) for v in (_EDGE**2, 1.0, -1.0))
    p, q = (_numbers(values, np.dtype(np.float32)) for values in (_P, _Q))

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, x, squared)
        np.minimum(squared, edge, out=squared)
        _horner(squared, p, out)
        _horner(squared, q, divisor)
        np.divide(out, divisor, out)
        # Beyond the edge this grows with x, and is cut off.
        np.multiply(out, x, out)
        np.minimum(out, top, out=out)
        np.maximum(out, bottom, out=out)

    return run


# Φ(x) = (1 + tanh(x L(x²))) / 2: L is half the logit of Φ, over x. Fitted by reweighted least squares to 2.9e-8 in
# Φ. Beyond 5.9 it is too large for that to matter, and above 0 for good. Low powers first.
_LOGIT: Final = (
    0.7978849414596944, 0.03633308457651741, -3.259497827682119e-05, -5.530619258700352e-05,
    3.9647442109408855e-06, -1.322633229374498e-07, 1.7561702711531186e-09,
)  # fmt: skip


def _normal_cdf_float32(shape: tuple[int, ...]) -> Run:
    squared = np.empty(shape, np.float32)
    logit = _numbers(_LOGIT, squared.dtype)
    half = np.array(0.5, np.float32)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, x, squared)
        _horner(squared, logit, out)
        np.multiply(out, x, out)
        np.tanh(out, out)
        np.multiply(out, half, out)
        np.add(out, half, out)

    return run


# --- float64 --------------------------------------------------------------------------------------

_STEPS: Final = 1 << 11
"""Values of a table per unit of x. With more of them it leaves the cache; with fewer the step needs another term."""

_PLACES: Final = 1 << 15
"""Places of a table, one for all that as many low bits can be, those of NaN too: 16 units of x."""

_ROUNDER: Final = 1.5 * 2.0**52 / _STEPS
"""Added to x, it leaves x rounded to a multiple of 1 / _STEPS, and its number in the low bits."""


def _table(low: float, high: float, values: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Values from `low` to `high`, each at the place that the low bits of its number say: below 0 from the end on."""
    numbers = np.arange(round(low * _STEPS), round(high * _STEPS) + 1)
    table = np.zeros(_PLACES)
    table[numbers] = values(numbers / _STEPS)
    return table


def _each(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.array([function(one) for one in x.tolist()])


@cache
def _erf_table() -> np.ndarray:
    table = _table(-6.0, 6.0, _each(math.erf))
    table[0] = -0.0  # plus a step of 0 or -0 this keeps the sign
    return table


@cache
def _erfc_table() -> np.ndarray:
    return _table(-6.0, 3.5, _each(math.erfc))


def _cdf_values(x: np.ndarray) -> np.ndarray:
    # z = -x / sqrt 2 is rounded; erfc follows what that loses by its slope. The first product is exact.
    high, low = 0.7071067690849304, 1.210161710447897e-08  # of sqrt 0.5
    z = -x * high - x * low
    lost = (-x * high - z) - x * low
    values: np.ndarray = 0.5 * (_each(math.erfc)(z) - _ERF_SLOPE * np.exp(-z * z) * lost)
    return values


@cache
def _cdf_table() -> np.ndarray:
    return _table(-5.0, 9.0, _cdf_values)


def _stepped(
    shape: tuple[int, ...], scratch: Scratch, table: np.ndarray, low: float, high: float, rate: float, slope: float
) -> Run:
    """A kernel for a function with the derivative slope * e^(-λ x²), λ = `rate`, from its values from `low` to `high`.

    With r the nearest step, h = x - r and p = x r, the mean of e^(-λ u²) from r to x is
    e^(-λ p - λ h² / 3 + λ² h² p / 6), to terms in h⁴ (Taylor's series about the middle): the exponent is
    (p - 2 / λ) (λ² h² / 6 - λ) - 2. x is cut off at the table's ends. A call may give another table, and `height` by
    which its steps are higher.
    """
    rounded, h, e = scratch.arrays(*[(shape, np.dtype(np.float64))] * 3)
    number = rounded.view(np.int64)
    bits = np.array(_PLACES - 1)
    rounder, bottom, top, shift, curve, fall, own = _numbers(
        (_ROUNDER, low, high, 2 / rate, rate * rate / 6, rate, slope * math.exp(-2)), rounded.dtype
    )

    def run(x: np.ndarray, out: np.ndarray, table: np.ndarray = table, height: np.ndarray = own) -> None:
        # Where a call may write over an operand it does: it moves a third less through the cache.
        x.clip(bottom, top, out)
        np.add(out, rounder, rounded)
        np.subtract(rounded, rounder, e)
        np.subtract(out, e, h)
        np.multiply(e, out, e)
        np.subtract(e, shift, e)
        np.square(h, out)
        np.multiply(out, curve, out)
        np.subtract(out, fall, out)
        np.multiply(e, out, e)
        np.exp(e, e)
        np.multiply(e, h, e)
        np.multiply(e, height, e)
        np.bitwise_and(number, bits, number)
        table.take(number, None, out, "wrap")  # none is out of bounds, which "wrap" sees fastest
        np.add(out, e, out)

    return run


# erfc(x) = e^(-x²) / x · P(1 / x²) for 3.5 ≤ x ≤ 27.5, fitted at Chebyshev's points within 3e-18. Low powers first.
_TAIL: Final = (
    0.5641895835477562, -0.28209479177375046, 0.4231421875859178, -1.0578554464723806, 3.7024900412912727,
    -16.660740169715506, 91.59731244117143, -593.3216804439113, 4365.972365492562, -34591.60568188867,
    272611.5715306462, -1943038.3441212177, 11356440.765218798, -49047477.925749466, 135840184.0647655,
    -178550053.0854862,
)  # fmt: skip

_TAIL_ROUNDER: Final = 1.5 * 2.0**34
"""Rounds to 18 bits behind the point, so that the square of a number below 64 is exact."""


def _tail(x: np.ndarray, rate: float, height: float) -> np.ndarray:
    """`height` * erfc(sqrt(rate) x) for x far above 0; its relative error does not grow with x²."""
    x = np.minimum(x, 40.0)
    rounded = (x + _TAIL_ROUNDER) - _TAIL_ROUNDER
    power = np.exp(rounded * rounded * -rate) * np.exp((x - rounded) * (x + rounded) * -rate)
    series = np.empty_like(x)
    _horner(1 / (x * x * rate), _numbers([height / math.sqrt(rate) * c for c in _TAIL], x.dtype), series)
    result: np.ndarray = power * (series / x)
    return result


def _with_tail(body: Run, shape: tuple[int, ...], sign: float, rate: float, height: float) -> Run:
    """`body`, with `_tail` of sign * x where that is beyond 3.5 / sqrt(rate): rare, so only those are computed."""
    beyond = np.empty(shape, np.bool_)
    meets = np.greater if sign > 0 else np.less
    edge = np.array(sign * 3.5 / math.sqrt(rate))

    def run(x: np.ndarray, out: np.ndarray) -> None:
        body(x, out)
        if meets(x, edge, beyond).any():
            out[beyond] = _tail(sign * x[beyond], rate, height)

    return run


def _erfc_float64(shape: tuple[int, ...], scratch: Scratch) -> Run:
    return _with_tail(_stepped(shape, scratch, _erfc_table(), -6.0, 3.5, 1.0, -_ERF_SLOPE), shape, 1.0, 1.0, 1.0)


# --- kernels --------------------------------------------------------------------------------------


def erf(shape: tuple[int, ...], dtype: np.dtype, scratch: Scratch | None = None) -> Run:
    """A kernel for erf(x), within 3 units in the last place, that works in `scratch`. `out` must not be `x`."""
    if dtype == np.float32:
        return _erf_float32(shape)
    return _stepped(shape, scratch or Scratch(), _erf_table(), -6.0, 6.0, 1.0, _ERF_SLOPE)


@lru_cache(maxsize=8)
def _scaled_table(shift: float, factor: float) -> tuple[np.ndarray, np.ndarray]:
    return (_erf_table() + shift) * factor, np.array(factor * _ERF_SLOPE * math.exp(-2))


def _is_number(array: np.ndarray) -> bool:
    return array.size == 1 or not any(array.strides)


def scaled_erf(shape: tuple[int, ...], dtype: np.dtype, scratch: Scratch | None = None) -> Run:
    """A kernel for (erf(x) + shift) * factor; in float64 the table takes on numbers. `out` must not be `x`."""
    body = erf(shape, dtype, scratch)

    def run(x: np.ndarray, shift: np.ndarray, factor: np.ndarray, out: np.ndarray) -> None:
        if dtype == np.float64 and x.size and _is_number(shift) and _is_number(factor):
            numbers = shift.item(0), factor.item(0)
            # Others may overflow in the table alone, and zeros have signs that equal keys do not tell apart.
            if all(1e-150 < abs(number) < 1e150 for number in numbers):
                body(x, out, *_scaled_table(*numbers))
                return
        body(x, out)
        np.add(out, shift, out)
        np.multiply(out, factor, out)

    return run


def erfc(shape: tuple[int, ...], dtype: np.dtype, scratch: Scratch | None = None) -> Run:
    """A kernel for 1 - erf(x), within 4 units in the last place in the tail too. `out` must not be `x`."""
    wide = _erfc_float64(shape, scratch or Scratch())
    if dtype == np.float64:
        return wide
    given, found = np.empty(shape), np.empty(shape)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.copyto(given, x)
        wide(given, found)
        np.copyto(out, found, casting="same_kind")

    return run


def normal_cdf(shape: tuple[int, ...], dtype: np.dtype, scratch: Scratch | None = None) -> Run:
    """A kernel for (1 + erf(x / sqrt 2)) / 2. `out` must not be `x`."""
    if dtype != np.float32:
        body = _stepped(shape, scratch or Scratch(), _cdf_table(), -5.0, 9.0, 0.5, 1 / math.sqrt(2 * math.pi))
        return _with_tail(body, shape, -1.0, 0.5, 0.5)
    return _normal_cdf_float32(shape)
