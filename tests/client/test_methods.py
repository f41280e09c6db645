"""What the function surface does beyond returning a tensor: named results, strides, statistics, operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmesh as gm
from gradmesh.nn import functional as F


def test_named_results_print_as_in_torch() -> None:
    found = gm.tensor([[1.0, 3.0], [2.0, 0.0]]).max(1)
    assert repr(found) == "torch.return_types.max(\nvalues=tensor([3., 2.]),\nindices=tensor([1, 0]))"
    values, indices = found
    assert values is found.values and indices is found[1]
    assert isinstance(found, gm.return_types.max)


_VIEWS = """
x
x.T
x.t()
x[1:]
x[:, 1]
x[:, 1:3]
x[::2]
x.T[1]
x.unsqueeze(0)
x.view(2, 3, 2)
x.view(2, 3, 2).permute(2, 0, 1)
x.expand(2, 3, 4)
x[0].expand(5, 4)
x.diagonal()
x.narrow(1, 1, 2)
x.split(2, 1)[1]
x.unbind(1)[2]
x.T.unsqueeze(1).squeeze(1)
x.transpose(0, 1)[1:, 1:]
"""


@pytest.mark.oracle
@pytest.mark.parametrize("row", _VIEWS.strip().splitlines())
def test_strides_of_views_are_those_of_torch(row: str) -> None:
    torch = pytest.importorskip("torch")
    told = []
    for library in (torch, gm):
        view = eval(row, {"x": library.arange(12).view(3, 4)})
        told.append((view.stride(), view.storage_offset(), view.is_contiguous(), view.tolist()))
    assert told[0] == told[1]


def test_a_copy_made_by_reshape_shares_nothing() -> None:
    x = gm.zeros(2, 3)
    x.T.reshape(6).fill_(1)
    assert x.sum().item() == 0
    x.reshape(6).fill_(1)
    assert x.sum().item() == 6


def test_batch_norm_moves_the_running_statistics() -> None:
    x = gm.tensor([[1.0, 10.0], [3.0, 30.0]], requires_grad=True)
    middle, spread = gm.zeros(2), gm.ones(2)
    F.batch_norm(x, middle, spread, training=True, momentum=0.5).sum().backward()
    assert middle.tolist() == [1.0, 10.0]
    assert spread.tolist() == [1.5, 100.5]
    assert not middle.requires_grad
    F.batch_norm(x, middle, spread)
    assert middle.tolist() == [1.0, 10.0]


def test_operators_with_numpy_scalars_give_tensors() -> None:
    x = gm.ones(2)
    for result in (x * np.float32(2), np.float32(2) * x, np.int64(2) * x, x * np.float64(2)):
        assert isinstance(result, gm.Tensor)
        assert result.dtype is gm.float32
        assert result.tolist() == [2.0, 2.0]


def test_operators_leave_unknown_operands_to_them() -> None:
    class Other:
        def __radd__(self, left: Any) -> str:
            return "mine"

    result: Any = gm.ones(1) + Other()  # type: ignore[operator]
    assert result == "mine"
    with pytest.raises(TypeError):
        gm.ones(1) + "a"  # type: ignore[operator]


@pytest.mark.parametrize("number", [2, 2.5, True, 1j])
def test_numbers_are_inputs_of_the_graph_not_part_of_it(number: complex) -> None:
    x = gm.ones(2)
    assert x.mul(number).add(number).tolist() == (np.ones(2) * number + number).tolist()


def test_default_dtype_gives_numbers_their_precision() -> None:
    assert (gm.arange(2) * 0.5).dtype is gm.float32
    gm.set_default_dtype(gm.float64)
    try:
        assert (gm.arange(2) * 0.5).dtype is gm.float64
        assert gm.zeros(1).dtype is gm.float64
        assert repr(gm.zeros(1)) == "tensor([0.])"
        assert gm.tensor([1j]).dtype is gm.complex128
    finally:
        gm.set_default_dtype(gm.float32)
    assert (gm.arange(2) * 0.5).dtype is gm.float32


def test_dropout_is_the_same_for_the_same_seed_and_scales() -> None:
    x = gm.ones(1000, requires_grad=True)
    gm.manual_seed(5)
    first = F.dropout(x, 0.25)
    gm.manual_seed(5)
    again = F.dropout(x, 0.25)
    assert gm.equal(first, again)
    assert sorted(set(first.tolist())) == pytest.approx([0.0, 1 / 0.75])
    first.sum().backward()
    assert x.grad is not None
    # The same mask in the gradient.
    assert gm.equal(x.grad, first.detach())


def test_bags_scale_a_gradient_by_its_own_rows_frequency() -> None:
    # PyTorch's embedding does, which is compared elsewhere; its bags take another index's where frequencies differ.
    index = gm.tensor([[1, 1, 3], [2, 1, 0]])
    found = []
    for bags in (
        lambda w: gm.nn.functional.embedding_bag(index, w, mode="sum", scale_grad_by_freq=True),
        lambda w: gm.nn.functional.embedding(index, w, scale_grad_by_freq=True).sum(1),
    ):
        weight = gm.arange(8.0).reshape(4, 2).requires_grad_()
        bags(weight).pow(2).sum().backward()
        assert weight.grad is not None
        found.append(weight.grad.tolist())
    assert found[0] == found[1]
    assert found[0][1] != found[0][0]
