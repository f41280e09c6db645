"""Rows: linear."""

from __future__ import annotations

from tests.ops.rows import Row

ROWS: tuple[Row, ...] = ()
