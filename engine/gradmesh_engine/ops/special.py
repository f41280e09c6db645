"""Special functions: one primitive of one operand and one of two, valued by SciPy; the rest is composed.

A function is a row: where its values come from and its derivative, written in ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Site, declare
from gradmesh_engine.ops.numeric import isfinite, sgn
from gradmesh_engine.ops.pointwise import (
    REAL,
    Run,
    conjugate,
    convert,
    floating,
    ge,
    gt,
    in_float32,
    is_zero,
    keep,
    le,
    logical_and,
    logical_not,
    lt,
    ne,
    nonzero,
    pointwise,
    where,
    zeros_like,
)
from gradmesh_engine.ops.smooth import cos, exp, log, normal_cdf, sin

Values: TypeAlias = "Callable[[Site], Run]"


@dataclass(frozen=True, slots=True)
class Function:
    """One special function.

    Attributes:
        values: the kernel: writes the function of its operands into the last argument.
        slopes: the derivative by each operand, `slope(g, y, *xs)`; None where PyTorch has none.
    """

    values: Values
    slopes: tuple[Callable[..., V] | None, ...] = (None,)


def _scipy(name: str) -> Values:
    """SciPy's function of that name."""

    def make(site: Site) -> Run:
        import scipy.special as functions  # loaded when first needed: slow to import

        function = getattr(functions, name)
        return lambda *args: function(*args[: len(site.ins)], out=args[len(site.ins)])

    return make


def _airy(site: Site) -> Run:
    from scipy.special import airy

    return lambda x, out: np.copyto(out, airy(x)[0], casting="same_kind")


def _lgamma(site: Site) -> Run:
    from scipy.special import gammaln

    def run(x: np.ndarray, out: np.ndarray) -> None:
        size = np.abs(x)
        gammaln(x, out=out)
        # Where SciPy overflows, and where it keeps a sign the absolute value has not.
        np.copyto(out, -np.log(size), where=size < np.finfo(x.dtype).tiny)
        np.copyto(out, math.inf, where=np.isinf(size))

    return run


def _zeta(site: Site) -> Run:
    from scipy.special import zeta

    return lambda x, q, out: np.copyto(out, zeta(x, q), casting="same_kind")


def _sinc_of_radians(site: Site) -> Run:
    def run(x: np.ndarray, out: np.ndarray) -> None:
        safe = np.where(x == 0, 1, x)
        y = np.where(x == 0, 1, np.sin(safe) / safe)
        np.copyto(out, np.where(np.isinf(x), 0, y), casting="same_kind")

    return run


def _mantissa(site: Site) -> Run:
    return lambda x, out: np.copyto(out, np.frexp(x)[0])


# --- one operand ----------------------------------------------------------------------------------


def _by(slope: Callable[[V, V], V]) -> tuple[Callable[..., V]]:
    return (lambda g, y, x: g * slope(y, x),)


def _mantissa_slope(y: V, x: V) -> V:
    """2 to minus the exponent, which is 0 of 0, infinities and NaN."""
    result: V = where(logical_and(nonzero(x), isfinite(x)), y / x, constant(x, 1))
    return result


def _tiny(x: V) -> V:
    """Where a number is nothing beside 1, and its reciprocal may overflow."""
    result: V = logical_and(ge(x, constant(x, -1e-17)), le(x, constant(x, 1e-17)))
    return result


def _i1_slope(y: V, x: V) -> V:
    """i0(x) - i1(x) / x, and 1/2 at 0."""
    flat = _tiny(x)
    safe = where(flat, constant(x, 1), x)
    return where(flat, constant(x, 0.5), of(safe, "i0") - y / safe)


def _i1e_slope(y: V, x: V) -> V:
    """i0e(x) - i1e(x) (sgn(x) + 1 / x), and 1/2 at 0."""
    flat = _tiny(x)
    safe = where(flat, constant(x, 1), x)
    return where(flat, constant(x, 0.5), of(safe, "i0e") - y * (sgn(x) + 1 / safe))


_ROOT_PI: Final = math.sqrt(math.pi)
_ROOT_2PI: Final = math.sqrt(2 * math.pi)

