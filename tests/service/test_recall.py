"""Requests known but for their tensors: answered as ever, to the last bit, and no others."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gradmesh import _codec
from gradmesh._exchanges import Exchange, Exchanges
from gradmesh._remote import connect
from gradmesh._templates import REQUEST, template_of
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.errors import GradmeshError, OutOfRangeError
from gradmesh_engine.graph import Graph
from gradmesh_engine.local import LocalSession
from gradmesh_engine.session import Query, Request, Result
from gradmesh_server.blobs import BlobStore
from gradmesh_server.config import Config
from gradmesh_server.coordinator import HIT, Coordinator
from gradmesh_server.server import Server, background
from tests.service.clients import Connect
from tests.service.graphs import chain_request, equal_bits, frozen, node, spec

SECONDS = ("wait_seconds", "decode_seconds", "plan_seconds", "run_seconds", "encode_seconds")


def message_of(request: Request) -> pb.ComputeRequest:
    """As a client sends it that knows the graph to be there."""
    given = iter(request.cotangents)
    query = request.query
    return pb.ComputeRequest(
        graph_digest=request.graph.digest,
        inputs=map(_codec.encode_array, request.inputs),
        of=[
            pb.Objective(value=value, cotangent=_codec.encode_array(next(given)) if is_given else None)
            for value, is_given in zip(query.of, query.given, strict=True)
        ],
        wrt=query.wrt,
    )


class Desk:
    """A coordinator, asked as the servicer asks it."""

    def __init__(self, **config: int) -> None:
        self.config = dataclasses.replace(Config(port=0), **config)  # type: ignore[arg-type]
        blobs = BlobStore(
            max_bytes=1 << 20, max_uploads=1, ttl_seconds=1.0, clock=time.monotonic, on_drop=lambda name: None
        )
        self.coordinator = Coordinator(self.config, None, blobs)
        self.loop = asyncio.new_event_loop()

    def ordinary(self, message: pb.ComputeRequest, owner: str = "") -> pb.ComputeResponse:
        response = self.coordinator.compute_now(message, owner)
        if response is None:
            deadline = time.monotonic() + 60
            response = self.loop.run_until_complete(self.coordinator.compute(message, deadline, 0.0, owner))
        return response

    def answer(self, request: Request, owner: str = "") -> None:
        """Until it is known, if it can be."""
        first = message_of(request)
        first.graph.CopyFrom(_codec.encode_graph(request.graph))
        self.ordinary(first, owner)
        message = message_of(request)
        for _ in range(2):
            response = self.ordinary(message, owner)
            assert response.stats.cache == HIT
            self.coordinator.learn(message.SerializeToString(), message, response, owner)

    def recalled(self, content: bytes, owner: str = "") -> pb.ComputeResponse | None:
        written = self.coordinator.recall(content, owner)
        if written is None:
            return None
        response = pb.ComputeResponse.FromString(written.content)
        assert written.ByteSize() == len(written.content)
        for name in (*SECONDS, "cache", "where", "stages", "workers", "placed_bytes"):
            assert getattr(written.stats, name) == getattr(response.stats, name), name
        return response


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.loop.run_until_complete(made.coordinator.close())
    made.loop.close()


def timeless(response: pb.ComputeResponse) -> pb.ComputeResponse:
    for name in SECONDS:
        response.stats.ClearField(name)
    return response


def odd_graph() -> Graph:
    """exp(x) with nothing behind it, its half kept apart: one gradient is connected, one is not."""
    s = spec(3)
    return Graph((s, s), (node("exp", (0,), s), node("mul", (2, 2), s)), (2, 3))


def odd_request(**_: int) -> Request:
    x, y = (frozen(np.array(values, np.float32)) for values in ([0.5, -0.0, 2.0], [1.0, np.nan, -np.inf]))
    return Request(odd_graph(), (x, y), Query((3,), (0, 1), (True,)), (frozen(np.ones(3, np.float32)),))


KNOWN: dict[str, Callable[[], Request]] = {
    "inputs, outputs and gradients": lambda: chain_request(3, 2),
    "no gradients": lambda: dataclasses.replace(chain_request(2), query=Query()),
    "a cotangent, and a gradient that is not connected": odd_request,
    "float64": lambda: chain_request(4, dtype="float64"),
    "0-d": lambda: chain_request(),
}


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_what_is_known_is_answered_as_ever(desk: Desk, make: Callable[[], Request]) -> None:
    request = make()
    desk.answer(request)
    rng = np.random.default_rng(1)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-42])
    for draw in range(6):
        tensors = [rng.standard_normal(a.shape) for a in (*request.inputs, *request.cotangents)]
        if draw == 5:
            tensors = [rng.choice(special, a.shape) for a in tensors]
        arrays = [
            frozen(np.asarray(t, a.dtype)) for t, a in zip(tensors, (*request.inputs, *request.cotangents), strict=True)
        ]
        count = len(request.inputs)
        again = dataclasses.replace(request, inputs=tuple(arrays[:count]), cotangents=tuple(arrays[count:]))
        message = message_of(again)
        found = desk.recalled(message.SerializeToString())
        assert found is not None
        assert all(getattr(found.stats, name) > 0 for name in SECONDS[1:])
        assert timeless(found) == timeless(desk.ordinary(message))


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_a_message_with_any_other_byte_is_another_message(desk: Desk, make: Callable[[], Request]) -> None:
    request = make()
    desk.answer(request)
    message = message_of(request)
    content = message.SerializeToString()
    elements = sum(array.nbytes for array in (*request.inputs, *request.cotangents))
    recalled = 0
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        found = desk.recalled(changed)
        if found is not None:
            recalled += 1
            assert timeless(found) == timeless(desk.ordinary(pb.ComputeRequest.FromString(changed)))
    assert recalled == elements
    for other in (content[:-1], content + b"\0", content + content, b""):
        assert desk.recalled(other) is None


def test_nobody_is_told_what_another_has_asked(desk: Desk) -> None:
    request = chain_request(3)
    desk.answer(request, "alice")
    content = message_of(request).SerializeToString()
    assert desk.recalled(content, "alice") is not None
    assert desk.recalled(content, "bob") is None


def test_what_is_dropped_is_not_recalled() -> None:
    desk = Desk(programs=1)
    first, second = chain_request(3), chain_request(4)
    desk.answer(first)
    assert desk.recalled(message_of(first).SerializeToString()) is not None
    desk.answer(second)
    assert desk.recalled(message_of(first).SerializeToString()) is None
    assert desk.recalled(message_of(second).SerializeToString()) is not None
    assert len(desk.coordinator._recall) == 1
    desk.loop.run_until_complete(desk.coordinator.close())
    desk.loop.close()


def test_who_knows_most_makes_room() -> None:
    desk = Desk(programs=3)
    theirs = chain_request(2)
    desk.answer(theirs, "alice")
    for rows in range(3, 9):
        desk.answer(chain_request(rows), "bob")
    assert desk.recalled(message_of(theirs).SerializeToString(), "alice") is not None
    assert desk.recalled(message_of(chain_request(8)).SerializeToString(), "bob") is not None
    assert desk.recalled(message_of(chain_request(3)).SerializeToString(), "bob") is None
    assert len(desk.coordinator._recall) <= 3
    desk.loop.run_until_complete(desk.coordinator.close())
    desk.loop.close()


def bool_request() -> Request:
    """Of a bool not every byte is a value."""
    s = spec(3, dtype="bool")
    return Request(Graph((s,), (node("logical_not", (0,), s),), (1,)), (frozen(np.array([True, False, True])),))


def test_fields_in_another_order_are_parsed(desk: Desk) -> None:
    request = chain_request(3)
    desk.answer(request)
    content = message_of(request).SerializeToString()
    turned = content[18:] + content[:18]
    message = pb.ComputeRequest.FromString(turned)
    assert message == message_of(request)
    desk.coordinator.learn(turned, message, desk.ordinary(message), "")
    assert desk.recalled(turned) is None
    assert desk.recalled(content) is not None


UNKNOWN: dict[str, tuple[Callable[[], Request], dict[str, int]]] = {
    "bools": (bool_request, {}),
    "no elements": (lambda: chain_request(0), {}),
    "results to be downloaded": (lambda: chain_request(4), {"inline_result_bytes": 8}),
    "much to compute": (lambda: chain_request(5000), {}),
}


@pytest.mark.parametrize(("make", "config"), UNKNOWN.values(), ids=UNKNOWN)
def test_others_are_parsed(make: Callable[[], Request], config: dict[str, int]) -> None:
    desk = Desk(**config)
    request = make()
    desk.answer(request)
    assert desk.recalled(message_of(request).SerializeToString()) is None
    assert len(desk.coordinator._recall) == 0
    desk.loop.run_until_complete(desk.coordinator.close())
    desk.loop.close()


def test_what_fails_while_it_runs_is_told_as_ever(desk: Desk) -> None:
    table, rows = spec(4, 2), spec(2, dtype="int64")
    graph = Graph((table, rows), (node("take", (0, 1), spec(2, 2), dim=0, wrap=False),), (2,), ("model.py:7",))

    def request(*indices: int) -> Request:
        return Request(graph, (frozen(np.ones((4, 2), np.float32)), frozen(np.array(indices, np.int64))))

    desk.answer(request(1, 3))
    assert desk.recalled(message_of(request(0, 2)).SerializeToString()) is not None
    late = message_of(request(0, 9))
    assert desk.recalled(late.SerializeToString()) is None
    with pytest.raises(OutOfRangeError) as caught:
        desk.ordinary(late)
    assert caught.value.node == 0


def test_sessions_find_the_same_bits_again_and_again(server: Server, client: Connect) -> None:
    here = LocalSession()
    with client(server.address, timeout=60) as session:
        for seed in range(6):
            for shape in ((3, 2), (2, 3), ()):
                request = chain_request(*shape, seed=seed)
                found, expected = session.run(request), here.run(request)
                assert all(map(equal_bits, found.outputs, expected.outputs))
                assert all(map(equal_bits, found.gradients, expected.gradients))
                assert not any(array.flags.writeable for array in (*found.outputs, *connected(found)))
                assert found.stats.bytes["sent"] > 0 and found.stats.bytes["received"] > 0
                assert set(found.stats.seconds) == {"wait", "decode", "plan", "run", "encode"}


def connected(result: Result) -> list[np.ndarray]:
    return [gradient for gradient in result.gradients if gradient is not None]


def test_a_graph_the_server_has_dropped_is_sent_again(client: Connect) -> None:
    here = LocalSession()
    with background(Config(port=0, graphs=1)) as server, client(server.address, timeout=60) as session:
        for seed in range(12):
            request = chain_request(3 if seed % 4 < 3 else 4, seed=seed)
            assert all(map(equal_bits, session.run(request).outputs, here.run(request).outputs))


def test_a_request_of_other_shapes_is_refused_as_ever(server: Server) -> None:
    request = chain_request(3, 2)
    wrong = {
        "shape": tuple(frozen(array.reshape(2, 3)) for array in request.inputs),
        "dtype": tuple(frozen(array.view(np.int32)) for array in request.inputs),
        "number": request.inputs[:1],
    }
    with connect(server.address, timeout=60) as session:
        for _ in range(3):
            session.run(request)
        for inputs in wrong.values():
            with pytest.raises(GradmeshError):
                session.run(dataclasses.replace(request, inputs=inputs))


def exchange() -> tuple[Exchange, bytes]:
    """An exchange, and its reply."""
    desk = Desk()
    request = chain_request(2)
    desk.answer(request)
    message = message_of(request)
    response = desk.ordinary(message)
    reply = response.SerializeToString()
    exchanges = Exchanges(most=1)
    stats = _codec.decode_stats(response.stats, {"sent": 1, "received": 1})
    for key in (b"older", b"latest"):
        exchanges.learn((key, Query()), message.SerializeToString(), request.inputs, reply, response, stats)
    desk.loop.run_until_complete(desk.coordinator.close())
    desk.loop.close()
    found = exchanges.find((b"latest", Query()))
    assert found is not None and exchanges.find((b"older", Query())) is None
    assert found.write(request.inputs) == message.SerializeToString()
    return found, reply


def test_a_reply_with_any_other_byte_is_read_as_a_parser_reads_it() -> None:
    known, reply = exchange()
    for at in range(len(reply)):
        changed = reply[:at] + bytes([reply[at] ^ 1]) + reply[at + 1 :]
        result = known.read(changed, 5)
        if result is None:
            continue
        response = pb.ComputeResponse.FromString(changed)
        arrays = [*map(_codec.decode_array, response.outputs)]
        arrays += [_codec.decode_array(gradient.tensor) for gradient in response.gradients]
        assert all(map(equal_bits, (*result.outputs, *result.gradients), arrays))
        assert result.stats == _codec.decode_stats(response.stats, {"sent": 5, "received": len(changed)})
    assert known.read(reply[:-1], 5) is None


STRANGE: dict[str, tuple[bytes, list[bytes]]] = {
    "a field that ends behind its message": (b"\x1a\x05ab", [b"ab"]),
    "a number that does not end": (b"\x1a\xff", []),
    "a group": (b"\x1b\x1c", []),
    "other content": (pb.ComputeRequest(inputs=[_codec.encode_array(np.ones(1))]).SerializeToString(), [b"\0" * 8]),
    "another number of tensors": (pb.ComputeRequest(inputs=[_codec.encode_array(np.ones(1))]).SerializeToString(), []),
    "much besides its tensors": (pb.ComputeRequest(segments=[1] * 5000).SerializeToString(), []),
}


@pytest.mark.parametrize(("content", "expected"), STRANGE.values(), ids=STRANGE)
def test_there_is_no_template_of(content: bytes, expected: list[bytes]) -> None:
    assert template_of(content, REQUEST, expected) is None
