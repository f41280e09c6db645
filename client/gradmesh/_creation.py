"""Tensors from data, constants, ramps and random numbers.

All take `dtype`, `device` (only the CPU exists) and `requires_grad`. Sizes are given as `f(2, 3)` or
`f((2, 3))`. Wrong argument types raise AttributeTypeError, negative sizes ShapeError, and a gradient
of anything but floats and complex numbers AutogradError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmesh import _dtype, _tensor, _trace
from gradmesh._functions._common import Number, cast, check_fits, ints, is_number, number, number_dtype, one, wrong_type
from gradmesh._functions._making import convert_array, filled, finish, same_dtype, wanted_dtype
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, DTypeError, InvalidRequestError, ShapeError, UnknownDTypeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.creation import checked_shape

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

DTypeLike: TypeAlias = _dtype.DTypeLike
Size: TypeAlias = int | Sequence[int]


# --- from data ------------------------------------------------------------------------------------


def _is_sequence(data: object) -> bool:
    if isinstance(data, np.ndarray):
        return data.ndim > 0
    return isinstance(data, Sequence) and not isinstance(data, (str, bytes))


def _unpacked(data: object) -> tuple[list[Any], tuple[int, ...]]:
    """The leaves of nested sequences in C order, and the shape they make. Raises ShapeError, AttributeTypeError."""
    shape: list[int] = []
    level: list[Any] = [data]
    while level and _is_sequence(level[0]):
        length = len(level[0])
        for part in level:
            if not _is_sequence(part):
                raise AttributeTypeError("not a sequence", expected=f"a sequence of length {length}", got=repr(part))
            if len(part) != length:
                raise ShapeError(
                    f"expected sequence of length {length} at dim {len(shape)} (got {len(part)})",
                    expected=str(length),
                    got=str(len(part)),
                )
        shape.append(length)
        level = [item for part in level for item in part]
    return level, tuple(shape)


def _leaf(value: Any) -> tuple[Any, np.dtype]:
    """A leaf as a Python number, and the dtype it brings."""
    if isinstance(value, _tensor.Tensor):
        if value.numel() != 1:
            raise ShapeError(
                "only one element tensors can be converted to Python scalars", got=f"{value.numel()} elements"
            )
        return value.item(), value.dtype.np
    if isinstance(value, np.ndarray):
        value = value[()]
    if isinstance(value, np.generic):
        return value.item(), _known(value.dtype)
    if is_number(value):
        found = number_dtype(value)
        default = _dtype.get_default_dtype().np
        kind = dtypes.category(found)
        return value, default if kind == dtypes.FLOAT else dtypes.complex_of(
            default
        ) if kind == dtypes.COMPLEX else found
    if isinstance(value, (str, bytes)):
        raise AttributeTypeError(
            f"new(): invalid data type '{type(value).__name__}'", expected="numbers", got=repr(value)
        )
    if _is_sequence(value):
        raise ShapeError("expected a number, got a sequence", expected="sequences of equal depth", got=repr(value))
    raise AttributeTypeError(
        f"Could not infer dtype of {type(value).__name__}", expected="numbers or sequences of them", got=repr(value)
    )


def _known(dtype: np.dtype) -> np.dtype:
    """The table's own dtype of this name. Raises UnknownDTypeError where there is none."""
    known = dtypes.BY_NAME.get(dtype.name)
    if known is None:
        raise UnknownDTypeError(
            f"can't convert np.ndarray of type numpy.{dtype.name}",
            expected=", ".join(dtypes.BY_NAME),
            got=dtype.name,
            remedy="cast the array with astype",
        )
    return known


