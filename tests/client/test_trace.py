"""Recording, gathering and evaluating: long chains, steady graphs, what is kept and what is let go."""

import gc
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import gradmesh as gm
from gradmesh._gather import Gathering
from gradmesh_engine.errors import GradmeshError, OutOfRangeError, ShapeError
from gradmesh_engine.local import LocalSession
from gradmesh_engine.session import Request, Result


class Recording:
    """A real session that remembers what it was asked."""

    def __init__(self) -> None:
        self.engine = LocalSession()
        self.requests: list[Request] = []

    def run(self, request: Request) -> Result:
        self.requests.append(request)
        return self.engine.run(request)

    def explain(self, request: Request) -> str:
        return self.engine.explain(request)

    def close(self) -> None:
        self.engine.close()

    @property
    def digests(self) -> list[bytes]:
        return [request.graph.digest for request in self.requests]


@pytest.fixture
def session():
    recording = Recording()
    before = gm.set_default_session(recording)
    yield recording
    gm.set_default_session(before)


def steady(session: Recording, step: Callable[[], object], warm: int = 4, runs: int = 4) -> int:
    """Number of distinct graphs once warm."""
    for _ in range(warm):
        step()
    session.requests.clear()
    for _ in range(runs):
        step()
    assert len(session.requests) % runs == 0
    return len(set(session.digests)) * runs // len(session.requests)


# --- long chains ----------------------------------------------------------------------------------


def test_chain_of_3000_ops_is_differentiated() -> None:
    x = gm.ones(2, requires_grad=True)
    y = x
    for _ in range(1500):
        y = (y * 1.001) + 0.001
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1.001**1500, rtol=1e-4)


def test_chain_through_hooks_is_differentiated_without_recursion() -> None:
    x = gm.ones(2, requires_grad=True)
    y = x * 1.0
    seen = []
    y.register_hook(lambda g: seen.append(g))
    for _ in range(1500):
        y = y * 1.001
    y.sum().backward()
    np.testing.assert_allclose(seen[0].numpy(), 1.001**1500, rtol=1e-4)


def test_graph_of_20000_nodes_is_gathered_and_dropped() -> None:
    x = gm.ones(2, requires_grad=True)
    y = x
    for _ in range(20000):
        y = y * 0.5
    gathering = Gathering()
    number = gathering.add(y.value)
    graph = gathering.graph([number])
    assert len(graph.nodes) == 20000
    assert graph.outputs == (len(graph.inputs) + 19999,)
    del gathering, graph
    last = weakref.ref(y.value)
    del y
    gc.collect()
    assert last() is None


# --- graphs ---------------------------------------------------------------------------------------


