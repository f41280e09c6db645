"""Linear algebra under PyTorch's names and signatures.

An operand is a matrix (m, n) or a batch of them (…, m, n), of float32, float64, complex64 or
complex128. A matrix that has no such factorization raises `gradmesh.errors.LinAlgError`, which names the
batch element, when a result is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh._functions._common import one
from gradmesh._functions.factor import (
    linalg_cholesky as cholesky,
)
from gradmesh._functions.factor import (
    linalg_cholesky_ex as cholesky_ex,
)
from gradmesh._functions.factor import (
    linalg_eig as eig,
)
from gradmesh._functions.factor import (
    linalg_eigh as eigh,
)
from gradmesh._functions.factor import (
    linalg_eigvals as eigvals,
)
from gradmesh._functions.factor import (
    linalg_eigvalsh as eigvalsh,
)
from gradmesh._functions.factor import (
    linalg_householder_product as householder_product,
)
from gradmesh._functions.factor import (
    linalg_ldl_factor as ldl_factor,
)
from gradmesh._functions.factor import (
    linalg_ldl_factor_ex as ldl_factor_ex,
)
from gradmesh._functions.factor import (
    linalg_ldl_solve as ldl_solve,
)
from gradmesh._functions.factor import (
    linalg_lu as lu,
)
from gradmesh._functions.factor import (
    linalg_lu_factor as lu_factor,
)
from gradmesh._functions.factor import (
    linalg_lu_factor_ex as lu_factor_ex,
)
from gradmesh._functions.factor import (
    linalg_lu_solve as lu_solve,
)
from gradmesh._functions.factor import (
    linalg_qr as qr,
)
from gradmesh._functions.factor import (
    linalg_svd as svd,
)
from gradmesh._functions.factor import (
    linalg_svdvals as svdvals,
)
from gradmesh._functions.linalg import matmul
from gradmesh._functions.solve import (
    linalg_cond as cond,
)
from gradmesh._functions.solve import (
    linalg_det as det,
)
from gradmesh._functions.solve import (
    linalg_inv as inv,
)
from gradmesh._functions.solve import (
    linalg_inv_ex as inv_ex,
)
from gradmesh._functions.solve import (
    linalg_lstsq as lstsq,
)
from gradmesh._functions.solve import (
    linalg_matrix_exp as matrix_exp,
)
from gradmesh._functions.solve import (
    linalg_matrix_norm as matrix_norm,
)
from gradmesh._functions.solve import (
    linalg_matrix_power as matrix_power,
)
from gradmesh._functions.solve import (
    linalg_matrix_rank as matrix_rank,
)
from gradmesh._functions.solve import (
    linalg_multi_dot as multi_dot,
)
from gradmesh._functions.solve import (
    linalg_norm as norm,
)
from gradmesh._functions.solve import (
    linalg_pinv as pinv,
)
from gradmesh._functions.solve import (
    linalg_slogdet as slogdet,
)
from gradmesh._functions.solve import (
    linalg_solve as solve,
)
from gradmesh._functions.solve import (
    linalg_solve_ex as solve_ex,
)
from gradmesh._functions.solve import (
    linalg_solve_triangular as solve_triangular,
)
from gradmesh._functions.solve import (
    linalg_tensorinv as tensorinv,
)
from gradmesh._functions.solve import (
    linalg_tensorsolve as tensorsolve,
)
from gradmesh._functions.solve import (
    linalg_vander as vander,
)
from gradmesh._functions.solve import (
    linalg_vecdot as vecdot,
)
from gradmesh._functions.solve import (
    linalg_vector_norm as vector_norm,
)
from gradmesh_engine.errors import LinAlgError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors along a dim of size 3; the other dims broadcast.

    Example: `gm.linalg.cross(gm.tensor([1., 0., 0.]), gm.tensor([0., 1., 0.]))` is `tensor([0., 0., 1.])`.
    """
    return one("linalg_cross", input, other, dim=dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, a view. Example: `gm.linalg.diagonal(gm.eye(2))` is `tensor([1., 1.])`."""
    return one("diagonal", A, offset=offset, dim1=dim1, dim2=dim2)
