"""What all functions share: recording an op, lifting Python numbers, reading dims and sizes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import ml_dtypes
import numpy as np

# Modules, not names: these modules import each other, and are complete by the time of a call.
from gradmesh import _dtype, _tensor, _trace, _views
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, ShapeError
from gradmesh_engine.graph import TensorSpec

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

Number: TypeAlias = "bool | int | float | complex"
Operand: TypeAlias = "Tensor | bool | int | float | complex"
Dims: TypeAlias = "int | Sequence[int]"

NUMBERS: Final = (bool, int, float, complex, np.generic)


def is_number(value: object) -> bool:
    """True for Python's and NumPy's scalars."""
    return isinstance(value, NUMBERS)


def given(other: object) -> dict[str, bool]:
    """The attribute of ops whose grad_fn tells a number from a tensor."""
    return {"number": True} if is_number(other) else {}


def first_is_tensor(function: str, input: object) -> None:
    """Raises AttributeTypeError where PyTorch takes no number first."""
    if not isinstance(input, _tensor.Tensor):
        wrong_type(function, "input", "Tensor", input)


def one_is_tensor(function: str, *operands: object) -> None:
    """Raises AttributeTypeError for numbers alone."""
    if not any(isinstance(operand, _tensor.Tensor) for operand in operands):
        names = ", ".join(type(operand).__name__ for operand in operands)
        raise AttributeTypeError(
            f"{function}() received an invalid combination of arguments - got ({names})", expected="a Tensor", got=names
        )


def wrong_type(function: str, argument: str, expected: str, value: object) -> NoReturn:
    """Raise the TypeError that PyTorch raises for an argument of the wrong type."""
    got = type(value).__name__
    raise AttributeTypeError(
        f"{function}(): argument '{argument}' must be {expected}, not {got}", expected=expected, got=got
    )


# --- recording ------------------------------------------------------------------------------------


def one(op: str, *operands: Tensor, **attrs: Any) -> Tensor:
    """Record `op`, which has one result. Raises AttributeTypeError for an operand that is no tensor."""
    tensor = _tensor.Tensor
    for operand in operands:
        if not isinstance(operand, tensor):
            wrong_type(op, "input", "Tensor", operand)
    result: Tensor = _trace.record(op, *operands, **attrs)
    return result


def both(op: str, input: Operand, other: Operand) -> Tensor:
    """Record an op of two operands and no attributes; a number becomes a 0-d tensor."""
    if isinstance(input, _tensor.Tensor):
        if not isinstance(other, _tensor.Tensor):
            other = _met(input, other)
    else:
        input, other = lift(input, other)
    result: Tensor = _trace.record(op, input, other)
    return result


def many(op: str, *operands: Tensor, **attrs: Any) -> tuple[Tensor, ...]:
    """Record `op`, which may have several results."""
    for operand in operands:
        if not isinstance(operand, _tensor.Tensor):
            wrong_type(op, "input", "Tensor", operand)
    result = _trace.record(op, *operands, **attrs)
    return result if isinstance(result, tuple) else (result,)


def in_place(target: Tensor, result: Tensor) -> Tensor:
    """Write `result`, computed out of place, into `target`; returns `target`."""
    return _views.inplace(target, result)


def spec(tensor: Tensor) -> TensorSpec:
    """Shape and NumPy dtype of a tensor. Raises AttributeTypeError for anything else."""
    if not isinstance(tensor, _tensor.Tensor):
        wrong_type("gradmesh", "input", "Tensor", tensor)
    return tensor._value.spec


def check_rank(function: str, tensor: Tensor, rank: int) -> None:
    """Raises ShapeError unless the tensor has `rank` dims."""
    have = spec(tensor).ndim
    if have != rank:
        raise ShapeError(
            f"{function}: expected a {rank}D tensor, but got {have}D", op=function, expected=f"{rank}D", got=f"{have}D"
        )


def tensors_of(function: str, tensors: Any) -> list[Tensor]:
    """The members of a non-empty sequence of tensors. Raises AttributeTypeError, ShapeError."""
    if isinstance(tensors, _tensor.Tensor) or not isinstance(tensors, (list, tuple)):
        wrong_type(function, "tensors", "tuple of Tensors", tensors)
    if not tensors:
        what = "torch.cat(): expected a non-empty list of Tensors" if function == "cat" else ""
        raise ShapeError(what or f"{function} expects a non-empty TensorList", op=function, got="nothing")
    for position, tensor in enumerate(tensors):
        if not isinstance(tensor, _tensor.Tensor):
            got = "None" if tensor is None else type(tensor).__name__
            raise AttributeTypeError(
                f"expected Tensor as element {position} in argument 0, but got {got}",
                op=function,
                expected="tuple of Tensors",
                got=got,
            )
    return list(tensors)


# --- numbers --------------------------------------------------------------------------------------


def number_dtype(value: Any) -> np.dtype:
    """The dtype a number has among tensors, which decides its category only. Raises AttributeTypeError."""
    if isinstance(value, (bool, np.bool_)):
        return dtypes.bool_
    if isinstance(value, (int, np.integer)):
        return dtypes.int64
    if isinstance(value, (float, np.floating)):
        return dtypes.float64
    if isinstance(value, (complex, np.complexfloating)):
        return dtypes.complex128
    if isinstance(value, np.generic) and value.dtype == dtypes.bfloat16:
        return dtypes.float64
    wrong_type("gradmesh", "other", "Tensor or Number", value)


def number(value: Any) -> Any:
    """A Python number for a Python or NumPy scalar."""
    return value.item() if isinstance(value, np.generic) else value


def _wrapped(value: int, dtype: np.dtype) -> int:
    if not -(2**63) <= value < 2**63:
        raise DTypeError("Overflow when unpacking long long", expected="a number of 64 bits", got=str(value))
    bits = 8 * dtype.itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.kind == "i" and value >> (bits - 1) else value


def scalar(value: Any, dtype: np.dtype) -> Tensor:
    """A number as a 0-d tensor; integers wrap around as PyTorch's do. Raises DTypeError past 64 bits."""
    if isinstance(value, np.generic):
        value = value.item()
    if value.__class__ is int and (dtype.kind in "iu" or not -(2**63) <= value < 2**63):
        value = _wrapped(value, dtype)
    return _trace.scalar(value, dtype)


