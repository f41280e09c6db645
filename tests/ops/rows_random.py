"""Rows: random ops. PyTorch's numbers are others, so each is held to its distribution and to its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine.errors import DTypeError, InvalidGraphError, ShapeError
from tests.ops.rows import KEY, Bad, I, L, Row, S, T, row

Arrays = Sequence[np.ndarray]
BIG = 20_000


def _uniform(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    (x,) = outputs
    assert ((x >= 0) & (x < 1)).all()
    _moments(x, 0.5, 1 / 12)


def _normal(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    assert np.isfinite(outputs[0].astype(np.float64)).all()
    _moments(outputs[0], 0.0, 1.0)


def _integers(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    (x,) = outputs
    low, high = attrs.get("low", 0), attrs["high"]
    assert ((x >= low) & (x < high)).all()
    if x.size >= BIG:
        counts = np.bincount((x - low).reshape(-1), minlength=high - low)
        assert np.abs(counts / x.size - 1 / (high - low)).max() < 0.02


def _mask(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    if outputs[0].size >= BIG:
        assert abs(float(outputs[0].mean()) - attrs["p"]) < 0.02
    if attrs["p"] in (0.0, 1.0):
        assert (outputs[0] == bool(attrs["p"])).all()


def _permutation(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    assert sorted(outputs[0].tolist()) == list(range(attrs["n"]))
    if attrs["n"] > 9:
        assert outputs[0].tolist() != sorted(outputs[0].tolist())


def _bernoulli(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    x, p = outputs[0], arrays[0]
    assert np.isin(x, (0, 1)).all()
    if x.size >= BIG:
        assert abs(float((x - p).mean())) < 0.02


def _poisson(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    (x,) = outputs
    rate = arrays[0]
    assert ((x >= 0) & (x == np.floor(x))).all()
    assert (x[rate == 0] == 0).all()
    if x.size >= BIG:
        np.testing.assert_allclose((x - rate).mean(), 0, atol=0.05 * rate.mean())
        np.testing.assert_allclose(((x - rate) ** 2).mean(), rate.mean(), rtol=0.05)


def _binomial(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    (x,) = outputs
    count, p = np.broadcast_arrays(*arrays[:2])
    assert ((x >= 0) & (x <= count) & (x == np.floor(x))).all()
    assert (x[p == 1] == count[p == 1]).all()
    assert (x[p == 0] == 0).all()
    if x.size >= BIG:
        np.testing.assert_allclose((x - count * p).mean(), 0, atol=0.05)
        np.testing.assert_allclose(((x - count * p) ** 2).mean(), (count * p * (1 - p)).mean(), rtol=0.05)


def _poisson_at(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    from scipy.stats import poisson

    np.testing.assert_array_equal(outputs[0], np.maximum(poisson.ppf(*np.broadcast_arrays(*arrays)), 0))


def _binomial_at(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    from scipy.stats import binom

    np.testing.assert_array_equal(outputs[0], np.maximum(binom.ppf(*np.broadcast_arrays(*arrays)), 0))


def _dropout(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    x, y = arrays[0], outputs[0]
    p, training = attrs.get("p", 0.5), attrs.get("training", True)
    if not training or p == 0:
        assert np.array_equal(x, y)
        return
    if p == 1:
        assert (y == 0).all()
        return
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - p))
    if x.size >= BIG:
        assert abs(float(kept.mean()) - (1 - p)) < 0.02


def _channels(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    _dropout(outputs, arrays, attrs)
    kept = (outputs[0] != 0).reshape(*outputs[0].shape[:2], -1)
    assert (kept.all(-1) | ~kept.any(-1)).all()


def _alpha(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    x, y = arrays[0], outputs[0]
    p = attrs.get("p", 0.5)
    if p == 1:
        assert (y == 0).all()
        return
    alpha = 1.7580993408473766
    scale = ((alpha * alpha * p + 1) * (1 - p)) ** -0.5
    kept, dropped = scale * x + scale * alpha * p, np.full(x.shape, scale * alpha * (p - 1))
    is_kept = np.isclose(y, kept)
    assert (is_kept ^ np.isclose(y, dropped)).all()
    if attrs.get("features"):
        channels = is_kept.reshape(*x.shape[:2], -1)
        assert (channels.all(-1) | ~channels.any(-1)).all()
    if x.size >= BIG:
        assert abs(float(is_kept.mean()) - (1 - p)) < 0.02


def _rrelu(outputs: Arrays, arrays: Arrays, attrs: Mapping[str, Any]) -> None:
    x, y = arrays[0], outputs[0]
    low, high = attrs.get("lower", 1 / 8), attrs.get("upper", 1 / 3)
    assert np.array_equal(x[x > 0], y[x > 0])
    slopes = y[x < 0] / x[x < 0]
    if not attrs.get("training"):
        np.testing.assert_allclose(slopes, (low + high) / 2)
        return
    assert ((slopes > low - 1e-9) & (slopes < high + 1e-9)).all()
    if x.size >= BIG:
        assert abs(float(slopes.mean()) - (low + high) / 2) < 0.01
        assert abs(float(slopes.std()) - (high - low) / 12**0.5) < 0.01


def _moments(x: np.ndarray, mean: float, variance: float) -> None:
    if x.size >= BIG:
        wide = x.astype(np.float64)
        assert abs(wide.mean() - mean) < 0.03
        assert abs(wide.var() - variance) < 0.04 * max(variance, 0.25)
        # Neighbours are independent.
        flat = wide.reshape(-1) - wide.mean()
        assert abs((flat[1:] * flat[:-1]).mean()) < 0.03 * variance


FLOATING = ("float64", "float32", "float16", "bfloat16")

ROWS: tuple[Row, ...] = (
    *(
        row(
            name,
            *(S(KEY(), shape=(BIG // 100, 100), dtype=d) for d in FLOATING),
            S(KEY(7), shape=(5, 7)),
            S(KEY(-3), shape=()),
            S(KEY(), shape=(0, 3)),
            S(KEY(2**40), shape=(4, 5, 6), dtype="float64"),
            check=check,
            errors=(Bad(S(KEY(), shape=(-1,)), ShapeError), Bad(S(T(), shape=(2,)), DTypeError, "key")),
        )
        for name, check in (("rand", _uniform), ("randn", _normal))
    ),
    row(
        "randint",
        S(KEY(), shape=(BIG,), high=10),
        S(KEY(), shape=(5, 7), low=-3, high=4),
        S(KEY(), shape=(0, 3), high=2),
        check=_integers,
        errors=(Bad(S(KEY(), shape=(3,), low=4, high=4), InvalidGraphError),),
    ),
    row(
        "random_mask",
        S(KEY(), shape=(BIG // 100, 100), p=0.3),
        S(KEY(), shape=(5, 7), p=0.5),
        S(KEY(), shape=(5, 7), p=0.0),
        S(KEY(), shape=(5, 7), p=1.0),
        S(KEY(), shape=(), p=0.5),
        check=_mask,
    ),
    row("randperm", S(KEY(), n=50), S(KEY(), n=0), S(KEY(5), n=1), check=_permutation),
    row(
        "bernoulli",
        S(T(BIG // 100, 100, low=0.0, high=1.0), KEY()),
        S(T(5, 7, low=0.0, high=1.0), KEY()),
        S(T(low=0.0, high=1.0), KEY()),
        check=_bernoulli,
        wrt=(),
    ),
    row(
        "poisson",
        S(T(BIG // 100, 100, low=0.0, high=20.0), KEY()),
        S(L([[0.0, 1e-3, 1.0, 5e4]]), KEY()),
        S(T(low=0.0, high=9.0), KEY()),
        check=_poisson,
        wrt=(),
        errors=(Bad(S(I(3, below=9), KEY()), DTypeError),),
    ),
    row(
        "binomial",
        S(L([float(n) for n in range(100)]), T(BIG // 100, 1, low=0.0, high=1.0), KEY()),
        S(L([5.0, 5.0, 0.0]), L([0.0, 1.0, 0.5]), KEY()),
        check=_binomial,
        wrt=(),
        errors=(Bad(S(I(3, below=9), T(3), KEY()), DTypeError),),
    ),
    row(
        "poisson_quantile",
        S(T(5, 7, low=0.0, high=1.0), T(5, 7, low=0.5, high=40.0)),
        S(T(9, low=0.0, high=1.0), T(low=0.5, high=40.0)),
        S(T(0, 3, low=0.0, high=1.0), T(3, low=0.5, high=40.0)),
        check=_poisson_at,
        wrt=(),
        errors=(Bad(S(I(3, below=9), I(3, below=9)), DTypeError),),
    ),
    row(
        "binomial_quantile",
        S(T(5, 7, low=0.0, high=1.0), L([5.0] * 7), T(5, 7, low=0.1, high=0.9)),
        S(T(9, low=0.0, high=1.0), L(40.0), T(low=0.1, high=0.9)),
        check=_binomial_at,
        wrt=(),
        errors=(Bad(S(I(3, below=9), I(3, below=9), I(3, below=9)), DTypeError),),
    ),
    row(
        "dropout",
        S(T(BIG // 100, 100, low=0.5), KEY()),
        S(T(5, 7, low=0.5), KEY(), p=0.3),
        S(T(5, 7, low=0.5), KEY(), p=0.0),
        S(T(5, 7, low=0.5), KEY(), p=1.0),
        S(T(5, 7, low=0.5), KEY(), p=0.3, training=False),
        S(T(0, 3), KEY()),
        check=_dropout,
        errors=(Bad(S(T(3), KEY(), p=1.5), InvalidGraphError), Bad(S(T(3), KEY(), p=-0.1), InvalidGraphError)),
    ),
    row(
        "feature_dropout",
        S(T(4, 6, 5, low=0.5), KEY()),
        S(T(4, 6, 5, 3, low=0.5), KEY(), p=0.3),
        S(T(4, 6, 5, low=0.5), KEY(), training=False),
        check=_channels,
    ),
    row(
        "alpha_dropout",
        S(T(BIG // 100, 100), KEY()),
        S(T(5, 7), KEY(), p=0.3),
        S(T(5, 7), KEY(), p=1.0),
        S(T(4, 6, 5), KEY(), p=0.3, features=True),
        check=_alpha,
        errors=(Bad(S(T(3), KEY(), p=-1.0), InvalidGraphError, "between 0 and 1"),),
    ),
    row(
        "rrelu",
        S(T(BIG // 100, 100), KEY(), training=True),
        S(T(5, 7), KEY(), lower=0.2, upper=0.7, training=True),
        S(T(5, 7), KEY(), lower=0.2, upper=0.7),
        check=_rrelu,
        errors=(
            Bad(S(T(3), KEY(), lower=2.0, upper=1.0), InvalidGraphError),
            Bad(S(T(3, dtype="int64"), KEY()), DTypeError),
        ),
    ),
)
