"""Which kernels OpenBLAS is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gradmesh_engine.cpu import kernels_for

AVX512 = "fpu avx2 avx512f avx512bw avx512dq avx512vl"

# Vendor, family, flags, and what is asked for.
PROCESSORS: dict[str, tuple[str, str, str, str]] = {
    "Zen 3": ("AuthenticAMD", "25", "fpu avx2", ""),
    "Zen 4": ("AuthenticAMD", "25", AVX512, ""),  # Haswell's would crash with OpenBLAS 0.3.34.
    "Zen 5": ("AuthenticAMD", "26", AVX512, "SkylakeX"),
    "Haswell": ("GenuineIntel", "6", "fpu avx2", ""),
    "Ice Lake": ("GenuineIntel", "6", f"{AVX512} avx512_vnni", "SkylakeX"),
    "half of AVX-512": ("GenuineIntel", "6", "fpu avx2 avx512f avx512cd", ""),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_kernels_asked_for(name: str) -> None:
    vendor, family, flags, kernels = PROCESSORS[name]
    assert kernels_for({"vendor_id": vendor, "cpu family": family, "flags": flags}) == kernels
    assert kernels_for({}) == ""


PRODUCTS = """
import gradmesh, numpy as np
for dtype in "fdFD":
    for n in (3, 40, 700):
        a = np.arange(n * n).reshape(n, n) % 7
        assert np.array_equal(a.astype(dtype) @ a.astype(dtype), (a @ a).astype(dtype))
"""


def test_products_are_right_with_what_is_asked_for_here() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS")}
    done = subprocess.run([sys.executable, "-c", PRODUCTS], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
