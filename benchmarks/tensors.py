"""The losses in the API that PyTorch and gradmesh share, and the steps made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from workloads import Inputs, Step

Tensors = Sequence[Any]
Loss = Callable[[Any, Tensors, Tensors], Any]


def _pointwise(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (x,) = parameters
    return (lib.tanh(1.3 * x + 0.2) * lib.exp(-(x * x)) + lib.sigmoid(0.7 * x)).mean()


def _logistic(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (w, b), (x, y) = parameters, data
    return lib.nn.functional.binary_cross_entropy_with_logits(x @ w + b, y)


def _dense(lib: Any, parameters: Tensors, x: Any, activation: Callable[[Any], Any]) -> Any:
    for index in range(0, len(parameters), 2):
        x = x @ parameters[index] + parameters[index + 1]
        if index + 2 < len(parameters):
            x = activation(x)
    return x


def _mlp(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    x, labels = data
    return lib.nn.functional.cross_entropy(_dense(lib, parameters, x, lib.nn.functional.relu), labels)


def _attention(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (wq, wk, wv, wo), (x, count) = parameters, data
    batch, length, width = x.shape
    heads = int(count)

    def split(y: Any) -> Any:
        return y.reshape(batch, length, heads, width // heads).permute(0, 2, 1, 3)

    mixed = lib.nn.functional.scaled_dot_product_attention(split(x @ wq), split(x @ wk), split(x @ wv))
    y = mixed.permute(0, 2, 1, 3).reshape(batch, length, width) @ wo
    return (y * y).mean()


def _options(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    spot, strike, years, rate, sigma = parameters

    def cdf(x: Any) -> Any:
        return 0.5 * (1 + lib.erf(x * math.sqrt(0.5)))

    spread = sigma * lib.sqrt(years)
    d1 = (lib.log(spot / strike) + (rate + 0.5 * sigma * sigma) * years) / spread
    return (spot * cdf(d1) - strike * lib.exp(-rate * years) * cdf(d1 - spread)).sum()


def _block(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (scale, shift, w1, b1, w2, b2), (x,) = parameters, data
    functional = lib.nn.functional
    hidden = functional.gelu(functional.layer_norm(x, (x.shape[-1],), scale, shift) @ w1 + b1)
    y = x + (hidden @ w2 + b2)
    return (y * y).mean()


def _batch_norm(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (w1, b1, scale, shift, w2, b2), (x, y) = parameters, data
    functional = lib.nn.functional
    hidden = functional.batch_norm(x @ w1 + b1, None, None, scale, shift, training=True)
    return functional.mse_loss(functional.relu(hidden) @ w2 + b2, y)


def _mixture(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (logits, means, scales), (x,) = parameters, data
    z = (x[:, None] - means) * lib.exp(-scales)
    joint = lib.log_softmax(logits, 0) - scales - 0.5 * z * z
    return -(lib.logsumexp(joint, 1).mean() - 0.5 * math.log(2 * math.pi))


def _convolution(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (k1, c1, k2, c2, *dense), (x, labels) = parameters, data
    functional = lib.nn.functional
    for filters, bias in ((k1, c1), (k2, c2)):
        x = functional.max_pool2d(functional.relu(functional.conv2d(x, filters, bias)), 2)
    return functional.cross_entropy(_dense(lib, dense, x.reshape(x.shape[0], -1), functional.relu), labels)


def _embedding(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    (table, w, b), (words, labels) = parameters, data
    functional = lib.nn.functional
    return functional.cross_entropy(functional.embedding(words, table).mean(1) @ w + b, labels)


def _regression(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    x, y = data
    return lib.nn.functional.mse_loss(_dense(lib, parameters, x, lib.tanh), y)


def _tiny(lib: Any, parameters: Tensors, data: Tensors) -> Any:
    a, b = parameters
    y = a
    for index in range(int(data[0]) // 4):
        y = lib.tanh(y * b + a) if index % 2 else lib.sin(y - b) * a
        y = y + 1.0
    return y.sum()


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


def tensors_of(lib: Any, inputs: Inputs) -> tuple[list[Any], list[Any], list[Any]]:
    """Parameters, data and directions as tensors; 0-d integers stay Python's, since they are sizes."""
    parameters = [lib.from_numpy(array).requires_grad_() for array in inputs.parameters]
    data = [int(a) if a.ndim == 0 and a.dtype.kind == "i" else lib.from_numpy(a) for a in inputs.data]
    return parameters, data, [lib.from_numpy(array) for array in inputs.vector]


def gradient(lib: Any, loss: Loss, inputs: Inputs, read_first: bool) -> Step:
    """Forward and backward; the loss is read before or after the latter."""
    parameters, data, _ = tensors_of(lib, inputs)

    def step() -> tuple[float, list[np.ndarray]]:
        for parameter in parameters:
            parameter.grad = None
        value = loss(lib, parameters, data)
        if read_first:
            number = value.item()
        value.backward()
        return number if read_first else value.item(), [parameter.grad.numpy() for parameter in parameters]

    return step


