"""What PyTorch refuses, gradmesh refuses: the wrong calls of PyTorch's operator database.

Every one raises an exception of PyTorch's class. Most have PyTorch's message, too: those that do not are counted.
"""

from __future__ import annotations

import pytest

from tests.opdb.listing import listed

pytestmark = pytest.mark.oracle

PASS = [name for name, reason in listed().items() if not reason]

OTHER_WORDS = 9
"""How many messages are not PyTorch's, at most."""


def test_wrong_calls_raise_as_in_pytorch() -> None:
    pytest.importorskip("torch")
    from gradmesh_engine.ops.base import UNFORESEEN
    from tests.opdb.errors import answers

    untyped, seen, unworded = [], 0, []
    for name in PASS:
        for answer in answers(name):
            seen += 1
            assert UNFORESEEN not in str(answer.got), f"{name} {answer}"
            if not answer.typed:
                untyped.append(f"{name} {answer}")
            elif not answer.worded:
                unworded.append(f"{name} {answer}")
    assert not untyped, "\n".join(untyped)
    assert seen > 500
    assert len(unworded) <= OTHER_WORDS, "\n".join(unworded)
