"""The tutorial prints, character for character, what PyTorch prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.py"

_PRINTED = """\
tensor([[1., 1.],
        [1., 1.]], requires_grad=True)
tensor([[3., 3.],
        [3., 3.]], grad_fn=<AddBackward0>)
<AddBackward0 object at 0x…>
tensor([[27., 27.],
        [27., 27.]], grad_fn=<MulBackward0>)
tensor(27., grad_fn=<MeanBackward0>)
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]])
True
True
False
True
False
tensor(True)
"""


def _printed(text: str) -> str:
    """What a program prints, with the addresses of objects left out."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120)
    assert not done.stderr
    return re.sub(r"0x[0-9a-f]+", "0x…", done.stdout)


def test_tutorial() -> None:
    assert _printed(_TUTORIAL.read_text()) == _PRINTED


@pytest.mark.oracle
def test_tutorial_in_torch_prints_the_same() -> None:
    pytest.importorskip("torch")
    text = _TUTORIAL.read_text()
    assert text.count("import gradmesh as torch") == 1
    assert _printed(text.replace("import gradmesh as torch", "import torch")) == _PRINTED