def _array_of(data: object, dtype: np.dtype | None) -> np.ndarray:
    if isinstance(data, np.ndarray):
        own = _known(data.dtype)
        return convert_array(data, own if dtype is None else dtype)
    leaves, shape = _unpacked(data)
    found = [_leaf(value) for value in leaves]
    kinds = {own for _, own in found}
    natural = _dtype.get_default_dtype().np if not kinds else kinds.pop()
    for own in kinds:
        natural = dtypes.promote(natural, own)
    target = natural if dtype is None else dtype
    kind = dtypes.category(natural)
    if kind == dtypes.COMPLEX and dtypes.category(target) != dtypes.COMPLEX:
        raise AttributeTypeError("must be real number, not complex", expected=target.name, got="complex")
    wide = (dtypes.bool_, dtypes.int64, dtypes.float64, dtypes.complex128)[kind]
    try:
        array = np.array([value for value, _ in found], wide).reshape(shape)
    except OverflowError:
        raise DTypeError("Overflow when unpacking long long", expected="numbers of 64 bits") from None
    if wide in (dtypes.int64, dtypes.float64) and target.kind in "iu" and array.size:
        limits = np.iinfo(target)
        least = int(limits.min) if limits.min or wide == dtypes.float64 else -int(limits.max)
        # NaN is no number between the limits.
        if not (array.max() <= limits.max and array.min() >= least):
            raise DTypeError(
                f"value cannot be converted to type {target.name} without overflow",
                expected=f"{limits.min} to {limits.max}",
                got=f"{array.min()} to {array.max()}",
                remedy="choose a wider dtype",
            )
    return convert_array(array, target)


