"""Segments are computed again rather than stored: less memory, the same bits, however their nodes lie."""

from __future__ import annotations

import numpy as np
import pytest

from gradmesh_engine.execute import run_plan
from gradmesh_engine.graph import Graph
from gradmesh_engine.plan import Plan, blocks, plan_text
from gradmesh_engine.program import compile_query
from gradmesh_engine.session import Query
from tests.engine.graphs import Maker, random_graph
from tests.engine.test_plan import ranges_of, run_divided


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks of few rows, on graphs of any size."""
    monkeypatch.setattr("gradmesh_engine.plan.SMALL_BYTES", -1)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1500)
    monkeypatch.setattr(blocks, "MOST_GROUPS", 9)


def stored_bytes(plan: Plan) -> int:
    return sum(plan.graph.specs[slot.value].nbytes for stage in plan.stages for slot in stage.stores)


def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the hint whatever it saves."""
    falling = iter(range(0, -(1 << 20), -1))
    monkeypatch.setattr("gradmesh_engine.plan._peak", lambda *_: next(falling))


@pytest.mark.parametrize("seed", range(60))
def test_any_segments_give_the_same_bits(seed: int, small_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, arrays, wrt = random_graph(seed, size=24)
    query = Query((graph.outputs[0],), tuple(wrt), (False,))
    plain = compile_query(graph, query).plan
    rng = np.random.default_rng(seed)
    # Runs of nodes, as a user's calls are, and now and then nodes of any segment.
    numbers = np.sort(rng.integers(0, 4, len(graph.nodes)))
    if seed % 3 == 0:
        numbers = rng.integers(-2, 4, len(graph.nodes))
    always(monkeypatch)
    hinted = compile_query(graph, Query(query.of, query.wrt, query.given, tuple(map(int, numbers)))).plan
    assert hinted.split == plain.split and len(hinted.stages) == len(plain.stages)
    expected = run_plan(plain, arrays)
    for a, b in zip(run_plan(hinted, arrays), expected, strict=True):
        assert a.tobytes() == b.tobytes(), plan_text(hinted)
    assert hinted.split is not None
    for a, b in zip(run_divided(hinted, arrays, ranges_of(hinted.split.groups, 3)), expected, strict=True):
        assert a.tobytes() == b.tobytes()


def deep(layers: int, per_segment: int, turned: bool = False) -> tuple[Graph, int, tuple[int, ...], tuple[int, ...]]:
    """Products whose columns are centred and scaled over the rows, one after the other; and their segments."""
    m = Maker()
    x = m.input((4096, 32), "float32")
    weights = [m.input((32, 32), "float32") for _ in range(layers)]
    segments: list[int] = []
    for layer, w in enumerate(weights):
        if turned:  # a view between two products
            z = m("permute", m("contract", x, w, spec="ij,jk->ki"), dims=(1, 0))
        else:
            z = m("contract", x, w, spec="ij,jk->ik")
        centred = m("sub", z, m.mean(z, 0))
        scale = m("sqrt", m.mean(m("mul", centred, centred), 0))
        x = m("tanh", m("div", centred, scale))
        segments += [1 + layer // per_segment] * (len(m.nodes) - len(segments))
    loss = m.mean(m("mul", x, x), 0, 1)
    segments += [0] * (len(m.nodes) - len(segments))
    return m.graph(loss), loss, tuple(weights), tuple(segments)


@pytest.mark.parametrize("turned", [False, True])
def test_a_deep_graph_needs_less_memory(turned: bool) -> None:
    """Views that the plain plan stores come back dense, so they stay stored, and no bit changes."""
    graph, loss, weights, _ = deep(12, 1, turned)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=spec.shape).astype(spec.dtype) for spec in graph.inputs]
    plain = compile_query(graph, Query((loss,), weights, (False,))).plan
    expected = run_plan(plain, arrays)
    peaks = []
    for per_segment in (1, 3, 4):
        segments = deep(12, per_segment, turned)[3]
        hinted = compile_query(graph, Query((loss,), weights, (False,), segments)).plan
        assert turned or stored_bytes(hinted) < stored_bytes(plain), plan_text(hinted)
        for a, b in zip(run_plan(hinted, arrays), expected, strict=True):
            assert a.tobytes() == b.tobytes()
        peaks.append(hinted.peak_bytes)
    if not turned:
        assert plain.peak_bytes > peaks[0] > peaks[1] > 0
        assert min(peaks) < 0.55 * plain.peak_bytes


def test_one_stage_is_planned_as_without() -> None:
    m = Maker()
    x, w = m.input((200_000, 16), "float32"), m.input((16, 16), "float32")
    loss = m.mean(m("tanh", m("contract", x, w, spec="ij,jk->ik")), 0, 1)
    graph = m.graph(loss)
    plain = compile_query(graph, Query((loss,), (w,), (False,))).plan
    hinted = compile_query(graph, Query((loss,), (w,), (False,), (1,) * len(graph.nodes))).plan
    assert plain.split is not None and plain.stages == hinted.stages and plain.peak_bytes == hinted.peak_bytes
