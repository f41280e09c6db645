"""The measured computations: inputs made once here, losses written against each contestant's API.

`tensors.py` writes every loss in the API PyTorch and gradmesh share, `arrays.py` in the NumPy-like one
of JAX and autograd. A step computes the loss and the gradients of all parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

Step = Callable[[], tuple[float, list[np.ndarray]]]


@dataclass(frozen=True)
class Inputs:
    """What a workload is run on.

    Attributes:
        parameters: what is differentiated with respect to.
        data: the rest.
        vector: directions of a Hessian-vector product, one per parameter; else empty.
    """

    parameters: list[np.ndarray]
    data: list[np.ndarray]
    vector: list[np.ndarray]


@dataclass(frozen=True)
class Workload:
    """One computation.

    Attributes:
        what: what it is, for the table.
        make: its inputs, from a generator and the numbers of a size.
        sizes: the numbers of "small" and "large".
        kind: "gradient"; "read first", where the loss is read before the gradient is asked for; "product" for a
            Hessian-vector product; "samples" for one gradient per row of the data.
    """

    what: str
    make: Callable[..., Inputs]
    sizes: Mapping[str, tuple[int, ...]]
    kind: str = "gradient"

    def inputs(self, size: str) -> Inputs:
        """The inputs; the same for every contestant."""
        return self.make(np.random.default_rng(0), *self.sizes[size])


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def _layers(rng: np.random.Generator, *widths: int) -> list[np.ndarray]:
    """Weights (in x out) and biases of dense layers."""
    made = []
    for rows, columns in zip(widths, widths[1:], strict=False):
        made += [_normal(rng, rows, columns, scale=rows**-0.5), _normal(rng, columns, scale=0.1)]
    return made


def _pointwise(rng: np.random.Generator, size: int) -> Inputs:
    return Inputs([_normal(rng, size)], [], [])


def _logistic(rng: np.random.Generator, rows: int, columns: int) -> Inputs:
    data, truth = _normal(rng, rows, columns), _normal(rng, columns)
    labels = (data @ truth + _normal(rng, rows) > 0).astype(np.float32)
    return Inputs([0.1 * truth, np.zeros((), np.float32)], [data, labels], [])


def _mlp(rng: np.random.Generator, rows: int, *widths: int) -> Inputs:
    labels = rng.integers(0, widths[-1], rows)
    return Inputs(_layers(rng, *widths), [_normal(rng, rows, widths[0]), labels], [])


def _attention(rng: np.random.Generator, batch: int, heads: int, length: int, width: int) -> Inputs:
    weights = [_normal(rng, width, width, scale=width**-0.5) for _ in range(4)]
    return Inputs(weights, [_normal(rng, batch, length, width), np.array(heads)], [])


def _options(rng: np.random.Generator, size: int) -> Inputs:
    ranges = ((80, 120), (80, 120), (0.1, 2.0), (0.0, 0.05), (0.1, 0.5))
    return Inputs([rng.uniform(low, high, size) for low, high in ranges], [], [])


def _block(rng: np.random.Generator, rows: int, width: int) -> Inputs:
    scale, shift = 1 + _normal(rng, width, scale=0.1), _normal(rng, width, scale=0.1)
    return Inputs([scale, shift, *_layers(rng, width, 4 * width, width)], [_normal(rng, rows, width)], [])


def _batch_norm(rng: np.random.Generator, rows: int, width: int) -> Inputs:
    scale, shift = 1 + _normal(rng, width, scale=0.1), _normal(rng, width, scale=0.1)
    data = [_normal(rng, rows, width), _normal(rng, rows, 1)]
    return Inputs([*_layers(rng, width, width), scale, shift, *_layers(rng, width, 1)], data, [])


def _mixture(rng: np.random.Generator, rows: int, parts: int) -> Inputs:
    return Inputs(
        [_normal(rng, parts), _normal(rng, parts, scale=2.0), _normal(rng, parts, scale=0.3)], [_normal(rng, rows)], []
    )


def _convolution(rng: np.random.Generator, batch: int) -> Inputs:
    filters = []
    for out, into in ((6, 1), (16, 6)):
        filters += [_normal(rng, out, into, 5, 5, scale=(25 * into) ** -0.5), _normal(rng, out, scale=0.1)]
    images, labels = _normal(rng, batch, 1, 28, 28), rng.integers(0, 10, batch)
    return Inputs([*filters, *_layers(rng, 256, 120, 84, 10)], [images, labels], [])


def _embedding(rng: np.random.Generator, batch: int, words: int, length: int, width: int, classes: int) -> Inputs:
    table = _normal(rng, words, width)
    data = [rng.integers(0, words, (batch, length)), rng.integers(0, classes, batch)]
    return Inputs([table, *_layers(rng, width, classes)], data, [])


def _samples(rng: np.random.Generator, rows: int, *widths: int) -> Inputs:
    return Inputs(_layers(rng, *widths), [_normal(rng, rows, widths[0]), _normal(rng, rows, widths[-1])], [])


def _product(rng: np.random.Generator, rows: int, *widths: int) -> Inputs:
    made = _samples(rng, rows, *widths)
    return Inputs(made.parameters, made.data, [_normal(rng, *p.shape) for p in made.parameters])


def _tiny(rng: np.random.Generator, count: int, size: int) -> Inputs:
    return Inputs([_normal(rng, size), _normal(rng, size)], [np.array(count)], [])


WORKLOADS: Final[Mapping[str, Workload]] = {
    "pointwise": Workload(
        "mean(tanh(a x + b) * exp(-x²) + sigmoid(c x))", _pointwise, {"small": (100_000,), "large": (4_000_000,)}
    ),
    "logistic": Workload("logistic regression", _logistic, {"small": (10_000, 64), "large": (1_000_000, 64)}),
    "logistic_read": Workload(
        "the same, its loss read before backward", _logistic, {"small": (10_000, 64), "large": (1_000_000, 64)},
        "read first",
    ),
    "mlp": Workload(
        "MLP classifier, three layers", _mlp, {"small": (64, 640, 384, 384, 10), "large": (4096, 640, 384, 384, 10)}
    ),
    "attention": Workload(
        "multi-head self-attention", _attention, {"small": (2, 4, 64, 128), "large": (16, 4, 128, 256)}
    ),
    "options": Workload(
        "Black-Scholes calls, all first-order Greeks, float64", _options, {"small": (10_000,), "large": (1_000_000,)}
    ),
    "block": Workload("residual block: LayerNorm, GELU", _block, {"small": (64, 128), "large": (2048, 256)}),
    "batch_norm": Workload("dense, batch norm, dense", _batch_norm, {"small": (2000, 32), "large": (200_000, 32)}),
    "mixture": Workload("Gaussian mixture's log-likelihood", _mixture, {"small": (2000, 24), "large": (200_000, 24)}),
    "convolution": Workload("convolutional network after LeNet", _convolution, {"small": (8,), "large": (256,)}),
    "embedding": Workload(
        "embedding and softmax classifier", _embedding,
        {"small": (64, 1000, 16, 32, 20), "large": (4096, 20_000, 16, 64, 50)},
    ),
    "samples": Workload(
        "per-sample gradients of an MLP", _samples, {"small": (16, 32, 32, 1), "large": (2048, 64, 64, 1)}, "samples"
    ),
    "product": Workload(
        "an MLP's Hessian-vector product", _product, {"small": (64, 32, 32, 1), "large": (16_384, 64, 64, 1)}, "product"
    ),
    "tiny": Workload("tiny operations, one after the other", _tiny, {"small": (100, 16), "large": (1000, 16)}),
}  # fmt: skip
