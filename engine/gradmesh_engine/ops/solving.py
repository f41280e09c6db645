"""Linear systems with their derivatives: solve, inverses, determinants, least squares.

Sources: M. Giles, An extended collection of matrix derivative results (2008); G. Golub, V. Pereyra,
The differentiation of pseudo-inverses (1973).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops._matrices import (
    adjoint,
    as_dtype_of,
    batch_together,
    broadcast_batches,
    column,
    diagonal,
    embedded,
    identity,
    product,
    row,
    turned,
)
from gradmesh_engine.ops.base import Attr, Composite, Primitive, Specs, declare, lookup
from gradmesh_engine.ops.decompositions import lu_apply, lu_packed
from gradmesh_engine.ops.eigen import eigh, svd
from gradmesh_engine.ops.lapack import (
    CHECK,
    as_int32,
    check_matrix,
    cholesky_apply_routine,
    gesv_routine,
    left_side,
    matrix_exp,
    matrix_op,
    right_side,
    triangular,
    unpacked,
)
from gradmesh_engine.ops.layout import expand, reshape, sum_to
from gradmesh_engine.ops.numeric import absolute, imag, sgn
from gradmesh_engine.ops.pointwise import conjugate, convert, is_zero, keep
from gradmesh_engine.ops.reduce import reduce_prod, reduce_sum
from gradmesh_engine.ops.smooth import log

# --- general systems ------------------------------------------------------------------------------


def _factors(a: V, check: str) -> tuple[V, V, V]:
    """LU, pivots as int32, info as int32; one node however often it is asked for."""
    n = a.shape[-1]
    lu, pivots, info = unpacked(lu_packed(a, check=check), (n, n), (n,), ())
    return lu, as_int32(pivots), as_int32(info)


_SMALL = 32
"""Up to this side, calling LAPACK costs more than factorizing twice, forward and backward."""


def _solve_system(a: V, b: V, adjoint: bool, check: str) -> V:
    check_matrix("solve_system", a, square=True)
    if a.shape[-1] <= _SMALL:
        solved: V = gesv(a, b, adjoint=adjoint, check=check)
        return solved
    lu, pivots, _ = _factors(a, check)
    result: V = lu_apply(lu, pivots, b, adjoint=adjoint)
    return result


def _solve_system_vjp(g: V, y: V, a: V, b: V, adjoint: bool, check: str) -> tuple[V, V]:
    gb = solve_system(a, g, adjoint=not adjoint, check=check)
    return -_outer(y, gb) if adjoint else -_outer(gb, y), gb


def _outer(x: V, y: V) -> V:
    return product(x, adjoint(y))


def _gesv_vjp(g: V, y: V, a: V, b: V, adjoint: bool, check: str) -> tuple[V, V]:
    gb = gesv(a, g, adjoint=not adjoint, check=check)
    return -_outer(y, gb) if adjoint else -_outer(gb, y), gb


gesv: Primitive = matrix_op(
    "gesv",
    gesv_routine,
    labels=("nn", "nk"),
    attrs={"adjoint": Attr("bool", False, "solve with the conjugate transpose"), "check": CHECK},
    size=right_side,
    vjp=_gesv_vjp,
    grad_name="LinalgSolveExBackward0",
    flops=2.0,
    doc="Solves small systems (LAPACK gesv).",
)

solve_system = declare(
    Composite(
        name="solve_system",
        arity=2,
        attrs={"adjoint": Attr("bool", False, "solve with the conjugate transpose"), "check": CHECK},
        grad_name="LinalgSolveExBackward0",
        doc="Solves A X = B, or A^H X = B, for matrices of equal batch dims.",
        body=_solve_system,
        vjp=_solve_system_vjp,
    )
)


def is_vector(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether the right side is a batch of vectors, as torch.linalg.solve decides it."""
    return len(b) == 1 or (len(a) - 1 == len(b) and b == a[:-1])


def _check_right_side(name: str, a: V, b: V, left: bool) -> None:
    check_matrix(name, b)
    at = -2 if left else -1
    if a.shape[-2] != b.shape[at]:
        raise ShapeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})",
            expected=f"a dim of size {a.shape[-2]}",
            got=str(list(b.shape)),
        )


