"""Gradients: `backward`, `grad`, custom Functions and grad modes."""

from __future__ import annotations

from collections.abc import Sequence

from gradmesh import _backward
from gradmesh._backward import cotangents_of, several
from gradmesh._evaluate import drive
from gradmesh._function import Function, FunctionCtx, once_differentiable
from gradmesh._modes import enable_grad, inference_mode, no_grad, set_grad_enabled
from gradmesh._tensor import Tensor
from gradmesh._value import user_line
from gradmesh_engine.errors import AutogradError

__all__ = [
    "Function",
    "FunctionCtx",
    "backward",
    "enable_grad",
    "function",
    "grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]


class function:
    """PyTorch's place for what custom Functions use: `gm.autograd.function.once_differentiable`. Final."""

    Function = Function
    FunctionCtx = FunctionCtx
    once_differentiable = staticmethod(once_differentiable)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of the sum of `tensors`, each against its cotangent, to the `.grad` of the leaves.

    Args:
        tensors: what to differentiate.
        grad_tensors: a cotangent per tensor, of its shape; None for 1 where the tensor has one element.
        retain_graph: keep the graph for another pass; by default as `create_graph`.
        create_graph: record the pass itself, for derivatives of higher order.
        inputs: only accumulate into these tensors.

    Raises as Tensor.backward.

    Example: `gm.autograd.backward([loss_a, loss_b])`
    """
    drive(_backward.backward(several(tensors), cotangents_of(grad_tensors), retain_graph, create_graph, inputs))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of the sum of `outputs`, each against its cotangent, with respect to `inputs`.

    Args:
        outputs: what to differentiate.
        inputs: with respect to what; leaves or computed tensors.
        grad_outputs: a cotangent per output, of its shape; None for 1 where it has one element.
        retain_graph: keep the graph for another pass; by default as `create_graph`.
        create_graph: record the pass itself, for derivatives of higher order.
        allow_unused: give None for inputs no path leads to, instead of raising.
        is_grads_batched: not supported.
        materialize_grads: give zeros for inputs no path leads to.

    Returns:
        one gradient per input, of its shape and dtype.

    Raises:
        AutogradError: no path leads to an input, or as Tensor.backward.

    Example: `(dx,) = gm.autograd.grad(y.sum(), x)`
    """
    if is_grads_batched:
        raise AutogradError(
            "is_grads_batched is not supported", remedy="call grad once per cotangent", source=user_line()
        )
    return drive(
        _backward.grad(
            several(outputs),
            several(inputs),
            cotangents_of(grad_outputs),
            retain_graph,
            create_graph,
            allow_unused,
            materialize_grads,
        )
    )
