"""Peak memory of one step beyond its inputs and results; run as a process of its own: `peak.py LIBRARY WORKLOAD`.

The high-water mark of resident memory is reset by the kernel once inputs exist and a small problem
has loaded the code, so what is left is what the step itself took.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from pathlib import Path

from workloads import SMALL, WORKLOADS


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def main(library: str, workload: str) -> int:
    """Print {"beyond_bytes": …} as JSON."""
    lib = importlib.import_module(library)
    if library == "torch":
        lib.set_num_threads(1)
    small = SMALL[workload](lib)
    small()
    del small
    step = WORKLOADS[workload](lib)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kib("VmRSS") * 1024
    _, results = step()
    beyond = _status_kib("VmHWM") * 1024 - before - sum(r.nbytes for r in results)
    print(json.dumps({"beyond_bytes": max(beyond, 0)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
