"""Rows: scatters that combine what they write to one place, and writes into regions of a copy."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, ShapeError
from tests.ops.rows import EVERY, FLOATS, INTS, NUMBERS, Bad, I, L, Row, S, T, row, untorched
from tests.ops.rows_index import NEEDS_EQUAL, P

REAL = (*FLOATS, *INTS)
IDENTITY = {"prod": lambda t, d: 1, "max": lambda t, d: -float("inf"), "min": lambda t, d: float("inf")}


def _reduce(t: Any, index: Any, src: Any, dim: int, size: int, kind: str) -> Any:
    if src.is_floating_point():
        identity = IDENTITY[kind](t, src.dtype)
    else:
        limits = t.iinfo(src.dtype)
        identity = {"prod": 1, "max": limits.min, "min": limits.max}[kind]
    base = t.full((*src.shape[:dim], size, *src.shape[dim + 1 :]), identity, dtype=src.dtype)
    reduce = kind if kind == "prod" else f"a{kind}"
    return base.scatter_reduce(dim, index, src, reduce, include_self=False)


def _scatter_reduce(t: Any, x: Any, index: Any, src: Any, dim: int, reduce: str, include_self: bool = True) -> Any:
    return t.scatter_reduce(x, dim, index, src, reduce, include_self=include_self)


def _index_reduce(t: Any, x: Any, index: Any, source: Any, dim: int, reduce: str, include_self: bool = True) -> Any:
    return t.index_reduce(x, dim, index, source, reduce, include_self=include_self)


def _fill(t: Any, x: Any, value: Any, scalar: bool = True, inplace: bool = False) -> Any:
    return t.fill(x, value)


ZEROS = L([[0.0, 1.5, 0.5], [2.0, 0.0, -1.0], [0.0, 0.7, 1.2]])

ROWS: tuple[Row, ...] = (
    row(
        "put_along_reduce",
        *(S(I(25, 4, below=3), T(25, 4), dim=0, size=3, kind=kind) for kind in ("max", "min")),
        S(I(6, 8, below=5), T(6, 8), dim=1, size=6, kind="prod"),
        S(I(2, 25, 4, below=3), T(2, 25, 4), dim=1, size=3, kind="max"),
        ref=_reduce,
        dtypes=REAL,
        loose=8,
        errors=(
            Bad(S(I(6, 5, below=6), T(7, 5), dim=0, size=6, kind="max"), ShapeError),
            Bad(S(I(6, 5, below=6), T(6, 5), dim=0, size=6, kind="mean"), AttributeTypeError),
        ),
    ),
    row(
        "scatter_reduce",
        *(S(T(6, 5), I(7, 5, below=6), T(7, 5), dim=0, reduce=how) for how in ("sum", "mean", "amax", "amin", "prod")),
        *(
            S(T(6, 5), I(6, 8, below=5), T(6, 8), dim=-1, reduce=how, include_self=False)
            for how in ("sum", "mean", "amax", "amin", "prod")
        ),
        untorched(S(T(6, 5), I(4, 3, below=6), T(7, 5), dim=0, reduce="mean"), NEEDS_EQUAL),
        untorched(S(T(6, 5), I(4, 3, below=6), T(7, 5), dim=0, reduce="amax", include_self=False), NEEDS_EQUAL),
        S(T(3, 3), L([[0, 1, 2], [0, 1, 2], [1, 1, 2]], "int64", True), ZEROS, dim=0, reduce="prod"),
        ref=_scatter_reduce,
        dtypes=REAL,
        loose=8,
        errors=(
            Bad(S(T(6, 5), I(7, 6, below=6), T(7, 6), dim=0, reduce="sum"), ShapeError),
            Bad(S(T(6, 5), I(6, 5, below=6), T(6, 5), dim=0, reduce="max"), AttributeTypeError),
            Bad(S(T(6), I(6, below=6), T(6, dtype="float32"), dim=0, reduce="sum"), DTypeError),
        ),
    ),
    row(
        "index_reduce",
        *(S(T(6, 5), I(9, below=6), T(9, 5), dim=0, reduce=how) for how in ("mean", "amax", "amin", "prod")),
        *(
            S(T(5, 6), I(9, below=6), T(5, 9), dim=-1, reduce=how, include_self=False)
            for how in ("mean", "amax", "amin", "prod")
        ),
        ref=_index_reduce,
        dtypes=REAL,
        loose=8,
        errors=(
            Bad(S(T(6, 5), I(4, below=6), T(3, 5), dim=0, reduce="prod"), ShapeError),
            Bad(S(T(6, 5), I(4, below=6), T(4, 5), dim=0, reduce="sum"), AttributeTypeError),
        ),
    ),
    row(
        "take_flat",
        S(T(6, 5), I(7, below=30)),
        S(T(6, 5), I(4, 3, below=30, low=-30)),
        ref=lambda t, x, index: t.take(x, index),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), T(4)), DTypeError),),
    ),
    row(
        "put",
        S(T(6, 5), P(7, of=30), T(7)),
        S(T(6, 5), P(4, of=30), T(2, 2)),
        S(T(6, 5), I(9, below=30, low=-30), T(9), accumulate=True),
        ref=lambda t, x, index, source, accumulate=False: t.put(x, index, source, accumulate),
        dtypes=EVERY,
        errors=(Bad(S(T(6), I(3, below=6), T(4)), ShapeError), Bad(S(T(6), T(3), T(3)), DTypeError)),
    ),
    row(
        "slice_scatter",
        S(T(9, 5), T(3, 5), start=1, end=7, step=2),
        S(T(5, 9), T(5, 4), dim=-1, start=-4),
        S(T(4, 5), T(0, 5), start=3, end=1),
        ref=lambda t, x, src, dim=0, start=None, end=None, step=1: t.slice_scatter(x, src, dim, start, end, step),
        dtypes=(*REAL, "bool"),
        errors=(
            Bad(S(T(9), T(3), end=4), ShapeError),
            Bad(S(T(9), T(9), step=0), ShapeError),
            Bad(S(T(), T()), AxisError),
        ),
    ),
    row(
        "select_scatter",
        S(T(6, 5), T(5), dim=0, index=2),
        S(T(4, 6, 5), T(4, 6), dim=-1, index=-2),
        ref=lambda t, x, src, dim, index: t.select_scatter(x, src, dim, index),
        dtypes=(*REAL, "bool"),
        errors=(
            Bad(S(T(6, 5), T(6), dim=0, index=2), ShapeError),
            Bad(S(T(6, 5), T(5), dim=0, index=6), AxisError),
            Bad(S(T(), T(), dim=0, index=0), AxisError),
        ),
    ),
    row(
        "diagonal_scatter",
        S(T(6, 5), T(5)),
        S(T(6, 5), T(4), offset=-2),
        S(T(5, 7), T(4), offset=3),
        S(T(4, 6, 5), T(6, 4), offset=1, dim1=0, dim2=-1),
        S(T(4, 6, 5), T(6, 3), offset=-2, dim1=2, dim2=0),
        ref=lambda t, x, src, offset=0, dim1=0, dim2=1: t.diagonal_scatter(x, src, offset, dim1, dim2),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), T(4)), ShapeError), Bad(S(T(6, 5), T(5), dim1=0, dim2=0), AxisError)),
    ),
    row(
        "fill",
        S(T(6, 5), T(), scalar=False),
        S(T(6, 5), T(), scalar=False, inplace=True),
        ref=_fill,
        dtypes=EVERY,
        errors=(Bad(S(T(3), T(3)), ShapeError),),
    ),
    row("zero", S(T(6, 5)), S(T()), ref=lambda t, x: x * 0, dtypes=NUMBERS),
)
