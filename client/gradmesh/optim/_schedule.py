"""What learning-rate schedulers share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from gradmesh.optim.optimizer import Group, Optimizer


class LRScheduler:
    """Base of schedulers: subclass it and define `get_lr`. Abstract.

    Args:
        optimizer: whose groups' "lr" is set, at once and with every `step`.
        last_epoch: how many steps were taken already, less 1; other than -1 only to go on with a training.

    Attributes:
        last_epoch: how many times `step` was called.
        base_lrs: the groups' rates at the beginning.

    Raises TypeError unless given an Optimizer, KeyError when going on with groups that have no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming scheduler with "
                    "last_epoch >= 0."
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self._begin()

    def _begin(self) -> None:
        """Set the first rates."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def step(self) -> None:
        """Set the next rates. To be called after the optimizer's step."""
        if self._step_count == 1 and not self.optimizer.stepped:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: call them in the opposite order, or "
                "the first rate of the schedule is skipped.",
                stacklevel=2,
            )
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def restart(self) -> None:
        """Set the rates of the schedule's beginning."""
        self.last_epoch = 0
        self._set([self._at(base, 0) for base in self.base_lrs])

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_last_lr(self) -> list[float]:
        """The groups' rates as last set."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        """The groups' next rates, `last_epoch` being counted up already."""
        return [self._next(group, base) for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True)]

    def _next(self, group: Group, base: float) -> float:
        """The next rate of one group."""
        raise NotImplementedError

    def _at(self, base: float, epoch: int) -> float:
        """The rate after a number of steps, where it can be told from it."""
        return base

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions."""
        return {name: value for name, value in self.__dict__.items() if name not in ("optimizer", "lr_lambdas")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave."""
        self.__dict__.update(state_dict)
