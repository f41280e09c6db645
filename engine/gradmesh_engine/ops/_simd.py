"""Functions NumPy has vector loops for on some processors only, composed of ones it has everywhere.

Without AVX-512 its log1p is a loop of scalar calls, 13 to 18 ns per float32 element; a logarithm with
a correction is 3.5.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.graph import TensorSpec


def _has_avx512() -> bool:
    """Whether NumPy runs its AVX-512 loops here; where it does not tell they are taken to be there."""
    try:
        features = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):
        return True
    return bool(features.get("AVX512_SKX", True))


HAS_VECTOR_LOG1P: Final = _has_avx512()
"""Whether np.log1p is vectorised here."""


def log1p(spec: TensorSpec) -> Callable[..., Any]:
    """A kernel for log(1 + x) of blocks like `spec`; `out` may be `x`.

    With u = 1 + x rounded, log(1 + x) = log(u) + (x - (u - 1)) / u to first order in the rounding
    error of u (Hewlett-Packard HP-15C Advanced Functions Handbook).
    """
    if HAS_VECTOR_LOG1P or spec.dtype not in (dtypes.float32, dtypes.float64):
        return np.log1p
    u, lost = np.empty(spec.shape, spec.dtype), np.empty(spec.shape, spec.dtype)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.add(x, 1, out=u)
        np.subtract(u, 1, out=lost)
        np.subtract(x, lost, out=lost)
        np.divide(lost, u, out=lost)
        np.log(u, out=out)
        # At -1 and infinity the correction is not a number, and the logarithm alone is right.
        if not np.isfinite(np.add.reduce(lost, axis=None)):
            lost[~np.isfinite(lost)] = 0
        np.add(out, lost, out=out)

    return run


def log1p_unit(spec: TensorSpec) -> Callable[..., Any]:
    """The same for x from 0 to 1, where the correction need not be divided by u; `out` may be `x`."""
    if HAS_VECTOR_LOG1P or spec.dtype not in (dtypes.float32, dtypes.float64):
        return np.log1p
    u, excess = np.empty(spec.shape, spec.dtype), np.empty(spec.shape, spec.dtype)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.add(x, 1, out=u)
        np.subtract(u, 1, out=excess)
        np.subtract(excess, x, out=excess)
        np.log(u, out=out)
        np.subtract(out, excess, out=out)

    return run
