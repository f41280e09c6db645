"""Threads over a stage's groups: the same bits with any number, errors told, children of a fork served."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest

from gradmesh_engine.combine import Subtree
from gradmesh_engine.errors import InvalidRequestError, OutOfRangeError
from gradmesh_engine.local import LocalSession
from gradmesh_engine.program import compile_query
from gradmesh_engine.session import Query, Request
from gradmesh_engine.threads import over_groups
from tests.engine.graphs import Maker

ROWS = 60_000


def request() -> Request:
    """Two reductions over the rows in mid-graph, a loss, and the gradient of a weight."""
    m = Maker()
    x, w = m.input((ROWS, 24), "float32"), m.input((24, 24), "float32")
    h = m("tanh", m("contract", x, w, spec="ij,jk->ik"))
    centred = m("sub", h, m.mean(h, 0))
    loss = m.mean(m("exp", m("mul", centred, centred)), 0, 1)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((ROWS, 24), (24, 24))]
    return Request(m.graph(loss), tuple(arrays), Query((loss,), (w,), (False,)))


def bits(threads: int, given: Request) -> list[bytes]:
    result = LocalSession(threads=threads).run(given)
    return [a.tobytes() for a in (*result.outputs, *result.gradients) if a is not None]


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    given = request()
    plan = compile_query(given.graph, given.query).plan
    assert plan.parallel >= 3 and len(plan.stages) > 2
    alone = bits(1, given)
    assert bits(2, given) == alone
    assert bits(3, given) == alone


def test_an_error_in_any_thread_is_raised_once_all_have_stopped() -> None:
    ran: list[int] = []

    def fails(first: int, stop: int) -> list[Subtree]:
        ran.append(first)
        raise OutOfRangeError(f"group {first}")

    with pytest.raises(OutOfRangeError, match="group"):
        over_groups(64, [fails, fails])
    assert len(ran) <= 2


def test_explain_tells_what_was_expected_and_what_was_measured() -> None:
    session, given = LocalSession(threads=2), request()
    before = session.explain(given)
    assert "stage 0: about " in before and "took" not in before
    session.run(given)
    after = session.explain(given)
    assert after.count(" last") == after.count(" on one core") >= 3 and after.endswith("2 threads")


def test_a_session_without_threads_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="thread"):
        LocalSession(threads=0)


def _child(given: Request, queue: multiprocessing.SimpleQueue[list[bytes]]) -> None:
    queue.put(bits(2, given))


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own() -> None:
    given = request()
    expected = bits(2, given)  # the parent's threads are running by now
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_child, args=(given, queue))
    child.start()
    assert queue.get() == expected
    child.join(30)
    assert child.exitcode == 0
