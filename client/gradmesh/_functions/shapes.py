"""Functions of shape beside those of `layout`: copies of views, parts, and tensors made to fit each other."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

from gradmesh import _dtype, _tensor
from gradmesh._functions import layout, select
from gradmesh._functions._common import Dims, ints, many, one, sizes, spec, tensors_of
from gradmesh._functions.convert import clone
from gradmesh_engine.errors import AttributeTypeError, ShapeError
from gradmesh_engine.ops.pointwise import broadcast_shapes as broadcast

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "alias_copy",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_shapes",
    "column_stack",
    "detach",
    "detach_",
    "detach_copy",
    "diagflat",
    "diagonal_copy",
    "dsplit",
    "expand_copy",
    "hsplit",
    "meshgrid",
    "narrow_copy",
    "permute_copy",
    "row_stack",
    "select_copy",
    "slice_copy",
    "split_copy",
    "split_with_sizes",
    "split_with_sizes_copy",
    "squeeze_copy",
    "t_copy",
    "transpose_copy",
    "unbind_copy",
    "unfold_copy",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "unsqueeze_copy",
    "view_as_complex_copy",
    "view_as_real_copy",
    "view_copy",
    "vsplit",
]

# --- views as copies ------------------------------------------------------------------------------


def alias_copy(input: Tensor) -> Tensor:
    """A copy. Example: `gm.alias_copy(gm.ones(1))` is `tensor([1.])`."""
    return one("alias_copy", input)


def diagonal_copy(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """`diagonal` as a copy. Example: `gm.diagonal_copy(gm.eye(2))` is `tensor([1., 1.])`."""
    return one("diagonal_copy", input, offset=offset, dim1=dim1, dim2=dim2)


def expand_copy(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    """`expand` as a copy. Example: `gm.expand_copy(gm.ones(1), (2,))` is `tensor([1., 1.])`."""
    return one("expand_copy", input, shape=sizes("expand_copy", (size,)))


def broadcast_shapes(*shapes: int | Sequence[int]) -> _dtype.Size:
    """The shape that operands of these shapes broadcast to. Raises ShapeError where they do not.

    Example: `gm.broadcast_shapes((2, 1), (3,))` is `torch.Size([2, 3])`.
    """
    given = [ints("broadcast_shapes", "shapes", shape) for shape in shapes]
    return _dtype.Size(broadcast([(), *given]))


def detach_copy(input: Tensor) -> Tensor:
    """A copy through which no gradient flows. Example: `gm.detach_copy(gm.ones(1))` is `tensor([1.])`."""
    return clone(input.detach())


def view_as_complex_copy(input: Tensor) -> Tensor:
    """`view_as_complex` as a copy. Example: `gm.view_as_complex_copy(gm.ones(1, 2))` is `tensor([1.+1.j])`."""
    return clone(one("view_as_complex", input))


def view_as_real_copy(input: Tensor) -> Tensor:
    """`view_as_real` as a copy. Example: `gm.view_as_real_copy(gm.tensor([1j]))` is `tensor([[0., 1.]])`."""
    return clone(one("view_as_real", input))


def detach(input: Tensor) -> Tensor:
    """`Tensor.detach`. Example: `gm.detach(gm.ones(1)).requires_grad` is `False`."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """`Tensor.detach_`. Example: `gm.detach_(gm.ones(1)).requires_grad` is `False`."""
    return input.detach_()


def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`narrow` as a copy. Example: `gm.narrow_copy(gm.arange(3), 0, 1, 2)` is `tensor([1, 2])`."""
    return one("narrow_copy", input, dim=dim, start=operator.index(start), length=operator.index(length))


def permute_copy(input: Tensor, dims: Sequence[int]) -> Tensor:
    """`permute` as a copy. Example: `gm.permute_copy(gm.ones(2, 3), (1, 0)).shape` is `torch.Size([3, 2])`."""
    return one("permute_copy", input, dims=ints("permute_copy", "dims", dims))


def select_copy(input: Tensor, dim: int, index: int) -> Tensor:
    """`select` as a copy. Example: `gm.select_copy(gm.arange(3), 0, 1)` is `tensor(1)`."""
    return one("select_copy", input, dim=dim, index=index)


