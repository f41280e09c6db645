"""Factorizations of matrices: `gm.linalg` has them, and some stand under older names in `gm` too.

An operand is a matrix (m, n) or a batch of them (…, m, n), of float32, float64, complex64 or
complex128. A wrong shape or dtype raises ShapeError or DTypeError at the call; a matrix that has no
such factorization raises LinAlgError, which names the batch element, when a result is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh import return_types
from gradmesh._functions._common import many, one, spec
from gradmesh._functions.convert import complex, conj
from gradmesh._functions.layout import matrix_transpose
from gradmesh._functions.new import new_empty, new_zeros
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "geqrf",
    "lu",
    "lu_solve",
    "lu_unpack",
    "orgqr",
    "ormqr",
    "pca_lowrank",
    "qr",
    "svd",
    "svd_lowrank",
    "triangular_solve",
]


def adjoint(input: Tensor) -> Tensor:
    """The last two dims exchanged, and conjugated. Example: `gm.adjoint(gm.ones(2, 3)).shape` is (3, 2)."""
    return conj(matrix_transpose(input))


def _lower(function: str, uplo: str) -> bool:
    if uplo not in ("L", "U", "l", "u"):
        raise AttributeTypeError(
            f"Expected UPLO argument to be 'L' or 'U', but got {uplo}", op=function, expected="L or U", got=repr(uplo)
        )
    return uplo in ("L", "l")


# --- eigenvalues and singular values ----------------------------------------------------------------


def linalg_eig(A: Tensor) -> return_types.linalg_eig:
    """Complex eigenvalues and eigenvectors of square matrices.

    The gradient exists where the eigenvalues differ; by the vectors, for functions that do not depend on
    their phase. Example: `gm.linalg.eig(gm.eye(2)).eigenvalues` is `tensor([1.+0.j, 1.+0.j])`.
    """
    return return_types.linalg_eig(*many("linalg_eig", A))


def linalg_eigvals(A: Tensor) -> Tensor:
    """Complex eigenvalues of square matrices, in no order.

    Example: `gm.linalg.eigvals(gm.eye(2))` is `tensor([1.+0.j, 1.+0.j])`.
    """
    return one("linalg_eigvals", A)


def linalg_eigh(A: Tensor, UPLO: str = "L") -> return_types.linalg_eigh:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices, of which one triangle is read.

    The gradient by the vectors exists where the eigenvalues differ, for functions that do not depend on
    their sign or phase. Example: `gm.linalg.eigh(gm.eye(2)).eigenvalues` is `tensor([1., 1.])`.
    """
    return return_types.linalg_eigh(*many("linalg_eigh", A, lower=_lower("linalg_eigh", UPLO)))


def linalg_eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of Hermitian matrices, ascending. Example: `gm.linalg.eigvalsh(gm.eye(2))` is `tensor([1., 1.])`."""
    return one("linalg_eigvalsh", A, lower=_lower("linalg_eigvalsh", UPLO))


def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> return_types.linalg_svd:
    """A = U diag(S) Vh; U (…, m, m) and Vh (…, n, n), or with k = min(m, n) columns and rows.

    The gradient by U and Vh exists where the singular values differ, for functions that do not depend on
    their sign or phase. `driver` is PyTorch's of CUDA. Example: `gm.linalg.svd(gm.eye(2)).S` is `tensor([1., 1.])`.
    """
    _no_driver("linalg.svd", driver)
    return return_types.linalg_svd(*many("linalg_svd", A, full=full_matrices))


def linalg_svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, descending, (…, min(m, n)). Example: `gm.linalg.svdvals(gm.eye(2))` is `tensor([1., 1.])`."""
    _no_driver("linalg.svdvals", driver)
    return one("linalg_svdvals", A)


