"""One library in a process of its own, driven line by line: `contestant.py LIBRARY CORES`.

Each line of standard input is a command with its arguments as JSON, each answer a line of JSON:
load (a workload at a size), first (the first call), run (calls for some seconds), stop.
"""

from __future__ import annotations

import os
import sys

_CORES = int(sys.argv[2])
# Before any library that starts threads is imported: as many threads as cores, and no more cores than that.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(_CORES)
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])

if sys.argv[1] in ("gradmesh", "compiled"):
    import gradmesh  # noqa: F401  (before NumPy: it asks OpenBLAS for the right kernels)

import gc
import importlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from workloads import WORKLOADS, Inputs, Step


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _step(library: str, name: str, inputs: Inputs) -> Step | None:
    kind = WORKLOADS[name].kind
    if library in ("jax", "autograd"):
        import arrays

        return arrays.jax_step(name, kind, inputs) if library == "jax" else arrays.autograd_step(name, kind, inputs)
    import tensors

    if library in ("gradmesh", "compiled"):
        gradmesh = importlib.import_module("gradmesh")
        make = tensors.whole_step_of if library == "compiled" else tensors.step_of
        return make(gradmesh, name, kind, inputs)
    torch = importlib.import_module("torch")
    torch.set_num_threads(_CORES)
    if library == "torch":
        return tensors.step_of(torch, name, kind, inputs)
    if kind in ("product", "samples"):
        return None  # torch.compile knows no second derivative, nor vmap of grad of what it compiled
    torch.compiler.reset()
    return tensors.step_of(torch, name, kind, inputs, torch.compile)


def _summary(result: tuple[float, list[np.ndarray]]) -> list[float]:
    """A few numbers by which contestants' results are compared: the loss, and of each gradient two norms."""
    value, gradients = result
    numbers = [value]
    for gradient in gradients:
        wide = np.asarray(gradient, np.float64).reshape(-1)
        numbers += [float(np.abs(wide).sum()), float(np.sqrt((wide * wide).sum()))]
    return numbers


class Contestant:
    """The state between commands."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.step: Step | None = None
        self.before = 0

    def load(self, name: str, size: str) -> Any:
        """Make inputs and the step; whether the library can."""
        self.step = None
        gc.collect()
        self.step = _step(self.library, name, WORKLOADS[name].inputs(size))
        return self.step is not None

    def first(self) -> Any:
        """The first call's seconds, the second's peak of resident memory beyond inputs and results, and a summary."""
        assert self.step is not None
        gc.collect()
        before = _status_bytes("VmRSS")
        begin = time.perf_counter()
        result = self.step()
        seconds = time.perf_counter() - begin
        summary = _summary(result)
        del result
        if self.library == "compiled":
            for _ in range(2):
                self.step()  # Recorded once more, and compared: from then on replayed.
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        _, gradients = self.step()
        beyond = _status_bytes("VmHWM") - before - sum(g.nbytes for g in gradients)
        return {"first_s": seconds, "beyond_bytes": max(beyond, 0), "summary": summary}

    def run(self, budget_s: float) -> Any:
        """Seconds of each of several calls, after one that warms the caches up again."""
        assert self.step is not None
        self.step()
        found: list[float] = []
        clock = time.perf_counter
        stop = clock() + budget_s
        while not found or clock() < stop:
            begin = clock()
            self.step()
            found.append(clock() - begin)
        return found


def main() -> None:
    """Answer commands until told to stop."""
    # Libraries print to standard output now and then; answers have it to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contestant = Contestant(sys.argv[1])
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        if command == "stop":
            return
        try:
            answer = {"answer": getattr(contestant, command)(*arguments)}
        except Exception as error:  # told, and the others go on
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
