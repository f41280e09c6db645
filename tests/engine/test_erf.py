"""The error function's kernels: within units in the last place, and the same wherever an element lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from gradmesh_engine.ops import _special

FLOAT64 = np.dtype(np.float64)
INF, NAN, TINY = math.inf, math.nan, 5e-324


def cdf(x: float) -> float:
    """The normal distribution's cdf; what rounding x / sqrt 2 loses is put back by the slope."""
    root = Fraction(6369051672525773, 2**53) - Fraction(3921520054841899, 2**106)  # of a half
    z = -x * math.sqrt(0.5)
    lost = float(Fraction(-x) * root - Fraction(z))
    return 0.5 * (math.erfc(z) - 2 / math.sqrt(math.pi) * math.exp(-z * z) * lost)


# A function, what it is to be, where it is neither constant nor lost to underflow, and units in the last place: ours,
# those math's own is away, and of `cdf` those of its product.
ROWS: list[tuple[Callable[..., _special.Run], Callable[[float], float], float, float, int]] = [
    (_special.erf, math.erf, -6.5, 6.5, 4),
    (_special.erfc, math.erfc, -6.5, 26.2, 7),
    (_special.normal_cdf, cdf, -37.0, 9.0, 9),
]


@pytest.mark.parametrize(("make", "exact", "low", "high", "units"), ROWS)
def test_within_units_in_the_last_place(
    make: Callable[..., _special.Run], exact: Callable[[float], float], low: float, high: float, units: int
) -> None:
    rng = np.random.default_rng(0)
    every = np.concatenate(
        [rng.uniform(low, high, 20_000), rng.normal(size=20_000), rng.normal(size=20_000) * 2.0**-10]
    )
    out = np.empty_like(every)
    make(every.shape, FLOAT64)(every, out)
    want = np.array([exact(float(x)) for x in every])
    off = np.abs(out - want) / np.spacing(np.abs(want))
    assert off.max() <= units, every[off.argmax()]


@pytest.mark.parametrize(
    ("make", "given", "want"),
    [
        (
            _special.erf,
            [0.0, -0.0, INF, -INF, NAN, TINY, -TINY, 2.0**60, -1e300],
            [0.0, -0.0, 1.0, -1.0, NAN, TINY, -TINY, 1.0, -1.0],
        ),
        (_special.erfc, [0.0, -0.0, INF, -INF, NAN, TINY, 2.0**60, -1e300], [1.0, 1.0, 0.0, 2.0, NAN, 1.0, 0.0, 2.0]),
        (
            _special.normal_cdf,
            [0.0, -0.0, INF, -INF, NAN, TINY, 1e300, -1e300],
            [0.5, 0.5, 1.0, 0.0, NAN, 0.5, 1.0, 0.0],
        ),
    ],
)
def test_special_values(make: Callable[..., _special.Run], given: list[float], want: list[float]) -> None:
    x, out = np.array(given), np.empty(len(given))
    with np.errstate(all="ignore"):
        make(x.shape, FLOAT64)(x, out)
    # By their bits, since 0 equals -0; those of NaN may be any.
    assert np.where(np.isnan(out), NAN, out).tobytes() == np.array(want).tobytes()


@pytest.mark.parametrize("make", [_special.erf, _special.erfc, _special.normal_cdf])
def test_the_same_bits_at_every_position(make: Callable[..., _special.Run]) -> None:
    x = np.random.default_rng(1).normal(size=1037) * 6
    whole = np.empty_like(x)
    make(x.shape, FLOAT64)(x, whole)
    for length in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 1000):
        for start in (0, 1, 3, 8, 37):
            part = np.empty(length)
            make((length,), FLOAT64)(x[start : start + length], part)
            assert part.tobytes() == whole[start : start + length].tobytes(), (length, start)
    turned = np.empty((17, 61))
    make(turned.shape, FLOAT64)(x.reshape(61, 17).T, turned)
    assert turned.T.tobytes() == whole.tobytes()


@pytest.mark.parametrize("numbers", [(1.0, 0.5), (-1.0, -0.5), (0.3, -7.0), (0.0, 2.0), (1e200, 1e-200)])
def test_a_table_takes_numbers_along(numbers: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=20_000) * 2, np.array([0.0, -0.0, INF, -INF, 7.0, -7.0, 1e300])])
    shift, factor = (np.broadcast_to(np.float64(number), x.shape) for number in numbers)
    run, out, other = _special.scaled_erf(x.shape, FLOAT64), np.empty_like(x), np.empty_like(x)
    run(x, shift, factor, out)
    s, f = numbers
    want = np.array([(math.erf(float(v)) + s) * f for v in x])
    assert np.abs(out - want).max() <= 2.0**-51 * abs(f) * (1 + abs(s))
    run(x, shift.copy(), factor, other)  # no number
    np.testing.assert_allclose(other, want, rtol=0, atol=2.0**-51 * abs(f) * (1 + abs(s)))
    run(np.array([NAN] * x.size), shift, factor, out)
    assert np.isnan(out).all()


def test_erf_is_odd_to_the_last_bit() -> None:
    x = np.random.default_rng(2).normal(size=4099) * 3
    above, below = np.empty_like(x), np.empty_like(x)
    _special.erf(x.shape, FLOAT64)(x, above)
    _special.erf(x.shape, FLOAT64)(-x, below)
    assert (above == -below).all()


def test_cdf_in_float32() -> None:
    """Within two units of its last place at 1, never falling, and the same wherever an element lies."""
    every = np.linspace(-9.0, 9.0, 300_007, dtype=np.float32)
    x = np.concatenate([every, np.array([-INF, INF, NAN, -3e38, 3e38], np.float32)])
    out = np.empty_like(x)
    with np.errstate(all="ignore"):
        _special.normal_cdf(x.shape, x.dtype)(x, out)
    found = out[: every.size]
    want = np.array([cdf(float(v)) for v in every[::7]])
    assert np.abs(found[::7] - want).max() <= 2.0**-23
    assert (np.diff(found) >= 0).all()
    assert out[every.size :].tolist()[:2] == [0.0, 1.0] and np.isnan(out[-3]) and out[-2:].tolist() == [0.0, 1.0]
    part = np.empty(1037, np.float32)
    _special.normal_cdf(part.shape, part.dtype)(every[100_003 : 100_003 + part.size], part)
    assert part.tobytes() == found[100_003 : 100_003 + part.size].tobytes()
