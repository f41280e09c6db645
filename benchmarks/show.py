"""How a workload runs: its plan with expected and measured times, its code, what each kernel takes.

`show.py logistic large --code --kernels`
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import gradmesh as gm  # before NumPy: it asks OpenBLAS for the right kernels
import numpy as np
from gradmesh_engine.local import LocalSession
from gradmesh_engine.program import Program, compile_query
from gradmesh_engine.session import Request, Result
from tensors import step_of
from workloads import WORKLOADS


class Watched:
    """A session that remembers the latest request."""

    def __init__(self, threads: int) -> None:
        self.engine = LocalSession(threads=threads)
        self.latest: Request | None = None

    def run(self, request: Request) -> Result:
        """Evaluate."""
        self.latest = request
        return self.engine.run(request)

    def explain(self, request: Request) -> str:
        """The plan."""
        return self.engine.explain(request)

    def close(self) -> None:
        """Drop the programs."""
        self.engine.close()


def wrap_kernels(program: Program, wrap: Callable[[Callable[..., Any], int], Callable[..., Any]]) -> None:
    """Put `wrap(kernel, value)` in the place of every kernel of a program that has run, by the value it makes."""

    def wrapped(call: Callable[..., Any], value: int) -> Callable[..., Any]:
        # Where there are three operands or more, `call` holds the first of them.
        return partial(wrap(call.func, value), *call.args) if isinstance(call, partial) else wrap(call, value)

    (runners,) = program._idle
    for runner in runners:
        for part in (runner._whole, *runner._blocks.values()):
            if part is None:
                continue
            names = part.code.namespace
            for name, thing in list(names.items()):
                if name[0] == "k" and name[1:].isdigit():
                    names[name] = wrap(thing, int(name[1:]))
            first = len(program.plan.graph.inputs)
            for steps, nodes in part.code.tables:
                steps[:] = [
                    (wrapped(call, first + node), a, b, out)
                    for (call, a, b, out), node in zip(steps, nodes, strict=True)
                ]


def kernel_seconds(program: Program, arrays: list[np.ndarray], runs: int = 5) -> tuple[float, dict[int, float]]:
    """Seconds of a run, and of each node's kernel in it. The clock is read twice per call, which takes time too."""
    clock = time.perf_counter
    spent: dict[int, float] = {}
    first = len(program.plan.graph.inputs)

    def watched(kernel: Callable[..., Any], value: int) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            begin = clock()
            result = kernel(*arguments)
            spent[value - first] = spent.get(value - first, 0.0) + clock() - begin
            return result

        return run

    wrap_kernels(program, watched)
    begin = clock()
    for _ in range(runs):
        program.run(arrays)
    return (clock() - begin) / runs, {node: seconds / runs for node, seconds in spent.items()}


def show_kernels(program: Program, arrays: list[np.ndarray], most: int = 40) -> None:
    """Print what the kernels take, the longest first."""
    whole, spent = kernel_seconds(program, arrays)
    print(f"\n{whole * 1e3:.3g} ms, {sum(spent.values()) * 1e3:.3g} of them in kernels:")
    graph = program.plan.graph
    for node, seconds in sorted(spent.items(), key=lambda item: -item[1])[:most]:
        made = graph.nodes[node]
        operands = ", ".join(str(graph.specs[i]) for i in made.inputs)
        print(f"{seconds * 1e3:9.3f} ms  {made.op:14} {operands} -> {made.outputs[0]}")


def main() -> None:
    """Run a workload a few times; print its plan and, where asked, its code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("size", nargs="?", default="large", choices=["small", "large"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--code", action="store_true", help="the generated source too")
    parser.add_argument("--kernels", action="store_true", help="what each kernel takes")
    options = parser.parse_args()
    workload = WORKLOADS[options.workload]
    session = Watched(options.threads)
    gm.set_default_session(session)
    step = step_of(gm, options.workload, workload.kind, workload.inputs(options.size))
    for _ in range(5):
        step()
    request = session.latest
    assert request is not None
    print(session.explain(request))
    program = compile_query(request.graph, request.query)
    arrays = [*request.inputs, *request.cotangents]
    program.run(arrays)
    if options.code:
        print("\n" + program.source())
    if options.kernels:
        show_kernels(program, arrays)


if __name__ == "__main__":
    main()
