"""Whole programs print what they print in PyTorch, to the character."""

import contextlib
import io
import re
import warnings
from types import ModuleType

import pytest

import gradmesh
from tests.client import (
    programs_autograd,
    programs_checks,
    programs_derivatives,
    programs_func,
    programs_functions,
    programs_layers,
    programs_modules,
    programs_numerics,
    programs_printing,
    programs_tensors,
    programs_training,
)

FAMILIES = (
    programs_autograd,
    programs_checks,
    programs_derivatives,
    programs_func,
    programs_functions,
    programs_layers,
    programs_modules,
    programs_numerics,
    programs_printing,
    programs_tensors,
    programs_training,
)
PROGRAMS = {name: program for family in FAMILIES for name, program in family.PROGRAMS.items()}
assert len(PROGRAMS) == sum(len(family.PROGRAMS) for family in FAMILIES)


def printed(code: str, library: ModuleType) -> str:
    buffer = io.StringIO()

    def fails(call, length: int = 90) -> None:
        try:
            result = call()
        except Exception as error:
            # What gradmesh adds to PyTorch's sentence stands in brackets.
            sentence = re.split(r" \[(?:expected|got|remedy): | \((?:at|op) ", str(error)[:length])[0]
            print("raises", sentence.rstrip())
        else:
            print("no error", result)

    with contextlib.redirect_stdout(buffer), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "program.py", "exec"), {"torch": library, "fails": fails, "__name__": "program"})
    return re.sub(r"0x[0-9a-f]+", "0x", buffer.getvalue())


@pytest.mark.parametrize("name", PROGRAMS)
def test_prints_what_pytorch_prints(name: str) -> None:
    code, expected = PROGRAMS[name]
    assert printed(code, gradmesh) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("name", PROGRAMS)
def test_expectation_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    code, expected = PROGRAMS[name]
    assert printed(code, torch) == expected
