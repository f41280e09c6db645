"""Products of vectors and blocks, distances and covariances. Shapes that do not fit raise ShapeError at the call."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _trace
from gradmesh._functions._common import Number, lift, number, one, scalar, spec, tensors_of
from gradmesh._functions.convert import complex, conj, imag, real
from gradmesh._functions.layout import diag, reshape, squeeze, t, unsqueeze
from gradmesh._functions.linalg import mm, tensordot
from gradmesh._functions.reduce import sum
from gradmesh._functions.select import index_select, stack
from gradmesh._functions.unary import sqrt
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "addbmm",
    "addmv",
    "addr",
    "block_diag",
    "cartesian_prod",
    "cdist",
    "combinations",
    "corrcoef",
    "cov",
    "cross",
    "dist",
    "ger",
    "inner",
    "kron",
    "renorm",
    "vdot",
]

# --- products with a term added ---------------------------------------------------------------------


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """`beta * input + alpha * (mat @ vec)`.

    Example: `gm.addmv(gm.ones(1), gm.ones(1, 2), gm.ones(2))` is `tensor([3.])`.
    """
    return one("addmv", input, mat, vec, beta=number(beta), alpha=number(alpha))


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """`beta * input + alpha *` the sum over the batch of the products of its matrices.

    Example: `gm.addbmm(gm.ones(1), gm.ones(2, 1, 2), gm.ones(2, 2, 1))` is `tensor([[5.]])`.
    """
    return one("addbmm", input, batch1, batch2, beta=number(beta), alpha=number(alpha))


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`.

    Example: `gm.addr(gm.ones(1), gm.ones(1), gm.ones(2))` is `tensor([[2., 2.]])`.
    """
    return one("addr", input, vec1, vec2, beta=number(beta), alpha=number(alpha))


# --- products of vectors and blocks -----------------------------------------------------------------


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products of the conjugate of a vector and another.

    Example: `gm.vdot(gm.ones(2), gm.ones(2))` is `tensor(2.)`.
    """
    return one("vdot", input, other)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products over the last dims: (…, n) and (… ', n) give (…, … ').

    Example: `gm.inner(gm.ones(2, 3), gm.ones(3))` is `tensor([3., 3.])`.
    """
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}",
            op="inner",
            expected=str(input.shape[-1]),
            got=str(other.shape[-1]),
        )
    return tensordot(input, other, ((-1,), (-1,)))


def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """`outer` under its older name. Example: `gm.ger(gm.ones(2), gm.ones(1))` is `tensor([[1.], [1.]])`."""
    return one("outer", input, vec2)


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors along a dim of size 3, the first such when absent.

    Example: `gm.cross(gm.tensor([1., 0., 0.]), gm.tensor([0., 1., 0.]))` is `tensor([0., 0., 1.])`.
    """
    if dim is None:
        found = [d for d, size in enumerate(input.shape) if size == 3]
        if not found:
            raise ShapeError("no dimension of size 3 in input", op="cross", got=str(list(input.shape)))
        dim = found[0]
    return one("linalg_cross", input, other, dim=dim)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Each element of `input` times `other`, side by side.

    Example: `gm.kron(gm.tensor([1., 2.]), gm.ones(2))` is `tensor([1., 1., 2., 2.])`.
    """
    return one("kron", input, other)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the operands, of at most two dims, on its diagonal.

    Example: `gm.block_diag(gm.ones(1, 1), gm.ones(1, 1))` is the identity.
    """
    return one("block_diag", *tensors)


# --- choices --------------------------------------------------------------------------------------


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """The choices of r elements of a vector, one a row, in order.

    Example: `gm.combinations(gm.arange(3))` is `tensor([[0, 1], [0, 2], [1, 2]])`.
    """
    if input.ndim != 1:
        raise ShapeError(f"Expect a 1D vector, but got shape {list(input.shape)}", op="combinations")
    if r < 0:
        raise AxisError(f"Expect a non-negative number, but got {r}", op="combinations", got=str(r))
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    picks = np.array(list(choose(range(input.shape[0]), r)), np.int64).reshape(-1, r)
    columns = [index_select(input, 0, _trace.constant(np.ascontiguousarray(picks[:, i]))) for i in range(r)]
    return stack(columns, 1)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every row of one element of each vector, the last changing fastest.

    Example: `gm.cartesian_prod(gm.arange(1), gm.arange(2))` is `tensor([[0, 0], [0, 1]])`.
    """
    vectors = tensors_of("cartesian_prod", tensors)
    for v in vectors:
        if v.ndim != 1:
            raise ShapeError(f"Expect a 1D vector, but got shape {list(v.shape)}", op="cartesian_prod")
    if len(vectors) == 1:
        return vectors[0]
    sizes = tuple(v.shape[0] for v in vectors)
    columns = []
    for i, v in enumerate(vectors):
        along = reshape(v, tuple(n if i == j else 1 for j, n in enumerate(sizes)))
        columns.append(reshape(along.expand(*sizes), (-1,) if 0 not in sizes else (0,)))
    return stack(columns, 1)


