"""Eigenvalues and singular values, with their derivatives.

Derivatives are written in ops, so that there are derivatives of every order. Sources: M. Giles, An
extended collection of matrix derivative results (2008); C. Boeddeker et al., On the computation of
complex-valued gradients with application to statistically optimum beamforming (2017); J. Townsend,
Differentiating the singular value decomposition (2016). Where vectors are determined up to a phase
only, the gradient is that of a function that does not depend on it.
"""

from __future__ import annotations

from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.ops._matrices import (
    adjoint,
    as_dtype_of,
    column,
    diagonal,
    embedded,
    identity,
    product,
    ratio,
    real_like,
    row,
)
from gradmesh_engine.ops.base import Attr, Composite, Primitive, declare, lookup
from gradmesh_engine.ops.lapack import (
    VECTORS,
    check_matrix,
    eig_routine,
    eigen_parts,
    eigh_routine,
    matrix_op,
    svd_parts,
    svd_routine,
    unpacked,
)
from gradmesh_engine.ops.numeric import real
from gradmesh_engine.ops.pointwise import conjugate
from gradmesh_engine.ops.regions import narrowed

Grads = "tuple[V | None, ...]"


# --- Hermitian matrices ---------------------------------------------------------------------------


def _eigh(a: V, lower: bool) -> tuple[V, V]:
    check_matrix("linalg.eigh", a, square=True)
    n = a.shape[-1]
    values, vectors = unpacked(eigh_packed(a, lower=lower), (n,), (n, n))
    return real_like(values), vectors


def _eigh_vjp(g: Any, y: Any, a: V, lower: bool) -> tuple[V]:
    (g_values, g_vectors), (values, vectors) = g, y
    if g_vectors is None:
        return (product(vectors * row(g_values), adjoint(vectors)),)
    gaps = row(values) - column(values) + identity(values, values.shape[-1])
    turn = product(adjoint(vectors), g_vectors)
    # Vectors move by skew-Hermitian turns only; the rest of the cotangent has no effect.
    inner = ratio((turn - adjoint(turn)) * 0.5, gaps)
    inner = inner - embedded(diagonal(inner))
    if g_values is not None:
        inner = inner + embedded(g_values)
    return (product(vectors, inner, adjoint(vectors)),)


def _eigh_packed_vjp(g: V, y: V, a: V, lower: bool, vectors: bool) -> tuple[V]:
    if not vectors:
        return _eigh_vjp((real_like(g), None), _eigh(a, lower), a, lower)
    n = a.shape[-1]
    (g_values, g_vectors), (values, vectors_) = (unpacked(v, (n,), (n, n)) for v in (g, y))
    return _eigh_vjp((real_like(g_values), g_vectors), (real_like(values), vectors_), a, lower)


eigh_packed: Primitive = matrix_op(
    "eigh_packed",
    eigh_routine,
    labels=("nn",),
    attrs={"lower": Attr("bool", True, "read the lower triangle"), **VECTORS},
    parts=eigen_parts,
    flops=9.0,
    vjp=_eigh_packed_vjp,
    grad_name="LinalgEighBackward0",
    doc="Eigenvalues of Hermitian matrices, ascending, and orthonormal eigenvectors (LAPACK syevd, heevd).",
)


def _eigvalsh(a: V, lower: bool) -> V:
    check_matrix("linalg.eigvalsh", a, square=True)
    return real_like(eigh_packed(a, lower=lower, vectors=False))


_LOWER = {"lower": Attr("bool", True, "read the lower triangle; the other is taken for its adjoint")}

eigh = declare(
    Composite(
        name="linalg_eigh",
        arity=1,
        attrs=_LOWER,
        grad_name="LinalgEighBackward0",
        doc="Eigenvalues, ascending, and orthonormal eigenvectors of Hermitian matrices.",
        body=_eigh,
        vjp=_eigh_vjp,
    )
)
eigvalsh = declare(
    Composite(
        name="linalg_eigvalsh",
        arity=1,
        attrs=_LOWER,
        grad_name="LinalgEighBackward0",
        doc="Eigenvalues of Hermitian matrices, ascending.",
        body=_eigvalsh,
    )
)

# --- square matrices ------------------------------------------------------------------------------


def _eig(a: V) -> tuple[V, V]:
    check_matrix("linalg.eig", a, square=True)
    n = a.shape[-1]
    values, vectors = unpacked(eig_packed(a), (n,), (n, n))
    return values, vectors


def _eig_vjp(g: Any, y: Any, a: V) -> tuple[V]:
    (g_values, g_vectors), (values, vectors) = g, y
    turned = adjoint(vectors)
    if g_vectors is None:
        inner = embedded(g_values)
    else:
        # Columns of length 1: what would lengthen one is taken away first (Boeddeker et al., section 4.3).
        turn = product(turned, g_vectors)
        turn = turn - product(turned, vectors * row(real(diagonal(turn))))
        gaps = row(values) - column(values) + identity(values, values.shape[-1])
        inner = ratio(turn, conjugate(gaps))
        if g_values is not None:
            inner = inner - embedded(diagonal(inner)) + embedded(g_values)
        else:
            inner = inner - embedded(diagonal(inner))
    return (as_dtype_of(lookup("solve_system")(turned, product(inner, turned)), a),)


