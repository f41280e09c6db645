"""Graphs that are legal and that nobody would write: what they give, and that planning them takes no longer for it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest

from gradmesh_engine.budget import Budget, spending
from gradmesh_engine.check import check
from gradmesh_engine.errors import GradmeshError, GraphTooLargeError, OutOfRangeError, ShapeError
from gradmesh_engine.graph import Graph
from gradmesh_engine.program import compile_query, grad_fns
from gradmesh_engine.session import Query
from tests.engine.graphs import Maker

INF = float("inf")


def zeros_of_both_signs(m: Maker) -> tuple[int, ...]:
    x = m.input((2,))
    return tuple(m("div", x, m("full", value=zero, shape=(2,), dtype="float64")) for zero in (0.0, -0.0))


def powers_of_equal_exponents(m: Maker) -> tuple[int, ...]:
    x = m.input((2,), "int64")
    return tuple(m("pow_scalar", x, exponent=two) for two in (2, 2.0, 2 + 0j))


def minus_zero_taken_from_minus_zero(m: Maker) -> tuple[int, ...]:
    x = m.input((1,))
    return (
        m(
            "div",
            m("full", value=1.0, shape=(1,), dtype="float64"),
            m("sub", x, m("full", value=-0.0, shape=(1,), dtype="float64")),
        ),
    )


def a_number_flipped(m: Maker) -> tuple[int, ...]:
    x = m.input(())
    return (m("exp", m("flip", m("neg", x), dims=(-1,))),)


def picked_where_there_is_no_maximum(m: Maker) -> tuple[int, ...]:
    """The kernel finds nothing to pick then; it used to give what was in memory."""
    h, x, y = m.input((4,)), m.input((4,)), m.input((2,))
    return (m("window_max_pick", h, x, y, kernel=(2,), stride=(2,), dilation=(1,)),)


ONES = np.ones(2)
VALUES: dict[str, tuple[Callable[[Maker], tuple[int, ...]], list[np.ndarray], list[np.ndarray]]] = {
    "zeros of both signs": (zeros_of_both_signs, [ONES], [INF * ONES, -INF * ONES]),
    "powers of equal exponents": (
        powers_of_equal_exponents,
        [np.array([3, -2])],
        [np.array([9, 4]), np.array([9, 4], np.float32), np.array([9, 4], np.complex64)],
    ),
    "-0.0 - -0.0": (minus_zero_taken_from_minus_zero, [np.array([-0.0])], [np.array([INF])]),
    "a number flipped": (a_number_flipped, [np.array(0.0)], [np.array(1.0)]),
    "no maximum": (
        picked_where_there_is_no_maximum,
        [np.arange(4.0), np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 4.0])],
        [np.array([0.0, 3.0])],
    ),
}


# Handed on to LAPACK, each of these would read or write where nothing is its own.
PIVOTS: dict[str, tuple[str, list[np.ndarray], dict[str, object]]] = {
    "beyond the rows": ("lu_apply", [np.eye(3), np.array([1, 2, 1 << 20]), np.ones((3, 2))], {}),
    "before the first": ("lu_apply", [np.eye(3), np.array([0, 2, 3]), np.ones((3, 2))], {}),
    "rows of rows": ("pivoted_rows", [np.array([1, 2, 9])], {"size": 3}),
    "half a block": ("ldl_apply", [np.eye(3), np.array([1, 2, -3]), np.ones((3, 2))], {}),
}


@pytest.mark.parametrize("name", PIVOTS)
def test_pivots_name_rows(name: str) -> None:
    op, arrays, attrs = PIVOTS[name]
    m = Maker()
    graph = m.graph(m(op, *[m.input(a.shape, a.dtype.name) for a in arrays], **attrs))
    with pytest.raises(OutOfRangeError):
        compile_query(graph).run(arrays)


MISFITS: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "triangle": ("triangular", [(5, 7), (7, 2)]),
    "right side": ("lu_apply", [(3, 3), (3,), (4, 2)]),
    "factors": ("cholesky_apply", [(3, 2), (2, 2)]),
    "exponential": ("expm", [(5, 1)]),
    "eigenvalues": ("eigh_packed", [(5, 7)]),
}


@pytest.mark.parametrize("name", MISFITS)
def test_matrices_fit_each_other(name: str) -> None:
    op, shapes = MISFITS[name]
    m = Maker()
    with pytest.raises(ShapeError):
        m(op, *[m.input(shape) for shape in shapes], **({"upper": True} if op == "triangular" else {}))


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    make, arrays, expected = VALUES[name]
    m = Maker()
    graph = m.graph(*make(m))
    for got, right in zip(compile_query(graph).run(arrays), expected, strict=True):
        assert got.dtype == right.dtype
        np.testing.assert_array_equal(got, right)


def test_a_node_without_results_leaves_no_grad_fn() -> None:
    m = Maker()
    x = m.input((0, 3))
    m("unbind", x, dim=0)
    assert grad_fns(m.graph(x)) == ()
    m("exp", x)
    assert [fn.name for fn in grad_fns(m.graph(x))] == ["ExpBackward0"]


# --- what planning takes --------------------------------------------------------------------------


def many_stages(count: int) -> Graph:
    m = Maker()
    v = m.input((3000, 40))
    for _ in range(count):
        v = m("sub", v, m.mean(v, 0))
    return m.graph(v)


def layouts_of_layouts(count: int) -> Graph:
    """Products of every value of a long chain of layout changes, which begins with one number."""
    m = Maker()
    v = m("expand", m.input(()), shape=(2, 3))
    chain = []
    for _ in range(count):
        v = m("reshape", m("permute", v, dims=(1, 0)), shape=(2, 3))
        chain.append(v)
    return m.graph(*[m("mul", c, v) for c in chain])


def flips_in_many_stages(count: int) -> Graph:
    """Views cost nothing, and each stage might run all of them again."""
    m = Maker()
    v = m.input((3000, 40))
    for _ in range(count):
        v = m("flip", v, dims=(1,))
    for _ in range(count):
        v = m("sub", v, m.mean(v, 0))
    return m.graph(v)


@pytest.mark.parametrize("make", [many_stages, layouts_of_layouts, flips_in_many_stages])
def test_planning_takes_time_in_proportion(make: Callable[[int], Graph]) -> None:
    def seconds(count: int) -> float:
        graph = make(count)
        gc.disable()  # What it takes depends on all the other tests.
        try:
            begin = time.process_time()
            compile_query(graph)
            return time.process_time() - begin
        finally:
            gc.enable()

    seconds(20)
    # Eight times as much takes about eight times as long; with the square it would be sixty-four times. Other threads
    # of the process are counted, too: what is measured once may be wrong.
    assert any(seconds(1200) < 24 * seconds(150) for _ in range(3))


def endless_parts() -> Graph:
    m = Maker()
    x = m.input((10,))
    return _raw(m, "tensor_split", x, sections=1 << 62)


def endless_means() -> Graph:
    m = Maker()
    x = m.input((1, 1, 10))
    return _raw(m, "adaptive_avg_pool1d", x, output_size=((1 << 62) - 1,))


def _raw(m: Maker, op: str, x: int, **attrs: object) -> Graph:
    from gradmesh_engine.graph import Node, attrs_of
    from gradmesh_engine.ops import lookup

    node = Node(op, (x,), attrs_of(lookup(op).bind(attrs)), ())
    return Graph(tuple(m.inputs), (node,), ())


@pytest.mark.parametrize("make", [endless_parts, endless_means])
def test_a_budget_ends_what_has_no_end(make: Callable[[], Graph]) -> None:
    graph = make()
    budget = Budget(5000)
    with spending(budget), pytest.raises(GraphTooLargeError) as caught:
        check(graph)
    assert budget.overdrawn
    assert (caught.value.op, caught.value.node) == (graph.nodes[0].op, 0)


def test_work_stops_at_a_checkpoint() -> None:
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise GradmeshError("enough")

    graph = layouts_of_layouts(300)
    with spending(Budget(1 << 40, checkpoint)), pytest.raises(GradmeshError, match="enough"):
        compile_query(graph, Query())
    compile_query(graph, Query())
    assert calls == 3
