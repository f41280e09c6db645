"""Entries whose call or comparison is not the default: indexing, sorting, statistics and shapes."""

from __future__ import annotations

from typing import Any

from tests.opdb.row import Row, without_halves


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


def _has_one_order(sample: Any) -> bool:
    """PyTorch keeps the order of equal ones when told to, and of few elements."""
    return sample.input.is_floating_point() or sample.kwargs.get("stable", False) or sample.input.numel() < 1000


_MANY_EQUAL = without_halves("many elements are equal, and which of them an index names is open")
_EQUALS = Row(gauge=_one_of_equals, without=_MANY_EQUAL)

ROWS: dict[str, Row] = {
    "argsort": Row(
        keep=_has_one_order, dropped="an unstable sort may put equal elements in any order", without=_MANY_EQUAL
    ),
    "msort": Row(without=_MANY_EQUAL),
    "kthvalue": _EQUALS,
    "median": _EQUALS,
    "mode": _EQUALS,
    "nanmedian": _EQUALS,
    "sort": _EQUALS,
    "topk": _EQUALS,
    "slice": Row(call=_slice),
}
