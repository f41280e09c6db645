"""Functions that rearrange elements without computing with them.

Those that PyTorch answers with a view answer with one here: writing to it in place writes to its base.
Dims count from the end when negative; one outside the rank raises AxisError, sizes that do not fit ShapeError.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradmesh import _strides, _tensor, _trace
from gradmesh._functions import convert
from gradmesh._functions._common import Dims, dim_of, ints, many, one, sizes, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import ShapeError
from gradmesh_engine.ops.layout import inferred_shape
from gradmesh_engine.ops.pointwise import broadcast_shapes

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "chunk",
    "diag",
    "diag_embed",
    "diagonal",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "repeat_interleave",
    "reshape",
    "roll",
    "rot90",
    "select",
    "split",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "unbind",
    "unflatten",
    "unsqueeze",
]

# --- shapes ---------------------------------------------------------------------------------------


def reshape(input: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The same elements in C order under another shape; one size may be -1.

    Example: `gm.reshape(gm.arange(4), (2, -1))` is `tensor([[0, 1], [2, 3]])`.
    """
    wanted = sizes("reshape", (shape,))
    if not _strides.is_contiguous(input):
        target = inferred_shape(wanted, spec(input).size)
        if not _strides.can_view(input, target):
            # The copy PyTorch makes; it shares nothing with its source.
            return one("reshape", one("clone", input), shape=target)
    return one("reshape", input, shape=wanted)


