"""What the formulas of optimizers are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh import _creation, _trace
from gradmesh._functions import binary
from gradmesh._tensor import Tensor
from gradmesh.optim.optimizer import HINTS, Group
from gradmesh_engine.errors import InvalidRequestError

State = dict[str, Any]


def checked_betas(betas: tuple[float, float]) -> None:
    """Raises InvalidRequestError for a beta outside [0, 1)."""
    for index, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise InvalidRequestError(f"Invalid beta parameter at index {index}: {beta}", expected="[0, 1)")


def number(state: State, name: str, start: float) -> float:
    """A number that is kept as a 0-d float32 tensor, or where it starts."""
    return float(state[name].item()) if name in state else float(np.float32(start))


def keep_number(state: State, name: str, value: float) -> float:
    """Keep a number as a 0-d float32 tensor; returns it rounded as it is kept."""
    state[name] = _trace.constant(np.array(value, np.float32))
    return float(np.float32(value))


def hints(foreach: bool | None, fused: bool | None = None, *, without: str = "") -> Group:
    """The options without effect, but one."""
    found = {**HINTS, "foreach": foreach, "fused": fused}
    found.pop(without, None)
    return found


def decayed(group: Group, param: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the loss with the weight decay's term."""
    decay = group["weight_decay"]
    return binary.add(gradient, binary.mul(param, decay)) if decay != 0 else gradient


def kept(state: State, name: str, param: Tensor, start: float = 0.0) -> Tensor:
    """What is kept under a name, of the tensor's shape; `start` at first."""
    if name not in state:
        state[name] = _creation.full_like(param, start) if start else _creation.zeros_like(param)
    found: Tensor = state[name]
    return found


def towards(average: Tensor, value: Tensor, keep: float) -> Tensor:
    """Move an exponential average towards a value, in place."""
    return average.add_(binary.mul(binary.sub(value, average), 1 - keep))


def square_average(average: Tensor, gradient: Tensor, keep: float) -> Tensor:
    """Move an exponential average towards the gradient's square, in place."""
    return average.mul_(keep).add_(binary.mul(binary.mul(gradient, gradient), 1 - keep))
