"""What the functions that create tensors share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _dtype, _trace
from gradmesh._functions._common import sizes, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, ShapeError
from gradmesh_engine.ops.creation import checked_shape

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def finish(tensor: Tensor, requires_grad: bool, device: object = None) -> Tensor:
    """The tensor with what was asked of it at its creation. Raises UnknownDTypeError for a device that is not there."""
    if device is not None:
        _dtype.device(device)  # type: ignore[arg-type]
    return tensor.requires_grad_() if requires_grad else tensor


def wanted_dtype(dtype: _dtype.DTypeLike | None) -> np.dtype:
    """The dtype asked for, by default the default one."""
    return (_dtype.get_default_dtype() if dtype is None else _dtype.of(dtype)).np


def same_dtype(input: Tensor, dtype: _dtype.DTypeLike | None) -> np.dtype:
    """The dtype asked for, by default that of `input`."""
    return spec(input).dtype if dtype is None else _dtype.of(dtype).np


def convert_array(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy of another dtype, with PyTorch's rules: truncation towards 0, infinity on overflow."""
    with np.errstate(all="ignore"):
        if dtypes.is_half(dtype) and array.dtype == dtypes.float64:
            array = array.astype(np.float32)
        if array.dtype.kind == "c" and dtype.kind != "c":
            array = array.real
        return array.astype(dtype)


def filled(name: str, size: Sequence[Any], value: Any, dtype: np.dtype, requires_grad: bool, device: object) -> Tensor:
    """A tensor of one number, for the function called `name`. Raises AttributeTypeError, ShapeError."""
    if not size:
        raise AttributeTypeError(f'{name}() missing 1 required positional arguments: "size"', expected="sizes")
    asked = sizes(name, size)
    if name == "zeros" and min(asked, default=0) < 0:
        raise ShapeError("zeros: Dimension size must be non-negative.", op=name, got=str(list(asked)))
    shape = checked_shape(asked)
    array = np.zeros(shape, dtype) if value == 0 else np.full(shape, value, dtype)
    return finish(_trace.constant(array), requires_grad, device)
