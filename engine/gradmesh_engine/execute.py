"""Run stages: a stage's nodes become straight-line NumPy calls on buffers allocated once.

The code of a block of a given number of rows is generated as Python source: a line per node, kernels
and buffers bound by name. Nothing but names and integers made here goes into the source. Blocks of
the same number of rows run the same calls on the same shapes and strides wherever they run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any, Final

import numpy as np

from gradmesh_engine.arithmetic import ieee
from gradmesh_engine.combine import COMBINERS, Accumulator, Subtree, finish
from gradmesh_engine.dtypes import OWN
from gradmesh_engine.errors import GradmeshError, InternalError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.memory import ALIGNMENT, empty, maker
from gradmesh_engine.ops import Primitive, Scratch, Site, primitive_of
from gradmesh_engine.plan.types import Plan, Slot, Stage
from gradmesh_engine.threads import over_groups

STATIC_BYTES: Final = 4 << 20
"""Whole nodes keep their buffers between runs when those are no larger than this together, as blocks' are."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a split value.

    Attributes:
        array: C-contiguous elements start, start+1, … of the value's split dim.
        start: where the part begins, in elements of that dim.
    """

    array: np.ndarray
    start: int


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What a run of consecutive groups gives.

    Attributes:
        partials: complete aligned subtrees, in order.
        stores: per stored value the elements of exactly these groups.
    """

    partials: list[Subtree]
    stores: dict[int, np.ndarray]


def dense(array: np.ndarray) -> np.ndarray:
    """The array itself when it lies in C order, at addresses its dtype may have, else a copy that does.

    NumPy leaves BLAS, and with it the same bits, for arrays at other addresses.
    """
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else array.copy("C")


class _Slabs:
    """Buffers handed out and taken back; each is as large as its largest use."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self.total = 0

    def take(self, spec: TensorSpec) -> tuple[np.ndarray, np.ndarray]:
        """A slab of at least the needed bytes, and the array on it."""
        need = -(-max(spec.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        at, size = -1, 0
        for index, slab in enumerate(self._free):
            have = slab.nbytes
            if have >= need and (at < 0 or have < size):
                at, size = index, have
                if have == need:
                    break
        if at >= 0:
            best = self._free.pop(at)
        else:
            best = empty(TensorSpec((need,), np.dtype(np.uint8)))
            self.total += need
        return best, _on(best, spec)

    def give(self, slab: np.ndarray) -> None:
        """Take a slab back."""
        self._free.append(slab)


def _on(slab: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """The array at the beginning of a slab."""
    return np.ndarray(spec.shape, spec.dtype, slab)


@lru_cache(maxsize=4096)
def _shape_only(spec: TensorSpec) -> np.ndarray:
    """An array with C-order strides and no memory of its own; never read or written."""
    strides = np.empty(spec.ndim, np.int64)
    step = spec.dtype.itemsize
    for i in range(spec.ndim - 1, -1, -1):
        strides[i] = step
        step *= max(spec.shape[i], 1)
    base = np.empty(1, spec.dtype)
    return np.lib.stride_tricks.as_strided(base, spec.shape, tuple(int(s) for s in strides), writeable=False)


def _kernel(op: Primitive, site: Site) -> Callable[..., Any]:
    if op.kernel is None:
        raise InternalError(f"{op.name} has no kernel")
    return op.kernel(site)


class _Code:
    """Source under construction, with the namespace it runs in."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        self.lines: list[str] = []
        self.nodes: dict[int, int] = {}

    def line(self, text: str, node: int = -1) -> None:
        self.lines.append(text)
        if node >= 0:
            self.nodes[len(self.lines)] = node

    def bind(self, name: str, thing: Any) -> str:
        self.namespace[name] = thing
        return name

    def compile(self, name: str) -> Any:
        exec(compile("\n".join(self.lines), "<stage>", "exec"), self.namespace)
        return self.namespace[name]

    def locate(self, error: BaseException) -> int:
        """The node whose line raised, or -1."""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<stage>" and trace.tb_lineno in self.nodes:
                return self.nodes[trace.tb_lineno]
            trace = trace.tb_next
        return -1