def _no_driver(function: str, driver: str | None) -> None:
    if driver is not None:
        raise AttributeTypeError(
            f"{function}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.",
            op=function,
            expected="None",
            got=repr(driver),
        )


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.svd:
    """`linalg.svd` with V instead of its adjoint; `some` has it reduced, without `compute_uv` U and V are zeros.

    Example: `gm.svd(gm.eye(2)).S` is `tensor([1., 1.])`.
    """
    if not compute_uv:
        m, n = input.shape[-2:]
        lead = tuple(input.shape[:-2])
        return return_types.svd(new_zeros(input, (*lead, m, m)), linalg_svdvals(input), new_zeros(input, (*lead, n, n)))
    u, s, vh = many("linalg_svd", input, full=not some)
    return return_types.svd(u, s, adjoint(vh))


def _approximate_basis(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """Orthonormal columns that nearly span A - M: Halko, Martinsson, Tropp (2009), algorithm 4.4."""
    from gradmesh._functions.linalg import matmul
    from gradmesh._sampling import randn

    def times(X: Tensor, turned: bool) -> Tensor:
        Y = matmul(adjoint(A) if turned else A, X)
        return Y if M is None else Y - matmul(adjoint(M) if turned else M, X)

    def orthonormal(X: Tensor) -> Tensor:
        return linalg_qr(X).Q

    size = (A.shape[-1], q)
    if dtypes.is_complex(spec(A).dtype):
        parts = dtypes.real_of(spec(A).dtype).name
        start = complex(randn(size, dtype=parts), randn(size, dtype=parts))
    else:
        start = randn(size, dtype=A.dtype)
    basis = orthonormal(times(start, False))
    for _ in range(niter):
        basis = orthonormal(times(orthonormal(times(basis, True)), False))
    return basis


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U (…, m, q), S (…, q) and V (…, n, q) that approximate A - M: Halko et al. (2009), algorithm 5.1.

    Random: `gm.manual_seed` decides. Example: `gm.svd_lowrank(gm.eye(2), q=2)[1]` is `tensor([1., 1.])`.
    """
    from gradmesh._functions.layout import broadcast_to
    from gradmesh._functions.linalg import matmul

    wide = A.shape[-2] < A.shape[-1]
    if M is not None:
        M = broadcast_to(M, tuple(A.shape))
    if wide:
        A, M = adjoint(A), None if M is None else adjoint(M)
    basis = _approximate_basis(A, 6 if q is None else q, 2 if niter is None else niter, M)
    small = matmul(adjoint(basis), A)
    if M is not None:
        small = small - matmul(adjoint(basis), M)
    u, s, vh = linalg_svd(small, full_matrices=False)
    left, right = matmul(basis, u), adjoint(vh)
    return (right, s, left) if wide else (left, s, right)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """`svd_lowrank` of A with the mean of its rows taken away: the columns of V are the principal directions.

    Random: `gm.manual_seed` decides. Example: `gm.pca_lowrank(gm.ones(3, 2))[1]` is about `tensor([0., 0.])`.
    """
    from gradmesh._functions.reduce import mean

    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise AttributeTypeError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}",
            op="pca_lowrank",
            expected=f"0 to {min(m, n)}",
            got=str(q),
        )
    return svd_lowrank(A - mean(A, -2, keepdim=True) if center else A, q, niter)


# --- QR -------------------------------------------------------------------------------------------


def linalg_qr(A: Tensor, mode: str = "reduced") -> return_types.linalg_qr:
    """A = Q R: "reduced" has k = min(m, n) columns, "complete" m; "r" computes R only, and Q is empty.

    Not differentiable in mode "r", nor "complete" where m > n. Example: `gm.linalg.qr(gm.eye(2)).Q.shape` is (2, 2).
    """
    q, r = many("linalg_qr", A, mode=mode)
    return return_types.linalg_qr(q, r)


def qr(input: Tensor, some: bool = True) -> return_types.qr:
    """`linalg.qr`, reduced or complete. Example: `gm.qr(gm.eye(2)).R.shape` is (2, 2)."""
    q, r = many("linalg_qr", input, mode="reduced" if some else "complete")
    return return_types.qr(q, r)


def geqrf(input: Tensor) -> return_types.geqrf:
    """A QR factorization as `ormqr` and `orgqr` take it; not differentiable, as in PyTorch.

    Example: `gm.geqrf(gm.eye(2)).tau` is `tensor([0., 0.])`.
    """
    return return_types.geqrf(*many("geqrf", input))


def linalg_householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of the reflections in the columns of A (…, m, n), with factors tau (…, k).

    Example: `gm.linalg.householder_product(gm.eye(2), gm.zeros(2))` is the identity.
    """
    return one("linalg_householder_product", A, tau)


def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q times `other`, or `other` times Q, where Q is the product of the reflections in `input`, or its adjoint.

    Example: `gm.ormqr(gm.eye(2), gm.zeros(2), gm.ones(2, 1))` is `tensor([[1.], [1.]])`.
    """
    return one("ormqr", input, tau, other, left=left, transpose=transpose)


# --- Cholesky -------------------------------------------------------------------------------------


def linalg_cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangle L with A = L L^H, or the upper U with A = U^H U, of Hermitian positive-definite matrices.

    Example: `gm.linalg.cholesky(gm.tensor([[4.]]))` is `tensor([[2.]])`.
    """
    return many("linalg_cholesky_ex", A, upper=upper, check="linalg.cholesky")[0]


def linalg_cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False
) -> return_types.linalg_cholesky_ex:
    """`linalg.cholesky` that reports in `info` where a matrix fails, unless `check_errors`.

    Example: `gm.linalg.cholesky_ex(gm.tensor([[-1.]])).info` is 1.
    """
    check = "linalg.cholesky" if check_errors else ""
    return return_types.linalg_cholesky_ex(*many("linalg_cholesky_ex", A, upper=upper, check=check))


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """`linalg.cholesky` under its older name. Example: `gm.cholesky(gm.tensor([[4.]]))` is `tensor([[2.]])`."""
    return one("cholesky", input, upper=upper)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The solution of A X = B where L is the Cholesky factor of A.

    Example: `gm.cholesky_solve(gm.tensor([[8.]]), gm.tensor([[2.]]))` is `tensor([[2.]])`.
    """
    return one("cholesky_solve", B, L, upper=upper)


def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A where `input` is the Cholesky factor of A.

    Example: `gm.cholesky_inverse(gm.tensor([[2.]]))` is `tensor([[0.2500]])`.
    """
    return one("cholesky_inverse", input, upper=upper)


