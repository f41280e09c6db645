"""What the table may say about an entry beyond its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """How an entry is called and compared where the defaults do not serve. Final.

    Attributes:
        call: `call(gm, *args, **kwargs)`, which replaces the function of the entry's name.
        gauge: what of a result is compared where it is determined up to a sign or a phase: `gauge(result)`, applied
            to the results of both libraries.
        random: the results are random: only structure, shape, dtype and grad_fn are compared, the same seed must give
            the same values, and `check` looks at the distribution.
        check: `check(gm)`, what else must hold.
        loose: factor on the tolerances.
        without: dtypes that are not compared, and why, by name.
        once: why no second derivatives are compared; "" where they are.
        keep: which samples are compared, `keep(sample)`, and `dropped` why the others are not.
        dropped: why samples are dropped by `keep`.
        other_names: grad_fn names that differ from PyTorch's, with the reason in a comment.
    """

    call: Callable[..., Any] | None = None
    gauge: Callable[[Any], Any] | None = None
    random: bool = False
    check: Callable[[Any], None] | None = None
    loose: float = 1.0
    without: Mapping[str, str] = field(default_factory=dict)
    once: str = ""
    keep: Callable[[Any], bool] | None = None
    dropped: str = ""
    other_names: Mapping[str, str] = field(default_factory=dict)


def without_halves(why: str) -> dict[str, str]:
    """The 16-bit floats are not compared."""
    return {"float16": why, "bfloat16": why}
