"""Every op gives the same bits on a service as in process: values and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gradmesh._remote import RemoteSession, connect
from gradmesh_engine import dtypes
from gradmesh_engine.local import LocalSession
from gradmesh_engine.ops import TABLE
from gradmesh_engine.session import Query, Request
from gradmesh_server.config import Config
from gradmesh_server.server import background
from tests.ops.graphs import one_node
from tests.ops.rows import Row
from tests.ops.table import BY_ROW


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteSession]:
    with background(Config(port=0)) as server, connect(server.address, timeout=60) as session:
        yield session


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSession]:
    session = LocalSession()
    yield session
    session.close()


@pytest.mark.parametrize("row", BY_ROW)
def test_remote_is_local(row: Row, local: LocalSession, remote: RemoteSession) -> None:
    sample = row.samples[0]
    arrays = sample.arrays(row.seed(sample))
    graph = one_node(row.op, arrays, sample.attrs)
    query = Query()
    if TABLE[row.op].differentiable:
        of = tuple(i for i in graph.outputs if dtypes.is_differentiable(graph.specs[i].dtype))
        query = Query(of, row.differentiated(arrays), (True,) * len(of))
    rng = np.random.default_rng(0)
    cotangents = tuple(
        rng.uniform(-1, 1, graph.specs[i].shape).astype(graph.specs[i].dtype) for i in query.of if query.wrt
    )
    request = Request(graph, arrays, query if query.wrt else Query(), cotangents)
    here, there = local.run(request), remote.run(request)
    for mine, theirs in zip(here.outputs + here.gradients, there.outputs + there.gradients, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            assert mine.tobytes() == theirs.tobytes()
