"""Which session evaluates, what is counted, and what explain says."""

import os
import subprocess
import sys
import threading

import pytest

import gradmesh as gm
from gradmesh_engine.errors import AttributeTypeError
from gradmesh_engine.session import Request, Result


class Named:
    """A session of the process that counts its requests."""

    def __init__(self) -> None:
        self.inner = gm.LocalSession()
        self.count = 0
        self.closed = False

    def run(self, request: Request) -> Result:
        self.count += 1
        return self.inner.run(request)

    def explain(self, request: Request) -> str:
        return self.inner.explain(request)

    def close(self) -> None:
        self.closed = True


def test_default_session_is_replaced_and_given_back() -> None:
    one = Named()
    before = gm.set_default_session(one)
    try:
        gm.ones(2).add(1).tolist()
        assert one.count == 1
        assert gm.set_default_session(None) is one
        assert not one.closed
        gm.ones(2).add(1).tolist()
        assert one.count == 1
    finally:
        gm.set_default_session(before)


def test_with_makes_a_session_evaluate_in_this_thread_only() -> None:
    default = Named()
    before = gm.set_default_session(default)
    try:
        with gm.LocalSession() as session:
            assert session is not None
            gm.ones(2).add(1).tolist()
            assert default.count == 0
            thread = threading.Thread(target=lambda: gm.ones(2).add(1).tolist())
            thread.start()
            thread.join()
            assert default.count == 1
        gm.ones(2).add(1).tolist()
        assert default.count == 2
    finally:
        gm.set_default_session(before)


def test_address_in_the_environment_names_the_default() -> None:
    code = (
        "import gradmesh as gm\n"
        "x = gm.ones(2) + 1\n"
        "print(x.shape)\n"
        "try:\n"
        "    x.tolist()\n"
        "except gm.errors.UnavailableError as error:\n"
        "    print('unavailable')\n"
    )
    environment = os.environ | {"GRADMESH_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split("\n")[:2] == ["torch.Size([2])", "unavailable"]


def test_stats_count_requests_reads_hits_and_misses() -> None:
    with gm.LocalSession():
        gm.stats(reset=True)
        for _ in range(3):
            (gm.ones(3) * 3).exp().sum().item()
        counted = gm.stats(reset=True)
    assert counted.requests == 3
    assert counted.hits == 2
    assert list(counted.misses.values()) == [1]
    assert [(line.split(":")[0], count) for line, count in counted.reads.items()] == [("test_sessions.py", 3)]
    assert "test_sessions.py" in str(counted)
    assert gm.stats().requests == 0


def test_explain_shows_the_plan_and_computes_nothing() -> None:
    counting = Named()
    before = gm.set_default_session(counting)
    try:
        x = gm.ones(1_000_000, 8)
        w = gm.ones(8, requires_grad=True)
        loss = (x @ w).tanh().mean()
        text = gm.explain(loss)
        assert "block" in text
        assert counting.count == 0
        assert "known" in gm.explain(gm.ones(2))
        assert gm.explain(x * 2)
    finally:
        gm.set_default_session(before)
    with pytest.raises(AttributeTypeError):
        gm.explain(3)  # type: ignore[arg-type]
