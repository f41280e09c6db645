"""Sequences of different lengths as one tensor: padded to the longest, or packed step by step.

Lengths are read on the client, and which element goes where is fixed by them: batches of other lengths are other
graphs. In shapes, L is the longest length, N the batch, * any dims.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from gradmesh import _creation, _dtype, _trace
from gradmesh._functions import layers, layout, select
from gradmesh._tensor import Tensor
from gradmesh_engine.errors import InvalidRequestError, ShapeError

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences without padding: the first elements of all, then the second ones, … Made by `pack_sequence`.

    Attributes:
        data: the elements (sum of lengths, *), longer sequences first in each step.
        batch_sizes: int64 (L,), how many sequences have a step.
        sorted_indices: int64 (N,), the order of the sequences by length, or None where it was theirs already.
        unsorted_indices: int64 (N,), the order back.

    Example: `gm.nn.utils.rnn.pack_sequence([gm.ones(2), gm.zeros(1)]).data` is `tensor([1., 0., 1.])`.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with its data converted, as `Tensor.to`."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def double(self) -> PackedSequence:
        """`to(gm.float64)`."""
        return self.to(_dtype.float64)

    def float(self) -> PackedSequence:
        """`to(gm.float32)`."""
        return self.to(_dtype.float32)

    def half(self) -> PackedSequence:
        """`to(gm.float16)`."""
        return self.to(_dtype.float16)

    def cpu(self) -> PackedSequence:
        """This, which is on the CPU."""
        return self


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The order back, int64 (N,); None of None.

    Example: `gm.nn.utils.rnn.invert_permutation(gm.tensor([2, 0, 1]))` is `tensor([1, 2, 0])`.
    """
    return None if permutation is None else _trace.constant(np.argsort(permutation.numpy()))


def _taken(rows: Tensor, index: np.ndarray) -> Tensor:
    return select.index_select(rows, 0, _trace.constant(index))


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that were padded: (L, N, *), or (N, L, *) if `batch_first`, with their lengths (N,).

    Longer sequences come first; unless `enforce_sorted` they are sorted here. Raises InvalidRequestError otherwise, and
    for lengths that are not 1 … L.

    Example: `gm.nn.utils.rnn.pack_padded_sequence(gm.tensor([[1., 2.], [3., 0.]]), [2, 1]).data` is
    `tensor([1., 2., 3.])`.
    """
    sizes = np.asarray(lengths.numpy() if isinstance(lengths, Tensor) else lengths).astype(np.int64)
    if input.ndim < 2:
        raise ShapeError("pack_padded_sequence takes an input of 2 dims or more", got=f"{input.ndim} dims")
    if batch_first:
        input = layout.transpose(input, 0, 1)
    steps, batch = input.shape[:2]
    if sizes.shape != (batch,):
        raise ShapeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {sizes.size} (batch_size={batch})"
        )
    order = None if enforce_sorted else np.argsort(-sizes, kind="stable")
    places = np.arange(batch) if order is None else order
    sizes = sizes[places]
    if (sizes <= 0).any():
        raise InvalidRequestError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if (np.diff(sizes) > 0).any():
        raise InvalidRequestError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[0] > steps:
        raise InvalidRequestError(f"a length of {sizes[0]} is more than the input's {steps} steps")
    counts = np.count_nonzero(sizes > np.arange(sizes[0])[:, None], 1)
    index = np.concatenate([step * batch + places[:count] for step, count in enumerate(counts)])
    data = _taken(layout.reshape(input, (steps * batch, *input.shape[2:])), index)
    return PackedSequence(data, _trace.constant(counts), None if order is None else _trace.constant(order))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo packing: the padded sequences (L, N, *), or (N, L, *) if `batch_first`, and their lengths int64 (N,).

    `total_length` takes the place of L. Raises ValueError when it is less.

    Example: `gm.nn.utils.rnn.pad_packed_sequence(gm.nn.utils.rnn.pack_sequence([gm.ones(2), gm.ones(1)]))[0]` is
    `tensor([[1., 1.], [1., 0.]])`.
    """
    counts = sequence.batch_sizes.numpy()
    steps = len(counts) if total_length is None else total_length
    if steps < len(counts):
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {len(counts)}"
        )
    data, batch = sequence.data, int(counts[0])
    # A row of padding stands behind the others, and is taken wherever there is no element.
    index = np.full((steps, batch), data.shape[0])
    starts = np.cumsum(counts) - counts
    for step, (start, count) in enumerate(zip(starts, counts, strict=True)):
        index[step, :count] = start + np.arange(count)
    lengths = (counts[:, None] > np.arange(batch)).sum(0)
    if sequence.unsorted_indices is not None:
        places = sequence.unsorted_indices.numpy()
        index, lengths = index[:, places], lengths[places]
    if batch_first:
        index = index.T
    padding = _creation.full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    padded = _taken(select.cat([data, padding]), np.ascontiguousarray(index).reshape(-1))
    return layout.reshape(padded, (*index.shape, *data.shape[1:])), _trace.constant(lengths)


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: Literal["left", "right"] = "right",
) -> Tensor:
    """Sequences (length, *) padded to the longest: (L, N, *), or (N, L, *) if `batch_first`.

    Raises InvalidRequestError for something else than sequences, or none.

    Example: `gm.nn.utils.rnn.pad_sequence([gm.ones(2), gm.ones(1)], batch_first=True)` is
    `tensor([[1., 1.], [1., 0.]])`.
    """
    if not isinstance(sequences, Iterable):
        raise InvalidRequestError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    given = list(sequences)
    if not given:
        raise InvalidRequestError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise InvalidRequestError(f'Expected padding_side to be one of left or right, but got "{padding_side}".')
    longest = max(sequence.shape[0] for sequence in given)
    padded = []
    for sequence in given:
        missing = longest - sequence.shape[0]
        ends = (0, missing) if padding_side == "right" else (missing, 0)
        edges = [0, 0] * (sequence.ndim - 1) + [*ends]
        padded.append(layers.pad(sequence, edges, value=padding_value) if missing else sequence)
    return select.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences (length, *) of (L, N, *), or (N, L, *) if `batch_first`, with their lengths (N,).

    Example: `gm.nn.utils.rnn.unpad_sequence(gm.ones(1, 2), gm.tensor([1]), batch_first=True)` is `[tensor([1.])]`.
    """
    rows = padded_sequences if batch_first else layout.transpose(padded_sequences, 0, 1)
    return [row[:length] for row, length in zip(layout.unbind(rows, 0), lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (length, *), longer ones first unless not `enforce_sorted`. Raises InvalidRequestError.

    Example: `gm.nn.utils.rnn.pack_sequence([gm.ones(2), gm.zeros(1)]).batch_sizes` is `tensor([2, 1])`.
    """
    lengths = [sequence.shape[0] for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (length, *) that were packed.

    Example: `gm.nn.utils.rnn.unpack_sequence(gm.nn.utils.rnn.pack_sequence([gm.ones(1)]))` is `[tensor([1.])]`.
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
