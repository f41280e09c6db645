"""Entries whose call or comparison is not the default: indexing, sorting, statistics and shapes."""

from __future__ import annotations

from tests.opdb.row import Row

ROWS: dict[str, Row] = {}
