"""Rows: linear systems, inverses, determinants, least squares."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import DTypeError, ShapeError
from tests.ops.rows import COMPLEX, WIDE, Bad, Operand, Row, S, T, row
from tests.ops.rows_decompositions import FULL, L3, PIVOTED, PIVOTS, F, H, M, P

C = "complex128"


def _solve(t: Any, a: Any, b: Any, left: bool = True, check: str = "") -> Any:
    return t.linalg.solve_ex(a, b, left=left)


def _system(t: Any, a: Any, b: Any, adjoint: bool = False, check: str = "") -> Any:
    return t.linalg.solve(a.mH if adjoint else a, b)


def _pinv(t: Any, a: Any, atol: Any, rtol: Any, hermitian: bool = False) -> Any:
    return t.linalg.pinv(a, atol=atol, rtol=rtol, hermitian=hermitian)


def _lstsq(t: Any, a: Any, b: Any, rcond: Any, residuals: bool = True) -> Any:
    x = t.linalg.pinv(a) @ (b if b.ndim == a.ndim else b[..., None])
    off = (b if b.ndim == a.ndim else b[..., None]) - a @ x
    values = t.linalg.svdvals(a)
    rank = (values > 1e-10).sum(-1)
    return (x if b.ndim == a.ndim else x[..., 0]), (off.abs() ** 2).sum(-2), rank, values


def _zero(*shape: int) -> Operand:
    return Operand(shape, literal=0.0 if not shape else [0.0] * shape[0], fixed=True)


_SQUARE = (
    Bad(S(T(3, 4)), ShapeError, "square"),
    Bad(S(T(3)), ShapeError, "at least 2"),
    Bad(S(T(3, 3, dtype="int64")), DTypeError),
)
_MISFIT = (
    Bad(S(T(3, 3), T(4, 2)), ShapeError, "Incompatible shapes"),
    Bad(S(T(3, 4), T(3, 2)), ShapeError, "square"),
    Bad(S(T(3, 3), T(3, 2, dtype="float32")), DTypeError, "same dtype"),
)

ROWS: tuple[Row, ...] = (
    row(
        "triangular",
        S(L3(4, 3, 3), T(4, 3, 2), upper=False),
        S(L3(3, 3), T(3, 2), upper=True),
        S(F(3, 3), T(3, 2), upper=True, unit=True),
        S(F(3, 3, dtype=C), T(3, 2, dtype=C), upper=False),
        S(T(0, 3, 3), T(0, 3, 2), upper=False),
        ref=lambda t, a, b, upper, unit=False: t.linalg.solve_triangular(a, b, upper=upper, unitriangular=unit),
        dtypes=FULL,
        loose=50,
        errors=(Bad(S(T(4, 3, 3), T(3, 2), upper=True), ShapeError, "batch"),),
    ),
    row(
        "gesv",
        S(M(4, 3, 3), T(4, 3, 2)),
        S(M(3, 3, dtype=C), T(3, 2, dtype=C), adjoint=True),
        S(T(2, 0, 0), T(2, 0, 3)),
        ref=_system,
        dtypes=FULL,
        loose=500,
    ),
    row(
        "solve_system",
        S(M(4, 3, 3), T(4, 3, 2)),
        S(M(3, 3), T(3, 2), adjoint=True),
        S(M(3, 3, dtype=C), T(3, 2, dtype=C)),
        S(M(3, 3, dtype=C), T(3, 2, dtype=C), adjoint=True),
        S(M(33, 33), T(33, 2)),  # factorized once, forward and backward
        ref=_system,
        dtypes=FULL,
        loose=500,
        errors=(Bad(S(T(), T(0)), ShapeError, "at least 2 dimensions"),),
    ),
    row(
        "linalg_solve_ex",
        S(M(3, 3), T(3, 2)),
        S(M(4, 3, 3), T(3, 2)),
        S(M(3, 3), T(3)),
        S(M(4, 3, 3), T(4, 3)),
        S(M(3, 3), T(4, 2, 3), left=False),
        S(M(3, 3, dtype=C), T(3, 2, dtype=C)),
        S(T(2, 0, 0), T(2, 0, 3)),
        ref=_solve,
        dtypes=FULL,
        loose=500,
        errors=_MISFIT,
    ),
    row(
        "linalg_inv_ex",
        S(M(3, 3)),
        S(M(4, 3, 3)),
        S(M(3, 3, dtype=C)),
        S(T(2, 0, 0)),
        ref=lambda t, a, check="": t.linalg.inv_ex(a),
        dtypes=FULL,
        loose=500,
        errors=_SQUARE,
    ),
    row(
        "linalg_lu_solve",
        S(F(3, 3), PIVOTS([2, 3, 3]), T(3, 2)),
        S(F(3, 3), PIVOTS([2, 3, 3]), T(4, 3, 2)),
        S(F(4, 3, 3), PIVOTED, T(2, 3), left=False),
        S(F(3, 3, dtype=C), PIVOTS([2, 3, 3]), T(2, 3, dtype=C), left=False, adjoint=True),
        ref=lambda t, lu, p, b, left=True, adjoint=False: t.linalg.lu_solve(lu, p, b, left=left, adjoint=adjoint),
        dtypes=FULL,
        loose=500,
        errors=(Bad(S(T(3, 3), PIVOTS([1, 2, 3]), T(4, 2)), ShapeError, "Incompatible"),),
    ),
    row(
        "linalg_solve_triangular",
        S(L3(3, 3), T(3, 2), upper=False),
        S(L3(4, 3, 3, upper=True), T(3, 2), upper=True),
        S(F(3, 3), T(4, 2, 3), upper=True, left=False, unit=True),
        S(F(3, 3, dtype=C), T(2, 3, dtype=C), upper=False, left=False),
        ref=lambda t, a, b, upper, left=True, unit=False: t.linalg.solve_triangular(
            a, b, upper=upper, left=left, unitriangular=unit
        ),
        dtypes=FULL,
        loose=50,
        errors=(Bad(S(T(3, 3), T(4, 2), upper=True), ShapeError),),
    ),
    row(
        "triangular_solve",
        S(T(3, 2), L3(3, 3, upper=True), upper=True),
        S(T(4, 3, 2), L3(3, 3), upper=False, transpose=True),
        S(T(3, 2, dtype=C), F(3, 3, dtype=C), upper=True, transpose=True, unit=True),
        ref=lambda t, b, a, upper, transpose=False, unit=False: t.triangular_solve(b, a, upper, transpose, unit),
        dtypes=FULL,
        loose=50,
    ),
    row(
        "cholesky_apply",
        S(T(4, 3, 2), L3(4, 3, 3)),
        S(T(3, 2, dtype=C), L3(3, 3, dtype=C, upper=True), upper=True),
        ref=lambda t, b, f, upper=False: t.cholesky_solve(b, f, upper),
        dtypes=FULL,
        loose=50,
        smooth=False,  # the gradient by the triangle fills the square, as PyTorch's does
    ),
    row(
        "cholesky_solve",
        S(T(3, 2), L3(3, 3)),
        S(T(3, 2), L3(4, 3, 3, upper=True), upper=True),
        dtypes=FULL,
        loose=50,
        smooth=False,
        errors=(Bad(S(T(4, 2), T(3, 3)), ShapeError),),
    ),
    row(
        "cholesky_inverse",
        S(L3(3, 3)),
        S(L3(4, 3, 3, upper=True), upper=True),
        S(L3(3, 3, dtype=C)),
        dtypes=FULL,
        loose=50,
        smooth=False,
        errors=_SQUARE,
    ),
    row(
        "cofactors",
        S(M(4, 3, 3)),
        S(M(3, 3, dtype=C)),
        ref=lambda t, a: t.linalg.det(a).conj()[..., None, None] * t.linalg.inv(a).mH,
        dtypes=FULL,
        loose=500,
        specials=(),
        errors=(Bad(S(T()), ShapeError, "at least 2 dimensions"), Bad(S(T(2, 3)), ShapeError)),
    ),
    row(
        "linalg_det",
        S(M(3, 3)),
        S(M(4, 3, 3)),
        S(M(3, 3, dtype=C)),
        S(T(2, 0, 0)),
        ref=lambda t, a: t.linalg.det(a),
        dtypes=FULL,
        loose=500,
        errors=_SQUARE,
    ),
    row(
        "linalg_slogdet",
        S(M(3, 3)),
        S(M(4, 3, 3)),
        S(M(3, 3, dtype=C)),
        ref=lambda t, a: t.linalg.slogdet(a),
        dtypes=FULL,
        loose=500,
        errors=_SQUARE,
    ),
    row("logdet", S(P(3, 3)), S(P(4, 3, 3)), S(M(3, 3, dtype=C)), dtypes=FULL, loose=500, errors=_SQUARE),
    row(
        "linalg_pinv",
        S(M(3, 5), _zero(), _zero()),
        S(M(4, 5, 3), _zero(), _zero()),
        S(M(3, 4, dtype=C), _zero(), _zero()),
        specials=(
            S(M(3, 5), Operand((), literal=1.5, fixed=True), _zero()),
            S(H(3, 3), _zero(), _zero(), hermitian=True),
        ),
        ref=_pinv,
        wrt=(0,),
        loose=500,
        twice=False,
        errors=(Bad(S(T(3, 4), T(), T(), hermitian=True), ShapeError, "square"),),
    ),
    row(
        "linalg_lstsq",
        S(M(5, 3), T(5, 2), _zero()),
        S(M(4, 3, 5), T(4, 3, 2), _zero()),
        S(M(5, 3), T(5), _zero()),
        S(M(5, 3, dtype=C), T(5, 2, dtype=C), _zero()),
        ref=_lstsq,
        wrt=(0, 1),
        loose=500,
        twice=False,
        errors=(Bad(S(T(3, 3), T(4, 2), T()), ShapeError, "Incompatible"),),
    ),
    row(
        "expm",
        S(T(4, 3, 3)),
        S(T(3, 3, dtype=C)),
        ref=lambda t, a: t.linalg.matrix_exp(a),
        dtypes=FULL,
        loose=500,
    ),
    row(
        "linalg_matrix_exp",
        S(T(3, 3)),
        S(T(4, 3, 3)),
        S(T(3, 3, dtype=C)),
        S(T(2, 0, 0)),
        ref=lambda t, a: t.linalg.matrix_exp(a),
        dtypes=(*WIDE, *COMPLEX),
        loose=500,
        errors=(Bad(S(T(3, 4)), ShapeError, "square"), Bad(S(T(3, 3, dtype="int64")), DTypeError)),
    ),
)
