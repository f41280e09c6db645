"""Every example in the docstrings of public functions gives what it says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradmesh as gm
from gradmesh import _creation, _printing, _sampling
from gradmesh._functions import (
    activation,
    binary,
    complexes,
    convert,
    factor,
    fill,
    layers,
    layout,
    linalg,
    loss,
    new,
    products,
    reduce,
    solve,
    spectral,
    unary,
    windows,
)
from gradmesh._functions import inspect as questions
from gradmesh._functions import select as picks
from gradmesh.nn import functional

_DOCUMENTED = (
    activation, binary, complexes, convert, factor, fill, layers, layout, linalg, loss, new, picks, products, questions,
    reduce, solve, spectral, unary, windows, _creation, _printing, _sampling, gm.fft, gm.linalg,
)  # fmt: skip


def _functions() -> Iterator[tuple[ModuleType, str, Any]]:
    for module in _DOCUMENTED:
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                yield module, name, function


def _examples() -> Iterator[Any]:
    for module, name, function in _functions():
        found = re.search(r"Example: `(.+?)` is\s+`(.+?)`", " ".join((function.__doc__ or "").split()))
        if found:
            yield pytest.param(*found.groups(), id=f"{module.__name__.rpartition('.')[2]}.{name}")


@pytest.mark.parametrize(("text", "wanted"), [*_examples()])
def test_example(text: str, wanted: str) -> None:
    result = eval(text, {"gm": gm, "F": functional, "np": np})
    assert "".join(repr(result).split()) == "".join(wanted.split())


def test_public_functions_have_examples() -> None:
    without = [
        f"{module.__name__}.{name}"
        for module, name, function in _functions()
        if hasattr(gm, name) or hasattr(gm.Tensor, name) or hasattr(functional, name)
        if "Example" not in (function.__doc__ or "")
    ]
    assert not without
