"""What a second core gives each workload, and what the interpreter's lock takes of it: `scaling.py options block`.

A step on one thread, a step on two, and half of a step on one thread while another process does the same beside it. The
last is what two cores give where nobody waits for an interpreter: both share the memory's bandwidth and the last cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Final

import show  # noqa: F401  (first: it holds BLAS to one thread)

import gradmesh as gm
from gradmesh_engine.local import LocalSession
from suite import workload_names
from tensors import step_of
from workloads import WORKLOADS, Step

_WARM: Final = 5


def _step(name: str, size: str, threads: int) -> Step:
    gm.set_default_session(LocalSession(threads=threads))
    workload = WORKLOADS[name]
    step = step_of(gm, name, workload.kind, workload.inputs(size))
    for _ in range(_WARM):
        step()
    return step


def _median(step: Step, turns: int) -> float:
    found = []
    clock = time.perf_counter
    for _ in range(turns):
        begin = clock()
        step()
        found.append(clock() - begin)
    return statistics.median(found)


def _twin(name: str, size: str, ready: Event, done: Event) -> None:
    """Do the same beside another process until told that it has measured."""
    step = _step(name, size, 1)
    ready.set()
    while not done.is_set():
        step()


def measure(name: str, size: str, turns: int) -> tuple[float, float, float]:
    """Seconds of a step on one thread, on two, and half of one's while a twin runs."""
    two = _median(_step(name, size, 2), turns)
    step = _step(name, size, 1)
    one = _median(step, turns)
    context = get_context("spawn")
    ready, done = context.Event(), context.Event()
    twin = context.Process(target=_twin, args=(name, size, ready, done))
    twin.start()
    try:
        if not ready.wait(60):
            raise RuntimeError(f"{name}: no second process")
        halves = _median(step, turns) / 2
    finally:
        done.set()
        twin.join()
    return one, two, halves


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="just these")
    parser.add_argument("--size", default="large", choices=["small", "large"])
    parser.add_argument("--turns", type=int, default=25, help="steps measured")
    options = parser.parse_args()
    print(f"{'ms':14}{'one thread':>12}{'two':>8}{'gain':>7}{'two processes':>16}{'gain':>7}")
    for name in workload_names(options.workloads):
        one, two, halves = measure(name, options.size, options.turns)
        times = f"{one * 1e3:>12.3g}{two * 1e3:>8.3g}{one / two:>7.2f}{halves * 1e3:>16.3g}{one / halves:>7.2f}"
        print(f"{name:14}{times}", flush=True)


if __name__ == "__main__":
    main()
