"""What travels between the coordinator and a worker, besides arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from gradmesh_engine.errors import GradmeshError
from gradmesh_worker.tasks import Range


@dataclass(frozen=True, slots=True)
class Bind:
    """What one argument of a call is.

    Attributes:
        kind: "values" is a tuple of complete arrays, "array" one of them, "piece" part of a split
            value, "gather" one of all its pieces in order, "subtrees" a list of them.
        values: value numbers.
        start: for "piece" where it begins, in elements of the value's split dim.
        name: under this the worker keeps the argument for later calls, "" when it does not.
        held: the worker is thought to have it by that name; it is not sent.
    """

    kind: Literal["values", "array", "piece", "gather", "subtrees"]
    values: tuple[int, ...] = ()
    start: int = 0
    name: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One task for a worker.

    Attributes:
        plan_key: names the plan among those a worker keeps.
        plan: a list of the reference to it, or None when the worker is thought to have it.
        request: names the request, for cancelling.
        kind: as in `tasks.Task`.
        stage: the stage.
        groups: first group and the group after the last.
        binds: what each argument is.
        parts: value numbers of each result object; () stands for subtrees.
        whole_first: as in `tasks.Task`.
    """

    plan_key: bytes
    plan: list[Any] | None
    request: int
    kind: Literal["whole", "groups", "plan"]
    stage: int
    groups: Range
    binds: tuple[Bind, ...]
    parts: tuple[tuple[int, ...], ...]
    whole_first: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The first result of every call, small.

    Attributes:
        seconds: time spent in the worker, in seconds.
        error: what went wrong, None when nothing did; the other results are None then.
        unknown: something was not sent that the worker does not have; nothing was run.
    """

    seconds: float
    error: GradmeshError | None = None
    unknown: bool = False

    @property
    def well(self) -> bool:
        """Whether the other results are there."""
        return self.error is None and not self.unknown


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says of itself.

    Attributes:
        pid: process id.
        node: id of its Ray node.
        host: name of its machine.
        blas: OpenBLAS kernels and threads, "" when unknown.
        settings: versions the bits depend on.
    """

    pid: int
    node: str
    host: str
    blas: str = ""
    settings: dict[str, str] = field(default_factory=dict)
