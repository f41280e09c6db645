"""Arrays go to and from other libraries by DLPack."""

from __future__ import annotations

import numpy as np
import pytest

import gradmesh as gm
from gradmesh_engine.errors import AttributeTypeError

DTYPES = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = gm.from_dlpack(array)
    assert tensor.np_dtype == array.dtype
    array[0] = 1  # The tensor has a copy.
    assert tensor.tolist() == np.arange(6).reshape(2, 3).astype(dtype).tolist()
    back = np.from_dlpack(tensor)
    assert (back.dtype, back.tolist()) == (array.dtype, tensor.tolist())


def test_memory_is_shared_where_it_cannot_be_written() -> None:
    tensor = gm.arange(4.0)
    shared = np.from_dlpack(tensor)
    assert np.shares_memory(shared, tensor.numpy())
    assert not shared.flags.writeable
    assert not np.shares_memory(np.from_dlpack(tensor, copy=True), tensor.numpy())


def test_what_cannot_be_handed_out_or_taken() -> None:
    with pytest.raises(BufferError, match="require gradient"):
        np.from_dlpack(gm.ones(2, requires_grad=True))
    with pytest.raises(AttributeTypeError, match="DLPack"):
        gm.from_dlpack([1, 2])


@pytest.mark.oracle
def test_pytorch_takes_and_gives() -> None:
    torch = pytest.importorskip("torch")
    taken = torch.from_dlpack(gm.tensor([1.0, 2.0]))
    assert taken.tolist() == [1.0, 2.0]
    assert gm.from_dlpack(torch.tensor([3, 4])).tolist() == [3, 4]
