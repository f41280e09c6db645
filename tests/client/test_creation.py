"""Tensors from data, constants, ramps and random numbers: contents as PyTorch's, errors of its classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmesh as gm

_ROWS = """
torch.tensor(3)
torch.tensor(3.0)
torch.tensor(True)
torch.tensor(2 + 1j)
torch.tensor([])
torch.tensor([[], []])
torch.tensor([1, 2])
torch.tensor([[1, 2.5], [True, 3]])
torch.tensor([True, 2])
torch.tensor([1 + 1j, 2])
torch.tensor((1, [2][0]))
torch.tensor(range(3))
torch.tensor(np.float64(3))
torch.tensor([np.float32(1), 2.0])
torch.tensor([np.int16(1)])
torch.tensor([np.array([1.0, 2.0])])
torch.tensor(np.arange(3, dtype=np.int32))
torch.tensor([torch.tensor(1), 2.5])
torch.tensor([1.7, -1.7], dtype=torch.int64)
torch.tensor([-1], dtype=torch.uint8)
torch.tensor([0.1, 0.7], dtype=torch.bool)
torch.tensor([1e40, -1e40])
torch.tensor([0.1], dtype=torch.bfloat16)
torch.tensor([1, 2], dtype=torch.float64, requires_grad=True)
torch.tensor([1.5], device="cpu")
torch.as_tensor([1, 2])
torch.as_tensor([1, 2], dtype=torch.float16)
torch.from_numpy(np.arange(4.0))
torch.zeros(2, 3)
torch.zeros((2, 3))
torch.zeros([])
torch.zeros(torch.Size([2]))
torch.zeros(2, dtype=torch.int8)
torch.zeros(0, 3)
torch.ones(2, requires_grad=True)
torch.full((2,), 1)
torch.full((2,), 1.5)
torch.full((2,), True)
torch.full((2, 1), 1, dtype=torch.float64)
torch.eye(2)
torch.eye(2, 3)
torch.eye(3, 2, dtype=torch.bool)
torch.arange(3)
torch.arange(3.0)
torch.arange(1, 3, 0.5)
torch.arange(3, 1, -1)
torch.arange(5, dtype=torch.float16)
torch.arange(0.5, 5)
torch.linspace(0, 1, 5)
torch.linspace(0, 1, 1)
torch.linspace(0, 1, 0)
torch.linspace(-3, 10, 7)
torch.linspace(0, 10, 4, dtype=torch.int64)
torch.logspace(0, 2, 3)
torch.logspace(-1, 1, 5, base=2)
torch.empty(2, 3).shape
torch.empty_like(torch.ones(2)).dtype
torch.zeros_like(torch.arange(2))
torch.ones_like(torch.arange(2), dtype=torch.float32)
torch.full_like(torch.ones(2), 2)
torch.arange(2).new_zeros(2, 2)
torch.arange(2).new_tensor([1.5])
torch.randint(3, (2,)).dtype
torch.randint(0, 1, (2, 2))
torch.rand(2, 3).shape
torch.randn(2, dtype=torch.float64).dtype
torch.randperm(5).sum()
torch.normal(0.0, 0.0, (2,))
torch.normal(torch.arange(2.0), 0.0)
torch.randn_like(torch.ones(2, 2)).shape
torch.bernoulli(torch.ones(2))
"""


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", _ROWS.strip().splitlines())
def test_same_as_torch(row: str) -> None:
    torch = pytest.importorskip("torch")
    assert repr(eval(row, {"torch": gm, "np": np})) == repr(eval(row, {"torch": torch, "np": np}))


_REFUSED = """
torch.tensor([[1], [1, 2]]) | ValueError
torch.tensor([[1, 2], 3]) | TypeError
torch.tensor("a") | TypeError
torch.tensor(None) | RuntimeError
torch.tensor({1}) | RuntimeError
torch.tensor([2**63]) | ValueError
torch.tensor([300], dtype=torch.uint8) | RuntimeError
torch.tensor([1, 2], requires_grad=True) | RuntimeError
torch.tensor([1 + 1j], dtype=torch.float32) | TypeError
torch.tensor([torch.ones(2)]) | ValueError
torch.zeros(2, 3.0) | TypeError
torch.zeros() | TypeError
torch.zeros(-1) | RuntimeError
torch.arange(3, 1) | RuntimeError
torch.arange(0, 3, 0) | RuntimeError
torch.linspace(0, 1, -1) | RuntimeError
torch.rand(2, dtype=torch.int64) | (RuntimeError, NotImplementedError)
torch.randint(5, 1, (2,)) | RuntimeError
torch.normal(0.0, -1.0, (2,)) | RuntimeError
torch.from_numpy([1.0]) | TypeError
torch.tensor([-3.5], dtype=torch.uint8) | RuntimeError
torch.tensor([1e300], dtype=torch.int32) | RuntimeError
torch.tensor([float("nan")], dtype=torch.int64) | RuntimeError
torch.full((2,), 1e300) | RuntimeError
torch.full((2,), float("inf"), dtype=torch.int64) | RuntimeError
torch.full_like(torch.zeros(2, dtype=torch.bfloat16), 1e300) | RuntimeError
torch.zeros(2).new_full((2,), 1j) | RuntimeError
torch.zeros(2, dtype=torch.int8).fill_(float("nan")) | RuntimeError
torch.zeros(2, dtype=torch.int8).fill_(300) | RuntimeError
torch.zeros(2, dtype=torch.uint8).fill_(-256) | RuntimeError
torch.zeros(2, dtype=torch.float16).fill_(70000) | RuntimeError
torch.zeros(2).fill_(1j) | RuntimeError
torch.zeros(2, dtype=torch.complex64).fill_(1e300) | RuntimeError
torch.zeros(2).masked_fill(torch.tensor([True, False]), 1e300) | RuntimeError
torch.zeros(2, dtype=torch.int8).index_fill(0, torch.tensor([0]), 127.5) | RuntimeError
torch.zeros(2, dtype=torch.int32).scatter(0, torch.tensor([1]), float("inf")) | RuntimeError
torch.zeros(2, 2, dtype=torch.int8).fill_diagonal_(1e300) | RuntimeError
torch.zeros(2, dtype=torch.int16).__setitem__(0, 1e5) | RuntimeError
torch.zeros(2).__setitem__(slice(None), 1e300) | RuntimeError
torch.nn.functional.pad(torch.zeros(2, dtype=torch.uint8), (1, 1), value=-1) | RuntimeError
"""

_WRITTEN = """
torch.zeros(2, dtype=torch.uint8).fill_(-255)
torch.zeros(2, dtype=torch.uint8).fill_(255)
torch.zeros(2, dtype=torch.int8).fill_(-127.9)
torch.zeros(2, dtype=torch.bool).fill_(float("nan"))
torch.zeros(2, dtype=torch.bool).fill_(1j)
torch.zeros(2, dtype=torch.float16).fill_(float("inf"))
torch.zeros(1, dtype=torch.float16).fill_(1e300)
torch.zeros(2).fill_(complex(3, 0))
torch.zeros(2, dtype=torch.complex64).fill_(complex(float("inf"), 1))
torch.full((2,), -1, dtype=torch.uint8)
torch.zeros(2, dtype=torch.int32).masked_fill(torch.tensor([True, False]), 2.9)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("row", _WRITTEN.strip().splitlines())
def test_numbers_written_become_what_torch_makes_of_them(row: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = eval(row, {"torch": gm}), eval(row, {"torch": torch})
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("row", _REFUSED.strip().splitlines())
@pytest.mark.parametrize("library", ["gradmesh", pytest.param("torch", marks=pytest.mark.oracle)])
def test_refused_with_the_class_torch_uses(row: str, library: str) -> None:
    text, kinds = row.split(" | ")
    module = gm if library == "gradmesh" else pytest.importorskip("torch")
    with pytest.raises(eval(kinds)):
        eval(text, {"torch": module, "np": np})


@pytest.mark.oracle
@settings(max_examples=150)
@given(
    start=st.floats(-100, 100), stop=st.floats(-100, 100), step=st.floats(0.1, 10), whole=st.booleans(),
)  # fmt: skip
def test_arange_has_the_length_torch_gives(start: float, stop: float, step: float, whole: bool) -> None:
    torch = pytest.importorskip("torch")
    numbers: list[Any] = [start, stop, step if stop >= start else -step]
    if whole:
        numbers = [int(n) for n in numbers]
        numbers[2] = numbers[2] or (1 if numbers[1] >= numbers[0] else -1)
    ours, theirs = gm.arange(*numbers), torch.arange(*numbers)
    assert (repr(ours.dtype), repr(ours.shape)) == (repr(theirs.dtype), repr(theirs.shape))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-4)