class _Emitter:
    """Emits the calls of a list of nodes; shared by blocks and whole nodes."""

    def __init__(self, plan: Plan, nodes: Sequence[int], rows: int, keep: set[int]) -> None:
        self.plan = plan
        self.nodes = nodes
        self.rows = rows
        self.keep = keep
        self.first = len(plan.graph.inputs)
        self.code = _Code()
        self.slabs = _Slabs()
        self.scratch = Scratch()
        self.like: dict[int, np.ndarray] = {}  # strides of every value
        self.static: dict[int, np.ndarray] = {}  # values whose array is known now
        self.setup: list[tuple[str, int]] = []  # lines run once per run, with their node
        self.once: set[int] = set()  # values bound once per run
        self.root: dict[int, int] = {}
        self.slab: dict[int, np.ndarray] = {}
        self.fresh: set[int] = set()  # values that get new memory at each run
        self.viewed: dict[int, int] = {}  # of what each value is a view, if every view can be one
        self.last_use = self._last_uses()
        self.kernels: dict[int, Callable[..., Any]] = {}
        self.broadcast: dict[int, int] = {}  # expanded values no one needs as such, with what they expand

    def prepare(self) -> None:
        """Make the kernels; ufuncs broadcast by themselves, so what only they read is not expanded."""
        graph = self.plan.graph
        as_such = set(self.keep)
        for index in self.nodes:
            node = graph.nodes[index]
            op = primitive_of(node.op)
            if op.view is None:
                self.kernels[index] = _kernel(op, self.site(index))
            if not isinstance(self.kernels.get(index), np.ufunc):
                as_such.update(node.inputs)
        for index in self.nodes:
            if graph.nodes[index].op == "expand" and self.first + index not in as_such:
                self.broadcast[self.first + index] = graph.nodes[index].inputs[0]

    def _views(self, index: int) -> bool:
        return primitive_of(self.plan.graph.nodes[index].op).view is not None

    def _last_uses(self) -> dict[int, int]:
        graph = self.plan.graph
        root = self.viewed
        last: dict[int, int] = {}
        for step, index in enumerate(self.nodes):
            node = graph.nodes[index]
            value = self.first + index
            source = node.inputs[0] if node.inputs and self._views(index) else value
            root[value] = root.get(source, source)
            for i in node.inputs:
                last[root.get(i, i)] = step
        for value in self.keep:
            last[root.get(value, value)] = len(self.nodes)
        # A view may turn out to need a copy, whose memory then lives as long as what it was to be a view of.
        for value, source in root.items():
            last.setdefault(value, last.get(source, -1))
        return last

    def site(self, index: int) -> Site:
        node = self.plan.graph.nodes[index]
        value = self.first + index
        ins = tuple(self.local(i) for i in node.inputs)
        dim = self.plan.dims[value] if self.rows else None
        length = 0 if dim is None else self.plan.graph.specs[value].shape[dim]
        same = len({self.viewed.get(i, i) for i in node.inputs}) == 1
        return Site(ins, self.local(value), dict(node.attrs), dim, length, self.scratch, same)

    def local(self, value: int) -> TensorSpec:
        whole = not self.rows or value in self.whole_reads
        spec = self.plan.graph.specs[value] if whole else self.plan.block_spec(value, self.rows)
        own = OWN[spec.dtype]
        return spec if spec.dtype is own else TensorSpec(spec.shape, own)

    whole_reads: frozenset[int] = frozenset()

    def name(self, value: int) -> str:
        if value in self.static:
            return self.code.bind(f"v{value}", self.static[value])
        return f"v{value}"

    def kernel(self, index: int) -> Callable[..., Any]:
        """The kernel of a node; that of a view which has to copy is made now."""
        if index not in self.kernels:
            self.kernels[index] = _kernel(primitive_of(self.plan.graph.nodes[index].op), self.site(index))
        return self.kernels[index]

    def read(self, value: int, *, once: bool) -> None:
        """Declare a value made outside; contiguous."""
        self.like[value] = _shape_only(self.local(value))
        self.root[value] = value
        if once:
            self.once.add(value)

    def view(self, index: int, step: int) -> bool:
        """Emit a view; False when it cannot be one."""
        node = self.plan.graph.nodes[index]
        op = primitive_of(node.op)
        assert op.view is not None
        value = self.first + index
        if value in self.broadcast:
            source = node.inputs[0]
            self.broadcast[value] = self.broadcast.get(source, source)
            self.root[value] = self.root.get(source, source)
            return True
        make = op.view(self.site(index))
        try:
            like = make(*[self.like[i] for i in node.inputs])
        except ValueError:
            if op.kernel is None:
                raise
            return False
        self.like[value] = like
        source = node.inputs[0] if node.inputs else value
        self.root[value] = self.root.get(source, source)
        if all(i in self.static for i in node.inputs):
            self.static[value] = make(*[self.static[i] for i in node.inputs])
            return True
        call = f"v{value} = {self.code.bind(f'w{value}', make)}({', '.join(self.name(i) for i in node.inputs)})"
        if all(i in self.static or i in self.once for i in node.inputs):
            self.once.add(value)
            self.setup.append((call, index))
        else:
            self.code.line("    " * self.depth + call, index)
        return True

    depth = 1

    def buffer(self, index: int, kernel: Callable[..., Any], step: int) -> None:
        """Give a node's result memory: its operand's where it dies here, a slab, or new memory."""
        node = self.plan.graph.nodes[index]
        value = self.first + index
        spec = self.local(value)
        self.like[value] = _shape_only(spec)
        self.root[value] = value
        if value in self.fresh:
            self.code.line("    " * self.depth + f"v{value} = {self.code.bind(f's{value}', maker(spec))}()", index)
            return
        if isinstance(kernel, np.ufunc):
            for i in node.inputs:
                root = self.root[i]
                if (
                    root in self.slab
                    and self.last_use[root] == step
                    and i not in self.broadcast
                    and i in self.static
                    and self.local(i) == spec
                    and self.like[i].strides == self.like[value].strides
                    and (i == root or self.static[i].ctypes.data == self.slab[root].ctypes.data)
                ):
                    self.slab[value] = self.slab.pop(root)
                    self.static[value] = _on(self.slab[value], spec)
                    return
        self.slab[value], self.static[value] = self.slabs.take(spec)

    def release(self, index: int, step: int) -> None:
        """Take back the memory of what was used for the last time."""
        value = self.first + index
        for i in {self.root.get(j, j) for j in (*self.plan.graph.nodes[index].inputs, value)}:
            if i in self.slab and self.last_use.get(i, -1) <= step:
                self.slabs.give(self.slab.pop(i))

    def call(self, index: int, kernel: Callable[..., Any], out: str, start: str) -> str:
        node = self.plan.graph.nodes[index]
        args = [self.name(self.broadcast.get(i, i)) for i in node.inputs] + [out]
        if primitive_of(node.op).positional:
            args.append(start)
        return f"{self.code.bind(f'k{self.first + index}', kernel)}({', '.join(args)})  # {node.op}"


