"""What one request to differentiate is, and what comes back: the seam every session implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from gradmesh_engine.graph import Graph


class Query(NamedTuple):  # Part of keys: tuples are hashed and compared without a call of ours.
    """What is asked of a graph besides its outputs.

    Attributes:
        of: value numbers to differentiate.
        wrt: value numbers to differentiate with respect to (inputs or intermediate values).
        given: for each of `of` whether a cotangent is given; without one it must have one element
            and its cotangent is 1.
        segments: nothing, or for each node of the graph the number of the segment it is in, minus that number for
            derivatives of its nodes, 0 for none. What is made inside a segment is not kept between stages, but
            computed again where it is needed later, if that takes less memory. Changes no result.
    """

    of: tuple[int, ...] = ()
    wrt: tuple[int, ...] = ()
    given: tuple[bool, ...] = ()
    segments: tuple[int, ...] = ()


@dataclass(frozen=True)
class Request:
    """One evaluation of a graph. Arrays are C-contiguous and read-only by convention.

    Attributes:
        graph: what to compute; `graph.outputs` come back as values.
        inputs: one array per graph input.
        query: the gradients asked for.
        cotangents: one array per True in `query.given`, in order.
    """

    graph: Graph
    inputs: tuple[np.ndarray, ...]
    query: Query = field(default_factory=Query)
    cotangents: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class GradFn:
    """Metadata of one differentiable node of the graph.

    Attributes:
        name: class name as PyTorch's ("AddBackward0").
        node: index of the node in the graph.
        next_functions: for each operand the index into the list of GradFn of the one behind it, -1
            for a leaf (AccumulateGrad), -2 for an operand without gradient.
        shape: shape of the node's first output.
        dtype: its dtype's name.
        source: the user's line.
        stages: indices of the plan's stages that ran it.
        workers: ids of the workers that ran it ("local" in process).
        seconds: time spent in its kernels, 0.0 when it was not measured.
    """

    name: str
    node: int
    next_functions: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    source: str = ""
    stages: tuple[int, ...] = ()
    workers: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Stats:
    """How a request ran.

    Attributes:
        cache: "hit", or why the plan cache missed ("new graph", "new shapes: …", "evicted").
        where: "local", "inline" or "workers".
        stages: number of stages.
        blocks: number of blocks.
        groups: number of groups.
        workers: number of workers that took part.
        seconds: wall time by phase ("plan", "run", …), in seconds.
        bytes: byte counts by direction ("sent", "received", "placed").
        peak_bytes: planned peak beyond inputs and results.
        flops: planned floating point operations.
    """

    cache: str = ""
    where: str = "local"
    stages: int = 1
    blocks: int = 1
    groups: int = 1
    workers: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    peak_bytes: int = 0
    flops: float = 0.0


@dataclass(frozen=True)
class Result:
    """What a session returns.

    Attributes:
        outputs: one array per graph output.
        gradients: one per `query.wrt`; None where no path leads to it.
        grad_fns: metadata of the graph's differentiable nodes, in node order; empty unless asked for.
        stats: how the request ran.
    """

    outputs: tuple[np.ndarray, ...]
    gradients: tuple[np.ndarray | None, ...]
    grad_fns: tuple[GradFn, ...] = ()
    stats: Stats = field(default_factory=Stats)


class Session(Protocol):
    """Where requests run: in process, or on a service."""

    def run(self, request: Request) -> Result:
        """Evaluate. Raises GradmeshError subclasses only."""
        ...

    def explain(self, request: Request) -> str:
        """The plan as text, and where it would run. Nothing is computed."""
        ...

    def close(self) -> None:
        """Give back what the session holds. Idempotent."""
        ...