def test_what_is_written_to_an_array_later_is_not_seen() -> None:
    array = np.ones(2, np.float32)
    tensor, other = gm.from_numpy(array), gm.tensor(array)
    array[:] = 5
    assert tensor.tolist() == other.tolist() == [1.0, 1.0]


def test_same_seed_same_numbers() -> None:
    drawn = []
    for _ in range(2):
        gm.manual_seed(3)
        drawn.append([gm.rand(4), gm.randn(4), gm.randint(100, (4,)), gm.randperm(6), gm.empty(4).uniform_(-1, 1)])
    for first, second in zip(*drawn, strict=True):
        assert gm.equal(first, second)
    assert not gm.equal(drawn[0][0], gm.rand(4))


def test_random_numbers_have_the_moments_they_should() -> None:
    gm.manual_seed(0)
    even, bell, die = gm.rand(40000), gm.randn(40000), gm.randint(1, 7, (40000,))
    assert 0.0 <= even.min().item() and even.max().item() < 1.0
    assert abs(even.mean().item() - 0.5) < 0.01
    assert abs(bell.mean().item()) < 0.03 and abs(bell.std().item() - 1.0) < 0.03
    assert set(die.tolist()) == {1, 2, 3, 4, 5, 6}
    assert abs((gm.empty(40000).normal_(2.0, 3.0)).mean().item() - 2.0) < 0.1
    assert sorted(gm.randperm(50).tolist()) == list(range(50))
    assert abs(gm.nn.functional.dropout(gm.ones(40000), 0.25).mean().item() - 1.0) < 0.02


