"""Rates that go up and down in cycles, and momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from gradmesh.optim._schedule import LRScheduler
from gradmesh.optim.optimizer import Group, Optimizer


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _line(start: float, end: float, share: float) -> float:
    return (end - start) * share + start


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down far below the start, with momentum the other way round (Smith and Topin 2017).

    Args:
        optimizer: whose rates, and momentum or first beta, are set.
        max_lr: the highest rate, one or one per group.
        total_steps: length of the cycle; or `epochs` times `steps_per_epoch`.
        epochs: see total_steps.
        steps_per_epoch: see total_steps.
        pct_start: share of the cycle that goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether to set momentum too.
        base_momentum: the lowest momentum.
        max_momentum: the highest.
        div_factor: how far the first rate lies below the highest.
        final_div_factor: how far the last rate lies below the first.
        three_phase: go down as fast as up, and then on to the last rate.
        last_epoch: see LRScheduler.

    Raises ValueError for options outside their range, or a step beyond the cycle.

    Example: `gm.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=100)`
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        # Where each phase ends, and the names of what it leads from and to.
        up = float(pct_start * total_steps) - 1
        self._phases: list[tuple[float, str, str, str, str]] = [
            (up, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        ]
        if three_phase:
            down = float(2 * pct_start * total_steps) - 2
            self._phases.append((down, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
            self._phases.append((total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
        else:
            self._phases.append((total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
        count = len(optimizer.param_groups)
        highest = each("max_lr", max_lr, count)
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, highest, strict=True):
                group["initial_lr"], group["max_lr"] = rate / div_factor, rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum:
            _begin_momentum(optimizer, base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def _next(self, group: Group, base: float) -> float:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is {self.total_steps}"
            )
        between = _cosine if self.anneal_strategy == "cos" else _line
        start = 0.0
        for phase in self._phases:
            end, from_lr, to_lr, from_momentum, to_momentum = phase
            if self.last_epoch <= end or phase is self._phases[-1]:
                share = (self.last_epoch - start) / (end - start)
                if self.cycle_momentum:
                    _set_momentum(group, between(group[from_momentum], group[to_momentum], share))
                return between(group[from_lr], group[to_lr], share)
            start = end
        raise AssertionError("a cycle has phases")


def each(name: str, given: float | Sequence[float], count: int) -> list[float]:
    """One value per group. Raises ValueError for another number of them."""
    values = [float(given)] * count if isinstance(given, (int, float)) else list(given)
    if len(values) != count:
        raise ValueError(f"{name} must have the same length as optimizer.param_groups. {name} has {len(values)} values,"
                         f" param_groups has {count}.")  # fmt: skip
    return values


def _set_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


def _begin_momentum(
    optimizer: Optimizer, base: float | Sequence[float], most: float | Sequence[float], fresh: bool
) -> None:
    """Give the groups the momenta to go between, and set the highest. Raises ValueError where there is no momentum."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
    count = len(optimizer.param_groups)
    highest, lowest = each("max_momentum", most, count), each("base_momentum", base, count)
    if fresh:
        for group, high, low in zip(optimizer.param_groups, highest, lowest, strict=True):
            _set_momentum(group, high)
            group["max_momentum"], group["base_momentum"] = high, low


class CyclicLR(LRScheduler):
    """Up to `max_lr` and down again, over and over, with momentum the other way round (Smith 2017).

    Args:
        optimizer: whose rates, and momentum or first beta, are set.
        base_lr: the lowest rate, one or one per group.
        max_lr: the highest rate, one or one per group.
        step_size_up: how many steps a cycle goes up.
        step_size_down: how many it goes down; as many unless given.
        mode: "triangular", "triangular2", whose height halves with each cycle, or "exp_range".
        gamma: of "exp_range", whose height falls as gamma to the power of the step.
        scale_fn: a function of one's own that gives the height, instead of a mode.
        scale_mode: whether that is of the number of the "cycle", from 1, or of "iterations".
        cycle_momentum: whether to set momentum too.
        base_momentum: the lowest momentum.
        max_momentum: the highest.
        last_epoch: see LRScheduler.

    Raises ValueError for an unknown mode, or momentum where there is none.

    Example: `gm.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.01, max_lr=0.1)`
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        count = len(optimizer.param_groups)
        lowest = each("base_lr", base_lr, count)
        if last_epoch == -1:
            for rate, group in zip(lowest, optimizer.param_groups, strict=True):
                group["lr"] = rate
        self.max_lrs = each("max_lr", max_lr, count)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode, self.gamma, self._scale, self.cycle_momentum = mode, gamma, scale_fn, cycle_momentum
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        if cycle_momentum:
            _begin_momentum(optimizer, base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def scale_fn(self, x: float) -> float:
        """The height of a cycle, as a share, given its number or that of the step."""
        if self._scale is not None:
            return self._scale(x)
        if self.mode == "exp_range":
            return float(self.gamma**x)
        return 1.0 if self.mode == "triangular" else float(1 / 2.0 ** (x - 1))

    def get_lr(self) -> list[float]:
        """The groups' next rates."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                height = (group["max_momentum"] - group["base_momentum"]) * share
                _set_momentum(group, group["max_momentum"] - height * scale)
        return [low + (high - low) * share * scale for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and a function of one's own."""
        return {name: value for name, value in super().state_dict().items() if name != "_scale"}
