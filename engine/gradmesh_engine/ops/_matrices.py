"""Pieces of matrix derivatives: products, adjoints, diagonals and triangles of batches of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.ops.base import lookup
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.joining import diagonal_of
from gradmesh_engine.ops.lapack import adjoint
from gradmesh_engine.ops.layout import expand, permute
from gradmesh_engine.ops.pointwise import broadcast_shapes, convert, eq, keep, nonzero
from gradmesh_engine.ops.shaping import unsqueezed

__all__ = [
    "adjoint",
    "as_dtype_of",
    "batch_together",
    "broadcast_batches",
    "column",
    "diagonal",
    "embedded",
    "identity",
    "product",
    "ratio",
    "real_like",
    "row",
    "tril",
    "triu",
    "turned",
    "zeros",
]


def product(*matrices: V) -> V:
    """The product of matrices, from the left, in the dtype they meet in."""
    meet = matrices[0].dtype
    for m in matrices[1:]:
        meet = dtypes.promote(meet, m.dtype)
    result, *rest = (convert(m, dtype=meet.name) for m in matrices)
    for m in rest:
        result = lookup("matmul")(result, m)
    return result


def turned(a: V) -> V:
    """The transpose of the last two dims."""
    result: V = permute(a, dims=(*range(a.ndim - 2), a.ndim - 1, a.ndim - 2))
    return result


def row(v: V) -> V:
    """Vectors as matrices of one row, which scale columns."""
    return unsqueezed(v, -2)


def column(v: V) -> V:
    """Vectors as matrices of one column, which scale rows."""
    return unsqueezed(v, -1)


def diagonal(a: V) -> V:
    """The diagonals of matrices."""
    return diagonal_of(a, 0, -2, -1)


def embedded(v: V) -> V:
    """Diagonal matrices."""
    result: V = lookup("diag_embed")(v)
    return result


def tril(a: V, k: int = 0) -> V:
    """The elements on and below diagonal k."""
    result: V = lookup("tril")(a, diagonal=k)
    return result


def triu(a: V, k: int = 0) -> V:
    """The elements on and above diagonal k."""
    result: V = lookup("triu")(a, diagonal=k)
    return result


def identity(like: V, rows: int, columns: int | None = None) -> V:
    """The (rows, columns) matrix with ones on the diagonal, of the dtype of `like`."""
    columns = rows if columns is None else columns
    down = iota.on(like.emitter, shape=(rows, 1), dim=0, dtype="int64")
    across = iota.on(like.emitter, shape=(1, columns), dim=1, dtype="int64")
    result: V = convert(eq(down, across), dtype=like.dtype.name)
    return result


def as_dtype_of(g: V, x: V) -> V:
    """A cotangent in the dtype of its operand: a real operand takes the real part."""
    result: V = convert(g, dtype=x.dtype.name)
    return result


def batch_together(name: str, operands: Sequence[V], cores: Sequence[int]) -> list[V]:
    """The operands with their leading dims broadcast; the last `cores[i]` dims of each stay. Raises DTypeError."""
    for other in operands[1:]:
        if other.dtype != operands[0].dtype:
            raise DTypeError(
                f"{name}: Expected A and B to have the same dtype, but found A of type {operands[0].dtype.name} and "
                f"B of type {other.dtype.name} instead",
                expected=operands[0].dtype.name,
                got=other.dtype.name,
            )
    return broadcast_batches(name, operands, cores)


def broadcast_batches(name: str, operands: Sequence[V], cores: Sequence[int]) -> list[V]:
    """`batch_together` of operands of any dtypes. Raises ShapeError."""
    for v, core in zip(operands, cores, strict=True):
        if v.ndim < core:
            raise ShapeError(
                f"{name}: expected at least {core} dims, but got {v.ndim}",
                expected=f"at least {core} dims",
                got=str(list(v.shape)),
            )
    batch = broadcast_shapes([v.shape[: v.ndim - core] for v, core in zip(operands, cores, strict=True)] or [()])
    return [expand(v, shape=(*batch, *v.shape[v.ndim - core :])) for v, core in zip(operands, cores, strict=True)]


def real_like(v: V) -> V:
    """The real part, of the real dtype."""
    result: V = convert(v, dtype=dtypes.real_of(v.dtype).name)
    return result


def zeros(like: V, *shape: int) -> V:
    """Zeros of the dtype of `like`."""
    return constant(like, 0, shape)


def ratio(a: V, b: V) -> V:
    """A / b, and 0 where a is 0: what nothing depends on needs no gap between values."""
    result: V = keep(a / b, nonzero(a))
    return result
