"""Entries whose call or comparison is not the default: pointwise, special, random and creating functions; all else."""

from __future__ import annotations

from tests.opdb.row import Row

ROWS: dict[str, Row] = {}
