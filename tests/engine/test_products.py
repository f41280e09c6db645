"""Products are made once and scaled where they are smallest, differences made of no negatives: what nodes are left.

Numbers go into the table of an erf.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from gradmesh_engine.execute import run_plan
from gradmesh_engine.graph import Graph
from gradmesh_engine.lower import lower
from gradmesh_engine.plan import plan
from gradmesh_engine.simplify import simplify
from tests.engine.graphs import Maker


def scaled_outer(m: Maker) -> tuple[int, ...]:
    a, b, s = m.input((50, 1)), m.input((1, 40)), m.input(())
    return (m("mul", m("contract", a, b, spec="ij,jk->ik"), s),)


def scaled_outer_in_a_chain(m: Maker) -> tuple[int, ...]:
    x, a, b, s = m.input((50, 40)), m.input((50, 1)), m.input((40,)), m.input(())
    outer = m("mul", a, b)
    return (m("mul", m("neg", m("div", m("mul", outer, x), x)), s),)


def scaled_sum(m: Maker) -> tuple[int, ...]:
    a, b, s = m.input((50, 3)), m.input((3, 40)), m.input(())
    return (m("mul", m("contract", a, b, spec="ij,jk->ik"), s),)


def scaled_and_unscaled(m: Maker) -> tuple[int, ...]:
    a, b, s = m.input((50, 1)), m.input((1, 40)), m.input(())
    outer = m("contract", a, b, spec="ij,jk->ik")
    return m("exp", outer), m("mul", outer, s)


def factors_in_another_order(m: Maker) -> tuple[int, ...]:
    p, q, r = (m.input((60,)) for _ in range(3))
    return m("exp", m("mul", p, q)), m("mul", m("mul", p, r), q)


def swapped(m: Maker) -> tuple[int, ...]:
    p, q = m.input((60,)), m.input((60,))
    return m("exp", m("mul", p, q)), m("sin", m("mul", q, p))


def negatives(m: Maker) -> tuple[int, ...]:
    p, q, r = (m.input((60,)) for _ in range(3))
    return m("add", m("neg", p), m("sub", q, m("neg", r))), m("add", p, m("neg", m("exp", q)))


def minus_one(m: Maker) -> tuple[int, ...]:
    p, q, r, s = (m.input((60,)) for _ in range(4))
    minus = m("full", value=-1.0, shape=(60,), dtype="float64")
    return m("sub", m("exp", p), m("mul", minus, q)), m("mul", m("mul", r, minus), s)


def added_twice(m: Maker) -> tuple[int, ...]:
    p, q, s = m.input((60,)), m.input((60,)), m.input(())
    scaled = m("mul", q, s)
    return (m("add", m("add", p, scaled), scaled),)


def added_twice_and_used(m: Maker) -> tuple[int, ...]:
    p, q, s = m.input((60,)), m.input((60,)), m.input(())
    scaled = m("mul", q, s)
    return m("add", scaled, m("add", scaled, p)), m("exp", scaled)


def cdf(m: Maker) -> tuple[int, ...]:
    x, y, half, two = m.input((60,)), m.input((60,)), m.input(()), m.input(())
    one = m("exp", m("exp", m.input(())))  # above 1, so that nothing cancels
    above = m("mul", half, m("add", one, m("erf", x)))
    below = m("div", m("sub", one, m("erf", y)), two)
    return above, below, m("mul", m("sub", m("erf", m("exp", x)), one), half)


def erf_of_other_use(m: Maker) -> tuple[int, ...]:
    x, one, half = m.input((60,)), m.input(()), m.input(())
    erf, other = m("erf", x), m("add", m("erf", m("exp", x)), one)
    return erf, m("mul", m("add", erf, one), half), m("mul", other, half), other, m("mul", m("add", erf, x), half)


# A graph, and how many nodes of some ops are left of what size of result: (op, elements).
ROWS: list[tuple[Callable[[Maker], tuple[int, ...]], dict[tuple[str, int], int]]] = [
    (scaled_outer, {("mul", 2000): 0, ("mul", 40): 1}),
    (scaled_outer_in_a_chain, {("mul", 2000): 2, ("mul", 50): 1}),
    (minus_one, {("mul", 60): 1, ("neg", 60): 1, ("sub", 60): 0, ("add", 60): 1}),
    (added_twice, {("mul", 60): 1, ("mul", 1): 1, ("add", 60): 1}),
    (added_twice_and_used, {("mul", 60): 1, ("add", 60): 2}),
    (cdf, {("scaled_erf", 60): 3, ("erf", 60): 0, ("add", 60): 0, ("sub", 60): 0, ("mul", 60): 0, ("div", 60): 0}),
    (erf_of_other_use, {("scaled_erf", 60): 0, ("erf", 60): 2}),
    (scaled_sum, {("mul", 2000): 1}),
    (scaled_and_unscaled, {("mul", 2000): 1}),
    (factors_in_another_order, {("mul", 60): 3}),
    (swapped, {("mul", 60): 1}),
    (negatives, {("neg", 60): 0, ("sub", 60): 2, ("add", 60): 1}),
]


@pytest.mark.parametrize(("make", "left"), ROWS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_left(make: Callable[[Maker], tuple[int, ...]], left: dict[tuple[str, int], int]) -> None:
    maker = Maker()
    outputs = make(maker)
    before: Graph = lower(maker.graph(*outputs))
    after = simplify(before)
    found = Counter((node.op, node.outputs[0].size) for node in after.nodes)
    assert {key: found[key] for key in left} == left
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=spec.shape) for spec in maker.inputs]
    for a, b in zip(run_plan(plan(after), arrays), run_plan(plan(before), arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_half_floats_keep_their_order() -> None:
    maker = Maker()
    a, b, s = maker.input((50, 1), "float16"), maker.input((1, 40), "float16"), maker.input((), "float16")
    graph = maker.graph(maker("mul", maker("contract", a, b, spec="ij,jk->ik"), s))
    assert [node.outputs[0].size for node in simplify(lower(graph)).nodes if node.op == "mul"] == [2000]


@pytest.mark.parametrize("spec", ["i,j->ij", "j,i->ij", "ik,jk->ij", "jk,ki->ij"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_two_vectors_are_exact(spec: str, dtype: type) -> None:
    rows, columns = 131, 61
    rng = np.random.default_rng(0)
    sizes = {"i": rows, "j": columns, "k": 1}
    first, second = (
        rng.normal(size=[sizes[label] for label in labels]).astype(dtype)
        for labels in spec.partition("->")[0].split(",")
    )
    m = Maker()
    given = [m.input(array.shape, array.dtype.name) for array in (first, second)]
    (found,) = run_plan(plan(lower(m.graph(m("contract", *given, spec=spec)))), [first, second])
    assert found.tobytes() == np.einsum(spec, first, second).tobytes()
