"""Every public name of PyTorch is there, or left out for a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from operator import attrgetter
from typing import Any

import pytest

import gradmesh as gm
from tests.client.left_out import LEFT_OUT

pytestmark = pytest.mark.oracle


def _place(library: Any, dotted: str) -> Any:
    return attrgetter(dotted)(library) if dotted else library


def _left_out(dotted: str) -> set[str]:
    return {name for names in LEFT_OUT[dotted].values() for name in names.split()}


@pytest.fixture(scope="module")
def pytorchs() -> dict[str, list[str]]:
    """The names of each place, as they are before anything else is imported: PyTorch loads some modules when asked."""
    script = """if True:
        import json, operator, sys, torch
        places = json.loads(sys.argv[1])
        print(json.dumps({p: dir(operator.attrgetter(p)(torch) if p else torch) for p in places}))
    """
    command = [sys.executable, "-c", script, json.dumps(list(LEFT_OUT))]
    names: dict[str, list[str]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return names


@pytest.mark.parametrize("dotted", LEFT_OUT, ids=lambda dotted: dotted or "torch")
def test_names_are_pytorchs(dotted: str, pytorchs: dict[str, list[str]]) -> None:
    theirs = {name for name in pytorchs[dotted] if not name.startswith("_")}
    assert theirs
    mine = _place(gm, dotted)
    missing = {name for name in theirs if not hasattr(mine, name)}
    assert missing <= _left_out(dotted), f"neither there nor left out: {sorted(missing - _left_out(dotted))}"


@pytest.mark.parametrize("dotted", LEFT_OUT, ids=lambda dotted: dotted or "torch")
def test_reasons_are_given_once(dotted: str) -> None:
    names = [name for names in LEFT_OUT[dotted].values() for name in names.split()]
    assert len(names) == len(set(names))


def test_what_is_there_is_not_left_out() -> None:
    there = [
        f"{dotted}.{name}"
        for dotted in ("", "Tensor")
        for name in _left_out(dotted)
        if hasattr(_place(gm, dotted), name)
    ]
    assert not there


def test_typed_names_recognise_their_dtype() -> None:
    assert isinstance(gm.ones(1), gm.FloatTensor)
    assert not isinstance(gm.ones(1), gm.DoubleTensor)
    assert gm.LongTensor(2, 3).shape == (2, 3)
    with pytest.raises(gm.errors.AutogradError, match="more than one element"):
        gm.zeros(3).as_strided((2, 2), (1, 1)).add_(1)
