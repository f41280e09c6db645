"""The losses in the NumPy-like API of JAX and autograd, and the steps made of them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from workloads import Inputs, Step

Arrays = Sequence[Any]


@dataclass(frozen=True)
class Library:
    """What the losses need of a library.

    Attributes:
        np: its NumPy.
        erf: the error function.
        logsumexp: log(sum(exp)) over an axis.
        convolve: images (N, C, H, W) with filters (O, C, h, w), without padding.
    """

    np: Any
    erf: Callable[[Any], Any]
    logsumexp: Callable[..., Any]
    convolve: Callable[[Any, Any], Any]

    def gelu(self, x: Any) -> Any:
        """The normal distribution's cdf at x, times x."""
        return 0.5 * x * (1 + self.erf(x * math.sqrt(0.5)))


Loss = Callable[[Library, Arrays, Arrays], Any]


def _cross_entropy(lib: Library, logits: Any, labels: Any) -> Any:
    rows = np.arange(len(labels))
    return lib.np.mean(lib.logsumexp(logits, axis=1) - logits[rows, labels])


def _pointwise(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (x,), xp = parameters, lib.np
    return xp.mean(xp.tanh(1.3 * x + 0.2) * xp.exp(-(x * x)) + 1 / (1 + xp.exp(-0.7 * x)))


def _logistic(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (w, b), (x, y), xp = parameters, data, lib.np
    z = x @ w + b
    return xp.mean(xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z))) - z * y)


def _dense(parameters: Arrays, x: Any, activation: Callable[[Any], Any]) -> Any:
    for index in range(0, len(parameters), 2):
        x = x @ parameters[index] + parameters[index + 1]
        if index + 2 < len(parameters):
            x = activation(x)
    return x


