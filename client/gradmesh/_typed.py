"""PyTorch's older names of tensors by dtype, which make and recognise them: `gm.FloatTensor([1.0])`."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from gradmesh import _creation, _dtype, _tensor

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
]


class _Typed(type):
    """The class of these names: called, they make tensors; isinstance asks for the dtype."""

    dtype: _dtype.dtype

    def __call__(cls, *data: Any) -> _tensor.Tensor:
        """A tensor of the numbers given, or of zeros of the sizes given."""
        if len(data) == 1 and isinstance(data[0], (list, tuple, np.ndarray, _tensor.Tensor)):
            return _creation.as_tensor(data[0], dtype=cls.dtype)
        return _creation.empty(data or (0,), dtype=cls.dtype)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _tensor.Tensor) and instance.dtype == cls.dtype


class _Never(metaclass=_Typed):
    """Has no instances of its own."""

    dtype = _dtype.float32

    def __init_subclass__(cls) -> None:
        cls.__doc__ = f"Tensors of {cls.dtype}. Example: `gm.{cls.__name__}([1])`."

    def __new__(cls) -> NoReturn:
        raise TypeError("tensors are made by calling the class")


class BFloat16Tensor(_Never):
    dtype = _dtype.bfloat16


class BoolTensor(_Never):
    dtype = _dtype.bool


class ByteTensor(_Never):
    dtype = _dtype.uint8


class CharTensor(_Never):
    dtype = _dtype.int8


class DoubleTensor(_Never):
    dtype = _dtype.float64


class FloatTensor(_Never):
    dtype = _dtype.float32


class HalfTensor(_Never):
    dtype = _dtype.float16


class IntTensor(_Never):
    dtype = _dtype.int32


class LongTensor(_Never):
    dtype = _dtype.int64


class ShortTensor(_Never):
    dtype = _dtype.int16
