"""Rows: factorizations of matrices, and the primitives they stand on.

PyTorch refuses cotangents that depend on the phase of complex vectors, so complex vectors meet
PyTorch's gradients in tests/opdb; here their gradients meet finite differences where LAPACK's choice
of the phase is smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from tests.ops.rows import COMPLEX, WIDE, Bad, Operand, Row, S, T, row

FULL = (*WIDE, *COMPLEX)

# --- matrices that are far from singular, with eigenvalues far apart ---------------------------------


def _spread(rng: np.random.Generator, shape: Sequence[int], complex_: bool) -> np.ndarray:
    """Matrices with singular values about 1, 2, 3, …"""
    *batch, m, n = shape
    k = min(m, n)
    draw = [rng.standard_normal((*batch, size, k)) for size in (m, n)]
    if complex_:
        draw = [d + 1j * rng.standard_normal(d.shape) for d in draw]
    u, v = (np.linalg.qr(d)[0] for d in draw)
    return np.asarray((u * np.arange(1, k + 1)) @ np.swapaxes(v, -1, -2).conj())


def _hermitian(rng: np.random.Generator, shape: Sequence[int], complex_: bool, lowest: float) -> np.ndarray:
    q = _spread(rng, shape, complex_)
    q = np.linalg.qr(q)[0]
    return np.asarray((q * (np.arange(shape[-1]) + lowest)) @ np.swapaxes(q, -1, -2).conj())


def _operand(
    make: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: str = "float64", *args: Any, **options: Any
) -> Operand:
    return Operand(
        shape, dtype=dtype, build=lambda rng: make(rng, shape, dtype.startswith("complex"), *args), **options
    )


def M(*shape: int, dtype: str = "float64") -> Operand:
    """Any matrix with separate singular values."""
    return _operand(_spread, shape, dtype)


def H(*shape: int, dtype: str = "float64") -> Operand:
    """A Hermitian matrix with separate eigenvalues, one of them negative."""
    return _operand(_hermitian, shape, dtype, -1.5)


def P(*shape: int, dtype: str = "float64") -> Operand:
    """A Hermitian positive-definite matrix."""
    return _operand(_hermitian, shape, dtype, 1.0)


def _real_eigen(rng: np.random.Generator, shape: Sequence[int], _: bool) -> np.ndarray:
    v = np.eye(shape[-1]) + 0.3 * rng.standard_normal(shape)
    return np.asarray((v * np.arange(1, shape[-1] + 1)) @ np.linalg.inv(v))


def E(*shape: int) -> Operand:
    """A square matrix with separate real eigenvalues."""
    return _operand(_real_eigen, shape)


def _triangle(rng: np.random.Generator, shape: Sequence[int], complex_: bool, upper: bool) -> np.ndarray:
    a = _spread(rng, shape, complex_) * 0.3 + 2 * np.eye(shape[-1])
    a = a - 1j * np.imag(a) * np.eye(shape[-1]) if complex_ else a
    return np.triu(a) if upper else np.tril(a)


def L3(*shape: int, dtype: str = "float64", upper: bool = False) -> Operand:
    """A triangle with a diagonal about 2."""
    return _operand(_triangle, shape, dtype, upper)


def _factored(rng: np.random.Generator, shape: Sequence[int], complex_: bool) -> np.ndarray:
    """L and U of one matrix, far from singular."""
    return np.asarray(_spread(rng, shape, complex_) * 0.3 + 2 * np.eye(shape[-2], shape[-1]))


def F(*shape: int, dtype: str = "float64") -> Operand:
    """L and U in one matrix."""
    return _operand(_factored, shape, dtype)


def PIVOTS(values: Any, dtype: str = "int32") -> Operand:
    """Pivots counted from 1."""
    return Operand(np.asarray(values).shape, dtype=dtype, literal=values, fixed=True)


def _complex(make: Callable[..., Operand], *shape: int, **attrs: Any) -> Any:
    return S(make(*shape, dtype="complex128"), **attrs)


# --- checks of packed results -------------------------------------------------------------------------

Attrs = Mapping[str, Any]


def _split(packed: np.ndarray, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    parts, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        parts.append(packed[..., at : at + size].reshape((*packed.shape[:-1], *shape)))
        at += size
    assert at == packed.shape[-1]
    return parts


def _ct(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2).conj()


def _close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, np.broadcast_to(expected, np.shape(got)), atol=1e-10)


def _check_eigen(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    n = a.shape[-1]
    if outputs[0].shape[-1] == n + n * n:
        values, vectors = _split(outputs[0], (n,), (n, n))
    elif len(outputs) == 2:
        values, vectors = outputs
    else:
        _close(np.sort_complex(outputs[0]), np.sort_complex(np.linalg.eigvals(a)))
        return
    _close(a @ vectors, vectors * values[..., None, :])
    _close(np.linalg.norm(vectors, axis=-2), np.ones(values.shape))


def _check_svd(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    m, n = a.shape[-2:]
    k = min(m, n)
    if not attrs.get("vectors", True):
        _close(outputs[0], np.linalg.svd(a, compute_uv=False))
        return
    full = attrs.get("full", False)
    u, s, vh = _split(outputs[0], (m, m if full else k), (k,), (n if full else k, n))
    _close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a)
    _close(_ct(u) @ u, np.eye(u.shape[-1]))
    _close(vh @ _ct(vh), np.eye(vh.shape[-2]))


def _check_qr(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    m, n = a.shape[-2:]
    k = m if attrs.get("mode") == "complete" else min(m, n)
    if attrs.get("mode") == "r":
        r = outputs[0].reshape(*a.shape[:-2], k, n)
        _close(_ct(r) @ r, _ct(a) @ a)
        return
    q, r = _split(outputs[0], (m, k), (k, n))
    _close(q @ r, a)
    _close(_ct(q) @ q, np.eye(k))
    _close(np.tril(r, -1), 0)


def _check_cholesky(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    factor, info = _split(outputs[0], a.shape[-2:], ())
    _close(factor @ _ct(factor), a)
    _close(info, 0)


def _check_lu(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    m, n = a.shape[-2:]
    k = min(m, n)
    lu, pivots, info = _split(outputs[0], (m, n), (k,), ())
    product = (np.tril(lu[..., :, :k], -1) + np.eye(m, k)) @ np.triu(lu[..., :k, :])
    for index in np.ndindex(a.shape[:-2]):
        for i in reversed(range(k)):
            other = int(pivots[(*index, i)].real) - 1
            product[(*index, [i, other])] = product[(*index, [other, i])]
    _close(product, a)
    _close(info, 0)


def _check_ldl(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    ld, pivots, info = _split(outputs[0], a.shape[-2:], a.shape[-1:], ())
    assert (np.abs(pivots) >= 1).all()
    _close(info, 0)
    _close(np.triu(ld, 1), 0)


def _check_geqrf(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (a,) = arrays
    reflectors, _ = _split(outputs[0], a.shape[-2:], (min(a.shape[-2:]),))
    r = np.triu(reflectors)
    _close(_ct(r) @ r, _ct(a) @ a)


def _check_ldl_apply(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    ld, _, b = arrays
    # The pivots say that no rows were exchanged and that D is diagonal.
    lower = np.tril(ld, -1) + np.eye(ld.shape[-1])
    d = np.diagonal(ld, axis1=-2, axis2=-1)
    turned = _ct(lower) if attrs.get("hermitian") else np.swapaxes(lower, -1, -2)
    _close((lower * d[..., None, :]) @ turned @ outputs[0], b)


def _check_lu_apply(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    lu, pivots, b = arrays
    n = lu.shape[-1]
    a = (np.tril(lu, -1) + np.eye(n)) @ np.triu(lu)
    for index in np.ndindex(lu.shape[:-2]):
        for i in reversed(range(n)):
            other = int(pivots[(*index, i)]) - 1
            a[(*index, [i, other])] = a[(*index, [other, i])]
    _close((_ct(a) if attrs.get("adjoint") else a) @ outputs[0], b)


def _check_rows(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Attrs) -> None:
    (pivots,) = arrays
    for index in np.ndindex(pivots.shape[:-1]):
        rows = list(range(attrs["size"]))
        for i, p in enumerate(pivots[index]):
            rows[i], rows[p - 1] = rows[p - 1], rows[i]
        _close(outputs[0][index], np.argsort(rows) if attrs.get("inverse") else rows)


_SQUARE = (
    Bad(S(T(3, 4)), ShapeError, "square"),
    Bad(S(T(3)), ShapeError, "at least 2"),
    Bad(S(T(3, 3, dtype="int64")), DTypeError),
    Bad(S(T(3, 3, dtype="float16")), DTypeError),
)
_ANY = (Bad(S(T(3)), ShapeError, "at least 2"), Bad(S(T(3, 3, dtype="int64")), DTypeError))

PIVOTED = PIVOTS([[2, 3, 3], [1, 2, 3], [3, 3, 3], [1, 3, 3]])
STRAIGHT = PIVOTS([[1, 2, 3]] * 4)

ROWS: tuple[Row, ...] = (
    row(
        "eigh_packed",
        S(H(4, 3, 3)),
        S(H(3, 3), lower=False),
        S(H(3, 3), vectors=False),
        _complex(H, 2, 3, 3),
        S(T(0, 3, 3)),
        S(T(2, 0, 0)),
        check=_check_eigen,
        smooth=False,  # one triangle is read, and the gradient spread over both
    ),
    row("eig_packed", S(E(4, 3, 3)), S(E(3, 3), vectors=False), check=_check_eigen, loose=500),
    row(
        "svd_packed",
        S(M(4, 3, 5)),
        S(M(3, 3), full=True),
        S(M(3, 3), vectors=False),
        S(T(4, 0, 3)),
        check=_check_svd,
    ),
    row(
        "qr_packed",
        S(M(4, 5, 3)),
        S(M(3, 5)),
        S(M(3, 5), mode="complete"),
        _complex(M, 2, 4, 3),
        S(T(4, 0, 3)),
        check=_check_qr,
    ),
    row("geqrf_packed", S(M(4, 5, 3)), _complex(M, 3, 4), S(T(0, 3)), check=_check_geqrf),
    row(
        "cholesky_packed",
        S(P(4, 3, 3)),
        _complex(P, 3, 3),
        S(T(0, 3, 3)),
        S(T(2, 0, 0)),
        check=_check_cholesky,
        smooth=False,
    ),
    row("lu_packed", S(M(4, 3, 3)), S(M(5, 3)), S(M(3, 5)), _complex(M, 3, 3), S(T(2, 0, 3)), check=_check_lu),
    row("ldl_packed", S(H(4, 3, 3)), _complex(H, 3, 3, hermitian=True), check=_check_ldl),
    row(
        "ldl_apply",
        S(F(4, 3, 3), STRAIGHT, T(4, 3, 2)),
        S(F(3, 3), PIVOTS([1, 2, 3]), T(3, 2)),
        check=_check_ldl_apply,
    ),
    row(
        "lu_apply",
        S(F(4, 3, 3), PIVOTED, T(4, 3, 2)),
        S(F(3, 3), PIVOTS([2, 2, 3]), T(3, 2), adjoint=True),
        S(F(3, 3, dtype="complex128"), PIVOTS([2, 2, 3]), T(3, 2, dtype="complex128"), adjoint=True),
        S(T(3, 3), PIVOTS([2, 2, 3]), T(3, 0)),
        check=_check_lu_apply,
    ),
    row("pivoted_rows", S(PIVOTED, size=3), S(PIVOTED, size=5), S(PIVOTED, size=3, inverse=True), check=_check_rows),
    row(
        "linalg_eigh",
        S(H(4, 3, 3), lower=False),
        S(H(4, 4)),
        S(H(1, 1)),
        ref=lambda t, a, lower=True: t.linalg.eigh(a, UPLO="L" if lower else "U"),
        smooth=False,  # one triangle is read, and the gradient spread over both
        loose=50,
        errors=_SQUARE,
    ),
    row(
        "linalg_eigvalsh",
        S(H(3, 3)),
        S(H(4, 3, 3), lower=False),
        _complex(H, 3, 3),
        S(T(2, 0, 0)),
        ref=lambda t, a, lower=True: t.linalg.eigvalsh(a, UPLO="L" if lower else "U"),
        dtypes=FULL,
        smooth=False,  # one triangle is read, and the gradient spread over both
        loose=50,
        errors=_SQUARE,
    ),
    row("linalg_eig", S(E(3, 3)), S(E(4, 3, 3)), check=_check_eigen, loose=500, errors=_SQUARE),
    row("linalg_eigvals", S(E(3, 3)), S(E(4, 3, 3)), check=_check_eigen, loose=500, errors=_SQUARE),
    row(
        "linalg_svd",
        S(M(3, 3), full=False),
        S(M(4, 5, 3), full=False),
        S(M(3, 4), full=False),
        ref=lambda t, a, full=True: t.linalg.svd(a, full_matrices=full),
        loose=50,
        errors=_ANY,
    ),
    row(
        "linalg_svdvals",
        S(M(3, 3)),
        S(M(4, 5, 3)),
        _complex(M, 3, 5),
        ref=lambda t, a: t.linalg.svdvals(a),
        dtypes=FULL,
        loose=50,
        errors=_ANY,
    ),
    row(
        "linalg_qr",
        S(M(3, 3)),
        S(M(4, 5, 3)),
        S(M(3, 5)),
        S(M(3, 5), mode="complete"),
        _complex(M, 5, 3),
        _complex(M, 3, 4),
        ref=lambda t, a, mode="reduced": t.linalg.qr(a, mode),
        dtypes=FULL,
        loose=50,
        errors=(*_ANY, Bad(S(T(3, 3), mode="economic"), AttributeTypeError)),
    ),
    row("geqrf", S(M(5, 3)), S(M(4, 3, 5)), _complex(M, 3, 3), dtypes=FULL, loose=50, errors=_ANY),
    row(
        "linalg_householder_product",
        S(T(5, 3), T(3)),
        S(T(4, 5, 3), T(4, 2)),
        S(T(3, 3, dtype="complex128"), T(3, dtype="complex128")),
        ref=lambda t, a, tau: t.linalg.householder_product(a, tau),
        dtypes=FULL,
        loose=50,
        errors=(Bad(S(T(3, 5), T(3)), ShapeError), Bad(S(T(5, 3), T(4)), ShapeError)),
    ),
    row(
        "ormqr",
        S(T(5, 3), T(3), T(5, 2)),
        S(T(5, 3), T(3), T(5, 2), transpose=True),
        S(T(4, 5, 3), T(4, 3), T(4, 2, 5), left=False),
        S(T(4, 4, dtype="complex128"), T(4, dtype="complex128"), T(4, 2, dtype="complex128"), transpose=True),
        ref=lambda t, a, tau, c, left=True, transpose=False: t.ormqr(a, tau, c, left, transpose),
        dtypes=FULL,
        loose=500,
    ),
    row(
        "linalg_cholesky_ex",
        S(P(3, 3)),
        S(P(4, 3, 3), upper=True),
        _complex(P, 3, 3),
        _complex(P, 3, 3, upper=True),
        ref=lambda t, a, upper=False, check="": t.linalg.cholesky_ex(a, upper=upper),
        dtypes=FULL,
        smooth=False,  # one triangle is read, and the gradient spread over both
        loose=50,
        errors=_SQUARE,
    ),
    row("cholesky", S(P(3, 3)), S(P(4, 3, 3), upper=True), dtypes=FULL, smooth=False, loose=50, errors=_SQUARE),
    row(
        "linalg_lu_factor_ex",
        S(M(3, 3)),
        S(M(4, 5, 3)),
        S(M(3, 5)),
        _complex(M, 3, 3),
        ref=lambda t, a, check="": t.linalg.lu_factor_ex(a),
        dtypes=FULL,
        loose=500,
        errors=_ANY,
    ),
    row(
        "linalg_lu",
        S(M(3, 3)),
        S(M(4, 5, 3)),
        S(M(3, 5)),
        _complex(M, 3, 3),
        ref=lambda t, a: t.linalg.lu(a)[1:],
        dtypes=FULL,
        loose=500,
        errors=_ANY,
    ),
    row(
        "lu_unpack",
        S(F(3, 3)),
        S(F(4, 5, 3)),
        S(F(3, 5)),
        ref=lambda t, lu: t.lu_unpack(lu, t.ones(*lu.shape[:-2], min(lu.shape[-2:]), dtype=t.int32))[1:],
        dtypes=FULL,
    ),
    row(
        "pivots_to_permutation",
        S(PIVOTED, size=3, dtype="float64"),
        S(PIVOTED, size=5, dtype="float32"),
        ref=lambda t, p, size, dtype: t.lu_unpack(t.ones(4, size, 3, dtype=getattr(t, dtype)), p)[0],
        errors=(Bad(S(PIVOTS([1, 2, 3], "int64"), size=3, dtype="float64"), DTypeError, "int32"),),
    ),
    row(
        "linalg_ldl_factor_ex",
        S(H(3, 3)),
        S(H(4, 3, 3)),
        _complex(H, 3, 3, hermitian=True),
        _complex(H, 3, 3),
        ref=lambda t, a, hermitian=False: t.linalg.ldl_factor_ex(a, hermitian=hermitian),
        dtypes=FULL,
        loose=50,
        errors=_SQUARE,
    ),
    row(
        "linalg_ldl_solve",
        S(F(3, 3), PIVOTS([1, 2, 3]), T(3, 2)),
        S(F(4, 3, 3), STRAIGHT, T(3, 2)),
        ref=lambda t, ld, pivots, b, hermitian=False: t.linalg.ldl_solve(ld, pivots, b, hermitian=hermitian),
        dtypes=FULL,
        loose=50,
    ),
)
