"""The backend that runs programs in the coordinator's own process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from gradmesh_engine.backend import BackendStats, Operand, Outcome, StageRun, WorkerInfo
from gradmesh_engine.errors import CancelledError, DeadlineError

if TYPE_CHECKING:
    from gradmesh_engine.program import Program

INLINE: Final = "inline"
"""The worker id of the coordinator's own process."""


def past_deadline() -> DeadlineError:
    """What is raised when the deadline passed while the server worked."""
    return DeadlineError("the deadline passed before the result was ready", remedy="give the call a longer timeout")


def run_here(program: Program, operands: Sequence[Operand]) -> Outcome:
    """Run in the calling thread, to the end."""
    begin = time.perf_counter()
    outputs = program.run([operand.array for operand in operands])
    return _outcome(program, outputs, time.perf_counter() - begin)


def _outcome(program: Program, outputs: Sequence[np.ndarray], seconds: float) -> Outcome:
    # The time of the whole, because stages are not timed one by one in process.
    return Outcome(outputs, tuple(StageRun((INLINE,), seconds) for _ in program.plan.stages))


class InlineBackend:
    """A few threads of the coordinator's process. Final."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gradmesh-inline")
        self._closed = False

    @property
    def ready(self) -> bool:
        """See Backend.ready."""
        return not self._closed

    def workers(self) -> tuple[WorkerInfo, ...]:
        """None: the process is the coordinator's."""
        return ()

    def stats(self) -> BackendStats:
        """Nothing to count."""
        return BackendStats()

    async def start(self) -> None:
        """Nothing to wait for."""

    async def run(self, program: Program, operands: Sequence[Operand], *, deadline: float) -> Outcome:
        """See Backend.run. A run is stopped between two groups of blocks."""
        stopped = threading.Event()

        def checkpoint() -> None:
            if stopped.is_set():
                raise CancelledError("the call was cancelled")
            if time.monotonic() > deadline:
                raise past_deadline()

        def work() -> Outcome:
            checkpoint()
            begin = time.perf_counter()
            outputs = program.run([operand.array for operand in operands], checkpoint)
            return _outcome(program, outputs, time.perf_counter() - begin)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            stopped.set()

    async def adopt(self, digest: bytes, array: np.ndarray) -> np.ndarray:
        """The array itself: it is where it is needed."""
        return array

    def forget(self, digest: bytes) -> None:
        """Nothing was placed."""

    async def close(self) -> None:
        """See Backend.close."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
