"""The named tuples of functions with several results, printed as PyTorch prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def _printed(result: Any) -> str:
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(result._fields, result, strict=True))
    return f"torch.return_types.{type(result).__name__}(\n{fields})"


class _ValuesIndices(NamedTuple):
    values: Tensor
    indices: Tensor


class _HistEdges(NamedTuple):
    hist: Tensor
    bin_edges: Tensor


class _HistAllEdges(NamedTuple):
    hist: Tensor
    bin_edges: tuple[Tensor, ...]


class _Printed(_ValuesIndices):
    __slots__ = ()

    def __repr__(self) -> str:
        return _printed(self)


class max(_Printed):
    """Largest `values` along a dim and the `indices` where they stand, of the same shape."""

    __slots__ = ()


class min(_Printed):
    """Smallest `values` along a dim and the `indices` where they stand, of the same shape."""

    __slots__ = ()


class sort(_Printed):
    """Sorted `values` along a dim and the `indices` they came from, of the operand's shape."""

    __slots__ = ()


class topk(_Printed):
    """The k largest or smallest `values` along a dim and the `indices` where they stand."""

    __slots__ = ()


class cummax(_Printed):
    """Running maxima along a dim as `values`, and the `indices` where they stand."""

    __slots__ = ()


class cummin(_Printed):
    """Running minima along a dim as `values`, and the `indices` where they stand."""

    __slots__ = ()


class kthvalue(_Printed):
    """The k-th smallest `values` along a dim and the `indices` where they stand."""

    __slots__ = ()


class median(_Printed):
    """Lower medians along a dim as `values`, and the `indices` where they stand."""

    __slots__ = ()


class mode(_Printed):
    """The most frequent `values` along a dim and `indices` where one stands."""

    __slots__ = ()


class nanmedian(_Printed):
    """Lower medians of what is not NaN as `values`, and the `indices` where they stand."""

    __slots__ = ()


class histogram(_HistEdges):
    """How many elements fall into each bin, `hist`, and the `bin_edges`, one more."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _printed(self)


class histogramdd(_HistAllEdges):
    """How many points fall into each bin, `hist`, and the `bin_edges` of each dim, one more."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _printed(self)


class frexp(NamedTuple):
    """The `mantissa`, 1/2 to 1 in absolute value, and the `exponent` of 2, int32, of floating numbers."""

    mantissa: Tensor
    exponent: Tensor

    def __repr__(self) -> str:
        return _printed(self)


# --- factorizations and solutions -------------------------------------------------------------------


class linalg_eig(NamedTuple):
    """Complex `eigenvalues` (…, n) and `eigenvectors` (…, n, n) in columns of length 1."""

    eigenvalues: Tensor
    eigenvectors: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_eigh(NamedTuple):
    """Real `eigenvalues` (…, n), ascending, and orthonormal `eigenvectors` (…, n, n) in columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_svd(NamedTuple):
    """Left vectors `U`, singular values `S`, descending, and the adjoint `Vh` of the right vectors."""

    U: Tensor
    S: Tensor
    Vh: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class svd(NamedTuple):
    """Left vectors `U`, singular values `S`, descending, and right vectors `V`, in columns."""

    U: Tensor
    S: Tensor
    V: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_qr(NamedTuple):
    """Orthonormal columns `Q` and the upper triangle `R`."""

    Q: Tensor
    R: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class qr(NamedTuple):
    """Orthonormal columns `Q` and the upper triangle `R`."""

    Q: Tensor
    R: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class geqrf(NamedTuple):
    """Householder vectors below R in `a`, and their factors `tau`."""

    a: Tensor
    tau: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_cholesky_ex(NamedTuple):
    """The triangle `L` and int32 `info`: 0, or the order of the first minor that is not positive."""

    L: Tensor
    info: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_lu(NamedTuple):
    """A permutation `P`, a lower triangle `L` with ones on its diagonal, and an upper triangle `U`."""

    P: Tensor
    L: Tensor
    U: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class lu_unpack(NamedTuple):
    """A permutation `P`, a lower triangle `L` with ones on its diagonal, and an upper triangle `U`."""

    P: Tensor
    L: Tensor
    U: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_lu_factor(NamedTuple):
    """`LU`: both triangles in one matrix; `pivots`: int32, counted from 1."""

    LU: Tensor
    pivots: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_lu_factor_ex(NamedTuple):
    """`linalg_lu_factor` and int32 `info`: 0, or the place of the first pivot of 0."""

    LU: Tensor
    pivots: Tensor
    info: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_ldl_factor(NamedTuple):
    """`LD`: L below, D on the diagonal; `pivots`: int32."""

    LD: Tensor
    pivots: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_ldl_factor_ex(NamedTuple):
    """`linalg_ldl_factor` and int32 `info`: 0, or the place of the first zero of D."""

    LD: Tensor
    pivots: Tensor
    info: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_inv_ex(NamedTuple):
    """The `inverse` and int32 `info`: 0, or the place of the first pivot of 0."""

    inverse: Tensor
    info: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_solve_ex(NamedTuple):
    """The solution `result` and int32 `info`: 0, or the place of the first pivot of 0."""

    result: Tensor
    info: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_slogdet(NamedTuple):
    """The `sign` (phase) of the determinant and the logarithm `logabsdet` of its absolute value."""

    sign: Tensor
    logabsdet: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class linalg_lstsq(NamedTuple):
    """The least-squares `solution`, squared `residuals`, `rank` and `singular_values`; empty where the
    driver has none.
    """

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class triangular_solve(NamedTuple):
    """The `solution` and a copy of the coefficients."""

    solution: Tensor
    cloned_coefficient: Tensor

    def __repr__(self) -> str:
        return _printed(self)


class aminmax(NamedTuple):
    """The smallest elements, `min`, and the largest, `max`."""

    min: Tensor
    max: Tensor

    def __repr__(self) -> str:
        return _printed(self)
