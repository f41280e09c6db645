"""Casts, copies and the parts of complex numbers."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Final

from gradmesh import _dtype, _tensor
from gradmesh._functions._common import cast, one, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, DTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from gradmesh._tensor import Tensor

__all__ = [
    "angle",
    "clone",
    "complex",
    "conj",
    "imag",
    "real",
]

# PyTorch's names of tensor types, by dtype.
_TYPE_NAMES: Final[dict[str, str]] = {
    "bool": "torch.BoolTensor",
    "uint8": "torch.ByteTensor",
    "int8": "torch.CharTensor",
    "int16": "torch.ShortTensor",
    "int32": "torch.IntTensor",
    "int64": "torch.LongTensor",
    "float16": "torch.HalfTensor",
    "bfloat16": "torch.BFloat16Tensor",
    "float32": "torch.FloatTensor",
    "float64": "torch.DoubleTensor",
    "complex64": "torch.ComplexFloatTensor",
    "complex128": "torch.ComplexDoubleTensor",
}
_TYPES: Final[dict[str, str]] = {type_name: name for name, type_name in _TYPE_NAMES.items()}


def clone(input: Tensor) -> Tensor:
    """A copy that gradients flow through. Example: `gm.clone(gm.ones(1))` is `tensor([1.])`."""
    return one("clone", input)


def to(
    input: Tensor, *args: Any, dtype: _dtype.DTypeLike | None = None, copy: builtins.bool = False, **ignored: Any
) -> Tensor:
    """The tensor as another dtype: `x.to(gm.float64)`, `x.to(other)`, `x.to("cpu")`, `x.to("cpu", gm.int64)`.

    The tensor itself where nothing changes and no `copy` is asked for.

    Example: `gm.ones(1).to(gm.int64)` is `tensor([1])`.
    """
    for name in ignored:
        if name not in ("device", "non_blocking", "memory_format"):
            raise AttributeTypeError(f"to() got an unexpected keyword argument '{name}'", op="to", got=name)
    if "device" in ignored:
        args = (ignored["device"], *args)
    flags = 0
    for argument in args:
        if isinstance(argument, _tensor.Tensor):
            dtype = argument.dtype
        elif isinstance(argument, builtins.bool):
            # non_blocking, then copy.
            flags += 1
            copy = copy or (argument and flags > 1)
        elif isinstance(argument, str | _dtype.device):
            _dtype.device(argument)
        elif argument is not None:
            dtype = argument
    return _copied(input, input.dtype if dtype is None else dtype, ignored.get("memory_format"), copy)


def _copied(input: Tensor, dtype: _dtype.DTypeLike, form: object = None, copy: builtins.bool = False) -> Tensor:
    """The tensor as another dtype; a copy of the same one where another order in memory is asked for."""
    result = cast(input, _dtype.of(dtype).np)
    if result is not input:
        return result
    if (form is _dtype.channels_last and input.ndim == 4) or (form is _dtype.channels_last_3d and input.ndim == 5):
        return one("convert", input, dtype=spec(input).dtype.name)
    return one("convert", input, dtype=spec(input).dtype.name) if copy else input


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """`input` as the dtype of `other`. Example: `gm.ones(1).type_as(gm.arange(1))` is `tensor([1])`."""
    return cast(input, spec(other).dtype)


def type(input: Tensor, dtype: _dtype.DTypeLike | None = None, non_blocking: builtins.bool = False) -> Any:
    """PyTorch's name of the tensor's type; or the tensor as another dtype, which may be given by such a name.

    Example: `gm.ones(1).type()` is `'torch.FloatTensor'`.
    """
    if dtype is None:
        return _TYPE_NAMES[spec(input).dtype.name]
    if isinstance(dtype, str):
        dtype = _TYPES.get(dtype, dtype)
    return cast(input, _dtype.of(dtype).np)


def bool(input: Tensor, memory_format: object = None) -> Tensor:
    """As bool: True where not 0. Example: `gm.ones(1).bool()` is `tensor([True])`."""
    return _copied(input, _dtype.bool, memory_format)


def byte(input: Tensor, memory_format: object = None) -> Tensor:
    """As uint8. Example: `gm.ones(1).byte()` is `tensor([1], dtype=torch.uint8)`."""
    return _copied(input, _dtype.uint8, memory_format)


def char(input: Tensor, memory_format: object = None) -> Tensor:
    """As int8. Example: `gm.ones(1).char()` is `tensor([1], dtype=torch.int8)`."""
    return _copied(input, _dtype.int8, memory_format)


def short(input: Tensor, memory_format: object = None) -> Tensor:
    """As int16. Example: `gm.ones(1).short()` is `tensor([1], dtype=torch.int16)`."""
    return _copied(input, _dtype.int16, memory_format)


def int(input: Tensor, memory_format: object = None) -> Tensor:
    """As int32. Example: `gm.ones(1).int()` is `tensor([1], dtype=torch.int32)`."""
    return _copied(input, _dtype.int32, memory_format)


def long(input: Tensor, memory_format: object = None) -> Tensor:
    """As int64. Example: `gm.ones(1).long()` is `tensor([1])`."""
    return _copied(input, _dtype.int64, memory_format)


def half(input: Tensor, memory_format: object = None) -> Tensor:
    """As float16. Example: `gm.ones(1).half()` is `tensor([1.], dtype=torch.float16)`."""
    return _copied(input, _dtype.float16, memory_format)


def bfloat16(input: Tensor, memory_format: object = None) -> Tensor:
    """As bfloat16. Example: `gm.ones(1).bfloat16()` is `tensor([1.], dtype=torch.bfloat16)`."""
    return _copied(input, _dtype.bfloat16, memory_format)


def float(input: Tensor, memory_format: object = None) -> Tensor:
    """As float32. Example: `gm.arange(1).float()` is `tensor([0.])`."""
    return _copied(input, _dtype.float32, memory_format)


def double(input: Tensor, memory_format: object = None) -> Tensor:
    """As float64. Example: `gm.arange(1).double()` is `tensor([0.], dtype=torch.float64)`."""
    return _copied(input, _dtype.float64, memory_format)


def cfloat(input: Tensor, memory_format: object = None) -> Tensor:
    """As complex64. Example: `gm.ones(1).cfloat()` is `tensor([1.+0.j])`."""
    return _copied(input, _dtype.complex64, memory_format)


def cdouble(input: Tensor, memory_format: object = None) -> Tensor:
    """As complex128. Example: `gm.ones(1).cdouble()` is `tensor([1.+0.j], dtype=torch.complex128)`."""
    return _copied(input, _dtype.complex128, memory_format)


# --- complex numbers ------------------------------------------------------------------------------


def real(input: Tensor) -> Tensor:
    """The real part; of a real tensor the tensor itself. Example: `gm.real(gm.tensor([1 + 2j]))` is `tensor([1.])`."""
    return one("real", input) if dtypes.is_complex(spec(input).dtype) else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part of a complex tensor. Example: `gm.imag(gm.tensor([1 + 2j]))` is `tensor([2.])`."""
    if not dtypes.is_complex(spec(input).dtype):
        raise DTypeError(
            "imag is not implemented for tensors with non-complex dtypes.", op="imag", got=spec(input).dtype.name
        )
    return one("imag", input)


