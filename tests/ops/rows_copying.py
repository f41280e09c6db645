"""Rows: copies and aliases."""

from __future__ import annotations

from gradmesh_engine.errors import ShapeError
from tests.ops.rows import EVERY, Bad, Row, S, T, row

ROWS: tuple[Row, ...] = (
    row("alias", S(T(4, 6)), S(T()), ref=lambda t, x: x.view(x.shape), dtypes=EVERY),
    row("clone", S(T(4, 6)), S(T()), S(T(0, 3)), dtypes=EVERY),
    row(
        "copy",
        S(T(4, 6), T(4, 6)),
        S(T(4, 6), T(6)),
        S(T(4, 6), T()),
        ref=lambda t, x, source: x.clone().copy_(source),
        errors=(Bad(S(T(4, 6), T(4)), ShapeError), Bad(S(T(6), T(4, 6)), ShapeError)),
    ),
)
