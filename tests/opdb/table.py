"""What the table says about entries, by family."""

from __future__ import annotations

from typing import Final

from tests.opdb import rows_core, rows_index, rows_linalg, rows_nn
from tests.opdb.row import Row

ROWS: Final[dict[str, Row]] = rows_core.ROWS | rows_linalg.ROWS | rows_nn.ROWS | rows_index.ROWS