def _solve_ex(a: V, b: V, left: bool, check: str) -> tuple[V, V]:
    check_matrix("linalg.solve", a, square=True)
    vector = is_vector(a.shape, b.shape)
    if vector:
        b = column(b)
    _check_right_side("linalg.solve", a, b, left)
    if vector and not left:
        raise ShapeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case "
            "linalg.solve is equivalent to B / A.squeeze(-1)",
            got=str(list(b.shape)),
        )
    _, _, info = _factors(a, check)
    wide_a, b = batch_together("linalg.solve", (a, b), (2, 2))
    x = solve_system(wide_a, b, check=check) if left else turned(solve_system(turned(wide_a), turned(b), check=check))
    return reshape(x, shape=x.shape[:-1]) if vector else x, info


def _inv_ex(a: V, check: str) -> tuple[V, V]:
    check_matrix(check or "linalg.inv_ex", a, square=True)
    _, _, info = _factors(a, check)
    eye = expand(identity(a, a.shape[-1]), shape=a.shape)
    return solve_system(a, eye, check=check), info


declare(
    Composite(
        name="linalg_solve_ex",
        arity=2,
        attrs={"left": Attr("bool", True), "check": CHECK},
        grad_name="LinalgSolveExBackward0",
        doc="Solves A X = B, or X A = B, and info: 0, or the place of a zero pivot.",
        body=_solve_ex,
    )
)
declare(
    Composite(
        name="linalg_inv_ex",
        arity=1,
        attrs={"check": CHECK},
        grad_name="LinalgInvExBackward0",
        doc="Inverses, and info: 0, or the place of a zero pivot.",
        body=_inv_ex,
    )
)

# --- systems with known factors -------------------------------------------------------------------


def _lu_solve(lu: V, pivots: V, b: V, left: bool, adjoint: bool) -> V:
    check_matrix("linalg.lu_solve", lu, square=True)
    _check_right_side("linalg.lu_solve", lu, b, left)
    if not left:
        # X A = B is A^H X^H = B^H.
        return _adjoint(_lu_solve(lu, pivots, _adjoint(b), True, not adjoint))
    lu, pivots, b = broadcast_batches("linalg.lu_solve", (lu, pivots, b), (2, 1, 2))
    result: V = lu_apply(lu, pivots, b, adjoint=adjoint)
    return result


def _adjoint(v: V) -> V:
    return adjoint(v)


declare(
    Composite(
        name="linalg_lu_solve",
        arity=3,
        attrs={"left": Attr("bool", True), "adjoint": Attr("bool", False)},
        grad_name="LinalgLuSolveBackward0",
        doc="Solves with the factors of linalg_lu_factor_ex.",
        body=_lu_solve,
    )
)


def _solve_triangular(a: V, b: V, upper: bool, left: bool, unit: bool) -> V:
    check_matrix("linalg.solve_triangular", a, square=True)
    _check_right_side("linalg.solve_triangular", a, b, left)
    a, b = batch_together("linalg.solve_triangular", (a, b), (2, 2))
    if left:
        return triangular(a, b, upper=upper, unit=unit)
    return turned(triangular(turned(a), turned(b), upper=not upper, unit=unit))


def _triangular_solve(b: V, a: V, upper: bool, transpose: bool, unit: bool) -> tuple[V, V]:
    check_matrix("triangular_solve", a, square=True)
    _check_right_side("triangular_solve", a, b, True)
    a, b = batch_together("triangular_solve", (a, b), (2, 2))
    coefficient = turned(a) if transpose else a
    return triangular(coefficient, b, upper=upper != transpose, unit=unit), lookup("clone")(a)


_TRIANGLE = {"upper": Attr("bool"), "unit": Attr("bool", False, "take the diagonal for ones")}

declare(
    Composite(
        name="linalg_solve_triangular",
        arity=2,
        attrs={**_TRIANGLE, "left": Attr("bool", True)},
        grad_name="LinalgSolveTriangularBackward0",
        doc="Solves A X = B, or X A = B, with one triangle of A.",
        body=_solve_triangular,
    )
)
declare(
    Composite(
        name="triangular_solve",
        arity=2,
        attrs={**_TRIANGLE, "transpose": Attr("bool", False)},
        grad_name="TriangularSolveBackward0",
        doc="Solves A X = B, or A^T X = B, with one triangle of A; and a copy of A.",
        body=_triangular_solve,
    )
)


