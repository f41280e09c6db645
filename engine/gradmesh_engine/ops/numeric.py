"""Pointwise functions: signs, rounding, remainders, powers, parts of complex numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import BOOL, COMPLEX, FLOAT
from gradmesh_engine.errors import DTypeError, InvalidRequestError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Composite, Primitive, Site, Specs, declare, unturned
from gradmesh_engine.ops.pointwise import (
    NUMBER,
    REAL,
    REAL_NUMBER,
    Run,
    check_held,
    conjugate,
    convert,
    flat,
    floating,
    ge,
    in_float32,
    is_zero,
    keep,
    logical_and,
    logical_not,
    nonzero,
    of_category,
    pointwise,
    pointwise_axes,
    to_bool,
    zeros_like,
)
from gradmesh_engine.ops.smooth import log

# --- signs ----------------------------------------------------------------------------------------


def _abs_vjp(g: V, y: V, x: V) -> tuple[V]:
    return (g * (sgn(x) if dtypes.is_complex(x.dtype) else sign(x)),)


def _sgn_vjp(g: V, y: V, x: V) -> tuple[V]:
    if not dtypes.is_complex(x.dtype):
        return (zeros_like(g),)
    size = absolute(x)
    turned = g - real(g * conjugate(y)) * y
    return (keep(turned / size, nonzero(size)),)


def _sign_kernel(site: Site) -> np.ufunc | Run:
    category = dtypes.category(site.out.dtype)
    if category == BOOL:
        return lambda x, out: np.copyto(out, x)
    if category != FLOAT:
        return np.sign
    above, below = (np.empty(site.out.shape, np.bool_) for _ in range(2))

    def run(x: np.ndarray, out: np.ndarray) -> None:
        # Comparisons are faster than np.sign, and NaN has sign 0 as in PyTorch.
        np.greater(x, 0, out=above)
        np.less(x, 0, out=below)
        np.subtract(above.view(np.int8), below.view(np.int8), out=above.view(np.int8))
        np.copyto(out, above.view(np.int8), casting="unsafe")

    return run


absolute = pointwise("abs", np.absolute, allowed=NUMBER, result=dtypes.real_of, vjp=_abs_vjp, inplace=False, doc="|x|")
sign = pointwise("sign", _sign_kernel, allowed=REAL, vjp=flat, doc="-1, 0 or 1 by the sign of x.")
sgn = pointwise("sgn", _sign_kernel, vjp=_sgn_vjp, doc="x / |x|, 0 at 0, also of complex numbers.")

isnan = pointwise("isnan", np.isnan, result=to_bool, inplace=False, doc="True where x is NaN.")
isinf = pointwise("isinf", np.isinf, result=to_bool, inplace=False, doc="True where x is infinite.")
isfinite = pointwise("isfinite", np.isfinite, result=to_bool, inplace=False, doc="True where x is finite.")

# --- rounding -------------------------------------------------------------------------------------


def _rounding(ufunc: np.ufunc) -> Any:
    def kernel(site: Site) -> np.ufunc | Run:
        if dtypes.category(site.out.dtype) < FLOAT:
            return lambda x, out: np.copyto(out, x)
        return ufunc

    return kernel


@in_float32
def _round_kernel(site: Site) -> Run:
    decimals = site.attrs.get("decimals", 0)
    if dtypes.category(site.out.dtype) < FLOAT:
        return lambda x, out: np.copyto(out, x)
    if not decimals:
        return np.rint
    assert isinstance(decimals, int)
    scale = 10.0 ** abs(decimals) if abs(decimals) <= 308 else math.inf
    there, back = (np.multiply, np.divide) if decimals > 0 else (np.divide, np.multiply)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        there(x, scale, out=out)
        np.rint(out, out=out)
        back(out, scale, out=out)

    return run


def _flat_attrs(g: V, y: V, x: V, **_: AttrValue) -> tuple[V]:
    return (zeros_like(g),)


floor = pointwise("floor", _rounding(np.floor), allowed=REAL_NUMBER, vjp=flat, doc="Largest whole number ≤ x.")
ceil = pointwise("ceil", _rounding(np.ceil), allowed=REAL_NUMBER, vjp=flat, doc="Smallest whole number ≥ x.")
trunc = pointwise("trunc", _rounding(np.trunc), allowed=REAL_NUMBER, vjp=flat, doc="x without its fraction.")
round_ = pointwise(
    "round",
    _round_kernel,
    allowed=REAL_NUMBER,
    attrs={"decimals": Attr("int", None, "decimal places kept, by default none")},
    vjp=_flat_attrs,
    grad_name=lambda specs, attrs: "RoundBackward0" if attrs.get("decimals") is None else "RoundBackward1",
    doc="The nearest whole number, halves to even.",
)
frac = declare(
    Composite(
        name="frac",
        arity=1,
        grad_name="FracBackward0",
        doc="The fraction of x, with its sign.",
        body=lambda x: x - trunc(x),
    )
)

# --- division with remainder ----------------------------------------------------------------------


def _checked(ufunc: np.ufunc) -> Any:
    """Integers refuse to divide by 0, as they do in PyTorch."""

    def kernel(site: Site) -> np.ufunc | Run:
        if dtypes.category(site.out.dtype) >= FLOAT:
            return ufunc

        def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
            if not b.all():
                raise InvalidRequestError("ZeroDivisionError: an integer was divided by zero", got="0")
            ufunc(a, b, out=out)

        return run

    return kernel


@in_float32
def _div_trunc_kernel(site: Site) -> Run:
    if dtypes.category(site.out.dtype) < FLOAT:

        def run_int(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
            if not b.all():
                raise InvalidRequestError("ZeroDivisionError: an integer was divided by zero", got="0")
            np.subtract(a, np.fmod(a, b), out=out)
            np.floor_divide(out, b, out=out)

        return run_int

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        np.divide(a, b, out=out)
        np.trunc(out, out=out)

    return run


def _flat_pair(g: V, y: V, a: V, b: V) -> tuple[V, V]:
    return zeros_like(g), zeros_like(g)


def by_number(tensor: str, number: str) -> Callable[[Specs, Mapping[str, AttrValue]], str]:
    """The grad_fn's name by whether the other operand was given as a tensor or as a number."""
    return lambda specs, attrs: number if attrs.get("number") else tensor


