"""Programs: cached by content, safe in threads, the same whatever order they were asked in."""

from __future__ import annotations

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.local import LocalSession
from gradmesh_engine.ops import Scratch
from gradmesh_engine.program import ProgramCache, compile_query, grad_fns
from gradmesh_engine.session import Query, Request
from tests.engine.graphs import Maker, random_graph


def chain(*ops: str, rows: int = 3) -> Maker:
    m = Maker()
    v = m.input((rows,))
    for op in ops:
        v = m(op, v)
    return m


def test_the_cache_says_why_it_missed() -> None:
    cache = ProgramCache(capacity=2)
    exp = chain("exp", "tanh").graph(2)
    assert cache.get(exp, Query())[1] == "new graph"
    again, outcome = cache.get(chain("exp", "tanh").graph(2), Query())
    assert outcome == "hit"
    assert cache.get(exp, Query((2,), (0,), (True,)))[1].startswith("new query")
    assert cache.get(chain("exp", "tanh", rows=4).graph(2), Query())[1].startswith("new shapes: value 0 was float64[3]")
    assert cache.get(exp, Query())[1].startswith("evicted")
    assert len(cache) == 2 and cache.hits == 1
    cache.forget(again)
    assert len(cache) == 1 or again.key != cache.get(exp, Query())[0].key


def test_many_threads_share_a_program() -> None:
    graph, arrays, wrt = random_graph(11)
    program = compile_query(graph, Query((graph.outputs[0],), tuple(wrt), (False,)))
    expected = [a.tobytes() for a in program.run(arrays)]
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: [a.tobytes() for a in program.run(arrays)], range(64)):
            assert result == expected


def test_gradients_by_inner_values_that_are_equal_stay_apart() -> None:
    m = Maker()
    x = m.input((3,))
    a, b = m("exp", x), m("exp", x)
    y = m("mul", m("tanh", a), b)
    program = compile_query(m.graph(), Query((y,), (a, b), (True,)))
    values = np.array([0.1, -0.4, 0.8])
    result = program.split_result(program.run([values, np.ones(3)]))
    e = np.exp(values)
    np.testing.assert_allclose(result.gradients[0], (1 - np.tanh(e) ** 2) * e)
    np.testing.assert_allclose(result.gradients[1], np.tanh(e))


def test_no_path_no_gradient() -> None:
    m = Maker()
    x, unused = m.input((3,)), m.input((2,))
    y = m("exp", m("detach", x))
    z = m("mul", y, x)
    program = compile_query(m.graph(z), Query((z,), (x, unused), (True,)))
    assert program.connected == (True, False)
    result = program.split_result(program.run([np.ones(3), np.ones(2), np.ones(3)]))
    assert result.gradients[1] is None
    np.testing.assert_allclose(result.gradients[0], np.e)


@pytest.mark.parametrize("length", [3000])
def test_a_long_chain_needs_no_recursion(length: int) -> None:
    m = chain(*["tanh" if i % 2 else "sigmoid" for i in range(length)])
    graph = m.graph(length)
    result = LocalSession().run(Request(graph, (np.ones(3),), Query((length,), (0,), (True,)), (np.ones(3),)))
    assert result.gradients[0] is not None and np.all(np.isfinite(result.gradients[0]))


def test_grad_fns_tell_names_and_what_is_behind() -> None:
    m = Maker()
    x, w = m.input((2, 2)), m.input((2, 2))
    y = m("mul", m("add", x, w), w)
    fns = grad_fns(m.graph(y), frozenset({x}))
    assert [fn.name for fn in fns] == ["AddBackward0", "MulBackward0"]
    assert fns[0].next_functions == (-1, -2) and fns[1].next_functions == (0, -2)
    assert fns[1].shape == (2, 2) and fns[1].dtype == "float64"