def _block(slot: Slot, name: str, offset: str, k: int, spec: TensorSpec) -> str:
    """The block of the slot's array, which is called by name and number, as its start is by offset and number."""
    assert slot.dim is not None
    times = "" if slot.scale == 1 else f"*{slot.scale}"
    cut = f"{name}{k}[{':, ' * slot.dim}lo{times}-{offset}{k}:hi{times}-{offset}{k}]"
    return f"{cut}.reshape({spec.shape})" if slot.packed else cut


class _BlockCode:
    """The calls of one block of a fixed number of rows."""

    def __init__(self, plan: Plan, stage: Stage, rows: int) -> None:
        self.reads = stage.reads
        self.stores = stage.stores
        stored = {slot.value: k for k, slot in enumerate(stage.stores)}
        partials = {p.value: (k, p) for k, p in enumerate(stage.partials)}
        emitter = _Emitter(plan, stage.body, rows, set(stored))
        emitter.whole_reads = frozenset(slot.value for slot in stage.reads if slot.dim is None)
        emitter.depth = 2
        code = self.code = emitter.code
        head = ["def make(reads, read_starts, stores, store_starts, partials):"]
        for k, slot in enumerate(stage.reads):
            emitter.read(slot.value, once=slot.dim is None)
            if slot.dim is None:
                head.append(f"    v{slot.value} = reads[{k}]")
                continue
            head.append(f"    r{k} = reads[{k}]; p{k} = read_starts[{k}]")
            self._read_block(emitter, k, slot, plan)
        for k in range(len(stage.stores)):
            head.append(f"    o{k} = stores[{k}]; q{k} = store_starts[{k}]")
        emitter.prepare()
        first = emitter.first
        for step, index in enumerate(stage.body):
            value = first + index
            op = primitive_of(plan.graph.nodes[index].op)
            start = f"lo*{plan.scale(value)}"
            if value in partials:
                self._reduce(emitter, index, step, *partials[value])
            elif op.view is None or not emitter.view(index, step):
                kernel = emitter.kernel(index)
                kept = stage.stores[stored[value]] if value in stored else None
                if kept is not None and (kept.packed or _leading(plan.graph.specs[value].shape, kept.dim)):
                    # The block is written where it is to stay.
                    k = stored.pop(value)
                    emitter.like[value] = _shape_only(emitter.local(value))
                    emitter.root[value] = value
                    code.line(f"        v{value} = {_block(kept, 'o', 'q', k, emitter.local(value))}")
                else:
                    emitter.buffer(index, kernel, step)
                code.line("        " + emitter.call(index, kernel, emitter.name(value), start), index)
            emitter.release(index, step)
        for slot in stage.stores:
            if slot.value in stored:
                place = _block(slot, "o", "q", stored[slot.value], emitter.local(slot.value))
                code.line(f"        {place}[...] = {emitter.name(slot.value)}")
        head += ["    " + line for line, _ in emitter.setup]
        shift = len(head) + 1
        code.nodes = {line + shift: node for line, node in code.nodes.items()}
        code.lines = [*head, "    def block(lo, hi, first):", *code.lines, "        return None", "    return block"]
        self.make = code.compile("make")
        self.bytes = emitter.slabs.total

    @staticmethod
    def _read_block(emitter: _Emitter, k: int, slot: Slot, plan: Plan) -> None:
        source = _block(slot, "r", "p", k, emitter.local(slot.value))
        if slot.packed or _leading(plan.graph.specs[slot.value].shape, slot.dim):
            emitter.code.line(f"        v{slot.value} = {source}")
            return
        # Copied, so that strides are those of the block wherever it came from.
        _, emitter.static[slot.value] = emitter.slabs.take(emitter.local(slot.value))
        emitter.code.line(f"        {emitter.name(slot.value)}[...] = {source}")

    @staticmethod
    def _reduce(emitter: _Emitter, index: int, step: int, k: int, partial: Any) -> None:
        code = emitter.code
        value = partial.value
        op = primitive_of(emitter.plan.graph.nodes[index].op)
        site = emitter.site(index)
        start = "lo"
        if op.accumulate is not None and partial.kind == "sum":
            code.line(f"        if first: partials[{k}].fill(0)")
            code.line("        " + emitter.call(index, op.accumulate(site), f"partials[{k}]", start), index)
            return
        kernel = _kernel(op, site)
        join = code.bind(f"join_{partial.kind}", COMBINERS[partial.kind])
        slab, array = emitter.slabs.take(site.out)
        temporary = code.bind(f"t{value}", array)
        code.line(f"        if first: {emitter.call(index, kernel, f'partials[{k}]', start)}", index)
        code.line("        else:")
        code.line(f"            {emitter.call(index, kernel, temporary, start)}", index)
        code.line(f"            {join}(partials[{k}], {temporary}, out=partials[{k}])", index)
        emitter.slabs.give(slab)


