"""Every op gives what it gives when all that can lie turned does, in one block and in many."""

from __future__ import annotations

import numpy as np
import pytest

from gradmesh_engine.graph import Graph
from gradmesh_engine.plan import blocks, layout
from gradmesh_engine.program import compile_query
from tests.ops.graphs import Arrays, assert_close, one_node
from tests.ops.rows import Row, Sample
from tests.ops.table import KNOWN


def _largest(row: Row) -> Sample:
    return max(row.samples, key=lambda sample: sum(a.size for a in sample.arrays(row.seed(sample))))


def _values(graph: Graph, arrays: Arrays) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return compile_query(graph).run([np.ascontiguousarray(a).reshape(a.shape) for a in arrays])


@pytest.mark.parametrize("block_bytes", [1500, 1 << 22])
@pytest.mark.parametrize("row", [pytest.param(row, id=row.op) for row in KNOWN if row.samples])
def test_ops_turned(row: Row, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = _largest(row)
    arrays = sample.arrays(row.seed(sample))
    graph = one_node(row.op, arrays, sample.attrs)
    expected = _values(graph, arrays)
    monkeypatch.setattr("gradmesh_engine.plan.SMALL_BYTES", -1)
    monkeypatch.setattr(layout, "LEAST_GAIN", -1e9)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    for got, want in zip(_values(graph, arrays), expected, strict=True):
        assert_close(got, want, 16.0, row.op)
