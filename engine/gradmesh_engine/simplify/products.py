"""Products: made once whatever the order of their factors, scaled where they are smallest, and added once.

Like the moving of scalar factors, scaling elsewhere may change values in the last bit; 16-bit floats and
integers are left alone. Other factors keep their order: a mask's 0 may be what keeps a product from overflowing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gradmesh_engine.builder import V
from gradmesh_engine.graph import Graph, Node
from gradmesh_engine.ops import primitive_of
from gradmesh_engine.ops.contract import matmul_sizes
from gradmesh_engine.simplify.rewriter import Rewriter
from gradmesh_engine.simplify.scalars import applies, expanded

_DEEPEST: Final = 8
"""Products and layout changes that a scalar factor moves through at most."""


class _Products:
    """The rules, with what they know of the graph being rewritten."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._uses = [0] * len(graph.specs)
        for node in graph.nodes:
            for value in node.inputs:
                self._uses[value] += 1
        for value in graph.outputs:
            self._uses[value] += 1
        # Values of the new graph: those that got uses the old one has not, and those that lost their only one.
        self._shared: set[int] = set()
        self._left: set[int] = set()

    def mul(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        a, b = operands
        if (same := self._known(rw, b, a)) is not None:
            return same
        if not applies(a):
            return None
        for mine, other in ((0, 1), (1, 0)):
            scalar = rw.uniform(operands[mine])
            scaled = None if scalar is None else self._scaled(rw, node.inputs[other], scalar, _DEEPEST)
            if scaled is not None:
                return scaled
        return None

    def add(self, rw: Rewriter, node: Node, operands: Sequence[V]) -> V | None:
        """(a + x·s) + x·s = a + x·(2s), as the derivative of s·y·y gives it."""
        first = len(self._graph.inputs)
        for position in (0, 1):
            inner, product = node.inputs[1 - position], node.inputs[position]
            if min(inner, product) < first or self._uses[inner] != 1 or self._uses[product] != 2:
                continue
            total, made = self._graph.nodes[inner - first], self._graph.nodes[product - first]
            if total.op != "add" or made.op != "mul" or product not in total.inputs or not applies(operands[0]):
                continue
            for mine, other in ((0, 1), (1, 0)):
                scalar = rw.uniform(rw.values[made.inputs[mine]])
                if scalar is not None:
                    x = rw.values[made.inputs[other]]
                    rest = rw.values[total.inputs[total.inputs[0] == product]]
                    return rest + primitive_of("mul")(x, expanded(scalar * 2, x))
        return None

    def _known(self, rw: Rewriter, a: V, b: V) -> V | None:
        """The product of both, if it is there."""
        for pair in ((a.id, b.id), (b.id, a.id)):
            found = rw.builder.find("mul", pair)
            if found is not None and found.id not in self._left:
                self._shared.add(found.id)
                return found
        return None

    def _scaled(self, rw: Rewriter, value: int, scalar: V, depth: int) -> V | None:
        """A value of the old graph times a scalar that a smaller factor of it takes; None where there is none."""
        first = len(self._graph.inputs)
        if value < first or self._uses[value] != 1 or rw.values[value].id in self._shared or not depth:
            return None
        node = self._graph.nodes[value - first]
        operands = [rw.values[i] for i in node.inputs]
        changed: tuple[int, V] | None = None
        if node.op in ("expand", "contract"):
            # No sum: of its terms, that some are infinite may not be seen before they are scaled.
            position = min(range(len(operands)), key=lambda i: math.prod(operands[i].shape))
            small = operands[position]
            single = (
                node.op == "expand" or matmul_sizes(tuple(v.spec for v in operands), str(node.attr("spec")))[2] == 1
            )
            if single and small.ndim and 2 * math.prod(small.shape) <= math.prod(node.outputs[0].shape):
                changed = position, primitive_of("mul")(small, expanded(scalar, small))
        elif node.op in ("mul", "div", "neg", "reshape", "permute"):
            for position in range(len(operands) if node.op == "mul" else 1):
                factor = self._scaled(rw, node.inputs[position], scalar, depth - 1)
                if factor is not None:
                    changed = position, factor
                    break
        if changed is None:
            return None
        self._left.add(rw.values[value].id)
        operands[changed[0]] = changed[1]
        result: V = primitive_of(node.op)(*operands, **dict(node.attrs))
        return result


def products(graph: Graph) -> Graph:
    """Products merged, scaled where they are smallest, and added once."""
    rules = _Products(graph)
    return Rewriter(graph, {"mul": rules.mul, "add": rules.add}).graph
