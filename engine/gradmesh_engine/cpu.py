"""The right OpenBLAS kernels: chosen before NumPy is imported, because OpenBLAS chooses only then."""

from __future__ import annotations

import os
import sys

_NEEDED = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})


def _flags() -> frozenset[str]:
    """What the processor can do, in Linux's names; empty where it cannot be told."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def choose_kernels() -> bool:
    """Ask OpenBLAS for its AVX-512 kernels; returns whether it was asked.

    OpenBLAS takes processors it does not know for Haswell, which halves matmul. Nothing is done
    once NumPy is loaded, where `OPENBLAS_CORETYPE` is already set, or without AVX-512 F, BW, DQ and VL.
    """
    if "numpy" in sys.modules or "OPENBLAS_CORETYPE" in os.environ or not sys.platform.startswith("linux"):
        return False
    if not _flags() >= _NEEDED:
        return False
    os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
    return True
