"""The right OpenBLAS kernels: chosen before NumPy is imported, because OpenBLAS chooses only then."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_NEEDED = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})

_KNOWN = frozenset({("AuthenticAMD", "25")})
"""Vendor and family of processors with AVX-512 that every OpenBLAS knows: Zen 4 (and Zen 3, which has none)."""


def _processor() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where it cannot be read."""
    found: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if not name.strip():
                    break
                found[name.strip()] = value.strip()
    except OSError:
        pass
    return found


def kernels_for(processor: Mapping[str, str]) -> str:
    """The OpenBLAS kernels to ask for on a processor, "" to leave the choice to OpenBLAS.

    It takes processors it does not know for Haswell, which halves matmul where there are AVX-512 F, BW, DQ and VL. It
    is never asked for lesser kernels than it takes by itself: those of Haswell, quicker by 5 % for float32 on Zen 4,
    write past their buffers there since OpenBLAS 0.3.34, whose second-level cache is larger than they were made for.
    """
    if (processor.get("vendor_id", ""), processor.get("cpu family", "")) in _KNOWN:
        return ""
    return "SkylakeX" if frozenset(processor.get("flags", "").split()) >= _NEEDED else ""


def choose_kernels() -> bool:
    """Ask OpenBLAS for the kernels that are fastest here; returns whether it was asked.

    Nothing is done once NumPy is loaded, or where `OPENBLAS_CORETYPE` is already set.
    """
    if "numpy" in sys.modules or "OPENBLAS_CORETYPE" in os.environ or not sys.platform.startswith("linux"):
        return False
    kernels = kernels_for(_processor())
    if kernels:
        os.environ["OPENBLAS_CORETYPE"] = kernels
    return bool(kernels)
