"""From a user's graph and what is asked of it to something that runs; and the cache of such programs."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from gradmesh_engine.blas import single_threaded
from gradmesh_engine.builder import Builder, V
from gradmesh_engine.check import check
from gradmesh_engine.differentiate import differentiate, seed_cotangent
from gradmesh_engine.errors import InputMismatchError, InvalidGraphError, MissingInputError
from gradmesh_engine.execute import StageRunner, dense, run_plan
from gradmesh_engine.graph import DIGEST_BYTES, Graph, TensorSpec
from gradmesh_engine.lower import lower_into
from gradmesh_engine.ops import lookup
from gradmesh_engine.plan import Plan, plan
from gradmesh_engine.session import GradFn, Query, Request, Result
from gradmesh_engine.simplify import simplify


def program_key(graph: Graph, query: Query) -> bytes:
    """Names a program: 16 bytes over the graph's digest and the query."""
    hasher = hashlib.blake2b(graph.digest, digest_size=DIGEST_BYTES)
    hasher.update(repr((query.of, query.wrt, query.given, query.segments)).encode())
    return hasher.digest()


@dataclass(frozen=True)
class Program:
    """A planned request. Safe to run from several threads at once.

    Attributes:
        key: its name.
        graph: the user's graph.
        query: what is asked of it.
        plan: how it runs; its inputs are the graph's and the given cotangents, its outputs the
            graph's and the gradients of the connected `wrt`.
        connected: for each `wrt` whether a path leads to it.
    """

    key: bytes
    graph: Graph
    query: Query
    plan: Plan
    connected: tuple[bool, ...]
    _idle: list[list[StageRunner]] = field(default_factory=list, repr=False, compare=False)

    def run(
        self, arrays: Sequence[np.ndarray], checkpoint: Callable[[], None] | None = None, threads: int = 1
    ) -> list[np.ndarray]:
        """Run in this thread and up to `threads` - 1 others; the result is the same with any number.

        Args:
            arrays: the graph's inputs, then the given cotangents; C-contiguous.
            checkpoint: called now and then; may raise to stop the run.
            threads: threads that may take part; only large plans use more than one.

        Returns:
            the graph's outputs, then the connected gradients.
        """
        plan = self.plan
        if (
            plan.alone is not None and not plan.uses_blas
        ):  # Small ones: what is looked at on the way is half their time.
            mine = self._runners()
            outputs = run_plan(plan, arrays, (mine,), checkpoint)
            self._idle.append(mine)
            return outputs
        runners = [self._runners() for _ in range(min(threads, self.plan.parallel))]
        with single_threaded() if self.plan.uses_blas else nullcontext():
            outputs = run_plan(self.plan, arrays, runners, checkpoint)
        self._idle.extend(reversed(runners))
        return outputs

    def _runners(self) -> list[StageRunner]:
        try:
            return self._idle.pop()
        except IndexError:
            return [StageRunner(self.plan, i) for i in range(len(self.plan.stages))]

    def split_result(self, outputs: Sequence[np.ndarray]) -> Result:
        """Sort what a run returned into outputs and gradients."""
        count = len(self.graph.outputs)
        gradients = iter(outputs[count:])
        return Result(tuple(outputs[:count]), tuple(next(gradients) if c else None for c in self.connected))

    @property
    def input_specs(self) -> tuple[TensorSpec, ...]:
        """Specs of the arrays a run takes."""
        return self.plan.graph.inputs

    def seconds(self) -> tuple[float | None, ...]:
        """How long each stage took when it ran last, in seconds; None where it has not run yet."""
        for runners in self._idle[-1:]:
            return tuple(runner.seconds for runner in runners)
        return (None,) * len(self.plan.stages)

    def source(self) -> str:
        """The generated source of every stage that has run."""
        return "\n\n".join(r.source() for runners in self._idle[:1] for r in runners)


def arrays_of(program: Program, request: Request) -> list[np.ndarray]:
    """The arrays to run a request with, checked against the graph.

    Raises:
        MissingInputError: an input or cotangent was not given.
        InputMismatchError: one has another shape or dtype than declared.
    """
    given = [*request.inputs, *request.cotangents]
    specs = program.input_specs
    if len(given) != len(specs):
        raise MissingInputError(
            "inputs are missing" if len(given) < len(specs) else "more inputs than the graph has",
            expected=f"{len(program.graph.inputs)} inputs and {sum(request.query.given)} cotangents",
            got=f"{len(request.inputs)} inputs and {len(request.cotangents)} cotangents",
            remedy="give one array per declared input, in order",
        )
    arrays = []
    for number, (array, spec) in enumerate(zip(given, specs, strict=True)):
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise InputMismatchError(
                f"input {number} is not what the graph declares",
                expected=str(spec),
                got=str(TensorSpec(array.shape, array.dtype)),
                remedy="send the declared shape and dtype",
            )
        arrays.append(dense(array))
    return arrays


def check_query(graph: Graph, query: Query) -> None:
    """Raises InvalidGraphError when a query does not fit its graph."""
    count = len(graph.specs)
    for value in (*query.of, *query.wrt):
        if not 0 <= value < count:
            raise InvalidGraphError(
                f"value {value} is not in the graph", expected=f"0 to {count - 1}", got=str(value), remedy="mend it"
            )
    if len(query.given) != len(query.of):
        raise InvalidGraphError(
            "say for every differentiated value whether its cotangent is given",
            expected=f"{len(query.of)} flags",
            got=str(len(query.given)),
        )
    if query.segments and len(query.segments) != len(graph.nodes):
        raise InvalidGraphError(
            "say for every node, or for none, which segment it is in",
            expected=f"{len(graph.nodes)} numbers",
            got=str(len(query.segments)),
        )


