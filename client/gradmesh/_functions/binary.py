"""Pointwise functions of two or more operands, which broadcast and promote as PyTorch's do.

An operand is a tensor or a Python number. A number only raises the category of the result (bool <
int < float < complex), never its precision. Shapes: any that broadcast together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh import _tensor
from gradmesh._functions._common import (
    Number,
    Operand,
    both,
    first_is_tensor,
    given,
    is_number,
    lift,
    number,
    number_dtype,
    one,
    one_is_tensor,
    spec,
)
from gradmesh_engine import dtypes
from gradmesh_engine.errors import DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "add",
    "addcdiv",
    "addcmul",
    "arctan2",
    "atan2",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "div",
    "divide",
    "eq",
    "floor_divide",
    "fmod",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "hypot",
    "le",
    "lerp",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "not_equal",
    "pow",
    "remainder",
    "rsub",
    "square",
    "sub",
    "subtract",
    "true_divide",
    "xlogy",
]

# --- arithmetic -----------------------------------------------------------------------------------


def _scaled(name: str, operands: list[Tensor], alpha: Number) -> list[Tensor]:
    """The operands of input ± alpha * other."""
    left, right = operands
    common = dtypes.category(dtypes.promote(spec(left).dtype, spec(right).dtype))
    if common <= dtypes.INT and dtypes.category(number_dtype(alpha)) > dtypes.INT:
        raise DTypeError(
            "For integral input tensors, argument alpha must not be a floating point number.",
            op=name,
            expected="an integer",
            got=repr(alpha),
        )
    return [left, mul(right, alpha)]


def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """`input + alpha * other`. Example: `gm.add(gm.ones(2), 1)` is `tensor([2., 2.])`."""
    if alpha == 1:
        return both("add", input, other)
    return one("add", *_scaled("add", lift(input, other), alpha))


def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """`input - alpha * other`. Example: `gm.sub(gm.ones(2), 1)` is `tensor([0., 0.])`."""
    operands = lift(input, other)
    for operand in operands:
        if operand._value.spec.dtype.kind == "b":
            raise DTypeError(
                "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
                "mask, use the `~` or `logical_not()` operator instead.",
                op="sub",
                got="bool",
                remedy="use ~x to invert a mask, or cast to a number",
            )
    return both("sub", *(operands if alpha == 1 else _scaled("sub", operands, alpha)))


def rsub(input: Tensor, other: Operand, *, alpha: Number = 1) -> Tensor:
    """`other - alpha * input`. Example: `gm.rsub(gm.ones(2), 3)` is `tensor([2., 2.])`."""
    first_is_tensor("rsub", input)
    left, right = lift(input, other)
    return one("rsub", left if alpha == 1 else mul(left, alpha), right, **given(other))


def mul(input: Operand, other: Operand) -> Tensor:
    """`input * other`. Example: `gm.mul(gm.ones(2), 3)` is `tensor([3., 3.])`."""
    return both("mul", input, other)


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """`input / other`; rounded with rounding_mode "trunc" or "floor". Integers divide to floats.

    Example: `gm.div(gm.ones(2), 2)` is `tensor([0.5000, 0.5000])`.
    """
    if rounding_mode is None:
        return both("div", input, other)
    if rounding_mode not in ("trunc", "floor"):
        raise DTypeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'",
            op="div",
            expected="None, 'trunc' or 'floor'",
            got=repr(rounding_mode),
        )
    return both("div_trunc" if rounding_mode == "trunc" else "div_floor", input, other)


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """Largest whole number not above input / other.

    Example: `gm.floor_divide(gm.tensor([-3]), 2)` is `tensor([-2])`.
    """
    return both("floor_divide", input, other)


def remainder(input: Operand, other: Operand) -> Tensor:
    """Python's %: the sign is other's. Example: `gm.remainder(gm.tensor([-3]), 2)` is `tensor([1])`."""
    one_is_tensor("remainder", input, other)
    return one("remainder", *lift(input, other), **given(other))


def fmod(input: Tensor, other: Operand) -> Tensor:
    """C's fmod: the sign is input's. Example: `gm.fmod(gm.tensor([-3]), 2)` is `tensor([-1])`."""
    first_is_tensor("fmod", input)
    return one("fmod", *lift(input, other), **given(other))


def pow(input: Operand, exponent: Operand) -> Tensor:
    """`input` to the power exponent. Example: `gm.pow(gm.tensor([3.]), 2)` is `tensor([9.])`."""
    if is_number(exponent) and isinstance(input, _tensor.Tensor):
        return one("pow_scalar", input, exponent=number(exponent))
    one_is_tensor("pow", input, exponent)
    return both("pow", input, exponent)


def square(input: Tensor) -> Tensor:
    """`input` to the power 2. Example: `gm.square(gm.tensor([3.]))` is `tensor([9.])`."""
    return one("square", input)


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """Angle in radians of the point (other, input).

    Example: `gm.atan2(gm.ones(1), gm.ones(1))` is `tensor([0.7854])`.
    """
    return one("atan2", input, other)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input² + other²) without overflow.

    Example: `gm.hypot(gm.tensor([3.]), gm.tensor([4.]))` is `tensor([5.])`.
    """
    return one("hypot", input, other)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)). Example: `gm.logaddexp(gm.zeros(1), gm.zeros(1))` is `tensor([0.6931])`."""
    return one("logaddexp", input, other)


def xlogy(input: Operand, other: Operand) -> Tensor:
    """`input * log(other)`, and 0 where input is 0. Example: `gm.xlogy(gm.zeros(1), gm.zeros(1))` is `tensor([0.])`."""
    one_is_tensor("xlogy", input, other)
    return both("xlogy", input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of each pair; nan wins. Example: `gm.minimum(gm.ones(1), gm.zeros(1))` is `tensor([0.])`."""
    return one("minimum", input, other)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of each pair; nan wins. Example: `gm.maximum(gm.ones(1), gm.zeros(1))` is `tensor([1.])`."""
    return one("maximum", input, other)


def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """`input + weight * (end - input)`. Example: `gm.lerp(gm.zeros(1), gm.ones(1), 0.25)` is `tensor([0.2500])`."""
    for name, operand in (("end", end), ("weight", weight)):
        if isinstance(operand, _tensor.Tensor) and operand.dtype != input.dtype:
            mine, other = (dtypes.spelling(t.dtype.np) for t in (input, operand))
            raise DTypeError(f"expected dtype {mine} for `{name}` but got dtype {other}", op="lerp", got=other)
    return one("lerp", *lift(input, end, weight), **given(weight))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`.

    Example: `gm.addcmul(gm.ones(1), gm.ones(1), gm.ones(1))` is `tensor([2.])`.
    """
    return one("addcmul", *lift(input, tensor1, tensor2, value))


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """`input + value * tensor1 / tensor2`.

    Example: `gm.addcdiv(gm.ones(1), gm.ones(1), gm.ones(1))` is `tensor([2.])`.
    """
    return one("addcdiv", *lift(input, tensor1, tensor2, value))


