"""A 500 MB tensor goes up and its gradient comes down; the coordinator holds less than three times as much."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradmesh._remote import connect
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Query, Request
from tests.service.graphs import F32, frozen, node, spec

COUNT = 125_000_000


def peak_bytes(pid: int) -> int:
    """The most memory a process had in use, shared pages included."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.cluster)])
def test_500_mb_up_and_its_gradient_down(workers: int) -> None:
    rng = np.random.default_rng(0)
    array = rng.random(COUNT, dtype=F32)
    array = frozen(array)
    s = spec(COUNT)
    graph = Graph(
        (s,), (node("exp", (0,), s), node("mul", (0, 1), s), node("reduce_sum", (2,), spec(), dims=(0,))), (3,)
    )
    request = Request(graph, (array,), Query((3,), (0,), (False,)))
    command = [sys.executable, "-m", "gradmesh_server.cli", "serve", "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("gradmesh serving on ")
            with connect(line.split()[3], timeout=240, progress=False) as session:
                result = session.run(request)
                assert result.stats.where == ("workers" if workers else "inline")
                assert session.info().stored_bytes == 0
            peak = peak_bytes(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert peak < 3 * array.nbytes
    (gradient,) = result.gradients
    assert gradient is not None
    for part in (slice(0, 1000), slice(COUNT // 2, COUNT // 2 + 1000), slice(COUNT - 1000, COUNT)):
        x = array[part].astype("float64")
        np.testing.assert_allclose(gradient[part], np.exp(x) * (1 + x), rtol=1e-5)
    np.testing.assert_allclose(result.outputs[0], COUNT, rtol=1e-3)  # ∫ x·exp(x) from 0 to 1 is 1.