# --- LU and LDL -----------------------------------------------------------------------------------


def _pivoted(function: str, pivot: bool) -> None:
    if not pivot:
        raise AttributeTypeError(
            f"{function}: LU without pivoting is not implemented on the CPU", op=function, expected="pivot=True"
        )


def linalg_lu_factor(A: Tensor, *, pivot: bool = True) -> return_types.linalg_lu_factor:
    """L and U in one matrix, and pivots counted from 1; a pivot of 0 raises LinAlgError.

    Example: `gm.linalg.lu_factor(gm.eye(2)).pivots` is `tensor([1, 2], dtype=torch.int32)`.
    """
    _pivoted("linalg.lu_factor", pivot)
    lu, pivots, _ = many("linalg_lu_factor_ex", A, check="linalg.lu_factor")
    return return_types.linalg_lu_factor(lu, pivots)


def linalg_lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> return_types.linalg_lu_factor_ex:
    """`linalg.lu_factor` that reports a pivot of 0 in `info`, unless `check_errors`.

    Example: `gm.linalg.lu_factor_ex(gm.zeros(1, 1)).info` is 1.
    """
    _pivoted("linalg.lu_factor_ex", pivot)
    check = "linalg.lu_factor" if check_errors else ""
    return return_types.linalg_lu_factor_ex(*many("linalg_lu_factor_ex", A, check=check))


def _permutation(pivots: Tensor, size: int, like: Tensor) -> Tensor:
    return one("pivots_to_permutation", pivots, size=size, dtype=spec(like).dtype.name)


