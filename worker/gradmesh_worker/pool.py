"""The workers: brought up, watched, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, TypeAlias

import ray

from gradmesh_engine.backend import WorkerInfo
from gradmesh_engine.errors import UnavailableError
from gradmesh_worker.actor import Worker
from gradmesh_worker.calls import Call, Hello
from gradmesh_worker.scheduler import Joined, Left

log: Final = logging.getLogger("gradmesh.pool")

FIRST_BACKOFF_SECONDS: Final = 0.1
LONGEST_BACKOFF_SECONDS: Final = 10.0

SOUND_SECONDS: Final = 1.0
"""A worker that lived this long did not die of starting."""

Change: TypeAlias = "Joined | Left"


@dataclass
class _Slot:
    """One place for a worker; who fills it changes when workers die."""

    id: str
    actor: Any = None
    hello: Hello | None = None
    alive: bool = False
    running: int = 0
    completed: int = 0
    trouble: str = ""
    plans: set[bytes] = field(default_factory=set)
    held: set[str] = field(default_factory=set)


class Pool:
    """As many workers as asked for, each an actor on a core of its own. Lives on one event loop. Final.

    Args:
        count: number of workers.
        start_seconds: time a worker may take to come up.
        grace_seconds: time a worker may take to stop what was cancelled before it is replaced.
        environment: variables the workers' processes need beside those of the node they run on.
    """

    def __init__(
        self, count: int, start_seconds: float, grace_seconds: float, environment: dict[str, str] | None = None
    ) -> None:
        self._slots = {f"worker-{i}": _Slot(f"worker-{i}") for i in range(count)}
        self._start_seconds = start_seconds
        self._grace_seconds = grace_seconds
        self._environment = environment or {}
        self._actor_class: Any = None
        self._keepers: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._listeners: set[asyncio.Queue[Any]] = set()
        self._changed = asyncio.Event()
        self._turn = 0
        self.restarts = 0
        self.closed = False

    async def start(self) -> None:
        """Bring all workers up. Raises UnavailableError when none comes."""
        runtime = {"env_vars": self._environment} if self._environment else None
        remote: Any = ray.remote  # its stubs know no concurrency groups
        self._actor_class = remote(
            num_cpus=1,
            max_restarts=0,  # replaced here, where it is known at once
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            concurrency_groups={"control": 1, "watch": 1},
            runtime_env=runtime,
        )(Worker)
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in self._slots.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._start_seconds):
                while not all(slot.alive for slot in self._slots.values()):
                    self._changed.clear()
                    await self._changed.wait()
        if not self.alive():
            trouble = next((slot.trouble for slot in self._slots.values() if slot.trouble), "no answer")
            raise UnavailableError(
                f"no worker came up within {self._start_seconds:g} s: {trouble}",
                expected=f"{len(self._slots)} workers",
                remedy="check that the cluster has a free core for each worker",
            )

    async def close(self) -> None:
        """End all workers; what waits for them is told. Idempotent."""
        self.closed = True
        tasks = [*self._keepers, *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keepers = []
        for slot in self._slots.values():
            self._kill(slot.actor)
            slot.alive, slot.actor = False, None
            self._tell(Left(slot.id))

    # --- what is known of them ---

    @property
    def size(self) -> int:
        """Number of workers there should be."""
        return len(self._slots)

    def alive(self) -> tuple[str, ...]:
        """Workers that take tasks; those with least to do first, in turn."""
        names = [slot.id for slot in self._slots.values() if slot.alive]
        self._turn += 1
        turned = names[self._turn % len(names) :] + names[: self._turn % len(names)] if names else []
        if any(self._slots[name].running for name in names):
            return tuple(sorted(turned, key=lambda name: self._slots[name].running))
        # Nothing runs: always in the same order, so that data is found where it was.
        return tuple(names)

    def is_alive(self, worker: str) -> bool:
        """Whether a worker takes tasks."""
        return self._slots[worker].alive

    def nodes(self) -> frozenset[str]:
        """Ray nodes the workers live on."""
        return frozenset(slot.hello.node for slot in self._slots.values() if slot.alive and slot.hello)

    def infos(self) -> tuple[WorkerInfo, ...]:
        """The workers as last known."""
        return tuple(
            WorkerInfo(
                slot.id,
                slot.hello.pid if slot.hello else 0,
                slot.hello.host if slot.hello else "",
                slot.alive,
                slot.running > 0,
                slot.completed,
            )
            for slot in self._slots.values()
        )

    def listen(self, queue: asyncio.Queue[Any]) -> None:
        """Put a Joined or Left into the queue whenever a worker comes or goes."""
        self._listeners.add(queue)

    def unlisten(self, queue: asyncio.Queue[Any]) -> None:
        """Stop doing so."""
        self._listeners.discard(queue)

    # --- what they do ---

    def submit(self, worker: str, call: Call, arguments: Sequence[Any]) -> list[Any]:
        """Give a worker a task; returns the references of its report and of its results."""
        slot = self._slots[worker]
        refs = slot.actor.run.options(num_returns=1 + len(call.parts)).remote(call, *arguments)
        slot.running += 1
        return refs if call.parts else [refs]

    def returned(self, worker: str, *, well: bool) -> None:
        """A submitted task came to its end."""
        slot = self._slots[worker]
        slot.running -= 1
        slot.completed += well

    def knows(self, worker: str, plan_key: bytes) -> bool:
        """Whether a worker is thought to have a plan."""
        return plan_key in self._slots[worker].plans

    def holds(self, worker: str, name: str) -> bool:
        """Whether a worker is thought to hold an argument by name."""
        return name in self._slots[worker].held

    def learn(self, worker: str, call: Call, *, unknown: bool) -> None:
        """What a worker's answer to a call shows of what it has."""
        slot = self._slots[worker]
        if unknown:
            slot.plans.clear()
            slot.held.clear()
        else:
            slot.plans.add(call.plan_key)
            slot.held.update(bind.name for bind in call.binds if bind.name)

    def release(self, names: Sequence[str]) -> None:
        """Have the workers let go of arguments they hold by name."""
        for slot in self._slots.values():
            held = [name for name in names if name in slot.held]
            slot.held.difference_update(held)
            if held and slot.alive:
                slot.actor.release.options(concurrency_group="control").remote(held)

    def cancel(self, request: int, running: dict[asyncio.Task[None], str]) -> None:
        """Stop what runs for a request.

        Args:
            request: the request.
            running: for each task that waits for a worker's answer the worker.
        """
        if self.closed:
            for task in running:
                task.cancel()
            return
        for worker in set(running.values()):
            slot = self._slots[worker]
            if slot.alive:
                slot.actor.cancel.options(concurrency_group="control").remote(request)
        if running:
            task = asyncio.create_task(self._enforce(running))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _enforce(self, running: dict[asyncio.Task[None], str]) -> None:
        actors = {worker: self._slots[worker].actor for worker in running.values()}
        _, late = await asyncio.wait(running, timeout=self._grace_seconds)
        for worker in {running[task] for task in late}:
            if self._slots[worker].actor is actors[worker]:
                log.warning("%s does not stop what was cancelled; it is replaced", worker)
                self.replace(worker)

    def replace(self, worker: str) -> None:
        """End a worker that does not answer; another takes its place."""
        self._kill(self._slots[worker].actor)

    @staticmethod
    def _kill(actor: Any) -> None:
        if actor is not None:
            with contextlib.suppress(Exception):  # it may be gone, and Ray with it
                ray.kill(actor)

    async def _keep(self, slot: _Slot) -> None:
        """Fill a slot for ever."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            up = 0.0
            try:
                slot.actor = self._actor_class.remote()
                async with asyncio.timeout(self._start_seconds):
                    slot.hello = await slot.actor.hello.remote()
                slot.alive, slot.trouble, up = True, "", monotonic()
                slot.plans.clear()
                slot.held.clear()
                self._tell(Joined((slot.id,)))
                await slot.actor.watch.options(concurrency_group="watch").remote()
            except Exception as error:
                slot.trouble = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            self._kill(slot.actor)
            slot.actor = None
            if slot.alive:
                log.warning("%s (process %d) is gone: %s", slot.id, slot.hello.pid if slot.hello else 0, slot.trouble)
                slot.alive = False
                self.restarts += 1
                self._tell(Left(slot.id))
            if up and monotonic() - up > SOUND_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    def _tell(self, change: Change) -> None:
        self._changed.set()
        for queue in self._listeners:
            queue.put_nowait(change)
