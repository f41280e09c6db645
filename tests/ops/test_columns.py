"""Convolutions give the same however their columns are made: a row of windows at a time or all, few images or many."""

from __future__ import annotations

import pytest

from gradmesh_engine.lower import lower
from gradmesh_engine.ops import columns
from tests.ops.graphs import applications, assert_close, one_node, run_whole
from tests.ops.rows import Row, Sample
from tests.ops.split_rule import check_turned
from tests.ops.table import SAMPLES

CONVOLUTIONS = [p for p in SAMPLES if p.values[0].op in ("conv", "conv_input", "conv_weight")]


@pytest.mark.parametrize("at_once", [1, 1500, 1 << 20])
@pytest.mark.parametrize("row", [1, 1 << 20])
@pytest.mark.parametrize(("entry", "sample"), CONVOLUTIONS)
def test_columns(entry: Row, sample: Sample, row: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = sample.arrays(entry.seed(sample))
    (app,) = applications(lower(one_node(entry.op, arrays, sample.attrs)), arrays)
    expected = run_whole(app.op, app.arrays, app.out, app.attrs)
    monkeypatch.setattr(columns, "ROW", row)
    monkeypatch.setattr(columns, "FILTERS", 1)
    monkeypatch.setattr(columns, "COLUMN_BYTES", at_once)
    assert_close(run_whole(app.op, app.arrays, app.out, app.attrs), expected, 16.0, entry.op)
    assert check_turned(app)