# --- distances ------------------------------------------------------------------------------------

_MODES = {
    "use_mm_for_euclid_dist_if_necessary": 25,
    "use_mm_for_euclid_dist": -1,
    "donot_use_mm_for_euclid_dist": None,
}


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norm distance of every row of x1 (…, n, k) from every row of x2 (…, m, k): (…, n, m).

    `compute_mode` only decides, as in PyTorch, the name of the `grad_fn`.
    Example: `gm.cdist(gm.zeros(1, 2), gm.tensor([[3., 4.]]))` is `tensor([[5.]])`.
    """
    if compute_mode not in _MODES:
        raise DTypeError(
            f"{compute_mode} is not a valid value for compute_mode", op="cdist", expected=", ".join(_MODES)
        )
    few = _MODES[compute_mode]
    products = few is not None and p == 2 and x1.ndim > 1 and x2.ndim > 1
    products = products and few is not None and max(x1.shape[-2], x2.shape[-2]) > few
    return one("cdist", x1, x2, p=float(p), by_products=products)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference. Example: `gm.dist(gm.zeros(2), gm.tensor([3., 4.]))` is `tensor(5.)`."""
    return one("dist", input, other, p=float(p))


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """The slices along a dim, scaled down where their p-norm is above maxnorm.

    Example: `gm.renorm(gm.ones(1, 4), 2, 0, 1.)` is about `tensor([[0.5, 0.5, 0.5, 0.5]])`.
    """
    return one("renorm", input, p=float(p), dim=dim, maxnorm=float(maxnorm))


# --- covariances ----------------------------------------------------------------------------------


def _weights(name: str, weights: Tensor, count: int, integral: bool) -> Tensor:
    dtype = spec(weights).dtype
    if weights.ndim > 1:
        raise ShapeError(f"cov(): expected {name} to have one or fewer dimensions but got {weights.ndim}", op="cov")
    if (dtypes.category(dtype) == dtypes.INT) != integral:
        kind = "integral" if integral else "floating point"
        raise DTypeError(f"cov(): expected {name} to have {kind} dtype", got=dtype.name)
    if tuple(weights.shape) != (count,):
        raise ShapeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input",
            expected=str([count]),
            got=str(list(weights.shape)),
        )
    weights = one("within", weights, least=0.0, most=math.inf, message=f"cov(): {name} cannot be negative")
    return weights


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix (n, n) of n variables, the rows of (n, observations).

    `fweights` counts how often each observation was made; `aweights` weights it.
    Example: `gm.cov(gm.tensor([[0., 2.]]))` is `tensor(2.)`.
    """
    if input.ndim > 2:
        raise ShapeError(f"cov(): expected input to have two or fewer dimensions but got {input.ndim}", op="cov")
    rows = reshape(input, (1, -1 if input.numel() else 0)) if input.ndim < 2 else input
    count = rows.shape[1]
    weights: Any = None
    if fweights is not None:
        weights = _weights("fweights", fweights, count, True)
    if aweights is not None:
        own = _weights("aweights", aweights, count, False)
        weights = own if weights is None else weights * own
    total: Any = scalar(count, dtypes.int64) if weights is None else sum(weights)
    mean = sum(rows if weights is None else rows * weights, 1) / total
    freedom: Any = total - correction
    if weights is not None and aweights is not None and correction:
        freedom = total - correction * sum(weights * aweights) / total
    freedom = one("clamp_min", *lift(freedom, 0))
    off = rows - unsqueeze(mean, 1)
    products = mm(off, conj(t(off if weights is None else off * weights)))
    return squeeze(products / freedom)


def corrcoef(input: Tensor) -> Tensor:
    """The correlations (n, n) of n variables, the rows of (n, observations).

    Example: `gm.corrcoef(gm.tensor([[0., 1.], [1., 0.]]))` is `tensor([[ 1., -1.], [-1.,  1.]])`.
    """
    if input.ndim > 2:
        raise ShapeError(f"corrcoef(): expected input to have two or fewer dimensions but got {input.ndim}")
    c = cov(input)
    if not c.ndim:
        return c / c
    spread = sqrt(real(diag(c)))
    c = c / reshape(spread, (-1, 1))
    c = c / reshape(spread, (1, -1))
    if dtypes.is_complex(spec(c).dtype):
        return complex(_clipped(real(c)), _clipped(imag(c)))
    return _clipped(c)


def _clipped(v: Tensor) -> Tensor:
    return v.clamp(-1, 1)
