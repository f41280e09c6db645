"""What the coordinator itself holds of a large tensor and its gradient: next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.cluster.test_lifecycle import FOLDERS

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

BYTES = 200 << 20

SCRIPT = """
    import asyncio, json, re, sys, threading, time
    import numpy as np
    from gradmesh_engine.backend import Operand, Pieces
    from gradmesh_engine.program import compile_query
    from gradmesh_engine.session import Query
    from gradmesh_worker import ClusterOptions, RayBackend
    from tests.engine.graphs import Maker

    def own():
        text = open("/proc/self/status").read()
        return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", text)[1])

    peaks, stop, lock = {"now": 0}, threading.Event(), threading.Lock()

    def watch():
        while not stop.wait(0.002):
            with lock:
                peaks["now"] = max(peaks["now"], own())

    def phase():
        with lock:
            peak, peaks["now"] = max(peaks["now"], own()), own()
        return peak

    async def main():
        count = int(sys.argv[1]) // 4
        m = Maker()
        x = m.input((count,), "float32")
        loss = m("reduce_sum", m("mul", m("exp", x), x), dims=(0,))
        program = compile_query(m.graph(loss), Query((loss,), (x,), (False,)))
        backend = RayBackend(workers=2, options=ClusterOptions(object_store_bytes=1 << 30))
        await backend.start()
        threading.Thread(target=watch, daemon=True).start()
        before = own()
        array = np.arange(count, dtype=np.float32)
        array /= count
        array = await backend.adopt(b"x" * 16, array)
        uploaded = phase()
        # The thread that copied lets go of the original in its own time.
        limit = time.monotonic() + 10
        while own() - before > count and time.monotonic() < limit:
            await asyncio.sleep(0.01)
        phase()
        outcome = await backend.run(program, [Operand(array, b"x" * 16)], deadline=time.monotonic() + 100)
        gradient = outcome.outputs[1]
        sent, right = 0, True
        for run in gradient.runs():
            for chunk in (run[i : i + (1 << 18)] for i in range(0, run.size, 1 << 18)):
                expected = np.exp(array[sent : sent + chunk.size]) * (1 + array[sent : sent + chunk.size])
                right = right and bool(np.allclose(chunk, expected, rtol=1e-5))
                sent += chunk.size
        peak = phase()
        stop.set()
        print(json.dumps({
            "pieces": isinstance(gradient, Pieces), "right": right, "elements": sent,
            "before": before, "uploaded": uploaded, "peak": peak, "placed": outcome.placed_bytes,
        }), flush=True)
        del array, outcome, gradient, run, chunk
        await backend.close()

    asyncio.run(main())
"""


def test_a_large_tensor_and_its_gradient_stay_out_of_the_coordinator() -> None:
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(BYTES)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": FOLDERS},
        timeout=200,
    )
    assert process.returncode == 0
    told = json.loads(process.stdout)
    assert told["pieces"] and told["right"]
    assert told["elements"] == BYTES // 4
    assert told["placed"] == 0
    assert told["uploaded"] - told["before"] < 1.5 * BYTES
    assert told["peak"] - told["before"] < BYTES / 2
