"""Linear systems, inverses, determinants, norms and functions of matrices: `gm.linalg` has them.

An operand is a matrix (m, n) or a batch of them (…, m, n), of float32, float64, complex64 or
complex128. A wrong shape or dtype raises ShapeError or DTypeError at the call; a singular matrix raises
LinAlgError, which names the batch element, when a result is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _creation, _dtype, _tensor, _trace, return_types
from gradmesh._functions._common import Dims, cast, dim_of, ints, many, maybe_cast, one, scalar, spec
from gradmesh._functions.binary import pow as power
from gradmesh._functions.convert import conj
from gradmesh._functions.factor import linalg_eigvalsh, linalg_svdvals
from gradmesh._functions.layout import flatten, permute, reshape, squeeze, unsqueeze
from gradmesh._functions.linalg import matmul, mm
from gradmesh._functions.products import vdot
from gradmesh._functions.reduce import amax, amin, cumprod, sum
from gradmesh._functions.select import cat, masked_fill, where
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = ["chain_matmul", "det", "inverse", "logdet", "matrix_exp", "matrix_power", "pinverse", "slogdet", "vander"]

# --- systems --------------------------------------------------------------------------------------


def linalg_solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The solution of A X = B, or X A = B; B is (…, n, k), or (…, n) of vectors. Batch dims broadcast.

    Example: `gm.linalg.solve(2 * gm.eye(2), gm.ones(2))` is `tensor([0.5000, 0.5000])`.
    """
    return many("linalg_solve_ex", A, B, left=left, check="linalg.solve")[0]


def linalg_solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> return_types.linalg_solve_ex:
    """`linalg.solve` that reports a singular matrix in `info`, unless `check_errors`.

    Example: `gm.linalg.solve_ex(gm.eye(2), gm.ones(2)).info` is 0.
    """
    check = "linalg.solve" if check_errors else ""
    return return_types.linalg_solve_ex(*many("linalg_solve_ex", A, B, left=left, check=check))


def linalg_inv(A: Tensor) -> Tensor:
    """Inverses of square matrices. Example: `gm.linalg.inv(gm.tensor([[2.]]))` is `tensor([[0.5000]])`."""
    return many("linalg_inv_ex", A, check="linalg.inv")[0]


def linalg_inv_ex(A: Tensor, *, check_errors: bool = False) -> return_types.linalg_inv_ex:
    """`linalg.inv` that reports a singular matrix in `info`, unless `check_errors`.

    Example: `gm.linalg.inv_ex(gm.eye(2)).info` is 0.
    """
    return return_types.linalg_inv_ex(*many("linalg_inv_ex", A, check="linalg.inv" if check_errors else ""))


def linalg_solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The solution of A X = B, or X A = B, with one triangle of A, its diagonal taken for ones if `unitriangular`.

    Example: `gm.linalg.solve_triangular(gm.eye(2), gm.ones(2, 1), upper=True)` is `tensor([[1.], [1.]])`.
    """
    return one("linalg_solve_triangular", A, B, upper=upper, left=left, unit=unitriangular)


def linalg_tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of what tensordot over the dims from `ind` on does.

    Example: `gm.linalg.tensorinv(gm.eye(4).reshape(2, 2, 2, 2)).shape` is (2, 2, 2, 2).
    """
    if ind <= 0:
        raise AttributeTypeError("Expected a strictly positive integer for 'ind'", expected="at least 1", got=str(ind))
    last, first = tuple(A.shape[ind:]), tuple(A.shape[:ind])
    if math.prod(last) != math.prod(first):
        raise ShapeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{math.prod(last)} != {math.prod(first)}",
            op="linalg_tensorinv",
            got=str(list(A.shape)),
        )
    square = reshape(A, (math.prod(last), math.prod(first)))
    return one("reshape_alias", linalg_inv(square), shape=last + first)


def linalg_tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B, once `dims` of A are moved to the end.

    Example: `gm.linalg.tensorsolve(gm.eye(4).reshape(4, 2, 2), gm.ones(4)).shape` is (2, 2).
    """
    if dims is not None:
        moved = [dim_of(d, A.ndim) for d in dims]
        A = permute(A, [d for d in range(A.ndim) if d not in moved] + moved)
    result = tuple(A.shape[B.ndim :])
    size = math.prod(result)
    if size != math.prod(A.shape[: B.ndim]):
        raise ShapeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {size} != {math.prod(A.shape[: B.ndim])}",
            op="linalg_tensorsolve",
            got=str(list(A.shape)),
        )
    return reshape(linalg_solve(reshape(A, (size, size)), flatten(B)), result)


# --- least squares --------------------------------------------------------------------------------


def _eps(tensor: Tensor) -> float:
    return float(np.finfo(spec(tensor).dtype).eps)


def _tolerances(A: Tensor, atol: Tensor | float | None, rtol: Tensor | float | None) -> tuple[Tensor, Tensor]:
    """Both as tensors; without an absolute one the relative one is the dtype's rounding times the larger side."""
    real = dtypes.real_of(spec(A).dtype)
    default = _eps(A) * max(A.shape[-2:])

    def lifted(value: Tensor | float) -> Tensor:
        return cast(value, real) if isinstance(value, _tensor.Tensor) else scalar(value, real)

    if rtol is not None:
        return lifted(0.0 if atol is None else atol), lifted(rtol)
    if atol is None:
        return lifted(0.0), lifted(default)
    absolute = lifted(atol)
    return absolute, where(absolute > 0.0, scalar(0.0, real), scalar(default, real))


