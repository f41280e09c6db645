"""Functions of the parameters of a module: limiting their gradients, joining them into one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradmesh._functions import binary, convert, layout, reduce, select
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh_engine.errors import AutogradError, ShapeError

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]


def _several(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _grads(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of all elements of all tensors together, 0-d.

    Raises AutogradError when it is not finite, if `error_if_nonfinite`; this evaluates it.

    Example: `gm.nn.utils.get_total_norm([gm.tensor([3.]), gm.tensor([4.])])` is `tensor(5.)`.
    """
    held = _several(tensors)
    if not held:
        return _zero()
    norms = [reduce.norm(tensor, norm_type) for tensor in held]
    total = reduce.norm(select.stack(norms), norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise AutogradError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def _zero() -> Tensor:
    from gradmesh import _creation

    return _creation.tensor(0.0)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients, in place, so that their norm together is at most `max_norm`; returns the norm they had.

    Raises AutogradError when it is not finite, if `error_if_nonfinite`.

    Example: `gm.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`
    """
    grads = _grads(_several(parameters))
    with no_grad():
        total = get_total_norm(grads, norm_type, error_if_nonfinite)
        if grads:
            factor = binary.clamp_max(binary.div(max_norm, binary.add(total, 1e-6)), 1.0)
            for grad in grads:
                grad.mul_(factor)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of all gradients, in place, to [-clip_value, clip_value].

    Example: `gm.nn.utils.clip_grad_value_(model.parameters(), 0.5)`
    """
    limit = float(clip_value)
    with no_grad():
        for grad in _grads(_several(parameters)):
            grad.clamp_(-limit, limit)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters as one vector.

    Example: `gm.nn.utils.parameters_to_vector([gm.ones(1, 2), gm.zeros(1)])` is `tensor([1., 1., 0.])`.
    """
    return select.cat([layout.reshape(parameter, (-1,)) for parameter in parameters], 0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give each parameter its part of a vector, in order. Raises ShapeError when the vector is too short.

    Example: `gm.nn.utils.vector_to_parameters(vector, model.parameters())`
    """
    start = 0
    for parameter in parameters:
        size = parameter.numel()
        if start + size > vec.numel():
            raise ShapeError("the vector is shorter than the parameters", got=f"{vec.numel()} elements")
        part = layout.reshape(vec[start : start + size], tuple(parameter.shape))
        parameter.data = convert.clone(part.detach()) if part.requires_grad else part.data
        start += size
