"""Rows: products of vectors, matrices and more."""

from __future__ import annotations

from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError

from tests.ops.rows import COMPLEX, FLOATS, INTS, Bad, Row, S, T, row

NUMERIC = (*FLOATS, *COMPLEX, *INTS)

ROWS: tuple[Row, ...] = (
    row(
        "contract",
        S(T(6, 5), T(5, 7), spec="ij,jk->ik"),
        S(T(6, 5), T(7, 5), spec="ij,kj->ki"),
        S(T(4, 6, 5), T(4, 5, 7), spec="bij,bjk->bik"),
        S(T(4, 6, 5), T(5, 7), spec="bij,jk->bik"),
        S(T(6, 5), T(4, 5, 7), spec="ij,bjk->bki"),
        S(T(4, 5, 6), T(5, 4, 7), spec="abc,bad->cd"),
        S(T(4, 5, 6), T(5, 7), spec="abc,bd->adc"),
        S(T(6), T(6), spec="i,i->"),
        S(T(6), T(7), spec="i,j->ji"),
        S(T(6, 5), T(6), spec="ij,i->j"),
        S(T(6, 5), T(6, 5), spec="ij,ij->i"),
        S(T(), T(6), spec=",i->i"),
        S(T(0, 5), T(5, 7), spec="ij,jk->ik"),
        S(T(6, 0), T(0, 7), spec="ij,jk->ik"),
        ref=lambda t, a, b, spec: t.einsum(spec, a, b),
        dtypes=NUMERIC,
        loose=4,
        errors=(
            Bad(S(T(6, 5), T(4, 7), spec="ij,jk->ik"), ShapeError),
            Bad(S(T(6, 5), T(5), spec="ij,jk->ik"), ShapeError),
            Bad(S(T(6, 5), T(5, 7, dtype="float32"), spec="ij,jk->ik"), DTypeError),
            Bad(S(T(6, 5), T(5, 7), spec="ij;jk"), AttributeTypeError),
            Bad(S(T(6, 5), T(5, 7), spec="ij,jk->i"), AttributeTypeError),
            Bad(S(T(6, 6), T(6, 7), spec="ii,ik->ik"), AttributeTypeError),
        ),
    ),
)
