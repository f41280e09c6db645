"""Optimizers that choose a step's direction or length anew. Each `update` reads like the formula of its source."""

from __future__ import annotations

import math
from typing import Literal

from gradmesh import _dtype
from gradmesh._functions import binary, layout, linalg, reduce, select, unary
from gradmesh._tensor import Tensor
from gradmesh.optim._parts import State, decayed, hints, keep_number, kept, number, towards
from gradmesh.optim.optimizer import Group, Optimizer, Params, checked, count_step
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError, NotDifferentiableError

__all__ = ["ASGD", "Muon", "Rprop"]


class ASGD(Optimizer):
    """Gradient descent with shrinking steps, and the average of the tensor beside it (Polyak and Juditsky 1992).

    Args:
        params: tensors, or groups of them.
        lr: first step length, at least 0.
        lambd: how fast steps and the tensor shrink.
        alpha: power of the steps' shrinking.
        t0: the step from which on the average is taken.
        weight_decay: factor of the tensor itself that is added to its gradient.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for a negative rate or decay.

    Example: `gm.optim.ASGD(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        checked(lr=("learning rate", lr), decay=("weight_decay value", weight_decay))
        options = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay}
        super().__init__(params, {**options, "maximize": maximize, **hints(foreach, without="fused")})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= eta * (gradient + lambd * param)`, eta being `lr / (1 + lambd lr t)^alpha` of the last step."""
        step = count_step(state)
        lr, lambd = group["lr"], group["lambd"]
        length, share = number(state, "eta", lr), number(state, "mu", 1.0)
        gradient = decayed(group, param, gradient)
        param.mul_(1 - lambd * length)
        param.add_(binary.mul(gradient, -length))
        average = kept(state, "ax", param)
        if share == 1:
            average.copy_(param)
        else:
            towards(average, param, 1 - share)
        keep_number(state, "eta", lr / (1 + lambd * lr * step) ** group["alpha"])
        keep_number(state, "mu", 1 / max(1, step - group["t0"]))


class Rprop(Optimizer):
    """Steps of a length of each element's own, which grows while its gradient keeps its sign (Riedmiller 1993).

    Args:
        params: tensors, or groups of them.
        lr: first step length, at least 0.
        etas: factors of the length when the sign changes and when it stays, below and above 1.
        step_sizes: the least and the largest length.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.Rprop(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        checked(lr=("learning rate", lr))
        if not 0 < etas[0] < 1 < etas[1]:
            raise InvalidRequestError(f"Invalid eta values: {etas[0]}, {etas[1]}", expected="(0, 1) and above 1")
        options = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        super().__init__(params, {**options, **hints(foreach, without="fused")})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= sign(gradient) * length`; where the sign changed, no step is taken, and the next one forgets it."""
        count_step(state)
        last, length = kept(state, "prev", param), kept(state, "step_size", param, group["lr"])
        agreement = unary.sign(binary.mul(gradient, last))
        less, more = group["etas"]
        changed = binary.lt(agreement, 0)
        factor = select.where(changed, less, select.where(binary.gt(agreement, 0), more, 1.0))
        length.copy_(binary.clamp(binary.mul(length, factor), *group["step_sizes"]))
        gradient = select.where(changed, 0.0, gradient)
        param.sub_(binary.mul(unary.sign(gradient), length))
        last.copy_(gradient)


class Muon(Optimizer):
    """Steps along the nearest orthogonal matrix to the momentum (Jordan et al. 2024); for matrices only.

    Args:
        params: matrices, or groups of them.
        lr: step length, at least 0.
        weight_decay: share of lr that every step takes off the matrix.
        momentum: how much of the last step is taken again.
        nesterov: look ahead along the momentum.
        ns_coefficients: of the polynomial of degree 5 that brings singular values near 1.
        eps: the least norm of the momentum.
        ns_steps: how often the polynomial is applied, in bfloat16.
        adjust_lr_fn: "original" scales lr by sqrt(max(1, rows / columns)), "match_rms_adamw" by 0.2 sqrt(the larger).

    Raises InvalidRequestError for an option outside its range or a tensor that is no matrix, NotDifferentiableError
    for a complex one.

    Example: `gm.optim.Muon([model.weight])`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
    ) -> None:
        named = (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay))
        for name, value in named:
            if not value >= 0:
                raise InvalidRequestError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise InvalidRequestError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise InvalidRequestError("Number of steps must be less than 100 for computational efficiency")
        if len(ns_coefficients) != 3:
            raise InvalidRequestError("Coefficients must be a tuple of exactly 3 values")
        options = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov}
        more = {"ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn}
        super().__init__(params, {**options, **more})
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.ndim != 2:
                    raise InvalidRequestError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {tensor.shape}"
                    )

    def _update(self, group: Group, tensor: Tensor) -> None:
        if dtypes.is_complex(tensor.np_dtype):
            raise NotDifferentiableError("Muon does not support complex parameters")
        super()._update(group, tensor)

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr * orthogonal(momentum)`."""
        lr, keep = group["lr"], group["momentum"]
        buffer = towards(kept(state, "momentum_buffer", param), gradient, keep)
        if group["nesterov"]:
            gradient = binary.add(gradient, binary.mul(binary.sub(buffer, gradient), keep))
        else:
            gradient = buffer
        rows, columns = param.shape
        scale = 1.0
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        else:
            scale = math.sqrt(max(1, rows / columns))
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(binary.mul(_orthogonal(group, gradient), -lr * scale))


def _orthogonal(group: Group, matrix: Tensor) -> Tensor:
    """A matrix whose singular values are near 1, of the same singular vectors, by Newton and Schulz's iteration."""
    a, b, c = group["ns_coefficients"]
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(_dtype.bfloat16)
    x = layout.t(x) if tall else x
    x = binary.div(x, binary.clamp_min(reduce.norm(x), group["eps"]))
    for _ in range(group["ns_steps"]):
        gram = linalg.mm(x, layout.t(x))
        change = linalg.addmm(gram, gram, gram, beta=b, alpha=c)
        x = linalg.addmm(x, change, x, beta=a)
    return layout.t(x) if tall else x
