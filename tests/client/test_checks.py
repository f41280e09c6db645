"""Anomaly detection names the line that recorded the first NaN; checkpoints compute what their function does."""

import inspect

import pytest

import gradmesh as gm
from gradmesh.utils.checkpoint import checkpoint, checkpoint_sequential


def test_anomaly_names_the_forward_line() -> None:
    x = gm.tensor([0.0, 4.0], requires_grad=True)
    frame = inspect.currentframe()
    assert frame is not None
    root, line = gm.sqrt(x * 0.0), frame.f_lineno
    with (
        gm.autograd.detect_anomaly(),
        pytest.raises(gm.errors.AutogradError, match="SqrtBackward0|MulBackward0") as found,
    ):
        (root * gm.tensor([0.0, 1.0])).sum().backward()
    assert found.value.source == f"test_checks.py:{line}"
    assert x.grad is None


def test_checkpoints_keep_values_and_gradients() -> None:
    x = gm.tensor([0.3, 0.7], requires_grad=True)
    y = checkpoint(lambda a, b: (a.sin() * b).exp(), x, b=2.0, use_reentrant=False)
    z = checkpoint_sequential([gm.sin, gm.exp], 2, y)
    (plain,) = gm.autograd.grad((x.sin() * 2.0).exp().sin().exp().sum(), x)
    (checked,) = gm.autograd.grad(z.sum(), x)
    assert gm.equal(plain, checked)
