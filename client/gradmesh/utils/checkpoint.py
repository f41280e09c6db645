"""Checkpoints: what is recorded in one is not kept for the backward pass but computed again.

A function is called once, as always; what it records is marked, and the planner, here or at a service, does the rest.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from gradmesh._modes import STATE, no_grad
from gradmesh._tensor import Tensor
from gradmesh._value import user_line
from gradmesh.nn.modules.module import Module
from gradmesh_engine.errors import InvalidRequestError

__all__ = ["checkpoint", "checkpoint_sequential", "noop_context_fn"]

_SEGMENTS: Final = itertools.count(1)
_CHECKS: Final = ("default", "none")


def noop_context_fn() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Two contexts that do nothing.

    Example: `gm.utils.checkpoint.checkpoint(gm.sin, x, use_reentrant=False, context_fn=noop_context_fn)`
    """
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, whose inner values are not kept between the stages of a plan but computed again.

    Each stage that needs one makes it from what is stored: what the function was given, and what reductions over the
    split axis gave. Results have the same bits. The hint is taken where the plan's peak memory, which `gm.explain`
    tells, falls by it. It costs time: a function that spans several reductions runs again up to each of them. A plan
    of one stage keeps nothing but its current block anyway: there, a checkpoint has no effect. Inside another
    checkpoint the outer one counts.

    The function is called once, by either variant: random numbers are the same when computed again, hooks and
    contexts are not entered a second time.

    Args:
        function: what to call.
        *args: its arguments.
        use_reentrant: pass False. True, and with a warning None, takes no keyword arguments, and tracks nothing
            where none of the arguments requires grad.
        context_fn: gives two contexts; the function is called in the first.
        determinism_check: "default" or "none"; either way there is nothing to check.
        debug: no effect.
        early_stop: no effect: only what is needed is computed again, always.
        preserve_rng_state: no effect: it is, always.
        **kwargs: keyword arguments of the function.

    Raises InvalidRequestError for arguments the variant does not take.

    Example: `gm.utils.checkpoint.checkpoint(gm.sin, gm.zeros(1), use_reentrant=False)` is `tensor([0.])`.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but "
            "if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant and kwargs:
        raise InvalidRequestError(f"Unexpected keyword arguments: {','.join(kwargs)}", source=user_line())
    if use_reentrant and (context_fn is not noop_context_fn or debug):
        raise InvalidRequestError(
            "Passing `context_fn` or `debug` is only supported when use_reentrant=False.", source=user_line()
        )
    if determinism_check not in _CHECKS:
        raise InvalidRequestError(
            f"determinism_check should be one of {list(_CHECKS)}, but got {determinism_check}", source=user_line()
        )
    if use_reentrant and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
        with no_grad():
            return function(*args)
    before = STATE.segment
    if STATE.grad and not before:
        STATE.segment = next(_SEGMENTS)
    try:
        with context_fn()[0]:
            return function(*args, **kwargs)
    finally:
        STATE.segment = before


def checkpoint_sequential(
    functions: Iterable[Callable[[Any], Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions one after the other, divided into `segments` runs, each but the last a checkpoint.

    Args:
        functions: each takes what the one before it gives; a Module's children.
        segments: how many runs.
        input: of the first function.
        use_reentrant: as of checkpoint.
        preserve_rng_state: as of checkpoint.

    Example: `gm.utils.checkpoint.checkpoint_sequential([gm.sin, gm.cos], 2, gm.zeros(1), use_reentrant=False)` is
    `tensor([1.])`.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. In "
            "version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
            "Refer to docs for more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    steps: list[Callable[[Any], Any]] = list(functions.children()) if isinstance(functions, Module) else list(functions)

    def run(these: list[Callable[[Any], Any]], given: Any) -> Any:
        for function in these:
            given = function(given)
        return given

    size = len(steps) // segments
    last = size * (segments - 1)
    for start in range(0, last, size):
        input = checkpoint(run, steps[start : start + size], input, use_reentrant=use_reentrant)
    return run(steps[last:], input)
