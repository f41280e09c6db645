"""Entries whose call or comparison is not the default: linear algebra, Fourier transforms and complex views."""

from __future__ import annotations

from tests.opdb.row import Row

ROWS: dict[str, Row] = {}
