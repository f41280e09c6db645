"""Long chains, large graphs and loops of any length: no recursion, memory in proportion to the graph."""

from __future__ import annotations

import math
import tracemalloc

import pytest

import gradmesh as gm


def chain(count: int) -> tuple[gm.Tensor, gm.Tensor]:
    x = gm.full((4,), 0.5, dtype=gm.float64, requires_grad=True)
    y = x
    for _ in range(count):
        y = gm.sin(y)
    return x, y.sum()


def test_a_chain_of_3000_operations() -> None:
    x, total = chain(3000)
    total.backward()
    value, slope = 0.5, 1.0
    for _ in range(3000):
        value, slope = math.sin(value), slope * math.cos(value)
    assert x.grad is not None
    assert (total / 4).item() == pytest.approx(value)
    assert x.grad.tolist() == pytest.approx([slope] * 4)
    assert total.grad_fn is not None


def test_a_graph_of_20000_nodes() -> None:
    x = gm.full((4,), 0.5, dtype=gm.float64, requires_grad=True)
    total = x.sum()
    for number in range(10_000):
        total = total + number * x[number % 4]
    total.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0 + sum(range(first, 10_000, 4)) for first in range(4)]


def test_a_loop_whose_length_depends_on_the_data() -> None:
    x = gm.tensor(1.5, dtype=gm.float64, requires_grad=True)
    y, power = x, 1
    while y.item() < 1e30:
        y, power = y * x, power + 1
    y.backward()
    assert x.grad is not None
    assert power == 171
    assert x.grad.item() == pytest.approx(power * 1.5 ** (power - 1))


def test_memory_is_linear_in_the_graph() -> None:
    def peak_bytes(count: int) -> int:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        chain(count)[1].backward()
        return tracemalloc.get_traced_memory()[1] - before

    with gm.LocalSession():
        tracemalloc.start()
        try:
            peak_bytes(100)
            small, large = peak_bytes(250), peak_bytes(1000)
        finally:
            tracemalloc.stop()
    assert large < 6 * small, (small, large)
