"""What a backward pass will run through: found iteratively, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gradmesh._body import Captured
from gradmesh._gather import Gathering
from gradmesh._leaf import Edge, Leaf
from gradmesh._saving import check_allowance
from gradmesh._skeleton import Bone, Skeleton
from gradmesh._value import Bundle, Made, Value, saved, source_of, user_line
from gradmesh_engine.errors import AutogradError
from gradmesh_engine.graph import Graph

TORCH_TENSORS: Final = {
    "bool": "BoolTensor", "uint8": "ByteTensor", "int8": "CharTensor", "int16": "ShortTensor", "int32": "IntTensor",
    "int64": "LongTensor", "float16": "HalfTensor", "bfloat16": "BFloat16Tensor", "float32": "FloatTensor",
    "float64": "DoubleTensor", "complex64": "ComplexFloatTensor", "complex128": "ComplexDoubleTensor",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a request once it ran: enough to tell of the graph behind its roots. Holds no tensors.

    Attributes:
        graph: the graph.
        leaves: per input of the graph the leaf it was, or None.
        numbers: per root its number among the results, negative for inputs.
    """

    graph: Graph
    leaves: tuple[Leaf | None, ...]
    numbers: tuple[int, ...]

    @staticmethod
    def of(roots: Sequence[Value], gathering: Gathering, graph: Graph) -> Remains:
        """Of a request whose values were gathered so."""
        leaves = tuple([v.meta if v.meta.__class__ is Leaf else None for v in gathering.inputs])
        return Remains(graph, leaves, tuple(map(gathering.known_number, roots)))


class Exploration:
    """The differentiable part of the trace behind some values. Final.

    Attributes:
        tracked: every value gradients may flow to.
        leaves: the leaves among them, in the order met.
        nodes: the nodes that make the others, in the order met.
        retained: results whose tensors keep their gradient, each with its node.
        needs_client: whether something has to be called on the way: hooks or custom Functions.
    """

    def __init__(self, roots: Iterable[Value]) -> None:
        self.tracked: set[Value] = set()
        self.leaves: list[Value] = []
        self.nodes: list[Made] = []
        self.retained: list[Value] = []
        self.needs_client = False
        self._seen: set[Made] = set()
        self._written: list[Made] = []
        self._freed: list[Made] = []
        self._allowed: list[Made] = []
        self._leading: set[Value] | None = None  # to what gradients are asked of; None for all
        self._walk([root for root in roots if root.requires_grad])

    def _walk(self, stack: list[Value]) -> None:
        tracked, nodes = self.tracked, self.nodes
        stack.reverse()
        while stack:
            value = stack.pop()
            if value in tracked:
                continue
            tracked.add(value)
            made: Made
            if value.meta is None and value.node is None:
                made = value
            elif value.meta.__class__ is Leaf:
                self._leaf(value)
                continue
            else:
                found = self._other(value)
                if found is None:
                    continue
                made = found
            nodes.append(made)
            if made.freed:
                self._freed.append(made)
            if made.hooks is not None:
                self._hooks(made)
            result = made if isinstance(made, Value) else value
            written = result.counter is not None and result.counter.current != result.version
            for operand in made.inputs:
                if operand.requires_grad and operand not in tracked:
                    stack.append(operand)
                if operand.counter is not None and operand.counter.current != operand.version:
                    written = True
            if written:
                self._written.append(made)

    def _leaf(self, value: Value) -> None:
        self.leaves.append(value)
        hooks = value.meta.node_hooks
        if hooks is not None and hooks.active:
            self.needs_client = True

    def _other(self, value: Value) -> Made | None:
        made: Made
        if value.meta.__class__ is Edge:
            self.needs_client = True
            made = value.meta.node
        elif value.node is not None:
            made = value.node
        else:
            return value
        if made in self._seen:
            return None
        self._seen.add(made)
        return made

    def _hooks(self, made: Made) -> None:
        if made.hooks.active:
            self.needs_client = True
        if made.hooks.allowance is not None:
            self._allowed.append(made)
        for index in made.hooks.retain:
            if isinstance(made, Value):
                self.retained.append(made)
            elif isinstance(made, Bundle):
                self.retained.append(made.result(index))
            else:
                self.needs_client = True

    def same(self, value: Value) -> list[Value]:
        """The values met that take their gradient to the same place: one leaf before and after a write."""
        if value.meta.__class__ is not Leaf or len(self.leaves) < 2:
            return [value]
        found = [leaf for leaf in self.leaves if leaf.meta is value.meta]
        return found or [value]

    def distinct_leaves(self) -> list[Value]:
        """One value per leaf met."""
        return list({leaf.meta: leaf for leaf in reversed(self.leaves)}.values())[::-1]

    def restrict(self, wrt: Sequence[Value], barrier: Collection[Made] = ()) -> None:
        """Leave only the nodes on a path to one of `wrt`, which does not pass through the barrier."""
        users: dict[Value, list[Made]] = {}
        for made in self.nodes:
            for operand in made.inputs:
                if operand.requires_grad:
                    users.setdefault(operand, []).append(made)
        results: dict[Made, list[Value]] = {}
        for value in self.tracked:
            if value.meta.__class__ is not Leaf:
                results.setdefault(_maker(value), []).append(value)
        keep: set[Made] = set()
        reached: set[Value] = set()
        stack = [same for value in wrt for same in self.same(value) if same in self.tracked]
        while stack:
            value = stack.pop()
            if value in reached:
                continue
            reached.add(value)
            for made in users.get(value, ()):
                if made not in keep and made not in barrier:
                    keep.add(made)
                    stack.extend(results.get(made, ()))
        self._leading = reached
        self.nodes = [made for made in self.nodes if made in keep]
        self.retained = [value for value in self.retained if value in reached]
        self._written = [made for made in self._written if made in keep]
        # Where what was used up led is no longer known.
        self._freed = [made for made in self._freed if made in keep or not made.inputs]
        self._allowed = [made for made in self._allowed if made in keep]

    def check(self) -> None:
        """Raises AutogradError when a value that is needed was given back or written to since."""
        for made in self._freed:
            if self._read(made)[0] & made.freed if isinstance(made.app, Captured) else _saves(made):
                raise AutogradError(
                    "Trying to backward through the graph a second time (or directly access saved tensors after they "
                    "have already been freed). Saved intermediate values of the graph are freed when you call "
                    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
                    "graph a second time or if you need to access saved tensors after calling backward.",
                    op="" if made.app is None else made.app.op,
                    source=source_of(made) or user_line(),
                )
        for made in self._allowed:
            check_allowance(made)
        for made in self._written:
            if made.app is not None and not check_allowance(made):
                captured = isinstance(made.app, Captured)
                _check_written(made, self._read(made)[1] if captured else saved(made.app, needs_of(made)))

    def runs(self, made: Made | Leaf) -> bool:
        """Whether the pass runs through a node, or ends in a leaf."""
        if isinstance(made, Leaf):
            return any(value.meta is made for value in self.leaves)
        return made in self.nodes

    def free(self) -> list[tuple[Made, int]]:
        """Mark the nodes as used up; returns those that were not, or not as far, and how far they were."""
        used = []
        for made in self.nodes:
            if isinstance(made.app, Captured):
                used.append((made, made.freed))
                made.freed |= self._read(made)[0]
            elif not made.freed:
                used.append((made, False))
                made.freed = True
        return used

    def _read(self, made: Made) -> tuple[int, tuple[bool, ...]]:
        """What the pass reads of a recorded function; see Captured.between."""
        assert isinstance(made, Bundle) and isinstance(made.app, Captured)
        leading = self._leading
        inputs = [
            index
            for index, value in enumerate(made.inputs)
            if value.requires_grad and (leading is None or value in leading)
        ]
        results = [index for index, ref in enumerate(made.results) if ref() in self.tracked]
        return made.app.between(frozenset(results), frozenset(inputs))

    def strip(self, roots: Sequence[Value], remains: Remains) -> None:
        """Let go of the tensors behind known roots, of which another pass would be refused anyway."""
        for root, number in zip(roots, remains.numbers, strict=True):
            if root.node is not None and isinstance(root.node.app, Captured):
                self._strip_captured(root, root.node)
            if root.data is None or root.meta is not None or root.node is not None or number < 0:
                continue
            if any(map(_saves, self.nodes)):
                node = remains.graph.producers[len(remains.leaves) + number]
                root.meta = Bone(Skeleton(remains.graph, remains.leaves), node)
                root.inputs = ()

    def _strip_captured(self, root: Value, node: Bundle) -> None:
        alone = all([ref() is root or ref() is None for ref in node.results])
        if root.data is not None and alone and self._read(node)[0]:
            node.inputs = tuple([_edge_alone(value) for value in node.inputs])


