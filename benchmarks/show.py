"""How a workload runs: its plan with expected and measured times, and the generated code. `show.py logistic large`."""

from __future__ import annotations

import argparse
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import gradmesh as gm
from gradmesh_engine.local import LocalSession
from gradmesh_engine.program import compile_query
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


def main() -> None:
    """Run a workload a few times; print its plan and, where asked, its code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("size", nargs="?", default="large", choices=["small", "large"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--code", action="store_true", help="the generated source too")
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
    if options.code:
        program = compile_query(request.graph, request.query)
        program.run([*request.inputs, *request.cotangents])
        print("\n" + program.source())


if __name__ == "__main__":
    main()