def tensor(data: Any, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: a number, nested sequences of numbers, an array or a tensor.

    Without `dtype`, bools, ints, floats and complex numbers of Python become bool, int64, the
    default dtype and its complex; arrays, NumPy scalars and tensors keep theirs.

    Example: `gm.tensor([[1., 2.]])` is `tensor([[1., 2.]])`.
    """
    wanted = None if dtype is None else _dtype.of(dtype).np
    if isinstance(data, _tensor.Tensor):
        copy = data.detach()
        return finish(copy.clone() if wanted is None else cast(copy, wanted).clone(), requires_grad, device)
    return finish(_trace.constant(_array_of(data, wanted)), requires_grad, device)


def as_tensor(data: Any, dtype: DTypeLike | None = None, device: object = None) -> Tensor:
    """`data` itself where it is a tensor of the dtype asked for, else a tensor made from it.

    Example: `gm.as_tensor([1, 2])` is `tensor([1, 2])`.
    """
    if isinstance(data, _tensor.Tensor):
        return data if dtype is None else cast(data, _dtype.of(dtype).np)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor with a copy of an array's content, of its dtype.

    Unlike PyTorch's, the memory is not shared: what is written to the array later is not seen.

    Example: `gm.from_numpy(np.ones(2))` is `tensor([1., 1.], dtype=torch.float64)`.
    """
    if not isinstance(ndarray, np.ndarray):
        raise AttributeTypeError(
            f"expected np.ndarray (got {type(ndarray).__name__})", expected="np.ndarray", got=type(ndarray).__name__
        )
    return _trace.constant(_array_of(ndarray, None))


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor with a copy of the content of another library's array in CPU memory, of its dtype.

    Raises AttributeTypeError for what does not speak DLPack, BufferError for what lies elsewhere.

    Example: `gm.from_dlpack(np.ones(2))` is `tensor([1., 1.], dtype=torch.float64)`.
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        name = type(ext_tensor).__name__
        raise AttributeTypeError(f"{name} does not speak DLPack", expected="an object with __dlpack__", got=name)
    return from_numpy(np.from_dlpack(ext_tensor))


def asarray(
    obj: Any,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor made from a tensor, an array, a buffer or numbers; `copy` forces a copy of a tensor.

    Example: `gm.asarray([1, 2])` is `tensor([1, 2])`. Raises InvalidRequestError for copy=False of what is no tensor.
    """
    if isinstance(obj, _tensor.Tensor):
        made = obj if dtype is None else cast(obj, _dtype.of(dtype).np)
        if copy and made is obj:
            made = one("clone", obj)
    elif copy is False:
        raise InvalidRequestError("can't alias arbitrary objects: their content is copied", op="asarray")
    elif isinstance(obj, (bytes, bytearray, memoryview)):
        made = frombuffer(obj, dtype=_dtype.get_default_dtype() if dtype is None else dtype)
    else:
        made = tensor(obj, dtype=dtype)
    return finish(made, requires_grad, device)


def frombuffer(
    buffer: Any, *, dtype: DTypeLike, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector with a copy of a buffer's content: `count` elements from `offset` bytes on.

    Example: `gm.frombuffer(bytes([1, 2]), dtype=gm.uint8)` is `tensor([1, 2], dtype=torch.uint8)`.
    """
    try:
        array = np.frombuffer(buffer, _dtype.of(dtype).np, count, offset)
    except ValueError as error:
        raise ShapeError(f"frombuffer: {error}", op="frombuffer") from None
    return finish(_trace.constant(array.copy()), requires_grad)


def range(
    start: Number = 0,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """From start to end, both included, as floats; `arange` is usual. Example: `gm.range(1, 2)` is `tensor([1., 2.])`.

    Raises InvalidRequestError for a step of 0 or away from the end.
    """
    first, last = (0, start) if end is None else (start, end)
    if isinstance(first, complex) or isinstance(last, complex) or isinstance(step, complex):
        raise DTypeError("range: complex numbers have no order", op="range")
    if step == 0:
        raise InvalidRequestError("step must be nonzero", op="range")
    if (last - first) * step < 0:
        raise InvalidRequestError("upper bound and lower bound inconsistent with step sign", op="range")
    wanted = wanted_dtype(dtype)
    steps = np.arange(int((last - first) / step) + 1)
    return finish(_trace.constant(convert_array(first + steps * step, wanted)), requires_grad, device)


# --- constants ------------------------------------------------------------------------------------


def zeros(*size: Size, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False) -> Tensor:
    """All 0. Example: `gm.zeros(2)` is `tensor([0., 0.])`."""
    return filled("zeros", size, 0, wanted_dtype(dtype), requires_grad, device)


def ones(*size: Size, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False) -> Tensor:
    """All 1. Example: `gm.ones(2)` is `tensor([1., 1.])`."""
    return filled("ones", size, 1, wanted_dtype(dtype), requires_grad, device)


def empty(*size: Size, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False) -> Tensor:
    """All 0: nothing here is ever undefined. Example: `gm.empty(2).shape` is `torch.Size([2])`."""
    return filled("empty", size, 0, wanted_dtype(dtype), requires_grad, device)


def full(
    size: Size,
    fill_value: Number | Tensor,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """All `fill_value`, whose type gives the dtype. Example: `gm.full((2,), 5)` is `tensor([5, 5])`."""
    own = None if dtype is None else _dtype.of(dtype).np
    shape = checked_shape(ints("full", "size", size))
    if is_number(fill_value):
        into = _array_of(fill_value, None).dtype if own is None else own
        check_fits(number(fill_value), TensorSpec(shape, into))
    value = _array_of(fill_value, own)
    if value.ndim:
        raise AttributeTypeError("full(): fill_value must be a number", expected="a number", got=str(value.shape))
    return finish(_trace.constant(np.full(shape, value)), requires_grad, device)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """(n, m) with 1 on the diagonal. Example: `gm.eye(2)` is `tensor([[1., 0.], [0., 1.]])`."""
    rows, columns = ints("eye", "n", (n, n if m is None else m))
    for letter, size in (("n", rows), ("m", columns)):
        if size < 0:
            raise ShapeError(f"{letter} must be greater or equal to 0, got {size}", op="eye", got=str(size))
    return finish(_trace.constant(np.eye(rows, columns, dtype=wanted_dtype(dtype))), requires_grad, device)


def zeros_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """All 0, of the shape and dtype of `input`. Example: `gm.zeros_like(gm.ones(2))` is `tensor([0., 0.])`."""
    return filled("zeros_like", (input.shape,), 0, same_dtype(input, dtype), requires_grad, device)


def ones_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """All 1, of the shape and dtype of `input`. Example: `gm.ones_like(gm.zeros(2))` is `tensor([1., 1.])`."""
    return filled("ones_like", (input.shape,), 1, same_dtype(input, dtype), requires_grad, device)


def empty_like(
    input: Tensor, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """All 0, of the shape and dtype of `input`. Example: `gm.empty_like(gm.ones(2)).shape` is `torch.Size([2])`."""
    return filled("empty_like", (input.shape,), 0, same_dtype(input, dtype), requires_grad, device)


def scalar_tensor(
    s: Number, *, dtype: DTypeLike | None = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """A 0-d tensor of a number, of the default dtype. Example: `gm.scalar_tensor(2)` is `tensor(2.)`."""
    return full(
        (), s, dtype=_dtype.get_default_dtype() if dtype is None else dtype, device=device, requires_grad=requires_grad
    )


def full_like(
    input: Tensor,
    fill_value: Number,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """All `fill_value`, of the shape and dtype of `input`. Example: `gm.full_like(gm.ones(1), 5)` is `tensor([5.])`."""
    return full(
        tuple(input.shape),
        fill_value,
        dtype=input.dtype if dtype is None else dtype,
        device=device,
        requires_grad=requires_grad,
    )


# --- ramps ----------------------------------------------------------------------------------------


def arange(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, … before end; int64 when all are ints. Example: `gm.arange(3)` is `tensor([0, 1, 2])`.

    Raises InvalidRequestError when the step is 0 or leads away from the end.
    """
    first, last = (0, start) if end is None else (start, end)
    values = [number(value) for value in (first, last, step)]
    for value in values:
        if not isinstance(value, (bool, int, float)):
            wrong_type("arange", "start", "Number", value)
    low, high, stride = values
    if stride == 0:
        raise InvalidRequestError("step must be nonzero", op="arange", got="0")
    if not all(map(math.isfinite, values)):
        raise InvalidRequestError(f"unsupported range: {low} -> {high}", op="arange", expected="finite numbers")
    if (high - low) * stride < 0:
        raise InvalidRequestError(
            "upper bound and lower bound inconsistent with step sign", op="arange", got=f"{low}, {high}, {stride}"
        )
    whole = all(isinstance(value, int) for value in values)
    wanted = dtypes.int64 if dtype is None and whole else wanted_dtype(dtype)
    numbers = dtypes.category(wanted) <= dtypes.INT and not whole and int(stride) != 0
    if numbers and wanted == dtypes.int64:
        low, high, stride, whole = int(low), int(high), int(stride), True
    count = -((low - high) // stride) if whole else math.ceil((high - low) / stride)
    if numbers:
        # int64 is counted in whole numbers, narrower integers in those given; all are made of whole ones.
        low, stride = int(low), int(stride)
    ramp = np.arange(count)
    array = ramp * stride + low
    return finish(_trace.constant(convert_array(array, wanted)), requires_grad, device)


def _ramp(name: str, start: Any, end: Any, steps: Any, dtype: np.dtype) -> np.ndarray:
    if not isinstance(steps, int):
        got = ", ".join(type(value).__name__ for value in (start, end, steps))
        raise AttributeTypeError(f"{name}() received an invalid combination of arguments - got ({got})", got=got)
    if steps < 0:
        raise InvalidRequestError("number of steps must be non-negative", op=name, got=str(steps))
    if any(isinstance(value, _tensor.Tensor) and value.ndim for value in (start, end)):
        raise ShapeError(f"{name} only supports 0-dimensional start and end tensors", op=name)
    start, end = (value.item() if isinstance(value, _tensor.Tensor) else number(value) for value in (start, end))
    if dtypes.category(dtype) <= dtypes.INT:
        start, end = int(start), int(end)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    index = np.arange(steps)
    # From both ends towards the middle, so that both ends are exact.
    first_half = index < steps // 2 + steps % 2
    return np.asarray(np.where(first_half, start + step * index, end - step * (steps - 1 - index)))


def linspace(
    start: Number | Tensor,
    end: Number | Tensor,
    steps: int,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers evenly from start to end, both included.

    Example: `gm.linspace(0, 1, 3)` is `tensor([0.0000, 0.5000, 1.0000])`.
    """
    wanted = wanted_dtype(dtype)
    ramp = _ramp("linspace", start, end, steps, wanted)
    return finish(_trace.constant(convert_array(ramp, wanted)), requires_grad, device)


def logspace(
    start: Number | Tensor,
    end: Number | Tensor,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`base` to the powers of `linspace`. Example: `gm.logspace(0, 2, 3)` is `tensor([  1.,  10., 100.])`."""
    wanted = wanted_dtype(dtype)
    with np.errstate(all="ignore"):
        array = np.power(float(base), _ramp("logspace", start, end, steps, wanted))
    return finish(_trace.constant(convert_array(array, wanted)), requires_grad, device)