# --- comparison -----------------------------------------------------------------------------------


def eq(input: Tensor, other: Operand) -> Tensor:
    """`input == other`, a bool tensor. Example: `gm.eq(gm.ones(1), 1)` is `tensor([True])`."""
    first_is_tensor("eq", input)
    return both("eq", input, other)


def ne(input: Tensor, other: Operand) -> Tensor:
    """`input != other`, a bool tensor. Example: `gm.ne(gm.ones(1), 1)` is `tensor([False])`."""
    first_is_tensor("ne", input)
    return both("ne", input, other)


def lt(input: Tensor, other: Operand) -> Tensor:
    """`input < other`, a bool tensor. Example: `gm.lt(gm.ones(1), 2)` is `tensor([True])`."""
    first_is_tensor("lt", input)
    return both("lt", input, other)


def le(input: Tensor, other: Operand) -> Tensor:
    """`input <= other`, a bool tensor. Example: `gm.le(gm.ones(1), 1)` is `tensor([True])`."""
    first_is_tensor("le", input)
    return both("le", input, other)


def gt(input: Tensor, other: Operand) -> Tensor:
    """`input > other`, a bool tensor. Example: `gm.gt(gm.ones(1), 1)` is `tensor([False])`."""
    first_is_tensor("gt", input)
    return both("gt", input, other)


