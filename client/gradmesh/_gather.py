"""From recorded values to a frozen graph: gathered iteratively, numbered canonically, built once per structure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any, Final

from gradmesh._body import Body, Captured
from gradmesh._leaf import Leaf
from gradmesh._value import App, Made, Value, application, source_of, user_line
from gradmesh_engine.errors import AutogradError
from gradmesh_engine.graph import Graph, Node, TensorSpec


def _placeholder_read() -> AutogradError:
    return AutogradError(
        "vmap: It looks like you're calling .item() on a Tensor. A mapped function is recorded once for all examples: "
        "it has no values to read or to branch on",
        remedy="use operations such as gm.where instead",
        source=user_line(),
    )


class Gathering:
    """The pending ancestors of some values, in an order that depends on structure alone. Final.

    Inputs are numbered ~0, ~1, … and results 0, 1, … in the order they are met depth first.

    Args:
        tracked: values to differentiate through, or None when nothing is differentiated. They are
            gathered even where their content is known; where one of them uses a value that only
            happens to depend on another, a `detach` keeps the derivative out.
    """

    def __init__(self, tracked: Collection[Value] | None = None) -> None:
        self.inputs: list[Value] = []
        self.order: list[Made] = []
        self._tracked = tracked
        self._key: list[Any] = []
        self._apps: list[App | Body] = []
        self._loose: list[TensorSpec] = []
        self._numbers: dict[Value, int] = {}
        self._bundles: dict[Made, int] = {}
        self._results = 0
        self._segmented = False
        self._tainted: set[Value] = set()
        self._detached: dict[Value, int] = {}
        self._cut: Collection[Value] = ()  # pending values that are inputs all the same

    def add(self, root: Value) -> int:
        """Gather a value; returns its number."""
        if root not in self._numbers and self._is_input(root):
            # No node need take it, so its spec has to be part of the structure.
            self._loose.append(root.spec)
        numbers, cut = self._numbers, self._cut
        stack = [root]
        while stack:
            value = stack[-1]
            if value in numbers:
                stack.pop()
                continue
            if self._is_input(value):
                self._input(value)
                stack.pop()
                continue
            made: Made = value.node if value.node is not None else value
            waiting = []
            for operand in made.inputs:
                if operand not in numbers:
                    pending = operand.data is None and operand.app is not None  # the most frequent, told first
                    if (cut and operand in cut) or (not pending and self._is_input(operand)):
                        self._input(operand)
                    else:
                        waiting.append(operand)
            if waiting:
                waiting.reverse()
                stack.extend(waiting)
                continue
            stack.pop()
            if made.app is None:
                self._alias(value)
            else:
                self._node(value, made)
        return numbers[root]

    def _is_input(self, value: Value) -> bool:
        if value.data is not None:
            return self._tracked is None or value.meta.__class__ is Leaf or value not in self._tracked
        if value.app is None and value.node is None:
            if not value.inputs:
                raise _placeholder_read()
            source = value.inputs[0]
            if source.data is not None:
                value.keep(source.data)
                return True
        return False

    def _input(self, value: Value) -> None:
        self._numbers[value] = ~len(self.inputs)
        self.inputs.append(value)
        if value.requires_grad and self._tracked is not None:
            self._tainted.add(value)

    def _alias(self, value: Value) -> None:
        source = value.inputs[0]
        if self._tracked is None:
            self._numbers[value] = self._numbers[source]
        elif value.meta.__class__ is Leaf:
            # A leaf of its own, even where its content is computed from other leaves.
            detach = application("detach", (value.spec,), {})
            self._numbers[value] = self._append(detach, value, [self._numbers[source]])
            self._tainted.add(value)
        else:
            self._numbers[value] = self._numbers[source]
            if source in self._tainted:
                self._tainted.add(value)

    def _node(self, value: Value, made: Made) -> None:
        app = made.app
        assert app is not None
        base = self._bundles.get(made) if value.node is not None else None
        if base is None:
            numbers = self._numbers
            operands = [numbers[operand] for operand in made.inputs]
            if self._tracked is not None:
                for position, operand in enumerate(made.inputs):
                    if not operand.requires_grad and operand in self._tainted and self._is_tracked(value):
                        operands[position] = self._detach(operand, operands[position])
            if value.node is None:
                base = self._append(app, made, operands)
            else:
                body = app.body(self._tracked is not None) if isinstance(app, Captured) else app
                base = self._bundles[made] = self._append(body, made, operands)
        if value.node is not None and isinstance(app, Captured):
            self._numbers[value] = base + app.body(self._tracked is not None).numbers[value.index]
        else:
            self._numbers[value] = base + value.index
        if self._tracked is not None and (
            value.requires_grad or any([operand in self._tainted for operand in made.inputs])
        ):
            self._tainted.add(value)

    def _is_tracked(self, value: Value) -> bool:
        tracked = self._tracked
        assert tracked is not None
        if value.node is None:
            return value in tracked
        return any([result in tracked for result in [ref() for ref in value.node.results] if result is not None])

    def _detach(self, operand: Value, number: int) -> int:
        found = self._detached.get(operand)
        if found is None:
            found = self._append(application("detach", (operand.spec,), {}), operand, [number])
            self._detached[operand] = found
        return found

    def _append(self, app: App | Body, made: Made, operands: list[int]) -> int:
        first = self._results
        if made.segment or (app.__class__ is Body and app.segmented):
            self._segmented = True
        self._apps.append(app)
        self.order.append(made)
        self._key.append(app)
        self._key.extend(operands)
        self._results += len(app.outs)
        return first

    def known_number(self, value: Value) -> int:
        """The number a gathered value has among the results, negative for inputs."""
        return self._numbers[value]

    def number(self, number: int) -> int:
        """The value's number in the finished graph."""
        return ~number if number < 0 else len(self.inputs) + number

    def graph(self, outputs: Sequence[int]) -> Graph:
        """The frozen graph with these outputs; the same object for the same structure."""
        key = (tuple(self._loose), tuple(self._key), tuple(outputs))
        return GRAPHS.get(key, self)

    def segments(self) -> tuple[int, ...]:
        """For each node the number of its checkpoint, as of Query.segments; counted in the order met."""
        if not self._segmented:
            return ()
        numbers: dict[tuple[Made | None, int], int] = {(None, 0): 0}
        found = []
        for app, made in zip(self._apps, self.order, strict=True):
            for site in app.sites if isinstance(app, Body) else (made,):
                whose = made if isinstance(app, Body) and site.segment else None
                number = numbers.setdefault((whose, abs(site.segment)), len(numbers))
                found.append(number if site.segment > 0 else -number)
        return tuple(found)

    def node_at(self, index: int) -> Made | None:
        """What recorded a node of the graph."""
        for app, made in zip(self._apps, self.order, strict=True):
            sites: Sequence[Made] = app.sites if isinstance(app, Body) else (made,)
            if index < len(sites):
                return sites[index] if index >= 0 else None
            index -= len(sites)
        return None

    def build(self, outputs: Sequence[int]) -> Graph:
        """The frozen graph, made from scratch."""
        count = len(self.inputs)
        nodes: list[Node] = []
        sources: list[str] = []
        key = self._key
        at = first = 0
        for app, made in zip(self._apps, self.order, strict=True):
            arity = len(app.ins)
            operands = tuple([~n if n < 0 else count + n for n in key[at + 1 : at + 1 + arity]])
            if isinstance(app, Body):
                for (part, inner), site in zip(app.parts, app.sites, strict=True):
                    numbers = tuple([operands[~n] if n < 0 else count + first + n for n in inner])
                    nodes.append(Node(part.op, numbers, part.attrs, part.outs, len(nodes)))
                    sources.append(source_of(site))
            else:
                nodes.append(Node(app.op, operands, app.attrs, app.outs, len(nodes)))
                sources.append(source_of(made))
            first += len(app.outs)
            at += 1 + arity
        return Graph(
            tuple([value.spec for value in self.inputs]),
            tuple(nodes),
            tuple([self.number(n) for n in outputs]),
            tuple(sources),
        )


class GraphCache:
    """Graphs by structure, the oldest dropped first. Final.

    Args:
        limit: bound on the summed length of the keys.
    """

    def __init__(self, limit: int = 1 << 20) -> None:
        self._limit = limit
        self._held = 0
        self._graphs: OrderedDict[tuple[Any, ...], Graph] = OrderedDict()

    def get(self, key: tuple[Any, ...], gathering: Gathering) -> Graph:
        """The graph of this structure."""
        # Dict operations are atomic; two threads may at worst build the same graph.
        graph = self._graphs.get(key)
        if graph is not None:
            return graph
        graph = gathering.build(key[2])
        self._graphs[key] = graph
        self._held += len(key[1])
        while self._held > self._limit and len(self._graphs) > 1:
            dropped, _ = self._graphs.popitem(last=False)
            self._held -= len(dropped[1])
        return graph


GRAPHS: Final = GraphCache()
