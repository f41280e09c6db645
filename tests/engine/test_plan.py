"""Splitting never changes a result: against the whole graph, in any division of the groups."""

from __future__ import annotations

import numpy as np
import pytest

from gradmesh_engine.combine import finish, merge
from gradmesh_engine.execute import Piece, StageRunner, run_plan
from gradmesh_engine.lower import lower
from gradmesh_engine.plan import Plan, blocks, plan, plan_text
from gradmesh_engine.plan.axes import candidate_axes, factors_of
from gradmesh_engine.plan.stages import cut
from gradmesh_engine.program import compile_query
from gradmesh_engine.session import Query
from gradmesh_engine.simplify import PASSES
from tests.engine.graphs import Maker, random_graph


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks of few rows, on graphs of any size."""
    monkeypatch.setattr("gradmesh_engine.plan.SMALL_BYTES", -1)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1500)
    monkeypatch.setattr(blocks, "MOST_GROUPS", 9)


def run_divided(plan: Plan, inputs: list[np.ndarray], ranges: list[tuple[int, int]]) -> list[np.ndarray]:
    """As a cluster would: every range with a runner and input pieces of its own, partials merged at random."""
    rng = np.random.default_rng(len(ranges))
    values: dict[int, np.ndarray] = dict(enumerate(inputs))
    for stage in plan.stages:
        values.update(StageRunner(plan, stage.index).run_whole(values))
        if not stage.body:
            continue
        assert plan.split is not None
        trees, pieces = [], []
        for first, stop in ranges:
            lo, hi = plan.split.group_rows(first)[0], plan.split.group_rows(stop - 1)[1]
            given: dict[int, np.ndarray | Piece] = {}
            for slot in stage.reads:
                whole = values[slot.value]
                if slot.dim is None:
                    given[slot.value] = whole
                    continue
                cut = [slice(None)] * whole.ndim
                cut[slot.dim] = slice(lo * slot.scale, hi * slot.scale)
                given[slot.value] = Piece(np.ascontiguousarray(whole[tuple(cut)]), lo * slot.scale)
            result = StageRunner(plan, stage.index).run_groups(first, stop, given)
            for tree in result.partials:
                for array in tree.values.values():
                    array.flags.writeable = False
            trees += result.partials
            pieces.append(result.stores)
        some = [trees[i] for i in rng.permutation(len(trees))]
        values.update(finish(plan, stage.index, [*merge(plan, stage.index, some[::2]), *some[1::2]]))
        for slot in stage.stores:
            assert slot.dim is not None
            values[slot.value] = np.concatenate([p[slot.value] for p in pieces], axis=slot.dim)
    return [values[v] for v in plan.graph.outputs]


def ranges_of(groups: int, parts: int) -> list[tuple[int, int]]:
    edges = sorted({0, groups, *(groups * k // parts for k in range(1, parts))})
    return list(zip(edges[:-1], edges[1:], strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_split_is_whole_and_any_division_gives_the_same_bits(seed: int, small_blocks: None) -> None:
    graph, arrays, wrt = random_graph(seed)
    query = Query((graph.outputs[0],), tuple(wrt), (False,))
    program = compile_query(graph, query)
    split = program.plan.split
    assert split is not None and split.groups >= 2, plan_text(program.plan)
    got = program.run(arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradmesh_engine.plan.SMALL_BYTES", 1 << 60)
        whole = compile_query(graph, query)
    assert whole.plan.split is None
    for a, b in zip(got, whole.run(arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    for parts in (1, 2, 3, split.groups):
        divided = run_divided(program.plan, arrays, ranges_of(split.groups, parts))
        for a, b in zip(got, divided, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("seed", range(40, 60))
def test_every_pass_keeps_the_meaning(seed: int) -> None:
    graph, arrays, _ = random_graph(seed)
    current = lower(graph)
    expected = run_plan(plan(current), arrays)
    for name, run in PASSES:
        current = run(current)
        for a, b in zip(run_plan(plan(current), arrays), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_finite_differences(seed: int, small_blocks: None) -> None:
    graph, arrays, wrt = random_graph(seed)
    program = compile_query(graph, Query((graph.outputs[0],), tuple(wrt), (False,)))
    result = program.split_result(program.run(arrays))
    rng = np.random.default_rng(seed)
    directions = [rng.normal(size=arrays[i].shape) for i in wrt]
    along = sum(float((g * d).sum()) for g, d in zip(result.gradients, directions, strict=True) if g is not None)

    def loss(step: float) -> float:
        moved = list(arrays)
        for i, d in zip(wrt, directions, strict=True):
            moved[i] = arrays[i] + step * d
        return float(program.run(moved)[0])

    h = 1e-6
    assert along == pytest.approx((loss(h) - loss(-h)) / (2 * h), rel=1e-4, abs=1e-8)


def test_batch_statistics_end_a_stage(small_blocks: None) -> None:
    m = Maker()
    x, gain = m.input((64, 3)), m.input((3,))
    mean = m.mean(x, 0)
    centred = m("sub", x, mean)
    variance = m.mean(m("mul", centred, centred), 0)
    y = m("mul", m("div", centred, m("sqrt", variance)), gain)
    loss = m.mean(m("tanh", y), 0, 1)
    program = compile_query(m.graph(loss), Query((loss,), (x, gain), (False,)))
    bodies = [stage.index for stage in program.plan.stages if stage.body]
    assert len(bodies) == 5, plan_text(program.plan)
    stored = [slot.value for stage in program.plan.stages for slot in stage.stores]
    ops = {program.plan.graph.nodes[v - 2].op for v in stored}
    assert "sub" not in ops, "what is centred is cheap to make again"


def test_plan_is_a_function_of_the_graph_alone() -> None:
    graph, _, wrt = random_graph(3)
    query = Query((graph.outputs[0],), tuple(wrt), (False,))
    assert compile_query(graph, query).plan == compile_query(graph, query).plan


def test_a_loss_is_reduced_where_its_operands_are_wanted(small_blocks: None) -> None:
    """A count all gradients wait for must not tear the forward pass from the backward one."""
    m = Maker()
    x, w, mask = m.input((96, 4)), m.input((4, 3)), m.input((96, 3), "bool")
    h = m("tanh", m("contract", x, w, spec="ij,jk->ik"))
    count = m("reduce_sum", m("convert", mask, dtype="float64"), dims=(0, 1))
    weight = m("div", m("full", value=1.0, shape=(), dtype="float64"), count)
    loss = m("reduce_sum", m("mul", m("keep", m("mul", h, h), mask), weight), dims=(0, 1))
    program = compile_query(m.graph(loss), Query((loss,), (w,), (False,)))
    stages = [stage for stage in program.plan.stages if stage.body]
    assert len(stages) == 2 and not any(stage.stores for stage in stages), plan_text(program.plan)
    assert len(stages[0].partials) == 1 and len(stages[1].partials) == 2


def test_values_are_used_soon_after_they_are_made(small_blocks: None) -> None:
    """However the user orders operations, a block has the rows that the best order leaves room for."""
    x = np.random.default_rng(5).normal(size=512)
    programs = []
    for at_once in (True, False):
        m = Maker()
        given, total = m.input((512,)), m.input((512,))
        powers = [given]
        for _ in range(8):
            powers.append(m("mul", powers[-1], given))
            if not at_once:
                total = m("add", total, m("tanh", powers[-1]))
        for power in powers[1:] if at_once else ():
            total = m("add", total, m("tanh", power))
        programs.append(compile_query(m.graph(total), Query((), (), ())))
    wide, narrow = (program.plan for program in programs)
    assert wide.split == narrow.split
    assert [sorted(stage.body) for stage in wide.stages] != [list(stage.body) for stage in wide.stages]
    assert all(sorted(stage.body) == list(stage.body) for stage in narrow.stages)
    for program in programs:
        (got,) = program.run([x, x])
        np.testing.assert_allclose(got, x + sum(np.tanh(x ** (k + 2)) for k in range(8)), rtol=1e-12)


def test_the_rows_are_cut_though_columns_need_no_second_stage() -> None:
    """A matrix read whole is read again for every block: cutting its product's columns is no bargain."""
    m = Maker()
    x, w = m.input((200_000, 32), "float32"), m.input((32, 32), "float32")
    h = m("contract", x, w, spec="ij,jk->ik")
    centred = m("sub", h, m.mean(h, 0))
    loss = m.mean(m("tanh", centred), 0, 1)
    split = compile_query(m.graph(loss), Query((loss,), (w,), (False,))).plan.split
    assert split is not None and split.length == 200_000 and split.groups >= 8