FUNCTIONS: Final[Mapping[str, Function]] = {
    "airy_ai": Function(_airy),
    "bessel_j0": Function(_scipy("j0")),
    "bessel_j1": Function(_scipy("j1")),
    "bessel_y0": Function(_scipy("y0")),
    "bessel_y1": Function(_scipy("y1")),
    "digamma": Function(_scipy("psi"), _by(lambda y, x: zeta(constant(x, 2), x))),
    "entr": Function(_scipy("entr"), _by(lambda y, x: -(log(x) + 1))),
    "erfcx": Function(_scipy("erfcx"), _by(lambda y, x: 2 * x * y - 2 / _ROOT_PI)),
    "erfinv": Function(_scipy("erfinv"), _by(lambda y, x: exp(y * y) * (0.5 * _ROOT_PI))),
    "i0": Function(_scipy("i0"), _by(lambda y, x: of(x, "i1"))),
    "i0e": Function(_scipy("i0e"), _by(lambda y, x: of(x, "i1e") - sgn(x) * y)),
    "i1": Function(_scipy("i1"), _by(_i1_slope)),
    "i1e": Function(_scipy("i1e"), _by(_i1e_slope)),
    "lgamma": Function(_lgamma, _by(lambda y, x: of(x, "digamma"))),
    "log_ndtr": Function(_scipy("log_ndtr"), _by(lambda y, x: exp(-(y + x * x * 0.5)) * (1 / _ROOT_2PI))),
    "mantissa": Function(_mantissa, _by(_mantissa_slope)),
    "modified_bessel_k0": Function(_scipy("k0")),
    "modified_bessel_k1": Function(_scipy("k1")),
    "ndtri": Function(_scipy("ndtri"), _by(lambda y, x: exp(y * y * 0.5) * _ROOT_2PI)),
    "scaled_modified_bessel_k0": Function(_scipy("k0e")),
    "scaled_modified_bessel_k1": Function(_scipy("k1e")),
    "spherical_bessel_j0": Function(_sinc_of_radians),
}


@in_float32
def _special_kernel(site: Site) -> Run:
    return _chosen(FUNCTIONS, site.attrs["function"]).values(site)


def _chosen(table: Mapping[str, Function], name: AttrValue) -> Function:
    found = table.get(str(name))
    if found is None:
        raise AttributeTypeError(f"unknown function {name!r}", expected=", ".join(table), got=repr(name))
    return found


def _slopes(table: Mapping[str, Function]) -> Callable[..., tuple[V, ...]]:
    def vjp(g: V, y: V, *xs: V, function: str) -> tuple[V, ...]:
        slopes = _chosen(table, function).slopes
        return tuple(
            # Nobody knows this derivative, and nobody shall take it for zero.
            constant(g, math.nan, g.shape) if slope is None else slope(g, y, *xs)
            for slope in slopes
        )

    return vjp


special = pointwise(
    "special",
    _special_kernel,
    compute=floating,
    allowed=REAL,
    attrs={"function": Attr("str", doc="its name")},
    cost=40.0,
    inplace=False,
    vjp=_slopes(FUNCTIONS),
    check=lambda attrs, dtype: _chosen(FUNCTIONS, attrs["function"]),
    doc="A special function of one operand.",
)


def of(x: V, function: str) -> V:
    """The special function of that name, of a handle."""
    return special(x, function=function)


# --- two operands ---------------------------------------------------------------------------------


def _gamma_density(g: V, y: V, a: V, x: V) -> V:
    return g * exp((a - 1) * log(x) - x - of(a, "lgamma"))


def _at_first(g: V, y: V, a: V, b: V) -> V:
    return keep(g, ne(a, b))


def _xlog1py_slope(g: V, y: V, a: V, b: V) -> V:
    value = pair_of(g, b, "xlog1py")
    return keep(value, logical_not(logical_and(is_zero(a), le(b, constant(b, -1)))))


