"""Generate the code of stages: straight-line NumPy calls on buffers allocated once.

The code of a block of a given number of rows is Python source: a line per node, kernels and buffers bound by
name; calls of buffers alone, one after the other, are a table that one line goes through. Nothing but names
and integers made here goes into the source. Blocks of the same number of rows run the same calls on the same
shapes and strides wherever they run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from gradmesh_engine.combine import COMBINERS
from gradmesh_engine.dtypes import OWN
from gradmesh_engine.errors import InternalError
from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.memory import ALIGNMENT, empty, maker
from gradmesh_engine.ops import Primitive, Scratch, Site, primitive_of
from gradmesh_engine.plan.types import Plan, Slot, Stage
from gradmesh_engine.rows import with_row_repeated

STATIC_BYTES: Final = 4 << 20
"""Whole nodes keep their buffers between runs when those are no larger than this together, as blocks' are."""


FEWEST_CALLS: Final = 256
"""So many calls of buffers alone, one after the other, are a table; fewer are lines of source.

Compiling a line takes 10 µs; going through a table may take some hundredths longer than going through lines.
"""

COPIED_BYTES: Final = 512
"""Where there may be tables, what is read at each run is copied into a buffer unless it has more bytes than this for
each call that reads it, and results as small as this are copied out of theirs."""

Step: TypeAlias = "tuple[Callable[..., Any], np.ndarray, np.ndarray | None, np.ndarray]"


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


class _Call(NamedTuple):
    """A call of buffers alone.

    Attributes:
        node: index of its node.
        op: the node's op.
        kernel: what is called.
        values: numbers of the values it is called with; the last is the result.
        arrays: their buffers.
    """

    node: int
    op: str
    kernel: Callable[..., Any]
    values: list[int]
    arrays: list[np.ndarray]

    @property
    def step(self) -> Step:
        """The same as an entry of a table."""
        arrays, kernel = self.arrays, self.kernel
        if len(arrays) == 2:
            return kernel, arrays[0], None, arrays[1]
        if len(arrays) > 3:
            kernel = partial(kernel, *arrays[:-3])
        return kernel, arrays[-3], arrays[-2], arrays[-1]


class Table(NamedTuple):
    """Calls of buffers alone, one after the other.

    Attributes:
        steps: what is called with which two operands, or one and None, and with which result.
        nodes: the index of each call's node.
    """

    steps: list[Step]
    nodes: list[int]


