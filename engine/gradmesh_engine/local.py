"""The session that runs requests in the caller's process."""

from __future__ import annotations

from time import perf_counter

from gradmesh_engine.plan import plan_text
from gradmesh_engine.program import ProgramCache, arrays_of
from gradmesh_engine.session import Request, Result, Stats


class LocalSession:
    """Runs requests in process, on the engine the workers run. Thread-safe. Final.

    Args:
        capacity: number of programs kept.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._programs = ProgramCache(capacity)

    def run(self, request: Request) -> Result:
        """Evaluate; see Session.run."""
        begin = perf_counter()
        program, outcome = self._programs.get(request.graph, request.query)
        arrays = arrays_of(program, request)
        planned = perf_counter()
        result = program.split_result(program.run(arrays))
        done = perf_counter()
        plan = program.plan
        split = plan.split
        stats = Stats(
            cache=outcome,
            where="local",
            stages=len(plan.stages),
            blocks=1 if split is None else split.blocks,
            groups=1 if split is None else split.groups,
            seconds={"plan": planned - begin, "run": done - planned},
            peak_bytes=plan.peak_bytes,
            flops=plan.flops,
        )
        return Result(result.outputs, result.gradients, (), stats)

    def explain(self, request: Request) -> str:
        """The plan as text; see Session.explain."""
        program, _ = self._programs.get(request.graph, request.query)
        return plan_text(program.plan) + "\nruns in process, one thread"

    def close(self) -> None:
        """Drop the programs. Idempotent."""
        self._programs = ProgramCache()
