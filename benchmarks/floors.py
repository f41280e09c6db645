"""What each workload takes at least, made of calls like ours, beside what it takes: `floors.py options product`.

The floor of a step is the sum of what its plan's calls take by themselves, measured here and now on one core:

- products: the FLOPs over the rate of `matmul` on contiguous matrices of the block's shapes;
- pointwise: the same ufuncs on contiguous arrays of a block's number of elements, whatever the plan's layout;
- others (sums, gathers, sorts): the plan's own kernel on a block's operands, over and over;
- memory: what reading the inputs once and writing the results into new memory takes beyond the calls that do it;
- recording: a bare Python operator that makes an object, for each operation the step records.

Views, moving results between stages, planning and what Python does between calls count nothing.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any, Final

from show import Watched, wrap_kernels  # first: it holds BLAS to one thread

import gradmesh as gm
import numpy as np
from gradmesh_engine.graph import Node, TensorSpec
from gradmesh_engine.local import LocalSession
from gradmesh_engine.ops import Site, primitive_of
from gradmesh_engine.ops.contract import matmul_sizes
from gradmesh_engine.ops.pointwise import pointwise_axes
from gradmesh_engine.plan.types import Plan
from gradmesh_engine.program import Program, arrays_of, compile_query
from gradmesh_engine.session import Request
from suite import workload_names
from tensors import step_of
from workloads import WORKLOADS

KINDS: Final = ("products", "pointwise", "others", "memory", "recording")

_TURN_S: Final = 2e-3
"""How long a call is repeated for; the quickest counts."""


@dataclass(frozen=True)
class Call:
    """A call of a plan: a node, in a block or once.

    Attributes:
        node: the node.
        value: the number of its result.
        times: how often it is called, in whole blocks.
        rows: rows of a block; 0 where it runs once.
    """

    node: Node
    value: int
    times: float
    rows: int


def quickest(call: Callable[[], Any]) -> float:
    """Seconds of the quickest of some calls."""
    clock = time.perf_counter
    best, stop, turns = math.inf, clock() + _TURN_S, 0
    while turns < 3 or clock() < stop:
        begin = clock()
        call()
        best = min(best, clock() - begin)
        turns += 1
    return best


def calls_of(plan: Plan) -> Iterator[Call]:
    """The calls of a plan, in order, without views and what ufuncs broadcast by themselves."""
    first = len(plan.graph.inputs)
    for stage in plan.stages:
        for indices, split in ((stage.whole, None), (stage.body, plan.split)):
            for index in indices:
                node = plan.graph.nodes[index]
                if node.op != "expand" and primitive_of(node.op).view is None:
                    rows = 0 if split is None else split.block
                    yield Call(node, first + index, 1.0 if split is None else split.length / split.block, rows)


def _specs(plan: Plan, call: Call) -> tuple[list[TensorSpec], TensorSpec]:
    every = (*call.node.inputs, call.value)
    *ins, out = [plan.block_spec(v, call.rows) if call.rows else plan.graph.specs[v] for v in every]
    return ins, out


def flat_seconds(node: Node, out: TensorSpec, arguments: Sequence[Any]) -> float:
    """A pointwise kernel on the same numbers, laid out in one row."""
    *ins, _ = arguments
    arrays = [np.broadcast_to(array, out.shape).flatten() for array in ins]
    result = np.empty(out.size, out.dtype)
    kernel = primitive_of(node.op).kernel
    assert kernel is not None
    site = Site(
        tuple(TensorSpec(a.shape, a.dtype) for a in arrays), TensorSpec((out.size,), out.dtype), dict(node.attrs)
    )
    run = kernel(site)
    return quickest(lambda: run(*arrays, result))


@cache
def product_seconds(sizes: tuple[int, int, int, int], dtype: np.dtype) -> float:
    """`matmul` of a batch of contiguous matrices."""
    batch, rows, summed, columns = sizes
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(batch, rows, summed)).astype(dtype), rng.normal(size=(batch, summed, columns)).astype(dtype)
    out = np.empty((batch, rows, columns), dtype)
    if batch == 1:
        a, b, out = a[0], b[0], out[0]
    return quickest(lambda: np.matmul(a, b, out=out))


@cache
def read_seconds_per_byte() -> float:
    """Reading memory in order, by sums of products: the quickest that NumPy has."""
    array = np.ones(1 << 25, np.float32)
    return quickest(lambda: np.dot(array, array)) / array.nbytes


@cache
def write_seconds(nbytes: int) -> float:
    """Writing so many bytes into new memory."""
    return quickest(lambda: np.empty(nbytes, np.uint8).fill(0))


@cache
def operator_seconds() -> float:
    """A Python operator that makes an object which holds its operands."""

    class Recorded:
        __slots__ = ("op", "operands")

        def __init__(self, op: str, operands: tuple[Any, ...]) -> None:
            self.op, self.operands = op, operands

        def __mul__(self, other: Any) -> Recorded:
            return Recorded("mul", (self, other))

    one = Recorded("", ())

    def thousand() -> None:
        for _ in range(1000):
            one * one

    return quickest(thousand) / 1000


@dataclass(frozen=True)
class Captured:
    """A kernel, and copies of what it was first called with; the last array is its result."""

    kernel: Callable[..., Any]
    arguments: list[Any]

    def __call__(self) -> None:
        """Call it again."""
        self.kernel(*self.arguments)


def copied(argument: Any) -> Any:
    """A copy of an array that lies the same way, and is one value along the dims where the array is."""
    if not isinstance(argument, np.ndarray):
        return argument
    if 0 not in argument.strides:
        return argument.copy("K")
    single = tuple(slice(0, 1) if step == 0 else slice(None) for step in argument.strides)
    return np.broadcast_to(argument[single].copy("K"), argument.shape)


def captured(program: Program, arrays: list[np.ndarray]) -> dict[int, Captured]:
    """For each value the call that makes it."""
    program.run(arrays)
    found: dict[int, Captured] = {}

    def watch(kernel: Callable[..., Any], value: int) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if value not in found:
                found[value] = Captured(kernel, [copied(a) for a in arguments])
            return kernel(*arguments)

        return run

    wrap_kernels(program, watch)
    program.run(arrays)
    return found


def request_floor(request: Request) -> dict[str, float]:
    """Seconds by kind of one request."""
    program = compile_query(request.graph, request.query)
    plan = program.plan
    own = captured(program, arrays_of(program, request))
    unread, outputs = set(range(len(plan.graph.inputs))), set(plan.graph.outputs)
    roots: dict[int, int] = {}
    for value, node in zip(range(len(unread), len(plan.graph.specs)), plan.graph.nodes, strict=True):
        viewed = node.inputs and (node.op == "expand" or primitive_of(node.op).view is not None)
        roots[value] = roots.get(node.inputs[0], node.inputs[0]) if viewed else value
    kept = {roots.get(v, v) for v in outputs}
    seconds = dict.fromkeys(KINDS, 0.0)
    for call in calls_of(plan):
        ins, out = _specs(plan, call)
        op = primitive_of(call.node.op)
        if call.value not in own:  # what is known before a run is made with the code
            continue
        each = quickest(own[call.value])
        kind = "others"
        if call.node.op == "contract":
            kind = "products"
            each = min(each, product_seconds(matmul_sizes(tuple(ins), str(call.node.attr("spec"))), out.dtype))
        elif op.axes is pointwise_axes and not op.positional and out.size:
            kind = "pointwise"
            each = min(each, flat_seconds(call.node, out, own[call.value].arguments))
        seconds[kind] += each * call.times
        reads = {roots.get(v, v) for v in call.node.inputs} & unread
        unread -= reads
        moving = sum(plan.graph.specs[v].nbytes for v in reads) * read_seconds_per_byte()
        if call.value in kept:
            kept.discard(call.value)
            moving += write_seconds(plan.graph.specs[call.value].nbytes)
        seconds["memory"] += max(0.0, moving - each * call.times)
    seconds["recording"] += len(request.graph.nodes) * operator_seconds()
    return seconds


class Remembering(Watched):
    """A session that remembers the requests of a step."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.requests: list[Request] = []

    def run(self, request: Request) -> Any:
        """Evaluate."""
        self.requests.append(request)
        return super().run(request)


