"""Memory of large arrays is used again when nobody sees it any more, and no sooner."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradmesh_engine import memory
from gradmesh_engine.graph import TensorSpec

MIB = 1 << 20


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> memory._Kept:
    """Nothing kept at first, and nothing of other tests."""
    gc.collect()
    fresh = memory._Kept()
    monkeypatch.setattr(memory, "_KEPT", fresh)
    return fresh


def make(nbytes: int) -> np.ndarray:
    return memory.empty(TensorSpec((nbytes // 8,), np.dtype(np.float64)))


def place(array: np.ndarray) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize("nbytes", [8, 4096, MIB, 5 * MIB])
def test_arrays_start_on_cache_lines(nbytes: int) -> None:
    array = make(nbytes)
    assert array.shape == (nbytes // 8,) and array.flags.c_contiguous and array.flags.writeable
    assert nbytes < 4096 or place(array) % memory.ALIGNMENT == 0


def test_the_next_of_the_same_size_stands_where_the_last_did(kept: memory._Kept) -> None:
    first = make(2 * MIB)
    where = place(first)
    del first
    assert kept.nbytes == 2 * MIB + memory.ALIGNMENT
    other, again = make(3 * MIB), make(2 * MIB)
    assert place(again) == where != place(other)
    assert kept.nbytes == 0


def test_a_view_keeps_the_memory() -> None:
    array = make(2 * MIB)
    where, view = place(array), array[7:9].reshape(2, 1)
    view[:] = 3.0
    del array
    assert place(make(2 * MIB)) != where
    assert view.tolist() == [[3.0], [3.0]]
    del view
    assert place(make(2 * MIB)) == where


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(kept: memory._Kept) -> None:
    arrays = [make(20 * MIB + 4096 * i) for i in range(5)]
    places = [place(array) for array in arrays]
    while arrays:
        del arrays[0]
    assert kept.nbytes <= memory.KEPT_BYTES
    assert [place(make(20 * MIB + 4096 * i)) == places[i] for i in (4, 3, 2)] == [True] * 3
    huge = make(2 * memory.KEPT_BYTES)
    del huge
    assert kept.nbytes <= memory.KEPT_BYTES


def test_no_two_threads_get_the_same_memory() -> None:
    def work(mark: int) -> bool:
        sound = True
        for _ in range(200):
            array = make(MIB + 8 * (mark % 2))
            array[::4096] = mark
            other = make(MIB)
            other[::4096] = -1
            sound &= bool((array[::4096] == mark).all())
        return sound

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
