"""Indexing and assignment: what is between the brackets, as view ops, then one op for index tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _tensor, _trace, _views
from gradmesh._explore import TORCH_TENSORS
from gradmesh._value import user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AxisError, InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def _items(index: Any) -> list[Any]:
    """The subscripts, with sequences of numbers as index tensors."""
    if isinstance(index, list) and any(isinstance(i, slice) or i is None or i is Ellipsis for i in index):
        # A list that cannot be a tensor is taken for a tuple, as by PyTorch.
        index = tuple(index)
    items = list(index) if isinstance(index, tuple) else [index]
    return [_item(item) for item in items]


def _item(item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, bool | np.bool_ | slice):
        return item
    if isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, _tensor.Tensor):
        dtype = item.np_dtype
        if dtypes.category(dtype) > dtypes.INT:
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
    return None if value is None else value.__index__()


def _sliced(tensor: Tensor, dim: int, item: slice) -> Tensor:
    size = tensor.spec.shape[dim]
    step = 1 if item.step is None else item.step.__index__()
    if step <= 0:
        raise InvalidRequestError("step must be greater than zero", got=str(step), source=user_line())
    start, stop, _ = slice(_bound(item.start), _bound(item.stop), step).indices(size)
    stop = max(start, stop)
    if (start, stop, step) == (0, size, 1):
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
    if sum(item is Ellipsis for item in items) > 1:
        raise AxisError("an index can only have a single ellipsis ('...')", source=user_line())
    view = tensor
    left: dict[int, Tensor] = {}
    dim = 0
    for item in items:
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
            found = np.nonzero(item._content())
            if not item.ndim:  # a 0-d mask adds a dim
                view = _trace.record("unsqueeze", view, dim=dim)
                left[dim] = _trace.constant(np.zeros(int(bool(item._content())), np.int64))
                dim += 1
            for positions in found if item.ndim else ():
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
    view, left = _basic(tensor, _items(index))
    source = _source(tensor, value)
    if left:
        indices = [_long(item) for item in left.values()]
        put = _trace.record("index_put", view, source, *indices, dims=tuple(left))
        _views.inplace(view, put)
        return
    _views.inplace(view, _trace.record("copy", view, _trimmed(source, view.spec.shape)))


def _source(tensor: Tensor, value: Any) -> Tensor:
    dtype = tensor.np_dtype
    if not isinstance(value, _tensor.Tensor):
        if not isinstance(value, bool | int | float | complex | np.generic | np.ndarray):
            raise AttributeTypeError(
                f"can't assign a {type(value).__name__} to a torch.{TORCH_TENSORS[dtype.name]}",
                expected="Tensor or number",
                got=type(value).__name__,
                source=user_line(),
            )
        return _trace.constant(np.array(value).astype(dtype))
    if value.np_dtype != dtype:
        converted: Tensor = _trace.record("convert", value, dtype=dtype.name)
        return converted
    return value


def _trimmed(source: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The value without leading dims of size 1 that what is indexed has not. Raises ShapeError."""
    have = source.spec.shape
    while len(have) > len(shape) and have[0] == 1:
        have = have[1:]
    lead = len(shape) - len(have)
    if lead < 0 or any(size not in (1, shape[lead + offset]) for offset, size in enumerate(have)):
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(have)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}",
            source=user_line(),
        )
    if have == source.spec.shape:
        return source
    result: Tensor = _trace.record("reshape", source, shape=have)
    return result
