"""Checkpointing: PyTorch's way to say what should be computed again in the backward pass rather than stored.

Here the planner decides that, for every graph and by cost, so the calls only keep their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["checkpoint", "checkpoint_sequential"]


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`; what of it is stored for backward is the planner's choice.

    Random numbers are the same when they are computed again, always.

    Example: `gm.utils.checkpoint.checkpoint(gm.sin, gm.zeros(1))` is `tensor([0.])`.
    """
    return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Iterable[Callable[[Any], Any]] | Sequence[Callable[[Any], Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions one after the other; see checkpoint.

    Example: `gm.utils.checkpoint.checkpoint_sequential([gm.sin, gm.cos], 2, gm.zeros(1))` is `tensor([1.])`.
    """
    for function in functions:
        input = function(input)
    return input
