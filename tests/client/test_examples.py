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
from gradmesh.nn import functional, init, parameter
from gradmesh.nn.modules import activation as activations
from gradmesh.nn.modules import (
    adaptive,
    attention,
    container,
    conv,
    distance,
    dropout,
    embedding,
    lazy,
    linear,
    margin,
    norm,
    rnn,
    shaping,
    transformer,
)
from gradmesh.nn.modules import loss as losses
from gradmesh.nn.modules import pooling as pools
from gradmesh.nn.utils import clip_grad, convert_parameters, fusion, parametrizations, parametrize, weight_hooks
from gradmesh.nn.utils import rnn as sequences

_DOCUMENTED = (
    activation, binary, complexes, convert, factor, fill, layers, layout, linalg, loss, new, picks, products, questions,
    reduce, solve, spectral, unary, windows, _creation, _printing, _sampling, gm.fft, gm.linalg,
)  # fmt: skip


# The layers, whose classes have examples.
_LAYERS = (
    activations, adaptive, attention, container, conv, distance, dropout, embedding, init, lazy, linear, losses, margin,
    norm, parameter, pools, rnn, sequences, shaping, transformer, clip_grad, convert_parameters,
    fusion, parametrizations, parametrize, weight_hooks,
)  # fmt: skip


def _functions() -> Iterator[tuple[ModuleType, str, Any]]:
    for module in (*_DOCUMENTED, *_LAYERS):
        for name, function in vars(module).items():
            if module in _LAYERS and name not in module.__all__:
                continue
            if (
                (inspect.isfunction(function) or inspect.isclass(function))
                and function.__module__ == module.__name__
                and not name.startswith("_")
            ):
                yield module, name, function


def _examples() -> Iterator[Any]:
    for module, name, function in _functions():
        found = re.search(r"Example: `(.+?)` is\s+`(.+?)`", " ".join((function.__doc__ or "").split()))
        if found:
            yield pytest.param(*found.groups(), id=f"{module.__name__.removeprefix('gradmesh.')}.{name}")


@pytest.mark.parametrize(("text", "wanted"), [*_examples()])
def test_example(text: str, wanted: str) -> None:
    result = eval(text, {"gm": gm, "F": functional, "np": np})
    assert "".join(repr(result).split()) == "".join(wanted.split())


def test_public_functions_have_examples() -> None:
    without = [
        f"{module.__name__}.{name}"
        for module, name, function in _functions()
        if hasattr(gm, name) or hasattr(gm.Tensor, name) or hasattr(functional, name) or module in _LAYERS
        if "Example" not in (function.__doc__ or "")
    ]
    assert not without