def slice_copy(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """input[start:end:step] along a dim, as a copy.

    Example: `gm.slice_copy(gm.arange(3), 0, 1)` is `tensor([1, 2])`.
    """
    return one("slice_copy", input, dim=dim, start=start, end=end, step=step)


def split_copy(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split` as copies. Example: `gm.split_copy(gm.arange(3), 2)` is `(tensor([0, 1]), tensor([2]))`."""
    return many("split_copy", input, split_size=split_size, dim=dim)


def split_with_sizes_copy(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split_with_sizes` as copies.

    Example: `gm.split_with_sizes_copy(gm.arange(3), (2, 1))` is `(tensor([0, 1]), tensor([2]))`.
    """
    return many("split_with_sizes_copy", input, split_sizes=ints("split_with_sizes", "sizes", split_sizes), dim=dim)


def squeeze_copy(input: Tensor, dim: Dims | None = None) -> Tensor:
    """`squeeze` as a copy. Example: `gm.squeeze_copy(gm.ones(1, 2))` is `tensor([1., 1.])`."""
    return one("squeeze_copy", input, dim=None if dim is None else ints("squeeze_copy", "dim", dim))


def t_copy(input: Tensor) -> Tensor:
    """`t` as a copy. Example: `gm.t_copy(gm.ones(2, 3)).shape` is `torch.Size([3, 2])`."""
    return one("t_copy", input)


def transpose_copy(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """`transpose` as a copy. Example: `gm.transpose_copy(gm.ones(2, 3), 0, 1).shape` is `torch.Size([3, 2])`."""
    return one("transpose_copy", input, dim0=dim0, dim1=dim1)


def unbind_copy(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """`unbind` as copies. Example: `gm.unbind_copy(gm.arange(2))` is `(tensor(0), tensor(1))`."""
    return many("unbind_copy", input, dim=dim)


def unfold_copy(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """`unfold` as a copy. Example: `gm.unfold_copy(gm.arange(3), 0, 2, 1)` is `tensor([[0, 1], [1, 2]])`."""
    return one("unfold_copy", input, dim=dimension, size=size, step=step)


def unsqueeze_copy(input: Tensor, dim: int) -> Tensor:
    """`unsqueeze` as a copy. Example: `gm.unsqueeze_copy(gm.ones(2), 0).shape` is `torch.Size([1, 2])`."""
    return one("unsqueeze_copy", input, dim=dim)


def view_copy(input: Tensor, size: Sequence[int]) -> Tensor:
    """`view` as a copy. Example: `gm.view_copy(gm.arange(4), (2, 2))` is `tensor([[0, 1], [2, 3]])`."""
    return one("view_copy", input, shape=sizes("view_copy", (size,)))


# --- parts ----------------------------------------------------------------------------------------


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts of given sizes along a dim.

    Example: `gm.split_with_sizes(gm.arange(3), (2, 1))` is `(tensor([0, 1]), tensor([2]))`.
    """
    return many("split_with_sizes", input, split_sizes=ints("split_with_sizes", "split_sizes", split_sizes), dim=dim)


def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split` whose parts share nothing.

    Example: `gm.unsafe_split(gm.arange(2), 1)` is `(tensor([0]), tensor([1]))`.
    """
    return many("unsafe_split", input, split_size=split_size, dim=dim)


def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split_with_sizes` whose parts share nothing.

    Example: `gm.unsafe_split_with_sizes(gm.arange(2), (1, 1))` is `(tensor([0]), tensor([1]))`.
    """
    return many("unsafe_split_with_sizes", input, split_sizes=ints("split", "split_sizes", split_sizes), dim=dim)


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk` whose parts share nothing.

    Example: `gm.unsafe_chunk(gm.arange(2), 2)` is `(tensor([0]), tensor([1]))`.
    """
    return many("unsafe_chunk", input, chunks=chunks, dim=dim)


def _split_along(name: str, least: int, dim: int) -> Callable[[Tensor, int | Sequence[int]], tuple[Tensor, ...]]:
    def split(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
        rank = spec(input).ndim
        if rank < least:
            raise ShapeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
                f"with {rank} dimensions!",
                op=name,
                expected=f"at least {least} dims",
                got=str(rank),
            )
        at = 0 if rank == 1 else dim
        if isinstance(indices_or_sections, int) and (
            indices_or_sections < 1 or spec(input).shape[at] % indices_or_sections
        ):
            raise ShapeError(
                f"torch.{name} attempted to split along dimension {at}, but the size of the dimension "
                f"{spec(input).shape[at]} is not divisible by the split_size {indices_or_sections}!",
                op=name,
                got=str(indices_or_sections),
            )
        return layout.tensor_split(input, indices_or_sections, at)

    return split


def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Equal parts, or parts between indices, of the columns (of a vector: of its elements).

    Example: `gm.hsplit(gm.arange(2), 2)` is `(tensor([0]), tensor([1]))`. Raises ShapeError for uneven parts.
    """
    return _split_along("hsplit", 1, 1)(input, indices_or_sections)


def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Equal parts, or parts between indices, of the rows.

    Example: `gm.vsplit(gm.eye(2), 2)[0]` is `tensor([[1., 0.]])`. Raises ShapeError for uneven parts.
    """
    return _split_along("vsplit", 2, 0)(input, indices_or_sections)


def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Equal parts, or parts between indices, of dim 2.

    Example: `gm.dsplit(gm.ones(1, 1, 2), 2)[0]` is `tensor([[[1.]]])`. Raises ShapeError for uneven parts.
    """
    return _split_along("dsplit", 3, 2)(input, indices_or_sections)


# --- made to fit ----------------------------------------------------------------------------------


def sum_to_size(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """Sum over the dims in which the tensor is larger than `size`, to which it could be broadcast back.

    Example: `gm.ones(2, 3).sum_to_size(1, 3)` is `tensor([[2., 2., 2.]])`. Raises ShapeError.
    """
    wanted, have = sizes("sum_to_size", size), spec(input).shape
    lead = len(have) - len(wanted)
    if lead < 0 or any(n not in (1, have[lead + d]) for d, n in enumerate(wanted)):
        raise ShapeError(
            f"size {{{list(wanted)}}} is not expandable to size {{{list(have)}}}.",
            op="sum_to_size",
            got=str(list(wanted)),
        )
    if not wanted:
        return one("sum", input)
    dims = (*range(lead), *(lead + d for d, n in enumerate(wanted) if n == 1 and have[lead + d] != 1))
    if dims:
        input = one("sum", input, dim=dims, keepdim=True)
    return layout.view(input, wanted) if lead else input


def _each(
    function: Callable[[Tensor], Tensor], tensors: tuple[Tensor | Sequence[Tensor], ...]
) -> Tensor | tuple[Tensor, ...]:
    if len(tensors) == 1:
        only = tensors[0]
        if isinstance(only, _tensor.Tensor):
            return function(only)
        return tuple([function(tensor) for tensor in only])
    return tuple([function(tensor) for tensor in tensors])  # type: ignore[arg-type]


def _at_least_1d(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim else layout.reshape(tensor, (1,))


def _at_least_2d(tensor: Tensor) -> Tensor:
    if tensor.ndim == 0:
        return layout.reshape(tensor, (1, 1))
    return layout.unsqueeze(tensor, 0) if tensor.ndim == 1 else tensor


def _at_least_3d(tensor: Tensor) -> Tensor:
    if tensor.ndim == 0:
        return layout.reshape(tensor, (1, 1, 1))
    if tensor.ndim == 1:
        return layout.unsqueeze(layout.unsqueeze(tensor, 0), -1)
    return layout.unsqueeze(tensor, -1) if tensor.ndim == 2 else tensor


@overload
def atleast_1d(tensor: Tensor, /) -> Tensor: ...
@overload
def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any: ...
def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Each tensor with at least one dim. Example: `gm.atleast_1d(gm.tensor(1.))` is `tensor([1.])`."""
    return _each(_at_least_1d, tensors)


@overload
def atleast_2d(tensor: Tensor, /) -> Tensor: ...
@overload
def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any: ...
def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Each tensor with at least two dims; a vector is a row.

    Example: `gm.atleast_2d(gm.ones(1))` is `tensor([[1.]])`.
    """
    return _each(_at_least_2d, tensors)


@overload
def atleast_3d(tensor: Tensor, /) -> Tensor: ...
@overload
def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any: ...
def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """Each tensor with at least three dims. Example: `gm.atleast_3d(gm.ones(1))` is `tensor([[[1.]]])`."""
    return _each(_at_least_3d, tensors)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along columns; vectors are columns.

    Example: `gm.column_stack([gm.ones(1), gm.zeros(1)])` is `tensor([[1., 0.]])`.
    """
    columns = [
        layout.reshape(tensor, (spec(tensor).size, 1)) if tensor.ndim <= 1 else tensor
        for tensor in tensors_of("column_stack", tensors)
    ]
    return select.hstack(columns)


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors expanded over the grid they span: result[k][i, j, …] is the k-th one's element at its own index.

    With "xy" the first two dims are exchanged, as in a picture. Raises ShapeError, DTypeError.

    Example: `gm.meshgrid(gm.arange(2), gm.arange(1))[0]` is `tensor([[0], [1]])`.
    """
    given: Any = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    axes = tensors_of("meshgrid", list(given))
    if indexing not in ("ij", "xy"):
        raise AttributeTypeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}', got=indexing
        )
    for axis in axes:
        if axis.ndim > 1:
            raise ShapeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {spec(axis)}")
        if axis.dtype != axes[0].dtype:
            raise AttributeTypeError("torch.meshgrid expects all tensors to have the same dtype", got=str(axis.dtype))
    swap = indexing == "xy" and len(axes) >= 2
    if swap:
        axes[:2] = axes[1::-1]
    shape = tuple([spec(axis).size for axis in axes])
    grids = []
    for d, axis in enumerate(axes):
        along = layout.view(axis, [-1 if i == d else 1 for i in range(len(axes))])
        grids.append(one("expand", along, shape=shape))
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A square matrix with all elements, in C order, as a diagonal.

    Example: `gm.diagflat(gm.ones(1))` is `tensor([[1.]])`.
    """
    return layout.diag_embed(layout.reshape(input, (-1,)), offset)


# --- other names ----------------------------------------------------------------------------------

row_stack = select.vstack
