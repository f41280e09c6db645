"""Between messages and engine types: everything survives, nothing impossible gets in."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradmesh import _codec
from gradmesh.v1 import gradient_service_pb2, graph_pb2, tensor_pb2
from gradmesh_engine import dtypes
from gradmesh_engine.errors import (
    AttributeTypeError,
    CycleError,
    GradmeshError,
    InvalidRequestError,
    LengthError,
    ShapeError,
    UnknownDTypeError,
    UnknownOpError,
)
from gradmesh_engine.graph import Graph, Node, TensorSpec, attrs_of
from gradmesh_engine.session import GradFn, Stats
from tests.service.graphs import chain, equal_bits, frozen

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
DTYPES = st.sampled_from(dtypes.ALL)
FLOATS = st.floats(allow_nan=False)
ATTRS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    FLOATS,
    st.complex_numbers(allow_nan=False),
    st.text(max_size=8),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3).map(tuple),
    st.lists(FLOATS, max_size=3).map(tuple),
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
)
SPECS = st.builds(TensorSpec, SHAPES, DTYPES)
NODES = st.builds(
    Node,
    st.text(min_size=1, max_size=6),
    st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple),
    st.dictionaries(st.text(min_size=1, max_size=4), ATTRS, max_size=3).map(attrs_of),
    st.lists(SPECS, min_size=1, max_size=2).map(tuple),
)


def over_the_wire(array: np.ndarray) -> np.ndarray:
    data = _codec.encode_array(array).SerializeToString()
    return _codec.decode_array(tensor_pb2.Tensor.FromString(data))


@given(SHAPES, DTYPES, st.integers(0, 2**32))
def test_arrays_keep_every_bit(shape: tuple[int, ...], dtype: np.dtype, seed: int) -> None:
    """Any bits at all: NaN payloads, signed zeros, subnormals."""
    count = TensorSpec(shape, dtype).nbytes
    raw = random.Random(seed).randbytes(count)
    if dtype == dtypes.bool_:
        raw = bytes(byte & 1 for byte in raw)
    array = np.frombuffer(raw, dtype).reshape(shape) if count else np.empty(shape, dtype)
    back = over_the_wire(array)
    assert equal_bits(back, array)
    assert not back.flags.writeable


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[::-1, ::2], lambda a: a[1], lambda a: a[..., 0]])
def test_strided_arrays_travel_in_c_order(view) -> None:  # type: ignore[no-untyped-def]
    array = view(np.arange(24.0).reshape(4, 6))
    assert equal_bits(over_the_wire(array), np.ascontiguousarray(array))


@given(st.lists(SPECS, max_size=3), st.lists(NODES, max_size=4), st.lists(st.integers(0, 2**32 - 1), max_size=3))
def test_graphs_survive(inputs: list[TensorSpec], nodes: list[Node], outputs: list[int]) -> None:
    graph = Graph(tuple(inputs), tuple(nodes), tuple(outputs), tuple(f"a.py:{i}" for i in range(len(nodes))))
    data = _codec.encode_graph(graph).SerializeToString()
    back = _codec.decode_graph(graph_pb2.Graph.FromString(data))
    assert back == graph
    assert back.digest == graph.digest
    assert back.sources == graph.sources


def test_what_the_sender_leaves_out_is_filled_in() -> None:
    graph = chain(2, 3)
    message = _codec.encode_graph(graph)
    for sent in message.nodes:
        del sent.outputs[:]
    assert _codec.decode_graph(message) == graph


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: setattr(m.nodes[1], "op", "no_such_op"), UnknownOpError),
        (lambda m: m.nodes[1].inputs.__setitem__(0, 5), CycleError),
        (lambda m: m.nodes[1].attrs["bad"].SetInParent(), AttributeTypeError),
        (lambda m: m.nodes[1].attrs["bad"].CopyFrom(_codec.encode_attr(1)), AttributeTypeError),
        (lambda m: m.nodes[4].attrs["dims"].CopyFrom(_codec.encode_attr("x")), AttributeTypeError),
        (lambda m: m.inputs[1].shape.__setitem__(0, 5), ShapeError),
    ],
)
def test_filling_in_finds_what_is_wrong(change, error: type[GradmeshError]) -> None:  # type: ignore[no-untyped-def]
    message = _codec.encode_graph(chain(2, 3))
    for sent in message.nodes:
        del sent.outputs[:]
    change(message)
    with pytest.raises(error) as caught:
        _codec.decode_graph(message)
    assert caught.value.op
    assert caught.value.node >= 0
    assert caught.value.source == f"model.py:{10 + caught.value.node}"


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, None, (1, "a"), [1], object()])
def test_attributes_that_cannot_be_sent(value: object) -> None:
    node = Node("full", (), (("value", value),), (TensorSpec((), dtypes.float32),))  # type: ignore[arg-type]
    with pytest.raises(AttributeTypeError) as caught:
        _codec.encode_graph(Graph((), (node,), (0,), ("a.py:3",)))
    assert (caught.value.op, caught.value.node, caught.value.source) == ("full", 0, "a.py:3")


@pytest.mark.parametrize(
    ("dtype", "shape", "count", "error"),
    [
        ("float32", (2, 3), 23, LengthError),
        ("float32", (2, 3), 25, LengthError),
        ("float32", (), 0, LengthError),
        ("float32", (0,), 4, LengthError),
        ("float32", (-1, -1), 4, LengthError),
        ("float32", (1 << 40, 1 << 40), 0, LengthError),
        ("float32", (0, 1 << 40, 1 << 40), 0, LengthError),
        ("float64", (1 << 62,), 0, LengthError),
        ("float32", (1,) * 65, 4, LengthError),
        ("float8", (1,), 1, UnknownDTypeError),
        ("", (1,), 1, UnknownDTypeError),
        ("float32 ", (1,), 4, UnknownDTypeError),
    ],
)
def test_impossible_tensors(dtype: str, shape: tuple[int, ...], count: int, error: type[GradmeshError]) -> None:
    message = tensor_pb2.Tensor(dtype=dtype, shape=shape, data=b"\0" * count)
    with pytest.raises(error) as caught:
        _codec.decode_array(message)
    assert caught.value.expected
    assert caught.value.got or not dtype


def test_bools_are_zero_or_one() -> None:
    with pytest.raises(InvalidRequestError):
        _codec.decode_array(tensor_pb2.Tensor(dtype="bool", shape=(3,), data=b"\0\1\2"))


def test_decoding_shares_the_message_s_bytes() -> None:
    message = _codec.encode_array(frozen(np.arange(1000.0)))
    array = _codec.decode_array(message)
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert isinstance(base, bytes)


def test_metadata_survives() -> None:
    graph = chain(2)
    fns = (
        GradFn("MulBackward0", 0, (-1, -2), (2,), "float32", "model.py:10", (0, 1), ("w0", "w1"), 0.25),
        GradFn("TanhBackward0", 1, (0,), (), "float64", "model.py:11"),
    )
    assert _codec.decode_grad_fns(_codec.encode_grad_fns(fns), graph) == fns
    message = gradient_service_pb2.Stats(
        cache="new graph",
        where="workers",
        stages=2,
        blocks=30,
        groups=4,
        workers=3,
        wait_seconds=1,
        decode_seconds=2,
        plan_seconds=3,
        run_seconds=4,
        encode_seconds=5,
        placed_bytes=7,
        peak_bytes=123,
        flops=4.5,
    )
    seconds = {"wait": 1.0, "decode": 2.0, "plan": 3.0, "run": 4.0, "encode": 5.0}
    expected = Stats("new graph", "workers", 2, 30, 4, 3, seconds, {"placed": 7, "sent": 5}, 123, 4.5)
    assert _codec.decode_stats(message, {"sent": 5}) == expected
