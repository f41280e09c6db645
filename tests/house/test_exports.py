"""What users may import is pinned: a change of `exports.txt` is a change of the public API.

`python -m tests.house.test_exports` writes the file anew.
"""

from __future__ import annotations

import importlib
import types

import pytest

from tests.house.sources import ROOT

MODULES = (
    "gradmesh",
    "gradmesh.aio",
    "gradmesh.autograd",
    "gradmesh.autograd.forward_ad",
    "gradmesh.autograd.graph",
    "gradmesh.autograd.functional",
    "gradmesh.cuda",
    "gradmesh.func",
    "gradmesh.fft",
    "gradmesh.linalg",
    "gradmesh.masked",
    "gradmesh.nn",
    "gradmesh.nn.functional",
    "gradmesh.nn.init",
    "gradmesh.nn.utils",
    "gradmesh.nn.utils.parametrizations",
    "gradmesh.nn.utils.parametrize",
    "gradmesh.nn.utils.rnn",
    "gradmesh.optim",
    "gradmesh.optim.lr_scheduler",
    "gradmesh.optim.swa_utils",
    "gradmesh.signal",
    "gradmesh.signal.windows",
    "gradmesh.special",
    "gradmesh.utils",
    "gradmesh.utils.checkpoint",
)
FILE = ROOT / "tests" / "house" / "exports.txt"


def exported() -> list[str]:
    """Every public name, with its module."""
    return [f"{name}.{public}" for name in MODULES for public in sorted(importlib.import_module(name).__all__)]


def test_the_public_names_are_these() -> None:
    assert exported() == FILE.read_text().splitlines()


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_there_once_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    for public in module.__all__:
        thing = getattr(module, public)
        if isinstance(thing, (types.FunctionType, type)):
            assert thing.__doc__, f"{name}.{public} has no docstring"


if __name__ == "__main__":
    FILE.write_text("\n".join(exported()) + "\n")
