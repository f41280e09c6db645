"""Functions that pick, place and join elements by position or by mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, overload

import numpy as np

from gradmesh import _tensor, _trace
from gradmesh._functions import layout
from gradmesh._functions._common import Number, Operand, fitted, given, lift, one, spec, tensors_of
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, DTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "argwhere",
    "cat",
    "concat",
    "concatenate",
    "dstack",
    "gather",
    "hstack",
    "index_add",
    "index_copy",
    "index_fill",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "scatter",
    "scatter_add",
    "stack",
    "take_along_dim",
    "unique",
    "vstack",
    "where",
]

# --- joining --------------------------------------------------------------------------------------


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dim they have. Example: `gm.cat([gm.ones(1), gm.zeros(1)])` is `tensor([1., 0.])`."""
    return one("cat", *tensors_of("cat", tensors), dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dim.

    Example: `gm.stack([gm.ones(1), gm.zeros(1)]).shape` is `torch.Size([2, 1])`.
    """
    return one("stack", *tensors_of("stack", tensors), dim=dim)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along columns (vectors: end to end).

    Example: `gm.hstack([gm.ones(1), gm.zeros(1)])` is `tensor([1., 0.])`.
    """
    return one("hstack", *tensors_of("hstack", tensors))


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along rows (vectors become rows).

    Example: `gm.vstack([gm.ones(1), gm.zeros(1)])` is `tensor([[1.], [0.]])`.
    """
    return one("vstack", *tensors_of("vstack", tensors))


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dim 2, with at least three dims.

    Example: `gm.dstack([gm.ones(1), gm.zeros(1)])` is `tensor([[[1., 0.]]])`.
    """
    return one("dstack", *tensors_of("dstack", tensors))


# --- by index -------------------------------------------------------------------------------------


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """result[i][j] = input[index[i][j]][j] for dim 0; of the shape of `index`.

    Example: `gm.gather(gm.arange(3), 0, gm.tensor([2]))` is `tensor([2])`.
    """
    own, at = spec(input), spec(index)
    if own.ndim == at.ndim and at.size:
        return one("gather", input, index, dim=dim)
    fits = max(own.ndim, 1) == max(at.ndim, 1) or not at.size
    return one("gather_fitted" if fits else "gather", input, index, dim=dim)


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Operand | None = None,
    *,
    value: Operand | None = None,
    reduce: str | None = None,
) -> Tensor:
    """A copy with src[i][j] placed at [index[i][j]][j] for dim 0; with `reduce` "add" or "multiply" combined with it.

    Example: `gm.scatter(gm.zeros(2), 0, gm.tensor([1]), 5.)` is `tensor([0., 5.])`.
    """
    src = value if src is None else src
    if src is None:
        raise AttributeTypeError("scatter(): give src or value", op="scatter", expected="src or value", got="neither")
    kind = given(src)
    if not isinstance(src, _tensor.Tensor):
        src = fitted(src, spec(input))
    if reduce is None:
        return one("scatter", input, index, src, dim=dim, **kind)
    if reduce not in _REDUCTIONS:
        raise AttributeTypeError(
            "reduce argument must be either add or multiply.",
            op="scatter",
            expected="add or multiply",
            got=repr(reduce),
        )
    if kind:
        src = one("expand", src, shape=spec(index).shape)
    # PyTorch does not differentiate these: `scatter_reduce` is its way to do so.
    return one("scatter_reduce", input.detach(), index, src.detach(), dim=dim, reduce=_REDUCTIONS[reduce])


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with src[i][j] added at [index[i][j]][j] for dim 0.

    Example: `gm.scatter_add(gm.zeros(2), 0, gm.tensor([1, 1]), gm.ones(2))` is `tensor([0., 2.])`.
    """
    return one("scatter_add", input, index, src, dim=dim)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Slices of a dim at the positions of a vector.

    Example: `gm.index_select(gm.arange(3), 0, gm.tensor([2, 0]))` is `tensor([2, 0])`.
    """
    return one("index_select", input, index, dim=dim)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """A copy with alpha times slices of `source` added at positions of a dim.

    Example: `gm.index_add(gm.zeros(2), 0, gm.tensor([1]), gm.ones(1))` is `tensor([0., 1.])`.
    """
    return one("index_add", input, index, source, dim=dim, alpha=alpha)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with slices of `source` at positions of a dim.

    Example: `gm.index_copy(gm.zeros(2), 0, gm.tensor([1]), gm.ones(1))` is `tensor([0., 1.])`.
    """
    return one("index_copy", input, index, source, dim=dim)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Operand) -> Tensor:
    """A copy with one number at positions of a dim.

    Example: `gm.index_fill(gm.zeros(2), 0, gm.tensor([1]), 5.)` is `tensor([0., 5.])`.
    """
    if not isinstance(value, _tensor.Tensor):
        return one("index_fill", input, index, fitted(value, spec(input)), dim=dim, number=True)
    return one("index_fill", input, index, value, dim=dim)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` whose other dims broadcast; without a dim, of the flattened operand.

    Example: `gm.take_along_dim(gm.arange(3), gm.tensor([2]), 0)` is `tensor([2])`.
    """
    return one("take_along_dim", input, indices, dim=dim)


