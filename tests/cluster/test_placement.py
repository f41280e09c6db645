"""Where inputs lie: put once per content and layout, dropped by age, found in what was adopted."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.backend import Operand
from gradmesh_engine.graph import digest_of_array
from gradmesh_worker.placement import Placed, Placement
from gradmesh_worker.tasks import FromInput, TaskGraph, cut_ranges, make_tasks
from tests.cluster.cases import case


class Store(list[Any]):
    """An object store in a list; references are positions."""

    def put(self, thing: Any) -> int:
        self.append(thing)
        return len(self) - 1


def placed(placement: Placement, graph: TaskGraph, operands: tuple[Operand, ...], *, map_whole: bool) -> Placed:
    found = placement.find(graph, operands, map_whole=map_whole)
    for put in found.missing:
        put()
    return found


def logistic() -> tuple[TaskGraph, tuple[Operand, ...]]:
    there = case("logistic")
    return make_tasks(there.program.plan, cut_ranges(there.program.plan, 3)), there.operands


def test_pieces_are_the_ranges_rows_and_nothing_is_put_twice() -> None:
    graph, operands = logistic()
    store = Store()
    placement = Placement(store.put, 1 << 40)
    first = placed(placement, graph, operands, map_whole=False)
    refs, starts = first.pieces[0]
    assert len(refs) == len(graph.ranges) > 1
    np.testing.assert_array_equal(np.concatenate([store[ref] for ref in refs]), operands[0].array)
    assert starts == [sum(len(store[ref]) for ref in refs[:i]) for i in range(len(refs))]
    count = len(store)
    second = placed(placement, graph, operands, map_whole=False)
    assert len(store) == count
    assert not second.missing
    assert second.pieces == first.pieces
    assert second.moved_bytes == operands[1].array.nbytes
    assert first.moved_bytes == sum(o.array.nbytes for o in operands)


def test_whole_arrays_serve_every_range() -> None:
    graph, operands = logistic()
    store = Store()
    found = placed(Placement(store.put, 1 << 40), graph, operands, map_whole=True)
    for r in range(len(graph.ranges)):
        given, bind = found.argument(FromInput(0, r))
        assert store[given] is operands[0].array
        assert (bind.kind, bind.values, bind.start) == ("piece", (0,), 0)


def test_small_inputs_travel_together() -> None:
    graph, operands = logistic()
    found = placed(Placement(Store().put, 1 << 40), graph, operands, map_whole=True)
    given, bind = found.argument(FromInput(1))
    assert bind.kind == "values" and bind.values == (1,)
    np.testing.assert_array_equal(given[0], operands[1].array)


def test_content_without_a_name_is_put_for_each_call() -> None:
    graph, operands = logistic()
    nameless = tuple(Operand(o.array) for o in operands)
    store = Store()
    placement = Placement(store.put, 1 << 40)
    for _ in range(2):
        found = placed(placement, graph, nameless, map_whole=True)
        assert found.moved_bytes == sum(o.array.nbytes for o in operands)
    assert placement.kept_bytes == 0


def test_the_least_recently_used_goes_first() -> None:
    graph, (x, w, y) = logistic()
    store = Store()
    placement = Placement(store.put, int(2.5 * x.array.nbytes))
    others = [Operand(a, digest_of_array(a)) for a in (x.array + k for k in range(3))]
    for operand in others:
        placed(placement, graph, (operand, w, y), map_whole=True)
        placed(placement, graph, (others[0], w, y), map_whole=True)
    assert placement.kept_bytes <= 2.5 * x.array.nbytes
    assert not placed(placement, graph, (others[0], w, y), map_whole=True).missing
    assert len(placed(placement, graph, (others[1], w, y), map_whole=True).missing) == 1


def test_adopted_content_stays_until_it_is_forgotten() -> None:
    graph, (x, w, y) = logistic()
    store = Store()
    placement = Placement(store.put, 1)
    placement.adopt(x.digest, x.array)
    placement.adopt(y.digest, y.array)
    assert not placed(placement, graph, (x, w, y), map_whole=True).missing
    placement.forget(x.digest)
    assert len(placed(placement, graph, (x, w, y), map_whole=True).missing) == 1
