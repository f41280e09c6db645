"""The whole house in a few seconds: run this first."""

from __future__ import annotations

import numpy as np
import pytest

import gradmesh as gm
from gradmesh.nn import functional as F


def test_a_gradient() -> None:
    x = gm.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = (x @ x).tanh().sum()
    y.backward()
    step = 1e-3
    expected = np.zeros((2, 2))
    for i, j in np.ndindex(2, 2):
        moved = [np.array(x.tolist()) for _ in range(2)]
        moved[0][i, j] += step
        moved[1][i, j] -= step
        up, down = (np.tanh(m @ m).sum() for m in moved)
        expected[i, j] = (up - down) / (2 * step)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), expected, atol=1e-4)


def test_a_gradient_of_a_gradient() -> None:
    x = gm.tensor(2.0, requires_grad=True)
    (first,) = gm.autograd.grad(x**4, x, create_graph=True)
    (second,) = gm.autograd.grad(first, x)
    assert (first.item(), second.item()) == (32.0, 48.0)


def test_grad_fns_have_names() -> None:
    x = gm.ones(3, requires_grad=True)
    y = (x * 2).sum()
    assert y.grad_fn is not None
    assert y.grad_fn.name() == "SumBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "MulBackward0"


def test_training_reduces_the_loss() -> None:
    gm.manual_seed(0)
    x, target = gm.randn(64, 5), gm.randn(64, 1)
    w = gm.zeros(5, 1, requires_grad=True)
    losses = []
    for _ in range(5):
        loss = F.mse_loss(x @ w, target)
        (g,) = gm.autograd.grad(loss, [w])
        with gm.no_grad():
            w -= 0.1 * g
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_a_wrong_shape_raises_at_once_and_names_the_line() -> None:
    with pytest.raises(RuntimeError, match=r"test_tiny\.py:\d+"):
        gm.ones(3) + gm.ones(4)


def test_a_service_gives_the_same_bits() -> None:
    from gradmesh_server.config import Config
    from gradmesh_server.server import background

    def gradient() -> bytes:
        x = gm.tensor(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), requires_grad=True)
        F.softmax(x, dim=1).square().sum().backward()
        assert x.grad is not None
        return x.grad.numpy().tobytes()

    here = gradient()
    with background(Config(port=0)) as server, gm.connect(server.address):
        assert gradient() == here
