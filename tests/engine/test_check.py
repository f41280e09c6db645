"""What is not a legal graph is told so, at its node, with the user's line and a remedy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradmesh_engine import errors
from gradmesh_engine.check import check
from gradmesh_engine.graph import Graph, Node, TensorSpec
from gradmesh_engine.program import arrays_of, compile_query
from gradmesh_engine.session import Query, Request
from tests.engine.graphs import Maker

F8 = np.dtype("float64")
VEC = TensorSpec((3,), F8)


def legal() -> Graph:
    m = Maker()
    x = m.input((3,))
    y = m("exp", x)
    return replace(m.graph(m("add", x, y)), sources=("net.py:7", "net.py:8"))


def changed(index: int, **fields: object) -> Graph:
    graph = legal()
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **fields)  # type: ignore[arg-type]
    return replace(graph, nodes=tuple(nodes))


BROKEN = [
    ("unknown op", changed(1, op="frobnicate"), errors.UnknownOpError, 1),
    ("too few operands", changed(1, inputs=(0,)), errors.ArityError, 1),
    ("too many operands", changed(0, inputs=(0, 0)), errors.ArityError, 0),
    ("unknown attribute", changed(0, attrs=(("beta", 1.0),)), errors.AttributeTypeError, 0),
    ("own result as operand", changed(0, inputs=(1,)), errors.CycleError, 0),
    ("later result as operand", changed(0, inputs=(2,)), errors.CycleError, 0),
    ("no such value", changed(1, inputs=(0, 9)), errors.MissingInputError, 1),
    ("negative value", changed(1, inputs=(0, -1)), errors.MissingInputError, 1),
    ("wrong result shape", changed(1, outputs=(TensorSpec((4,), F8),)), errors.ShapeError, 1),
    ("wrong result dtype", changed(0, outputs=(TensorSpec((3,), np.dtype("float32")),)), errors.ShapeError, 0),
    ("no result", changed(1, outputs=()), errors.ShapeError, 1),
    ("negative dim", replace(legal(), inputs=(TensorSpec((-3,), F8),)), errors.ShapeError, -1),
    ("impossible size", replace(legal(), inputs=(TensorSpec((1 << 40, 1 << 40), F8),)), errors.ShapeError, -1),
    ("too many dims", replace(legal(), inputs=(TensorSpec((1,) * 65, F8),)), errors.ShapeError, -1),
    ("unknown dtype", replace(legal(), inputs=(TensorSpec((3,), np.dtype("U3")),)), errors.UnknownDTypeError, -1),
    ("no such output", replace(legal(), outputs=(7,)), errors.MissingInputError, -1),
]


def test_a_legal_graph_passes() -> None:
    check(legal())


@pytest.mark.parametrize(("graph", "error", "node"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_broken_graph(graph: Graph, error: type[errors.GradmeshError], node: int) -> None:
    with pytest.raises(error) as caught:
        check(graph)
    assert caught.value.node == node
    if node >= 0:
        assert caught.value.source == f"net.py:{7 + node}"
        assert caught.value.op == graph.nodes[node].op


def test_shapes_that_do_not_match_name_both() -> None:
    node = Node("add", (0, 1), (), (VEC,))
    graph = Graph((VEC, TensorSpec((4,), F8)), (node,), (2,), ("net.py:3",))
    with pytest.raises(errors.ShapeError, match="size of tensor a") as caught:
        check(graph)
    assert "[3]" in caught.value.got and "[4]" in caught.value.got and caught.value.source == "net.py:3"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (Query((2,), (0,), (False,)), errors.NotDifferentiableError),
        (Query((2,), (0,), ()), errors.InvalidGraphError),
        (Query((9,), (0,), (True,)), errors.InvalidGraphError),
        (Query((2,), (-1,), (True,)), errors.InvalidGraphError),
    ],
    ids=["vector without cotangent", "no flags", "no such value", "negative value"],
)
def test_broken_query(query: Query, error: type[errors.GradmeshError]) -> None:
    with pytest.raises(error):
        compile_query(legal(), query)


def test_integers_have_no_gradient() -> None:
    m = Maker()
    x = m.input((3,), "int64")
    y = m("reduce_sum", x, dims=(0,))
    with pytest.raises(errors.NotDifferentiableError, match="floating point and complex"):
        compile_query(m.graph(y), Query((y,), (x,), (False,)))


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ((), errors.MissingInputError),
        ((np.zeros(3), np.zeros(3)), errors.MissingInputError),
        ((np.zeros(4),), errors.InputMismatchError),
        ((np.zeros(3, np.float32),), errors.InputMismatchError),
    ],
    ids=["none", "too many", "shape", "dtype"],
)
def test_inputs_that_are_not_as_declared(inputs: tuple[np.ndarray, ...], error: type[errors.GradmeshError]) -> None:
    program = compile_query(legal())
    with pytest.raises(error):
        arrays_of(program, Request(program.graph, inputs))


def test_an_index_out_of_range_is_placed_while_running() -> None:
    m = Maker()
    table, ids = m.input((5, 2)), m.input((3,), "int64")
    rows = m("take", table, ids, dim=0)
    graph = replace(m.graph(m("exp", rows)), sources=("net.py:1", "net.py:2"))
    program = compile_query(graph)
    with pytest.raises(errors.OutOfRangeError) as caught:
        program.run([np.zeros((5, 2)), np.array([0, 5, 1])])
    assert caught.value.source == "net.py:1" and caught.value.node == 0
    assert program.run([np.zeros((5, 2)), np.array([0, 4, 1])])[0].shape == (3, 2)