def view(input: Tensor, shape: Sequence[int]) -> Tensor:
    """`reshape` that never copies. Raises ShapeError where the strides do not allow a view.

    Example: `gm.arange(4).view(2, -1)` is `tensor([[0, 1], [2, 3]])`.
    """
    wanted = ints("view", "shape", shape)
    if not _strides.is_contiguous(input) and not _strides.can_view(input, inferred_shape(wanted, spec(input).size)):
        raise ShapeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead.",
            op="view",
            got=str(list(wanted)),
            remedy="use reshape",
        )
    return one("reshape", input, shape=wanted)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`input` under the shape of `other`.

    Example: `gm.arange(4).view_as(gm.ones(2, 2)).shape` is `torch.Size([2, 2])`.
    """
    return view(input, tuple(other.shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dims start_dim to end_dim, both included, as one.

    Example: `gm.flatten(gm.ones(2, 2))` is `tensor([1., 1., 1., 1.])`.
    """
    rank = input.ndim
    if rank == 0:
        return reshape(input, (1,))
    start, end = dim_of(start_dim, rank), dim_of(end_dim, rank)
    if start > end:
        raise ShapeError(
            "flatten() has invalid args: start_dim cannot come after end_dim",
            op="flatten",
            got=f"{start_dim}, {end_dim}",
        )
    if start == end:
        return input
    shape = input.shape
    size = 1
    for length in shape[start : end + 1]:
        size *= length
    return reshape(input, (*shape[:start], size, *shape[end + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dim as several, of which one size may be -1.

    Example: `gm.unflatten(gm.ones(4), 0, (2, 2)).shape` is `torch.Size([2, 2])`.
    """
    at = dim_of(dim, input.ndim)
    new = list(ints("unflatten", "sizes", sizes))
    length = input.shape[at]
    known = 1
    for size in new:
        known *= 1 if size == -1 else size
    if -1 in new and known:
        new[new.index(-1)] = length // known
    product = 1
    for size in new:
        product *= size
    if product != length:
        raise ShapeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {at} ({length}) in the "
            "input tensor",
            op="unflatten",
            expected=f"sizes whose product is {length}",
            got=str(list(sizes)),
        )
    return view(input, (*input.shape[:at], *new, *input.shape[at + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """All elements in one dim. Example: `gm.ravel(gm.ones(2, 2))` is `tensor([1., 1., 1., 1.])`."""
    return reshape(input, (-1,))


def squeeze(input: Tensor, dim: Dims | None = None) -> Tensor:
    """Without the dims of size 1 (or those of `dim` that are).

    Example: `gm.squeeze(gm.ones(1, 2)).shape` is `torch.Size([2])`.
    """
    if dim is None:
        return one("squeeze", input)
    several = {} if isinstance(dim, int) else {"several": True}
    return one("squeeze", input, dim=ints("squeeze", "dim", dim), **several)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dim of size 1 at `dim`. Example: `gm.unsqueeze(gm.ones(2), 0).shape` is `torch.Size([1, 2])`."""
    return one("unsqueeze", input, dim=dim)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Broadcast to a shape, without a copy. Example: `gm.broadcast_to(gm.ones(1), (2,))` is `tensor([1., 1.])`."""
    return one("expand", input, shape=sizes("broadcast_to", (size,)))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape.

    Example: `gm.broadcast_tensors(gm.ones(2, 1), gm.ones(3))[0].shape` is `torch.Size([2, 3])`.
    """
    shape = broadcast_shapes([tuple(tensor.shape) for tensor in tensors])
    return tuple(one("expand", tensor, shape=shape) for tensor in tensors)


# --- order of dims --------------------------------------------------------------------------------


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dims exchanged. Example: `gm.transpose(gm.ones(2, 3), 0, 1).shape` is `torch.Size([3, 2])`."""
    return one("transpose", input, dim0=dim0, dim1=dim1)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; tensors of fewer dims stay.

    Example: `gm.t(gm.ones(2, 3)).shape` is `torch.Size([3, 2])`.
    """
    if input.ndim > 2:
        raise ShapeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D",
            op="t",
            expected="at most 2 dims",
            got=str(input.ndim),
            remedy="use transpose(dim0, dim1)",
        )
    return one("t", input)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """All dims in another order. Example: `gm.permute(gm.ones(2, 3), (1, 0)).shape` is `torch.Size([3, 2])`."""
    return one("permute", input, dims=ints("permute", "dims", dims))


def movedim(input: Tensor, source: Dims, destination: Dims) -> Tensor:
    """Dims moved to new places, the others in order.

    Example: `gm.movedim(gm.ones(2, 3), 0, 1).shape` is `torch.Size([3, 2])`.
    """
    rank = input.ndim
    given = list(ints("movedim", "source", source)), list(ints("movedim", "destination", destination))
    if len(given[0]) != len(given[1]):
        raise ShapeError(
            f"movedim: Invalid source or destination dims: source ({given[0]} dims) should contain the same number of "
            f"dims as destination ({given[1]} dims)",
            op="movedim",
        )
    from_dims, to_dims = ([dim_of(dim, rank) for dim in dims] for dims in given)
    for role, dims, normal in (("source", given[0], from_dims), ("destination", given[1], to_dims)):
        if len({*normal}) != len(normal):
            raise ShapeError(f"movedim: repeated dim in `{role}` ({dims})", op="movedim")
    order = dict(zip(to_dims, from_dims, strict=True))
    rest = iter([dim for dim in range(rank) if dim not in from_dims])
    return permute(input, [order[dim] if dim in order else next(rest) for dim in range(rank)])


def matrix_transpose(input: Tensor) -> Tensor:
    """The last two dims exchanged (`x.mT`). Example: `gm.ones(4, 2, 3).mT.shape` is `torch.Size([4, 3, 2])`."""
    if input.ndim < 2:
        raise ShapeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {input.ndim}-D tensor.",
            op="transpose",
            expected="at least 2 dims",
            got=str(input.ndim),
        )
    return one("transpose", input, dim0=-2, dim1=-1)


def conjugate_transpose(input: Tensor) -> Tensor:
    """The conjugate transpose of a matrix (`x.H`). Example: `gm.ones(2, 3).H.shape` is `torch.Size([3, 2])`."""
    if input.ndim not in (0, 2):
        raise ShapeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor.",
            op="transpose",
            expected="2 dims",
            got=str(input.ndim),
        )
    return convert.conj(one("transpose", input, dim0=0, dim1=1) if input.ndim else input)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose` under NumPy's name. Example: `gm.swapaxes(gm.ones(2, 3), 0, 1).shape` is `torch.Size([3, 2])`."""
    return transpose(input, axis0, axis1)


# --- repetition and reversal ----------------------------------------------------------------------


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The tensor laid out dims[i] times along each dim, as NumPy's tile.

    Example: `gm.tile(gm.ones(1), (2,))` is `tensor([1., 1.])`.
    """
    return one("tile", input, dims=ints("tile", "dims", dims))


def flip(input: Tensor, dims: Dims) -> Tensor:
    """Reversed along dims. Example: `gm.flip(gm.arange(3), (0,))` is `tensor([2, 1, 0])`."""
    return one("flip", input, dims=ints("flip", "dims", dims))


def fliplr(input: Tensor) -> Tensor:
    """Columns reversed. Example: `gm.fliplr(gm.eye(2))` is `tensor([[0., 1.], [1., 0.]])`."""
    if input.ndim < 2:
        raise ShapeError("Input must be >= 2-d.", op="fliplr", got=f"{input.ndim} dims")
    return flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """Rows reversed. Example: `gm.flipud(gm.eye(2))` is `tensor([[0., 1.], [1., 0.]])`."""
    if not input.ndim:
        raise ShapeError("Input must be >= 1-d.", op="flipud", got="0 dims")
    return flip(input, (0,))


def roll(input: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """Elements moved on cyclically. Example: `gm.roll(gm.arange(3), 1)` is `tensor([2, 0, 1])`."""
    along = () if dims is None else ints("roll", "dims", dims)
    return one("roll", input, shifts=ints("roll", "shifts", shifts), dims=along)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90° in the plane of two dims.

    Example: `gm.rot90(gm.eye(2))` is `tensor([[0., 1.], [1., 0.]])`.
    """
    return one("rot90", input, k=k, dims=ints("rot90", "dims", dims))


def repeat_interleave(
    input: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Every element (slice of a dim) `repeats` times in a row; a vector gives a number for each, and evaluates.

    Of the repeats alone it gives the positions, each as often as they say.

    Example: `gm.repeat_interleave(gm.arange(2), 2)` is `tensor([0, 0, 1, 1])`. Raises ShapeError where the vector has
    another length than the dim, or the result another size than `output_size`.
    """
    if repeats is None:
        return _trace.constant(_repeated(input, spec(input).size))
    if isinstance(repeats, _tensor.Tensor):
        if dim is None:
            input, dim = reshape(input, (-1,)), 0
        size = input.shape[dim_of(dim, input.ndim)]
        at = _repeated(repeats, size)
        if output_size is not None and output_size != at.size:
            raise ShapeError(
                f"allocated size does not match required size, {output_size} and {at.size}",
                op="repeat_interleave",
                expected=str(at.size),
                got=str(output_size),
            )
        return one("index_select", input, _trace.constant(at), dim=dim)
    return one("repeat_interleave", input, repeats=repeats, dim=dim)


# --- parts ----------------------------------------------------------------------------------------


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One slice of a dim, which goes away. Example: `gm.select(gm.eye(2), 0, 1)` is `tensor([0., 1.])`."""
    return one("select", input, dim=dim, index=index)


def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` slices of a dim from `start` on. Example: `gm.narrow(gm.arange(5), 0, 1, 2)` is `tensor([1, 2])`."""
    if isinstance(start, _tensor.Tensor) and (start.ndim or dtypes.category(start.dtype.np) != dtypes.INT):
        raise ShapeError("start must be an 0-dim integral Tensor.", op="narrow", got=str(spec(start)))
    return one("narrow", input, dim=dim, start=operator.index(start), length=operator.index(length))


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of a dim, one every `step`, as a new last dim.

    Example: `gm.arange(3).unfold(0, 2, 1)` is `tensor([[0, 1], [1, 2]])`.
    """
    return one("unfold", input, dim=dimension, size=size, step=step)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonals of the matrices of two dims, as the last dim.

    Example: `gm.diagonal(gm.eye(2))` is `tensor([1., 1.])`.
    """
    return one("diagonal", input, offset=offset, dim1=dim1, dim2=dim2)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix as a vector, or a matrix with a vector as its diagonal.

    Example: `gm.diag(gm.eye(2))` is `tensor([1., 1.])`.
    """
    return one("diag", input, diagonal=diagonal)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices in two new dims, with the last dim as their diagonals.

    Example: `gm.diag_embed(gm.ones(1))` is `tensor([[1.]])`.
    """
    return one("diag_embed", input, offset=offset, dim1=dim1, dim2=dim2)


def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal of a matrix. Example: `gm.trace(gm.eye(2))` is `tensor(2.)`."""
    return one("trace", input)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zero below a diagonal. Example: `gm.triu(gm.ones(2, 2))` is `tensor([[1., 1.], [0., 1.]])`."""
    return one("triu", input, diagonal=diagonal)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Zero above a diagonal. Example: `gm.tril(gm.ones(2, 2))` is `tensor([[1., 0.], [1., 1.]])`."""
    return one("tril", input, diagonal=diagonal)


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces along a dim: all of one size (the last may be smaller), or of the sizes given.

    Example: `gm.split(gm.arange(3), 2)` is `(tensor([0, 1]), tensor([2]))`.
    """
    if isinstance(split_size_or_sections, int):
        return many("split", tensor, split_size=split_size_or_sections, dim=dim)
    sections = ints("split", "split_size_or_sections", split_size_or_sections)
    return many("split_with_sizes", tensor, split_sizes=sections, dim=dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` pieces of equal size along a dim.

    Example: `gm.chunk(gm.arange(3), 2)` is `(tensor([0, 1]), tensor([2]))`.

    Raises ShapeError unless `chunks` is positive.
    """
    if chunks < 1:
        raise ShapeError(
            f"chunk expects `chunks` to be greater than 0, got: {chunks}",
            op="chunk",
            expected="at least 1",
            got=str(chunks),
        )
    size = input.shape[dim_of(dim, input.ndim)]
    return split(input, [0] * chunks, dim) if size == 0 else split(input, -(-size // chunks), dim)


def _repeated(repeats: Tensor, size: int) -> np.ndarray:
    counts = repeats.numpy(force=True)
    if counts.ndim > 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ShapeError("repeats must be 0-dim or 1-dim tensor of integers >= 0", op="repeat_interleave")
    if counts.size not in (1, size):
        raise ShapeError(
            "repeats must have the same size as input along dim",
            op="repeat_interleave",
            expected=str(size),
            got=str(counts.size),
        )
    return np.repeat(np.arange(size), np.broadcast_to(counts.reshape(-1), (size,)))


def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of sections that differ in size by at most 1, or of what lies between indices.

    Example: `gm.tensor_split(gm.arange(3), 2)` is `(tensor([0, 1]), tensor([2]))`.
    """
    size = input.shape[dim_of(dim, input.ndim)]
    if isinstance(indices_or_sections, _tensor.Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        if indices_or_sections < 1:
            raise ShapeError(f"number of sections must be larger than 0, got {indices_or_sections}", op="tensor_split")
        least, more = divmod(size, indices_or_sections)
        bounds = [0]
        for section in range(indices_or_sections):
            bounds.append(bounds[-1] + least + (section < more))
    else:
        bounds = [0, *ints("tensor_split", "indices", indices_or_sections), size]
    parts = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        parts.append(one("slice", input, dim=dim, start=start, end=end, step=1))
    return tuple(parts)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every slice of a dim, which goes away.

    Example: `gm.unbind(gm.arange(2))` is `(tensor(0), tensor(1))`.
    """
    return many("unbind", input, dim=dim)


# --- other names ----------------------------------------------------------------------------------

moveaxis = movedim
swapdims = swapaxes
