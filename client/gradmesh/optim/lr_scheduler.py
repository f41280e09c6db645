"""Learning rates that change from step to step.

A scheduler writes numbers into an optimizer's groups. They are operands of the steps' graphs, so a changing rate
makes no new plan. Each rule is the recurrence PyTorch uses, so that the numbers agree to the last digit.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, SupportsFloat

from gradmesh.optim._cycles import CyclicLR, OneCycleLR, each
from gradmesh.optim._schedule import LRScheduler
from gradmesh.optim.optimizer import Group, Optimizer

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

Factor = Callable[[int], float]


def _per_group(optimizer: Optimizer, given: Factor | Sequence[Factor]) -> list[Factor]:
    count = len(optimizer.param_groups)
    factors = [given] * count if callable(given) else list(given)
    if len(factors) != count:
        raise ValueError(f"Expected {count} lr_lambdas, but got {len(factors)}")
    return factors


class LambdaLR(LRScheduler):
    """`base * lr_lambda(epoch)`, with one function or one per group.

    Raises ValueError for another number of functions.

    Example: `gm.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.95 ** epoch)`
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        self.lr_lambdas = _per_group(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' next rates."""
        return [base * factor(self.last_epoch) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def restart(self) -> None:
        """Set the rates of the schedule's beginning."""
        self.last_epoch = 0
        self._set(self.get_lr())


class MultiplicativeLR(LRScheduler):
    """`lr * lr_lambda(epoch)` at every step, with one function or one per group.

    Raises ValueError for another number of functions.

    Example: `gm.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.95)`
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        self.lr_lambdas = _per_group(optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' next rates."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self._is_initial:
            return rates
        return [rate * factor(self.last_epoch) for rate, factor in zip(rates, self.lr_lambdas, strict=True)]


class StepLR(LRScheduler):
    """`lr * gamma` every `step_size` steps.

    Example: `gm.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)`
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        turns = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        rate: float = group["lr"] * self.gamma if turns else group["lr"]
        return rate


class MultiStepLR(LRScheduler):
    """`lr * gamma` at each milestone.

    Example: `gm.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[30, 80], gamma=0.1)`
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        if self.last_epoch not in self.milestones:
            return float(group["lr"])
        rate: float = group["lr"] * self.gamma ** self.milestones[self.last_epoch]
        return rate


class ConstantLR(LRScheduler):
    """`lr * factor` until `total_iters` steps were taken. Raises ValueError for a factor outside [0, 1].

    Example: `gm.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=4)`
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if factor > 1.0 or factor < 0:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        rate: float = group["lr"]
        if self.last_epoch == 0:
            return rate * self.factor
        return rate * (1.0 / self.factor) if self.last_epoch == self.total_iters else rate

    def _at(self, base: float, epoch: int) -> float:
        return base * (self.factor + (epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(LRScheduler):
    """From `base * start_factor` to `base * end_factor` in `total_iters` equal steps.

    Raises ValueError for a factor outside [0, 1], or a start of 0.

    Example: `gm.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=4)`
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if start_factor > 1.0 or start_factor <= 0:
            raise ValueError("Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if end_factor > 1.0 or end_factor < 0:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        rate: float = group["lr"]
        if self.last_epoch == 0:
            return rate * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return rate
        span = self.end_factor - self.start_factor
        return rate * (1.0 + span / (self.total_iters * self.start_factor + (self.last_epoch - 1) * span))

    def _at(self, base: float, epoch: int) -> float:
        span = self.end_factor - self.start_factor
        return base * (self.start_factor + span * min(self.total_iters, epoch) / self.total_iters)


class ExponentialLR(LRScheduler):
    """`lr * gamma` at every step.

    Example: `gm.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)`
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        rate: float = group["lr"] if self._is_initial else group["lr"] * self.gamma
        return rate


class PolynomialLR(LRScheduler):
    """`base * (1 - epoch / total_iters) ** power`, 0 from then on.

    Example: `gm.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=2.0)`
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        rate: float = group["lr"]
        if self._is_initial or self.last_epoch > self.total_iters:
            return rate
        left = 1.0 - self.last_epoch / self.total_iters
        return rate * (left / (1.0 - (self.last_epoch - 1) / self.total_iters)) ** self.power  # type: ignore[no-any-return]


class CosineAnnealingLR(LRScheduler):
    """From base to `eta_min` along half a cosine of `T_max` steps, and back (Loshchilov and Hutter 2016).

    Example: `gm.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)`
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        rate: float = group["lr"]
        if self._is_initial:
            return rate
        if self._step_count == 1 and self.last_epoch > 0:
            return self._at(base, self.last_epoch)
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            return rate + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        before = 1 + math.cos(math.pi * (self.last_epoch - 1) / self.T_max)
        return now / before * (rate - self.eta_min) + self.eta_min

    def _at(self, base: float, epoch: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines from base to `eta_min`, of `T_0` steps and then each `T_mult` times as long as the one before.

    Raises ValueError for a length that is not positive (Loshchilov and Hutter 2016).

    Example: `gm.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10)`
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0, self.T_i, self.T_mult, self.eta_min, self.T_cur = T_0, T_0, T_mult, eta_min, last_epoch
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        """Set the next rates."""
        self.T_cur += 1
        if self.T_cur >= self.T_i:
            self.T_cur %= self.T_i
            self.T_i *= self.T_mult
        super().step()

    def _next(self, group: Group, base: float) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2

    def restart(self) -> None:
        """Set the rates of the schedule's beginning."""
        self.T_cur, self.T_i = 0, self.T_0
        super().restart()


class _Several(LRScheduler):
    """A scheduler made of others. Abstract."""

    _schedulers: list[LRScheduler]

    def _check(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name} expects at least one scheduler, but got no scheduler.")
        for index, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name} does not support `ReduceLROnPlateau` scheduler as it requires additional kwargs to be "
                    f"specified when calling `step`, but got one at index {index} in the given schedulers sequence."
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"{name} expects all schedulers to belong to the same optimizer")

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; the schedulers as their states."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("optimizer", "_schedulers")}
        return {**state, "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave."""
        self.__dict__.update({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Several):
    """One scheduler after the other, changing at the milestones.

    Raises ValueError unless there is one milestone less than schedulers, all of the same optimizer.

    Example: `gm.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[5])`
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self._check(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                f"milestone points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self.last_epoch, self.optimizer = last_epoch + 1, optimizer
        # Each has set its first rate when it was made: back to the beginning, and the first one again.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            _undo(scheduler)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:
        """Set the next rates."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


def _undo(scheduler: LRScheduler) -> None:
    if isinstance(scheduler, _Several):
        for one in scheduler._schedulers:
            _undo(one)
    else:
        scheduler.last_epoch -= 1
        if isinstance(scheduler, CosineAnnealingWarmRestarts):
            scheduler.T_cur -= 1


class ChainedScheduler(_Several):
    """Several schedulers, all stepping at every step. Raises ValueError unless all are of one optimizer.

    Example: `gm.optim.lr_scheduler.ChainedScheduler([warmup, decay])`
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self.optimizer = optimizer or schedulers[0].optimizer
        self._check(schedulers, self.optimizer)
        self._schedulers = list(schedulers)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Set the next rates."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class ReduceLROnPlateau(LRScheduler):
    """`lr * factor` when a figure has not become better for `patience` steps.

    Args:
        optimizer: whose rates are set.
        mode: "min" when a smaller figure is better, "max" when a larger one is.
        factor: below 1.
        patience: how many steps without a better figure are let pass.
        threshold: by how much a figure must be better to count.
        threshold_mode: "rel", a share of the best, or "abs".
        cooldown: how many steps after a change are not counted.
        min_lr: the lowest rate, one or one per group.
        eps: smaller changes are not made.

    Raises ValueError for a factor of 1 or more, or an unknown mode.

    Example: `gm.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3).step(loss)`
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = each("min_lr", min_lr, len(optimizer.param_groups))
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override]
        """Look at a figure, a number or a tensor of one element (which is evaluated), and set the rates."""
        figure = float(metrics)
        self.last_epoch += 1
        if self._is_better(figure):
            self.best, self.num_bad_epochs = figure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                rate = max(group["lr"] * self.factor, least)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    @property
    def in_cooldown(self) -> bool:
        """Whether steps are not counted, after a change."""
        return self.cooldown_counter > 0

    def _is_better(self, figure: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            bar = self.best * (1.0 + sign * self.threshold)
        else:
            bar = self.best + sign * self.threshold
        return figure < bar if self.mode == "min" else figure > bar
