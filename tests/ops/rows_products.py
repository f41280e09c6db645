"""Rows: products with a term added, of vectors and blocks, and distances."""

from __future__ import annotations

from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from tests.ops.rows import COMPLEX, FLOATS, INTS, WIDE, Bad, Row, S, T, row

NUMERIC = (*FLOATS, *COMPLEX, *INTS)

ROWS: tuple[Row, ...] = (
    row(
        "addmv",
        S(T(6), T(6, 5), T(5)),
        S(T(), T(6, 5), T(5), beta=0.5, alpha=2.0),
        S(T(6), T(6, 5), T(5), beta=0),
        ref=lambda t, x, a, b, beta=1, alpha=1: t.addmv(x, a, b, beta=beta, alpha=alpha),
        dtypes=NUMERIC,
        loose=4,
        errors=(Bad(S(T(6), T(6, 5), T(6)), ShapeError), Bad(S(T(6, dtype="float32"), T(6, 5), T(5)), DTypeError)),
    ),
    row(
        "addbmm",
        S(T(6, 7), T(4, 6, 5), T(4, 5, 7)),
        S(T(7), T(4, 6, 5), T(4, 5, 7), beta=0.5, alpha=2.0),
        ref=lambda t, x, a, b, beta=1, alpha=1: t.addbmm(x, a, b, beta=beta, alpha=alpha),
        dtypes=(*WIDE, *COMPLEX, "int64"),
        loose=8,
        errors=(Bad(S(T(6, 7), T(4, 6, 5), T(3, 5, 7)), ShapeError),),
    ),
    row(
        "addr",
        S(T(6, 7), T(6), T(7)),
        S(T(7), T(6), T(7), beta=0.5, alpha=2.0),
        ref=lambda t, x, a, b, beta=1, alpha=1: t.addr(x, a, b, beta=beta, alpha=alpha),
        dtypes=(*FLOATS, *COMPLEX, "int64", "bool"),
        errors=(Bad(S(T(6, 7), T(6, 1), T(7)), ShapeError),),
    ),
    row(
        "vdot",
        S(T(6), T(6)),
        S(T(6, dtype="complex128"), T(6, dtype="complex128")),
        dtypes=NUMERIC,
        loose=4,
        errors=(Bad(S(T(6), T(5)), ShapeError),),
    ),
    row(
        "linalg_cross",
        S(T(5, 3), T(5, 3)),
        S(T(4, 3, 5), T(4, 3, 1), dim=1),
        ref=lambda t, a, b, dim=-1: t.linalg.cross(a, b, dim=dim),
        dtypes=(*FLOATS, *COMPLEX, "int64"),
        errors=(Bad(S(T(5, 4), T(5, 4)), ShapeError, "length 3"), Bad(S(T(5, 3), T(5, 3), dim=2), AxisError)),
    ),
    row("kron", S(T(4, 5), T(2, 3)), S(T(3), T(4, 2)), S(T(), T(4)), dtypes=NUMERIC),
    row("reshape_alias", S(T(4, 6), shape=(8, 3)), ref=lambda t, x, shape: x.reshape(shape)),
    row(
        "block_diag",
        S(T(4, 5), T(), T(3), T(2, 4)),
        S(T(4, 5)),
        S(T(0, 5), T(4, 2)),
        dtypes=(*NUMERIC, "bool"),
        errors=(Bad(S(T(2, 3, 4)), ShapeError),),
    ),
    row(
        "cdist",
        S(T(6, 5), T(4, 5)),
        S(T(2, 6, 5), T(4, 5), p=1.0),
        S(T(6, 5), T(4, 5), p=3.0),
        S(T(6, 5), T(4, 5), p=float("inf")),
        S(T(0, 5), T(4, 5)),
        ref=lambda t, a, b, p=2.0, by_products=False: t.cdist(a, b, p),
        dtypes=WIDE,
        loose=8,
        twice=False,  # PyTorch has no second derivative
        errors=(Bad(S(T(6, 5), T(4, 4)), ShapeError, "columns"),),
    ),
    row(
        "dist",
        S(T(4, 5), T(4, 5)),
        S(T(4, 5), T(5), p=1.0),
        S(T(4, 5), T(), p=3.0),
        dtypes=(*WIDE, *COMPLEX),
        loose=8,
    ),
    row(
        "renorm",
        S(T(5, 4, 3), p=2.0, dim=0, maxnorm=2.0),
        S(T(5, 4, 3), p=1.0, dim=-1, maxnorm=3.0),
        ref=lambda t, x, p, dim, maxnorm: t.renorm(x, p, dim, maxnorm),
        dtypes=(*WIDE, *COMPLEX),
        loose=8,
        errors=(Bad(S(T(5), p=2.0, dim=0, maxnorm=1.0), ShapeError),),
    ),
)
