"""The op test table: one row per op of the engine's table, by topic."""

from __future__ import annotations

from typing import Any

import pytest

from gradmesh_engine.ops import TABLE
from tests.ops import (
    rows_conv,
    rows_copying,
    rows_creation,
    rows_decompositions,
    rows_fourier,
    rows_images,
    rows_index,
    rows_linear,
    rows_margins,
    rows_nn,
    rows_order,
    rows_pointwise,
    rows_products,
    rows_random,
    rows_reduction,
    rows_scatter,
    rows_sequences,
    rows_shape,
    rows_solving,
    rows_special,
    rows_view,
    rows_view_copy,
    rows_window,
)
from tests.ops.rows import Row

ROWS: tuple[Row, ...] = (
    *rows_pointwise.ROWS,
    *rows_reduction.ROWS,
    *rows_linear.ROWS,
    *rows_decompositions.ROWS,
    *rows_solving.ROWS,
    *rows_products.ROWS,
    *rows_fourier.ROWS,
    *rows_shape.ROWS,
    *rows_view.ROWS,
    *rows_index.ROWS,
    *rows_window.ROWS,
    *rows_conv.ROWS,
    *rows_copying.ROWS,
    *rows_nn.ROWS,
    *rows_margins.ROWS,
    *rows_images.ROWS,
    *rows_sequences.ROWS,
    *rows_creation.ROWS,
    *rows_random.ROWS,
    *rows_order.ROWS,
    *rows_scatter.ROWS,
    *rows_view_copy.ROWS,
    *rows_special.ROWS,
)

BY_OP: dict[str, Row] = {row.op: row for row in ROWS}

# Rows of ops that do not exist are reported once, by test_table.
KNOWN: tuple[Row, ...] = tuple(row for row in ROWS if row.op in TABLE)


def _parameters(rows: tuple[Row, ...], field: str = "samples") -> list[Any]:
    """(row, sample) pairs with readable, unique ids."""
    pairs, seen = [], set()
    for row in rows:
        for sample in getattr(row, field):
            name = f"{row.op} {sample}"
            while name in seen:
                name += "'"
            seen.add(name)
            pairs.append(pytest.param(row, sample, id=name))
    return pairs


SAMPLES = _parameters(KNOWN)
SPECIALS = _parameters(KNOWN, "specials")
ERRORS = _parameters(KNOWN, "errors")
# Rows with a reference in PyTorch: random ops have none.
WITH_TORCH = [p for p in SAMPLES if p.values[0].has_reference]
BY_ROW = [pytest.param(row, id=row.op) for row in KNOWN]
