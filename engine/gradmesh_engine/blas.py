"""One BLAS thread while the engine runs: products then have the same bits in every process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any, Final

_lock: Final = Lock()
_state: Final[dict[str, Any]] = {"depth": 0, "before": ()}


@lru_cache(maxsize=1)
def _libraries() -> tuple[Any, ...]:
    """The loaded BLAS libraries whose thread count can be set."""
    from threadpoolctl import ThreadpoolController

    return tuple(c for c in ThreadpoolController().lib_controllers if c.user_api == "blas")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold every loaded BLAS at one thread; the counts found are restored when the last user leaves."""
    libraries = _libraries()
    with _lock:
        _state["depth"] += 1
        if _state["depth"] == 1:
            _state["before"] = tuple(library.get_num_threads() for library in libraries)
            for library, count in zip(libraries, _state["before"], strict=True):
                if count != 1:
                    library.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _state["depth"] -= 1
            if _state["depth"] == 0:
                for library, count in zip(libraries, _state["before"], strict=True):
                    if count != 1:
                        library.set_num_threads(count)