PAIRS: Final[Mapping[str, Function]] = {
    "copysign": Function(
        lambda site: np.copysign, (lambda g, y, a, b: g * _ratio(y, a), lambda g, y, a, b: zeros_like(g))
    ),
    "igamma": Function(_scipy("gammainc"), (None, _gamma_density)),
    "igammac": Function(_scipy("gammaincc"), (None, lambda g, y, a, x: -_gamma_density(g, y, a, x))),
    "nextafter": Function(lambda site: np.nextafter, (_at_first, lambda g, y, a, b: zeros_like(g))),
    "xlog1py": Function(_scipy("xlog1py"), (_xlog1py_slope, lambda g, y, a, b: g * a / (b + 1))),
    "zeta": Function(_zeta, (None, lambda g, y, s, q: g * (-s * pair_of(s + 1, q, "zeta")))),
}


def _ratio(y: V, a: V) -> V:
    return keep(y / a, logical_not(is_zero(a)))


def _pair_kernel(site: Site) -> Run:
    run = _chosen(PAIRS, site.attrs["function"]).values
    # The neighbour of a 16-bit float is not that of the float32 of its value.
    return run(site) if site.attrs["function"] == "nextafter" else in_float32(run)(site)


special_pair = pointwise(
    "special_pair",
    _pair_kernel,
    arity=2,
    compute=floating,
    allowed=REAL,
    attrs={"function": Attr("str", doc="its name")},
    cost=60.0,
    inplace=False,
    vjp=_slopes(PAIRS),
    check=lambda attrs, dtype: _chosen(PAIRS, attrs["function"]),
    doc="A special function of two operands.",
)


def pair_of(a: V, b: V, function: str) -> V:
    """The special function of two operands of that name, of handles."""
    return special_pair(a, b, function=function)


def zeta(s: V, q: V) -> V:
    """Hurwitz' zeta function."""
    return pair_of(s, q, "zeta")


def _declare(
    name: str, grad_name: str, doc: str, body: Callable[..., Any], arity: int = 1, **changes: Any
) -> Composite:
    return declare(Composite(name=name, arity=arity, grad_name=grad_name, doc=doc, body=body, **changes))


def _of(function: str) -> Callable[[V], V]:
    return lambda x: of(x, function)


def _pair(function: str) -> Callable[[V, V], V]:
    return lambda a, b: pair_of(a, b, function)


# Name, name of the grad_fn ("" where PyTorch does not differentiate), what it is.
for _name, _grad_name, _doc in (
    ("airy_ai", "", "Airy's function Ai."),
    ("bessel_j0", "", "Bessel function of the first kind, order 0."),
    ("bessel_j1", "", "Bessel function of the first kind, order 1."),
    ("bessel_y0", "", "Bessel function of the second kind, order 0."),
    ("bessel_y1", "", "Bessel function of the second kind, order 1."),
    ("digamma", "DigammaBackward0", "Derivative of the logarithm of the gamma function."),
    ("entr", "SpecialEntrBackward0", "-x log(x), 0 at 0, -infinity below."),
    ("erfcx", "SpecialErfcxBackward0", "e^(x²) erfc(x)."),
    ("erfinv", "ErfinvBackward0", "Inverse of the error function."),
    ("i0", "I0Backward0", "Modified Bessel function of the first kind, order 0."),
    ("i0e", "SpecialI0EBackward0", "e^-|x| i0(x)."),
    ("i1", "SpecialI1Backward0", "Modified Bessel function of the first kind, order 1."),
    ("i1e", "SpecialI1EBackward0", "e^-|x| i1(x)."),
    ("lgamma", "LgammaBackward0", "Logarithm of the absolute value of the gamma function."),
    ("log_ndtr", "SpecialLogNdtrBackward0", "Logarithm of the standard normal distribution function."),
    ("modified_bessel_k0", "", "Modified Bessel function of the second kind, order 0."),
    ("modified_bessel_k1", "", "Modified Bessel function of the second kind, order 1."),
    ("ndtri", "SpecialNdtriBackward0", "Inverse of the standard normal distribution function."),
    ("scaled_modified_bessel_k0", "", "e^x times the modified Bessel function of the second kind, order 0."),
    ("scaled_modified_bessel_k1", "", "e^x times the modified Bessel function of the second kind, order 1."),
    ("spherical_bessel_j0", "", "sin(x) / x, 1 at 0."),
):
    _declare(_name, _grad_name, _doc, _of(_name))
for _name, _function in (("modified_bessel_i0", "i0"), ("modified_bessel_i1", "i1")):
    _declare(_name, "", f"{_function}, which PyTorch has once more without a derivative.", _of(_function))
