"""Arithmetic as IEEE 754 has it, whatever the caller's libraries have set in its thread.

Code that is compiled for speed, or asked to (`torch.set_flush_denormal`), makes the processor take denormal numbers
for zero, and some sets how it rounds: results would differ from one process to the next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, Final

import numpy as np

_LEAST: Final = 2.2250738585072014e-308  # the least normal number
_HALF: Final = 0.5
_ONE: Final = 1.0
_LITTLE: Final = 1e-17

_ENVIRONMENT_BYTES: Final = 256
"""No less than any platform's fenv_t."""

_DEFAULT: Final = ctypes.c_void_p(-1)
"""FE_DFL_ENV of the C libraries of Linux."""


def is_standard() -> bool:
    """Whether this thread keeps denormal numbers and rounds to the nearest."""
    return _LEAST * _HALF != 0.0 and _ONE + _LITTLE == _ONE == _ONE - _LITTLE


def ieee() -> AbstractContextManager[object]:
    """The arithmetic everything is computed in: standard in this thread, and NumPy tells of nothing special."""
    return np.errstate(all="ignore") if is_standard() else _restored()


@lru_cache(maxsize=1)
def _libm() -> Any:
    """The C library's functions of the environment, None where they are not those of Linux."""
    try:
        library = ctypes.CDLL("libm.so.6")
    except OSError:
        return None
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None


@contextmanager
def _restored() -> Iterator[None]:
    """Set what is standard, and at the end what was found."""
    library = _libm()
    with np.errstate(all="ignore"):
        if library is None:
            yield
            return
        found = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
        library.fegetenv(found)
        library.fesetenv(_DEFAULT)
        try:
            yield
        finally:
            library.fesetenv(found)