def compile_query(graph: Graph, query: Query = Query()) -> Program:  # noqa: B008 (frozen)
    """Check, lower, differentiate, simplify and plan.

    Raises:
        InvalidGraphError: or one of its subclasses, placed at the node.
    """
    check(graph)
    check_query(graph, query)
    specs = graph.specs
    seeds = [specs[v] for v, given in zip(query.of, query.given, strict=True) if given]
    builder = Builder([*graph.inputs, *seeds])
    # Handles number the graph's inputs alone; the cotangents' inputs follow them.
    first_seed = len(graph.inputs)
    inner = frozenset(v for v in query.wrt if v >= first_seed)
    values = lower_into(builder, graph, inner, query.segments)
    gradients: list[V | None] = []
    if query.wrt:
        seed = iter(range(first_seed, first_seed + len(seeds)))
        of = [values[v] for v in query.of]
        cotangents = [
            builder.value(next(seed)) if given else seed_cotangent(v) for v, given in zip(of, query.given, strict=True)
        ]
        gradients = differentiate(builder, of, [values[v] for v in query.wrt], cotangents)
    connected = [g for g in gradients if g is not None]
    joint = builder.build([*[values[v] for v in graph.outputs], *connected], graph.sources)
    return Program(
        program_key(graph, query), graph, query, plan(simplify(joint)), tuple(g is not None for g in gradients)
    )


def grad_fns(graph: Graph, leaves: frozenset[int] | None = None) -> tuple[GradFn, ...]:
    """Metadata of the differentiable nodes of a user's graph.

    Args:
        graph: the graph.
        leaves: inputs that require grad; all with a differentiable dtype when None.
    """
    from gradmesh_engine.dtypes import is_differentiable

    inputs = range(len(graph.inputs))
    wanted = frozenset(i for i in inputs if is_differentiable(graph.inputs[i].dtype)) if leaves is None else leaves
    behind: list[int] = [-1 if i in wanted else -2 for i in inputs]  # per value: a GradFn, a leaf or nothing
    found: list[GradFn] = []
    specs = graph.specs
    for index, node in enumerate(graph.nodes):
        op = lookup(node.op)
        operands = tuple(specs[i] for i in node.inputs)
        name = op.grad_name_for(operands, dict(node.attrs)) if op.differentiable else ""
        following = tuple(behind[i] for i in node.inputs)
        if name and node.outputs and any(f != -2 for f in following):
            spec = node.outputs[0]
            found.append(GradFn(name, index, following, spec.shape, spec.dtype.name, graph.source(index)))
            mine = len(found) - 1
            behind.extend(mine if is_differentiable(spec.dtype) else -2 for spec in node.outputs)
        else:
            behind.extend([-2] * len(node.outputs))
    return tuple(found)


# Nodes of the graphs that are kept to say why a program was missed.
_STRUCTURE_NODES: Final = 200_000


class ProgramCache:
    """Programs by key, least recently used dropped first. Thread-safe; says why it missed.

    Args:
        capacity: number of programs kept.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._programs: OrderedDict[tuple[bytes, Query], Program] = OrderedDict()
        self._dropped: set[tuple[bytes, Query]] = set()
        self._structures: dict[bytes, Graph] = {}
        self._structure_nodes = 0
        self._lock = Lock()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._programs)

    def get(self, graph: Graph, query: Query) -> tuple[Program, str]:
        """The program, and "hit" or the reason it had to be made.

        Raises:
            InvalidGraphError: the graph or query is not legal; nothing is kept of it.
        """
        key = (graph.digest, query)
        with self._lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
                self.hits += 1
                return program, "hit"
        program = compile_query(graph, query)
        with self._lock:
            self.misses += 1
            reason = self._reason(program)
            self._programs[key] = program
            self._structures[_structure(graph)] = graph
            self._structure_nodes += len(graph.nodes)
            while len(self._programs) > self._capacity:
                dropped, _ = self._programs.popitem(last=False)
                self._dropped.add(dropped)
            if (
                len(self._dropped) > 16 * self._capacity
                or len(self._structures) > 16 * self._capacity
                or self._structure_nodes > _STRUCTURE_NODES
            ):
                self._dropped.clear()
                self._structures.clear()
                self._structure_nodes = 0
        return program, reason

    def forget(self, program: Program) -> None:
        """Drop a program, if it is there."""
        with self._lock:
            self._programs.pop((program.graph.digest, program.query), None)

    def _reason(self, program: Program) -> str:
        if (program.graph.digest, program.query) in self._dropped:
            return "evicted: more programs in use than the cache keeps"
        known = self._structures.get(_structure(program.graph))
        if known is None:
            return "new graph"
        if known.digest == program.graph.digest:
            return "new query: other outputs, gradients or segments of a known graph"
        for number, (old, new) in enumerate(zip(known.specs, program.graph.specs, strict=True)):
            if old != new:
                return f"new shapes: value {number} was {old}, now {new}"
        return "new attributes or outputs of a known structure"


def _structure(graph: Graph) -> bytes:
    """Names ops and wiring alone."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    hasher.update(repr((len(graph.inputs), [(node.op, node.inputs) for node in graph.nodes])).encode())
    return hasher.digest()
