"""Pointwise functions of several operands, the rarer ones."""

from __future__ import annotations

import math

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.arithmetic import ieee
from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import FLOAT
from gradmesh_engine.errors import DTypeError
from gradmesh_engine.ops.base import Attr, Composite, Primitive, Site, declare
from gradmesh_engine.ops.numeric import NUMBER_GIVEN, absolute, by_number, isfinite, isnan
from gradmesh_engine.ops.pointwise import (
    REAL,
    Run,
    conjugate,
    convert,
    eq,
    floating,
    in_float32,
    keep,
    le,
    logical_and,
    logical_not,
    logical_or,
    lt,
    nonzero,
    pointwise,
    where,
)
from gradmesh_engine.ops.smooth import log, reciprocal, sigmoid

# --- two operands ---------------------------------------------------------------------------------


def _atan2_vjp(g: V, y: V, a: V, b: V) -> tuple[V, V]:
    size = a * a + b * b
    scaled = g * keep(reciprocal(size), nonzero(size))
    return scaled * b, -(scaled * a)


def complex_logaddexp(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """log(e^a + e^b) of complex numbers: the one with the larger real part, and what the other adds to it."""
    swap = a.real < b.real
    high, low = np.where(swap, b, a), np.where(swap, a, b)
    with ieee():
        total = high + np.log1p(np.exp(low - high))
    # Next to nothing at all, what is added is the sum.
    result: np.ndarray = np.where(np.isneginf(low.real), high, total)
    return result


@in_float32
def _logaddexp_kernel(site: Site) -> Run:
    if dtypes.is_complex(site.out.dtype):
        return lambda a, b, out: np.copyto(out, complex_logaddexp(a, b))
    high = np.empty(site.out.shape, site.out.dtype)

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        np.maximum(a, b, out=high)
        np.subtract(a, b, out=out)
        np.absolute(out, out=out)
        np.negative(out, out=out)
        # Equal infinities differ by NaN, which fmax takes for "infinitely far apart".
        np.fmax(out, -math.inf, out=out)
        np.exp(out, out=out)
        np.log1p(out, out=out)
        np.add(out, high, out=out)

    return run


@in_float32
def _xlogy_kernel(site: Site) -> Run:
    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        drop = np.logical_and(a == 0, ~np.isnan(b))
        np.log(b, out=out)
        np.multiply(out, a, out=out)
        np.copyto(out, 0, where=drop)

    return run


def _only_float(dtype: np.dtype) -> bool:
    return dtypes.category(dtype) == FLOAT


atan2 = pointwise(
    "atan2",
    np.arctan2,
    arity=2,
    compute=floating,
    allowed=REAL,
    cost=12.0,
    vjp=_atan2_vjp,
    doc="The angle in radians of the point (b, a).",
)
hypot = pointwise(
    "hypot",
    np.hypot,
    arity=2,
    allowed=_only_float,
    cost=8.0,
    vjp=lambda g, y, a, b: (g * (a / y), g * (b / y)),
    doc="sqrt(a² + b²), without overflow.",
)
logaddexp = pointwise(
    "logaddexp",
    _logaddexp_kernel,
    arity=2,
    compute=floating,
    cost=14.0,
    inplace=False,
    vjp=lambda g, y, a, b: (g * conjugate(sigmoid(a - b)), g * conjugate(sigmoid(b - a))),
    doc="log(e^a + e^b), without overflow.",
)
xlogy: Primitive = pointwise(
    "xlogy",
    _xlogy_kernel,
    arity=2,
    compute=floating,
    allowed=REAL,
    cost=8.0,
    inplace=False,
    vjp=lambda g, y, a, b: (g * keep(log(b), logical_or(nonzero(a), logical_not(le(b, constant(b, 0))))), g * a / b),
    doc="a * log(b), and 0 where a is 0.",
)

# --- three operands -------------------------------------------------------------------------------

rsub = declare(
    Composite(
        name="rsub",
        arity=2,
        attrs=NUMBER_GIVEN,
        grad_name=by_number("RsubBackward0", "RsubBackward1"),
        doc="b - a",
        body=lambda a, b, number: b - a,
    )
)


def _lerp(a: V, b: V, weight: V, number: bool | None) -> V:
    # From the nearer end, so that it is met exactly.
    near = lt(absolute(weight), constant(absolute(weight), 0.5))
    result: V = where(near, a, b) + where(near, weight, weight - 1) * (b - a)
    return result


lerp = declare(
    Composite(
        name="lerp",
        arity=3,
        attrs=NUMBER_GIVEN,
        grad_name=by_number("LerpBackward1", "LerpBackward0"),
        doc="a + weight * (b - a)",
        body=_lerp,
    )
)
addcmul = declare(
    Composite(
        name="addcmul",
        arity=4,
        grad_name="AddcmulBackward0",
        doc="x + value * (a * b)",
        body=lambda x, a, b, value: x + value * (a * b),
    )
)
addcdiv = declare(
    Composite(
        name="addcdiv",
        arity=4,
        grad_name="AddcdivBackward0",
        doc="x + value * (a / b)",
        body=lambda x, a, b, value: x + value * (a / b),
    )
)


def _isclose(a: V, b: V, rtol: float, atol: float, equal_nan: bool) -> V:
    if a.dtype != b.dtype:
        raise DTypeError(f"{a.dtype.name} did not match {b.dtype.name}", expected=a.dtype.name, got=b.dtype.name)
    same = eq(a, b)
    if equal_nan:
        same = logical_or(same, logical_and(isnan(a), isnan(b)))
    if dtypes.category(a.dtype) < FLOAT:
        a, b = (convert(v, dtype="float64") for v in (a, b))
    near = le(absolute(a - b), absolute(b) * rtol + atol)
    # An infinite b is within an infinite margin of everything.
    result: V = logical_or(same, logical_and(near, isfinite(b)))
    return result


isclose = declare(
    Composite(
        name="isclose",
        arity=2,
        attrs={"rtol": Attr("float", 1e-5), "atol": Attr("float", 1e-8), "equal_nan": Attr("bool", False)},
        doc="|a - b| ≤ atol + rtol * |b|",
        body=_isclose,
    )
)