def measure(name: str, size: str, turns: int) -> tuple[float, dict[str, float]]:
    """Median seconds of a step, and its floor's seconds by kind."""
    session = Remembering()
    gm.set_default_session(session)
    workload = WORKLOADS[name]
    step = step_of(gm, name, workload.kind, workload.inputs(size))
    for _ in range(4):
        session.requests.clear()
        step()
    requests = list(session.requests)
    gm.set_default_session(LocalSession(threads=1))
    for _ in range(3):
        step()
    found: list[float] = []
    clock = time.perf_counter
    stop = clock() + turns * 0.02
    while len(found) < turns or clock() < stop:
        begin = clock()
        step()
        found.append(clock() - begin)
    floors = [request_floor(request) for request in requests]
    return statistics.median(found), {kind: sum(floor[kind] for floor in floors) for kind in KINDS}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="just these")
    parser.add_argument("--size", action="append", choices=["small", "large"], help="just this size; else large")
    parser.add_argument("--turns", type=int, default=9, help="steps measured, at least")
    options = parser.parse_args()
    print(f"{'one core, ms':22}{'step':>9}{'floor':>9}{'step / floor':>14}  " + "".join(f"{k:>11}" for k in KINDS))
    jobs = [(name, size) for name in workload_names(options.workloads) for size in options.size or ["large"]]
    # A process for each, since memory that another has freed is quicker than new memory.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        found = pool.map(measure, *zip(*jobs, strict=True), [options.turns] * len(jobs))
        for (name, size), (seconds, parts) in zip(jobs, found, strict=True):
            floor = sum(parts.values())
            row = f"{seconds * 1e3:>9.3g}{floor * 1e3:>9.3g}{seconds / floor:>14.2f}  "
            print(f"{name + ' ' + size:22}{row}" + "".join(f"{parts[k] * 1e3:>11.3g}" for k in KINDS), flush=True)


if __name__ == "__main__":
    main()