for _name, _grad_name, _doc in (
    ("igamma", "IgammaBackward0", "Regularised lower incomplete gamma function P(a, x)."),
    ("igammac", "IgammacBackward0", "Regularised upper incomplete gamma function Q(a, x)."),
    ("nextafter", "NextafterBackward0", "The next number the dtype holds, from a towards b."),
    ("xlog1py", "SpecialXlog1PyBackward0", "a log(1 + b), and 0 where a is 0."),
    ("zeta", "SpecialZetaBackward0", "Hurwitz' zeta function of s and q."),
):
    _declare(_name, _grad_name, _doc, _pair(_name), arity=2)

_declare(
    "ndtr", "MulBackward1", "Standard normal distribution function.", lambda x: normal_cdf(convert(x, dtype=_float(x)))
)


def _float(x: V) -> str:
    """The name of the dtype a function with values in the reals computes in."""
    return floating(x.dtype).name


# --- the gamma function's relatives ---------------------------------------------------------------


def _polygamma(x: V, n: int) -> V:
    if n < 0:
        raise AttributeTypeError("polygamma(n, x) does not support negative n.", expected="n >= 0", got=str(n))
    if n == 0:
        return of(x, "digamma")
    x = convert(x, dtype=_float(x))
    sign = 1.0 if n % 2 else -1.0
    factorial = math.gamma(n + 1) if n <= 170 else math.inf
    return zeta(constant(x, float(n + 1)), x) * (sign * factorial)


def _mvlgamma(x: V, p: int) -> V:
    if p < 1:
        raise AttributeTypeError("p has to be greater than or equal to 1", expected="p >= 1", got=str(p))
    x = convert(x, dtype=_float(x))
    total = of(x, "lgamma")
    for i in range(1, p):
        total = total + of(x - 0.5 * i, "lgamma")
    return total + p * (p - 1) / 4 * math.log(math.pi)


_declare(
    "polygamma",
    "PolygammaBackward0",
    "The n-th derivative of digamma.",
    _polygamma,
    attrs={"n": Attr("int", doc="the order, 0 or more")},
)
_declare(
    "mvlgamma",
    "MvlgammaBackward0",
    "Logarithm of the multivariate gamma function of dimension p.",
    _mvlgamma,
    attrs={"p": Attr("int", doc="the dimension, 1 or more")},
)

# --- elementary -----------------------------------------------------------------------------------


def _sinc(x: V) -> V:
    x = convert(x, dtype=_float(x))
    zero = is_zero(x)
    turned = where(zero, constant(x, 1), x * math.pi)
    return where(zero, constant(x, 1), sin(turned) / turned)


def _sinc_vjp(g: V, y: V, x: V) -> tuple[V]:
    x = convert(x, dtype=_float(x))
    turned, divisor = x * math.pi, x * x * math.pi
    flat = is_zero(divisor)
    slope = (turned * cos(turned) - sin(turned)) / where(flat, constant(x, 1), divisor)
    return (where(flat, constant(g, 0), g * conjugate(slope)),)


_declare("sinc", "SincBackward0", "sin(pi x) / (pi x), 1 at 0.", _sinc, vjp=_sinc_vjp)


def _logit(x: V, eps: float | None) -> V:
    x = convert(x, dtype=_float(x))
    if eps is not None:
        x = where(lt(x, constant(x, eps)), constant(x, eps), x)
        x = where(gt(x, constant(x, 1 - eps)), constant(x, 1 - eps), x)
    return log(x / (1 - x))


def _logit_vjp(g: V, y: V, x: V, eps: float | None) -> tuple[V]:
    x = convert(x, dtype=_float(x))
    low = 0.0 if eps is None else eps
    inside = logical_and(ge(x, constant(x, low)), le(x, constant(x, 1 - low)))
    return (where(inside, g / (x * (1 - x)), constant(g, math.nan if eps is None else 0)),)


_declare(
    "logit",
    "LogitBackward0",
    "log(x / (1 - x)), of x limited to [eps, 1 - eps].",
    _logit,
    attrs={"eps": Attr("float", None, "how far from 0 and 1")},
    vjp=_logit_vjp,
)