def conj(input: Tensor) -> Tensor:
    """The complex conjugate; of a real tensor the tensor itself.

    Example: `gm.conj(gm.tensor([1 + 2j]))` is `tensor([1.-2.j])`.
    """
    return one("conj", input) if dtypes.is_complex(spec(input).dtype) else input


def angle(input: Tensor) -> Tensor:
    """The argument of complex numbers in radians. Example: `gm.angle(gm.tensor([1j]))` is `tensor([1.5708])`."""
    return one("angle", input)


def check_parts(name: str, first: Tensor, second: Tensor, allowed: Sequence[np.dtype]) -> None:
    """Raises DTypeError unless both have one of the dtypes that complex numbers are made of."""
    one_title, two_title = dtypes.title(spec(first).dtype), dtypes.title(spec(second).dtype)
    if any(spec(part).dtype not in allowed for part in (first, second)):
        raise DTypeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {one_title} and {two_title}", op=name
        )
    if one_title != two_title:
        raise DTypeError(
            f"Expected object of scalar type {one_title} but got scalar type {two_title} for second argument", op=name
        )


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers from their parts, of one float dtype.

    Example: `gm.complex(gm.ones(1), gm.ones(1))` is `tensor([1.+1.j])`.
    """
    check_parts("complex", real, imag, (dtypes.float32, dtypes.float64))
    return one("complex", real, imag)
