"""Indexing and assignment: what is between the brackets, as view ops, then one op for index tensors."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _tensor, _trace, _views
from gradmesh._explore import TORCH_TENSORS
from gradmesh._functions._common import NUMBERS, check_fits, number
from gradmesh._functions._making import convert_array
from gradmesh._value import user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def _items(index: Any) -> list[Any]:
    """The subscripts, with sequences of numbers as index tensors."""
    if isinstance(index, list) and len(index) < 32 and any(map(_is_subscript, index)):
        if not any(isinstance(i, slice) or i is None or i is Ellipsis for i in index):
            warnings.warn(
                "Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of "
                "x[seq].",
                UserWarning,
                stacklevel=4,
            )
        # What holds more than numbers is taken for a tuple, as by PyTorch and formerly NumPy.
        index = tuple(index)
    items = list(index) if isinstance(index, tuple) else [index]
    return [_item(item) for item in items]


def _is_subscript(item: Any) -> bool:
    """Whether a list with this member is a tuple of subscripts rather than an index tensor."""
    return item is None or item is Ellipsis or isinstance(item, (slice, list, tuple, range, np.ndarray, _tensor.Tensor))


def _item(item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, bool | np.bool_ | slice):
        return item
    if isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, _tensor.Tensor):
        dtype = item.np_dtype
        if dtypes.category(dtype) > dtypes.INT or (item.ndim and dtype in (dtypes.int8, dtypes.int16)):
            raise AxisError(
                "tensors used as indices must be long, int, byte or bool tensors", got=dtype.name, source=user_line()
            )
        return item
    if isinstance(item, list | tuple | range | np.ndarray):
        array = np.asarray(item)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind in "iub":
            return _trace.constant(array.copy() if array.dtype == np.bool_ else array.astype(np.int64))
    if isinstance(item, (str, bytes)):
        wrong = type(item).__name__
        raise AttributeTypeError(f"new(): invalid data type '{wrong}'", expected="an index", got=wrong)
    raise AxisError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(item).__name__})",
        got=type(item).__name__,
        source=user_line(),
    )


def _width(item: Any) -> int:
    """How many dims a subscript takes."""
    if item is None or item is Ellipsis or isinstance(item, bool | np.bool_):
        return 0
    if isinstance(item, _tensor.Tensor) and item.np_dtype in (dtypes.bool_, dtypes.uint8):
        return item.ndim
    return 1


def _bound(value: Any) -> Any:
    try:
        return None if value is None else operator.index(value)
    except TypeError:
        raise AttributeTypeError(
            "slice indices must be integers or None or have an __index__ method",
            expected="an integer or None",
            got=type(value).__name__,
            source=user_line(),
        ) from None


def _sliced(tensor: Tensor, dim: int, item: slice, always: bool = False) -> Tensor:
    size = tensor.spec.shape[dim]
    step = 1 if item.step is None else _bound(item.step)
    if step <= 0:
        wrong = "step must be greater than zero" if step else "slice step cannot be zero"
        raise InvalidRequestError(wrong, got=str(step), source=user_line())
    start, stop, _ = slice(_bound(item.start), _bound(item.stop), step).indices(size)
    stop = max(start, stop)
    if not always and step == 1 and not item.start and (item.stop is None or _bound(item.stop) >= size):
        return tensor
    result: Tensor = _trace.record("slice", tensor, dim=dim, start=start, end=stop, step=step)
    return result


def _selected(tensor: Tensor, dim: int, index: int) -> Tensor:
    shape = tensor.spec.shape
    if not shape:
        raise AxisError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number",
            source=user_line(),
        )
    size = shape[dim]
    if not -size <= index < size:
        raise AxisError(
            f"index {index} is out of bounds for dimension {dim} with size {size}",
            expected=f"{-size} to {size - 1}",
            got=str(index),
            source=user_line(),
        )
    result: Tensor = _trace.record("select", tensor, dim=dim, index=index % size)
    return result


def _basic(tensor: Tensor, items: Sequence[Any]) -> tuple[Tensor, dict[int, Tensor]]:
    """The view that the plain subscripts make, and the index tensors that are left, by the dim they index."""
    wanted = sum(map(_width, items))
    rank = tensor.ndim
    if wanted > rank:
        if rank == 0:
            _selected(tensor, 0, 0)
        raise AxisError(f"too many indices for tensor of dimension {rank}", got=str(wanted), source=user_line())
    view = tensor
    left: dict[int, Tensor] = {}
    dim = 0
    for item in items:
        if dim + _width(item) > view.ndim:
            # Only a second ellipsis leads here: each stands for all dims that no subscript takes.
            raise AxisError("an index can only have a single ellipsis ('...')", source=user_line())
        if item is Ellipsis:
            dim += rank - wanted
        elif item is None or isinstance(item, bool | np.bool_):
            view = _trace.record("unsqueeze", view, dim=dim)
            if item is not None:
                left[dim] = _trace.constant(np.zeros(1 if item else 0, np.int64))
            dim += 1
        elif isinstance(item, int):
            view = _selected(view, dim, item)
        elif isinstance(item, slice):
            view = _sliced(view, dim, item)
            dim += 1
        elif item.np_dtype in (dtypes.bool_, dtypes.uint8):
            _check_mask(view, item, dim)
            content = item._content()
            if not item.ndim:  # a 0-d mask adds a dim
                view = _trace.record("unsqueeze", view, dim=dim)
                left[dim] = _trace.constant(np.zeros(int(bool(content)), np.int64))
                dim += 1
            for positions in np.nonzero(content) if item.ndim else ():
                left[dim] = _trace.constant(np.ascontiguousarray(positions, np.int64))
                dim += 1
        elif item.ndim == 0:
            view = _selected(view, dim, int(item))
        else:
            left[dim] = item
            dim += 1
    return view, left


def _check_mask(view: Tensor, mask: Tensor, dim: int) -> None:
    shape = view.spec.shape
    for offset, size in enumerate(mask.spec.shape):
        if shape[dim + offset] != size:
            raise AxisError(
                f"The shape of the mask {list(mask.spec.shape)} at index {offset} does not match the shape of the "
                f"indexed tensor {list(shape)} at index {dim + offset}",
                source=user_line(),
            )


def _long(index: Tensor) -> Tensor:
    if index.np_dtype == dtypes.int64:
        return index
    converted: Tensor = _trace.record("convert", index, dtype="int64")
    return converted


def getitem(tensor: Tensor, index: Any) -> Tensor:
    """`tensor[index]`: a view for plain subscripts, a copy where index tensors take part.

    Raises AxisError for subscripts outside the dims or of unknown types.
    """
    if isinstance(index, int) and not isinstance(index, bool):
        return _selected(tensor, 0, index)
    if isinstance(index, slice) and tensor.ndim:
        return _sliced(tensor, 0, index, always=True)
    view, left = _basic(tensor, _items(index))
    if left:
        result: Tensor = _trace.record("index", view, *map(_long, left.values()), dims=tuple(left))
        return result
    if view is tensor:
        view = _trace.record("alias", tensor)
    return view


def unbind(tensor: Tensor) -> tuple[Tensor, ...]:
    """The slices along the first dim, as views."""
    if not tensor.spec.shape[0]:
        return ()
    result = _trace.record("unbind", tensor, dim=0)
    return result if isinstance(result, tuple) else (result,)


def setitem(tensor: Tensor, index: Any, value: Any) -> None:
    """`tensor[index] = value`; the value is broadcast to what is indexed and cast to the tensor's dtype.

    Raises as getitem and `_views.inplace`; ShapeError for a value that does not broadcast.
    """
    if index is False:
        return
    source = _source(tensor, value)
    if index is True:
        index = None
    items = _items(index)
    view, left = _basic(tensor, items)
    if isinstance(value, NUMBERS):
        check_fits(number(value), tensor.spec if left else view.spec)
    if left:
        if source.np_dtype != tensor.np_dtype and source.spec.size == 1 and _is_one_mask(items):
            source = _trace.record("convert", source, dtype=tensor.np_dtype.name)
        if source.np_dtype != tensor.np_dtype:
            raise DTypeError(
                "Index put requires the source and destination dtypes match, got "
                f"{TORCH_TENSORS[tensor.np_dtype.name].removesuffix('Tensor')} for the destination and "
                f"{TORCH_TENSORS[source.np_dtype.name].removesuffix('Tensor')} for the source.",
                expected=tensor.np_dtype.name,
                got=source.np_dtype.name,
                remedy="cast the source",
                source=user_line(),
            )
        indices = [_long(item) for item in left.values()]
        put = _trace.record("index_put", view, _without_leading(source), *indices, dims=tuple(left))
        _views.inplace(view, put)
    elif source.ndim == 0:
        _views.inplace(view, _trace.record("fill", view, source, scalar=False, inplace=True))
    else:
        _views.inplace(view, _trace.record("copy", view, _broadcast(source, view.spec.shape)))


def _source(tensor: Tensor, value: Any) -> Tensor:
    if not isinstance(value, _tensor.Tensor):
        if not isinstance(value, bool | int | float | complex | np.generic | np.ndarray):
            raise AttributeTypeError(
                f"can't assign a {type(value).__name__} to a torch.{TORCH_TENSORS[tensor.np_dtype.name]}",
                expected="Tensor or number",
                got=type(value).__name__,
                source=user_line(),
            )
        return _trace.constant(convert_array(np.asarray(value), tensor.np_dtype))
    return value


def _is_one_mask(items: Sequence[Any]) -> bool:
    """Whether one mask is all that is not a plain subscript: what is written is then a fill, which casts."""
    masks = [
        item.np_dtype in (dtypes.bool_, dtypes.uint8)
        for item in items
        if isinstance(item, _tensor.Tensor) and item.ndim
    ]
    return masks == [True] and not any(isinstance(item, bool) for item in items)


def _without_leading(source: Tensor) -> Tensor:
    """The value without leading dims of size 1."""
    have = source.spec.shape
    while have and have[0] == 1:
        have = have[1:]
    if have == source.spec.shape:
        return source
    result: Tensor = _trace.record("reshape", source, shape=have)
    return result


def _broadcast(source: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The value broadcast to what is indexed. Raises ShapeError."""
    if source.spec.shape == shape:
        return source
    have = source.spec.shape
    while have and have[0] == 1:
        have = have[1:]
    lead = len(shape) - len(have)
    if lead < 0 or any(size not in (1, shape[lead + offset]) for offset, size in enumerate(have)):
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(have)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}",
            source=user_line(),
        )
    result: Tensor = _trace.record("reshape", source, shape=have)
    if have != shape:
        result = _trace.record("expand", result, shape=shape)
    return result
