"""Printed tensors, against fixed texts and, where torch is installed, against torch itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradmesh._printing import get_printoptions, printoptions, set_printoptions, tensor_repr
from gradmesh_engine.dtypes import ALL


@pytest.fixture(autouse=True)
def _default_options() -> Iterator[None]:
    yield
    set_printoptions(profile="default")


@pytest.mark.parametrize(
    ("array", "keywords", "text"),
    [
        (np.ones((1, 2), np.float32), {"requires_grad": True}, "tensor([[1., 1.]], requires_grad=True)"),
        (np.ones((2, 2), np.float32), {}, "tensor([[1., 1.],\n        [1., 1.]])"),
        (np.float32(27.0), {"grad_fn_name": "MeanBackward0"}, "tensor(27., grad_fn=<MeanBackward0>)"),
        (np.array([0.5, 100.0], np.float32), {}, "tensor([  0.5000, 100.0000])"),
        (np.array([1e-5, 1.0], np.float32), {}, "tensor([1.0000e-05, 1.0000e+00])"),
        (np.array([np.nan, 1.0, np.inf], np.float32), {}, "tensor([nan, 1., inf])"),
        (np.array([True, False]), {}, "tensor([ True, False])"),
        (np.arange(1001), {}, "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
        (np.ones(1, ml_dtypes.bfloat16), {}, "tensor([1.], dtype=torch.bfloat16)"),
        (np.zeros((0, 3), np.float32), {}, "tensor([], size=(0, 3))"),
        (np.zeros(0, np.int64), {}, "tensor([], dtype=torch.int64)"),
        (np.array([1 - 2j, 0.5j], np.complex64), {}, "tensor([1.-2.0000j, 0.+0.5000j])"),
        (np.zeros((1, 1), np.float64), {}, "tensor([[0.]], dtype=torch.float64)"),
    ],
)
def test_text(array: Any, keywords: dict[str, Any], text: str) -> None:
    assert tensor_repr(np.asarray(array), **keywords) == text


def test_suffix_moves_to_the_next_line_when_the_line_is_full() -> None:
    array = np.arange(6, dtype=np.float32) + 1000.25
    text = tensor_repr(array, grad_fn_name="CumsumBackward0")
    assert text.endswith(",\n       grad_fn=<CumsumBackward0>)")
    assert all(len(line) <= 80 for line in text.split("\n"))


def test_options_hold_inside_the_block_only() -> None:
    before = get_printoptions()
    with printoptions(precision=2, sci_mode=True):
        assert tensor_repr(np.array([1.5], np.float32)) == "tensor([1.50e+00])"
    assert get_printoptions() == before


def test_unknown_profile() -> None:
    with pytest.raises(ValueError, match="unknown print profile"):
        set_printoptions(profile="huge")  # type: ignore[arg-type]


# --- against torch --------------------------------------------------------------------------------


def _values(dtype: np.dtype) -> st.SearchStrategy[Any]:
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return st.one_of(st.integers(0, 9), st.integers(int(info.min), int(info.max)))
    limit = float(ml_dtypes.finfo(dtype if dtype.kind != "c" else np.dtype(f"f{dtype.itemsize // 2}")).max)
    floats = st.one_of(
        st.integers(-3, 3).map(float),
        st.sampled_from([0.0, -0.0, float("nan"), float("inf"), -float("inf"), 0.5, 1e-3, -12.25, 1e-5, 1024.0]),
        st.floats(-10, 10, width=32),
        st.floats(-limit, limit),
    )
    return st.builds(complex, floats, floats) if dtype.kind == "c" else floats


@st.composite
def _arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(ALL))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    pool = draw(st.lists(_values(dtype), min_size=1, max_size=6))
    array = np.array(pool, dtype=np.float64 if dtype.name == "bfloat16" else None)
    picks = np.random.default_rng(draw(st.integers(0, 99))).integers(0, len(pool), size=shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array[picks], dtype=dtype)


_OPTIONS = st.fixed_dictionaries(
    {
        "profile": st.sampled_from([None, "default", "short", "full"]),
        "precision": st.sampled_from([None, 0, 1, 4, 7]),
        "threshold": st.sampled_from([None, 0, 10, 1000]),
        "edgeitems": st.sampled_from([None, 0, 1, 2]),
        "linewidth": st.sampled_from([None, 20, 60, 120]),
        "sci_mode": st.sampled_from([None, None, True, False]),
    }
)


@pytest.mark.oracle
@settings(max_examples=400)
@given(array=_arrays(), options=st.one_of(st.just({"profile": "default"}), _OPTIONS))
def test_same_text_as_torch(array: np.ndarray, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if array.dtype.name == "bfloat16":
        tensor = torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array.copy())
    try:
        torch.set_printoptions(profile="default")
        torch.set_printoptions(**options)
        with printoptions(**options):
            assert tensor_repr(array) == repr(tensor)
            if array.dtype.kind == "f":
                leaf = tensor.detach().clone().requires_grad_()
                assert tensor_repr(array, requires_grad=True) == repr(leaf)
                assert tensor_repr(array, grad_fn_name="CloneBackward0") == repr(leaf.clone())
    finally:
        torch.set_printoptions(profile="default")