def _cholesky_apply_vjp(g: V, y: V, b: V, factor: V, upper: bool) -> tuple[V, V]:
    # The factor is taken for a triangle, and its cotangent fills the square, as in torch.cholesky_solve.
    gb = cholesky_apply(g, factor, upper=upper)
    common = product(gb, adjoint(y))
    common = common + adjoint(common)
    return gb, -(product(factor, common) if upper else product(common, factor))


cholesky_apply: Primitive = matrix_op(
    "cholesky_apply",
    cholesky_apply_routine,
    labels=("nk", "nn"),
    attrs={"upper": Attr("bool", False)},
    size=left_side,
    vjp=_cholesky_apply_vjp,
    grad_name="CholeskySolveBackward0",
    flops=2.0,
    doc="Solves with a Cholesky factor (LAPACK potrs).",
)


def _cholesky_solve(b: V, factor: V, upper: bool) -> V:
    check_matrix("cholesky_solve", factor, square=True)
    _check_right_side("cholesky_solve", factor, b, True)
    b, factor = batch_together("cholesky_solve", (b, factor), (2, 2))
    result: V = cholesky_apply(b, factor, upper=upper)
    return result


def _cholesky_inverse(factor: V, upper: bool) -> V:
    check_matrix("cholesky_inverse", factor, square=True)
    result: V = cholesky_apply(expand(identity(factor, factor.shape[-1]), shape=factor.shape), factor, upper=upper)
    return result


declare(
    Composite(
        name="cholesky_solve",
        arity=2,
        attrs={"upper": Attr("bool", False)},
        grad_name="CholeskySolveBackward0",
        doc="Solves A X = B with the Cholesky factor of A.",
        body=_cholesky_solve,
    )
)
declare(
    Composite(
        name="cholesky_inverse",
        arity=1,
        attrs={"upper": Attr("bool", False)},
        grad_name="CholeskyInverseBackward0",
        doc="The inverse of a matrix from its Cholesky factor.",
        body=_cholesky_inverse,
    )
)

# --- determinants ---------------------------------------------------------------------------------


def _parity(lu: V, pivots: V) -> V:
    """-1 where the pivots exchange an odd number of rows, else 1, in the dtype of `lu`."""
    places = lookup("iota").on(lu.emitter, shape=(pivots.shape[-1],), dim=0, start=1, dtype="int64")
    moved = convert(lookup("ne")(convert(pivots, dtype="int64"), places), dtype=lu.dtype.name)
    result: V = reduce_prod(1 - 2 * moved, dims=(moved.ndim - 1,))
    return result


def _product_along(v: V) -> V:
    result: V = reduce_prod(v, dims=(v.ndim - 1,))
    return result


def _det(a: V) -> V:
    check_matrix("linalg.det", a, square=True)
    lu, pivots, _ = _factors(a, "")
    return _product_along(diagonal(lu)) * _parity(lu, pivots)


def _cofactors(a: V) -> V:
    """conj(det A) A^-H, also where A is singular."""
    check_matrix("cofactors", a, square=True)
    lu, pivots, _ = _factors(a, "")
    # Cofactors are polynomials of the elements: a pivot of 0 may be moved by the rounding of one.
    zero = is_zero(diagonal(lu))
    tiny = keep(constant(lu, np.finfo(lu.dtype).eps, zero.shape), zero)
    lu = lu + embedded(tiny)
    det = _product_along(diagonal(lu)) * _parity(lu, pivots)
    scale = embedded(expand(column(conjugate(det)), shape=zero.shape))
    result: V = lu_apply(lu, pivots, scale, adjoint=True)
    return result


def _cofactors_vjp(g: V, y: V, a: V) -> tuple[V]:
    # With C = conj(det A) A^-H: of the determinant, tr(C^H dA); of the inverse, -A^-H dA^H A^-H.
    inverse = solve_system(a, expand(identity(a, a.shape[-1]), shape=a.shape), adjoint=True)
    along = reduce_sum(conjugate(g) * inverse, dims=(a.ndim - 2, a.ndim - 1))
    return (column(column(along)) * y - product(y, adjoint(g), inverse),)


