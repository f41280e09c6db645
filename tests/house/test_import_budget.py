"""`import gradmesh` is quick and loads neither ray nor the server."""

from __future__ import annotations

import json
import subprocess
import sys

# Half a second over NumPy's own import, as the best of three: generous on a busy machine, far under ray or torch.
SECONDS = 0.5

_PROBE = """
import json, sys, time
import numpy
start = time.perf_counter()
import gradmesh
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def probe() -> tuple[float, set[str]]:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60)
    said = json.loads(done.stdout)
    return said["seconds"], set(said["modules"])


def test_import_is_quick_and_light() -> None:
    runs = [probe() for _ in range(3)]
    loaded = runs[0][1]
    heavy = {"ray", "torch", "sklearn", "tqdm", "gradmesh_server", "gradmesh_worker", "grpc_health"}
    assert not heavy & loaded, f"import gradmesh loads {sorted(heavy & loaded)}"
    best = min(seconds for seconds, _ in runs)
    assert best < SECONDS, f"import gradmesh takes {best:.2f} s beyond NumPy, the budget is {SECONDS} s"
