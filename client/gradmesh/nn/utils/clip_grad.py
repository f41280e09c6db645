"""Limiting the gradients of parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradmesh._functions import binary, reduce, select
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh_engine.errors import AutogradError

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


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
    held = _several(parameters)
    with no_grad():
        total = get_total_norm(_grads(held), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(held, max_norm, total, foreach)
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients, in place, by `max_norm / total_norm` where that is less than 1.

    Example: `gm.nn.utils.clip_grads_with_norm_(model.parameters(), 1.0, total_norm)`
    """
    grads = _grads(_several(parameters))
    if not grads:
        return
    with no_grad():
        factor = binary.clamp_max(binary.div(max_norm, binary.add(total_norm, 1e-6)), 1.0)
        for grad in grads:
            grad.mul_(factor)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of all gradients, in place, to [-clip_value, clip_value].

    Example: `gm.nn.utils.clip_grad_value_(model.parameters(), 0.5)`
    """
    limit = float(clip_value)
    with no_grad():
        for grad in _grads(_several(parameters)):
            grad.clamp_(-limit, limit)