cofactors = declare(
    Composite(
        name="cofactors",
        arity=1,
        grad_name="LinalgDetBackward0",
        doc="The gradient of the determinant, conj(det A) A^-H.",
        body=_cofactors,
        vjp=_cofactors_vjp,
    )
)
declare(
    Composite(
        name="linalg_det",
        arity=1,
        grad_name="LinalgDetBackward0",
        doc="Determinants.",
        body=_det,
        vjp=lambda g, y, a: (column(column(g)) * cofactors(a),),
    )
)


def _slogdet(a: V) -> tuple[V, V]:
    check_matrix("linalg.slogdet", a, square=True)
    lu, pivots, _ = _factors(a, "")
    pivot = diagonal(lu)
    return _product_along(sgn(pivot)) * _parity(lu, pivots), reduce_sum(log(absolute(pivot)), dims=(pivot.ndim - 1,))


def _slogdet_vjp(g: Any, y: Any, a: V) -> tuple[V]:
    (g_sign, g_log), (sign, _) = g, y
    if dtypes.is_complex(a.dtype):
        scale = constant(a, 0, sign.shape) if g_log is None else as_dtype_of(g_log, a)
        if g_sign is not None:
            scale = scale - as_dtype_of(imag(conjugate(g_sign) * sign), a) * 1j
    elif g_log is None:
        return (constant(a, 0, a.shape),)
    else:
        scale = g_log
    n = a.shape[-1]
    return (solve_system(a, embedded(expand(column(scale), shape=(*scale.shape, n))), adjoint=True),)


slogdet = declare(
    Composite(
        name="linalg_slogdet",
        arity=1,
        grad_name="LinalgSlogdetBackward0",
        doc="Signs (phases) of determinants, and logarithms of their absolute values.",
        body=_slogdet,
        vjp=_slogdet_vjp,
    )
)


def _logdet(a: V) -> V:
    check_matrix("logdet", a, square=True)
    sign, value = slogdet(a)
    if dtypes.is_complex(a.dtype):
        total: V = log(sign) + value
        return total
    negative = lookup("eq")(sign, constant(sign, -1))
    result: V = lookup("where")(negative, constant(value, float("nan")), value)
    return result


def _logdet_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    return "AddBackward0" if dtypes.is_complex(specs[0].dtype) else "WhereBackward0"


declare(
    Composite(
        name="logdet",
        arity=1,
        grad_name=_logdet_name,
        doc="Logarithms of determinants, NaN where one is negative.",
        body=_logdet,
    )
)

# --- pseudo-inverses and least squares --------------------------------------------------------------


def _largest(name: str, v: V) -> V:
    result: V = lookup(name)(v, dim=(v.ndim - 1,), keepdim=True)
    return result


def _reciprocals(s: V, atol: V, rtol: V) -> tuple[V, V]:
    """1 / s where |s| is above max(atol, rtol * max|s|), 0 elsewhere; and where that is."""
    size = absolute(s)
    bound = lookup("maximum")(column(atol), column(rtol) * _largest("amax", size))
    above = lookup("gt")(size, bound)
    safe = lookup("where")(above, s, constant(s, 1))
    return keep(1 / safe, above), above


def _pinv(a: V, atol: V, rtol: V, hermitian: bool) -> V:
    check_matrix("linalg.pinv", a, square=hermitian)
    if not a.spec.size:
        return constant(a, 0, (*a.shape[:-2], a.shape[-1], a.shape[-2]))
    if hermitian:
        values, vectors = eigh(a)
        inverse, _ = _reciprocals(values, atol, rtol)
        return product(vectors * row(inverse), adjoint(vectors))
    u, s, vh = svd(a, full=False)
    inverse, _ = _reciprocals(s, atol, rtol)
    return product(adjoint(vh) * row(inverse), adjoint(u))


def pinv_vjp(g: V, y: V, a: V) -> V:
    """Golub and Pereyra, for matrices of constant rank, with the smaller products first."""
    turned, g = adjoint(y), adjoint(g)
    if a.shape[-2] <= a.shape[-1]:
        k = product(g, y)
        back = product(k, turned)
        return (
            back
            - adjoint(product(y, k))
            - product(product(a, y), back)
            + product(product(turned, y), g - product(k, a))
        )
    k = product(y, g)
    back = product(turned, k)
    return back - adjoint(product(k, y)) + product(g - product(a, k), y, turned) - product(product(back, y), a)


