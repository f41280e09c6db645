"""Memory of arrays: on cache lines, and for large ones kept for the next of the same size.

Memory that comes anew from the operating system is cleared by it first, page by page, which takes as long as
computing a few operations on it; a step of a training loop asks for the same sizes as the step before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, Final

import numpy as np

from gradmesh_engine.graph import TensorSpec

ALIGNMENT: Final = 64
"""Bytes; buffers start on cache lines."""

KEPT_BYTES: Final = 64 << 20
"""Memory that waits to be used again, at most, in one process."""

_SMALL: Final = 4096
"""Smaller arrays lie where malloc puts them."""

_LARGE: Final = 1 << 20
"""Smaller arrays are left to malloc, which keeps their memory itself."""


class _Kept:
    """Memory nobody uses, by its number of bytes. Thread-safe. Final.

    It waits for nobody: a finalizer may run in any thread at any moment, in here too. Whoever comes
    while another is here gets new memory, or gives its own back to the system.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: dict[int, list[np.ndarray]] = {}
        self.nbytes = 0

    def take(self, nbytes: int) -> np.ndarray:
        """Memory of so many bytes, whatever was in it."""
        if self._lock.acquire(blocking=False):
            try:
                free = self._free.get(nbytes)
                if free:
                    self.nbytes -= nbytes
                    return free.pop()
            finally:
                self._lock.release()
        return np.empty(nbytes, np.uint8)

    def give(self, memory: np.ndarray) -> None:
        """Keep memory, and let go of what was given longest ago where there is too much."""
        size = memory.nbytes
        if size > KEPT_BYTES or not self._lock.acquire(blocking=False):
            return
        try:
            free = self._free.pop(size, [])
            free.append(memory)
            self._free[size] = free  # Now the last.
            self.nbytes += size
            while self.nbytes > KEPT_BYTES:
                oldest, free = next(iter(self._free.items()))
                if free:
                    self.nbytes -= oldest
                    free.pop()
                else:
                    del self._free[oldest]
        finally:
            self._lock.release()


_KEPT: Final = _Kept()


class _Lease:
    """Memory an array and its views stand on; goes back when the last of them is gone. Final."""

    def __init__(self, nbytes: int) -> None:
        self._home = _KEPT
        self._memory = _KEPT.take(nbytes)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = self._memory.__array_interface__
        return interface

    def __del__(self) -> None:
        self._home.give(self._memory)


def empty(spec: TensorSpec) -> np.ndarray:
    """An uninitialised array on a cache line."""
    if spec.nbytes < _SMALL:
        return np.empty(spec.shape, spec.dtype)
    nbytes = spec.nbytes + ALIGNMENT
    raw = np.asarray(_Lease(nbytes)) if nbytes >= _LARGE else np.empty(nbytes, np.uint8)
    offset = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[offset : offset + spec.nbytes].view(spec.dtype).reshape(spec.shape)


def maker(spec: TensorSpec) -> Callable[[], np.ndarray]:
    """What makes arrays as `empty` does."""
    return partial(np.empty, spec.shape, spec.dtype) if spec.nbytes < _SMALL else partial(empty, spec)