class Code:
    """Source under construction, with the namespace it runs in."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        self.lines: list[str] = []
        self.nodes: dict[int, int] = {}  # by line, from 1; of a table its number, counted down from -2
        self.tables: list[Table] = []
        self.depth = 1
        self._waiting: list[_Call] = []

    def line(self, text: str, node: int = -1) -> None:
        self.flush()
        self.lines.append(text)
        if node != -1:
            self.nodes[len(self.lines)] = node

    def step(self, call: _Call) -> None:
        """A call of buffers alone, on one operand or more."""
        self._waiting.append(call)

    def flush(self) -> None:
        """Write the calls that wait: as a table where they are some, line by line otherwise."""
        waiting, self._waiting = self._waiting, []
        indent = "    " * self.depth
        if len(waiting) >= FEWEST_CALLS:
            number = len(self.tables)
            self.tables.append(Table([call.step for call in waiting], [call.node for call in waiting]))
            name = self.bind(f"c{number}", self.tables[number].steps)
            self.line(
                f"{indent}for call, a, b, out in {name}: call(a, out) if b is None else call(a, b, out)", -2 - number
            )
            return
        for call in waiting:
            for value, array in zip(call.values, call.arrays, strict=True):
                self.bind(f"v{value}", array)
            kernel = self.bind(f"k{call.values[-1]}", call.kernel)
            self.line(f"{indent}{kernel}({', '.join([f'v{v}' for v in call.values])})  # {call.op}", call.node)

    def bind(self, name: str, thing: Any) -> str:
        self.namespace[name] = thing
        return name

    def compile(self, name: str) -> Any:
        self.flush()
        exec(compile("\n".join(self.lines), "<stage>", "exec"), self.namespace)
        return self.namespace[name]

    def source(self, graph: Graph) -> str:
        """The source, and below each table's line what it calls."""
        shown: list[str] = []
        for number, line in enumerate(self.lines, 1):
            shown.append(line)
            table = -2 - self.nodes.get(number, -1)
            if table < 0:
                continue
            indent = " " * (len(line) - len(line.lstrip()) + 4)
            for index in self.tables[table].nodes:
                node, value = graph.nodes[index], len(graph.inputs) + index
                shown.append(f"{indent}# v{value} = {node.op}({', '.join([f'v{i}' for i in node.inputs])})")
        return "\n".join(shown)

    def locate(self, error: BaseException) -> int:
        """The node whose call raised, or -1."""
        trace = error.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_code.co_filename == "<stage>" and trace.tb_lineno in self.nodes:
                node = self.nodes[trace.tb_lineno]
                if node >= 0:
                    return node
                table = self.tables[-2 - node]
                # Calls that write over an operand are ufuncs, which raise nothing: this names one of the others.
                called = tuple(id(frame.f_locals[name]) for name in ("call", "a", "b", "out"))
                return next(at for at, s in zip(table.nodes, table.steps, strict=True) if tuple(map(id, s)) == called)
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
        self.code = Code()
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
        self.calls: dict[int, int] = {}  # how many kernels read a value or a view of it
        self.broadcast: dict[int, int] = {}  # expanded values no one needs as such, with what they expand

    def prepare(self) -> None:
        """Make the kernels; ufuncs broadcast by themselves, so what only they read is not expanded."""
        graph = self.plan.graph
        as_such = set(self.keep)
        for index in self.nodes:
            node = graph.nodes[index]
            op = primitive_of(node.op)
            if op.view is None:
                self.kernels[index] = op.ufunc or _kernel(op, self.site(index))
                for i in node.inputs:
                    root = self.viewed.get(i, i)
                    self.calls[root] = self.calls.get(root, 0) + 1
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

    def own(self, value: int) -> np.ndarray:
        """A buffer for a value made outside, for whoever generates to copy it into."""
        self.slab[value], self.static[value] = self.slabs.take(self.local(value))
        return self.static[value]

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
            self.code.line("    " * self.code.depth + call, index)
        return True

    def buffer(self, index: int, kernel: Callable[..., Any], step: int) -> None:
        """Give a node's result memory: its operand's where it dies here, a slab, or new memory."""
        node = self.plan.graph.nodes[index]
        value = self.first + index
        spec = self.local(value)
        like = self.like[value] = _shape_only(spec)
        self.root[value] = value
        if value in self.fresh:
            self.code.line("    " * self.code.depth + f"v{value} = {self.code.bind(f's{value}', maker(spec))}()", index)
            return
        if isinstance(kernel, np.ufunc):
            for i in node.inputs:
                root = self.root[i]
                if (
                    self.last_use[root] == step
                    and root in self.slab
                    and i not in self.broadcast
                    and i in self.static
                    and self.local(i) == spec
                    and self.like[i].strides == like.strides
                    and (i == root or self.static[i].ctypes.data == self.slab[root].ctypes.data)
                ):
                    self.slab[value] = self.slab.pop(root)
                    self.static[value] = self.static[i]
                    return
        self.slab[value], self.static[value] = self.slabs.take(spec)

    def release(self, index: int, step: int) -> None:
        """Take back the memory of what was used for the last time."""
        slab, root = self.slab, self.root
        for j in (*self.plan.graph.nodes[index].inputs, self.first + index):
            i = root.get(j, j)
            if i in slab and self.last_use.get(i, -1) <= step:
                self.slabs.give(slab.pop(i))

    def make(self, index: int, kernel: Callable[..., Any], start: str) -> None:
        """Emit the call that makes a node's result."""
        node, value = self.plan.graph.nodes[index], self.first + index
        static, broadcast = self.static, self.broadcast
        values = [broadcast.get(i, i) for i in node.inputs]
        values.append(value)
        arrays = [static[i] for i in values if i in static]
        if 1 < len(values) == len(arrays) and not primitive_of(node.op).positional:
            self.code.step(_Call(index, node.op, kernel, values, arrays))
        else:
            self.code.line("    " * self.code.depth + self.call(index, kernel, self.name(value), start), index)

    def call(self, index: int, kernel: Callable[..., Any], out: str, start: str) -> str:
        """The text of a node's call."""
        node = self.plan.graph.nodes[index]
        values = [self.broadcast.get(i, i) for i in node.inputs]
        args = [*map(self.name, values), out]
        if isinstance(kernel, np.ufunc):
            shape = self.local(self.first + index).shape
            kernel = with_row_repeated(kernel, [self.like[i] for i in values], shape, self.scratch)
        if primitive_of(node.op).positional:
            args.append(start)
        return f"{self.code.bind(f'k{self.first + index}', kernel)}({', '.join(args)})  # {node.op}"


