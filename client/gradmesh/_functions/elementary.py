"""Pointwise functions of floating numbers: signs, angles, parts, and choices that mind NaN and infinity.

Operands broadcast and promote as PyTorch's do; all but `frexp` return one tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh import _tensor, return_types
from gradmesh._functions import binary
from gradmesh._functions._common import (
    Operand,
    cast,
    first_is_tensor,
    given,
    is_number,
    lift,
    many,
    number_dtype,
    one,
    spec,
)
from gradmesh._functions._common import number as plain
from gradmesh._functions.convert import check_parts
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, DTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "conj_physical",
    "copysign",
    "deg2rad",
    "float_power",
    "fmax",
    "fmin",
    "frexp",
    "heaviside",
    "isin",
    "isneginf",
    "isposinf",
    "isreal",
    "ldexp",
    "logaddexp2",
    "logcumsumexp",
    "nan_to_num",
    "nextafter",
    "polar",
    "positive",
    "rad2deg",
    "signbit",
]

# --- one operand ----------------------------------------------------------------------------------


def positive(input: Tensor) -> Tensor:
    """`input` itself. Example: `gm.positive(gm.ones(1))` is `tensor([1.])`. Raises DTypeError for bool."""
    if spec(input).dtype == dtypes.bool_:
        raise DTypeError("The `+` operator, on a bool tensor is not supported.", op="positive", got="bool")
    return input


def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugate; of a real tensor the tensor itself.

    Example: `gm.conj_physical(gm.tensor([1j]))` is `tensor([0.-1.j])`.
    """
    return one("conj_physical", input) if dtypes.is_complex(spec(input).dtype) else input


def deg2rad(input: Tensor) -> Tensor:
    """Degrees in radians. Example: `gm.deg2rad(gm.tensor([180.]))` is `tensor([3.1416])`."""
    return one("deg2rad", input)


def rad2deg(input: Tensor) -> Tensor:
    """Radians in degrees. Example: `gm.rad2deg(gm.ones(1))` is `tensor([57.2958])`."""
    return one("rad2deg", input)


def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set, also of -0. Example: `gm.signbit(gm.tensor([-0.]))` is `tensor([True])`."""
    return one("signbit", input)


def isposinf(input: Tensor) -> Tensor:
    """True where x is infinity. Example: `gm.isposinf(gm.tensor([gm.inf]))` is `tensor([True])`."""
    return one("isposinf", input)


def isneginf(input: Tensor) -> Tensor:
    """True where x is -infinity. Example: `gm.isneginf(gm.tensor([gm.inf]))` is `tensor([False])`."""
    return one("isneginf", input)


def isreal(input: Tensor) -> Tensor:
    """True where the imaginary part is 0. Example: `gm.isreal(gm.tensor([1j]))` is `tensor([False])`."""
    return one("isreal", input)


def frexp(input: Tensor) -> return_types.frexp:
    """The m and e of x = m * 2^e with 1/2 <= abs(m) < 1: a float and int32.

    Example: `gm.frexp(gm.tensor([8.])).exponent` is `tensor([4], dtype=torch.int32)`.
    """
    mantissa, exponent = many("frexp", input)
    return return_types.frexp(mantissa, exponent)


def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN and the infinities replaced: by default with 0 and the dtype's largest and lowest numbers.

    Example: `gm.nan_to_num(gm.tensor([gm.nan]), 5.)` is `tensor([5.])`.
    """
    given = {"nan": nan, "posinf": posinf, "neginf": neginf}
    return one("nan_to_num", input, **{name: float(value) for name, value in given.items() if value is not None})


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Running logarithms of sums of exponentials along a dim, without overflow.

    Example: `gm.logcumsumexp(gm.zeros(2), 0)` is `tensor([0.0000, 0.6931])`.
    """
    return one("logcumsumexp", input, dim=dim)


# --- two operands ---------------------------------------------------------------------------------


def copysign(input: Tensor, other: Operand) -> Tensor:
    """abs(input) with the sign of `other`. Example: `gm.copysign(gm.ones(1), -2)` is `tensor([-1.])`."""
    first_is_tensor("copysign", input)
    return one("copysign", *lift(input, other), **given(other))


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of each pair; a number wins over nan.

    Example: `gm.fmax(gm.ones(1), gm.zeros(1))` is `tensor([1.])`.
    """
    return one("fmax", input, other)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of each pair; a number wins over nan.

    Example: `gm.fmin(gm.ones(1), gm.zeros(1))` is `tensor([0.])`.
    """
    return one("fmin", input, other)


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where input < 0, 1 where input > 0, `values` where it is 0.

    Example: `gm.heaviside(gm.zeros(1), gm.tensor([0.5]))` is `tensor([0.5000])`.
    """
    return one("heaviside", input, values)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """`input * 2**other`. Example: `gm.ldexp(gm.ones(1), gm.tensor([3]))` is `tensor([8.])`."""
    return one("ldexp", input, other)


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2**input + 2**other). Example: `gm.logaddexp2(gm.zeros(1), gm.zeros(1))` is `tensor([1.])`."""
    return one("logaddexp2", input, other)


def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number the dtype holds, from input towards other.

    Example: `gm.nextafter(gm.zeros(1), gm.ones(1)) > 0` is `tensor([True])`.
    """
    if not dtypes.is_floating(spec(input).dtype):
        raise DTypeError(dtypes.refusal("nextafter", spec(input).dtype), op="nextafter", expected="a float")
    return one("nextafter", input, other)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """The complex numbers of given absolute values and angles in radians.

    Example: `gm.polar(gm.ones(1), gm.zeros(1))` is `tensor([1.+0.j])`.
    """
    check_parts("polar", abs, angle, (dtypes.float16, dtypes.float32, dtypes.float64))
    return one("polar", abs, angle)


def float_power(input: Operand, exponent: Operand) -> Tensor:
    """`input` to the power exponent in float64, or complex128 where either is complex.

    Example: `gm.float_power(gm.tensor([3]), 2)` is `tensor([9.], dtype=torch.float64)`.
    """
    given = [plain(value) if is_number(value) else value for value in (input, exponent)]
    kinds = [spec(v).dtype if isinstance(v, _tensor.Tensor) else number_dtype(v) for v in given]
    wide = dtypes.complex128 if any(map(dtypes.is_complex, kinds)) else dtypes.float64
    base, power = (cast(v, wide) if isinstance(v, _tensor.Tensor) else v for v in given)
    return binary.pow(base, power)


def isin(elements: Operand, test_elements: Operand, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """True where an element is one of `test_elements`; False there with `invert`.

    Example: `gm.isin(gm.arange(3), 1)` is `tensor([False,  True, False])`. Raises DTypeError for complex and bool.
    """
    if is_number(elements) and is_number(test_elements):
        raise AttributeTypeError("isin(): one of elements and test_elements must be a Tensor", op="isin")
    left, right = lift(elements, test_elements)
    found = one("isin", left, right)
    return one("logical_not", found) if invert else found
