"""The wrong calls of PyTorch's operator database: what gradmesh says to them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tests.opdb.body import _function, _seeded, described
from tests.opdb.convert import converted, leaves
from tests.opdb.listing import database
from tests.opdb.row import Row
from tests.opdb.table import ROWS


@dataclass(frozen=True)
class Answer:
    """What both libraries say to a wrong call. Final.

    Attributes:
        sample: the arguments in a line.
        wanted: the class of PyTorch's exception, and the pattern its message must match.
        got: gradmesh's exception, None where it accepts the call.
    """

    sample: str
    wanted: tuple[type[Exception], str]
    got: Exception | None

    @property
    def typed(self) -> bool:
        """Whether the exception is of PyTorch's class."""
        return isinstance(self.got, self.wanted[0])

    @property
    def worded(self) -> bool:
        """Whether the message is the one PyTorch's must be."""
        return self.typed and re.search(self.wanted[1], str(self.got)) is not None

    def __str__(self) -> str:
        mine = "accepts it" if self.got is None else f"{type(self.got).__name__}: {str(self.got).splitlines()[0]}"
        return f"{self.sample}\n    PyTorch: {self.wanted[0].__name__}: {self.wanted[1]}\n    gradmesh: {mine}"


MOST_DIMS = 64
"""More dims than NumPy has: PyTorch refuses only some calls on them."""


def _out_of_scope(sample: Any) -> bool:
    """Whether a call is about results written to given memory, layouts, devices, or more dims than there can be."""
    found = [t for t in leaves((sample.input, sample.args, sample.kwargs)) if isinstance(t, torch.Tensor)]
    return (
        "out" in sample.kwargs
        or sample.kwargs.get("layout", torch.strided) != torch.strided
        or any(t.device.type != "cpu" or t.ndim > MOST_DIMS for t in found)
    )


def _refused(op: Any, sample: Any) -> bool:
    """Whether PyTorch itself does: the database says so of some calls that it takes."""
    try:
        op(sample.input, *sample.args, **sample.kwargs)
    except Exception:
        return True
    return False


def _read(value: Any) -> None:
    """Results are computed when they are read."""
    import gradmesh as gm

    for leaf in leaves(value):
        if isinstance(leaf, gm.Tensor):
            leaf.detach().tolist()


def answers(name: str) -> Iterator[Answer]:
    """What comes of every wrong call of an entry."""
    op = database()[name]
    if op.error_inputs_func is None:
        return
    _seeded(name, "errors")
    row = ROWS.get(name, Row())
    with warnings.catch_warnings(action="ignore"):
        for wrong in op.error_inputs("cpu"):
            sample = wrong.sample_input
            if _out_of_scope(sample) or not _refused(op, sample):
                continue
            arguments, named = converted((sample.input, *sample.args)), converted(sample.kwargs)
            got: Exception | None = None
            try:
                _read(_function(name, row)(*arguments, **named))
            except Exception as error:
                got = error
            yield Answer(described(sample), (wrong.error_type, wrong.error_regex), got)
