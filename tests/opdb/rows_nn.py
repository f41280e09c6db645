"""Entries whose call or comparison is not the default: neural networks and masked reductions."""

from __future__ import annotations

from tests.opdb.row import Row

ROWS: dict[str, Row] = {}
