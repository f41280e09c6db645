"""A large table's gradient is added up once, of what every block gives; the rows of bags are not made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradmesh_engine.plan import Plan, blocks, stages
from gradmesh_engine.program import Program, compile_query
from gradmesh_engine.session import Query
from tests.engine.graphs import Maker
from tests.engine.test_layout import check_bits, plain

WORDS, WIDTH, BAGS, LENGTH = 300, 9, 96, 5


def _bags(m: Maker, table: int, words: int) -> int:
    return m("reduce_sum", m("take", table, words), dims=(1,))


def _scaled(m: Maker, table: int, words: int) -> int:
    """The rows are used, too, and what is added to the table's gradient is of its size."""
    rows = m("take", table, words)
    return m("reduce_sum", m("mul", rows, m("tanh", rows)), dims=(1,))


def _program(write: Callable[[Maker, int, int], int]) -> tuple[Program, list[np.ndarray], list[np.ndarray]]:
    m = Maker()
    table, words = m.input((WORDS, WIDTH)), m.input((BAGS, LENGTH), "int64")
    value = m("exp", write(m, table, words))
    loss = m.mean(m("mul", value, value), 0, 1)
    graph, query = m.graph(loss), Query((loss,), (table,), (False,))
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(WORDS, WIDTH)), rng.integers(-WORDS, WORDS, (BAGS, LENGTH))]
    return compile_query(graph, query), arrays, plain(graph, query, arrays)


def _where(plan: Plan, op: str) -> set[str]:
    nodes = plan.graph.nodes
    parts = {"once": (s.whole for s in plan.stages), "in blocks": (s.body for s in plan.stages)}
    return {name for name, each in parts.items() for part in each for index in part if nodes[index].op == op}


@pytest.mark.parametrize(("write", "least", "expected"), [
    (_bags, 1 << 10, "once"), (_bags, 1 << 20, "in blocks"), (_scaled, 1 << 10, "in blocks"),
])  # fmt: skip
def test_gradients_of_tables(
    write: Callable[[Maker, int, int], int], least: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradmesh_engine.plan.SMALL_BYTES", -1)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(stages, "GATHERED_BYTES", least)
    monkeypatch.setattr("gradmesh_engine.ops.indexing._SORTED_BYTES", least)
    monkeypatch.setattr("gradmesh_engine.ops.indexing._TOGETHER_BYTES", 1000)
    program, arrays, values = _program(write)
    assert _where(program.plan, "put_add") == {expected}
    assert _where(program.plan, "take_sum") == ({"in blocks"} if write is _bags else set())
    check_bits(program, arrays, values)
