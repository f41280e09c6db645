"""Views at strides of one's own, in elements of the tensor that is viewed, which lies densely in C order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradmesh import _strides
from gradmesh._functions._common import in_place, ints, one
from gradmesh._functions.convert import clone
from gradmesh_engine.errors import ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "as_strided",
    "as_strided_copy",
    "as_strided_scatter",
]


def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of the elements of the tensor `input` is a view of, or of its own, at strides.

    `storage_offset` is where the first stands, by default where that of `input` does. The gradient goes to the tensor
    that is viewed. Raises ShapeError where it would reach past the elements.

    Example: `gm.as_strided(gm.arange(4), (3, 2), (1, 1))` is `tensor([[0, 1], [1, 2], [2, 3]])`.
    """
    start = _strides.offset(input) if storage_offset is None else int(storage_offset)
    store = input._store
    base = input if store is None or store.base is None else store.base
    return one(
        "as_strided", base, shape=ints("as_strided", "size", size), stride=ints("as_strided", "stride", stride),
        offset=start,
    )  # fmt: skip


def as_strided_copy(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """`as_strided` as a copy. Example: `gm.as_strided_copy(gm.arange(4), (2,), (2,))` is `tensor([0, 2])`."""
    return clone(as_strided(input, size, stride, storage_offset))


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A copy of `input` with `src` written where `as_strided` reads.

    Example: `gm.as_strided_scatter(gm.zeros(4), gm.ones(2), (2,), (2,))` is `tensor([1., 0., 1., 0.])`.
    """
    copy = clone(input)
    start = 0 if storage_offset is None else storage_offset
    view = as_strided(copy, size, stride, start)
    if tuple(view.shape) != tuple(src.shape):
        raise ShapeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(view.shape)}",
            op="as_strided_scatter",
            got=str(list(src.shape)),
        )
    in_place(view, src)
    return copy