def _edge_alone(value: Value) -> Value:
    """A value without content whose gradient goes where that of another does."""
    if not value.requires_grad:
        return Value(value.spec)
    meta = value.meta if isinstance(value.meta, Leaf | Edge) else Edge(value.node or value, value.index)
    return Value(value.spec, requires_grad=True, meta=meta)


def _maker(value: Value) -> Made:
    if value.meta.__class__ is Edge:
        made: Made = value.meta.node
        return made
    return value.node if value.node is not None else value


def needs_of(made: Made) -> tuple[bool, ...]:
    """For each operand whether it needs a cotangent."""
    return tuple([operand.requires_grad for operand in made.inputs])


def _saves(made: Made) -> bool:
    if made.app is None or not made.inputs or isinstance(made.app, Captured):
        return True
    return any(saved(made.app, needs_of(made)))


def results_of(made: Made) -> list[Value]:
    """The values of an op node's results."""
    if isinstance(made, Bundle):
        return [made.result(index) for index in range(len(made.results))]
    assert isinstance(made, Value)
    return [made]


def _check_written(made: Made, uses: tuple[bool, ...]) -> None:
    packed = () if made.hooks is None else made.hooks.packed
    for index, (used, value) in enumerate(zip(uses, (*made.inputs, *results_of(made)), strict=True)):
        if (index == 0 and made.wrote) or index in packed:
            continue
        counter = value.counter
        if used and counter is not None and counter.current != value.version:
            raise written_error(value, source_of(made))


def written_error(value: Value, source: str) -> AutogradError:
    """What to raise when a saved value's storage was written to."""
    assert value.counter is not None
    kind = TORCH_TENSORS[value.spec.dtype.name]
    origin = ""
    if value.requires_grad and value.meta.__class__ is not Leaf:
        from gradmesh._grad_fn import node_of

        node, index = node_of(value)
        origin = f", which is output {index} of {_short(node.name())},"
    return AutogradError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[torch.{kind} {list(value.spec.shape)}]{origin} is at version {value.counter.current}; expected version "
        f"{value.version} instead. Hint: the operation that used it is named below.",
        source=source,
        remedy="compute out of place, or clone() the tensor before it is modified",
    )


def _short(name: str) -> str:
    """ "Exp" for "ExpBackward0"."""
    return name.rstrip("0123456789").removesuffix("Backward")