pinv = declare(
    Composite(
        name="linalg_pinv",
        arity=3,
        attrs={"hermitian": Attr("bool", False)},
        grad_name="LinalgPinvBackward0",
        doc="Pseudo-inverses; singular values up to max(atol, rtol * the largest) count as 0.",
        body=_pinv,
        # Tolerances with more batch dims than the matrices repeat these.
        vjp=lambda g, y, a, atol, rtol, hermitian: (sum_to(pinv_vjp(g, y, a), a.shape), None, None),
    )
)


def _lstsq(a: V, b: V, rcond: V, residuals: bool) -> tuple[V, ...]:
    check_matrix("linalg.lstsq", a)
    vector = is_vector(a.shape, b.shape)
    if vector:
        b = column(b)
    _check_right_side("linalg.lstsq", a, b, True)
    a, b = batch_together("linalg.lstsq", (a, b), (2, 2))
    x, left_over, rank, s = _least_squares(a, b, rcond)
    if not residuals:
        left_over = constant(s, 0, (0,))
    return reshape(x, shape=x.shape[:-1]) if vector else x, left_over, rank, s


def _least_squares(a: V, b: V, rcond: V) -> tuple[V, ...]:
    u, s, vh = svd(a, full=False)
    if s.spec.size:
        inverse, above = _reciprocals(s, constant(s, 0), rcond)
        rank = reduce_sum(convert(above, dtype="int64"), dims=(s.ndim - 1,))
    else:
        inverse, rank = s, constant(s, 0, s.shape[:-1], np.dtype(np.int64))
    x = product(adjoint(vh), column(inverse) * product(adjoint(u), b))
    off = absolute(b - product(a, x))
    return x, reduce_sum(off * off, dims=(b.ndim - 2,)), rank, s


def _lstsq_vjp(g: Any, y: Any, a: V, b: V, rcond: V, residuals: bool) -> tuple[V | None, ...]:
    """Through x = pinv(A) B, and the residuals |B - A x|², which do not change with x at the minimum."""
    vector = is_vector(a.shape, b.shape)
    g_x, g_res, g_s, x = g[0], g[1], g[3], y[0]
    shape_a, shape_b = a.shape, b.shape
    if vector:
        b, x = column(b), column(x)
        g_x = None if g_x is None else column(g_x)
    wide_a, wide_b = batch_together("linalg.lstsq", (a, b), (2, 2))
    total_a: V | None = None
    total_b: V | None = None
    if g_x is not None:
        inverse = pinv(wide_a, constant(y[3], 0), rcond)
        total_a = pinv_vjp(product(g_x, adjoint(wide_b)), inverse, wide_a)
        total_b = product(adjoint(inverse), g_x)
    if g_res is not None and residuals:
        off = row(g_res) * 2.0 * (wide_b - product(wide_a, x))
        part = -product(off, adjoint(x))
        total_a = part if total_a is None else total_a + part
        total_b = off if total_b is None else total_b + off
    if g_s is not None:
        u, _, vh = svd(wide_a, full=False)
        part = product(u * row(g_s), vh)
        total_a = part if total_a is None else total_a + part
    gb = None if total_b is None else reshape(sum_to(total_b, b.shape), shape=shape_b)
    return None if total_a is None else sum_to(total_a, shape_a), gb, None


declare(
    Composite(
        name="linalg_lstsq",
        arity=3,
        attrs={"residuals": Attr("bool", True, "they are empty otherwise")},
        grad_name="LinalgLstsqBackward0",
        doc="Least-squares solutions of least norm, squared residuals, ranks and singular values.",
        body=_lstsq,
        vjp=_lstsq_vjp,
    )
)

# --- the exponential ------------------------------------------------------------------------------


def _matrix_exp(a: V) -> V:
    wide = convert(a, dtype="float32") if dtypes.is_half(a.dtype) else a
    check_matrix("linalg.matrix_exp", wide, square=True)
    return as_dtype_of(matrix_exp(wide), a)


declare(
    Composite(
        name="linalg_matrix_exp",
        arity=1,
        grad_name="LinalgMatrixExpBackward0",
        doc="The exponential of square matrices.",
        body=_matrix_exp,
    )
)
