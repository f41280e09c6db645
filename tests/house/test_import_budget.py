"""`import gradmesh` is quick and loads neither ray nor the server."""

from __future__ import annotations

import json
import subprocess
import sys

# Processor time beyond NumPy's own import, the best of three: generous on a busy machine, far under ray or torch.
SECONDS = 0.6

_PROBE = """
import json, sys, time
import numpy
start = time.process_time()
import gradmesh
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def probe() -> tuple[float, set[str]]:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60)
    said = json.loads(done.stdout)
    return said["seconds"], set(said["modules"])


def test_import_is_quick_and_light() -> None:
    runs = [probe() for _ in range(3)]
    loaded = runs[0][1]
    heavy = {
        "ray",
        "grpc",
        "asyncio",
        "google.protobuf",
        "torch",
        "sklearn",
        "tqdm",
        "gradmesh_server",
        "gradmesh_worker",
        "grpc_health",
        "scipy.special",
        "scipy.sparse",
    }
    assert not heavy & loaded, f"import gradmesh loads {sorted(heavy & loaded)}"
    best = min(seconds for seconds, _ in runs)
    assert best < SECONDS, f"import gradmesh takes {best:.2f} s beyond NumPy, the budget is {SECONDS} s"


_FIRST = """
import sys
import gradmesh as gm
for dtype in (gm.float32, gm.float64):
    table = gm.ones(5, 3, dtype=dtype, requires_grad=True)
    x = gm.nn.functional.embedding(gm.tensor([1, 4, 1]), table)
    (gm.erf(x) + gm.erfc(x) + gm.nn.functional.gelu(x)).sum().backward()
    assert table.grad[1, 0] == 2 * table.grad[4, 0] != 0
print(*sorted(sys.modules))
import scipy.sparse  # and what was loaded of it alone is in nobody's way
assert (scipy.sparse.eye(3).tocsc() @ [[1.0], [2.0], [3.0]]).tolist() == [[1.0], [2.0], [3.0]]
"""


def test_a_first_step_loads_no_slow_packages() -> None:
    done = subprocess.run([sys.executable, "-c", _FIRST], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not {"scipy.special", "scipy.sparse"} & set(done.stdout.split())
