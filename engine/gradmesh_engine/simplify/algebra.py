"""Passes that keep every bit: dead code, markers, constants, identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.arithmetic import ieee
from gradmesh_engine.builder import V, constant
from gradmesh_engine.graph import Graph, Node
from gradmesh_engine.ops import Site, primitive_of
from gradmesh_engine.ops.pointwise import pointwise_axes
from gradmesh_engine.simplify.rewriter import Rewriter, Rule

# --- dead code ------------------------------------------------------------------------------------


def dead_code(graph: Graph) -> Graph:
    """Drop the nodes no output needs."""
    first = len(graph.inputs)
    live: set[int] = set()
    pending = list(graph.outputs)
    while pending:
        value = pending.pop()
        if value >= first and value not in live:
            live.add(value)
            pending.extend(graph.nodes[value - first].inputs)
    if len(live) == len(graph.nodes):
        return graph
    renamed = {i: i for i in range(first)}
    nodes: list[Node] = []
    for value in sorted(live):
        node = graph.nodes[value - first]
        renamed[value] = first + len(nodes)
        inputs = tuple([renamed[i] for i in node.inputs])
        if inputs != node.inputs:
            node = Node(node.op, inputs, node.attrs, node.outputs, node.origin, node.segment)
        nodes.append(node)
    return Graph(graph.inputs, tuple(nodes), tuple(renamed[i] for i in graph.outputs), graph.sources)


# --- markers --------------------------------------------------------------------------------------


_MARKERS: Final = ("tag", "detach")


def _operand(rw: Rewriter, node: Node, operands: Sequence[V]) -> V:
    return operands[0]


def markers(graph: Graph) -> Graph:
    """Remove what only told differentiation something."""
    found = any([node.op in _MARKERS for node in graph.nodes])
    return Rewriter(graph, dict.fromkeys(_MARKERS, _operand)).graph if found else graph


# --- algebra --------------------------------------------------------------------------------------


def _mul(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    a, b = operands
    if rw.constant_of(a) == 1:
        return b
    if rw.constant_of(b) == 1:
        return a
    return None


def _div(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    return operands[0] if rw.constant_of(operands[1]) == 1 else None


def _sub(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    number = rw.constant_of(operands[1])
    # Not -0.0: -0.0 - -0.0 is 0.0.
    if number == 0 and repr(number) in ("0", "0.0", "False"):
        return operands[0]
    negated = _negated(rw, operands[1])
    return None if negated is None else operands[0] + negated


def _add(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    a, b = operands
    if a.id == b.id and dtypes.is_differentiable(a.dtype):
        return a * 2
    for one, other in ((a, b), (b, a)):
        negated = _negated(rw, other)
        if negated is not None:
            return one - negated
    return None


def _negated(rw: Rewriter, value: V) -> V | None:
    """What a value is the negative of, where it was made so."""
    made = rw.maker(value)
    return rw.operand(made) if made is not None and made.op == "neg" else None


def _neg(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    inner = rw.maker(operands[0])
    return rw.operand(inner) if inner is not None and inner.op == "neg" else None


def _same_again(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    """expand(expand(x)) and reshape(reshape(x)) only need the last."""
    inner = rw.maker(operands[0])
    if inner is None or inner.op != node.op:
        return None
    source = rw.operand(inner)
    return primitive_of(node.op)(source, **dict(node.attrs))


def _permute(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    dims = node.attr("dims")
    assert isinstance(dims, tuple)
    if dims == tuple(range(len(dims))):
        return operands[0]
    inner = rw.maker(operands[0])
    if inner is None or inner.op != "permute":
        return None
    before = inner.attr("dims")
    assert isinstance(before, tuple)
    source = rw.operand(inner)
    both = tuple(before[int(d)] for d in dims)
    if both == tuple(range(len(both))):
        return source
    return primitive_of("permute")(source, dims=both)


def _pointwise_constants(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    """A pointwise op of constants is a constant."""
    spec = node.outputs[0]
    numbers = []
    for v in operands:
        number = rw.constant_of(v)
        if number is None:
            return None
        numbers.append(number)
    if not operands:
        return None
    op = primitive_of(node.op)
    with ieee():
        ins = [np.full((1,), number, v.dtype) for number, v in zip(numbers, operands, strict=True)]
    out = np.empty((1,), spec.dtype)
    site = Site(tuple(type(spec)((1,), v.dtype) for v in operands), type(spec)((1,), spec.dtype), dict(node.attrs))
    assert op.kernel is not None
    with ieee():
        op.kernel(site)(*ins, out)
    return constant(operands[0], out[0].astype(_exact(spec.dtype)).item(), spec.shape, spec.dtype)


def _exact(dtype: np.dtype) -> np.dtype:
    """A dtype Python can take a number from without rounding."""
    return dtypes.float64 if dtypes.is_half(dtype) else dtype


_IDENTITIES: Final[dict[str, Rule]] = {
    "add": _add,
    "mul": _mul,
    "div": _div,
    "sub": _sub,
    "neg": _neg,
    "expand": _same_again,
    "reshape": _same_again,
    "permute": _permute,
}


def algebra(graph: Graph) -> Graph:
    """What keeps every bit: pointwise ops of constants become constants; x+x, x+(−y), ×1, ÷1, −0, double negation."""
    rules: dict[str, Rule] = {}
    for node in graph.nodes:
        if node.op not in rules:
            op = primitive_of(node.op)
            folds = op.axes is pointwise_axes and op.kernel is not None and not op.positional
            identity = _IDENTITIES.get(node.op)
            if folds:
                rules[node.op] = _pointwise_constants if identity is None else _either(_pointwise_constants, identity)
            elif identity is not None:
                rules[node.op] = identity
    return Rewriter(graph, rules).graph


def _minus(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
    a, b = operands
    for one, other in ((a, b), (b, a)):
        if dtypes.is_differentiable(a.dtype) and not dtypes.is_complex(a.dtype) and rw.constant_of(other) == -1:
            return -one
    return None


def signs(graph: Graph) -> Graph:
    """x·(−1) = −x, which sums take along. Once scalar factors have moved: before, the −1 is one of them."""
    if not any(node.op == "full" and node.attr("value") == -1 for node in graph.nodes):
        return graph
    return Rewriter(graph, {"mul": _minus, "add": _add, "sub": _sub, "neg": _neg}).graph


def _either(first: Rule, second: Rule) -> Rule:
    def rule(rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        value = first(rw, node, operands)
        return second(rw, node, operands) if value is None else value

    return rule
