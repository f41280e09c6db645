"""Optimizers whose steps are scaled element by element. Each `update` reads like the formula of its source."""

from __future__ import annotations

import math

import numpy as np

from gradmesh import _creation, _limits
from gradmesh._functions import binary, linalg, reduce, unary
from gradmesh._tensor import Tensor
from gradmesh.optim._parts import (
    State,
    checked_betas,
    decayed,
    hints,
    keep_number,
    kept,
    number,
    square_average,
    towards,
)
from gradmesh.optim.optimizer import Group, Optimizer, Params, checked, count_step
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError, NotDifferentiableError

__all__ = ["Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam"]


class Adadelta(Optimizer):
    """Steps as long as the last ones, scaled by a running mean of the gradient's square (Zeiler 2012).

    Args:
        params: tensors, or groups of them.
        lr: factor of each step, at least 0.
        rho: how much the means keep at each step, in [0, 1].
        eps: added to the mean squares.
        weight_decay: factor of the tensor itself that is added to its gradient.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.Adadelta(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        checked(lr=("learning rate", lr))
        if not 0 <= rho <= 1:
            raise InvalidRequestError(f"Invalid rho value: {rho}", expected="[0, 1]")
        checked(eps=("epsilon value", eps), decay=("weight_decay value", weight_decay))
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, **hints(foreach, without="fused")})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr * sqrt(step² + eps) / sqrt(gradient² + eps) * gradient`, of running means of the squares."""
        count_step(state)
        rho, eps = group["rho"], group["eps"]
        gradient = decayed(group, param, gradient)
        square = square_average(kept(state, "square_avg", param), gradient, rho)
        steps = kept(state, "acc_delta", param)
        ratio = binary.div(unary.sqrt(binary.add(steps, eps)), unary.sqrt(binary.add(square, eps)))
        step = binary.mul(ratio, gradient)
        square_average(steps, step, rho)
        param.add_(binary.mul(step, -group["lr"]))


class Adafactor(Optimizer):
    """Steps scaled by mean squares of a matrix's rows and columns, and by its own size (Shazeer and Stern 2018).

    Args:
        params: tensors, or groups of them.
        lr: the longest step, relative to the size of a tensor.
        beta2_decay: power of the step's number that new gradients count by, at most 0.
        eps: the least mean square (by default of the dtype), and the least size.
        d: the largest root mean square of a step.
        weight_decay: share of lr that every step takes off the tensor.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for an option outside its range, NotDifferentiableError for a complex tensor.

    Example: `gm.optim.Adafactor(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        least = (("Learning rate", lr, 0), ("epsilon1", eps[0] or 0.0, 0), ("epsilon2", eps[1], 0))
        for name, value, bound in (*least, ("Clipping threshold d", d, 1), ("weight_decay", weight_decay, 0)):
            if not value >= bound:
                raise InvalidRequestError(f"{name} should be >= {bound} but is: {value}")
        if not beta2_decay <= 0:
            raise InvalidRequestError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        options = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay}
        super().__init__(params, {**options, "foreach": foreach, "maximize": maximize})

    def _update(self, group: Group, tensor: Tensor) -> None:
        if dtypes.is_complex(tensor.np_dtype):
            raise NotDifferentiableError("Adafactor does not support complex parameters")
        super()._update(group, tensor)

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= size * min(lr, 1 / sqrt(t)) * gradient / sqrt(square)`, limited to a root mean square of d."""
        step = count_step(state)
        least, smallest = group["eps"]
        least = _limits.finfo(param.dtype).eps if least is None else least
        fresh = step ** group["beta2_decay"]
        rate = min(group["lr"], 1 / math.sqrt(step))
        size = binary.clamp_min(_mean_root(param), smallest)
        if group["weight_decay"] != 0:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        square = binary.mul(gradient, gradient)
        if gradient.ndim > 1:
            rows = _mean_towards(state, "row_var", square, -1, fresh)
            columns = _mean_towards(state, "col_var", square, -2, fresh)
            middle = binary.clamp_min(reduce.mean(rows, -2, keepdim=True), least)
            square = binary.div(linalg.matmul(rows, columns), middle)
        else:
            square = towards(kept(state, "variance", param), square, 1 - fresh)
        change = binary.mul(unary.rsqrt(binary.clamp_min(square, least * least)), gradient)
        limit = binary.clamp_min(binary.div(_mean_root(change), group["d"]), 1.0)
        param.sub_(binary.mul(change, binary.div(binary.mul(size, rate), limit)))


def _mean_root(tensor: Tensor) -> Tensor:
    return binary.div(reduce.norm(tensor, 2), math.sqrt(tensor.numel()))


def _mean_towards(state: State, name: str, square: Tensor, dim: int, fresh: float) -> Tensor:
    """The running mean of squares along a dim."""
    mean = reduce.mean(square, dim, keepdim=True)
    if name not in state:
        state[name] = _creation.zeros_like(mean)
    return towards(state[name], mean, 1 - fresh)


