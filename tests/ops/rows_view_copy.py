"""Rows: views as copies, and splits under PyTorch's unsafe names: a view's row under another name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.ops import rows_copying, rows_shape, rows_view
from tests.ops.rows import Row

_VIEWS: dict[str, Row] = {row.op: row for row in (*rows_copying.ROWS, *rows_shape.ROWS, *rows_view.ROWS)}


def _own(name: str) -> Any:
    return lambda t, x, **attrs: getattr(t, name)(x, **attrs)


def _again(op: str, of: str) -> Row:
    view = _VIEWS[of]
    ref = view.ref if view.ref is not None else _own(of)
    return replace(view, op=op, samples=view.samples[:2], ref=ref)


ROWS: tuple[Row, ...] = (
    *(
        _again(f"{name}_copy", name)
        for name in (
            "alias diagonal expand narrow permute select slice split split_with_sizes squeeze t transpose unbind "
            "unfold unsqueeze view"
        ).split()
    ),
    *(_again(f"unsafe_{name}", name) for name in ("chunk", "split", "split_with_sizes")),
)
