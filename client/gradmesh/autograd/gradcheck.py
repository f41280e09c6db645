"""Gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradmesh import _backward
from gradmesh._evaluate import drive
from gradmesh._tensor import Tensor
from gradmesh._trace import constant
from gradmesh._value import user_line
from gradmesh_engine.errors import AutogradError, InvalidRequestError

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(AutogradError):
    """A gradient that is not what differences say. Final."""


def _several(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of `func` are those of central differences.

    Args:
        func: from tensors to a tensor or a tuple of them.
        inputs: its arguments; those that require grad, real and best float64, are checked.
        eps: half the width of the differences.
        atol: how far a derivative may be off.
        rtol: how far, relative to the difference.
        raise_exception: whether a wrong gradient raises GradcheckError, or gives False.

    Raises InvalidRequestError when no input requires grad, or one is complex.

    Example: `gm.autograd.gradcheck(gm.sin, gm.ones(2, dtype=gm.float64, requires_grad=True))` is `True`.
    """
    given = _several(inputs)
    checked = [i for i, tensor in enumerate(given) if isinstance(tensor, Tensor) and tensor.requires_grad]
    if not checked:
        raise InvalidRequestError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True.",
            source=user_line(),
        )
    if any(given[i].is_complex() for i in checked):
        raise InvalidRequestError("gradcheck checks real inputs only", source=user_line())
    outputs = [o for o in _several(func(*given)) if isinstance(o, Tensor) and o.requires_grad]
    for number, output in enumerate(outputs):
        if output.is_complex():
            raise InvalidRequestError("gradcheck checks real outputs only", source=user_line())
        units = np.eye(output.numel(), dtype=output.np_dtype).reshape(-1, *output.shape)
        rows = [
            drive(_backward.grad((output,), [given[i] for i in checked], (constant(unit),), True, False, True, True))
            for unit in units
        ]
        for at, index in enumerate(checked):
            analytical = np.array([row[at].detach().numpy().reshape(-1) for row in rows]).T
            numerical = _differences(func, given, index, number, eps)
            analytical = analytical.reshape(numerical.shape)
            if not np.allclose(analytical, numerical, rtol, atol):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {index},\n"
                    f"numerical:{numerical}\nanalytical:{analytical}\n",
                    source=user_line(),
                )
    return True


def _differences(func: Callable[..., Any], given: tuple[Any, ...], index: int, number: int, eps: float) -> np.ndarray:
    """The Jacobian of one output by one input, (input, output), by central differences."""
    start = given[index].detach().numpy()
    rows = []
    for place in range(start.size):
        ends = []
        for step in (eps, -eps):
            moved = start.copy().reshape(-1)
            moved[place] += step
            tensor = constant(moved.reshape(start.shape)).requires_grad_()
            found = _several(func(*given[:index], tensor, *given[index + 1 :]))
            tracked = [o for o in found if isinstance(o, Tensor) and o.requires_grad]
            ends.append(tracked[number].detach().numpy().reshape(-1).astype(np.float64))
        rows.append((ends[0] - ends[1]) / (2 * eps))
    return np.array(rows).reshape(start.size, -1)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the second derivatives of `func` are those of central differences of its gradients.

    Args:
        func: as of gradcheck.
        inputs: as of gradcheck.
        grad_outputs: cotangents of the outputs; made from a fixed seed unless given.
        eps: as of gradcheck.
        atol: as of gradcheck.
        rtol: as of gradcheck.
        raise_exception: as of gradcheck.

    Raises as gradcheck.

    Example: `gm.autograd.gradgradcheck(gm.sin, gm.ones(2, dtype=gm.float64, requires_grad=True))` is `True`.
    """
    given = _several(inputs)
    outputs = [o for o in _several(func(*given)) if isinstance(o, Tensor) and o.requires_grad]
    if grad_outputs is None:
        random = np.random.default_rng(0)
        grad_outputs = [
            constant(random.uniform(0.5, 1.5, o.shape).astype(o.np_dtype)).requires_grad_() for o in outputs
        ]
    cotangents = _several(grad_outputs)

    def gradients(*arguments: Any) -> tuple[Tensor, ...]:
        own, given_cotangents = arguments[: len(given)], arguments[len(given) :]
        found = tuple([o for o in _several(func(*own)) if isinstance(o, Tensor) and o.requires_grad])
        wrt = [a for a in own if isinstance(a, Tensor) and a.requires_grad]
        return drive(_backward.grad(found, wrt, given_cotangents, True, True, True, True))

    return gradcheck(gradients, (*given, *cotangents), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)
