"""Pointwise functions of one tensor. All take any shape and return the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh._functions._common import one

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_not",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log10",
    "log1p",
    "log2",
    "logical_not",
    "neg",
    "negative",
    "reciprocal",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]


def neg(input: Tensor) -> Tensor:
    """-x. Example: `gm.neg(gm.ones(2))` is `tensor([-1., -1.])`."""
    return one("neg", input)


def exp(input: Tensor) -> Tensor:
    """E to the power x. Example: `gm.exp(gm.zeros(2))` is `tensor([1., 1.])`."""
    return one("exp", input)


def exp2(input: Tensor) -> Tensor:
    """2 to the power x. Example: `gm.exp2(gm.ones(2))` is `tensor([2., 2.])`."""
    return one("exp2", input)


def expm1(input: Tensor) -> Tensor:
    """exp(x) - 1, exact near 0. Example: `gm.expm1(gm.zeros(2))` is `tensor([0., 0.])`."""
    return one("expm1", input)


def log(input: Tensor) -> Tensor:
    """Natural logarithm. Example: `gm.log(gm.ones(2))` is `tensor([0., 0.])`."""
    return one("log", input)


def log1p(input: Tensor) -> Tensor:
    """log(1 + x), exact near 0. Example: `gm.log1p(gm.zeros(2))` is `tensor([0., 0.])`."""
    return one("log1p", input)


def log2(input: Tensor) -> Tensor:
    """Logarithm to base 2. Example: `gm.log2(gm.tensor([8.]))` is `tensor([3.])`."""
    return one("log2", input)


def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10. Example: `gm.log10(gm.tensor([10.]))` is `tensor([1.])`."""
    return one("log10", input)


def sqrt(input: Tensor) -> Tensor:
    """Square root. Example: `gm.sqrt(gm.tensor([9.]))` is `tensor([3.])`."""
    return one("sqrt", input)


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(x). Example: `gm.rsqrt(gm.tensor([4.]))` is `tensor([0.5000])`."""
    return one("rsqrt", input)


def reciprocal(input: Tensor) -> Tensor:
    """1 / x. Example: `gm.reciprocal(gm.tensor([4.]))` is `tensor([0.2500])`."""
    return one("reciprocal", input)


def sin(input: Tensor) -> Tensor:
    """Sine of an angle in radians. Example: `gm.sin(gm.zeros(1))` is `tensor([0.])`."""
    return one("sin", input)


def cos(input: Tensor) -> Tensor:
    """Cosine of an angle in radians. Example: `gm.cos(gm.zeros(1))` is `tensor([1.])`."""
    return one("cos", input)


def tan(input: Tensor) -> Tensor:
    """Tangent of an angle in radians. Example: `gm.tan(gm.zeros(1))` is `tensor([0.])`."""
    return one("tan", input)


def asin(input: Tensor) -> Tensor:
    """Angle in radians whose sine is x. Example: `gm.asin(gm.ones(1))` is `tensor([1.5708])`."""
    return one("asin", input)


def acos(input: Tensor) -> Tensor:
    """Angle in radians whose cosine is x. Example: `gm.acos(gm.ones(1))` is `tensor([0.])`."""
    return one("acos", input)


def atan(input: Tensor) -> Tensor:
    """Angle in radians whose tangent is x. Example: `gm.atan(gm.ones(1))` is `tensor([0.7854])`."""
    return one("atan", input)


def sinh(input: Tensor) -> Tensor:
    """Hyperbolic sine. Example: `gm.sinh(gm.zeros(1))` is `tensor([0.])`."""
    return one("sinh", input)


def cosh(input: Tensor) -> Tensor:
    """Hyperbolic cosine. Example: `gm.cosh(gm.zeros(1))` is `tensor([1.])`."""
    return one("cosh", input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent. Example: `gm.tanh(gm.zeros(1))` is `tensor([0.])`."""
    return one("tanh", input)


