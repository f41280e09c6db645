"""`make bench`: the workloads beside their peers, the service beside bare gRPC, in one run.

Contestants take turns and figures are medians over the rounds. Results are printed as tables and
written as JSON, which `compare.py` and people read. `bench.py --quick pointwise mlp` measures those two alone.
"""

from __future__ import annotations

import os

# Before any library that starts threads is imported: the latency lines are measured on one thread.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import importlib.metadata
import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradmesh  # noqa: F401  before NumPy: it asks OpenBLAS for the right kernels
from service import LINES, HEAD, Line, show
from suite import FIRST_S, LIBRARIES, check_names, installed, run_suite, slow_starts, workload_names

HERE = Path(__file__).resolve().parent


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _about() -> dict[str, Any]:
    """What the figures depend on."""
    processor = Path("/proc/cpuinfo").read_text()
    names = [line.partition(":")[2].strip() for line in processor.splitlines() if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("numpy", "scipy", "torch", "jax", "autograd")},
        "machine": platform.machine(),
        "processor": names[0] if names else "",
        "avx512": "avx512f" in processor,  # NumPy's exp, tanh and log1p differ by it
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE", ""),
    }


def main() -> int:
    """Measure, print, write; exit with 1 when a goal was missed and `--strict` was given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("workloads", nargs="*", help=f"just these workloads, or of {', '.join(LINES)}")
    parser.add_argument("--size", action="append", choices=["small", "large"], help="just this size")
    parser.add_argument("--cores", action="append", type=int, choices=[1, 2], help="just on so many cores")
    parser.add_argument(
        "--with", dest="libraries", action="append", choices=list(LIBRARIES), help="just this contestant"
    )
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant at a workload")
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a turn lasts, at least one call")
    parser.add_argument("--calls", type=int, default=1000, help="calls of the latency measurement")
    parser.add_argument("--quick", action="store_true", help="one core, few short rounds, no torch.compile")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".benchmarks" / "bench.json")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal was missed")
    options = parser.parse_args()
    services = [name for name in LINES if not options.workloads or name in options.workloads]
    workloads = [name for name in options.workloads if name not in LINES]
    names = workload_names(workloads) if workloads or not options.workloads else []
    quick = options.quick
    wanted = options.libraries or [name for name in LIBRARIES if not (quick and name == "compile")]
    libraries = installed(check_names(wanted, list(LIBRARIES), "contestant"))
    missing = sorted({LIBRARIES[name][0] for name in wanted} - {LIBRARIES[name][0] for name in libraries})
    if missing:
        print(f"not installed, so not compared with: {', '.join(missing)} (`make bench-peers` brings them)")

    measured = run_suite(
        names,
        options.size or ["small", "large"],
        options.cores or ([1] if quick or os.cpu_count() == 1 else [1, 2]),
        libraries,
        min(options.rounds, 3) if quick else options.rounds,
        min(options.seconds, 0.03) if quick else options.seconds,
    ) if names else []  # fmt: skip
    slow = slow_starts(measured)
    if slow:
        print(f"first calls more than {FIRST_S * 1e3:.0f} ms longer than later ones: {', '.join(slow)}")
    lines: list[Line] = []
    if services:
        print(f"\n{HEAD}", flush=True)
        calls = min(options.calls, 200) if quick else options.calls
        lines = [show(LINES[name](calls)) for name in services]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    found = {"about": _about(), "workloads": [asdict(m) for m in measured], "lines": [asdict(line) for line in lines]}
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {options.json}")
    return int(options.strict and (bool(slow) or any(line.met is False for line in lines)))


if __name__ == "__main__":
    sys.exit(main())
