"""One BLAS thread while the engine runs: products then have the same bits in every process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock, local
from typing import Any, Final


@lru_cache(maxsize=1)
def libraries() -> tuple[Any, ...]:
    """The loaded BLAS libraries whose thread count can be set, as threadpoolctl's controllers."""
    from threadpoolctl import ThreadpoolController

    return tuple(c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")


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
    """Counts who wants one thread; the first sets it, the last restores what was found. Not thread-safe."""

    def __init__(self) -> None:
        self._depth = 0
        self._before: tuple[tuple[Any, int], ...] = ()

    def enter(self, libraries: tuple[Any, ...]) -> None:
        self._depth += 1
        if self._depth == 1:
            counts = ((library, library.get_num_threads()) for library in libraries)
            self._before = tuple((library, count) for library, count in counts if count != 1)
            for library, _ in self._before:
                _set(library, 1)

    def leave(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            for library, count in self._before:
                _set(library, count)


class _Own(local):
    """The calling thread's hold."""

    def __init__(self) -> None:
        self.hold = _Hold()


_lock: Final = Lock()
_shared: Final = _Hold()
_own: Final = _Own()


@lru_cache(maxsize=1)
def _by_scope() -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The libraries with one count for the process, and those with a count for each thread (OpenMP's)."""
    shared: list[Any] = []
    own: list[Any] = []
    for library in libraries():
        (own if getattr(library, "threading_layer", "") == "openmp" else shared).append(library)
    return tuple(shared), tuple(own)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold every loaded BLAS at one thread; the counts found are restored when the last user leaves.

    Every thread that calls BLAS enters: some libraries have a count per thread.
    """
    shared, own = _by_scope()
    with _lock:
        _shared.enter(shared)
    _own.hold.enter(own)
    try:
        yield
    finally:
        _own.hold.leave()
        with _lock:
            _shared.leave()