# --- orthogonal polynomials -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """A family of polynomials by its recurrence.

    Attributes:
        first: the polynomial of order 1.
        step: `step(k, x, p, q)`, that of order k from those of orders k - 2 and k - 1.
        limit: the order above which PyTorch gives NaN, for float64 and for the narrower floats.
    """

    first: Callable[[Any], Any]
    step: Callable[[int, Any, Any, Any], Any]
    limit: tuple[int, int] | None = None


def _chebyshev(first: Callable[[Any], Any], shifted: bool) -> Family:
    if not shifted:
        return Family(first, lambda k, x, p, q: 2 * x * q - p)
    return Family(lambda x: first(2 * x - 1), lambda k, x, p, q: 2 * (2 * x - 1) * q - p)


_CHEBYSHEV: Final[Mapping[str, Callable[[Any], Any]]] = {
    "t": lambda x: x,
    "u": lambda x: 2 * x,
    "v": lambda x: 2 * x - 1,
    "w": lambda x: 2 * x + 1,
}

FAMILIES: Final[Mapping[str, Family]] = {
    **{f"chebyshev_polynomial_{kind}": _chebyshev(first, False) for kind, first in _CHEBYSHEV.items()},
    **{f"shifted_chebyshev_polynomial_{kind}": _chebyshev(first, True) for kind, first in _CHEBYSHEV.items()},
    "hermite_polynomial_h": Family(lambda x: 2 * x, lambda k, x, p, q: 2 * (x * q - (k - 1) * p), (512, 128)),
    "hermite_polynomial_he": Family(lambda x: x, lambda k, x, p, q: x * q - (k - 1) * p, (512, 128)),
    "laguerre_polynomial_l": Family(lambda x: 1 - x, lambda k, x, p, q: ((2 * k - 1 - x) * q - (k - 1) * p) / k),
    "legendre_polynomial_p": Family(lambda x: x, lambda k, x, p, q: ((2 * k - 1) * x * q - (k - 1) * p) / k),
}

LARGEST_ORDER: Final = 100_000
"""Orders are computed one after the other; more of them are refused."""


def _family(name: AttrValue) -> Family:
    found = FAMILIES.get(str(name))
    if found is None:
        raise AttributeTypeError(f"unknown family {name!r}", expected=", ".join(FAMILIES), got=repr(name))
    return found


def _polynomial_kernel(site: Site) -> Run:
    family = _family(site.attrs["family"])
    limit = None if family.limit is None else family.limit[site.out.dtype != dtypes.float64]

    def run(x: np.ndarray, n: np.ndarray, out: np.ndarray) -> None:
        wide = x.astype(np.float64)
        order = np.nan_to_num(np.trunc(n), nan=-1.0)
        highest = int(order.max(initial=0))
        if limit is not None:
            highest = min(highest, limit)
        if highest > LARGEST_ORDER:
            raise AttributeTypeError(
                f"the order {highest} is too large", expected=f"at most {LARGEST_ORDER}", got=str(highest)
            )
        p, q = np.ones_like(wide), family.first(wide)
        found = np.where(order < 0, 0.0, np.where(order == 0, p, q))
        for k in range(2, highest + 1):
            p, q = q, family.step(k, wide, p, q)
            np.copyto(found, q, where=order == k)
        if limit is not None:
            np.copyto(found, math.nan, where=order > limit)
        np.copyto(out, found, casting="same_kind")

    return run


def _polynomial_allowed(dtype: np.dtype) -> bool:
    return REAL(dtype) and not dtypes.is_half(dtype)


polynomial = pointwise(
    "polynomial",
    _polynomial_kernel,
    arity=2,
    compute=floating,
    allowed=_polynomial_allowed,
    attrs={"family": Attr("str", doc="its name")},
    cost=60.0,
    inplace=False,
    check=lambda attrs, dtype: _family(attrs["family"]),
    doc="The orthogonal polynomial of a family at x, of order n: the second operand, truncated; 0 for negative orders.",
)


def _polynomial(family: str) -> Callable[[V, V], V]:
    return lambda x, n: polynomial(x, n, family=family)


for _name in FAMILIES:
    _declare(_name, "", f"{_name.replace('_', ' ').capitalize()} at x, of order n.", _polynomial(_name), arity=2)