NUMBER_GIVEN: Final = {"number": Attr("bool", None, "the other operand was given as a number")}


floor_divide = pointwise(
    "floor_divide",
    _checked(np.floor_divide),
    arity=2,
    allowed=REAL_NUMBER,
    cost=4.0,
    doc="The largest whole number ≤ a / b; not differentiable, as in PyTorch.",
)
div_floor = pointwise(
    "div_floor",
    _checked(np.floor_divide),
    arity=2,
    allowed=REAL_NUMBER,
    cost=4.0,
    vjp=_flat_pair,
    grad_name="DivBackward2",
    doc="a / b rounded down; its gradient is zero.",
)
div_trunc = pointwise(
    "div_trunc",
    _div_trunc_kernel,
    arity=2,
    allowed=REAL_NUMBER,
    cost=4.0,
    inplace=False,
    vjp=_flat_pair,
    grad_name="DivBackward2",
    doc="a / b rounded towards 0; its gradient is zero.",
)
remainder = pointwise(
    "remainder",
    _checked(np.remainder),
    arity=2,
    allowed=REAL_NUMBER,
    cost=6.0,
    attrs=NUMBER_GIVEN,
    vjp=lambda g, y, a, b, **_: (g, -(g * div_floor(a, b))),
    grad_name=by_number("RemainderBackward1", "RemainderBackward0"),
    doc="a - b * floor(a / b): the sign is b's.",
)
fmod = pointwise(
    "fmod",
    _checked(np.fmod),
    arity=2,
    allowed=REAL_NUMBER,
    cost=6.0,
    attrs=NUMBER_GIVEN,
    vjp=lambda g, y, a, b, **_: (g, -(g * div_trunc(a, b))),
    grad_name=by_number("FmodBackward1", "FmodBackward0"),
    doc="a - b * trunc(a / b): the sign is a's.",
)

# --- powers ---------------------------------------------------------------------------------------


def _power_kernel(site: Site) -> np.ufunc | Run:
    if dtypes.category(site.out.dtype) >= FLOAT:
        return np.power

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        # A whole number to a negative power is 0 but for 1 and -1.
        np.power(a, np.maximum(b, 0), out=out)
        negative = b < 0
        if negative.any():
            odd = np.where(b % 2 == 0, 1, a)
            np.copyto(out, np.where(np.abs(a) == 1, odd, 0), where=negative, casting="unsafe")

    return run


def _power_vjp(g: V, y: V, a: V, b: V) -> tuple[V, V]:
    ga = keep(g * conjugate(b * power(a, b - 1)), nonzero(b))
    exponent = real(b) if dtypes.is_complex(b.dtype) else b
    vanishes = logical_and(is_zero(a), ge(exponent, constant(exponent, 0)))
    return ga, keep(g * conjugate(y * log(a)), logical_not(vanishes))


power = pointwise(
    "pow",
    _power_kernel,
    arity=2,
    allowed=NUMBER,
    cost=8.0,
    inplace=False,
    vjp=_power_vjp,
    grad_name="PowBackward1",
    doc="a to the power b.",
)


def _exponent_dtype(exponent: AttrValue) -> np.dtype:
    if isinstance(exponent, complex):
        return dtypes.complex128
    return dtypes.float64 if isinstance(exponent, float) else dtypes.int64


def _pow_scalar_dtype(x: TensorSpec, exponent: AttrValue) -> np.dtype:
    return dtypes.result_type([(x.dtype, 2), (_exponent_dtype(exponent), 0)])


def _pow_scalar_spec(specs: Specs, exponent: AttrValue) -> TensorSpec:
    dtype = _pow_scalar_dtype(specs[0], exponent)
    assert isinstance(exponent, (bool, int, float, complex))
    if dtypes.category(dtype) < FLOAT and not isinstance(exponent, complex) and exponent < 0:
        raise DTypeError(
            "Integers to negative integer powers are not allowed.",
            expected="an exponent ≥ 0, or a float",
            got=str(exponent),
            remedy="cast the operand to a float",
        )
    check_held(exponent, dtype)
    return TensorSpec(specs[0].shape, dtype)