def asinh(input: Tensor) -> Tensor:
    """Inverse of sinh. Example: `gm.asinh(gm.zeros(1))` is `tensor([0.])`."""
    return one("asinh", input)


def acosh(input: Tensor) -> Tensor:
    """Inverse of cosh. Example: `gm.acosh(gm.ones(1))` is `tensor([0.])`."""
    return one("acosh", input)


def atanh(input: Tensor) -> Tensor:
    """Inverse of tanh. Example: `gm.atanh(gm.zeros(1))` is `tensor([0.])`."""
    return one("atanh", input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x)). Example: `gm.sigmoid(gm.zeros(1))` is `tensor([0.5000])`."""
    return one("sigmoid", input)


def relu(input: Tensor) -> Tensor:
    """max(x, 0). Example: `gm.relu(gm.tensor([-1., 2.]))` is `tensor([0., 2.])`."""
    return one("relu", input)


def erf(input: Tensor) -> Tensor:
    """Error function. Example: `gm.erf(gm.zeros(1))` is `tensor([0.])`."""
    return one("erf", input)


def erfc(input: Tensor) -> Tensor:
    """1 - erf(x), exact for large x. Example: `gm.erfc(gm.zeros(1))` is `tensor([1.])`."""
    return one("erfc", input)


def abs(input: Tensor) -> Tensor:
    """Absolute value; of a complex number its modulus. Example: `gm.abs(gm.tensor([-2.]))` is `tensor([2.])`."""
    return one("abs", input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of x. Example: `gm.sign(gm.tensor([-2.]))` is `tensor([-1.])`."""
    return one("sign", input)


def sgn(input: Tensor) -> Tensor:
    """`x / |x|`, also of complex numbers; 0 at 0. Example: `gm.sgn(gm.tensor([-2.]))` is `tensor([-1.])`."""
    return one("sgn", input)


def floor(input: Tensor) -> Tensor:
    """Largest whole number not above x. Example: `gm.floor(gm.tensor([1.5]))` is `tensor([1.])`."""
    return one("floor", input)


def ceil(input: Tensor) -> Tensor:
    """Smallest whole number not below x. Example: `gm.ceil(gm.tensor([1.5]))` is `tensor([2.])`."""
    return one("ceil", input)


def trunc(input: Tensor) -> Tensor:
    """`x` without its fraction. Example: `gm.trunc(gm.tensor([-1.5]))` is `tensor([-1.])`."""
    return one("trunc", input)


def frac(input: Tensor) -> Tensor:
    """The fraction of x, with its sign. Example: `gm.frac(gm.tensor([1.5]))` is `tensor([0.5000])`."""
    return one("frac", input)


def round(input: Tensor, *, decimals: int | None = None) -> Tensor:
    """To the nearest whole number, or number of decimals; halves to even.

    Example: `gm.round(gm.tensor([1.5]))` is `tensor([2.])`.
    """
    return one("round", input) if decimals is None else one("round", input, decimals=decimals)


def isnan(input: Tensor) -> Tensor:
    """True where x is nan. Example: `gm.isnan(gm.ones(1))` is `tensor([False])`."""
    return one("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """True where x is infinite. Example: `gm.isinf(gm.ones(1))` is `tensor([False])`."""
    return one("isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """True where x is neither infinite nor nan. Example: `gm.isfinite(gm.ones(1))` is `tensor([True])`."""
    return one("isfinite", input)


def logical_not(input: Tensor) -> Tensor:
    """True where x is zero. Example: `gm.logical_not(gm.ones(1))` is `tensor([False])`."""
    return one("logical_not", input)


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit of an integer, or a bool, inverted. Example: `gm.bitwise_not(gm.tensor([0]))` is `tensor([-1])`."""
    return one("bitwise_not", input)


# --- other names ----------------------------------------------------------------------------------

absolute = abs
arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctanh = atanh
fix = trunc
negative = neg
