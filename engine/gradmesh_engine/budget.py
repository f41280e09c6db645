"""Bounds what is spent on a graph before it runs. Counted in steps: nodes that are asked for or looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from gradmesh_engine.errors import GraphTooLargeError

_CHECK_STEPS: Final = 256
"""Steps, of some microseconds each, between two calls of a checkpoint."""


class Budget:
    """Steps that may be taken in one context. Final.

    Args:
        most: number of steps; one more raises GraphTooLargeError.
        checkpoint: called now and then; may raise to stop the work.
    """

    def __init__(self, most: int, checkpoint: Callable[[], None] | None = None) -> None:
        self._most = most
        self._checkpoint = checkpoint
        self._next = _CHECK_STEPS
        self.spent = 0

    @property
    def overdrawn(self) -> bool:
        """Whether more steps were asked for than there are."""
        return self.spent > self._most

    def spend(self, steps: int = 1) -> None:
        """Take steps. Raises GraphTooLargeError, or what the checkpoint raises."""
        self.spent += steps
        if self.spent > self._most:
            raise GraphTooLargeError(
                "the graph takes too many steps to check and plan",
                expected=f"at most {self._most}, one for each primitive operation each time it is looked at",
                got="more",
                remedy="compute in several requests or with larger operations, or raise the server's limit",
            )
        if self.spent >= self._next:
            self._next = self.spent + _CHECK_STEPS
            if self._checkpoint is not None:
                self._checkpoint()


_CURRENT: Final[ContextVar[Budget | None]] = ContextVar("gradmesh_budget", default=None)


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Everything inside that builds, differentiates or plans graphs draws on `budget`."""
    token = _CURRENT.set(budget)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_budget() -> Budget | None:
    """What the work at hand draws on, None for no bound."""
    return _CURRENT.get()


def spend(steps: int) -> None:
    """Take steps of the budget at hand, if there is one."""
    budget = _CURRENT.get()
    if budget is not None:
        budget.spend(steps)
