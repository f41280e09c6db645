"""Results are a function of their inputs: not of threads, memory, the processor's modes, settings of NumPy, or luck."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from gradmesh_engine import memory
from gradmesh_engine.arithmetic import ieee, is_standard
from gradmesh_engine.session import Request, Session
from gradmesh_worker.cluster import numpy_kernels
from tests.engine.surroundings import ROWS, bits, blas_threads, digests, in_process, request_of

# --- settings of the process and the thread -------------------------------------------------------


@contextmanager
def several_blas_threads() -> Iterator[None]:
    with blas_threads(4):
        yield


@contextmanager
def trapping() -> Iterator[None]:
    with np.errstate(all="raise"):
        yield


@contextmanager
def small_buffers() -> Iterator[None]:
    before = np.setbufsize(32)
    try:
        yield
    finally:
        np.setbufsize(before)


_FLUSH = 0x8040
"""The bits of x86's MXCSR that take denormal numbers for zero, as operands and as results."""


@contextmanager
def _environment(word: int, on: int) -> Iterator[None]:
    """Set bits in one of the words of the C library's fenv_t."""
    if platform.machine() != "x86_64" or not sys.platform.startswith("linux"):
        pytest.skip("sets registers of x86")
    libm = ctypes.CDLL("libm.so.6")
    found = (ctypes.c_uint32 * 8)()
    libm.fegetenv(found)
    changed = (ctypes.c_uint32 * 8)(*found)
    changed[word] |= on
    libm.fesetenv(changed)
    try:
        assert not is_standard()
        yield
        assert not is_standard()  # as it was found
    finally:
        libm.fesetenv(found)
    assert is_standard()


@contextmanager
def flushing() -> Iterator[None]:
    with _environment(7, _FLUSH):
        yield


@contextmanager
def rounding_up() -> Iterator[None]:
    with _environment(7, 0x4000):
        yield


@contextmanager
def dirty_memory() -> Iterator[None]:
    """What malloc and the engine give next holds NaN."""
    for size in (*range(16, 1024, 16), *range(4096, 1 << 20, 40_000)):
        np.empty(size, np.uint8).fill(0xFF)
    kept = [memory._Lease(nbytes) for nbytes in list(memory._KEPT._free)]
    for lease in kept:
        np.asarray(lease).fill(0xFF)
    del kept
    yield


SETTINGS = {f.__name__: f for f in (several_blas_threads, trapping, small_buffers, flushing, rounding_up, dirty_memory)}


IN_BLOCKS = [name for name, row in ROWS.items() if row.blocks]
SET = [
    *[(setting, name, 1) for setting in SETTINGS for name in ROWS],
    *[(setting, name, 3) for setting in ("several_blas_threads", "flushing", "rounding_up") for name in IN_BLOCKS],
]


@pytest.mark.parametrize(("setting", "name", "threads"), SET)
def test_settings_change_nothing(setting: str, name: str, threads: int) -> None:
    request = request_of(name)
    with in_process(1) as session:
        plain = bits(session, request)
    with SETTINGS[setting](), in_process(threads) as session:
        assert bits(session, request) == plain
        assert bits(session, request) == plain  # planned, on buffers that hold something


def test_the_table_shows_what_the_settings_would_change() -> None:
    """Without the engine's care they would."""
    x = np.full(3, 3e-308)
    with flushing():
        assert not (x * 0.25).any()
        with ieee():
            assert (x * 0.25).all()
    with rounding_up():
        assert np.float64(1) + 1e-17 > 1


# --- the caller's arrays and thread ---------------------------------------------------------------


def shifted(offset: int) -> Callable[[np.ndarray], np.ndarray]:
    """Copies so many bytes behind a cache line."""

    def copy(array: np.ndarray) -> np.ndarray:
        raw = np.empty(array.nbytes + 256, np.uint8)
        start = -raw.__array_interface__["data"][0] % 64 + offset
        placed = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        placed[...] = array
        return placed

    return copy


def in_fortran_order(array: np.ndarray) -> np.ndarray:
    return array.copy(order="F")


def strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


PLACES = {"1": shifted(1), "4": shifted(4), "8": shifted(8), "40": shifted(40)} | {
    f.__name__: f for f in (in_fortran_order, strided, read_only)
}


def placed(request: Request, place: Callable[[np.ndarray], np.ndarray]) -> Request:
    return Request(
        request.graph, tuple(map(place, request.inputs)), request.query, tuple(map(place, request.cotangents))
    )


@pytest.mark.parametrize("name", ROWS)
def test_where_and_how_arrays_lie_changes_nothing(name: str) -> None:
    request = request_of(name)
    with in_process(1) as session:
        plain = bits(session, request)
        assert {key: bits(session, placed(request, place)) == plain for key, place in PLACES.items()} == dict.fromkeys(
            PLACES, True
        )


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if len(set(row.inputs)) < len(row.inputs)])
def test_an_array_given_twice_is_as_good_as_its_copy(name: str) -> None:
    request = request_of(name)
    first: dict[tuple[tuple[int, ...], np.dtype], np.ndarray] = {}
    shared = tuple(first.setdefault((a.shape, a.dtype), a) for a in request.inputs)
    assert len(set(map(id, shared))) < len(shared)
    with in_process(1) as session:
        twice = bits(session, Request(request.graph, shared, request.query, request.cotangents))
        copies = tuple(a.copy() for a in shared)
        assert bits(session, Request(request.graph, copies, request.query, request.cotangents)) == twice


@pytest.mark.parametrize("name", ROWS)
def test_sessions_threads_and_repetition_change_nothing(name: str) -> None:
    request = request_of(name)
    found: list[list[bytes]] = []

    def run(session: Session) -> None:
        found.append(bits(session, request))

    for threads in (1, 2, 5):
        with in_process(threads) as session:
            run(session)
            together = [threading.Thread(target=run, args=(session,)) for _ in range(3)]
            for thread in together:
                thread.start()
            for thread in together:
                thread.join()
    assert len(found) == 12
    assert all(one == found[0] for one in found)


# --- other processes ------------------------------------------------------------------------------

PROCESSES: dict[str, tuple[list[str], dict[str, str]]] = {
    # BLAS threads and cores (0: all); variables.
    "one core": (["1", "1"], {"PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": "1"}),
    "four threads": (["4", "0"], {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "PYTHONOPTIMIZE": "1"}),
}


@pytest.mark.parametrize("kernels", ["found", "Sandybridge"])
def test_processes_agree(kernels: str) -> None:
    """OpenBLAS's kernels are those of one kind: which ones it takes depends on whether NumPy is imported first."""
    kind = numpy_kernels() if kernels == "found" else kernels
    found = []
    for arguments, variables in PROCESSES.values():
        answer = subprocess.run(
            [sys.executable, "-m", "tests.engine.surroundings", *arguments],
            env=os.environ | variables | ({"OPENBLAS_CORETYPE": kind} if kind else {}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert answer.returncode == 0, answer.stderr[-2000:]
        found.append(dict(line.rsplit(" ", 1) for line in answer.stdout.splitlines()))
    if kernels == "found":
        found.append(digests())
    assert set(found[0]) == set(ROWS)
    for other in found[1:]:
        assert {name for name in ROWS if other[name] != found[0][name]} == set()