def linalg_lu(A: Tensor, *, pivot: bool = True) -> return_types.linalg_lu:
    """A = P L U: a permutation, a lower triangle with ones on its diagonal, an upper triangle.

    Example: `gm.linalg.lu(gm.eye(2)).U` is the identity.
    """
    _pivoted("linalg.lu", pivot)
    lower, upper = many("linalg_lu", A)
    _, pivots, _ = many("linalg_lu_factor_ex", A.detach())
    return return_types.linalg_lu(_permutation(pivots, A.shape[-2], A), lower, upper)


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """`linalg.lu_factor`, with info on demand; a pivot of 0 raises LinAlgError without it.

    Example: `gm.lu(gm.eye(2))[1]` is `tensor([1, 2], dtype=torch.int32)`.
    """
    _pivoted("lu", pivot)
    results = many("linalg_lu_factor_ex", A, check="" if get_infos else "linalg.lu_factor")
    return results if get_infos else results[:2]


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> return_types.lu_unpack:
    """P, L and U of what `linalg.lu_factor` gives; what is not asked for is empty.

    Example: `gm.lu_unpack(*gm.linalg.lu_factor(gm.eye(2))).L` is the identity.
    """
    lower, upper = many("lu_unpack", LU_data) if unpack_data else (new_empty(LU_data, (0,)), new_empty(LU_data, (0,)))
    permutation = _permutation(LU_pivots, LU_data.shape[-2], LU_data) if unpack_pivots else new_empty(LU_data, (0,))
    return return_types.lu_unpack(permutation, lower, upper)


def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The solution of A X = B (X A = B, A^H X = B) with the factors of A.

    Example: `gm.linalg.lu_solve(*gm.linalg.lu_factor(gm.eye(2)), gm.ones(2, 1))` is `tensor([[1.], [1.]])`.
    """
    return one("linalg_lu_solve", LU, pivots, B, left=left, adjoint=adjoint)


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """`linalg.lu_solve` under its older name.

    Example: `gm.lu_solve(gm.ones(2, 1), *gm.linalg.lu_factor(gm.eye(2)))` is `tensor([[1.], [1.]])`.
    """
    return linalg_lu_solve(LU_data, LU_pivots, b)


def linalg_ldl_factor(A: Tensor, *, hermitian: bool = False) -> return_types.linalg_ldl_factor:
    """A = L D L^T (L^H where `hermitian`): L below D in one matrix, and pivots; not differentiable, as in PyTorch.

    Example: `gm.linalg.ldl_factor(gm.eye(2)).LD` is the identity.
    """
    ld, pivots, _ = many("linalg_ldl_factor_ex", A, hermitian=hermitian)
    return return_types.linalg_ldl_factor(ld, pivots)


def linalg_ldl_factor_ex(
    A: Tensor, *, hermitian: bool = False, check_errors: bool = False
) -> return_types.linalg_ldl_factor_ex:
    """`linalg.ldl_factor` and info, which is not 0 where D is singular.

    Example: `gm.linalg.ldl_factor_ex(gm.eye(2)).info` is 0.
    """
    return return_types.linalg_ldl_factor_ex(*many("linalg_ldl_factor_ex", A, hermitian=hermitian))


def linalg_ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The solution of A X = B with the factors of `linalg.ldl_factor`; not differentiable, as in PyTorch.

    Example: `gm.linalg.ldl_solve(*gm.linalg.ldl_factor(gm.eye(2)), gm.ones(2, 1))` is `tensor([[1.], [1.]])`.
    """
    return one("linalg_ldl_solve", LD, pivots, B, hermitian=hermitian)


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> return_types.triangular_solve:
    """The solution of A X = b, or A^T X = b, with one triangle of A; and a copy of A.

    Example: `gm.triangular_solve(gm.ones(2, 1), gm.eye(2)).solution` is `tensor([[1.], [1.]])`.
    """
    results = many("triangular_solve", b, A, upper=upper, transpose=transpose, unit=unitriangular)
    return return_types.triangular_solve(*results)


orgqr = linalg_householder_product
