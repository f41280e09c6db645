"""docs/ops.md is what the op table says."""

from __future__ import annotations

from tests.ops.catalogue import FILE, catalogue


def test_the_page_of_ops_is_fresh() -> None:
    assert FILE.read_text() == catalogue(), "run `python -m tests.ops.catalogue`"
