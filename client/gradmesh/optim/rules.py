"""First-order optimizers. Each `update` reads like the formula of its source."""

from __future__ import annotations

import math

from gradmesh._functions import binary, convert, unary
from gradmesh._tensor import Tensor
from gradmesh.optim._parts import State, checked_betas, decayed, hints, kept, square_average, towards
from gradmesh.optim.optimizer import Group, Optimizer, Params, checked, count_step
from gradmesh_engine.errors import InvalidRequestError

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]


class SGD(Optimizer):
    """Gradient descent, with momentum (Sutskever et al. 2013) where asked for.

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        momentum: how much of the last step is taken again.
        dampening: how much of the gradient is left out beside momentum.
        weight_decay: factor of the tensor itself that is added to its gradient.
        nesterov: look ahead along the momentum.
        maximize: go up instead of down.
        foreach: a hint, ignored.
        fused: a hint, ignored.

    Raises InvalidRequestError for a negative option, or nesterov without momentum or with dampening.

    Example: `gm.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        checked(
            lr=("learning rate", lr),
            momentum=("momentum value", momentum),
            weight_decay=("weight_decay value", weight_decay),
        )
        if nesterov and (momentum <= 0 or dampening != 0):
            raise InvalidRequestError("Nesterov momentum requires a momentum and zero dampening")
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        more = hints(foreach, fused, without="capturable")
        super().__init__(params, {**options, "nesterov": nesterov, "maximize": maximize, **more})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr * (gradient, or what momentum makes of it)`."""
        gradient = decayed(group, param, gradient)
        momentum = group["momentum"]
        if momentum != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = convert.clone(gradient.detach())
            else:
                buffer.mul_(momentum).add_(binary.mul(gradient, 1 - group["dampening"]))
            gradient = binary.add(gradient, binary.mul(buffer, momentum)) if group["nesterov"] else buffer
        param.add_(binary.mul(gradient, -group["lr"]))


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma and Ba 2014).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        betas: how much the two means keep at each step, in [0, 1).
        eps: added to the root of the mean square.
        weight_decay: factor of the tensor itself that is added to its gradient.
        amsgrad: divide by the largest mean square seen (Reddi et al. 2018).
        foreach: a hint, ignored.
        maximize: go up instead of down.
        fused: a hint, ignored.
        decoupled_weight_decay: decay the tensor and not its gradient, as `AdamW`.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.Adam(model.parameters(), lr=1e-3)`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        checked(lr=("learning rate", lr), eps=("epsilon value", eps), decay=("weight_decay value", weight_decay))
        checked_betas(betas)
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        decoupled = {"decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**options, "maximize": maximize, **hints(foreach, fused), **decoupled})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr / (1 - b1^t) * mean / (sqrt(square / (1 - b2^t)) + eps)`."""
        step = count_step(state)
        lr, (keep, keep_square) = group["lr"], group["betas"]
        if group["weight_decay"] != 0:
            if group["decoupled_weight_decay"]:
                param.mul_(1 - lr * group["weight_decay"])
            else:
                gradient = decayed(group, param, gradient)
        mean = towards(kept(state, "exp_avg", param), gradient, keep)
        square = square_average(kept(state, "exp_avg_sq", param), gradient, keep_square)
        if group["amsgrad"]:
            largest = kept(state, "max_exp_avg_sq", param)
            square = largest.copy_(binary.maximum(largest, square))
        root = math.sqrt(1 - keep_square**step)
        scale = binary.add(binary.div(unary.sqrt(square), root), group["eps"])
        param.add_(binary.mul(binary.div(mean, scale), -lr / (1 - keep**step)))


class AdamW(Adam):
    """Adam with weight decay of the tensor itself rather than of its gradient (Loshchilov and Hutter 2017).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        betas: how much the two means keep at each step, in [0, 1).
        eps: added to the root of the mean square.
        weight_decay: share of lr that every step takes off the tensor.
        amsgrad: divide by the largest mean square seen.
        maximize: go up instead of down.
        foreach: a hint, ignored.
        fused: a hint, ignored.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.AdamW(model.parameters(), lr=1e-3)`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            fused=fused,
            decoupled_weight_decay=True,
        )


class RMSprop(Optimizer):
    """Steps scaled by a running mean of the gradient's square (Hinton's lecture notes, 2012).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        alpha: how much the mean keeps at each step.
        eps: added to the root of the mean square.
        weight_decay: factor of the tensor itself that is added to its gradient.
        momentum: how much of the last step is taken again.
        centered: divide by the variance rather than the mean square.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for a negative option.

    Example: `gm.optim.RMSprop(model.parameters(), lr=1e-2)`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        checked(
            lr=("learning rate", lr),
            eps=("epsilon value", eps),
            momentum=("momentum value", momentum),
            decay=("weight_decay value", weight_decay),
            alpha=("alpha value", alpha),
        )
        options = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        decay = {"weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, **decay, **hints(foreach, without="fused")})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr * gradient / (sqrt(square) + eps)`."""
        count_step(state)
        gradient = decayed(group, param, gradient)
        square = square_average(kept(state, "square_avg", param), gradient, group["alpha"])
        if group["centered"]:
            mean = towards(kept(state, "grad_avg", param), gradient, group["alpha"])
            square = binary.sub(square, binary.mul(mean, mean))
        ratio = binary.div(gradient, binary.add(unary.sqrt(square), group["eps"]))
        if group["momentum"] > 0:
            ratio = kept(state, "momentum_buffer", param).mul_(group["momentum"]).add_(ratio)
        param.add_(binary.mul(ratio, -group["lr"]))


class Adagrad(Optimizer):
    """Steps scaled by the sum of the gradient's squares (Duchi, Hazan and Singer 2011).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        lr_decay: how fast lr falls with the number of steps.
        weight_decay: factor of the tensor itself that is added to its gradient.
        initial_accumulator_value: where the sums start.
        eps: added to the root of the sum.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for a negative option.

    Example: `gm.optim.Adagrad(model.parameters(), lr=1e-2)`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        checked(
            lr=("learning rate", lr),
            lr_decay=("lr_decay value", lr_decay),
            decay=("weight_decay value", weight_decay),
            start=("initial_accumulator_value value", initial_accumulator_value),
            eps=("epsilon value", eps),
        )
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        start = {"initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        super().__init__(params, {**options, **start, **hints(foreach, without="capturable")})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr / (1 + (t - 1) lr_decay) * gradient / (sqrt(sum) + eps)`."""
        step = count_step(state)
        gradient = decayed(group, param, gradient)
        total = kept(state, "sum", param, group["initial_accumulator_value"])
        total.add_(binary.mul(gradient, gradient))
        ratio = binary.div(gradient, binary.add(unary.sqrt(total), group["eps"]))
        param.add_(binary.mul(ratio, -group["lr"] / (1 + (step - 1) * group["lr_decay"])))
