"""Every op's graphs and arrays survive the wire, and the codec fills in what a sender left out."""

from __future__ import annotations

import numpy as np
import pytest

from gradmesh import _codec as codec
from gradmesh.v1 import graph_pb2, tensor_pb2
from gradmesh_engine.check import check
from tests.ops.graphs import one_node
from tests.ops.rows import Row, Sample
from tests.ops.table import BY_ROW, SAMPLES


@pytest.mark.parametrize(("row", "sample"), SAMPLES)
def test_a_graph_survives_the_wire(row: Row, sample: Sample) -> None:
    graph = one_node(row.op, sample.arrays(row.seed(sample)), sample.attrs)
    sent = graph_pb2.Graph.FromString(codec.encode_graph(graph).SerializeToString())
    back = codec.decode_graph(sent)
    assert back == graph
    assert back.digest == graph.digest
    assert back.sources == graph.sources
    check(back)


@pytest.mark.parametrize(("row", "sample"), SAMPLES)
def test_a_graph_without_specs_and_defaults_is_completed(row: Row, sample: Sample) -> None:
    graph = one_node(row.op, sample.arrays(row.seed(sample)), sample.attrs)
    message = codec.encode_graph(graph)
    for node in message.nodes:
        node.ClearField("outputs")
        for name in [name for name in node.attrs if name not in sample.attrs]:
            del node.attrs[name]
    assert codec.decode_graph(message).digest == graph.digest


@pytest.mark.parametrize("row", BY_ROW)
def test_arrays_survive_the_wire(row: Row) -> None:
    for name in (None, *row.dtypes):
        for array in row.samples[0].arrays(row.seed(row.samples[0]), name):
            sent = tensor_pb2.Tensor.FromString(codec.encode_array(array).SerializeToString())
            back = codec.decode_array(sent)
            assert back.dtype == array.dtype
            assert back.shape == array.shape
            assert np.array_equal(back.reshape(-1).view(np.uint8), array.reshape(-1).view(np.uint8))
