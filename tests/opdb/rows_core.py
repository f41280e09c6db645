"""Entries whose call or comparison is not the default: pointwise, special, random and creating functions; all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.opdb.row import Row, without_halves

MANY = 40_000


def _method(name: str) -> Callable[..., Any]:
    """The entry is the Tensor method of that name."""
    return lambda gm, x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def _attribute(name: str) -> Callable[..., Any]:
    """The entry is the Tensor property of that name."""
    return lambda gm, x: getattr(x, name)


def _moments(draw: Callable[[Any], Any], mean: float, variance: float) -> Callable[[Any], None]:
    """Mean and variance of many numbers are near those of the distribution, and another seed gives other numbers."""

    def check(gm: Any) -> None:
        gm.manual_seed(11)
        numbers = draw(gm).double().numpy()
        near = 6 * np.sqrt(variance / numbers.size)
        assert abs(numbers.mean() - mean) < near, numbers.mean()
        assert abs(numbers.var() / variance - 1) < 0.1, numbers.var()
        gm.manual_seed(12)
        assert not np.array_equal(draw(gm).double().numpy(), numbers)

    return check


def _quantiles(draw: Callable[[Any], Any], *wanted: float) -> Callable[[Any], None]:
    """The quartiles of many numbers are near those of a distribution that has no moments."""

    def check(gm: Any) -> None:
        gm.manual_seed(11)
        found = np.quantile(draw(gm).numpy(), (0.25, 0.5, 0.75))
        assert np.allclose(found, wanted, atol=0.05), found

    return check


def _weights(gm: Any) -> None:
    """Frequencies of positions with replacement; no position twice without."""
    gm.manual_seed(11)
    drawn = gm.multinomial(gm.tensor([1.0, 0.0, 3.0]), MANY, True).numpy()
    assert np.allclose(np.bincount(drawn, minlength=3) / MANY, [0.25, 0.0, 0.75], atol=0.02)
    rows = gm.multinomial(gm.ones(50, 6), 6).numpy()
    assert (np.sort(rows, axis=1) == np.arange(6)).all()
    first = gm.multinomial(gm.tensor([1.0, 0.0, 3.0]).expand(MANY, 3), 1).numpy()
    assert np.allclose(np.bincount(first[:, 0], minlength=3) / MANY, [0.25, 0.0, 0.75], atol=0.02)


def _random(call: Callable[..., Any] | None, check: Callable[[Any], None], **fields: Any) -> Row:
    return Row(call=call, random=True, check=check, **fields)


def _no_pole(sample: Any) -> bool:
    """At 0, -1, -2, … PyTorch's trigamma function gives 2e13 in float32, whose sine of whole turns is not 0."""
    x = sample.input
    return x.dtype.is_floating_point or bool((x > 0).all())


def _polygamma(gm: Any, x: Any, n: int) -> Any:
    return gm.polygamma(n, x)


def _zeroed(gm: Any, x: Any) -> Any:
    """A leaf that requires grad cannot be written to: PyTorch's entry writes to a clone."""
    return x.clone().zero_()


ROWS: dict[str, Row] = {
    "H": Row(call=_attribute("H")),
    "T": Row(call=_attribute("T")),
    "bernoulli": _random(None, _moments(lambda gm: gm.bernoulli(gm.full((MANY,), 0.3)), 0.3, 0.21)),
    "cauchy": _random(_method("cauchy_"), _quantiles(lambda gm: gm.empty(MANY).cauchy_(1.0, 2.0), -1.0, 1.0, 3.0)),
    "einsum": Row(call=lambda gm, operands, equation: gm.einsum(equation, operands)),
    "exponential": _random(_method("exponential_"), _moments(lambda gm: gm.empty(MANY).exponential_(2.0), 0.5, 0.25)),
    "geometric": _random(_method("geometric_"), _moments(lambda gm: gm.empty(MANY).geometric_(0.5), 2.0, 2.0)),
    "log_normal": _random(
        _method("log_normal_"), _moments(lambda gm: gm.log(gm.empty(MANY).log_normal_(0.5, 0.2)), 0.5, 0.04)
    ),
    # PyTorch and this project add in different order.
    "logcumsumexp": Row(loose=30),
    "mH": Row(call=_attribute("mH")),
    "mT": Row(call=_attribute("mT")),
    "multinomial": _random(None, _weights),
    "normal": _random(None, _moments(lambda gm: gm.normal(gm.full((MANY,), 2.0), 3.0), 2.0, 9.0)),
    "normal:in_place": _random(_method("normal_"), _moments(lambda gm: gm.empty(MANY).normal_(2.0, 3.0), 2.0, 9.0)),
    # Its first argument is the standard deviation.
    "normal:number_mean": _random(
        lambda gm, std, mean, *args, **kwargs: gm.normal(mean, std, *args, **kwargs),
        _moments(lambda gm: gm.normal(2.0, gm.full((MANY,), 3.0)), 2.0, 9.0),
    ),
    # Of one element the gradient is 0 up to what cancels.
    "nn.functional.layer_norm": Row(loose=20),
    "nn.functional.dropout": _random(
        None, _moments(lambda gm: gm.nn.functional.dropout(gm.ones(MANY), 0.2), 1.0, 0.25)
    ),
    "nn.functional.embedding": Row(
        call=lambda gm, weight, index, **options: gm.nn.functional.embedding(index, weight, **options)
    ),
    "rand_like": _random(None, _moments(lambda gm: gm.rand_like(gm.empty(MANY)), 0.5, 1 / 12)),
    "randint": _random(None, _moments(lambda gm: gm.randint(3, 13, (MANY,)), 7.5, 8.25)),
    "randint_like": _random(None, _moments(lambda gm: gm.randint_like(gm.empty(MANY), 3, 13), 7.5, 8.25)),
    "randn": _random(None, _moments(lambda gm: gm.randn(MANY), 0.0, 1.0)),
    "randn_like": _random(None, _moments(lambda gm: gm.randn_like(gm.empty(MANY)), 0.0, 1.0)),
    "special.polygamma:special_polygamma_n_0": Row(call=lambda gm, x, n: gm.special.polygamma(n, x)),
    "where": Row(call=lambda gm, x, condition, other: gm.where(condition, x, other)),
    "zero_": Row(call=_zeroed),
    "uniform": _random(_method("uniform_"), _moments(lambda gm: gm.empty(MANY).uniform_(-1.0, 3.0), 1.0, 4 / 3)),
}
# In every variant the order n comes with the sample.
ROWS |= {
    f"polygamma:polygamma_n_{n}": Row(
        call=_polygamma,
        keep=_no_pole,
        dropped="poles of whole numbers",
        without=without_halves("near poles all is big"),
    )
    for n in range(5)
}
_CASTS = "bfloat16 bool byte cdouble cfloat char double float half int long short"
ROWS |= {name: Row(call=_method(name)) for name in _CASTS.split()}
# PyTorch's Bessel functions of float64 are right to seven digits only.
ROWS |= {f"special.bessel_{kind}": Row(loose=100) for kind in ("j0", "j1", "y0", "y1")}
ROWS |= {
    "complex": Row(without=without_halves("there are no complex numbers of 16-bit parts here")),
    "view_as_complex": Row(without=without_halves("there are no complex numbers of 16-bit parts here")),
    "pow": Row(without=without_halves("logarithms of what overflows: PyTorch rounds between")),
    "special.i1": Row(without=without_halves("PyTorch has no derivative of them")),
    "special.i1e": Row(without=without_halves("PyTorch has no derivative of them")),
}
