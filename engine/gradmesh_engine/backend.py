"""The seam between the coordinator and whatever runs programs: in process, or Ray workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from gradmesh_engine.graph import TensorSpec

if TYPE_CHECKING:
    from gradmesh_engine.program import Program


@dataclass(frozen=True, slots=True)
class Operand:
    """One input of a program.

    Attributes:
        array: the value, C-contiguous and read-only.
        digest: the name of its content when it came as a blob, b"" when it travelled with the call. A
            backend may keep what it placed under a digest between calls; values without one change
            with every call.
    """

    array: np.ndarray
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A large result in consecutive parts along one dim, never assembled by the coordinator.

    Attributes:
        spec: shape and dtype of the whole.
        dim: the dim the parts follow each other along.
        parts: C-contiguous arrays whose lengths along `dim` add up to the whole's.
    """

    spec: TensorSpec
    dim: int
    parts: tuple[np.ndarray, ...]

    def runs(self) -> Iterator[np.ndarray]:
        """Flat views whose bytes, one after the other, are the whole's in C order."""
        outer = int(np.prod(self.spec.shape[: self.dim], dtype=np.int64))
        rows = [part.reshape(outer, -1) if part.size else None for part in self.parts]
        for row in range(outer):
            for part in rows:
                if part is not None:
                    yield part[row]

    def assemble(self) -> np.ndarray:
        """The whole in one new array; for results that are small after all."""
        return np.concatenate(self.parts, axis=self.dim)


Tensor: TypeAlias = "np.ndarray | Pieces"


@dataclass(frozen=True, slots=True)
class RangeRun:
    """One piece of work given to a worker, whether it came to its end or not.

    Attributes:
        worker: id of the worker.
        begin_seconds: when it was given, counted from the beginning of the run.
        seconds: from then until its result, or its loss, was known.
        busy_seconds: time the worker itself spent on it, 0.0 when it was lost.
        groups: first group and the group after the last; (0, 0) for work that is not split.
        lost: why it has to run again, "" when it came to its end.
    """

    worker: str
    begin_seconds: float
    seconds: float
    busy_seconds: float
    groups: tuple[int, int]
    lost: str = ""


@dataclass(frozen=True, slots=True)
class StageRun:
    """How one stage of a plan ran.

    Attributes:
        workers: ids of the workers that took part, in the order of their ranges.
        seconds: wall time of the stage, in seconds.
        retries: ranges that had to run again because a worker or an object was lost.
        ranges: the pieces of work it was divided into, in the order they ended.
    """

    workers: tuple[str, ...]
    seconds: float
    retries: int = 0
    ranges: tuple[RangeRun, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What running a program gave.

    Attributes:
        outputs: the program's outputs, in order: graph outputs, then gradients of the connected wrt.
        stages: one entry per stage of the plan.
        placed_bytes: input bytes that had to be moved to workers for this call; 0 when all was there.
    """

    outputs: Sequence[Tensor]
    stages: tuple[StageRun, ...] = ()
    placed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker as `gradmesh info` shows it.

    Attributes:
        id: name used in results' metadata.
        pid: its process id.
        node: name or address of the machine it runs on.
        alive: whether it is able to take work now.
        busy: whether a range is running on it now.
        completed: ranges it has finished since it started.
    """

    id: str
    pid: int
    node: str
    alive: bool = True
    busy: bool = False
    completed: int = 0


@dataclass(frozen=True)
class BackendStats:
    """Counters of a backend since it started.

    Attributes:
        restarts: workers started again after they died.
        retries: ranges that ran again.
        placed_bytes: input bytes moved to workers.
        extra: further numbers, by name.
    """

    restarts: int = 0
    retries: int = 0
    placed_bytes: int = 0
    extra: dict[str, float] = field(default_factory=dict)


class Backend(Protocol):
    """Runs programs. All methods are called on the coordinator's event loop and must not block it.

    A backend raises GradmeshError subclasses only: UnavailableError when no worker is left,
    DeadlineError when `deadline` passes, MemoryLimitError when workers cannot hold the data,
    BlobNotFoundError when content it adopted is lost (the client uploads it again), InternalError
    for a defect.
    """

    @property
    def ready(self) -> bool:
        """Whether a call to `run` now would find a worker. Drives the health service."""
        ...

    def workers(self) -> tuple[WorkerInfo, ...]:
        """The workers as last known; never waits for them."""
        ...

    def stats(self) -> BackendStats:
        """Counters since the start."""
        ...

    async def start(self) -> None:
        """Bring the workers up; returns when the first request can be served."""
        ...

    async def run(self, program: Program, operands: Sequence[Operand], *, deadline: float) -> Outcome:
        """Run `program` on one operand per program input.

        `deadline` is on the clock of `time.monotonic()`. When the awaiting task is cancelled, or the
        deadline passes, the workers stop as soon as they can and are free for the next call. Results
        larger than a few MiB may come as Pieces.
        """
        ...

    async def adopt(self, digest: bytes, array: np.ndarray) -> np.ndarray:
        """Take over a large blob: returns an array of the same content, in memory shared with the
        workers where there is such memory, so that the coordinator can drop its own copy.

        Called once per blob after its upload was verified, before it is used.
        """
        ...

    def forget(self, digest: bytes) -> None:
        """Drop everything placed under a digest; called when the blob store evicts it."""
        ...

    async def close(self) -> None:
        """Stop all workers and leave no process behind. Idempotent."""
        ...
