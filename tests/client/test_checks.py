"""Anomaly detection names the line that recorded the first NaN; checkpoints compute what their function does."""

import inspect
import re

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
    z = checkpoint_sequential([gm.sin, gm.exp], 2, y, use_reentrant=False)
    (plain,) = gm.autograd.grad((x.sin() * 2.0).exp().sin().exp().sum(), x)
    (checked,) = gm.autograd.grad(z.sum(), x)
    assert gm.equal(plain, checked)


def deep_loss(weights: list[gm.Tensor], x: gm.Tensor, wrapped: bool) -> gm.Tensor:
    """Layers that centre and scale their results over the batch: two reductions each."""

    def layer(x: gm.Tensor, weight: gm.Tensor) -> gm.Tensor:
        z = gm.dropout(x @ weight, 0.1, True)
        z = z - z.mean(0)
        return gm.tanh(z / (z * z).mean(0).add(1e-5).sqrt())

    gm.manual_seed(5)
    for weight in weights:
        x = checkpoint(layer, x, weight, use_reentrant=False) if wrapped else layer(x, weight)
    return (x * x).mean()


def peak_of(text: str) -> float:
    number, unit = re.search(r"peak ([\d.e+]+) (\w+) beyond", text).groups()  # type: ignore[union-attr]
    return float(number) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]


@pytest.mark.parametrize("order", [1, 2])
def test_checkpoints_lower_the_peak_and_change_no_bit(order: int) -> None:
    gm.manual_seed(0)
    x = gm.randn(6000, 32)
    weights = [(gm.randn(32, 32) / 6).requires_grad_() for _ in range(6)]
    peaks, found = [], []
    for wrapped in (False, True):
        loss = deep_loss(weights, x, wrapped)
        if order == 2:
            gradients = gm.autograd.grad(loss, weights, create_graph=True)
            loss = gm.stack([(g * g).sum() for g in gradients]).sum()
        peaks.append(peak_of(gm.explain(loss)))
        found.append([loss, *gm.autograd.grad(loss, weights)])
    assert peaks[1] < 0.9 * peaks[0], peaks
    assert all(a.detach().numpy().tobytes() == b.detach().numpy().tobytes() for a, b in zip(*found, strict=True))
