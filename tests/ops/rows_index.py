"""Rows: ops that read and write at positions given by integer tensors."""

from __future__ import annotations

from gradmesh_engine.errors import AxisError, DTypeError, ShapeError

from tests.ops.rows import EVERY, I, Bad, Row, S, T, row


def _take(t, x, index, dim=0, wrap=True):  # type: ignore[no-untyped-def]
    dim = dim % x.ndim
    flat = t.where(index < 0, index + x.shape[dim], index).reshape(-1).long()
    return x.index_select(dim, flat).reshape(x.shape[:dim] + index.shape + x.shape[dim + 1 :])


def _put_add(t, index, values, size, dim=0):  # type: ignore[no-untyped-def]
    shape = values.shape[:dim] + (size,) + values.shape[dim + index.ndim :]
    flat = values.reshape(values.shape[:dim] + (-1,) + values.shape[dim + index.ndim :])
    return t.zeros(shape, dtype=values.dtype).index_add(dim, index.reshape(-1), flat)


ROWS: tuple[Row, ...] = (
    row(
        "take",
        S(T(6, 5), I(4, below=6)),
        S(T(6, 5), I(7, below=5), dim=1),
        S(T(6, 5), I(4, 7, below=5), dim=-1),
        S(T(4, 6, 5), I(7, below=6, low=-6), dim=1),
        S(T(6, 5), I(below=6)),
        S(T(6, 5), I(0, below=6)),
        S(T(6, 5), I(4, below=6, dtype="int32")),
        ref=_take,
        dtypes=EVERY,
        errors=(
            Bad(S(T(6), T(3)), DTypeError),
            Bad(S(T(6), I(3, below=6), dim=1), AxisError),
            Bad(S(T(), I(3, below=1)), ShapeError),
        ),
    ),
    row(
        "put_add",
        S(I(9, below=6), T(9, 5), size=6),
        S(I(9, below=6), T(5, 9), dim=1, size=6),
        S(I(4, 5, below=6), T(7, 4, 5), dim=1, size=6),
        S(I(9, below=6), T(9), size=7),
        S(I(0, below=6), T(0, 5), size=6),
        S(I(below=6), T(5), size=6),
        ref=_put_add,
        dtypes=tuple(d for d in EVERY if d != "bool"),
        loose=4,
        errors=(
            Bad(S(I(4, below=6), T(5), size=6), ShapeError),
            Bad(S(T(4), T(4), size=6), DTypeError),
        ),
    ),
)
