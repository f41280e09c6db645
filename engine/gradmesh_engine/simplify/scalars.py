"""Move scalar factors out of products and reductions, so that they are applied once, at the end.

A mean's 1/N met by a backward pass would otherwise be multiplied into every block. In
s·x, the scalar s is one number for all elements. Values may change in the last bit, as under any
reassociation of a product; 16-bit floats and integers are left alone.
"""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from typing import Final

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.graph import Graph, Node
from gradmesh_engine.ops import primitive_of
from gradmesh_engine.simplify.rewriter import Rewriter, Rule

_LINEAR: Final[dict[str, tuple[int, ...]]] = {
    "mul": (0, 1),
    "contract": (0, 1),
    "add": (0, 1),
    "sub": (0, 1),
    "neg": (0,),
    "div": (0,),
    "keep": (0,),
    "reduce_sum": (0,),
    "permute": (0,),
    "reshape": (0,),
    "expand": (0,),
    "take": (0,),
    "gather": (0,),
    "put_add": (1,),
    "put_along_add": (1,),
}
"""The operands whose scalar factor may pass through an op."""

_SPARSE: Final = frozenset({"keep", "put_add", "put_along_add"})
"""Ops that give zeros of their own: those stay zero only under a factor known to be finite."""


_WIDE: Final = frozenset(
    dtype for dtype in dtypes.BY_NAME.values() if dtypes.is_differentiable(dtype) and not dtypes.is_half(dtype)
)


class _Scalars:
    """The rules, with what they know of the graph being rewritten."""

    def __init__(self, graph: Graph) -> None:
        self._absorbed = _absorbed(graph)

    def factors(self, rw: Rewriter, value: V, original: int) -> tuple[V | None, V | None]:
        """`value` as (scalar, rest); either may be None, rest only when all of it is scalar."""
        scalar = rw.uniform(value)
        if scalar is not None:
            return scalar, None
        node = rw.maker(value)
        if node is None or node.op != "mul" or not self._absorbed[original]:
            return None, value
        for mine, other in ((0, 1), (1, 0)):
            scalar = rw.uniform(rw.operand(node, mine))
            if scalar is not None:
                return scalar, rw.operand(node, other)
        return None, value

    def mul(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        if not applies(operands[0]):
            return None
        (sa, ra), (sb, rb) = (self.factors(rw, v, i) for v, i in zip(operands, node.inputs, strict=True))
        if sa is None and sb is None:
            return None
        if (sa is None or sb is None) and (ra is None or rb is None):
            return None  # one scalar on one side alone: as it should be
        scalar = _times(sa, sb)
        if ra is None and rb is None:
            return expanded(scalar, operands[0])
        rest = _times(ra, rb)
        return primitive_of("mul")(rest, expanded(scalar, rest))

    def neg(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        if not applies(operands[0]):
            return None
        scalar, rest = self.factors(rw, operands[0], node.inputs[0])
        if scalar is None or rest is None:
            return None
        return primitive_of("mul")(rest, expanded(primitive_of("neg")(scalar), rest))

    def sum_of(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        """x·s ± y·s = (x ± y)·s."""
        if not applies(operands[0]):
            return None
        (sa, ra), (sb, rb) = (self.factors(rw, v, i) for v, i in zip(operands, node.inputs, strict=True))
        if sa is None or sb is None or ra is None or rb is None or sa.id != sb.id:
            return None
        return primitive_of("mul")(primitive_of(node.op)(ra, rb), expanded(sa, ra))

    def one_operand(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        """Ops linear in one operand: masks, layout changes, sums, picking and putting elements."""
        (position,) = _LINEAR[node.op]
        given = operands[position]
        if not applies(given) or (node.op == "expand" and not self._absorbed[rw.number]):
            return None
        scalar, rest = self.factors(rw, given, node.inputs[position])
        if scalar is None:
            return None
        if rest is None:
            return None
        if node.op in _SPARSE and not _finite(rw.constant_of(scalar)):
            return None
        changed = [rest if i == position else v for i, v in enumerate(operands)]
        result = primitive_of(node.op)(*changed, **dict(node.attrs))
        return primitive_of("mul")(result, expanded(scalar, result))

    def contract(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        if not applies(operands[0]):
            return None
        (sa, ra), (sb, rb) = (self.factors(rw, v, i) for v, i in zip(operands, node.inputs, strict=True))
        if (sa is None and sb is None) or ra is None or rb is None:
            return None
        result = primitive_of("contract")(ra, rb, **dict(node.attrs))
        return primitive_of("mul")(result, expanded(_times(sa, sb), result))


def _absorbed(graph: Graph) -> list[bool]:
    """For each value whether every use lets a scalar factor pass: then its product is never made."""
    passes = [True] * len(graph.specs)
    uses = [0] * len(graph.specs)
    for node in graph.nodes:
        for position, value in enumerate(node.inputs):
            uses[value] += 1
            if position not in _LINEAR.get(node.op, ()):
                passes[value] = False
    for value in graph.outputs:
        uses[value] += 1
        passes[value] = False
    return [ok or count == 1 for ok, count in zip(passes, uses, strict=True)]


def applies(value: V) -> bool:
    """Whether products of this value's shape and dtype may be reordered, and are worth it."""
    return len(value.spec.shape) > 0 and value.spec.dtype in _WIDE


def _finite(number: complex | None) -> bool:
    return number is not None and cmath.isfinite(number)


def _times(a: V | None, b: V | None) -> V:
    if a is None or b is None:
        result = b if a is None else a
        assert result is not None
        return result
    product = primitive_of("mul")(a, b)
    assert isinstance(product, V)
    return product


def expanded(scalar: V, like: V) -> V:
    """The scalar in another value's shape."""
    expanded = primitive_of("expand")(scalar, shape=like.shape)
    assert isinstance(expanded, V)
    return expanded


def scalars(graph: Graph) -> Graph:
    """Scalar factors moved outwards."""
    rules = _Scalars(graph)
    table: dict[str, Rule] = {op: rules.one_operand for op, operands in _LINEAR.items() if len(operands) == 1}
    table |= {
        "mul": rules.mul,
        "neg": rules.neg,
        "add": rules.sum_of,
        "sub": rules.sum_of,
        "contract": rules.contract,
    }
    return Rewriter(graph, table).graph
