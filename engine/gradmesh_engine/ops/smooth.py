"""Pointwise functions of one operand: exponentials, logarithms, roots, trigonometry, erf."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops import _simd, _special
from gradmesh_engine.ops.base import Primitive, Site
from gradmesh_engine.ops.layout import sum_to
from gradmesh_engine.ops.pointwise import REAL, Run, conjugate, floating, in_float32, pointwise


def _smooth(
    name: str,
    kernel: np.ufunc | Callable[[Site], Run],
    derivative: Callable[[V, V], V],
    *,
    cost: float,
    **changes: Any,
) -> Primitive:
    """Declare a function by its derivative in terms of its value and its operand."""

    def vjp(g: V, y: V, x: V, **_: AttrValue) -> tuple[V]:
        return (g * conjugate(derivative(y, x)),)

    return pointwise(name, kernel, compute=floating, cost=cost, vjp=vjp, **changes)


# --- exponentials and logarithms ------------------------------------------------------------------

exp = _smooth("exp", np.exp, lambda y, x: y, cost=4.0, doc="e^x")
exp2 = pointwise(
    "exp2",
    np.exp2,
    compute=floating,
    cost=4.0,
    vjp=lambda g, y, x: (g * math.log(2) * conjugate(y),),
    doc="2^x",
)
expm1 = _smooth("expm1", np.expm1, lambda y, x: y + 1, cost=4.0, doc="e^x - 1, exact near 0.")
log = pointwise(
    "log", np.log, compute=floating, cost=4.0, vjp=lambda g, y, x: (g / conjugate(x),), doc="Natural logarithm."
)
log1p = pointwise(
    "log1p",
    lambda site: _simd.log1p(site.out),
    compute=floating,
    cost=4.0,
    vjp=lambda g, y, x: (g / conjugate(x + 1),),
    grad_name="Log1PBackward0",
    doc="log(1 + x), exact near 0.",
)
log2 = pointwise(
    "log2",
    np.log2,
    compute=floating,
    cost=4.0,
    vjp=lambda g, y, x: (g / math.log(2) / conjugate(x),),
    doc="Logarithm to base 2.",
)


def _log10_kernel(site: Site) -> Run:
    if site.out.dtype == dtypes.float32:
        # NumPy's vector loop of float32 misses the powers of ten, which people print.
        return partial(np.log10, dtype=np.float64, casting="same_kind")
    return np.log10


log10 = pointwise(
    "log10",
    in_float32(_log10_kernel),
    compute=floating,
    cost=4.0,
    vjp=lambda g, y, x: (g / math.log(10) / conjugate(x),),
    doc="Logarithm to base 10.",
)


@in_float32
def _log1pexp_kernel(site: Site) -> Run:
    high = np.empty(site.out.shape, site.out.dtype)
    zeros = np.zeros(site.out.shape, site.out.dtype)  # np.maximum is four times slower beside a scalar
    log1p = _simd.log1p_unit(site.out)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        # max(x, 0) + log1p(exp(-|x|)) neither overflows nor loses small values.
        np.maximum(x, zeros, out=high)
        np.absolute(x, out=out)
        np.negative(out, out=out)
        np.exp(out, out=out)
        log1p(out, out)
        np.add(out, high, out=out)

    return run


log1pexp = pointwise(
    "log1pexp",
    _log1pexp_kernel,
    compute=floating,
    allowed=REAL,
    cost=12.0,
    inplace=False,
    vjp=lambda g, y, x: (g * sigmoid(x),),
    grad_name="SoftplusBackward0",
    doc="log(1 + e^x), without overflow.",
)

# --- roots ----------------------------------------------------------------------------------------

sqrt = pointwise(
    "sqrt", np.sqrt, compute=floating, cost=3.0, vjp=lambda g, y, x: (g * 0.5 / conjugate(y),), doc="Square root."
)


@in_float32
def _rsqrt_kernel(site: Site) -> Run:
    one = np.ones((), site.out.dtype)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.sqrt(x, out=out)
        np.divide(one, out, out=out)

    return run


rsqrt = pointwise(
    "rsqrt",
    _rsqrt_kernel,
    compute=floating,
    cost=4.0,
    vjp=lambda g, y, x: (g * -0.5 * conjugate(y * y * y),),
    doc="1 / sqrt(x)",
)
reciprocal = pointwise(
    "reciprocal",
    np.reciprocal,
    compute=floating,
    vjp=lambda g, y, x: (-(g * conjugate(y * y)),),
    doc="1 / x",
)

# --- the logistic function and the hyperbolic ones ------------------------------------------------


@in_float32
def _sigmoid_kernel(site: Site) -> Run:
    one = np.ones((), site.out.dtype)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        # exp overflows to infinity for very negative x, and 1 / infinity is the right answer.
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, one, out=out)
        np.divide(one, out, out=out)  # twice as fast as np.reciprocal

    return run


sigmoid: Primitive = _smooth("sigmoid", _sigmoid_kernel, lambda y, x: y * (1 - y), cost=7.0, doc="1 / (1 + e^-x)")
tanh = _smooth("tanh", np.tanh, lambda y, x: 1 - y * y, cost=5.0, doc="Hyperbolic tangent.")
sinh = _smooth("sinh", np.sinh, lambda y, x: cosh(x), cost=6.0, doc="Hyperbolic sine.")
cosh: Primitive = _smooth("cosh", np.cosh, lambda y, x: sinh(x), cost=6.0, doc="Hyperbolic cosine.")
asinh = _smooth("asinh", np.arcsinh, lambda y, x: rsqrt(x * x + 1), cost=8.0, doc="Inverse of sinh.")
acosh = _smooth("acosh", np.arccosh, lambda y, x: rsqrt((x - 1) * (x + 1)), cost=8.0, doc="Inverse of cosh.")
atanh = _smooth("atanh", np.arctanh, lambda y, x: reciprocal(1 - x * x), cost=8.0, doc="Inverse of tanh.")

# --- trigonometry ---------------------------------------------------------------------------------

sin = _smooth("sin", np.sin, lambda y, x: cos(x), cost=5.0, doc="Sine of an angle in radians.")
cos: Primitive = _smooth("cos", np.cos, lambda y, x: -sin(x), cost=5.0, doc="Cosine of an angle in radians.")
tan = _smooth("tan", np.tan, lambda y, x: y * y + 1, cost=8.0, doc="Tangent of an angle in radians.")
asin = _smooth("asin", np.arcsin, lambda y, x: rsqrt(1 - x * x), cost=8.0, doc="Inverse of sin, in radians.")
acos = _smooth("acos", np.arccos, lambda y, x: -rsqrt(1 - x * x), cost=8.0, doc="Inverse of cos, in radians.")
atan = _smooth("atan", np.arctan, lambda y, x: reciprocal(x * x + 1), cost=8.0, doc="Inverse of tan, in radians.")

# --- the error function ---------------------------------------------------------------------------

_SLOPE_AT_0 = 2 / math.sqrt(math.pi)


@in_float32
def _erf_kernel(site: Site) -> Run:
    return _special.erf(site.out.shape, site.out.dtype, site.scratch)


@in_float32
def _scaled_erf_kernel(site: Site) -> Run:
    return _special.scaled_erf(site.out.shape, site.out.dtype, site.scratch)


@in_float32
def _erfc_kernel(site: Site) -> Run:
    return _special.erfc(site.out.shape, site.out.dtype, site.scratch)


@in_float32
def _normal_cdf_kernel(site: Site) -> Run:
    return _special.normal_cdf(site.out.shape, site.out.dtype, site.scratch)


erf = pointwise(
    "erf",
    _erf_kernel,
    compute=floating,
    allowed=REAL,
    cost=24.0,
    inplace=False,
    vjp=lambda g, y, x: (g * _SLOPE_AT_0 * exp(-(x * x)),),
    doc="The error function: 2/sqrt(pi) times the integral of e^(-t²) from 0 to x.",
)


def _scaled_erf_vjp(g: V, y: V, x: V, shift: V, factor: V) -> tuple[V, V, V]:
    scaled = g * factor
    return (
        scaled * _SLOPE_AT_0 * exp(-(x * x)),
        sum_to(scaled, shift.shape),
        sum_to(g * (erf(x) + shift), factor.shape),
    )


scaled_erf = pointwise(
    "scaled_erf",
    _scaled_erf_kernel,
    arity=3,
    compute=floating,
    allowed=REAL,
    cost=26.0,
    inplace=False,
    numbers=True,
    vjp=_scaled_erf_vjp,
    grad_name="MulBackward0",
    doc="(erf(x) + shift) * factor: with 1 and 0.5 the normal distribution's cdf.",
)
erfc = pointwise(
    "erfc",
    _erfc_kernel,
    compute=floating,
    allowed=REAL,
    cost=48.0,
    inplace=False,
    vjp=lambda g, y, x: (g * -_SLOPE_AT_0 * exp(-(x * x)),),
    doc="1 - erf(x), without cancellation.",
)
normal_cdf = pointwise(
    "normal_cdf",
    _normal_cdf_kernel,
    compute=floating,
    allowed=REAL,
    cost=26.0,
    inplace=False,
    vjp=lambda g, y, x: (g * (1 / math.sqrt(2 * math.pi)) * exp(x * x * -0.5),),
    grad_name="NormalCdfBackward0",
    doc="The probability that a standard normal variable is at most x.",
)
