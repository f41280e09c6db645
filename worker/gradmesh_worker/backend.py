"""The backend on Ray workers."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import ray

from gradmesh_engine.backend import BackendStats, Operand, Outcome, WorkerInfo
from gradmesh_engine.errors import InvalidRequestError, UnavailableError
from gradmesh_worker.cluster import Cluster, ClusterOptions, worker_environment
from gradmesh_worker.placement import Placement
from gradmesh_worker.pool import Pool
from gradmesh_worker.request import Loaded, Running, translated
from gradmesh_worker.tasks import cut_ranges, make_tasks

if TYPE_CHECKING:
    from gradmesh_engine.program import Program

PROGRAMS_KEPT: Final = 256
"""Plans that stay in the object store for workers to fetch."""


@dataclass
class _Counters:
    retries: int = 0
    placed_bytes: int = 0
    requests: int = 0


class RayBackend:
    """Runs programs on long-lived Ray workers, one per core. Final; see `Backend`.

    Args:
        workers: number of workers.
        address: "host:port" of an existing Ray cluster; a local one is started without.
        options: how they run.

    Raises:
        InvalidRequestError: there cannot be so few workers, or the address is not a cluster's.
    """

    def __init__(self, *, workers: int = 2, address: str | None = None, options: ClusterOptions | None = None) -> None:
        if workers < 1:
            raise InvalidRequestError("a cluster needs workers", expected="1 or more", got=str(workers))
        if address is not None and address.startswith("ray://"):
            raise InvalidRequestError(
                "the coordinator has to be inside the cluster",
                expected="host:port",
                got=address,
                remedy="run the coordinator on a node of the cluster and give the address of its head",
            )
        self._options = options or ClusterOptions()
        self._address = address or ""
        self._cluster = Cluster(workers, self._address, self._options)
        self._pool = Pool(
            workers,
            self._options.start_seconds,
            self._options.grace_seconds,
            worker_environment() if self._address else None,
        )
        self._placement = Placement(ray.put, self._options.placed_bytes)
        self._programs: OrderedDict[bytes, Loaded] = OrderedDict()
        self._requests = itertools.count(1)
        self._counters = _Counters()
        self._node = ""
        self._open = False

    @property
    def ready(self) -> bool:
        """See Backend.ready."""
        return self._open and any(info.alive for info in self._pool.infos())

    def workers(self) -> tuple[WorkerInfo, ...]:
        """See Backend.workers."""
        return self._pool.infos()

    def stats(self) -> BackendStats:
        """See Backend.stats."""
        return BackendStats(
            restarts=self._pool.restarts,
            retries=self._counters.retries,
            placed_bytes=self._counters.placed_bytes,
            extra={"requests": self._counters.requests, "kept_bytes": self._placement.kept_bytes},
        )

    async def start(self) -> None:
        """See Backend.start. Raises UnavailableError, with nothing left running."""
        await self._cluster.start()
        try:
            self._node = ray.get_runtime_context().get_node_id()
            await self._pool.start()
        except BaseException:
            await self.close()
            raise
        self._open = True

    async def close(self) -> None:
        """See Backend.close."""
        self._open = False
        await self._pool.close()
        self._programs.clear()
        await self._cluster.stop()

    async def run(self, program: Program, operands: Sequence[Operand], *, deadline: float) -> Outcome:
        """See Backend.run."""
        if not self._open:
            raise UnavailableError("the workers are not running", remedy="start the backend, or connect to another")
        loaded = self._loaded(program)
        running = Running(
            next(self._requests),
            loaded,
            operands,
            self._pool,
            self._placement,
            map_whole=self._maps_whole(),
            patience_seconds=self._options.start_seconds,
        )
        self._counters.requests += 1
        try:
            outcome = await running.run(deadline)
        finally:
            self._counters.retries += running.retries
            self._counters.placed_bytes += running.placed_bytes
            # What was dropped while this ran may have been taken up again by a call that was on its way.
            self._release(self._placement.stale(running.placed.lasting_refs()))
        return outcome

    async def adopt(self, digest: bytes, array: np.ndarray) -> np.ndarray:
        """See Backend.adopt."""
        try:
            ref = await asyncio.to_thread(self._placement.adopt, digest, array)
            shared: np.ndarray = await ref
        except Exception as error:
            raise translated(error) from error
        return shared

    def forget(self, digest: bytes) -> None:
        """See Backend.forget."""
        self._placement.forget(digest)
        self._release()

    def _release(self, stale: Sequence[Any] = ()) -> None:
        """Have the workers let go of what is placed no longer."""
        dropped = {*self._placement.take_dropped(), *stale}
        if dropped:
            self._pool.release([ref.hex() for ref in dropped])

    def _maps_whole(self) -> bool:
        if self._options.map_whole is not None:
            return self._options.map_whole
        return self._pool.nodes() <= {self._node}

    def _loaded(self, program: Program) -> Loaded:
        loaded = self._programs.get(program.key)
        if loaded is None:
            ranges = cut_ranges(program.plan, self._pool.size)
            loaded = self._programs[program.key] = Loaded(program.key, make_tasks(program.plan, ranges))
            while len(self._programs) > PROGRAMS_KEPT:
                self._programs.popitem(last=False)
        self._programs.move_to_end(program.key)
        return loaded