@in_float32
def _pow_scalar_kernel(site: Site) -> np.ufunc | Run:
    exponent: Any = site.attrs["exponent"]
    floats = dtypes.category(site.out.dtype) >= FLOAT
    if exponent == 2:
        return np.square
    if exponent == 1:
        return lambda x, out: np.copyto(out, x)
    if exponent == 0.5:
        return np.sqrt
    if exponent == -1 and floats:
        return np.reciprocal

    def cube(x: np.ndarray, out: np.ndarray) -> None:
        np.square(x, out=out)
        np.multiply(out, x, out=out)

    def root(x: np.ndarray, out: np.ndarray) -> None:
        np.sqrt(x, out=out)
        np.reciprocal(out, out=out)

    if exponent == 3:
        return cube
    if exponent == -0.5:
        return root
    number = site.out.dtype.type(exponent)
    return lambda x, out: np.power(x, number, out=out)


def _pow_scalar_vjp(g: V, y: V, x: V, exponent: Any) -> tuple[V]:
    if exponent == 0:
        return (zeros_like(g),)
    if exponent == 1:
        return (g,)
    slope = x if exponent == 2 else pow_scalar(x, exponent=exponent - 1)
    if isinstance(exponent, complex):
        exponent = exponent.conjugate()
    return (g * exponent * conjugate(slope),)


def _pow_scalar_prepare(operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> Sequence[V]:
    (x,) = operands
    return (convert(x, dtype=_pow_scalar_dtype(x.spec, attrs["exponent"]).name),)


pow_scalar: Primitive = declare(
    Primitive(
        name="pow_scalar",
        arity=1,
        attrs={"exponent": Attr("number")},
        grad_name="PowBackward0",
        doc="x to the power of a number.",
        spec=_pow_scalar_spec,
        kernel=_pow_scalar_kernel,
        vjp=_pow_scalar_vjp,
        axes=pointwise_axes,
        turned=unturned,
        cost=lambda specs, out, attrs: (1.0 if attrs["exponent"] == 2 else 8.0) * out.size,
        cheap=True,
        prepare=_pow_scalar_prepare,
    )
)
square = declare(
    Composite(name="square", arity=1, grad_name="PowBackward0", doc="x * x", body=lambda x: pow_scalar(x, exponent=2))
)

# --- complex numbers ------------------------------------------------------------------------------


def _angle_kernel(site: Site) -> Run:
    if dtypes.is_complex(site.ins[0].dtype):
        return lambda x, out: np.arctan2(x.imag, x.real, out=out)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.copyto(out, np.where(np.isnan(x), x, np.where(x < 0, math.pi, 0)), casting="unsafe")

    return run


def _angle_vjp(g: V, y: V, x: V) -> tuple[V]:
    if not dtypes.is_complex(x.dtype):
        return (zeros_like(g),)
    size = absolute(x)
    size = size * size
    turn = keep(g / size, nonzero(size))
    return (complex_(-(turn * imag(x)), turn * real(x)),)


def _complex_kernel(site: Site) -> Run:
    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        out.real = a
        out.imag = b

    return run


def _wide_float(dtype: np.dtype) -> bool:
    return dtype in (dtypes.float32, dtypes.float64)


def _copy_part(part: str) -> Any:
    return lambda site: lambda x, out: np.copyto(out, getattr(x, part))


def _conj_kernel(site: Site) -> np.ufunc | Run:
    if dtypes.is_complex(site.out.dtype):
        return np.conjugate
    return lambda x, out: np.copyto(out, x)


real = pointwise(
    "real",
    _copy_part("real"),
    result=dtypes.real_of,
    inplace=False,
    vjp=lambda g, y, x: (convert(g, dtype=x.dtype.name),),
    grad_name="SelectBackward0",
    doc="The real part.",
)
imag = pointwise(
    "imag",
    _copy_part("imag"),
    allowed=of_category(COMPLEX),
    result=dtypes.real_of,
    inplace=False,
    vjp=lambda g, y, x: (convert(g, dtype=x.dtype.name) * constant(g, 1j, dtype=x.dtype),),
    grad_name="SelectBackward0",
    doc="The imaginary part.",
)
conj = pointwise("conj", _conj_kernel, vjp=lambda g, y, x: (conjugate(g),), doc="The complex conjugate.")
complex_ = pointwise(
    "complex",
    _complex_kernel,
    arity=2,
    allowed=_wide_float,
    result=dtypes.complex_of,
    inplace=False,
    vjp=lambda g, y, a, b: (real(g), imag(g)),
    doc="a + b * 1j",
)
angle = pointwise(
    "angle",
    _angle_kernel,
    compute=floating,
    result=dtypes.real_of,
    cost=12.0,
    inplace=False,
    vjp=_angle_vjp,
    doc="The argument of a complex number, in radians.",
)
