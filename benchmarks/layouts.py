"""What the layout of a block costs: calls on blocks in C order and turned, and workloads planned both ways."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from show import Watched  # first: it holds BLAS to one thread

import gradmesh as gm
import numpy as np
from gradmesh_engine.plan import layout
from suite import workload_names
from tensors import step_of
from workloads import WORKLOADS

COLUMNS: Final = (8, 24, 32, 64, 128, 256)

ELEMENTS: Final = 200_000
"""Of a block, about: its three arrays fit the cache."""


def calls(rows: int, columns: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Calls on blocks of so many rows and columns."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    plain, turned = [normal(rows, columns) for _ in range(2)], [normal(columns, rows).T for _ in range(2)]
    row, ones, result = normal(1, columns), np.ones(columns, np.float32), np.empty(rows, np.float32)
    for name, (x, out) in (("C order", plain), ("turned", turned)):
        yield f"add a row, {name}", partial(np.add, x, row, out=out)
        yield f"maximum of each row, {name}", partial(np.maximum.reduce, x, axis=1, out=result)
        yield f"sum of each row, {name}", partial(np.matmul, x, ones, out=result)
    yield "turn a block", partial(np.copyto, turned[0], plain[0])


def nanoseconds(call: Callable[[], Any], elements: int) -> float:
    """Of the quickest of some calls, an element."""
    best = math.inf
    for _ in range(20):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best / elements * 1e9


def step_seconds(name: str, turning: bool, turns: int = 15) -> float:
    """Median of a workload's steps, on one core."""
    least = layout.LEAST_GAIN
    layout.LEAST_GAIN = least if turning else math.inf  # type: ignore[misc]
    try:
        session = Watched(threads=1)
        gm.set_default_session(session)
        step = step_of(gm, name, WORKLOADS[name].kind, WORKLOADS[name].inputs("large"))
        found = []
        for _ in range(turns):
            begin = time.perf_counter()
            step()
            found.append(time.perf_counter() - begin)
        session.close()
    finally:
        layout.LEAST_GAIN = least  # type: ignore[misc]
    return statistics.median(found[turns // 3 :])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=["mixture", "batch_norm"], help="planned both ways")
    options = parser.parse_args()
    table: dict[str, list[float]] = {}
    for columns in COLUMNS:
        rows = ELEMENTS // columns
        for name, call in calls(rows, columns):
            table.setdefault(name, []).append(nanoseconds(call, rows * columns))
    print(f"{'ns an element, columns:':30}" + "".join(f"{columns:>8}" for columns in COLUMNS))
    for name in sorted(table):
        print(f"{name:30}" + "".join(f"{figure:>8.2f}" for figure in table[name]))
    for name in workload_names(options.workloads):
        print(f"{name}: {step_seconds(name, True) * 1e3:.3g} ms, in C order {step_seconds(name, False) * 1e3:.3g} ms")


if __name__ == "__main__":
    main()