# What PyTorch calls the dtypes a number may not fit in.
_HOLDERS: Final = {"uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t", "int64": "int64_t"}


def fits(value: bool | int | float | complex, dtype: np.dtype) -> bool:
    """Whether a dtype has room for a number: infinity for no overflow; negatives of unsigned dtypes wrap around."""
    kind = dtypes.category(dtype)
    if kind == dtypes.BOOL:
        return True
    if isinstance(value, complex):
        if kind == dtypes.COMPLEX:
            return fits(value.real, dtypes.real_of(dtype)) and fits(value.imag, dtypes.real_of(dtype))
        return value.imag == 0 and fits(value.real, dtype)
    if kind == dtypes.INT:
        limits = np.iinfo(dtype)
        least = -limits.max if limits.min == 0 and isinstance(value, int) else limits.min
        return bool(least <= value <= limits.max)  # NaN is not.
    limit = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    return not limit < abs(value) < math.inf


def check_fits(value: bool | int | float | complex, into: TensorSpec) -> None:
    """Raises DTypeError where a tensor has no room for a number that is to be written into it."""
    dtype = into.dtype
    if fits(value, dtype):
        return
    half = dtypes.is_half(dtype) and into.size == 1  # PyTorch writes a single one by way of double.
    if half and not isinstance(value, complex):
        return
    holder = "double" if half else _HOLDERS.get(dtype.name, dtypes.spelling(dtype))
    raise DTypeError(
        f"value cannot be converted to type {holder} without overflow",
        expected=f"a number that {dtype.name} has room for",
        got=str(value),
        remedy="cast the tensor to a wider dtype",
    )


