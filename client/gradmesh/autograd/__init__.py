"""Gradients: `backward`, `grad`, custom Functions and grad modes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradmesh import _backward
from gradmesh._backward import cotangents_of, several
from gradmesh._evaluate import drive
from gradmesh._explore import Exploration
from gradmesh._function import Function, FunctionCtx, once_differentiable
from gradmesh._modes import enable_grad, inference_mode, no_grad, set_grad_enabled
from gradmesh._tensor import Tensor
from gradmesh._trace import constant
from gradmesh._value import user_line
from gradmesh._vmap import vmap
from gradmesh.autograd import forward_ad, functional, graph
from gradmesh.autograd.anomaly import detect_anomaly, set_detect_anomaly
from gradmesh.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from gradmesh_engine.errors import NotDifferentiableError, ShapeError

__all__ = [
    "Function",
    "GradcheckError",
    "FunctionCtx",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
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
        is_grads_batched: whether the cotangents have a batch in front, as the gradients then have.
        materialize_grads: give zeros for inputs no path leads to.

    Returns:
        one gradient per input, of its shape and dtype.

    Raises:
        AutogradError: no path leads to an input, or as Tensor.backward.

    Example: `(dx,) = gm.autograd.grad(y.sum(), x)`
    """
    of, wrt, cotangents = several(outputs), several(inputs), cotangents_of(grad_outputs)
    if is_grads_batched:
        return _batched(of, wrt, cotangents, retain_graph, create_graph, allow_unused, materialize_grads)
    return drive(_backward.grad(of, wrt, cotangents, retain_graph, create_graph, allow_unused, materialize_grads))


def _batched(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    cotangents: tuple[Tensor | None, ...] | None,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Tensor, ...]:
    """The gradients for a batch of cotangents: one recorded pass, mapped over them."""
    _backward.check_unused(allow_unused, materialize_grads)
    given = cotangents or (None,) * len(outputs)
    for index, (output, cotangent) in enumerate(zip(outputs, given, strict=True)):
        if cotangent is None and output.numel() != 1:
            raise NotDifferentiableError(
                "grad can be implicitly created only for scalar outputs", got=str(output.spec), source=user_line()
            )
        if cotangent is not None and (not cotangent.ndim or cotangent.shape[1:] != output.shape):
            raise ShapeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                "dimension. The sizes of the remaining dimensions are expected to match the shape of corresponding "
                f"output, but a mismatch was detected: grad_output[{index}] has a shape of {cotangent.shape} and "
                f"output[{index}] has a shape of {output.shape}. If you only want some tensors in `grad_output` to be "
                "considered batched, consider using vmap.",
                expected=str(output.shape),
                got=str(cotangent.shape[1:]),
                source=user_line(),
            )
    there: list[bool] = []

    def one(*given: Tensor | None) -> tuple[Tensor, ...]:
        found = drive(_backward.grad(outputs, inputs, given, True, True, allow_unused or materialize_grads, False))
        there[:] = [gradient is not None for gradient in found]
        return tuple([gradient for gradient in found if gradient is not None])

    mapped = iter(vmap(one, tuple([None if cotangent is None else 0 for cotangent in given]))(*given))
    if not (create_graph if retain_graph is None else retain_graph):
        Exploration([output.value for output in outputs]).free()
    gradients = [next(mapped) if connected else None for connected in there]
    if not create_graph:
        gradients = [None if gradient is None else gradient.detach() for gradient in gradients]
    if materialize_grads:
        # As in PyTorch these have no batch.
        for index, value in enumerate(_backward.wrt_of(inputs)):
            if gradients[index] is None:
                gradients[index] = constant(np.zeros(value.spec.shape, value.spec.dtype)).requires_grad_(create_graph)
    return tuple(gradients)  # type: ignore[arg-type]