def _eig_packed_vjp(g: V, y: V, a: V, vectors: bool) -> tuple[V]:
    if not vectors:
        return _eig_vjp((g, None), _eig(a), a)
    n = a.shape[-1]
    return _eig_vjp(unpacked(g, (n,), (n, n)), unpacked(y, (n,), (n, n)), a)


eig_packed: Primitive = matrix_op(
    "eig_packed",
    eig_routine,
    labels=("nn",),
    attrs=VECTORS,
    parts=eigen_parts,
    result=dtypes.complex_of,
    flops=25.0,
    vjp=_eig_packed_vjp,
    grad_name="LinalgEigBackward0",
    doc="Complex eigenvalues of square matrices and eigenvectors of length 1 (LAPACK geev).",
)


def _eigvals(a: V) -> V:
    check_matrix("linalg.eigvals", a, square=True)
    result: V = eig_packed(a, vectors=False)
    return result


eig = declare(
    Composite(
        name="linalg_eig",
        arity=1,
        grad_name="LinalgEigBackward0",
        doc="Complex eigenvalues and eigenvectors of length 1 of square matrices.",
        body=_eig,
        vjp=_eig_vjp,
    )
)
eigvals = declare(
    Composite(
        name="linalg_eigvals",
        arity=1,
        grad_name="LinalgEigBackward0",
        doc="Complex eigenvalues of square matrices.",
        body=_eigvals,
    )
)

# --- singular values ------------------------------------------------------------------------------


def _svd(a: V, full: bool) -> tuple[V, ...]:
    check_matrix("linalg.svd", a)
    u, s, vh = unpacked(svd_packed(a, full=full), *svd_parts((a.spec,), full, True))
    return u, real_like(s), vh


def _svd_vjp(g: Any, y: Any, a: V, full: bool) -> tuple[V]:
    """Townsend, with the phase of complex vectors taken out as in torch.linalg.svd."""
    (gu, gs, gvh), (u, s, vh) = g, y
    m, n = a.shape[-2:]
    k = min(m, n)
    last = a.ndim - 1
    if full:
        # The vectors that belong to no singular value are arbitrary.
        u, gu = narrowed(u, last, 0, k), None if gu is None else narrowed(gu, last, 0, k)
        vh, gvh = narrowed(vh, last - 1, 0, k), None if gvh is None else narrowed(gvh, last - 1, 0, k)
    if gu is None and gvh is None:
        return (product(u * row(gs), vh),)
    squares = s * s
    gaps = row(squares) - column(squares) + identity(s, k)
    inner = None
    if gu is not None:
        turn = product(adjoint(u), gu)
        skew_u = turn - adjoint(turn)
        inner = ratio(skew_u, gaps) * row(s)
    if gvh is not None:
        turn = product(vh, adjoint(gvh))
        part = column(s) * ratio(turn - adjoint(turn), gaps)
        inner = part if inner is None else inner + part
    assert inner is not None
    inner = inner - embedded(diagonal(inner))
    if gs is not None:
        inner = inner + embedded(gs)
    if dtypes.is_complex(a.dtype) and gu is not None and gvh is not None:
        inner = inner + embedded(ratio(diagonal(skew_u), s * 2.0))
    if m > k and gu is not None:
        off = ratio(gu, row(s))
        result = product(product(u, inner) + off - product(u, adjoint(u), off), vh)
    elif n > k and gvh is not None:
        off = ratio(gvh, column(s))
        result = product(u, product(inner, vh) + off - product(off, adjoint(vh), vh))
    else:
        result = product(u, inner, vh)
    return (result,)


def _svd_packed_vjp(g: V, y: V, a: V, full: bool, vectors: bool) -> tuple[V]:
    if not vectors:
        return _svd_vjp((None, real_like(g), None), _svd(a, False), a, False)
    parts = svd_parts((a.spec,), full, True)
    (gu, gs, gvh), (u, s, vh) = unpacked(g, *parts), unpacked(y, *parts)
    return _svd_vjp((gu, real_like(gs), gvh), (u, real_like(s), vh), a, full)


svd_packed: Primitive = matrix_op(
    "svd_packed",
    svd_routine,
    attrs={"full": Attr("bool", False, "square U and Vh"), **VECTORS},
    parts=svd_parts,
    flops=20.0,
    vjp=_svd_packed_vjp,
    grad_name="LinalgSvdBackward0",
    doc="Singular values, descending, and singular vectors (LAPACK gesdd).",
)


def _svdvals(a: V) -> V:
    check_matrix("linalg.svd", a)
    return real_like(svd_packed(a, vectors=False))


svd = declare(
    Composite(
        name="linalg_svd",
        arity=1,
        attrs={"full": Attr("bool", True, "square U and Vh")},
        grad_name="LinalgSvdBackward0",
        doc="U, the singular values, descending, and the adjoint of V.",
        body=_svd,
        vjp=_svd_vjp,
    )
)
svdvals = declare(
    Composite(
        name="linalg_svdvals",
        arity=1,
        grad_name="LinalgSvdBackward0",
        doc="Singular values, descending.",
        body=_svdvals,
    )
)
