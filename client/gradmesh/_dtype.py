"""dtypes, sizes and devices as users see them: PyTorch's names over NumPy's dtypes."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any, Final, SupportsIndex, overload

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.errors import UnknownDTypeError


class dtype:
    """The type of a tensor's elements. Final; one object per dtype, compared by identity.

    Attributes:
        name: "float32", as in graphs and on the wire.
        np: the NumPy dtype.
    """

    __slots__ = ("is_complex", "is_floating_point", "is_signed", "itemsize", "name", "np")

    def __init__(self, np_dtype: np.dtype) -> None:
        self.np: Final = np_dtype
        self.name: Final[str] = np_dtype.name
        self.itemsize: Final = np_dtype.itemsize
        self.is_floating_point: Final = dtypes.is_floating(np_dtype)
        self.is_complex: Final = dtypes.is_complex(np_dtype)
        self.is_signed: Final = np_dtype not in (dtypes.bool_, dtypes.uint8)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return of, (self.name,)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: object) -> dtype:
        return self

    def to_real(self) -> dtype:
        """The dtype of the real part."""
        return _BY_NP[dtypes.real_of(self.np)]

    def to_complex(self) -> dtype:
        """The complex dtype whose parts hold this dtype."""
        return _BY_NP[dtypes.complex_of(self.np)]


_BY_NP: Final[dict[np.dtype, dtype]] = {d: dtype(d) for d in dtypes.ALL}

bool = _BY_NP[dtypes.bool_]
uint8 = _BY_NP[dtypes.uint8]
int8 = _BY_NP[dtypes.int8]
int16 = short = _BY_NP[dtypes.int16]
int32 = int = _BY_NP[dtypes.int32]
int64 = long = _BY_NP[dtypes.int64]
float16 = half = _BY_NP[dtypes.float16]
bfloat16 = _BY_NP[dtypes.bfloat16]
float32 = float = _BY_NP[dtypes.float32]
float64 = double = _BY_NP[dtypes.float64]
complex64 = cfloat = _BY_NP[dtypes.complex64]
complex128 = cdouble = _BY_NP[dtypes.complex128]

DTypeLike = dtype | np.dtype | type | str

_PYTHON: Final[dict[object, dtype]] = {
    builtins.bool: bool, builtins.int: int64, builtins.float: float32, builtins.complex: complex64,
}  # fmt: skip


def of(like: DTypeLike) -> dtype:
    """The dtype meant by a dtype, its name, a NumPy dtype or a Python number type.

    Python's `float` and `complex` mean the default dtype's precision. Raises UnknownDTypeError.
    """
    if isinstance(like, dtype):
        return like
    if like is builtins.float:
        return get_default_dtype()
    if like is builtins.complex:
        return get_default_dtype().to_complex()
    found = _PYTHON.get(like) if isinstance(like, type) else None
    if found is not None:
        return found
    if isinstance(like, str):
        return _BY_NP[dtypes.parse(like.removeprefix("torch.").removeprefix("gradmesh."))]
    try:
        return _BY_NP[np.dtype(like)]
    except (KeyError, TypeError):
        raise UnknownDTypeError(
            f"unknown dtype {like!r}", expected=", ".join(dtypes.BY_NAME), got=str(like), remedy="cast it first"
        ) from None


def from_numpy(np_dtype: np.dtype) -> dtype:
    """The dtype object of a NumPy dtype in the table."""
    return _BY_NP[np_dtype]


_default: dtype = float32


def get_default_dtype() -> dtype:
    """The dtype of tensors made from Python floats: float32 unless it was set."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the dtype of tensors made from Python floats, for the whole process. Raises UnknownDTypeError."""
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise UnknownDTypeError(
            "only floating-point types are supported as the default type",
            expected="float16, bfloat16, float32 or float64",
            got=str(d),
        )
    _default = d


class Size(tuple[builtins.int, ...]):
    """The shape of a tensor: a tuple of dims that prints as PyTorch's. Final."""

    __slots__ = ()

    def numel(self) -> builtins.int:
        """Number of elements of a tensor of this size."""
        count = 1
        for dim in self:
            count *= dim
        return count

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    @overload
    def __getitem__(self, index: SupportsIndex) -> builtins.int: ...
    @overload
    def __getitem__(self, index: slice) -> Size: ...
    def __getitem__(self, index: SupportsIndex | slice) -> builtins.int | Size:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(found, tuple) else found

    def __add__(self, other: Iterable[Any]) -> Size:
        return Size((*self, *other))

    def __mul__(self, times: SupportsIndex) -> Size:
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return Size, (tuple(self),)


class device:
    """Where a tensor lives as users see it: always the CPU, whichever machine computes. Final."""

    __slots__ = ("index", "type")

    type: str
    index: builtins.int | None

    def __init__(self, type: str | device = "cpu", index: builtins.int | None = None) -> None:
        name = type.type if isinstance(type, device) else type.partition(":")[0]
        if name != "cpu":
            raise UnknownDTypeError(
                f"device {type!r} is not available", expected="cpu", got=str(type), remedy="leave the device out"
            )
        self.type = name
        self.index = index

    def __repr__(self) -> str:
        return f"device(type='{self.type}')"

    def __str__(self) -> str:
        return self.type

    def __eq__(self, other: object) -> builtins.bool:
        return isinstance(other, device)

    def __hash__(self) -> builtins.int:
        return hash("cpu")


CPU: Final = device("cpu")


class memory_format:
    """An order of elements in memory that PyTorch lets one ask for. Accepted everywhere, and without effect. Final."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


contiguous_format: Final = memory_format("contiguous_format")
preserve_format: Final = memory_format("preserve_format")
channels_last: Final = memory_format("channels_last")
channels_last_3d: Final = memory_format("channels_last_3d")