def test_heavy_work_is_cut_for_workers_to_share() -> None:
    m = Maker()
    x, w = m.input((1024, 512), "float32"), m.input((512, 512), "float32")
    loss = m.mean(m("tanh", m("contract", x, w, spec="ij,jk->ik")), 0, 1)
    split = compile_query(m.graph(loss), Query((loss,), (w,), (False,))).plan.split
    assert split is not None and split.groups >= 8


def test_work_that_adding_up_gradients_would_outweigh_is_not_cut() -> None:
    m = Maker()
    x, w = m.input((64, 512), "float32"), m.input((512, 512), "float32")
    loss = m.mean(m("tanh", m("contract", x, w, spec="ij,jk->ik")), 0, 1)
    assert compile_query(m.graph(loss), Query((loss,), (w,), (False,))).plan.split is None


@pytest.mark.parametrize(
    ("length", "rows", "block"), [(100, 120.0, 100), (2048, 255.0, 256), (16, 2.0, 2), (1_000_000, 26214.4, 29696)]
)
def test_blocks_come_in_pairs_of_nearly_equal_ones(length: int, rows: float, block: int) -> None:
    assert blocks.even_rows(length, rows) == block


def test_blocks_are_little_larger_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    for length, part in zip(rng.integers(2, 1 << 20, 500).tolist(), rng.uniform(0, 0.5, 500).tolist(), strict=True):
        rows = max(1.0, part * length)
        block = blocks.even_rows(length, rows)
        assert block <= max(2.0, rows * (1 + blocks.SLACK) * 33 / 32 + 1)
        assert -(-length // block) * block - length <= max(block / 32, 1) * -(-length // block), (length, rows)


@pytest.mark.parametrize(("rows", "at_least"), [(400, 100), (1000, 250), (2048, 512), (30_000, 1000)])
def test_what_a_block_only_writes_needs_no_cache(rows: int, at_least: int) -> None:
    m = Maker()
    x, y = m.input((rows, 64), "float32"), m.input((rows, 64), "float32")
    outer = m("contract", x, m("exp", y), spec="ni,nj->nij")

    def block(*outputs: int) -> int:
        graph = lower(m.graph(*outputs))
        rules = factors_of(graph)
        (axis,) = [axis for axis in candidate_axes(graph, rules) if axis.length == rows]
        return blocks.choose_split(graph, cut(graph, rules, axis), rows, 1e7)[0].block

    most = blocks.BLOCK_BYTES * (1 + blocks.SLACK) / (64 * 64 * 4)
    assert at_least <= block(outer) <= most * blocks.MOST_WRITTEN
    assert block(outer, m("exp", outer)) <= most  # Read again.