class _Adam(Optimizer):
    """An optimizer with Adam's options. Abstract."""

    def __init__(
        self,
        params: Params,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        options: Group,
    ) -> None:
        checked(lr=("learning rate", lr), eps=("epsilon value", eps))
        checked_betas(betas)
        checked(decay=("weight_decay value", weight_decay))
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, **options})

    def _decayed(self, group: Group, param: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with the weight decay's term, or itself when the tensor was made smaller instead."""
        if group["weight_decay"] != 0 and group["decoupled_weight_decay"]:
            param.mul_(1 - group["lr"] * group["weight_decay"])
            return gradient
        return decayed(group, param, gradient)


class Adamax(_Adam):
    """Steps scaled by the largest gradient seen, older ones counting less (Kingma and Ba 2014, section 7).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        betas: how much the mean and the largest gradient keep at each step, in [0, 1).
        eps: added to the size of a gradient.
        weight_decay: factor of the tensor itself that is added to its gradient.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.Adamax(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"maximize": maximize, **hints(foreach, without="fused")}
        super().__init__(params, lr, betas, eps, weight_decay, options)

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr / (1 - b1^t) * mean / largest`."""
        step = count_step(state)
        keep, keep_largest = group["betas"]
        gradient = decayed(group, param, gradient)
        mean = towards(kept(state, "exp_avg", param), gradient, keep)
        largest = kept(state, "exp_inf", param)
        size = binary.add(unary.abs(gradient), group["eps"])
        largest.copy_(binary.maximum(binary.mul(largest, keep_largest), size))
        param.add_(binary.mul(binary.div(mean, largest), -group["lr"] / (1 - keep**step)))


class NAdam(_Adam):
    """Adam that looks ahead along its momentum (Dozat 2016).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        betas: how much the two means keep at each step, in [0, 1).
        eps: added to the root of the mean square.
        weight_decay: factor of the tensor itself that is added to its gradient.
        momentum_decay: how fast the momentum comes near its first beta.
        decoupled_weight_decay: decay the tensor and not its gradient, as `AdamW`.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.NAdam(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        options = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        options |= {"maximize": maximize, **hints(foreach, without="fused")}
        super().__init__(params, lr, betas, eps, weight_decay, options)
        checked(momentum_decay=("momentum_decay value", momentum_decay))

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr * ((1 - m) / (1 - p) * gradient + n / (1 - p n) * mean) / (sqrt(square / (1 - b2^t)) + eps)`.

        m and n are this step's momentum and the next one's, p the product of all so far.
        """
        step = count_step(state)
        lr, (keep, keep_square) = group["lr"], group["betas"]
        gradient = self._decayed(group, param, gradient)
        now, ahead = (keep * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
        product = keep_number(
            state, "mu_product", float(np.float32(now) * np.float32(number(state, "mu_product", 1.0)))
        )
        mean = towards(kept(state, "exp_avg", param), gradient, keep)
        square = square_average(kept(state, "exp_avg_sq", param), gradient, keep_square)
        scale = binary.add(unary.sqrt(binary.div(square, 1 - keep_square**step)), group["eps"])
        param.add_(binary.mul(binary.div(gradient, scale), -lr * (1 - now) / (1 - product)))
        param.add_(binary.mul(binary.div(mean, scale), -lr * ahead / (1 - product * ahead)))


class RAdam(_Adam):
    """Adam whose first steps, of which the mean square tells little yet, are of the mean alone (Liu et al. 2019).

    Args:
        params: tensors, or groups of them.
        lr: step length, at least 0.
        betas: how much the two means keep at each step, in [0, 1).
        eps: added to the root of the mean square.
        weight_decay: factor of the tensor itself that is added to its gradient.
        decoupled_weight_decay: decay the tensor and not its gradient, as `AdamW`.
        foreach: a hint, ignored.
        maximize: go up instead of down.

    Raises InvalidRequestError for an option outside its range.

    Example: `gm.optim.RAdam(model.parameters())`
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        options = {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, lr, betas, eps, weight_decay, {**options, **hints(foreach, without="fused")})

    def update(self, group: Group, state: State, param: Tensor, gradient: Tensor) -> None:
        """`param -= lr * mean / (1 - b1^t)`, times `r sqrt(1 - b2^t) / (sqrt(square) + eps)` once r is told."""
        step = count_step(state)
        keep, keep_square = group["betas"]
        gradient = self._decayed(group, param, gradient)
        mean = towards(kept(state, "exp_avg", param), gradient, keep)
        square = square_average(kept(state, "exp_avg_sq", param), gradient, keep_square)
        rate = -group["lr"] / (1 - keep**step)
        rest = 1 - keep_square**step
        limit = 2 / (1 - keep_square) - 1
        length = limit - 2 * step * keep_square**step / rest
        if length > 5:
            top, bottom = (length - 4) * (length - 2) * limit, (limit - 4) * (limit - 2) * length
            mean = binary.div(mean, binary.add(unary.sqrt(square), group["eps"]))
            rate *= math.sqrt(rest * top / bottom)
        param.add_(binary.mul(mean, rate))
