"""Plans cut into tasks: run without Ray, in several orders, they give the bits of a run in process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradmesh_engine.backend import Operand, Pieces
from gradmesh_engine.plan import Plan
from gradmesh_engine.program import compile_query
from gradmesh_engine.session import Query
from gradmesh_worker.actor import Worker
from gradmesh_worker.calls import Bind, Call, Report
from gradmesh_worker.placement import Placement
from gradmesh_worker.tasks import (
    FromInput,
    OutputInput,
    OutputWhole,
    TaskGraph,
    cut_ranges,
    make_tasks,
    piece_bounds,
)
from tests.cluster.cases import BUILDERS, Case, assert_same_bits, case
from tests.engine.graphs import random_graph


def run_tasks(graph: TaskGraph, operands: tuple[Operand, ...], *, map_whole: bool, seed: int) -> list[Any]:
    """Every task on its own worker object, in a random order that its needs allow."""
    store: list[Any] = []
    placement = Placement(lambda thing: store.append(thing) or len(store) - 1, 1 << 40)
    placed = placement.find(graph, operands, map_whole=map_whole)
    for put in placed.missing:
        put()
    rng = np.random.default_rng(seed)
    results: dict[int, list[Any]] = {}
    while len(results) < len(graph.tasks):
        open_tasks = [t for t in graph.tasks if t.id not in results and all(n in results for n in t.needs)]
        task = open_tasks[rng.integers(len(open_tasks))]
        arguments, binds = [], []
        for arg in task.args:
            if isinstance(arg, FromInput):
                given, bind = placed.argument(arg)
                if bind.kind == "values" and bind in binds:
                    continue
                arguments.append(store[given] if isinstance(given, int) else given)
            else:
                values = graph.tasks[arg.task].parts[arg.part]
                start = 0
                if arg.bind == "piece":
                    start = piece_bounds(graph.plan, graph.ranges, values[0])[task.range][0]
                bind = Bind(arg.bind, values, start)
                arguments.append(results[arg.task][arg.part])
            binds.append(bind)
        groups = graph.ranges[task.range] if task.range >= 0 else (0, 0)
        call = Call(b"", None, 1, task.kind, task.stage, groups, tuple(binds), task.parts, task.whole_first)
        worker = Worker()
        worker.keep_plan(b"", graph.plan)
        report, *results[task.id] = worker.run(call, *arguments)
        assert isinstance(report, Report)
        assert report.error is None, report.error
    outputs: list[Any] = []
    for value, output in zip(graph.plan.graph.outputs, graph.outputs, strict=True):
        if isinstance(output, OutputInput):
            outputs.append(operands[output.value].array)
        elif isinstance(output, OutputWhole):
            outputs.append(results[output.task][output.part][output.at])
        else:
            parts = tuple(results[task][part] for task, part in output.pieces)
            outputs.append(Pieces(graph.plan.graph.specs[value], output.dim, parts))
    return outputs


def even_ranges(plan: Plan, count: int) -> tuple[tuple[int, int], ...]:
    groups = plan.split.groups if plan.split is not None else 1
    borders = sorted({round(i * groups / count) for i in range(count + 1)})
    return tuple(zip(borders, borders[1:], strict=False))


@pytest.mark.parametrize("map_whole", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("name", BUILDERS)
def test_any_cut_gives_the_same_bits(name: str, count: int, map_whole: bool) -> None:
    there: Case = case(name)
    graph = make_tasks(there.program.plan, even_ranges(there.program.plan, count))
    outputs = run_tasks(graph, there.operands, map_whole=map_whole, seed=count)
    for got, want in zip(outputs, there.expected, strict=True):
        assert_same_bits(got, want)


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_give_the_same_bits(seed: int) -> None:
    graph, arrays, wrt = random_graph(seed, rows=20_011)
    program = compile_query(graph, Query((graph.outputs[0],), tuple(wrt), (False,)))
    expected = program.run(arrays)
    operands = tuple(Operand(array) for array in arrays)
    for count in (2, 5):
        tasks = make_tasks(program.plan, even_ranges(program.plan, count))
        outputs = run_tasks(tasks, operands, map_whole=seed % 2 == 0, seed=seed)
        for got, want in zip(outputs, expected, strict=True):
            assert_same_bits(got, want)


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 16, 1000])
@pytest.mark.parametrize("name", BUILDERS)
def test_ranges_cover_every_group_once(name: str, workers: int) -> None:
    plan = case(name).program.plan
    ranges = cut_ranges(plan, workers)
    groups = plan.split.groups if plan.split is not None else 1
    assert [g for first, stop in ranges for g in range(first, stop)] == list(range(groups))


def test_ranges_are_of_like_size() -> None:
    plan = case("batch_norm").program.plan
    assert plan.split is not None
    for workers in (2, 3):
        sizes = [stop - first for first, stop in cut_ranges(plan, workers)]
        assert len(sizes) >= workers
        assert max(sizes) <= 2 * min(sizes)


def test_a_multi_stage_plan_is_what_the_cases_claim() -> None:
    plan = case("batch_norm").program.plan
    assert len(plan.stages) >= 3
    assert any(stage.stores for stage in plan.stages[:-1])
    assert case("small").program.plan.split is None
    for name in set(BUILDERS) - {"small"}:
        split = case(name).program.plan.split
        assert split is not None and split.groups >= 4, name
