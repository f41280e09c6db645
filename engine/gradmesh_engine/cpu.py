"""The right OpenBLAS kernels: chosen before NumPy is imported, because OpenBLAS chooses only then."""

from __future__ import annotations

import os
import sys

_NEEDED = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})


_ZEN_4 = ("AuthenticAMD", "25")
"""Vendor and family of processors whose AVX-512 units are 256 bits wide (and of Zen 3, which has none)."""


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


def choose_kernels() -> bool:
    """Ask OpenBLAS for the kernels that are fastest here; returns whether it was asked.

    OpenBLAS takes processors it does not know for Haswell, which halves matmul where AVX-512 units are
    whole. Where they are half as wide, on Zen 4, its Haswell kernels are the faster ones, by 5 to 10 %. Nothing
    is done once NumPy is loaded, where `OPENBLAS_CORETYPE` is already set, or without AVX-512 F, BW, DQ and VL.
    """
    if "numpy" in sys.modules or "OPENBLAS_CORETYPE" in os.environ or not sys.platform.startswith("linux"):
        return False
    processor = _processor()
    if not frozenset(processor.get("flags", "").split()) >= _NEEDED:
        return False
    halved = (processor.get("vendor_id"), processor.get("cpu family")) == _ZEN_4
    os.environ["OPENBLAS_CORETYPE"] = "Haswell" if halved else "SkylakeX"
    return True
