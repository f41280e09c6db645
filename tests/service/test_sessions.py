"""What every session promises: the same tests in process, over gRPC, and over gRPC from an event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gradmesh._remote import CONSTANT_BYTES, INLINE_BYTES, RemoteSession, connect
from gradmesh_engine import dtypes
from gradmesh_engine.errors import (
    CycleError,
    GradmeshError,
    InputMismatchError,
    InvalidGraphError,
    MissingInputError,
    UnknownOpError,
)
from gradmesh_engine.graph import Graph
from gradmesh_engine.local import LocalSession
from gradmesh_engine.session import Query, Request, Result, Session
from gradmesh_server.server import Server
from tests.engine.test_segments import deep
from tests.service.clients import OnLoop
from tests.service.graphs import F32, chain, chain_request, equal_bits, frozen, node, spec

MAKERS: dict[str, Callable[[str], Session]] = {
    "local": lambda address: LocalSession(),
    "remote": lambda address: connect(address, timeout=60),
    "asyncio": lambda address: OnLoop(address, timeout=60),
}


@pytest.fixture(params=MAKERS)
def any_session(request: pytest.FixtureRequest, server: Server) -> Iterator[Session]:
    open_session = MAKERS[request.param](server.address)
    yield open_session
    open_session.close()


def same(a: Result, b: Result) -> bool:
    pairs = zip((*a.outputs, *a.gradients), (*b.outputs, *b.gradients), strict=True)
    return all(equal_bits(x, y) for x, y in pairs)


def test_values_and_gradients_are_right(any_session: Session) -> None:
    request = chain_request(3, 4, dtype="float64")
    x, y = request.inputs
    result = any_session.run(request)
    t, e = np.tanh(x * y), np.exp(x)
    np.testing.assert_allclose(result.outputs[0], (t * e).sum(), rtol=1e-12)
    np.testing.assert_allclose(result.outputs[1], t, rtol=1e-12)
    slope = (1 - t * t) * e
    np.testing.assert_allclose(result.gradients[0], slope * y + t * e, rtol=1e-12)
    np.testing.assert_allclose(result.gradients[1], slope * x, rtol=1e-12)
    assert result.stats.stages >= 1
    assert result.stats.flops > 0


def test_the_second_run_hits_and_gives_the_same_bits(any_session: Session) -> None:
    request = chain_request(5, 7, seed=1)
    first, second = any_session.run(request), any_session.run(request)
    assert same(first, second)
    assert second.stats.cache == "hit"


def test_a_cotangent_and_intermediate_values(any_session: Session) -> None:
    base = chain_request(2, 3, dtype="float64")
    weight = frozen(np.arange(6.0).reshape(2, 3))
    request = Request(base.graph, base.inputs, Query((5, 6), (3, 0), (True, False)), (weight,))
    result = any_session.run(request)
    x, y = base.inputs
    t, e = np.tanh(x * y), np.exp(x)
    np.testing.assert_allclose(result.gradients[0], (weight + 1) * e, rtol=1e-12)
    np.testing.assert_allclose(result.gradients[1], (weight + 1) * ((1 - t * t) * e * y + t * e), rtol=1e-12)


def test_no_path_is_none(any_session: Session) -> None:
    base = chain_request(2)
    result = any_session.run(Request(base.graph, base.inputs, Query((4,), (1, 0), (True,)), (base.inputs[0],)))
    assert result.gradients[0] is None
    assert equal_bits(result.gradients[1], (np.exp(base.inputs[0]) * base.inputs[0]).astype(F32))


def test_outputs_alone(any_session: Session) -> None:
    base = chain_request(2, 2)
    assert any_session.run(Request(base.graph, base.inputs)).gradients == ()


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3)], ids=str)
def test_every_dtype_goes_in_and_out(any_session: Session, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    s = spec(*shape, dtype=dtype)
    raw = np.random.default_rng(0).integers(0, 2, shape)
    array = frozen(np.asarray(raw).astype(dtype))
    graph = Graph((s, s, spec(*shape, dtype="bool")), (node("where", (2, 0, 1), s),), (3, 0))
    mask = frozen(np.ones(shape, bool))
    other = frozen(np.zeros(shape, dtype))
    result = any_session.run(Request(graph, (array, other, mask)))
    assert all(equal_bits(output, array) for output in result.outputs)


def test_special_values_survive(any_session: Session) -> None:
    payload = np.array([0x7FC12345, 0xFF800000, 0x80000000, 0x00000001], np.uint32).view(F32)
    s = spec(4)
    result = any_session.run(Request(Graph((s,), (node("neg", (0,), s),), (0, 1)), (frozen(payload),)))
    assert equal_bits(result.outputs[0], payload)
    assert equal_bits(result.outputs[1], -payload)


def test_large_results_and_inputs(any_session: Session) -> None:
    """Past the inline limits in both directions, as parameters and as constants."""
    count = 2 * INLINE_BYTES // 4 + 5
    request = chain_request(count, wrt=(0,))
    assert request.inputs[0].nbytes > max(INLINE_BYTES, CONSTANT_BYTES)
    assert same(any_session.run(request), LocalSession().run(request))


def test_explain_tells_the_plan_without_computing(any_session: Session) -> None:
    graph = chain(1 << 20, 1 << 12)  # 16 GiB a value
    request = Request(graph, (), Query((6,), (0, 1), (False,)))
    text = any_session.explain(request)
    assert "split axis" in text
    assert "runs in" in text
    assert any_session.explain(request) == text


def bad_requests() -> list[tuple[str, Request, type[GradmeshError], dict[str, object]]]:
    good = chain_request(2, 3)
    graph = good.graph

    def with_node(index: int, **change: object) -> Request:
        from dataclasses import replace

        nodes = list(graph.nodes)
        nodes[index] = replace(nodes[index], **change)  # type: ignore[arg-type]
        return replace(good, graph=replace(graph, nodes=tuple(nodes)))

    at = {"op": "tanh", "node": 1, "source": "model.py:11"}
    ints = Graph((spec(2, dtype="int64"),), (node("neg", (0,), spec(2, dtype="int64")),), (1,))
    return [
        ("unknown op", with_node(1, op="tanhh"), UnknownOpError, at | {"op": "tanhh"}),
        ("cycle", with_node(1, inputs=(4,)), CycleError, at),
        ("self", with_node(1, inputs=(3,)), CycleError, at),
        ("wrong shape", with_node(1, outputs=(spec(3, 2),)), InvalidGraphError, at),
        ("missing input", Request(graph, good.inputs[:1], good.query), MissingInputError, {}),
        (
            "wrong input shape",
            Request(graph, (good.inputs[0], frozen(np.zeros((3, 2), F32))), good.query),
            InputMismatchError,
            {"expected": "float32[2, 3]", "got": "float32[3, 2]"},
        ),
        (
            "wrong input dtype",
            Request(graph, (good.inputs[0], frozen(np.zeros((2, 3)))), good.query),
            InputMismatchError,
            {"expected": "float32[2, 3]", "got": "float64[2, 3]"},
        ),
        ("no such value", Request(graph, good.inputs, Query((99,), (0,), (False,))), InvalidGraphError, {}),
        ("not a scalar", Request(graph, good.inputs, Query((5,), (0,), (False,))), InvalidGraphError, {}),
        (
            "not differentiable",
            Request(ints, (frozen(np.zeros(2, "int64")),), Query((1,), (0,), (False,))),
            InvalidGraphError,
            {},
        ),
    ]


BAD = bad_requests()


@pytest.mark.parametrize(("name", "request_", "cls", "fields"), BAD, ids=[bad[0] for bad in BAD])
def test_bad_requests_fail_alike(
    any_session: Session, name: str, request_: Request, cls: type[GradmeshError], fields: dict[str, object]
) -> None:
    with pytest.raises(cls) as caught:
        any_session.run(request_)
    assert isinstance(caught.value, ValueError)
    for field, value in fields.items():
        assert getattr(caught.value, field) == value, field
    good = chain_request(2, 3)
    assert same(any_session.run(good), LocalSession().run(good))


@pytest.mark.parametrize(("name", "request_", "cls", "fields"), BAD, ids=[bad[0] for bad in BAD])
def test_errors_are_equal_in_process_and_remotely(
    session: RemoteSession, name: str, request_: Request, cls: type[GradmeshError], fields: dict[str, object]
) -> None:
    with pytest.raises(GradmeshError) as local:
        LocalSession().run(request_)
    with pytest.raises(GradmeshError) as remote:
        session.run(request_)
    assert type(remote.value) is type(local.value)
    assert remote.value.fields() == local.value.fields()
    assert str(remote.value) == str(local.value)


def test_threads_may_share_a_session(any_session: Session) -> None:
    requests = [chain_request(3, n + 1, seed=n) for n in range(4)]
    expected = [LocalSession().run(request) for request in requests]
    failures: list[object] = []

    def work(index: int) -> None:
        try:
            for turn in range(10):
                n = (index + turn) % len(requests)
                assert same(any_session.run(requests[n]), expected[n])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_close_is_idempotent(any_session: Session) -> None:
    any_session.close()
    any_session.close()


def test_segments_lower_the_peak_and_change_no_bit(any_session: Session) -> None:
    graph, loss, weights, segments = deep(8, 2)
    rng = np.random.default_rng(0)
    arrays = tuple([frozen(rng.normal(size=spec.shape).astype(spec.dtype)) for spec in graph.inputs])
    plain, hinted = Query((loss,), weights, (False,)), Query((loss,), weights, (False,), segments)
    first, second, third = (any_session.run(Request(graph, arrays, query)) for query in (plain, hinted, plain))
    assert same(first, second) and same(first, third)
    assert second.stats.peak_bytes < 0.7 * first.stats.peak_bytes
    assert third.stats.peak_bytes == first.stats.peak_bytes and third.stats.cache == "hit"
    texts = [any_session.explain(Request(graph, arrays, query)) for query in (plain, hinted)]
    assert texts[0] != texts[1]