def _mlp(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    x, labels = data
    return _cross_entropy(lib, _dense(parameters, x, lambda h: lib.np.maximum(h, 0)), labels)


def _attention(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (wq, wk, wv, wo), (x, count), xp = parameters, data, lib.np
    batch, length, width = x.shape
    heads = int(count)

    def split(y: Any) -> Any:
        return xp.transpose(xp.reshape(y, (batch, length, heads, width // heads)), (0, 2, 1, 3))

    q, k, v = split(x @ wq), split(x @ wk), split(x @ wv)
    scores = xp.matmul(q, xp.transpose(k, (0, 1, 3, 2))) / math.sqrt(width // heads)
    weights = xp.exp(scores - lib.logsumexp(scores, axis=-1, keepdims=True))
    y = xp.reshape(xp.transpose(xp.matmul(weights, v), (0, 2, 1, 3)), (batch, length, width)) @ wo
    return xp.mean(y * y)


def _options(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (spot, strike, years, rate, sigma), xp = parameters, lib.np

    def cdf(x: Any) -> Any:
        return 0.5 * (1 + lib.erf(x * math.sqrt(0.5)))

    spread = sigma * xp.sqrt(years)
    d1 = (xp.log(spot / strike) + (rate + 0.5 * sigma * sigma) * years) / spread
    return xp.sum(spot * cdf(d1) - strike * xp.exp(-rate * years) * cdf(d1 - spread))


def _block(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (scale, shift, w1, b1, w2, b2), (x,), xp = parameters, data, lib.np
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    normal = centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
    y = x + (lib.gelu((normal * scale + shift) @ w1 + b1) @ w2 + b2)
    return xp.mean(y * y)


def _batch_norm(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (w1, b1, scale, shift, w2, b2), (x, y), xp = parameters, data, lib.np
    hidden = x @ w1 + b1
    centred = hidden - xp.mean(hidden, axis=0)
    normal = centred / xp.sqrt(xp.mean(centred * centred, axis=0) + 1e-5)
    return xp.mean((xp.maximum(normal * scale + shift, 0) @ w2 + b2 - y) ** 2)


def _mixture(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (logits, means, scales), (x,), xp = parameters, data, lib.np
    z = (x[:, None] - means) * xp.exp(-scales)
    joint = logits - lib.logsumexp(logits) - scales - 0.5 * z * z
    return -(xp.mean(lib.logsumexp(joint, axis=1)) - 0.5 * math.log(2 * math.pi))


def _convolution(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (k1, c1, k2, c2, *dense), (x, labels), xp = parameters, data, lib.np
    for filters, bias in ((k1, c1), (k2, c2)):
        h = xp.maximum(lib.convolve(x, filters) + xp.reshape(bias, (1, -1, 1, 1)), 0)
        n, c, height, width = h.shape
        x = xp.max(xp.reshape(h, (n, c, height // 2, 2, width // 2, 2)), axis=(3, 5))
    logits = _dense(dense, xp.reshape(x, (x.shape[0], -1)), lambda h: xp.maximum(h, 0))
    return _cross_entropy(lib, logits, labels)


def _embedding(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (table, w, b), (words, labels) = parameters, data
    return _cross_entropy(lib, lib.np.mean(table[words], axis=1) @ w + b, labels)


def _regression(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    x, y = data
    return lib.np.mean((_dense(parameters, x, lib.np.tanh) - y) ** 2)


def _tiny(lib: Library, parameters: Arrays, data: Arrays) -> Any:
    (a, b), xp = parameters, lib.np
    y = a
    for index in range(int(data[0]) // 4):
        y = xp.tanh(y * b + a) if index % 2 else xp.sin(y - b) * a
        y = y + 1.0
    return xp.sum(y)


LOSSES: Final[Mapping[str, Loss]] = {
    "pointwise": _pointwise,
    "logistic": _logistic,
    "logistic_read": _logistic,
    "mlp": _mlp,
    "attention": _attention,
    "options": _options,
    "block": _block,
    "batch_norm": _batch_norm,
    "mixture": _mixture,
    "convolution": _convolution,
    "embedding": _embedding,
    "samples": _regression,
    "product": _regression,
    "tiny": _tiny,
}


def _split(data: Sequence[np.ndarray]) -> tuple[dict[int, int], list[np.ndarray]]:
    """Sizes by position, and the arrays."""
    sizes = {i: int(a) for i, a in enumerate(data) if a.ndim == 0 and a.dtype.kind == "i"}
    return sizes, [a for i, a in enumerate(data) if i not in sizes]


def jax_step(name: str, kind: str, inputs: Inputs) -> Step:
    """A step compiled by JAX."""
    jax: Any = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", any(p.dtype == np.float64 for p in inputs.parameters))

    def convolve(x: Any, filters: Any) -> Any:
        return jax.lax.conv_general_dilated(x, filters, (1, 1), "VALID")

    lib = Library(jax.numpy, jax.scipy.special.erf, jax.scipy.special.logsumexp, convolve)
    sizes, data = _split(inputs.data)

    def loss(parameters: Arrays, *given: Any) -> Any:
        arrays = iter(given)
        every = [sizes[i] if i in sizes else next(arrays) for i in range(len(inputs.data))]
        return LOSSES[name](lib, parameters, every)

    if kind == "product":
        vector = [jax.numpy.asarray(v) for v in inputs.vector]

        def both(parameters: Arrays, *given: Any) -> Any:
            at = jax.value_and_grad(loss)
            (value, _), (_, second) = jax.jvp(lambda p: at(p, *given), (parameters,), (vector,))
            return value, second

        compiled = jax.jit(both)
    elif kind == "samples":

        def one(parameters: Arrays, row: Any, target: Any) -> Any:
            return loss(parameters, row[None], target[None])

        mapped = jax.vmap(jax.value_and_grad(one), in_axes=(None, 0, 0))
        compiled = jax.jit(lambda parameters, x, y: _mean_first(mapped(parameters, x, y)))
    else:
        compiled = jax.jit(jax.value_and_grad(loss))
    parameters = [jax.numpy.asarray(p) for p in inputs.parameters]
    arrays = [jax.numpy.asarray(a) for a in data]

    def step() -> tuple[float, list[np.ndarray]]:
        value, gradients = compiled(parameters, *arrays)
        return float(value), [np.asarray(g) for g in gradients]

    return step


def _mean_first(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair[0].mean(), pair[1]


def autograd_step(name: str, kind: str, inputs: Inputs) -> Step | None:
    """A step of HIPS autograd; None where it has no such function."""
    import autograd
    import autograd.numpy
    import autograd.scipy.signal
    import autograd.scipy.special

    def convolve(x: Any, filters: Any) -> Any:
        flipped = filters[:, :, ::-1, ::-1]
        return autograd.scipy.signal.convolve(x, flipped, axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")

    if kind == "samples":
        return None
    lib = Library(autograd.numpy, autograd.scipy.special.erf, autograd.scipy.special.logsumexp, convolve)
    sizes, _ = _split(inputs.data)
    data = [sizes.get(i, a) for i, a in enumerate(inputs.data)]

    def loss(parameters: Arrays) -> Any:
        return LOSSES[name](lib, parameters, data)

    if kind == "product":
        product = autograd.make_hvp(loss)

        def second() -> tuple[float, list[np.ndarray]]:
            apply, _ = product(list(inputs.parameters))
            return float(loss(inputs.parameters)), list(apply(list(inputs.vector)))

        return second
    at = autograd.value_and_grad(loss)

    def step() -> tuple[float, list[np.ndarray]]:
        value, gradients = at(list(inputs.parameters))
        return float(value), list(gradients)

    return step