def product(lib: Any, loss: Loss, inputs: Inputs) -> Step:
    """The Hessian times a vector: the gradient of the gradient along it."""
    parameters, data, vector = tensors_of(lib, inputs)

    def step() -> tuple[float, list[np.ndarray]]:
        value = loss(lib, parameters, data)
        first = lib.autograd.grad(value, parameters, create_graph=True)
        along = sum((g * v).sum() for g, v in zip(first, vector, strict=True))
        second = lib.autograd.grad(along, parameters)
        return value.item(), [g.numpy() for g in second]

    return step


def samples(lib: Any, loss: Loss, inputs: Inputs) -> Step:
    """One gradient per row: from the gradients of the layers' outputs, which stay apart, and their inputs."""
    (w1, b1, w2, b2), (x, y), _ = tensors_of(lib, inputs)

    def step() -> tuple[float, list[np.ndarray]]:
        before = x @ w1 + b1
        hidden = lib.tanh(before)
        after = hidden @ w2 + b2
        each = (after - y) ** 2
        first, second = lib.autograd.grad(each.sum(), [before, after])
        weights = lib.einsum("ni,no->nio", x, first), lib.einsum("ni,no->nio", hidden.detach(), second)
        return each.mean().item(), [weights[0].numpy(), first.numpy(), weights[1].numpy(), second.numpy()]

    return step


def whole_product(lib: Any, loss: Loss, inputs: Inputs, wrap: Callable[[Any], Any]) -> Step:
    """The Hessian times a vector, as one function of parameters, data and directions, which `wrap` compiles."""
    parameters, data, vector = tensors_of(lib, inputs)
    held = [p.detach() for p in parameters]

    def along(weights: Tensors, data: Tensors, vector: Tensors) -> tuple[Any, Any]:
        first, value = lib.func.grad_and_value(lambda weights: loss(lib, weights, data))(weights)
        return sum((g * v).sum() for g, v in zip(first, vector, strict=True)), value

    second = wrap(lib.func.grad(along, has_aux=True))

    def step() -> tuple[float, list[np.ndarray]]:
        gradients, value = second(held, data, vector)
        return value.item(), [g.numpy() for g in gradients]

    return step


def vectorised(lib: Any, loss: Loss, inputs: Inputs, wrap: Callable[[Any], Any] = lambda whole: whole) -> Step:
    """One gradient per row, by vmap of grad."""
    parameters, (x, y), _ = tensors_of(lib, inputs)
    held = [p.detach() for p in parameters]

    def one(weights: Tensors, row: Any, target: Any) -> tuple[Any, Any]:
        value = loss(lib, weights, (row[None], target[None]))
        return value, value

    mapped = lib.func.vmap(lib.func.grad(one, has_aux=True), in_dims=(None, 0, 0))

    def whole(weights: Tensors, rows: Any, targets: Any) -> tuple[Any, Any]:
        gradients, values = mapped(weights, rows, targets)
        return gradients, values.mean()

    both = wrap(whole)

    def step() -> tuple[float, list[np.ndarray]]:
        gradients, value = both(held, x, y)
        return value.item(), [g.numpy() for g in gradients]

    return step


def step_of(lib: Any, name: str, kind: str, inputs: Inputs, wrap: Callable[[Any], Any] = lambda loss: loss) -> Step:
    """The step of a workload; `wrap` compiles its loss."""
    if kind == "product":
        return product(lib, wrap(LOSSES[name]), inputs)
    if kind == "samples":
        make = vectorised if hasattr(lib, "func") else samples
        return make(lib, wrap(LOSSES[name]), inputs)
    return gradient(lib, wrap(LOSSES[name]), inputs, kind == "read first")


def whole_step_of(lib: Any, name: str, kind: str, inputs: Inputs) -> Step:
    """The step of a workload with `lib.compile` around all that is one function, as a peer's compiler has it."""
    if kind == "product":
        return whole_product(lib, LOSSES[name], inputs, lib.compile)
    if kind == "samples":
        return vectorised(lib, LOSSES[name], inputs, lib.compile)
    return step_of(lib, name, kind, inputs, lib.compile)


def tutorial(lib: Any) -> Step:
    """The gradient of PyTorch's autograd tutorial: mean(3 (x + 2)²) of a 2 x 2 of ones, 4.5 everywhere."""

    def step() -> tuple[float, list[np.ndarray]]:
        x = lib.ones(2, 2, requires_grad=True)
        y = x + 2
        z = y * y * 3
        z.mean().backward()
        return 0.0, [x.grad.numpy()]

    return step
