"""The session that runs requests in the caller's process."""

from __future__ import annotations

from time import perf_counter

from gradmesh_engine.errors import InvalidRequestError
from gradmesh_engine.plan import plan_text
from gradmesh_engine.program import Program, ProgramCache, arrays_of
from gradmesh_engine.session import Request, Result, Stats
from gradmesh_engine.threads import available


class LocalSession:
    """Runs requests in process, on the engine the workers run. Thread-safe. Final.

    Args:
        capacity: number of programs kept.
        threads: threads a large request may run on, the caller's among them; None for one per core this process
            may use. The result is the same with any number.
    """

    def __init__(self, capacity: int = 256, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise InvalidRequestError("a session needs a thread", expected="threads of 1 or more", got=str(threads))
        self._programs = ProgramCache(capacity)
        self._threads = threads

    def run(self, request: Request) -> Result:
        """Evaluate; see Session.run."""
        begin = perf_counter()
        program, outcome = self._programs.get(request.graph, request.query)
        arrays = arrays_of(program, request)
        planned = perf_counter()
        threads = self._threads_for(program)
        result = program.split_result(program.run(arrays, threads=threads))
        done = perf_counter()
        plan = program.plan
        split = plan.split
        stats = Stats(
            cache=outcome,
            where="local",
            stages=len(plan.stages),
            blocks=1 if split is None else split.blocks,
            groups=1 if split is None else split.groups,
            workers=threads,
            seconds={"plan": planned - begin, "run": done - planned},
            peak_bytes=plan.peak_bytes,
            flops=plan.flops,
        )
        return Result(result.outputs, result.gradients, (), stats)

    def explain(self, request: Request) -> str:
        """The plan as text; see Session.explain."""
        program, _ = self._programs.get(request.graph, request.query)
        threads = self._threads_for(program)
        where = "one thread" if threads == 1 else f"{threads} threads"
        return plan_text(program.plan, program.seconds()) + f"\nruns in process, {where}"

    def _threads_for(self, program: Program) -> int:
        parallel = program.plan.parallel
        return 1 if parallel == 1 else min(self._threads or available(), parallel)

    def close(self) -> None:
        """Drop the programs. Idempotent."""
        self._programs = ProgramCache()
