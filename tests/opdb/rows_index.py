"""Entries whose call or comparison is not the default: indexing, sorting, statistics and shapes."""

from __future__ import annotations

from typing import Any

from tests.opdb.row import Row


def _one_of_equals(result: Any) -> Any:
    """Which of equal integers an index names is open; of floats no two are equal here."""
    if not isinstance(result, tuple) or result[0].is_floating_point():
        return result
    values, indices = result
    return values, indices * 0


def _slice(gm: Any, x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    """aten::slice, which Python reaches with brackets, but for the whole, of which these make an alias."""
    if (start, end, step) == (None, None, 1):
        return x.narrow(dim, 0, x.shape[dim])
    return x[(slice(None),) * dim + (slice(start, end, step),)]


_EQUALS = Row(gauge=_one_of_equals)

ROWS: dict[str, Row] = {
    "kthvalue": _EQUALS,
    "median": _EQUALS,
    "mode": _EQUALS,
    "nanmedian": _EQUALS,
    "topk": _EQUALS,
    "slice": Row(call=_slice),
}