@pytest.mark.parametrize(
    ("shape", "dim", "index"),
    [
        ((6, 1, 3), 0, (6, 4)),  # one value for a bag of four
        ((1, 1, 3), 0, (6, 4)),
        ((1, 4, 3), 0, (6, 4)),  # the same four for every bag
        ((2, 6, 1, 3), 1, (6, 4)),
        ((2, 1, 3), 1, (5,)),
        ((6, 4, 1), 0, (6, 4)),
    ],
)
def test_values_that_are_one_are_added_to_many_rows(shape: tuple[int, ...], dim: int, index: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    full = (*shape[:dim], *index, 3)
    m = Maker()
    at, values = m.input(index, "int64"), m.input(shape)
    total = m("put_add", at, m("expand", values, shape=full), dim=dim, size=7)
    arrays = [rng.integers(0, 7, index), rng.normal(size=shape)]
    (got,) = compile_query(m.graph(total)).run(arrays)
    expected = np.zeros((*shape[:dim], 7, 3))
    np.add.at(expected, (slice(None),) * dim + (arrays[0],), np.broadcast_to(arrays[1], full))
    np.testing.assert_array_equal(got, expected)


def test_kernels_share_what_they_need_during_a_call() -> None:
    scratch = Scratch()
    wide, narrow = scratch.arrays(((64, 100), np.dtype("float32")), ((64, 100), np.dtype("int8")))
    assert not np.may_share_memory(wide, narrow)
    later, none = scratch.arrays(((30, 100), np.dtype("float64")), ((0, 100), np.dtype("bool")))
    assert np.shares_memory(later, wide) and (later.shape, later.dtype.name) == ((30, 100), "float64")
    assert none.shape == (0, 100)
    (larger,) = scratch.arrays(((640, 1000), np.dtype("float32")))
    wide[...], larger[...] = 1, 2
    assert (wide == 1).all()


def odd(dtype: np.dtype, how: str) -> np.dtype:
    """An equal dtype that is another object."""
    made = dtype.newbyteorder("=") if how == "byte order" else pickle.loads(pickle.dumps(dtype))
    assert made == dtype and made is not dtype
    return made


@pytest.mark.parametrize("how", ["byte order", "pickle"])
@pytest.mark.parametrize("size", [1024, 65_536])
def test_a_result_in_the_place_of_its_operand_copies_nothing(size: int, how: str) -> None:
    m = Maker()
    x, row = m.input((size, 64), "float32"), m.input((64,), "float32")
    m.specs[x] = m.inputs[x] = TensorSpec((size, 64), odd(np.dtype(np.float32), how))
    added = m("add", m("exp", x), m("expand", row, shape=(size, 64)))
    graph = m.graph(m("reduce_sum", m("tanh", added), dims=(0, 1)))
    program = compile_query(graph, Query())
    arrays = [np.zeros((size, 64), np.float32), np.zeros(64, np.float32)]
    program.run(arrays)
    tracemalloc.start()
    try:
        program.run(arrays)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 128 << 10


@pytest.mark.parametrize("length", [2, 400])
def test_short_and_long_code_is_the_same_to_its_callers(length: int) -> None:
    m = Maker()
    x, index, seen = m.input((4,)), m.input((2,), "int64"), m.input((4,))
    first = v = m("take", x, index, dim=0, wrap=False)
    for step in range(length):
        v = m("where", m("gt", v, first), m("sin", v), m("cos", v)) if step % 2 else m("mul", v, first)
    program = compile_query(m.graph(first, v, m("reshape", seen, shape=(2, 2))), Query())
    values, chosen = np.array([0.1, -0.4, 0.8, 2.0]), np.array([3, 1])
    results = program.run([values, chosen, values])
    expected = [array.tobytes() for array in results]
    with pytest.raises(GradmeshError, match="out of bounds") as caught:
        program.run([values, np.array([0, 4]), values])
    assert caught.value.node == 0
    program.run([values + 1, chosen, values])  # Nothing a caller was given is written again.
    assert [array.tobytes() for array in results] == expected
    wanted = start = values[chosen]
    for step in range(length):
        wanted = np.where(wanted > start, np.sin(wanted), np.cos(wanted)) if step % 2 else wanted * start
    np.testing.assert_allclose(results[1], wanted)
    assert ("for call" in program.source()) == (length > 100)