def fitted(value: Any, into: TensorSpec) -> Tensor:
    """A number as a 0-d tensor of the dtype of what it is written into. Raises DTypeError where it does not fit."""
    value = number(value)
    check_fits(value, into)
    if isinstance(value, complex) and not dtypes.is_complex(into.dtype):
        value = bool(value) if into.dtype == dtypes.bool_ else value.real
    return scalar(value, into.dtype)


# The dtype one tensor and one number compute in, by the tensor's dtype and standing, the number's type, the default.
_MET: Final[dict[tuple[Any, ...], np.dtype]] = {}


def _met(tensor: Tensor, value: Number) -> Tensor:
    """A number as the 0-d tensor it becomes beside a tensor."""
    own = tensor._value.spec
    key = (own.dtype, own.shape == (), value.__class__, _dtype.get_default_dtype())
    common = _MET.get(key)
    if common is None:
        common = _MET[key] = common_dtype((tensor, value))
    return _trace.scalar(value, common) if value.__class__ is float else scalar(value, common)


def lift(*operands: Operand) -> list[Tensor]:
    """The operands as tensors: numbers become 0-d tensors of the dtype all compute in together."""
    if len(operands) == 2:
        # The common cases, in few steps.
        left, right = operands
        if isinstance(left, _tensor.Tensor):
            return [left, right if isinstance(right, _tensor.Tensor) else _met(left, right)]
        if isinstance(right, _tensor.Tensor):
            return [_met(right, left), right]
    common = common_dtype(operands)
    return [o if isinstance(o, _tensor.Tensor) else scalar(o, common) for o in operands]


def common_dtype(operands: Sequence[Operand]) -> np.dtype:
    """The dtype tensors and numbers compute in together."""
    standings = []
    for operand in operands:
        if isinstance(operand, _tensor.Tensor):
            own = operand._value.spec
            standings.append((own.dtype, 2 if own.shape else 1))
        else:
            standings.append((number_dtype(operand), 0))
    return dtypes.result_type(standings, _dtype.get_default_dtype().np)


def cast(tensor: Tensor, dtype: np.dtype) -> Tensor:
    """The tensor itself, or a copy of another dtype."""
    return tensor if spec(tensor).dtype == dtype else one("convert", tensor, dtype=dtype.name)


def maybe_cast(tensor: Tensor, dtype: _dtype.DTypeLike | None) -> Tensor:
    """`cast`, unless no dtype is given."""
    return tensor if dtype is None else cast(tensor, _dtype.of(dtype).np)


# --- dims and sizes -------------------------------------------------------------------------------


def ints(function: str, argument: str, value: Any) -> tuple[int, ...]:
    """One int or several as a tuple. Raises AttributeTypeError."""
    try:
        if isinstance(value, (tuple, list)):
            return tuple([operator.index(v) for v in value])
        return (operator.index(value),)
    except TypeError:
        wrong_type(function, argument, "tuple of ints", value)


def sizes(function: str, size: Sequence[Any]) -> tuple[int, ...]:
    """The sizes meant by `f(2, 3)` or `f((2, 3))`. Raises AttributeTypeError."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        return ints(function, "size", size[0])
    return ints(function, "size", tuple(size))


def dim_of(dim: int, rank: int) -> int:
    """`dim` counted from the front; a 0-d tensor has dims 0 and -1. Raises AxisError."""
    limit = max(rank, 1)
    if not -limit <= dim < limit:
        raise AxisError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})",
            expected=f"{-limit} to {limit - 1}",
            got=str(dim),
        )
    return dim % limit


def pair(function: str, argument: str, value: Any) -> tuple[int, int]:
    """One int twice, or the two of a pair. Raises AttributeTypeError."""
    found = ints(function, argument, value)
    if len(found) > 2 or not found:
        wrong_type(function, argument, "one int or two", value)
    return found[0], found[-1]
