"""What can be asked of a tensor: sizes, strides, kinds, equality."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, overload

from gradmesh import _dtype, _strides, _tensor
from gradmesh._functions import binary, convert, reduce
from gradmesh._functions._common import Operand, common_dtype, dim_of, one, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "allclose",
    "can_cast",
    "equal",
    "get_device",
    "is_complex",
    "is_conj",
    "is_floating_point",
    "is_inference",
    "is_neg",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_tensor",
    "isclose",
    "numel",
    "promote_types",
    "result_type",
    "typename",
]

# --- sizes ----------------------------------------------------------------------------------------


@overload
def size(input: Tensor) -> _dtype.Size: ...
@overload
def size(input: Tensor, dim: int) -> int: ...
def size(input: Tensor, dim: int | None = None) -> _dtype.Size | int:
    """The shape, or the size of one dim. Example: `gm.ones(2, 3).size(1)` is `3`."""
    shape = input.shape
    return shape if dim is None else shape[dim_of(dim, len(shape))]


def dim(input: Tensor) -> int:
    """Number of dims. Example: `gm.ones(2, 3).dim()` is `2`."""
    return input.ndim


def numel(input: Tensor) -> int:
    """Number of elements. Example: `gm.numel(gm.ones(2, 3))` is `6`."""
    return spec(input).size


def dim_order(input: Tensor) -> tuple[int, ...]:
    """The dims from the one with the longest stride to that with the shortest.

    Example: `gm.ones(2, 3).t().dim_order()` is `(1, 0)`.
    """
    strides = _strides.of(input)
    return tuple(sorted(range(input.ndim), key=lambda d: -strides[d]))


def get_device(input: Tensor) -> int:
    """-1: the number of the CPU. Example: `gm.get_device(gm.ones(1))` is `-1`."""
    return -1


def is_conj(input: Tensor) -> bool:
    """False: conjugates are computed here, not marked. Example: `gm.is_conj(gm.ones(1))` is `False`."""
    return False


def is_neg(input: Tensor) -> bool:
    """False: negatives are computed here, not marked. Example: `gm.is_neg(gm.ones(1))` is `False`."""
    return False


def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference mode. Example: `gm.is_inference(gm.ones(1))` is `False`."""
    return input.is_inference()


def typename(obj: object) -> str:
    """The name of a tensor's type or of an object's class.

    Example: `gm.typename(gm.ones(1))` is `'torch.FloatTensor'`.
    """
    if isinstance(obj, _tensor.Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) else type(obj)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def element_size(input: Tensor) -> int:
    """Bytes per element. Example: `gm.ones(1).element_size()` is `4`."""
    return spec(input).dtype.itemsize


@overload
def stride(input: Tensor) -> tuple[int, ...]: ...
@overload
def stride(input: Tensor, dim: int) -> int: ...
def stride(input: Tensor, dim: int | None = None) -> tuple[int, ...] | int:
    """Elements from one index to the next along each dim, as PyTorch would lay the tensor out.

    Example: `gm.ones(2, 3).stride()` is `(3, 1)`.
    """
    strides = _strides.of(input)
    return strides if dim is None else strides[dim_of(dim, len(strides))]


def storage_offset(input: Tensor) -> int:
    """Elements before the first one in what a view shares. Example: `gm.arange(3)[1:].storage_offset()` is `1`."""
    return _strides.offset(input)


def is_contiguous(input: Tensor) -> bool:
    """Whether elements lie in C order without gaps, as PyTorch would lay the tensor out.

    Example: `gm.ones(2, 3).T.is_contiguous()` is `False`.
    """
    return _strides.is_contiguous(input)


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself when contiguous, else a copy. Example: `gm.ones(2, 3).T.contiguous().stride()` is `(2, 1)`."""
    return input if _strides.is_contiguous(input) else convert.clone(input)


# --- kinds ----------------------------------------------------------------------------------------


def is_tensor(obj: object) -> bool:
    """Whether an object is a Tensor. Example: `gm.is_tensor(gm.ones(1))` is `True`."""
    return isinstance(obj, _tensor.Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a float. Example: `gm.is_floating_point(gm.ones(1))` is `True`."""
    return dtypes.is_floating(spec(input).dtype)


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex. Example: `gm.is_complex(gm.ones(1))` is `False`."""
    return dtypes.is_complex(spec(input).dtype)


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers. Example: `gm.ones(1).is_signed()` is `True`."""
    return input.dtype.is_signed


def is_nonzero(input: Tensor) -> bool:
    """Truth of the only element; evaluates. Example: `gm.is_nonzero(gm.ones(1))` is `True`."""
    return builtins.bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether shapes are equal. Example: `gm.is_same_size(gm.ones(1), gm.zeros(1))` is `True`."""
    return spec(input).shape == spec(other).shape


# --- equality -------------------------------------------------------------------------------------


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """True where |input - other| <= atol + rtol * |other|.

    Example: `gm.isclose(gm.ones(1), gm.ones(1))` is `tensor([True])`.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise InvalidRequestError(
                f"{name} must be greater than or equal to zero, but got {value}", op="isclose", got=str(value)
            )
    return one("isclose", input, other, rtol=builtins.float(rtol), atol=builtins.float(atol), equal_nan=equal_nan)


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds everywhere; evaluates. Example: `gm.allclose(gm.ones(1), gm.ones(1))` is `True`."""
    return builtins.bool(reduce.all(isclose(input, other, rtol, atol, equal_nan)))


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal; evaluates. Example: `gm.equal(gm.ones(1), gm.zeros(1))` is `False`."""
    return spec(input).shape == spec(other).shape and builtins.bool(reduce.all(binary.eq(input, other)))


def result_type(tensor1: Operand, tensor2: Operand) -> _dtype.dtype:
    """The dtype two operands compute in. Example: `gm.result_type(gm.arange(1), 1.5)` is `torch.float32`."""
    return _dtype.from_numpy(common_dtype((tensor1, tensor2)))


def promote_types(type1: _dtype.DTypeLike, type2: _dtype.DTypeLike) -> _dtype.dtype:
    """The dtype two tensors of equal standing meet in.

    Example: `gm.promote_types(gm.int8, gm.uint8)` is `torch.int16`.
    """
    return _dtype.from_numpy(dtypes.promote(_dtype.of(type1).np, _dtype.of(type2).np))


def can_cast(from_: _dtype.DTypeLike, to: _dtype.DTypeLike) -> bool:
    """Whether an in-place op may cast so: never to a lower category.

    Example: `gm.can_cast(gm.float32, gm.int64)` is `False`.
    """
    return dtypes.category(_dtype.of(from_).np) <= dtypes.category(_dtype.of(to).np)