def test_equal_code_gives_equal_digests(session: Recording) -> None:
    def run(scale: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        x = gm.tensor(rng.standard_normal((4, 3)))
        w = gm.tensor(rng.standard_normal(3), requires_grad=True)
        ((x @ w).tanh() * scale + scale).pow(2).mean().backward()

    run(0.5, 1)
    run(2.0, 2)  # the same number twice is no other structure
    assert len(set(session.digests)) == 1
    assert session.requests[0].graph is session.requests[1].graph


def test_numbers_are_inputs_not_structure(session: Recording) -> None:
    for number in (0.1, 2.0, -0.0, 3):
        (gm.ones(3) * number).tolist()
    assert len(set(session.digests)) == 1


def test_reading_twice_evaluates_once(session: Recording) -> None:
    x = gm.ones(3) * 2
    assert x.tolist() == [2, 2, 2]
    assert x.sum().item() == 6
    assert str(x) == "tensor([2., 2., 2.])"
    assert len(session.requests) == 2


def test_loss_is_known_after_backward(session: Recording) -> None:
    w = gm.ones(3, requires_grad=True)
    loss = (w * w).sum()
    loss.backward()
    assert loss.item() == 3
    assert len(session.requests) == 1


def test_shape_and_dtype_need_no_evaluation(session: Recording) -> None:
    y = (gm.ones(2, 3) @ gm.ones(3, 4)).sum(0).to(gm.float64)
    assert (y.shape, y.dtype, y.requires_grad, y.ndim) == ((4,), gm.float64, False, 1)
    assert not session.requests


# --- steady loops -----------------------------------------------------------------------------------


# Leaves: what is pending here would be computed along by other tests.
X, T = gm.tensor(np.arange(8, dtype=np.float32).reshape(4, 2) / 8), gm.tensor([1.0, 0.0, 1.0, 0.0])


def test_training_with_state_in_place_is_one_graph_per_step(session: Recording) -> None:
    w, m, mean = gm.zeros(2, requires_grad=True), gm.zeros(2), gm.zeros(2)

    def step() -> None:
        mean.mul_(0.9).add_(X.mean(0) * 0.1)
        loss = (((X * w).sum(1) - T) ** 2).mean()
        loss.backward()
        with gm.no_grad():
            m.mul_(0.9).add_(w.grad)
            w.sub_(m * 0.1)
        w.grad = None

    assert steady(session, step) == 1
    assert len(session.requests) == 4


def test_training_with_rebound_state_is_one_graph_per_step(session: Recording) -> None:
    w = gm.zeros(2, requires_grad=True)
    state = [gm.zeros(2)]

    def step() -> None:
        loss = (((X * w).sum(1) - T) ** 2).mean()
        loss.backward()
        with gm.no_grad():
            state[0] = 0.9 * state[0] + w.grad
            w.sub_(state[0] * 0.1)
        w.grad = None

    assert steady(session, step, warm=6) == 1


def test_gradients_zeroed_in_place_are_one_graph_per_step(session: Recording) -> None:
    w = gm.zeros(2, requires_grad=True)

    def step() -> None:
        if w.grad is not None:
            w.grad.zero_()
        (((X * w).sum(1) - T) ** 2).mean().backward()
        with gm.no_grad():
            w.sub_(w.grad * 0.1)

    assert steady(session, step) == 1


def test_temporaries_of_a_step_are_not_materialised(session: Recording) -> None:
    w = gm.ones(2, requires_grad=True)
    for _ in range(3):
        hidden = X * w
        scaled = X * 2
        loss = (hidden * scaled).sum()
        loss.backward()
    assert [len(request.graph.outputs) for request in session.requests] == [1, 1, 1]


def test_what_is_read_after_backward_is_kept_from_then_on(session: Recording) -> None:
    w = gm.zeros(2, requires_grad=True)

    def step() -> None:
        prediction = (X * w).sum(1)
        ((prediction - T) ** 2).mean().backward()
        (prediction > 0.5).sum().item()

    for _ in range(4):
        step()
    # The second request of a step reads the prediction instead of making it again.
    assert [node.op for node in session.requests[-1].graph.nodes] == ["gt", "sum"]


def test_a_loss_read_before_backward_is_not_computed_twice(session: Recording) -> None:
    x = gm.tensor([0.5, -1.0, 2.0], requires_grad=True)

    def step(differentiate: bool = True) -> list[float]:
        x.grad = None
        loss = (x.tanh() * x).sum()
        loss.item()
        if differentiate:
            loss.backward()
        return [] if x.grad is None else x.grad.tolist()

    first = step()
    session.requests.clear()
    assert [step(), step()] == [first, first]
    assert len(session.requests) == 2

    # Reads that no backward pass follows go back to costing the forward pass alone.
    for _ in range(4):
        step(False)
    session.requests.clear()
    step(False)
    assert not session.requests[0].query.wrt
    with gm.no_grad():
        step(False)

    # One pass that follows after all brings back what was learned, and so it goes from one epoch to the next.
    for _ in range(3):
        assert step() == first
        session.requests.clear()
        assert [step(), step()] == [first, first]
        assert len(session.requests) == 2
        for _ in range(3):
            step(False)
        session.requests.clear()
        step(False)
        assert not session.requests[0].query.wrt


def test_gradients_computed_along_are_given_out_once(session: Recording) -> None:
    x = gm.tensor([0.5, -1.0], requires_grad=True)

    def loss_of() -> gm.Tensor:
        return (x.exp() * x).sum()

    for _ in range(2):
        loss = loss_of()
        loss.item()
        loss.backward(retain_graph=True)
    x.grad = None
    loss = loss_of()
    loss.item()
    loss.backward(retain_graph=True)
    once = x.grad.tolist()
    loss.backward()
    assert x.grad.tolist() == [2 * g for g in once]
    with pytest.raises(GradmeshError, match="a second time"):
        loss.backward()


def test_state_never_grows_a_chain(session: Recording) -> None:
    w = gm.zeros(2)
    for step in range(12):
        error = (X * w).sum(1) - T
        w = w - 0.1 * (error[:, None] * X).mean(0)
        if step % 2:
            error.sum().item()
    lengths = [len(request.graph.nodes) for request in session.requests]
    assert lengths[-1] == lengths[-2] <= lengths[1]


# --- what is let go -----------------------------------------------------------------------------------


def test_kept_losses_hold_no_parameters() -> None:
    w = gm.ones(1000, requires_grad=True)
    losses, held = [], []
    for _ in range(5):
        held.append(weakref.ref(w.value.data))
        loss = (w * w).sum()
        loss.backward()
        losses.append(loss)
        with gm.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
        w.tolist()
    gc.collect()
    assert [ref() is not None for ref in held] == [False] * 5
    names = []
    node = losses[0].grad_fn
    while node is not None and node.next_functions:
        names.append(node.name())
        node = node.next_functions[0][0]
    assert names == ["SumBackward0", "MulBackward0"]
    assert node.variable is w
    with pytest.raises(RuntimeError, match="second time"):
        losses[0].backward()


def test_evaluated_values_let_go_of_what_made_them() -> None:
    x = gm.ones(1000) * 2
    x.tolist()
    source = weakref.ref(x.value.data)
    y = x * 3
    y.tolist()
    del x
    gc.collect()
    assert source() is None


# --- errors -------------------------------------------------------------------------------------------


def line_here(offset: int) -> str:
    import sys

    return f"test_trace.py:{sys._getframe(1).f_lineno + offset}"


def test_wrong_shape_raises_at_the_users_line() -> None:
    expected = line_here(2)
    with pytest.raises(ShapeError) as caught:
        gm.ones(2) + gm.ones(3)
    assert caught.value.source == expected
    assert caught.value.op == "add"


def test_errors_found_while_running_name_the_line_that_recorded() -> None:
    index = gm.tensor([0, 7])
    expected = line_here(1)
    picked = gm.ones(3)[index]
    later = picked * 2
    with pytest.raises(OutOfRangeError) as caught:
        later.tolist()
    assert caught.value.source == expected


def test_cached_graphs_do_not_lend_their_lines() -> None:
    index = gm.tensor([0, 7])
    first = gm.ones(3)[gm.tensor([0, 1])]
    first.tolist()
    expected = line_here(1)
    second = gm.ones(3)[index]
    with pytest.raises(OutOfRangeError) as caught:
        second.tolist()
    assert caught.value.source == expected


def test_bad_state_does_not_spoil_other_reads() -> None:
    bad = gm.ones(3)[gm.tensor([9])]
    gm.ones(1).add(1).item()
    assert gm.ones(2).add(1).tolist() == [2, 2]
    w = gm.ones(2, requires_grad=True)
    (w * w).sum().backward()
    assert w.grad.tolist() == [2, 2]
    with pytest.raises(OutOfRangeError):
        bad.tolist()


def test_all_errors_are_gradmeshs() -> None:
    for call in (
        lambda: gm.ones(2).backward(),
        lambda: gm.ones(2).item(),
        lambda: gm.ones(2)[5],
        lambda: bool(gm.ones(2)),
    ):
        with pytest.raises(GradmeshError):
            call()


# --- threads -------------------------------------------------------------------------------------------


def test_grad_mode_is_per_thread() -> None:
    seen = []
    with gm.no_grad():
        thread = threading.Thread(target=lambda: seen.append(gm.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_record_and_evaluate_at_once() -> None:
    shared = gm.arange(100.0)
    failures: list[BaseException] = []

    def work(scale: float) -> None:
        try:
            for _ in range(20):
                w = gm.ones(100, requires_grad=True)
                (shared * w * scale).sum().backward()
                np.testing.assert_array_equal(w.grad.numpy(), np.arange(100, dtype=np.float32) * np.float32(scale))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(scale,)) for scale in (1.0, 2.0, 3.0, 4.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
