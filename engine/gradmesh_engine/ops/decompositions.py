"""Triangular factorizations with their derivatives: QR, Cholesky, LU, LDL.

Derivatives are written in ops, so that there are derivatives of every order. Sources: M. Giles, An
extended collection of matrix derivative results (2008); S. Walter, L. Lehmann, Algorithmic
differentiation of linear algebra functions with application in optimum experimental design (2010).
"""

from __future__ import annotations

from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import AttributeTypeError, DTypeError, NotDifferentiableError, ShapeError
from gradmesh_engine.ops._matrices import (
    adjoint,
    broadcast_batches,
    column,
    diagonal,
    embedded,
    identity,
    product,
    row,
    tril,
    triu,
    zeros,
)
from gradmesh_engine.ops.base import Attr, Composite, Primitive, declare, lookup
from gradmesh_engine.ops.lapack import (
    CHECK,
    as_int32,
    check_matrix,
    cholesky_routine,
    geqrf_routine,
    ldl_routine,
    ldl_solve_routine,
    lu_apply_routine,
    lu_routine,
    matrix_op,
    pivoted_rows,
    qr_parts,
    qr_routine,
    right_side,
    triangular,
    unpacked,
)
from gradmesh_engine.ops.layout import expand
from gradmesh_engine.ops.numeric import real
from gradmesh_engine.ops.pointwise import convert
from gradmesh_engine.ops.regions import concat, narrowed

Grads = "tuple[V | None, ...]"


# --- QR -------------------------------------------------------------------------------------------

_MODES = ("reduced", "complete", "r")


def _qr(a: V, mode: str) -> Any:
    check_matrix("linalg.qr", a)
    if mode not in _MODES:
        raise AttributeTypeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'",
            expected=", ".join(_MODES),
            got=mode,
        )
    packed = qr_packed(a, mode=mode)
    if mode == "r":
        (r,) = unpacked(packed, *qr_parts((a.spec,), mode))
        return zeros(a, 0), r
    q, r = unpacked(packed, *qr_parts((a.spec,), mode))
    return q, r


def _qr_square_vjp(gq: V, gr: V, q: V, r: V) -> V:
    """Walter and Lehmann, for R square: (gQ + Q syminv(triu(gR R^H - Q^H gQ))) R^-H."""
    upper = triu(product(gr, adjoint(r)) - product(adjoint(q), gq))
    # The real half of the diagonal is there twice.
    middle = product(q, upper + adjoint(upper) - embedded(real(diagonal(upper))))
    return adjoint(triangular(r, adjoint(gq + middle), upper=True))


def _qr_packed_vjp(g: V, y: V, a: V, mode: str) -> tuple[V]:
    m, n = a.shape[-2:]
    if mode == "r":
        raise NotDifferentiableError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
            "linalg.qr(A, mode='reduced') if you are going to require gradients."
        )
    if mode == "complete" and m > n:
        raise NotDifferentiableError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols."
        )
    parts = qr_parts((a.spec,), mode)
    (gq, gr), (q, r) = unpacked(g, *parts), unpacked(y, *parts)
    if m >= n:
        return (_qr_square_vjp(gq, gr, q, r),)
    # A = [A1, A2] = Q [R1, R2], where R2 = Q^H A2 follows from the square part.
    last = a.ndim - 1
    g1, g2 = narrowed(gr, last, 0, m), narrowed(gr, last, m, n)
    gq = gq + product(narrowed(a, last, m, n), adjoint(g2))
    square = _qr_square_vjp(gq, g1, q, narrowed(r, last, 0, m))
    return (concat(square, product(q, g2), dim=last),)


qr_packed: Primitive = matrix_op(
    "qr_packed",
    qr_routine,
    attrs={"mode": Attr("str", "reduced", "reduced, complete or r")},
    parts=qr_parts,
    flops=4.0,
    vjp=_qr_packed_vjp,
    grad_name="LinalgQrBackward0",
    doc="Orthonormal columns and a triangle whose product is the matrix (LAPACK geqrf, orgqr).",
)
geqrf_packed = matrix_op(
    "geqrf_packed",
    geqrf_routine,
    parts=lambda specs: [specs[0].shape[-2:], (min(specs[0].shape[-2:]),)],
    flops=2.0,
    doc="R on and above the diagonal, Householder vectors below it, and their factors (LAPACK geqrf).",
)


def _geqrf(a: V) -> tuple[V, V]:
    check_matrix("geqrf", a)
    reflectors, taus = unpacked(geqrf_packed(a), a.shape[-2:], (min(a.shape[-2:]),))
    return reflectors, taus