def test_a_tensor_made_from_a_tensor_has_no_history() -> None:
    x = gm.ones(2, requires_grad=True)
    copy = gm.tensor(x * 2)
    assert copy.tolist() == [2.0, 2.0]
    assert copy.is_leaf and not copy.requires_grad
    assert gm.as_tensor(x) is x


def test_arrays_of_unknown_dtypes_are_refused() -> None:
    with pytest.raises(gm.errors.UnknownDTypeError, match=r"numpy\.uint32"):
        gm.tensor(np.ones(1, np.uint32))


def test_big_endian_arrays_are_read_right() -> None:
    for order in "<>=":
        made = gm.tensor(np.array([1.0, 2.0], order + "f4"))
        assert made.tolist() == [1.0, 2.0]
        assert made.numpy().dtype is np.dtype(np.float32)  # NumPy copies more between equal dtypes of other identity.


def _assigned() -> gm.Tensor:
    x = gm.zeros(2)
    x[0] = 1e-60
    return x


SMALL: dict[str, Callable[[], gm.Tensor]] = {
    "tensor": lambda: gm.tensor([1e-60, 1e-50]),
    "float16": lambda: gm.tensor([1e-10, 1e-9], dtype=gm.float16),
    "bfloat16": lambda: gm.tensor([1e-60, 1e-50], dtype=gm.bfloat16),
    "complex": lambda: gm.tensor([1e-60j, 1e-50]),
    "array": lambda: gm.tensor(np.array([1e-60, 1e-50]), dtype=gm.float32),
    "full": lambda: gm.full((2,), 1e-60),
    "linspace": lambda: gm.linspace(0, 1e-60, 2),
    "logspace": lambda: gm.logspace(-60, -50, 2),
    "assigned": _assigned,
    "computed": lambda: gm.tensor([1e-30, 1e-30]) * 1e-30,
}


@pytest.mark.parametrize("name", SMALL)
def test_what_numpy_is_set_to_do_about_small_numbers_is_no_concern(name: str) -> None:
    with np.errstate(all="raise"):
        assert SMALL[name]().tolist() == [0, 0]
