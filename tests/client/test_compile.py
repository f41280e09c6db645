"""Compiled functions give what the functions give: values, gradients and errors, to the last bit."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import gradmesh as gm
from gradmesh._compile import Compiled, OptimizedModule
from tests.client import compile_rows_autograd
from tests.client.compile_rows import ROWS

assert compile_rows_autograd.CALLS  # Its rows are in the table.


def _plain(one: Any) -> Any:
    if isinstance(one, gm.Tensor):
        array = one.detach().numpy()
        return "tensor", array.dtype.name, array.shape, array.tobytes(), one.requires_grad
    return type(one).__name__, one


def _saw(lib: Any, program: Any, compile: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program(lib, compile)


@pytest.mark.parametrize("name", ROWS)
def test_compiled_is_as_it_is(name: str) -> None:
    row = ROWS[name]
    made: list[Compiled] = []

    def compile(function: Any) -> Any:
        compiled = gm.compile(function)
        made.append(compiled.__dict__["_compiled"] if isinstance(compiled, OptimizedModule) else compiled)
        return compiled

    compiled = [_plain(one) for one in _saw(gm, row.program, compile)]
    plain = [_plain(one) for one in _saw(gm, row.program, lambda function: function)]
    assert len(plain) > 2
    for index, (one, other) in enumerate(zip(compiled, plain, strict=True)):
        assert one == other, f"result {index}"
    replays = sum(len(signature.replays) for one in made for signature in one._signatures.values())
    assert bool(replays) == row.replayed, [one.reasons for one in made]
    if not row.replayed:
        assert any(one.reasons for one in made)


def _shown(one: Any) -> Any:
    """What PyTorch shows, too: numbers to some digits."""
    if not hasattr(one, "requires_grad"):
        return pytest.approx(one, 1e-3, 1e-5) if isinstance(one, float) else one
    array = one.detach().numpy()
    about = [pytest.approx(x, 1e-3, 1e-5) for x in array.ravel().tolist()]
    return array.dtype.name, array.shape, about, one.requires_grad


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.oracle])
def test_as_pytorchs_compile(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    program = ROWS[name].program
    theirs = [_shown(one) for one in _saw(torch, program, lambda f: torch.compile(f, backend="eager"))]
    mine = [_shown(one) for one in _saw(gm, program, gm.compile)]
    assert len(mine) == len(theirs)
    for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        assert one == other, f"result {index}"