def ge(input: Tensor, other: Operand) -> Tensor:
    """`input >= other`, a bool tensor. Example: `gm.ge(gm.ones(1), 1)` is `tensor([True])`."""
    first_is_tensor("ge", input)
    return both("ge", input, other)


# --- logic and bits -------------------------------------------------------------------------------


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """True where both are nonzero. Example: `gm.logical_and(gm.ones(1), gm.zeros(1))` is `tensor([False])`."""
    return one("logical_and", input, other)


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """True where either is nonzero. Example: `gm.logical_or(gm.ones(1), gm.zeros(1))` is `tensor([True])`."""
    return one("logical_or", input, other)


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """True where exactly one is nonzero. Example: `gm.logical_xor(gm.ones(1), gm.ones(1))` is `tensor([False])`."""
    return one("logical_xor", input, other)


def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """`input & other`, of integers or bools. Example: `gm.bitwise_and(gm.tensor([6]), 3)` is `tensor([2])`."""
    return both("bitwise_and", input, other)


def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """`input | other`, of integers or bools. Example: `gm.bitwise_or(gm.tensor([6]), 3)` is `tensor([7])`."""
    return both("bitwise_or", input, other)


def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """`input ^ other`, of integers or bools. Example: `gm.bitwise_xor(gm.tensor([6]), 3)` is `tensor([5])`."""
    return both("bitwise_xor", input, other)


# --- choosing -------------------------------------------------------------------------------------


def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """`input` limited to [min, max]; either may be absent.

    Example: `gm.clamp(gm.tensor([5.]), max=2)` is `tensor([2.])`.

    Raises ShapeError when both limits are absent.
    """
    if min is None and max is None:
        raise ShapeError("torch.clamp: At least one of 'min' or 'max' must not be None", op="clamp")
    if max is None:
        assert min is not None
        return _limited("clamp_min", input, min, as_clamp=True)
    if min is None:
        return _limited("clamp_max", input, max, as_clamp=True)
    return one("clamp", *lift(input, min, max))


def _limited(name: str, input: Tensor, limit: Operand, as_clamp: bool = False) -> Tensor:
    first_is_tensor(name, input)
    number = is_number(limit)
    if number and spec(input).dtype == dtypes.bool_:
        raise DTypeError(dtypes.refusal(name, dtypes.bool_), op=name, got="bool", remedy="cast the operand")
    return one(name, *lift(input, limit), number=number, as_clamp=as_clamp)


def clamp_min(input: Tensor, min: Operand) -> Tensor:
    """`input` limited to min from below. Example: `gm.clamp_min(gm.tensor([-5.]), 0)` is `tensor([0.])`."""
    return _limited("clamp_min", input, min)


def clamp_max(input: Tensor, max: Operand) -> Tensor:
    """`input` limited to max from above. Example: `gm.clamp_max(gm.tensor([5.]), 2)` is `tensor([2.])`."""
    return _limited("clamp_max", input, max)


# --- other names ----------------------------------------------------------------------------------

arctan2 = atan2
clip = clamp
divide = div
greater = gt
greater_equal = ge
less = lt
less_equal = le
multiply = mul
not_equal = ne
subtract = sub


def true_divide(input: Operand, other: Operand) -> Tensor:
    """`div` without rounding. Example: `gm.true_divide(gm.ones(2), 2)` is `tensor([0.5000, 0.5000])`."""
    return div(input, other)
