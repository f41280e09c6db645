"""Pointwise functions of whole numbers: shifted bits, common divisors and multiples; and counts drawn at random."""

from __future__ import annotations

import math

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import FLOAT, INT
from gradmesh_engine.errors import DTypeError
from gradmesh_engine.ops.base import Composite, Site, declare
from gradmesh_engine.ops.limits import within
from gradmesh_engine.ops.pointwise import Run, broadcast_shapes, convert, of_category, pointwise
from gradmesh_engine.ops.random import rand

_WHOLE = of_category(INT)


def _left_kernel(site: Site) -> Run:
    bits = 8 * site.out.dtype.itemsize

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        # Past the width, and by less than nothing, every bit falls out.
        np.left_shift(a, np.clip(b, 0, bits - 1), out=out)
        np.copyto(out, 0, where=(b < 0) | (b >= bits))

    return run


def _right_kernel(site: Site) -> Run:
    signed = site.out.dtype.kind == "i"
    most = 8 * site.out.dtype.itemsize - signed

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        far = (b < 0) | (b >= most)
        np.right_shift(a, np.where(far, most if signed else 0, b).astype(a.dtype), out=out)
        if not signed:
            np.copyto(out, 0, where=far)

    return run


bitwise_left_shift = pointwise(
    "bitwise_left_shift", _left_kernel, arity=2, allowed=_WHOLE, cost=4.0, inplace=False, doc="a's bits moved up by b."
)
bitwise_right_shift = pointwise(
    "bitwise_right_shift",
    _right_kernel,
    arity=2,
    allowed=_WHOLE,
    cost=4.0,
    inplace=False,
    doc="a's bits moved down by b; the sign stays.",
)
gcd = pointwise("gcd", np.gcd, arity=2, allowed=_WHOLE, cost=20.0, doc="The greatest common divisor.")
lcm = pointwise("lcm", np.lcm, arity=2, allowed=_WHOLE, cost=20.0, doc="The least common multiple.")

# --- counts ---------------------------------------------------------------------------------------


def _poisson_kernel(site: Site) -> Run:
    from scipy.special import pdtrik  # loaded when first needed: slow to import

    def run(u: np.ndarray, rate: np.ndarray, out: np.ndarray) -> None:
        np.ceil(pdtrik(u, rate), out=out)
        np.copyto(out, 0, where=~(out > 0))

    return run


def _binomial_kernel(site: Site) -> Run:
    from scipy.special import bdtrik

    def run(u: np.ndarray, count: np.ndarray, p: np.ndarray, out: np.ndarray) -> None:
        np.ceil(bdtrik(u, count, p), out=out)
        np.copyto(out, 0, where=~(out > 0))
        np.copyto(out, count, where=(out > count) | (p >= 1))

    return run


_DOUBLE = of_category(FLOAT)
poisson_quantile = pointwise(
    "poisson_quantile",
    _poisson_kernel,
    arity=2,
    allowed=_DOUBLE,
    cost=300.0,
    inplace=False,
    doc="(u, rate): the least count that a Poisson variable does not pass with probability u.",
)
binomial_quantile = pointwise(
    "binomial_quantile",
    _binomial_kernel,
    arity=3,
    allowed=_DOUBLE,
    cost=300.0,
    inplace=False,
    doc="(u, count, p): the least count that a binomial variable does not pass with probability u.",
)


def _real_floats(name: str, *operands: V) -> None:
    for v in operands:
        if not dtypes.is_floating(v.dtype):
            raise DTypeError(dtypes.refusal(name, v.dtype), expected="a float", got=v.dtype.name)


def _poisson(rate: V, key: V) -> V:
    _real_floats("poisson_cpu", rate)
    message = "invalid Poisson rate, expected rate to be non-negative"
    wide = within(convert(rate, dtype="float64"), least=0.0, most=math.inf, message=message)
    drawn = poisson_quantile(rand(key, shape=rate.shape, dtype="float64"), wide)
    result: V = convert(drawn, dtype=rate.dtype.name)
    return result


def _binomial(count: V, p: V, key: V) -> V:
    _real_floats("binomial_cpu", count, p)
    shape = broadcast_shapes([count.shape, p.shape])
    wide = (
        within(convert(count, dtype="float64"), least=0.0, most=math.inf, message="count must be non-negative"),
        within(convert(p, dtype="float64"), least=0.0, most=1.0, message="prob must be between 0 and 1"),
    )
    drawn = binomial_quantile(rand(key, shape=shape, dtype="float64"), *wide)
    result: V = convert(drawn, dtype=count.dtype.name)
    return result


declare(
    Composite(
        name="poisson",
        arity=2,
        grad_name="PoissonBackward0",
        doc="A Poisson variable of the rate each element gives; the second operand is the key.",
        body=_poisson,
        vjp=lambda g, y, rate, key: (constant(g, 0, g.shape), None),
    )
)
declare(
    Composite(
        name="binomial",
        arity=3,
        doc="(count, p): a binomial variable; the third operand is the key.",
        body=_binomial,
    )
)
