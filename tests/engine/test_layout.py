"""Turning blocks changes neither meaning nor the bits of any division, and is done where it pays only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradmesh_engine.graph import Graph
from gradmesh_engine.plan import Plan, blocks, layout
from gradmesh_engine.program import Program, compile_query
from gradmesh_engine.session import Query
from tests.engine.graphs import Maker, random_graph
from tests.engine.test_plan import ranges_of, run_divided

ROWS, COLUMNS, PAIRS = 96, 5, 4


@pytest.fixture(params=["split", "whole"])
def turned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can be turned is, in many small blocks or in one."""
    monkeypatch.setattr("gradmesh_engine.plan.SMALL_BYTES", -1)
    monkeypatch.setattr(layout, "LEAST_GAIN", -1e9)
    monkeypatch.setattr(blocks, "MOST_GROUPS", 9)
    if request.param == "split":
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 3000)


def plain(graph: Graph, query: Query, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The values of a graph that is neither cut nor turned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradmesh_engine.plan.SMALL_BYTES", 1 << 60)
        return compile_query(graph, query).run(arrays)


def check_bits(program: Program, arrays: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """A program's values are right, and have the same bits in any division."""
    got = program.run(arrays)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert a.flags.c_contiguous
    split = program.plan.split
    for parts in () if split is None else (1, 2, 3, split.groups):
        assert split is not None
        for a, b in zip(got, run_divided(program.plan, arrays, ranges_of(split.groups, parts)), strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_turned(seed: int, turned: None) -> None:
    graph, arrays, wrt = random_graph(seed)
    query = Query((graph.outputs[0],), tuple(wrt), (False,))
    check_bits(compile_query(graph, query), arrays, plain(graph, query, arrays))


def _softmax(m: Maker, x: int, w: int, y: int) -> int:
    there = m("reshape", m("exp", x), shape=(ROWS, COLUMNS * PAIRS))
    return m("softmax", m("add", m("reshape", there, shape=(ROWS, COLUMNS, PAIRS)), y), dim=1)


def _permuted(m: Maker, x: int, w: int, y: int) -> int:
    turned = m("tanh", m("permute", x, dims=(2, 0, 1)))
    return m("mul", m("permute", turned, dims=(1, 2, 0)), y)


def _product(m: Maker, x: int, w: int, y: int) -> int:
    flat = m("reshape", x, shape=(ROWS, 20))
    change = m("sub", m("contract", flat, w, spec="nk,kj->nj"), flat)
    return m("reshape", m("exp", change), shape=(ROWS, COLUMNS, PAIRS))


def _normalised(m: Maker, x: int, w: int, y: int) -> int:
    mean = m.mean(x, 0, 2)
    centred = m("sub", x, m("reshape", mean, shape=(1, COLUMNS, 1)))
    spread = m("sqrt", m.mean(m("mul", centred, centred), 0, 2))
    return m("tanh", m("div", centred, m("reshape", spread, shape=(1, COLUMNS, 1))))


def _sorted(m: Maker, x: int, w: int, y: int) -> int:
    rank = m("cumsum", m("exp", m("mul", x, y)), dim=2)
    return m("mul", rank, m("reshape", m("reduce_max", x, dims=(1, 2)), shape=(ROWS, 1, 1)))


def _interleaved(m: Maker, x: int, w: int, y: int) -> int:
    """A reshape that takes the axis apart: its operand has to lie in C order."""
    pairs = m("reshape", m("exp", m("add", x, y)), shape=(ROWS // 2, 2 * COLUMNS, PAIRS))
    return m("mul", m("reshape", pairs, shape=(ROWS, COLUMNS, PAIRS)), y)


GRAPHS = (_softmax, _permuted, _product, _normalised, _sorted, _interleaved)


@pytest.mark.parametrize("outputs", ["loss", "values"])
@pytest.mark.parametrize("write", GRAPHS)
def test_programs_turned(write: Callable[[Maker, int, int, int], int], outputs: str, turned: None) -> None:
    m = Maker()
    x, w, y = m.input((ROWS, COLUMNS, PAIRS)), m.input((20, 20)), m.input((PAIRS,))
    value = write(m, x, w, y)
    loss = m.mean(m("mul", value, value), 0, 1, 2)
    graph = m.graph(*((loss,) if outputs == "loss" else (loss, value)))
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=spec.shape) for spec in graph.inputs]
    query = Query((loss,), (x, w, y), (False,))
    program = compile_query(graph, query)
    assert _turned_values(program.plan), "nothing is turned"
    check_bits(program, arrays, plain(graph, query, arrays))


@pytest.mark.parametrize("shape", [(3, 4), (3, 3), (4, 1), (0, 4), (4, 0)])
def test_pairs_of_columns_turned(shape: tuple[int, int], turned: None) -> None:
    """A dim that meets another of the same value cannot run along the same axis."""
    rows, columns = shape
    m = Maker()
    x, row = m.input(shape), m.input((columns,))
    first = m("reshape", m("exp", m("add", x, row)), shape=(rows, columns, 1))
    second = m("reshape", m("tanh", x), shape=(rows, 1, columns))
    total = m("reduce_sum", m("mul", m("sub", first, second), first), dims=(1, 2))
    loss = m("reduce_sum", total, dims=(0,))
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=shape), rng.normal(size=columns)]
    query = Query((loss,), (x, row), (False,))
    check_bits(compile_query(m.graph(loss, total), query), arrays, plain(m.graph(loss, total), query, arrays))


def _turned_values(plan: Plan) -> int:
    """How many values of the plan have the rows of the tests innermost."""
    return sum(len(spec.shape) > 1 and spec.shape[-1] == ROWS for spec in plan.graph.specs)


def _loss(rows: int, columns: int, *, read: bool) -> tuple[Graph, Query]:
    """Log-sum-exp of every row: of a matrix that is given, or of one made of a vector and a row."""
    m = Maker()
    x, row = m.input((rows, columns) if read else (rows, 1), "float32"), m.input((columns,), "float32")
    loss = m.mean(m("logsumexp", m("mul", x, row), dim=(1,)), 0)
    return m.graph(loss), Query((loss,), (row,), (False,))


@pytest.mark.parametrize(
    ("rows", "columns", "read", "expected"),
    [
        (200_000, 24, False, True),
        (200_000, 24, True, True),
        (3000, 24, False, True),
        (200_000, 600, False, False),  # long enough as they are
        (24, 3000, False, False),  # few rows of many columns
    ],
)
def test_blocks_are_turned_where_rows_are_short(rows: int, columns: int, read: bool, expected: bool) -> None:
    plan = compile_query(*_loss(rows, columns, read=read)).plan
    assert any(spec.shape == (columns, rows) for spec in plan.graph.specs) == expected


def test_stored_values_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradmesh_engine.plan.SMALL_BYTES", -1)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1500)
    m = Maker()
    x, w = m.input((64, 3)), m.input((3, 4))
    turned = m("exp", m("permute", m("contract", x, w, spec="nk,kj->nj"), dims=(1, 0)))
    total = m("reduce_sum", turned, dims=(1,))
    after = m("div", turned, m("reshape", total, shape=(4, 1)))
    loss = m.mean(m("mul", after, after), 0, 1)
    program = compile_query(m.graph(loss), Query((loss,), (w,), (False,)))
    (value,) = program.plan.packed
    assert program.plan.graph.specs[value].shape == (4, 64)
    slots = [slot for stage in program.plan.stages for slot in (*stage.reads, *stage.stores) if slot.value == value]
    assert len(slots) >= 2 and {(slot.dim, slot.scale, slot.packed) for slot in slots} == {(0, 4, True)}
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=(64, 3)), rng.normal(size=(3, 4))]
    check_bits(program, arrays, plain(m.graph(loss), program.query, arrays))
