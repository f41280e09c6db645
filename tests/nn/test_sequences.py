"""Padding and packing of sequences, and recurrent layers over them, are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmesh as gm

LENGTHS = [3, 5, 1, 3]
SORTED = [5, 3, 3, 1]

# An expression of `r`, nn.utils.rnn, and of tensors: x (5, 4, 2), its sequences `parts`, and `packed`, not sorted.
ROWS = [
    "r.pad_sequence(parts)",
    "r.pad_sequence(parts, batch_first=True, padding_value=-1.5)",
    "r.pad_sequence(parts, padding_side='left')",
    "r.pad_sequence(x)",
    "r.pack_padded_sequence(x, sorted)",
    "r.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)",
    "r.pack_padded_sequence(x.transpose(0, 1), sorted, batch_first=True)",
    "r.pack_sequence(parts, enforce_sorted=False)",
    "r.pad_packed_sequence(packed)",
    "r.pad_packed_sequence(packed, batch_first=True, padding_value=2.5, total_length=7)",
    "r.pad_packed_sequence(r.pack_padded_sequence(x, sorted))",
    "r.unpad_sequence(x.transpose(0, 1), torch.tensor(lengths), batch_first=True)",
    "r.unpack_sequence(packed)",
    "r.invert_permutation(torch.tensor([2, 0, 1]))",
    "packed.double()",
]

LAYERS = [
    "RNN(2, 3)",
    "RNN(2, 3, nonlinearity='relu', bidirectional=True, bias=False)",
    "GRU(2, 3, num_layers=2, bidirectional=True)",
    "LSTM(2, 3, num_layers=2)",
    "LSTM(2, 3, num_layers=2, bidirectional=True, proj_size=2)",
]

REFUSED = [
    "r.pad_sequence([])",
    "r.pad_sequence(3)",
    "r.pack_padded_sequence(x, lengths)",
    "r.pack_padded_sequence(x, [5, 4, 3])",
    "r.pack_padded_sequence(x, [5, 4, 3, 0])",
    "r.pad_packed_sequence(packed, total_length=2)",
    "torch.nn.GRU(3, 4)(packed)",
]


def names(library: Any) -> dict[str, Any]:
    x = library.tensor(np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32), requires_grad=True)
    parts = [x[:length, index] for index, length in enumerate(LENGTHS)]
    r = library.nn.utils.rnn
    packed = r.pack_sequence(parts, enforce_sorted=False)
    return {"torch": library, "r": r, "x": x, "parts": parts, "packed": packed, "lengths": LENGTHS, "sorted": SORTED}


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [tensor for part in result for tensor in flat(part)]
    return [] if result is None else [result]


def compared(theirs: tuple[Any, Any], ours: tuple[Any, Any]) -> None:
    """Results and the gradients of x, of each library."""
    gradients = []
    for result, x in (theirs, ours):
        total = sum((part * part * 1.5).sum() for part in flat(result) if part.requires_grad)
        if not isinstance(total, int):
            total.backward()
        gradients.append(x.grad)
    for want, got in zip(flat(theirs[0]), flat(ours[0]), strict=True):
        assert repr(got.dtype) == repr(want.dtype)
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert (gradients[0] is None) == (gradients[1] is None)
    if gradients[0] is not None:
        np.testing.assert_allclose(gradients[1].numpy(), gradients[0].numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("row", ROWS)
def test_sequences(row: str) -> None:
    torch = pytest.importorskip("torch")
    given = [names(library) for library in (torch, gm)]
    compared(*[(eval(row, held), held["x"]) for held in given])


@pytest.mark.oracle
@pytest.mark.parametrize("begin", [False, True], ids=["from 0", "from a state"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_over_packed_sequences(layer: str, begin: bool) -> None:
    torch = pytest.importorskip("torch")
    theirs = eval(f"torch.nn.{layer}")
    ours = eval(f"gm.nn.{layer}", {"gm": gm})
    ours.load_state_dict({name: gm.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    ways = theirs.num_layers * (2 if theirs.bidirectional else 1)
    widths = [theirs.proj_size or 3, 3][: 2 if theirs.mode == "LSTM" else 1]
    starts = [np.random.default_rng(1).normal(size=(ways, 4, width)).astype(np.float32) for width in widths]
    pairs = []
    for library, module in ((torch, theirs), (gm, ours)):
        held = names(library)
        state: Any = tuple(library.tensor(start) for start in starts)
        state = (state if len(state) > 1 else state[0],) if begin else ()
        pairs.append((module(held["packed"], *state), held["x"]))
    compared(*pairs)
    for want, got in zip(theirs.parameters(), ours.parameters(), strict=True):
        np.testing.assert_allclose(got.grad.numpy(), want.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("row", REFUSED)
def test_errors(row: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        eval(row, names(torch))
    with pytest.raises(theirs.type) as ours:
        eval(row, names(gm))
    assert str(ours.value).startswith(str(theirs.value).splitlines()[0])
