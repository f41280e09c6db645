"""The dtypes of gradmesh: names, NumPy dtypes, categories and PyTorch's promotion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import ml_dtypes
import numpy as np

from gradmesh_engine.errors import UnknownDTypeError

bool_: Final = np.dtype(np.bool_)
uint8: Final = np.dtype(np.uint8)
int8: Final = np.dtype(np.int8)
int16: Final = np.dtype(np.int16)
int32: Final = np.dtype(np.int32)
int64: Final = np.dtype(np.int64)
float16: Final = np.dtype(np.float16)
bfloat16: Final = np.dtype(ml_dtypes.bfloat16)
float32: Final = np.dtype(np.float32)
float64: Final = np.dtype(np.float64)
complex64: Final = np.dtype(np.complex64)
complex128: Final = np.dtype(np.complex128)

ALL: Final[tuple[np.dtype, ...]] = (
    bool_, uint8, int8, int16, int32, int64,
    float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip

BY_NAME: Final[dict[str, np.dtype]] = {dtype.name: dtype for dtype in ALL}

NAMES: Final[dict[np.dtype, str]] = {dtype: dtype.name for dtype in ALL}
"""`dtype.name` without NumPy's microsecond of work."""

OWN: Final[dict[np.dtype, np.dtype]] = {dtype: dtype for dtype in ALL}
"""For each dtype the object that NumPy itself has for it.

NumPy makes further, equal objects: in changing the byte order, in unpickling. Where an operand and the result are the
same memory under two such objects, a ufunc that broadcasts copies the operand first.
"""

BOOL, INT, FLOAT, COMPLEX = range(4)

_CATEGORY: Final[dict[np.dtype, int]] = {
    dtype: BOOL if dtype == bool_ else INT if dtype.kind in "iu" else COMPLEX if dtype.kind == "c" else FLOAT
    for dtype in ALL
}


_TITLES: Final[dict[str, str]] = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip

_SPELLINGS: Final[dict[str, str]] = {
    "uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int", "int64": "long int",
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip


def title(dtype: np.dtype) -> str:
    """PyTorch's name of a dtype in messages: `Float`."""
    return _TITLES[dtype.name]


def refusal(name: str, dtype: np.dtype) -> str:
    """What PyTorch says where an op does not take a dtype."""
    return f"\"{name}\" not implemented for '{title(dtype)}'"


def spelling(dtype: np.dtype) -> str:
    """The name in C++ of a dtype, which some of PyTorch's messages have: `long int`."""
    return _SPELLINGS.get(dtype.name, dtype.name)


def parse(name: str) -> np.dtype:
    """The dtype called `name`. Raises UnknownDTypeError."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnknownDTypeError(
            f"unknown dtype {name!r}", expected=", ".join(BY_NAME), got=name, remedy="cast to one of the known dtypes"
        ) from None


def category(dtype: np.dtype) -> int:
    """BOOL, INT, FLOAT or COMPLEX."""
    return _CATEGORY[dtype]


def is_floating(dtype: np.dtype) -> bool:
    """True for the real floating dtypes."""
    return _CATEGORY[dtype] == FLOAT


def is_complex(dtype: np.dtype) -> bool:
    """True for complex64 and complex128."""
    return _CATEGORY[dtype] == COMPLEX


def is_differentiable(dtype: np.dtype) -> bool:
    """True for the dtypes a gradient can have."""
    return _CATEGORY[dtype] >= FLOAT


def is_half(dtype: np.dtype) -> bool:
    """True for the 16-bit floats, which compute in float32 and round after each op."""
    return dtype == float16 or dtype == bfloat16


_REAL_OF: Final[dict[np.dtype, np.dtype]] = {complex64: float32, complex128: float64}
_COMPLEX_OF: Final[dict[np.dtype, np.dtype]] = {
    float16: complex64,
    bfloat16: complex64,
    float32: complex64,
    float64: complex128,
}


def real_of(dtype: np.dtype) -> np.dtype:
    """The dtype of the real part."""
    return _REAL_OF.get(dtype, dtype)


def complex_of(dtype: np.dtype) -> np.dtype:
    """The complex dtype whose parts hold `dtype`."""
    return _COMPLEX_OF.get(dtype, dtype)


def _promote_table() -> dict[tuple[np.dtype, np.dtype], np.dtype]:
    """PyTorch's c10 promotion lattice.

    It differs from NumPy's: an int never widens a float, float16 with bfloat16 is float32.
    """
    order = {d: i for i, d in enumerate((bool_, uint8, int8, int16, int32, int64))}
    table: dict[tuple[np.dtype, np.dtype], np.dtype] = {}
    for a in ALL:
        for b in ALL:
            ca, cb = _CATEGORY[a], _CATEGORY[b]
            if a == b:
                result = a
            elif ca <= INT and cb <= INT:
                if {a, b} == {uint8, int8}:
                    result = int16
                else:
                    result = a if order[a] > order[b] else b
            elif ca <= INT or cb <= INT:
                result = b if ca <= INT else a
            elif ca == FLOAT and cb == FLOAT:
                result = float32 if {a, b} == {float16, bfloat16} else (a if a.itemsize > b.itemsize else b)
            else:
                wide = complex128 in (complex_of(a), complex_of(b))
                result = complex128 if wide else complex64
            table[a, b] = result
    return table


_PROMOTE: Final = _promote_table()


def promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """The dtype two tensors of equal standing meet in (torch.promote_types)."""
    return _PROMOTE[a, b]


DEFAULT: Final = float32


def _combine(higher: np.dtype | None, lower: np.dtype | None) -> np.dtype | None:
    """What a standing and the ones below it meet in; a float meeting a complex keeps its precision."""
    if higher is None or lower is None:
        return lower if higher is None else higher
    above, below = _CATEGORY[higher], _CATEGORY[lower]
    if above >= FLOAT:
        return complex_of(higher) if below == COMPLEX else higher
    return _PROMOTE[higher, lower] if above == BOOL or below >= FLOAT else higher


def result_type(operands: Iterable[tuple[np.dtype, int]], default: np.dtype = DEFAULT) -> np.dtype:
    """torch.result_type: what pointwise operands of (dtype, standing) compute in.

    Standing: 2 for a tensor with dims, 1 for a 0-d tensor, 0 for a Python scalar. A lower standing
    decides only when its category (bool < int < float < complex) is higher. Python floats and
    complex numbers that decide bring `default`'s precision.
    """
    best: list[np.dtype | None] = [None, None, None]
    for dtype, standing in operands:
        have = best[standing]
        best[standing] = dtype if have is None else _PROMOTE[have, dtype]
    scalar = best[0]
    if scalar is not None:
        if _CATEGORY[scalar] == FLOAT:
            best[0] = default
        elif _CATEGORY[scalar] == COMPLEX:
            best[0] = complex_of(default)
    result = _combine(best[2], _combine(best[1], best[0]))
    if result is None:
        raise ValueError("result_type needs at least one operand")
    return result
