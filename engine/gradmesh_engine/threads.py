"""Threads over ranges of a stage's groups, in one process. NumPy's loops and BLAS let other threads run meanwhile.

Groups, and the tree their partials meet in, are rules of the plan, so the result has the same bits
with any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Final

from gradmesh_engine.blas import single_threaded
from gradmesh_engine.combine import Subtree

_CHUNKS: Final = 4
"""Ranges per thread: taken one after the other, so that a thread that is held up does less."""


def available() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """Threads that help, started when first needed. After a fork the child starts its own. Final."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._executor: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        """The executor."""
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(max(1, available() - 1), thread_name_prefix="gradmesh")
            return self._executor

    def forget(self) -> None:
        """In the child of a fork: none of the parent's threads are here."""
        self._lock = Lock()
        self._executor = None


_POOL: Final = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


class _Ranges:
    """Hands out consecutive ranges of groups: as many for each thread, of nearly as many groups. Final."""

    def __init__(self, groups: int, threads: int) -> None:
        self._groups = groups
        self._ranges = threads * _CHUNKS
        self._next = 0
        self._lock = Lock()

    def take(self) -> tuple[int, int] | None:
        """The next range; None when all are given out."""
        with self._lock:
            first = self._next
            if first >= self._groups:
                return None
            self._next = stop = first + -(-(self._groups - first) // self._ranges)
            self._ranges -= 1
            return first, stop

    def end(self) -> None:
        """Give out no more."""
        with self._lock:
            self._next = self._groups


def over_groups(groups: int, workers: Sequence[Callable[[int, int], list[Subtree]]]) -> list[Subtree]:
    """Run all groups of a stage, a thread per worker; the calling thread is the first.

    Args:
        groups: how many there are.
        workers: each runs the groups from one up to another, and is called by one thread at a time.

    Returns:
        the subtrees of all of them. Where a worker raises, its error is raised once all threads have stopped.
    """
    ranges = _Ranges(groups, len(workers))

    def run(worker: Callable[[int, int], list[Subtree]]) -> list[Subtree]:
        found: list[Subtree] = []
        try:
            with single_threaded():
                while (given := ranges.take()) is not None:
                    found += worker(*given)
        except BaseException:
            ranges.end()
            raise
        return found

    pool = _POOL.get()
    helpers = [pool.submit(run, worker) for worker in workers[1:]]
    try:
        found = run(workers[0])
    finally:
        # A helper whose thread has been busy elsewhere all along has nothing left to do.
        started = [helper for helper in helpers if not helper.cancel()]
        errors = [error for helper in started if (error := helper.exception()) is not None]
    if errors:
        raise errors[0]
    for helper in started:
        found += helper.result()
    return found
