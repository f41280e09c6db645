"""Graphs for tests: a small maker, and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.graph import Graph, Node, TensorSpec, attrs_of
from gradmesh_engine.ops import lookup


class Maker:
    """Writes a user's graph: `m.input(...)`, then `m("op", *values, **attrs)`."""

    def __init__(self) -> None:
        self.inputs: list[TensorSpec] = []
        self.nodes: list[Node] = []
        self.specs: list[TensorSpec] = []

    def input(self, shape: tuple[int, ...], dtype: str = "float64") -> int:
        spec = TensorSpec(shape, np.dtype(dtype))
        self.inputs.append(spec)
        self.specs.append(spec)
        return len(self.specs) - 1

    def __call__(self, op: str, *operands: int, **attrs: Any) -> int:
        declared = lookup(op)
        bound = declared.bind(attrs)
        outputs = declared.infer(tuple(self.specs[i] for i in operands), bound)
        self.nodes.append(Node(op, operands, attrs_of(bound), outputs))
        first = len(self.specs)
        self.specs.extend(outputs)
        return first

    def graph(self, *outputs: int) -> Graph:
        return Graph(tuple(self.inputs), tuple(self.nodes), outputs)

    def mean(self, x: int, *dims: int) -> int:
        """The mean over `dims`, in primitives."""
        count = float(np.prod([self.specs[x].shape[d] for d in dims]))
        total = self("reduce_sum", x, dims=dims)
        return self("div", total, self("full", value=count, shape=(), dtype=self.specs[x].dtype.name))


UNARY = ("exp", "tanh", "sigmoid", "neg", "expm1")
BINARY = ("add", "sub", "mul", "maximum")


def random_graph(seed: int, rows: int = 211, size: int = 14) -> tuple[Graph, list[np.ndarray], list[int]]:
    """A graph with reductions over the rows in mid-graph, its inputs, and the values to differentiate by.

    Ends in a scalar, which is its first output; a value per row is its second.
    """
    rng = np.random.default_rng(seed)
    m = Maker()
    cols = int(rng.integers(1, 6))
    shapes = [(rows, cols), (rows, cols), (rows,), (cols,), (cols, cols), ()]
    inputs = [m.input(shape) for shape in shapes]
    arrays = [rng.normal(size=shape) * 0.5 for shape in shapes]
    pool = list(inputs)

    def pick(*shape: int) -> int:
        found = [v for v in pool if m.specs[v].shape == shape]
        return int(rng.choice(found[-4:]))

    for _ in range(size):
        kind = int(rng.integers(0, 12))
        if kind <= 2:
            v = m(str(rng.choice(UNARY)), pick(rows, cols))
        elif kind == 3:
            v = m(str(rng.choice(BINARY)), pick(rows, cols), pick(rows, cols))
        elif kind == 4:
            v = m("sub", pick(rows, cols), pick(cols))
        elif kind == 5:
            v = m("mul", pick(rows, cols), pick())
        elif kind == 6:
            v = m("contract", pick(rows, cols), pick(cols, cols), spec="ij,jk->ik")
        elif kind == 7:
            v = m.mean(pick(rows, cols), 0)
        elif kind == 8:
            v = m("contract", pick(rows, cols), pick(rows, cols), spec="ij,ik->jk")
            v = m("mul", v, m("full", value=1.0 / rows, shape=(), dtype="float64"))
        elif kind == 9:
            v = m("reduce_sum", pick(rows, cols), dims=(1,))
        elif kind == 10:
            v = m("reduce_max", pick(rows, cols), dims=(0,))
        else:
            w = m("reshape", pick(rows), shape=(rows, 1))
            v = m("add", pick(rows, cols), w)
        pool.append(v)
    last = pick(rows, cols)
    loss = m.mean(m("tanh", last), 0, 1)
    return m.graph(loss, last), arrays, [0, 2, 3, 4, 5]