def linalg_pinv(
    A: Tensor,
    rcond: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """Moore-Penrose inverses (…, n, m); singular values up to max(atol, rtol * the largest) count as 0.

    Example: `gm.linalg.pinv(gm.tensor([[2.], [0.]]))` is `tensor([[0.5000, 0.0000]])`.
    """
    absolute, relative = _tolerances(A, atol, rcond if rtol is None else rtol)
    return one("linalg_pinv", A, absolute, relative, hermitian=hermitian)


def linalg_matrix_rank(
    A: Tensor,
    tol: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """How many singular values are above max(atol, rtol * the largest), int64 (…).

    Example: `gm.linalg.matrix_rank(gm.eye(2))` is `tensor(2)`.
    """
    if tol is not None:
        atol, rtol = tol, 0.0
    A = A.detach()
    if not math.prod(A.shape[-2:]):
        return sum(cast(reshape(A, (*A.shape[:-2], 0)), dtypes.bool_), -1)
    absolute, relative = _tolerances(A, atol, rtol)
    values = linalg_eigvalsh(A).abs() if hermitian else linalg_svdvals(A)
    bound = one("maximum", absolute, relative * amax(values, -1))
    return sum(values > unsqueeze(bound, -1), -1)


_DRIVERS = ("gelsy", "gelsd", "gelss", "gels")


def linalg_lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> return_types.linalg_lstsq:
    """X (…, n, k) that makes |A X - B| smallest, the shortest such; B is (…, m, k), or (…, m) of vectors.

    All `driver`s compute it from the singular values, of which those up to rcond times the largest count as 0.
    The driver says which other results there are, as in PyTorch: "gelsd" and "gelss" have all of them, "gelsy"
    (the default) the rank, "gels" the residuals. Residuals are there where m > n and all ranks are n, which is
    evaluated. Example: `gm.linalg.lstsq(gm.ones(2, 1), gm.ones(2, 1)).rank` is `tensor(1)`.
    """
    name = driver or "gelsy"
    if name not in _DRIVERS:
        raise AttributeTypeError(
            f"torch.linalg.lstsq: parameter `driver` should be one of {_DRIVERS}", expected=str(_DRIVERS), got=name
        )
    if A.ndim < 2:
        raise ShapeError("torch.linalg.lstsq: input must have at least 2 dimensions.", got=str(list(A.shape)))
    m, n = A.shape[-2:]
    real = dtypes.real_of(spec(A).dtype)
    bound = scalar(_eps(A) * max(m, n) if rcond is None else rcond, real)
    has_residuals = m > n and name != "gelsy"
    if has_residuals and name != "gels":
        ranks = many("linalg_lstsq", A.detach(), B.detach(), bound)[2]
        has_residuals = bool((ranks == n).all())
    solution, residuals, rank, values = many("linalg_lstsq", A, B, bound, residuals=has_residuals)
    return return_types.linalg_lstsq(
        solution,
        residuals,
        rank.new_empty((0,)) if name == "gels" else rank,
        values.detach() if name in ("gelsd", "gelss") else values.new_empty((0,)),
    )


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """`linalg.pinv` under its older name. Example: `gm.pinverse(gm.tensor([[2.]]))` is `tensor([[0.5000]])`."""
    return linalg_pinv(input, rcond)


# --- determinants ---------------------------------------------------------------------------------


def det(A: Tensor) -> Tensor:
    """Determinants (…) of square matrices; the gradient exists where one is 0 too.

    Example: `gm.det(2 * gm.eye(2))` is `tensor(4.)`.
    """
    return one("linalg_det", A)


def slogdet(A: Tensor) -> return_types.linalg_slogdet:
    """The sign (phase) of determinants, and the logarithm of their absolute values.

    Example: `gm.slogdet(gm.eye(2)).logabsdet` is `tensor(0.)`.
    """
    return return_types.linalg_slogdet(*many("linalg_slogdet", A))


def logdet(input: Tensor) -> Tensor:
    """Logarithms of determinants, NaN where one is negative. Example: `gm.logdet(gm.eye(2))` is `tensor(0.)`."""
    return one("logdet", input)


# --- functions of matrices ------------------------------------------------------------------------


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices. Example: `gm.matrix_exp(gm.zeros(1, 1))` is `tensor([[1.]])`."""
    return one("linalg_matrix_exp", A)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A times itself n times, by squaring; a negative n takes the inverse first.

    Example: `gm.linalg.matrix_power(2 * gm.eye(1), 3)` is `tensor([[8.]])`.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {tuple(A.shape[-2:])}",
            op="linalg_matrix_power",
            got=str(list(A.shape)),
        )
    if n == 0:
        return A.clone().copy_(_creation.eye(A.shape[-1], dtype=A.dtype))
    if n < 0:
        A, n = linalg_inv(A), -n
        if n == 1:
            return A
    if n == 1:
        return A.clone()
    if n == 3:
        return matmul(matmul(A, A), A)
    result: Tensor | None = None
    square: Tensor | None = None
    while n:
        square = A if square is None else matmul(square, square)
        n, bit = divmod(n, 2)
        if bit:
            result = square if result is None else matmul(result, square)
    assert result is not None
    return result


def linalg_multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices, in the order that takes the fewest steps; the first and last may be vectors.

    Example: `gm.linalg.multi_dot([gm.ones(1, 2), gm.ones(2)])` is `tensor([2.])`.
    """
    if len(tensors) < 2:
        raise ShapeError("multi_dot(): expected at least 2 tensors", op="linalg_multi_dot", got=str(len(tensors)))
    matrices = list(tensors)
    shape: tuple[int, ...] = ()
    if matrices[0].ndim == 1:
        matrices[0] = unsqueeze(matrices[0], 0)
    else:
        shape += (matrices[0].shape[0],)
    if matrices[-1].ndim == 1:
        matrices[-1] = unsqueeze(matrices[-1], -1)
    else:
        shape += (matrices[-1].shape[-1],)
    for left, right in zip(matrices, matrices[1:], strict=False):
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise ShapeError(
                "multi_dot(): tensors cannot be multiplied",
                op="linalg_multi_dot",
                got=" and ".join(str(list(t.shape)) for t in (left, right)),
            )
    sizes = [m.shape[0] for m in matrices] + [matrices[-1].shape[1]]
    cuts = _cheapest(sizes)

    def chained(i: int, j: int) -> Tensor:
        if i == j:
            return matrices[i]
        k = cuts[i][j]
        return mm(chained(i, k), chained(k + 1, j))

    return reshape(chained(0, len(matrices) - 1), shape)


def _cheapest(sizes: Sequence[int]) -> list[list[int]]:
    """Where to cut each part of a chain of matrices: Cormen et al., Introduction to Algorithms, section 15.2."""
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            found = [(cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i][j], cut[i][j] = min(found)
    return cut


def chain_matmul(*matrices: Tensor) -> Tensor:
    """`linalg.multi_dot` under its older name. Example: `gm.chain_matmul(gm.eye(2), gm.eye(2))` is the identity."""
    return linalg_multi_dot(matrices)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector, the highest first: (n,) is (n, N), by default (n, n).

    Example: `gm.vander(gm.tensor([2.]), 3)` is `tensor([[4., 2., 1.]])`.
    """
    if x.ndim != 1:
        raise ShapeError("x must be a one-dimensional tensor.", op="vander", got=f"{x.ndim} dims")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise ShapeError(f"N must be non-negative. Got {count}", op="vander", got=str(count))
    powers = range(count) if increasing else range(count - 1, -1, -1)
    exponents = _trace.constant(np.array(list(powers), np.int64))
    return power(unsqueeze(x, 1), exponents)


def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Rows of powers 0 to N - 1 of each element, (…, n, N); N is n when absent.

    Example: `gm.linalg.vander(gm.tensor([2.]), N=3)` is `tensor([[1., 2., 4.]])`.
    """
    if spec(x).dtype == dtypes.bool_:
        raise DTypeError("linalg.vander: expected a tensor of numbers", op="linalg_vander", got="bool")
    if N is None and not x.ndim:
        raise ShapeError("linalg.vander: a number needs N", op="linalg_vander", expected="at least 1 dim")
    x = x if x.ndim else reshape(x, (1,))
    if N is not None and N <= 1:
        raise AttributeTypeError("N must be greater than 1.", op="linalg_vander", expected="at least 2", got=str(N))
    count = x.shape[-1] if N is None else N
    columns = unsqueeze(x, -1)
    powers = cumprod(columns.expand(*x.shape, count - 1), -1)
    return cat([columns.new_ones((*x.shape, 1)), powers], -1)


# --- norms ----------------------------------------------------------------------------------------


def linalg_vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Dims | None = None,
    keepdim: bool = False,
    *,
    dtype: _dtype.DTypeLike | None = None,
) -> Tensor:
    """The norm of order `ord` of the elements over dims, of all when absent; inf takes the largest, 0 counts.

    Example: `gm.linalg.vector_norm(gm.tensor([3., 4.]))` is `tensor(5.)`.
    """
    attrs: dict[str, Any] = {} if dim is None else {"dim": ints("linalg.vector_norm", "dim", dim)}
    return one("norm", maybe_cast(x, dtype), p=float(ord), keepdim=keepdim, **attrs)


def _two_dims(dim: Sequence[int], rank: int) -> tuple[int, int]:
    dims = tuple(dim_of(d, rank) for d in dim)
    if len(dims) != 2 or dims[0] == dims[1]:
        raise AxisError(
            f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}", expected="two dims", got=str(tuple(dim))
        )
    return dims[0], dims[1]


def linalg_matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: _dtype.DTypeLike | None = None,
) -> Tensor:
    """A norm of the matrices in two dims: "fro", "nuc", inf, -inf, 1, -1, 2 or -2.

    Example: `gm.linalg.matrix_norm(gm.ones(2, 2))` is `tensor(2.)`.
    """
    if A.ndim < 2:
        raise ShapeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions.", got=str(list(A.shape))
        )
    first, second = _two_dims(dim, A.ndim)
    A = maybe_cast(A, dtype)
    if ord == "fro":
        return linalg_vector_norm(A, 2, (first, second), keepdim)
    if isinstance(ord, str) and ord != "nuc":
        raise AttributeTypeError(f"linalg.matrix_norm: Order {ord} not supported.", expected="fro or nuc", got=ord)
    if not isinstance(ord, str) and abs(ord) not in (1, 2, math.inf):
        raise AttributeTypeError(
            f"linalg.matrix_norm: Order {ord} not supported.", expected="inf, -inf, 1, -1, 2 or -2", got=str(ord)
        )
    if isinstance(ord, str) or abs(ord) == 2:
        order = [d for d in range(A.ndim) if d not in (first, second)] + [first, second]
        values = linalg_svdvals(permute(A, order))
        if isinstance(ord, str):
            result = sum(values, -1, keepdim=keepdim)
        else:
            result = (amax if ord > 0 else amin)(values, -1, keepdim)
        if keepdim:
            result = permute(unsqueeze(result, -1), [order.index(d) for d in range(A.ndim)])
        return result
    if math.isinf(ord):
        first, second = second, first
    if not keepdim and first < second:
        second -= 1
    sizes = linalg_vector_norm(A, 1, (first,), keepdim)
    return (amax if ord > 0 else amin)(sizes, second, keepdim)


