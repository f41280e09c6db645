"""Averages of a model's parameters along its training (Izmailov et al. 2018)."""

from __future__ import annotations

import copy
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from gradmesh import _creation, _dtype
from gradmesh._functions import binary
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn.modules.module import Module
from gradmesh.nn.modules.norm import _BatchNorm
from gradmesh.optim._cycles import each
from gradmesh.optim._schedule import LRScheduler
from gradmesh.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

# (average, present, how many it is of) -> the next average; of all of one dtype at once, in place.
Average = Callable[[Tensor, Tensor, Tensor], Tensor]
Averages = Callable[[list[Tensor], list[Tensor], Tensor], None]


def _checked(decay: float) -> float:
    if not 0 <= decay <= 1:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return decay


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """A function that gives `decay * average + (1 - decay) * present`. Raises ValueError unless decay is in [0, 1].

    Example: `gm.optim.swa_utils.AveragedModel(model, avg_fn=gm.optim.swa_utils.get_ema_avg_fn(0.99))`
    """
    keep = _checked(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Tensor) -> Tensor:
        with no_grad():
            return binary.add(binary.mul(ema_param, keep), binary.mul(current_param, 1 - keep))

    return ema_update


def get_swa_avg_fn() -> Average:
    """A function that gives the mean of the present and all before.

    Example: `gm.optim.swa_utils.AveragedModel(model, avg_fn=gm.optim.swa_utils.get_swa_avg_fn())`
    """

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Tensor) -> Tensor:
        with no_grad():
            change = binary.div(binary.sub(current_param, averaged_param), binary.add(num_averaged, 1))
            return binary.add(averaged_param, change)

    return swa_update


def _of_all(function: Average) -> Averages:
    def update(averages: list[Tensor], present: list[Tensor], num_averaged: Tensor) -> None:
        with no_grad():
            for average, value in zip(averages, present, strict=True):
                average.copy_(function(average, value, num_averaged))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """`get_ema_avg_fn`, of several tensors at once. Raises ValueError unless decay is in [0, 1].

    Example: `gm.optim.swa_utils.AveragedModel(model, multi_avg_fn=gm.optim.swa_utils.get_ema_multi_avg_fn())`
    """
    return _of_all(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """`get_swa_avg_fn`, of several tensors at once.

    Example: `gm.optim.swa_utils.AveragedModel(model, multi_avg_fn=gm.optim.swa_utils.get_swa_multi_avg_fn())`
    """
    return _of_all(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model, whose parameters are averages of the model's.

    Args:
        model: the model, which is copied.
        device: the CPU.
        avg_fn: gives the next average of (average, present, how many it is of); the mean of all unless given.
        multi_avg_fn: the same in place, of lists of tensors of one dtype.
        use_buffers: whether buffers are averaged too, rather than copied.

    Attributes:
        module: the copy.
        n_averaged: int64, how often `update_parameters` was called.

    Raises AssertionError when both functions are given.

    Example: `gm.optim.swa_utils.AveragedModel(model)`
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: object = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        if device is not None:
            _dtype.device(device)  # type: ignore[arg-type]
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", _creation.tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The copy's."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model's present parameters into the averages; the first ones are copied."""
        count = int(self.n_averaged.item())
        pairs = [
            (mine.detach(), theirs.detach())
            for mine, theirs in zip(_held(self.module, self.use_buffers), _held(model, self.use_buffers), strict=True)
        ]
        with no_grad():
            if count == 0:
                for mine, theirs in pairs:
                    mine.copy_(theirs)
            else:
                self._average(pairs)
            if not self.use_buffers:
                for buffer, present in zip(self.module.buffers(), model.buffers(), strict=True):
                    buffer.detach().copy_(present.detach())
        # A number that is known: to count is no reason to evaluate what is pending.
        self.n_averaged = _creation.tensor(count + 1)

    def _average(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        if self.multi_avg_fn is None:
            function = self.avg_fn or get_swa_avg_fn()
            for mine, theirs in pairs:
                mine.copy_(function(mine, theirs, self.n_averaged))
            return
        alike: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
        for mine, theirs in pairs:
            alike[mine.np_dtype][0].append(mine)
            alike[mine.np_dtype][1].append(theirs)
        for averages, present in alike.values():
            self.multi_avg_fn(averages, present, self.n_averaged)


def _held(model: Module, with_buffers: bool) -> Iterator[Tensor]:
    return itertools.chain(model.parameters(), model.buffers() if with_buffers else ())


def update_bn(loader: Iterable[Any], model: Module, device: object = None) -> None:
    """Make the running statistics of batch norms anew: the means over a loader's batches.

    A batch that is a list or tuple is given by its first member. The model is left in the mode it was in.

    Example: `gm.optim.swa_utils.update_bn(loader, averaged)`
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    if device is not None:
        _dtype.device(device)  # type: ignore[arg-type]
    momenta, mode = [norm.momentum for norm in norms], model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(mode)


class SWALR(LRScheduler):
    """From the rate there is to `swa_lr`, along a cosine or a line, and then constant.

    Args:
        optimizer: whose rates are set.
        swa_lr: the last rate, one or one per group.
        anneal_epochs: how many steps lead there.
        anneal_strategy: "cos" or "linear".
        last_epoch: see LRScheduler.

    Raises ValueError for an unknown strategy or a negative number of steps.

    Example: `gm.optim.swa_utils.SWALR(optimizer, swa_lr=0.05)`
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(
            each("swa_lr", swa_lr, len(optimizer.param_groups)), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How much of the way is gone after a number of steps."""
        part = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return part if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list[float]:
        """The groups' next rates."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            # Where the way began, told from where it is: others may have changed the rate.
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