qr = declare(
    Composite(
        name="linalg_qr",
        arity=1,
        attrs={"mode": Attr("str", "reduced", "reduced, complete or r")},
        grad_name="LinalgQrBackward0",
        doc="Orthonormal columns Q and a triangle R whose product is the matrix.",
        body=_qr,
    )
)
geqrf = declare(
    Composite(
        name="geqrf",
        arity=1,
        doc="A QR factorization as Householder vectors below R, and their factors.",
        body=_geqrf,
    )
)


def _reflected(v: V, tau: V) -> tuple[V, V]:
    """V and T of H1 H2 … = I - V T V^H (the compact WY form of Schreiber and Van Loan, 1989)."""
    if v.ndim != tau.ndim + 1 or not tau.ndim or tau.shape[-1] > min(v.shape[-2:]):
        raise ShapeError("there is one factor for each of the first columns", got=f"{v.spec} and {tau.spec}")
    m, k = v.shape[-2], tau.shape[-1]
    v = narrowed(v, v.ndim - 1, 0, k)
    unit = tril(v, -1) + identity(v, m, k)
    above = triu(product(adjoint(unit), unit), 1) * row(tau)
    inverse = triangular(identity(v, k) + above, _expanded(identity(v, k), above.shape), upper=True, unit=True)
    return unit, column(tau) * inverse


def _expanded(v: V, shape: tuple[int, ...]) -> V:
    result: V = lookup("expand")(v, shape=shape)
    return result


def _check_reflectors(name: str, v: V, tau: V) -> None:
    check_matrix(name, v)
    m, n = v.shape[-2:]
    if m < n:
        raise ShapeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]", got=f"{m} by {n}")
    if tau.shape[-1:] > (n,) or tau.shape[:-1] != v.shape[:-2]:
        raise ShapeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]",
            expected=f"{list(v.shape[:-2])} and at most {n} factors",
            got=str(list(tau.shape)),
        )


def _householder(v: V, tau: V) -> V:
    _check_reflectors("linalg.householder_product", v, tau)
    n = v.shape[-1]
    unit, t = _reflected(v, tau)
    head = narrowed(unit, unit.ndim - 2, 0, n)
    return identity(v, v.shape[-2], n) - product(unit, t, adjoint(head))


def _ormqr(v: V, tau: V, other: V, left: bool, transpose: bool) -> V:
    check_matrix("ormqr", v)
    unit, t = _reflected(v, tau)
    t = adjoint(t) if transpose else t
    if left:
        return other - product(unit, t, product(adjoint(unit), other))
    return other - product(product(other, unit), t, adjoint(unit))


declare(
    Composite(
        name="linalg_householder_product",
        arity=2,
        grad_name="LinalgHouseholderProductBackward0",
        doc="The first columns of the product of Householder reflections.",
        body=_householder,
    )
)
declare(
    Composite(
        name="ormqr",
        arity=3,
        attrs={"left": Attr("bool", True), "transpose": Attr("bool", False)},
        grad_name="OrmqrBackward0",
        doc="A matrix times the product of Householder reflections, from the left or the right.",
        body=_ormqr,
    )
)

# --- Cholesky -------------------------------------------------------------------------------------


def _cholesky_packed_vjp(g: V, y: V, a: V, check: str, upper: bool) -> tuple[V]:
    """Giles, on the Cholesky factorization: L^-H π(L^H gL) L^-1, π(X) half of the lower triangle and its adjoint."""
    n = a.shape[-1]
    (g, _), (factor, _) = (unpacked(v, (n, n), ()) for v in (g, y))
    if upper:
        g, factor = adjoint(g), adjoint(factor)
    turned = adjoint(factor)
    inner = product(turned, g)
    inner = (tril(inner) + adjoint(tril(inner, -1))) * 0.5
    half = triangular(turned, inner, upper=True)
    return (adjoint(triangular(turned, adjoint(half), upper=True)),)


cholesky_packed: Primitive = matrix_op(
    "cholesky_packed",
    cholesky_routine,
    labels=("nn",),
    attrs={"check": CHECK, "upper": Attr("bool", False)},
    parts=lambda specs, check, upper: [specs[0].shape[-2:], ()],
    flops=0.4,
    vjp=_cholesky_packed_vjp,
    grad_name="LinalgCholeskyExBackward0",
    doc="The triangle whose product with its adjoint is the matrix, and info (LAPACK potrf).",
)


def _cholesky_ex(a: V, upper: bool, check: str) -> tuple[V, V]:
    check_matrix(check or "linalg.cholesky_ex", a, square=True)
    n = a.shape[-1]
    factor, info = unpacked(cholesky_packed(a, check=check, upper=upper), (n, n), ())
    return factor, as_int32(info)


