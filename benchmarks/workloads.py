"""The measured computations, written once against the API that PyTorch and gradmesh share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

POINTWISE_SIZE = 4_000_000
LOGISTIC_ROWS, LOGISTIC_COLUMNS = 1_000_000, 64

Step = Callable[[], tuple[float, list[np.ndarray]]]


def _tensor(lib: Any, array: np.ndarray, requires_grad: bool = False) -> Any:
    tensor = lib.from_numpy(array)
    return tensor.requires_grad_() if requires_grad else tensor


def pointwise(lib: Any, size: int = POINTWISE_SIZE) -> Step:
    """mean(tanh(a x + b) * exp(-x²) + sigmoid(c x)) of `size` float32; gradient with respect to x."""
    rng = np.random.default_rng(0)
    x = _tensor(lib, rng.standard_normal(size, dtype=np.float32), requires_grad=True)
    a, b, c = 1.3, 0.2, 0.7

    def step() -> tuple[float, list[np.ndarray]]:
        x.grad = None
        loss = (lib.tanh(a * x + b) * lib.exp(-(x * x)) + lib.sigmoid(c * x)).mean()
        loss.backward()
        return loss.item(), [x.grad.numpy()]

    return step


def logistic(lib: Any, rows: int = LOGISTIC_ROWS, columns: int = LOGISTIC_COLUMNS) -> Step:
    """Logistic regression on `rows` x `columns` float32; gradients with respect to weights and bias."""
    rng = np.random.default_rng(1)
    data = rng.standard_normal((rows, columns), dtype=np.float32)
    truth = rng.standard_normal(columns, dtype=np.float32)
    labels = (data @ truth + rng.standard_normal(rows, dtype=np.float32) > 0).astype(np.float32)
    x, y = _tensor(lib, data), _tensor(lib, labels)
    w = _tensor(lib, 0.1 * truth, requires_grad=True)
    b = _tensor(lib, np.zeros((), np.float32), requires_grad=True)

    def step() -> tuple[float, list[np.ndarray]]:
        w.grad = b.grad = None
        loss = lib.nn.functional.binary_cross_entropy_with_logits(x @ w + b, y)
        loss.backward()
        return loss.item(), [w.grad.numpy(), b.grad.numpy()]

    return step


def tutorial(lib: Any) -> Step:
    """The gradient of PyTorch's autograd tutorial: mean(3 (x + 2)²) of a 2 x 2 of ones, 4.5 everywhere."""

    def step() -> tuple[float, list[np.ndarray]]:
        x = lib.ones(2, 2, requires_grad=True)
        y = x + 2
        z = y * y * 3
        z.mean().backward()
        return 0.0, [x.grad.numpy()]

    return step


WORKLOADS: dict[str, Callable[[Any], Step]] = {"pointwise": pointwise, "logistic": logistic}
SMALL: dict[str, Callable[[Any], Step]] = {
    "pointwise": lambda lib: pointwise(lib, 1_000),
    "logistic": lambda lib: logistic(lib, 100),
}
