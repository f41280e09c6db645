"""How PyTorch would lay a view out. Strides are told, never used: values here are always dense."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def _dense(shape: tuple[int, ...]) -> np.ndarray:
    """An array of bytes of this shape in C order, over memory that is never touched."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    # One byte stands for all: strides and addresses are read off, elements are not.
    return np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), shape, tuple(reversed(strides)))


def _squeeze(x: np.ndarray, dim: tuple[int, ...] | None = None, **_: Any) -> np.ndarray:
    dims = range(x.ndim) if dim is None else [d % x.ndim for d in dim if x.ndim]
    return x[tuple(0 if d in dims and x.shape[d] == 1 else slice(None) for d in range(x.ndim))]


def _unsqueeze(x: np.ndarray, dim: int) -> np.ndarray:
    dim %= x.ndim + 1
    # A step along the new dim would pass over all of the dim behind it.
    step = x.shape[dim] * x.strides[dim] if dim < x.ndim else 1
    shape, strides = (*x.shape[:dim], 1, *x.shape[dim:]), (*x.strides[:dim], step, *x.strides[dim:])
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _along(x: np.ndarray, dim: int, index: int | slice) -> np.ndarray:
    return x[(*(slice(None),) * (dim % x.ndim), index)]


def _expand(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lead = len(shape) - x.ndim
    sizes = [x.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)]
    return np.broadcast_to(x, sizes)


def _strided_slice(
    x: np.ndarray, starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]
) -> np.ndarray:
    return x[tuple(slice(start, stop, step) for start, stop, step in zip(starts, stops, steps, strict=True))]


def _as_strided(x: np.ndarray, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> np.ndarray:
    # Elements are bytes here. The first is told by the array's address, which nothing is read from.
    first = np.lib.stride_tricks.as_strided(x.reshape(-1, copy=False), (offset + 1,), (1,))[offset:]
    return np.lib.stride_tricks.as_strided(first, shape, stride)


# What view ops do to strides, for those whose result may differ in more than its place from dense.
_MOVES: Final[dict[str, Callable[..., np.ndarray]]] = {
    "alias": lambda x: x,
    "t": lambda x: x.transpose(),
    "transpose": lambda x, dim0, dim1: x.swapaxes(dim0, dim1) if x.ndim else x,
    "permute": lambda x, dims: x.transpose(dims),
    "expand": _expand,
    "reshape": lambda x, shape: x.reshape(shape, copy=False),
    "view": lambda x, shape: x.reshape(shape, copy=False),
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "select": lambda x, dim, index: _along(x, dim, index),
    "slice": lambda x, dim=0, start=None, end=None, step=1: _along(x, dim, slice(start, end, step)),
    "narrow": lambda x, dim, start, length: _along(x, dim, slice(start, start + length)),
    "strided_slice": _strided_slice,
    "as_strided": _as_strided,
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: x.diagonal(offset, dim1, dim2),
}

# The same for view ops with several results; the first argument after the operand says which.
_PARTS: Final[dict[str, Callable[..., np.ndarray]]] = {
    "unbind": lambda x, index, dim=0: _along(x, dim, index),
    "split": lambda x, index, split_size, dim=0: _along(x, dim, slice(index * split_size, (index + 1) * split_size)),
    "split_with_sizes": lambda x, index, split_sizes, dim=0: _along(
        x, dim, slice(sum(split_sizes[:index]), sum(split_sizes[: index + 1]))
    ),
}


def _layout(tensor: Tensor) -> tuple[np.ndarray, int] | None:
    """An array laid out as the tensor, and its place in bytes; None for what is no view or of unknown layout."""
    store = tensor._store
    if store is None or not store.steps:
        return None
    base = found = _dense(store.storage.value.spec.shape)
    try:
        for step in store.steps:
            move = _MOVES.get(step.op)
            found = move(found, **step.attrs) if move else _PARTS[step.op](found, step.index, **step.attrs)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return (found, _address(found) - _address(base)) if found.shape == tensor._value.spec.shape else None


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def of(tensor: Tensor) -> tuple[int, ...]:
    """Strides in elements."""
    layout = _layout(tensor)
    return (_dense(tensor._value.spec.shape) if layout is None else layout[0]).strides


def offset(tensor: Tensor) -> int:
    """Elements of the shared storage before the tensor's first."""
    layout = _layout(tensor)
    return 0 if layout is None else layout[1]


def is_contiguous(tensor: Tensor) -> bool:
    """Whether the strides are those of a dense tensor in C order; dims of size 1 do not count."""
    layout = _layout(tensor)
    return layout is None or bool(layout[0].flags.c_contiguous)


def can_view(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether PyTorch could make a view of this shape, of the same number of elements, without a copy."""
    layout = _layout(tensor)
    if layout is None or layout[0].flags.c_contiguous:
        return True
    try:
        layout[0].reshape(shape, copy=False)
    except ValueError:
        return False
    return True