_REDUCTIONS: Final = {"add": "sum", "multiply": "prod"}

# --- by mask --------------------------------------------------------------------------------------


def masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """A copy with `value` where the bool `mask` is true.

    Example: `gm.masked_fill(gm.ones(2), gm.tensor([True, False]), 0.)` is `tensor([0., 1.])`.
    """
    if isinstance(value, _tensor.Tensor):
        return one("masked_fill", input, mask, value, scalar=False)
    return one("masked_fill", input, mask, fitted(value, spec(input)))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the elements of `source`, in order, where the bool `mask` is true.

    Example: `gm.masked_scatter(gm.ones(2), gm.tensor([False, True]), gm.zeros(1))` is `tensor([1., 0.])`.
    """
    return one("masked_scatter", input, mask, source)


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Operand, other: Operand) -> Tensor: ...
def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Tensor | tuple[Tensor, ...]:
    """`input` where the condition is true, `other` elsewhere; with the condition alone its nonzero positions.

    Example: `gm.where(gm.tensor([True, False]), 1., 0.)` is `tensor([1., 0.])`.
    """
    if input is None or other is None:
        return nonzero(condition, as_tuple=True)
    return one("where", condition, *lift(input, other))


# --- what depends on values: these evaluate ---------------------------------------------------------


@overload
def nonzero(input: Tensor) -> Tensor: ...
@overload
def nonzero(input: Tensor, *, as_tuple: bool) -> tuple[Tensor, ...]: ...
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """int64 positions of the nonzero elements, (count, ndim), or one vector per dim. Evaluates.

    Example: `gm.nonzero(gm.tensor([0, 5]))` is `tensor([[1]])`.
    """
    array = input.numpy(force=True)
    if not array.ndim:
        if as_tuple:
            return (_trace.constant(np.flatnonzero(array)),)
        return _trace.constant(np.zeros((int(bool(array)), 0), np.int64))
    found = np.nonzero(array)
    if as_tuple:
        return tuple([_trace.constant(np.ascontiguousarray(part)) for part in found])
    return _trace.constant(np.stack(found, axis=1) if found else np.zeros((0, 0), np.int64))


def argwhere(input: Tensor) -> Tensor:
    """`nonzero` under NumPy's name. Example: `gm.argwhere(gm.tensor([0, 5]))` is `tensor([[1]])`."""
    return nonzero(input)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where a bool mask is true, in one dim. Evaluates the mask.

    Example: `gm.masked_select(gm.arange(2), gm.tensor([False, True]))` is `tensor([1])`.
    """
    if spec(mask).dtype != dtypes.bool_:
        raise DTypeError(
            "masked_select: expected BoolTensor for mask",
            op="masked_select",
            expected="bool",
            got=spec(mask).dtype.name,
        )
    whole, where_true = layout.broadcast_tensors(input, mask)
    picks = np.flatnonzero(where_true.numpy())
    return one("masked_select", whole, _trace.constant(picks))


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """The distinct elements, or slices of a dim, in ascending order. Evaluates.

    On demand also each one's place among them, and how often each occurs.

    Example: `gm.unique(gm.tensor([2, 1, 2]))` is `tensor([1, 2])`.
    """
    array = input.numpy(force=True)
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    results = [_trace.constant(values)]
    if return_inverse:
        results.append(_trace.constant(inverse.reshape(array.shape if dim is None else -1)))
    if return_counts:
        results.append(_trace.constant(counts))
    return results[0] if len(results) == 1 else tuple(results)


# --- other names ----------------------------------------------------------------------------------

concat = cat
concatenate = cat