declare(
    Composite(
        name="linalg_cholesky_ex",
        arity=1,
        attrs={"upper": Attr("bool", False), "check": CHECK},
        grad_name="LinalgCholeskyExBackward0",
        doc="The triangle whose product with its adjoint is the matrix, and info: 0, or the order of a bad minor.",
        body=_cholesky_ex,
    )
)
declare(
    Composite(
        name="cholesky",
        arity=1,
        attrs={"upper": Attr("bool", False)},
        grad_name="CholeskyBackward0",
        doc="The triangle whose product with its adjoint is the matrix.",
        body=lambda a, upper: _cholesky_ex(a, upper, "cholesky")[0],
    )
)

# --- LU -------------------------------------------------------------------------------------------


def _permutation(pivots: V, size: int, dtype: str) -> V:
    if pivots.dtype != dtypes.int32:
        raise DTypeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.",
            expected="int32",
            got=pivots.dtype.name,
        )
    rows = pivoted_rows(pivots, size=size)
    down = lookup("iota").on(pivots.emitter, shape=(size, 1), dim=0, dtype="int64")
    result: V = convert(lookup("eq")(down, row(rows)), dtype=dtype)
    return result


permutation = declare(
    Composite(
        name="pivots_to_permutation",
        arity=1,
        attrs={"size": Attr("int", doc="number of rows"), "dtype": Attr("dtype")},
        doc="The matrices that undo the row exchanges of int32 pivots counted from 1.",
        body=_permutation,
    )
)