def _leading(shape: tuple[int, ...], dim: int | None) -> bool:
    """Whether slices along `dim` of a C-order array are contiguous."""
    return dim is not None and all(size == 1 for size in shape[:dim])


class _WholeCode:
    """The calls of a stage's whole nodes."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        roots: dict[int, int] = {}
        first = len(plan.graph.inputs)
        for index in stage.whole:
            node = plan.graph.nodes[index]
            viewed = primitive_of(node.op).view is not None and node.inputs
            roots[first + index] = roots.get(node.inputs[0], node.inputs[0]) if viewed else first + index
        kept = {roots[v] for v in stage.results}
        self._emit(plan, stage, roots, {v for v in roots if roots[v] in kept}, False)
        if self.bytes > STATIC_BYTES:
            self._emit(plan, stage, roots, set(roots), True)

    def _emit(self, plan: Plan, stage: Stage, roots: dict[int, int], fresh: set[int], drop: bool) -> None:
        """Generate; values in `fresh` get new memory at each run, which `drop` gives back after their last use."""
        emitter = _Emitter(plan, stage.whole, 0, set(stage.results))
        emitter.fresh = fresh
        code = self.code = emitter.code
        code.line(f"def run({', '.join(f'v{v}' for v in stage.whole_reads)}):")
        for value in stage.whole_reads:
            emitter.read(value, once=False)
        emitter.prepare()
        dead_at: dict[int, list[int]] = {}
        for value in roots:
            if value in emitter.fresh:
                dead_at.setdefault(emitter.last_use.get(roots[value], len(stage.whole)), []).append(value)
        for step, index in enumerate(stage.whole):
            op = primitive_of(plan.graph.nodes[index].op)
            value = emitter.first + index
            if op.view is None or not emitter.view(index, step):
                kernel = emitter.kernel(index)
                emitter.buffer(index, kernel, step)
                code.line("    " + emitter.call(index, kernel, emitter.name(value), "0"), index)
            emitter.release(index, step)
            gone = [f"v{v}" for v in dead_at.get(step, ()) if v not in emitter.static and v <= value]
            if gone and drop:
                code.line(f"    {' = '.join(gone)} = None")
        code.line(f"    return ({''.join(emitter.name(v) + ', ' for v in stage.results)})")
        self.run = code.compile("run")
        self.bytes = emitter.slabs.total


class StageRunner:
    """Runs one stage; holds its code and buffers. For one thread at a time.

    Args:
        plan: the plan.
        index: which stage.
    """

    def __init__(self, plan: Plan, index: int) -> None:
        self.plan = plan
        self.stage = plan.stages[index]
        self._blocks: dict[int, _BlockCode] = {}
        self._whole: _WholeCode | None = None
        self.seconds: float | None = None  # the stage's latest run, by all threads together

    def run_whole(self, values: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Run the nodes that run once.

        Args:
            values: at least the stage's `whole_reads`, complete and C-contiguous.

        Returns:
            the stage's `results` by value number.
        """
        if not self.stage.whole:
            return {}
        results = self.run_nodes([values[v] for v in self.stage.whole_reads])
        return dict(zip(self.stage.results, results, strict=True))

    def run_nodes(self, reads: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The stage's `results`, in order, from its `whole_reads`."""
        with ieee():  # In making kernels, too: attributes may be too large for the dtype.
            if self._whole is None:
                self._whole = _WholeCode(self.plan, self.stage)
            whole = self._whole
            try:
                results = whole.run(*reads)
            except GradmeshError as error:
                raise self._placed(error, whole.code.locate(error)) from None
        return [dense(array) for array in results]

    def run_groups(
        self,
        first: int,
        stop: int,
        values: Mapping[int, np.ndarray | Piece],
        into: Mapping[int, np.ndarray] | None = None,
        checkpoint: Callable[[], None] | None = None,
    ) -> GroupResult:
        """Run groups first, …, stop-1 in order.

        Args:
            first: the first group.
            stop: the group after the last.
            values: at least the stage's `reads`: complete arrays, or pieces that cover these groups.
            into: complete arrays to write stored values into; new ones for just these groups otherwise.
            checkpoint: called before each group; may raise to stop the run.
        """
        split = self.plan.split
        assert split is not None
        reads, read_starts = [], []
        for slot in self.stage.reads:
            given = values[slot.value]
            array, start = (given.array, given.start) if isinstance(given, Piece) else (given, 0)
            reads.append(dense(array))
            read_starts.append(start)
        begin, _ = split.group_rows(first)
        _, end = split.group_rows(stop - 1)
        stores, store_starts = [], []
        for slot in self.stage.stores:
            if into is not None and slot.value in into:
                stores.append(into[slot.value])
                store_starts.append(0)
            else:
                stores.append(empty(self.plan.stored_spec(slot.value, end - begin)))
                store_starts.append(begin * slot.scale)
        partial_specs = [self.plan.graph.specs[p.value] for p in self.stage.partials]
        partials: list[np.ndarray] = [np.empty(0)] * len(partial_specs)
        bound: dict[int, Callable[[int, int, bool], None]] = {}
        gathered = Accumulator(self.plan, self.stage.index)
        running: _BlockCode | None = None
        try:
            with ieee():
                for group in range(first, stop):
                    if checkpoint is not None:
                        checkpoint()
                    partials[:] = [empty(spec) for spec in partial_specs]
                    lo, last = split.group_rows(group)
                    is_first = True
                    while lo < last:
                        hi = min(lo + split.block, last)
                        running = self._block(hi - lo)
                        block = bound.get(hi - lo)
                        if block is None:
                            block = running.make(reads, read_starts, stores, store_starts, partials)
                            bound[hi - lo] = block
                        block(lo, hi, is_first)
                        is_first = False
                        lo = hi
                    if partial_specs:
                        gathered.push(group, {p.value: a for p, a in zip(self.stage.partials, partials, strict=True)})
        except GradmeshError as error:
            raise self._placed(error, -1 if running is None else running.code.locate(error)) from None
        return GroupResult(
            gathered.subtrees(), {slot.value: a for slot, a in zip(self.stage.stores, stores, strict=True)}
        )

    def _block(self, rows: int) -> _BlockCode:
        code = self._blocks.get(rows)
        if code is None:
            code = self._blocks[rows] = _BlockCode(self.plan, self.stage, rows)
        return code

    def _placed(self, error: GradmeshError, node: int) -> GradmeshError:
        """The error with the node of the user's graph it arose in."""
        if node < 0:
            return error
        origin = self.plan.graph.nodes[node].origin
        return error.at(op=self.plan.graph.nodes[node].op, node=origin, source=self.plan.graph.source(origin))

    def source(self) -> str:
        """The generated source of the code compiled so far."""
        parts = [] if self._whole is None else ["\n".join(self._whole.code.lines)]
        parts += [f"# blocks of {rows} rows\n" + "\n".join(code.code.lines) for rows, code in self._blocks.items()]
        return "\n\n".join(parts)


def run_plan(
    plan: Plan,
    inputs: Sequence[np.ndarray],
    runners: Sequence[Sequence[StageRunner]] | None = None,
    checkpoint: Callable[[], None] | None = None,
) -> list[np.ndarray]:
    """Run a plan in this thread and, with several sets of runners, in others beside it; its outputs, C-contiguous.

    Args:
        plan: the plan.
        inputs: one C-contiguous array per input of the plan's graph.
        runners: for each thread one runner per stage, kept between runs; new ones, for one thread, otherwise.
        checkpoint: called before each stage and, in this thread, each group; may raise to stop the run.
    """
    if runners is None:
        runners = [[StageRunner(plan, i) for i in range(len(plan.stages))]]
    if plan.alone is not None:
        if checkpoint is not None:
            checkpoint()
        (runner,) = runners[0]
        begin = perf_counter()
        results = runner.run_nodes([inputs[v] for v in runner.stage.whole_reads])
        runner.seconds = perf_counter() - begin
        return [results[i] for i in plan.alone]
    values: dict[int, np.ndarray] = dict(enumerate(inputs))
    for stage in plan.stages:
        if checkpoint is not None:
            checkpoint()
        begin = perf_counter()
        values.update(runners[0][stage.index].run_whole(values))
        if stage.body:
            assert plan.split is not None
            into = {slot.value: empty(plan.stored_spec(slot.value, plan.split.length)) for slot in stage.stores}

            def worker(
                mine: Sequence[StageRunner], stage: Stage = stage, into: Mapping[int, np.ndarray] = into
            ) -> Callable[[int, int], list[Subtree]]:
                check = checkpoint if mine is runners[0] else None
                run = mine[stage.index].run_groups
                return lambda first, stop: run(first, stop, values, into, check).partials

            if len(runners) > 1:
                partials = over_groups(plan.split.groups, [worker(mine) for mine in runners])
            else:
                partials = worker(runners[0])(0, plan.split.groups)
            values.update(into)
            values.update(finish(plan, stage.index, partials))
        for value in plan.over[stage.index]:
            del values[value]
        runners[0][stage.index].seconds = perf_counter() - begin
    return [dense(values[v]) for v in plan.graph.outputs]
