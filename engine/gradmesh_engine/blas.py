"""One BLAS thread while the engine runs: products then have the same bits in every process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock, local
from typing import Any, Final


@lru_cache(maxsize=2)
def _look(with_scipy: bool) -> tuple[Any, ...]:
    from threadpoolctl import ThreadpoolController

    return tuple(c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")


def libraries() -> tuple[Any, ...]:
    """The loaded BLAS libraries whose thread count can be set, as threadpoolctl's controllers.

    NumPy's is loaded before anything is computed; SciPy brings one of its own, once its linear algebra is needed.
    """
    return _look("scipy.linalg._fblas" in sys.modules)


def _set(library: Any, count: int) -> None:
    """Set a library's count from whatever thread this is.

    Since threadpoolctl 3.8 a thread that is not the first to set a count does nothing, silently, unless the
    first one has let go.
    """
    clear = getattr(library, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    library.set_num_threads(count)
    if clear is not None:
        clear(force=True)


class _Hold:
    """Counts who wants one thread of each library; the first sets it, the last restores what was found.

    Final. Not thread-safe.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, int]] = {}  # by the library's file: how many hold it, and its count before

    def enter(self, libraries: tuple[Any, ...]) -> None:
        for library in libraries:
            holders, before = self._held.get(library.filepath, (0, 1))
            if not holders:
                before = library.get_num_threads()
                if before != 1:
                    _set(library, 1)
            self._held[library.filepath] = holders + 1, before

    def leave(self, libraries: tuple[Any, ...]) -> None:
        for library in libraries:
            holders, before = self._held[library.filepath]
            if holders == 1 and before != 1:
                _set(library, before)
            self._held[library.filepath] = holders - 1, before


class _Own(local):
    """The calling thread's hold."""

    def __init__(self) -> None:
        self.hold = _Hold()


class _Shared:
    """The process's hold. Final."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In the child of a fork: who held it, or the lock, is not here."""
        self.lock = Lock()
        self.hold = _Hold()


_own: Final = _Own()
_shared: Final = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.forget)


@lru_cache(maxsize=4)
def _by_scope(libraries: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The libraries with one count for the process, and those with a count for each thread (OpenMP's)."""
    shared: list[Any] = []
    own: list[Any] = []
    for library in libraries:
        (own if getattr(library, "threading_layer", "") == "openmp" else shared).append(library)
    return tuple(shared), tuple(own)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold every loaded BLAS at one thread; the counts found are restored when the last user leaves.

    Every thread that calls BLAS enters, since some libraries have a count per thread; and who loads a library
    enters once more, since it was not there to be held before.
    """
    shared, own = _by_scope(libraries())
    with _shared.lock:
        _shared.hold.enter(shared)
    _own.hold.enter(own)
    try:
        yield
    finally:
        _own.hold.leave(own)
        with _shared.lock:
            _shared.hold.leave(shared)