def linalg_norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Dims | None = None,
    keepdim: bool = False,
    *,
    dtype: _dtype.DTypeLike | None = None,
) -> Tensor:
    """`matrix_norm` over two dims, else `vector_norm`; without `ord` the 2-norm of all elements.

    Example: `gm.linalg.norm(gm.tensor([3., 4.]))` is `tensor(5.)`.
    """
    dims = None if dim is None else ints("linalg.norm", "dim", dim)
    if ord is not None:
        if dims is None and A.ndim not in (1, 2):
            raise ShapeError(
                f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D.",
                expected="1 or 2 dims",
                got=str(list(A.shape)),
            )
        if isinstance(ord, str) or (dims is None and A.ndim == 2) or (dims is not None and len(dims) == 2):
            return linalg_matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)
    return linalg_vector_norm(A, 2 if ord is None else float(ord), dims, keepdim, dtype=dtype)


def linalg_cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number in a matrix norm, the ratio of the extreme singular values when absent.

    Example: `gm.linalg.cond(gm.eye(2))` is `tensor(1.)`.
    """
    if p is None or p in (2, -2):
        values = linalg_svdvals(A)
        largest, smallest = values.narrow(-1, 0, 1), values.narrow(-1, values.shape[-1] - 1, 1)
        return squeeze(smallest / largest if p == -2 else largest / smallest, -1)
    inverse, info = linalg_inv_ex(A)
    inverse = masked_fill(inverse, reshape(info, (*info.shape, 1, 1)) > 0, math.inf)
    result = linalg_matrix_norm(A, p) * linalg_matrix_norm(inverse, p)
    return masked_fill(result, result.isnan(), math.inf)


def linalg_vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The product of the conjugate of x and y, summed over a dim; the others broadcast.

    Example: `gm.linalg.vecdot(gm.ones(3), gm.ones(3))` is `tensor(3.)`.
    """
    if x.ndim == 1 and y.ndim == 1:
        return vdot(x, y)
    return sum(conj(x) * y, dim)


linalg_det = det
linalg_slogdet = slogdet
linalg_matrix_exp = matrix_exp
linalg_matrix_power = matrix_power
inverse = linalg_inv