def triangles(lu: V) -> tuple[V, V]:
    """L, with ones on its diagonal, and U of both in one matrix."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    lower = narrowed(lu, lu.ndim - 1, 0, k)
    upper = narrowed(lu, lu.ndim - 2, 0, k)
    return tril(lower, -1) + identity(lu, m, k), triu(upper)


def _lu_vjp(gl: V, gu: V, p: V, lower: V, upper: V) -> V:
    """Walter and Lehmann: P L^-H (tril(L^H gL, -1) + triu(gU U^H)) U^-H, and what is beside the square."""
    m, k, n = lower.shape[-2], lower.shape[-1], upper.shape[-1]
    last = lower.ndim - 1
    rest = None
    if m > k:
        # L2 = A2 U^-1
        beside, g_beside = narrowed(lower, last - 1, k, m), narrowed(gl, last - 1, k, m)
        rest = adjoint(triangular(upper, adjoint(g_beside), upper=True))
        gu = gu - product(adjoint(beside), rest)
        lower, gl = narrowed(lower, last - 1, 0, k), narrowed(gl, last - 1, 0, k)
    elif n > k:
        # U2 = L^-1 A2
        beside, g_beside = narrowed(upper, last, k, n), narrowed(gu, last, k, n)
        rest = triangular(adjoint(lower), g_beside, upper=True, unit=True)
        gl = gl - product(rest, adjoint(beside))
        upper, gu = narrowed(upper, last, 0, k), narrowed(gu, last, 0, k)
    inner = tril(product(adjoint(lower), gl), -1) + triu(product(gu, adjoint(upper)))
    half = triangular(adjoint(lower), inner, upper=True, unit=True)
    square = adjoint(triangular(upper, adjoint(half), upper=True))
    whole = square if rest is None else concat(square, rest, dim=last - 1 if m > k else last)
    return product(p, whole)


def _lu_packed_vjp(g: V, y: V, a: V, check: str) -> tuple[V]:
    m, n = a.shape[-2:]
    k = min(m, n)
    (g, _, _), (lu, pivots, _) = (unpacked(v, (m, n), (k,), ()) for v in (g, y))
    gl = tril(narrowed(g, a.ndim - 1, 0, k), -1)
    gu = triu(narrowed(g, a.ndim - 2, 0, k))
    return (_lu_vjp(gl, gu, permutation(as_int32(pivots), size=m, dtype=a.dtype.name), *triangles(lu)),)


def _lu_apply_vjp(g: V, y: V, lu: V, pivots: V, b: V, adjoint: bool) -> tuple[V | None, ...]:
    """Through the triangular systems, of which each factor takes its own triangle."""
    gb = lu_apply(lu, pivots, g, adjoint=not adjoint)
    lower, upper = triangles(lu)
    # Of A = P L U the cotangent is minus this: L takes P^T gA U^H, U takes L^H P^T gA.
    through = product(y, _adjoint(gb)) if adjoint else product(gb, _adjoint(y))
    rows = pivoted_rows(pivots, size=lu.shape[-1])
    through = lookup("gather")(through, expand(column(rows), shape=through.shape), dim=lu.ndim - 2)
    gl = tril(product(through, _adjoint(upper)), -1)
    gu = triu(product(_adjoint(lower), through))
    return -(gl + gu), None, gb


_adjoint = adjoint  # where an attribute has the name

lu_packed: Primitive = matrix_op(
    "lu_packed",
    lu_routine,
    attrs={"check": CHECK},
    parts=lambda specs, check: [specs[0].shape[-2:], (min(specs[0].shape[-2:]),), ()],
    flops=0.7,
    vjp=_lu_packed_vjp,
    grad_name="LinalgLuFactorExBackward0",
    doc="Both triangles of an LU factorization in one matrix, pivots counted from 1, and info (LAPACK getrf).",
)
lu_apply: Primitive = matrix_op(
    "lu_apply",
    lu_apply_routine,
    labels=("nn", "n", "nk"),
    attrs={"adjoint": Attr("bool", False, "solve with the conjugate transpose")},
    size=right_side,
    flops=2.0,
    vjp=_lu_apply_vjp,
    grad_name="LinalgLuSolveBackward0",
    doc="Solves with the factors of an LU factorization (LAPACK getrs).",
)


def _lu_factor_ex(a: V, check: str) -> tuple[V, V, V]:
    check_matrix(check or "linalg.lu_factor_ex", a)
    lu, pivots, info = unpacked(lu_packed(a, check=check), a.shape[-2:], (min(a.shape[-2:]),), ())
    return lu, as_int32(pivots), as_int32(info)


def _lu_unpack(lu: V) -> tuple[V, V]:
    check_matrix("lu_unpack", lu)
    return triangles(lu)


def _lu(a: V) -> tuple[V, V]:
    check_matrix("linalg.lu", a)
    return triangles(_lu_factor_ex(a, "")[0])


declare(
    Composite(
        name="linalg_lu_factor_ex",
        arity=1,
        attrs={"check": CHECK},
        grad_name="LinalgLuFactorExBackward0",
        doc="L and U in one matrix, int32 pivots counted from 1, and info: 0, or the place of a zero pivot.",
        body=_lu_factor_ex,
    )
)
declare(
    Composite(
        name="linalg_lu",
        arity=1,
        grad_name="LinalgLuBackward0",
        doc="A lower triangle with ones on its diagonal, whose rows are to be permuted, and an upper triangle.",
        body=_lu,
    )
)
declare(
    Composite(
        name="lu_unpack",
        arity=1,
        grad_name="LuUnpackBackward0",
        doc="L and U of both in one matrix.",
        body=_lu_unpack,
    )
)

# --- LDL ------------------------------------------------------------------------------------------

ldl_packed = matrix_op(
    "ldl_packed",
    ldl_routine,
    labels=("nn",),
    attrs={"hermitian": Attr("bool", False)},
    parts=lambda specs, hermitian: [specs[0].shape[-2:], (specs[0].shape[-1],), ()],
    flops=0.4,
    doc="L and the block diagonal D in one matrix, pivots, and info (LAPACK sytrf, hetrf).",
)
ldl_apply = matrix_op(
    "ldl_apply",
    ldl_solve_routine,
    labels=("nn", "n", "nk"),
    attrs={"hermitian": Attr("bool", False)},
    size=right_side,
    flops=2.0,
    doc="Solves with the factors of an LDL factorization (LAPACK sytrs, hetrs).",
)


def _ldl_factor_ex(a: V, hermitian: bool) -> tuple[V, V, V]:
    check_matrix("torch.linalg.ldl_factor_ex", a, square=True)
    n = a.shape[-1]
    ld, pivots, info = unpacked(ldl_packed(a, hermitian=hermitian), (n, n), (n,), ())
    return ld, as_int32(pivots), as_int32(info)


def _ldl_solve(ld: V, pivots: V, b: V, hermitian: bool) -> V:
    check_matrix("torch.linalg.ldl_solve", ld, square=True)
    check_matrix("torch.linalg.ldl_solve", b)
    result: V = ldl_apply(*broadcast_batches("torch.linalg.ldl_solve", (ld, pivots, b), (2, 1, 2)), hermitian=hermitian)
    return result


declare(
    Composite(
        name="linalg_ldl_factor_ex",
        arity=1,
        attrs={"hermitian": Attr("bool", False)},
        doc="L and the block diagonal D of a symmetric or Hermitian matrix in one, int32 pivots, and info.",
        body=_ldl_factor_ex,
    )
)
declare(
    Composite(
        name="linalg_ldl_solve",
        arity=3,
        attrs={"hermitian": Attr("bool", False)},
        doc="Solves with the factors of linalg_ldl_factor_ex.",
        body=_ldl_solve,
    )
)
