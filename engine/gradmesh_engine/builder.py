"""Handles on values of a graph under construction; bodies and vjps of ops are written with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gradmesh_engine.budget import current_budget
from gradmesh_engine.graph import Attrs, AttrValue, Graph, Node, TensorSpec, exact, known

if TYPE_CHECKING:
    from gradmesh_engine.ops.base import Op, Primitive


class Emitter(Protocol):
    """Where ops applied to handles go: a graph under construction, or a client's trace."""

    def emit(self, op: Op, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        """Record one application of `op`; returns a handle per output."""
        ...


class V:
    """A handle on one value. Arithmetic on handles emits ops into the handle's emitter.

    Python scalars met by a handle become constants of the handle's dtype.
    """

    __slots__ = ("emitter", "id", "spec")

    def __init__(self, emitter: Emitter, id: int, spec: TensorSpec) -> None:
        self.emitter = emitter
        self.id = id
        self.spec = spec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype:
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        return len(self.spec.shape)

    def __repr__(self) -> str:
        return f"V({self.id}: {self.spec})"

    def __add__(self, other: V | complex) -> V:
        return _binary("add", self, other)

    def __radd__(self, other: complex) -> V:
        return _binary("add", other, self)

    def __sub__(self, other: V | complex) -> V:
        return _binary("sub", self, other)

    def __rsub__(self, other: complex) -> V:
        return _binary("sub", other, self)

    def __mul__(self, other: V | complex) -> V:
        return _binary("mul", self, other)

    def __rmul__(self, other: complex) -> V:
        return _binary("mul", other, self)

    def __truediv__(self, other: V | complex) -> V:
        return _binary("div", self, other)

    def __rtruediv__(self, other: complex) -> V:
        return _binary("div", other, self)

    def __neg__(self) -> V:
        return _unary("neg", self)


@cache
def _table_op(name: str) -> Primitive:
    from gradmesh_engine.ops import primitive_of

    return primitive_of(name)


def _unary(name: str, x: V) -> V:
    return _table_op(name)(x)


def _binary(name: str, x: V | complex, y: V | complex) -> V:
    if not isinstance(x, V):
        assert isinstance(y, V)
        x = constant(y, x)
    if not isinstance(y, V):
        y = constant(x, y)
    return _table_op(name)(x, y)


def constant(like: V, value: complex, shape: tuple[int, ...] = (), dtype: np.dtype | None = None) -> V:
    """A constant in the graph of `like`, 0-d and of its dtype unless told otherwise."""
    name = (like.dtype if dtype is None else dtype).name
    full = _table_op("full")
    return full.on(like.emitter, value=_plain(value), shape=shape, dtype=name)


def _plain(value: complex) -> bool | int | float | complex:
    if isinstance(value, np.generic):
        value = value.item()
    return value


@dataclass(frozen=True, slots=True)
class Region:
    """The nodes one composite with a vjp of its own was expanded to.

    Attributes:
        op: the composite's name.
        attrs: its attributes.
        inputs: value numbers of its operands.
        outputs: value numbers of its results.
        first: index of its first node.
        last: index after its last node.
    """

    op: str
    attrs: Attrs
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    first: int
    last: int


class Builder:
    """Builds a graph of primitives: composites are expanded and equal nodes are made once.

    Not thread-safe; one builder makes one graph. Every node asked for, made or found, is a step of the budget.
    """

    def __init__(self, inputs: Sequence[TensorSpec] = ()) -> None:
        self._specs: list[TensorSpec] = []
        self._inputs: list[TensorSpec] = []
        self._nodes: list[Node] = []
        self._node_of: dict[int, int] = {}
        self._seen: dict[tuple[object, ...], int] = {}
        self.regions: list[Region] = []
        self.origin = -1
        self.segment = 0
        self._next_input = 0
        self._budget = current_budget()
        for spec in inputs:
            self.input(spec)

    def input(self, spec: TensorSpec) -> V:
        """Append an input. All inputs come before the first node."""
        assert not self._nodes, "inputs come before nodes"
        spec = known(spec)
        self._inputs.append(spec)
        self._specs.append(spec)
        return V(self, len(self._specs) - 1, spec)

    def value(self, id: int) -> V:
        """The handle on a value number."""
        return V(self, id, self._specs[id])

    @property
    def nodes(self) -> Sequence[Node]:
        return self._nodes

    @property
    def input_count(self) -> int:
        return len(self._inputs)

    def append(self, op: str, inputs: tuple[int, ...], attrs: Attrs, spec: TensorSpec) -> V:
        """Append a primitive node, or find the equal one that is there already."""
        if self._budget is not None:
            self._budget.spend(1 + len(inputs) // 16)
        key = (op, inputs, attrs, exact(attrs)) if attrs else (op, inputs)
        found = self._seen.get(key)
        if found is None:
            found = len(self._specs)
            self._nodes.append(Node(op, inputs, attrs, (spec,), self.origin, self.segment))
            self._specs.append(spec)
            self._seen[key] = found
        return V(self, found, spec)

    def again(self, node: Node, inputs: tuple[int, ...]) -> V:
        """A primitive node of another graph over values of this one, as `append` does it; its origin stays."""
        if self._budget is not None:
            self._budget.spend(1 + len(inputs) // 16)
        attrs, specs = node.attrs, self._specs
        number = len(specs)
        found = self._seen.setdefault((node.op, inputs, attrs, exact(attrs)) if attrs else (node.op, inputs), number)
        if found == number:
            if inputs is not node.inputs and inputs != node.inputs:
                node = Node(node.op, inputs, attrs, node.outputs, node.origin, node.segment)
            self._nodes.append(node)
            specs.append(node.outputs[0])
        return V(self, found, specs[found])

    def find(self, op: str, inputs: tuple[int, ...]) -> V | None:
        """The value of a node without attributes, if it is there."""
        found = self._seen.get((op, inputs))
        return None if found is None else self.value(found)

    def emit(self, op: Op, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        return op.build(self, operands, attrs)

    @contextmanager
    def region(self, op: str, attrs: Attrs, inputs: Sequence[V]) -> Iterator[list[V]]:
        """Record what is emitted inside as one region; the caller fills the list with the results.

        Equal nodes are not shared across the region's border, so that its vjp may stand for all of it.
        """
        outer, self._seen = self._seen, {}
        first = len(self._nodes)
        results: list[V] = []
        try:
            yield results
        finally:
            self._seen = outer
        self.regions.append(
            Region(op, attrs, tuple(v.id for v in inputs), tuple(v.id for v in results), first, len(self._nodes))
        )

    def build(self, outputs: Sequence[V], sources: tuple[str, ...] = ()) -> Graph:
        """The finished graph."""
        return Graph(tuple(self._inputs), tuple(self._nodes), tuple(v.id for v in outputs), sources)