def _block(slot: Slot, name: str, offset: str, k: int, spec: TensorSpec) -> str:
    """The block of the slot's array, which is called by name and number, as its start is by offset and number."""
    assert slot.dim is not None
    times = "" if slot.scale == 1 else f"*{slot.scale}"
    cut = f"{name}{k}[{':, ' * slot.dim}lo{times}-{offset}{k}:hi{times}-{offset}{k}]"
    return f"{cut}.reshape({spec.shape})" if slot.packed else cut


class BlockCode:
    """The calls of one block of a fixed number of rows."""

    def __init__(self, plan: Plan, stage: Stage, rows: int) -> None:
        self.reads = stage.reads
        self.stores = stage.stores
        stored = {slot.value: k for k, slot in enumerate(stage.stores)}
        partials = {p.value: (k, p) for k, p in enumerate(stage.partials)}
        emitter = _Emitter(plan, stage.body, rows, set(stored))
        emitter.whole_reads = frozenset(slot.value for slot in stage.reads if slot.dim is None)
        code = self.code = emitter.code
        code.depth = 2
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
                emitter.make(index, kernel, start)
            emitter.release(index, step)
        for slot in stage.stores:
            if slot.value in stored:
                place = _block(slot, "o", "q", stored[slot.value], emitter.local(slot.value))
                code.line(f"        {place}[...] = {emitter.name(slot.value)}")
        code.flush()
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


class WholeCode:
    """The calls of a stage's whole nodes."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        roots: dict[int, int] = {}
        first = len(plan.graph.inputs)
        for index in stage.whole:
            node = plan.graph.nodes[index]
            viewed = primitive_of(node.op).view is not None and node.inputs
            roots[first + index] = roots.get(node.inputs[0], node.inputs[0]) if viewed else first + index
        kept = {roots[v] for v in stage.results}
        small = {v for v in kept if v >= first and plan.graph.nbytes[v] <= COPIED_BYTES}
        copied = small if len(stage.whole) >= FEWEST_CALLS else set()
        fresh = {v for v in roots if roots[v] in kept - copied}
        self._emit(plan, stage, roots, fresh, copied)
        if self.bytes > STATIC_BYTES:
            self._emit(plan, stage, roots, set(roots), None)

    def _emit(self, plan: Plan, stage: Stage, roots: dict[int, int], fresh: set[int], copied: set[int] | None) -> None:
        """Generate.

        Args:
            plan: the plan.
            stage: the stage.
            roots: for each value the value it is a view of.
            fresh: values that get new memory at each run.
            copied: values that are copied for whoever gets them; None where memory is given back after its last use.
        """
        drop, kept = copied is None, {roots[v] for v in stage.results}
        copied = copied or set()
        copies: list[tuple[int, np.ndarray]] = []
        emitter = _Emitter(plan, stage.whole, 0, set(stage.results))
        emitter.fresh = fresh
        code = self.code = emitter.code
        emitter.prepare()
        code.line("def run(reads):")
        few = len(stage.whole) < FEWEST_CALLS
        for k, value in enumerate(stage.whole_reads):
            emitter.read(value, once=False)
            if few or drop or value in kept or plan.graph.nbytes[value] > emitter.calls.get(value, 0) * COPIED_BYTES:
                code.line(f"    v{value} = reads[{k}]")
            else:
                copies.append((k, emitter.own(value)))
        if copies:
            code.line(f"    for k, array in {code.bind('copies', copies)}: array[...] = reads[k]")
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
                emitter.make(index, kernel, "0")
            emitter.release(index, step)
            gone = [f"v{v}" for v in dead_at.get(step, ()) if v not in emitter.static and v <= value] if drop else ()
            if gone:
                code.line(f"    {' = '.join(gone)} = None")
        code.flush()
        results = [emitter.name(v) + (".copy()" if roots[v] in copied else "") for v in stage.results]
        code.line(f"    return ({''.join(f'{name}, ' for name in results)})")
        self.run = code.compile("run")
        self.bytes = emitter.slabs.total
