"""Rows: ops that read and write at positions given by integer tensors."""

from __future__ import annotations

import numpy as np
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError

from tests.ops.rows import EVERY, Bad, I, Operand, Row, S, T, row


def _take(t, x, index, dim=0, wrap=True):  # type: ignore[no-untyped-def]
    dim = dim % x.ndim
    flat = t.where(index < 0, index + x.shape[dim], index).reshape(-1).long()
    return x.index_select(dim, flat).reshape(x.shape[:dim] + index.shape + x.shape[dim + 1 :])


def _put_add(t, index, values, size, dim=0):  # type: ignore[no-untyped-def]
    shape = values.shape[:dim] + (size,) + values.shape[dim + index.ndim :]
    flat = values.reshape(values.shape[:dim] + (-1,) + values.shape[dim + index.ndim :])
    return t.zeros(shape, dtype=values.dtype).index_add(dim, index.reshape(-1), flat)


def P(*shape: int, of: int, dim: int = 0) -> Operand:
    """Indices below `of` that are distinct along `dim`: writing has one answer whatever the order."""

    def build(rng: np.random.Generator) -> np.ndarray:
        full = [*shape]
        full[dim] = of
        order = rng.permuted(np.broadcast_to(np.arange(of).reshape([-1 if d == dim else 1 for d in range(len(full))]), full), axis=dim)
        return order[tuple(slice(0, n) for n in shape)]

    return Operand(shape, dtype="int64", fixed=True, build=build)


def _put_set(t, x, index, values, dim=0):  # type: ignore[no-untyped-def]
    if index.ndim == 0:
        index, values = index.reshape(1), values.unsqueeze(dim)
    return x.index_copy(dim, index, values)


def _ravel(t, *indices, sizes, dims):  # type: ignore[no-untyped-def]
    total = 0
    for index, size in zip(indices, sizes, strict=True):
        total = total * size + t.where(index < 0, index + size, index)
    return total


ROWS: tuple[Row, ...] = (
    row(
        "take",
        S(T(6, 5), I(4, below=6)),
        S(T(6, 5), I(7, below=5), dim=1),
        S(T(6, 5), I(4, 7, below=5), dim=-1),
        S(T(4, 6, 5), I(7, below=6, low=-6), dim=1),
        S(T(6, 5), I(below=6)),
        S(T(6, 5), I(0, below=6)),
        S(T(6, 5), I(4, below=6, dtype="int32")),
        ref=_take,
        dtypes=EVERY,
        errors=(
            Bad(S(T(6), T(3)), DTypeError),
            Bad(S(T(6), I(3, below=6), dim=1), AxisError),
            Bad(S(T(), I(3, below=1)), ShapeError),
        ),
    ),
    row(
        "put_add",
        S(I(9, below=6), T(9, 5), size=6),
        S(I(9, below=6), T(5, 9), dim=1, size=6),
        S(I(4, 5, below=6), T(7, 4, 5), dim=1, size=6),
        S(I(9, below=6), T(9), size=7),
        S(I(0, below=6), T(0, 5), size=6),
        S(I(below=6), T(5), size=6),
        ref=_put_add,
        dtypes=tuple(d for d in EVERY if d != "bool"),
        loose=4,
        errors=(
            Bad(S(I(4, below=6), T(5), size=6), ShapeError),
            Bad(S(T(4), T(4), size=6), DTypeError),
        ),
    ),
    row(
        "put_set",
        S(T(6, 5), P(4, of=6), T(4, 5)),
        S(T(5, 6), P(4, of=6), T(5, 4), dim=1),
        S(T(7, 6, 5), P(4, of=6), T(7, 4, 5), dim=1),
        S(T(6, 5), I(0, below=6), T(0, 5)),
        S(T(6), I(below=6), T()),
        ref=_put_set,
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), I(4, below=6), T(3, 5)), ShapeError), Bad(S(T(6), T(3), T(3)), DTypeError)),
    ),
    row(
        "gather",
        S(T(6, 5), I(4, 5, below=6), dim=0),
        S(T(6, 5), I(6, 4, below=5), dim=1),
        S(T(6, 5), I(4, 7, below=5), dim=-1),
        S(T(4, 6, 5), I(4, 7, 5, below=6), dim=1),
        S(T(6), I(0, below=6), dim=0),
        S(T(), I(below=1), dim=0),
        ref=lambda t, x, index, dim: t.gather(x, dim, index),
        dtypes=EVERY,
        errors=(
            Bad(S(T(6, 5), T(6, 5), dim=0), DTypeError),
            Bad(S(T(6, 5), I(7, below=5), dim=0), ShapeError),
            Bad(S(T(6, 5), I(7, 6, below=5), dim=0), ShapeError),
            Bad(S(T(6, 5), I(4, 5, below=5), dim=2), AxisError),
        ),
    ),
    row(
        "put_along_add",
        S(I(7, 5, below=6), T(7, 5), dim=0, size=6),
        S(I(6, 8, below=5), T(6, 8), dim=1, size=5),
        S(I(4, 7, 5, below=6), T(4, 7, 5), dim=1, size=6),
        S(I(0, below=6), T(0), dim=0, size=6),
        ref=lambda t, index, src, dim, size: t.zeros(
            src.shape[:dim] + (size,) + src.shape[dim + 1 :], dtype=src.dtype
        ).scatter_add(dim, index, src),
        dtypes=tuple(d for d in EVERY if d != "bool"),
        loose=4,
        errors=(Bad(S(I(6, 5, below=6), T(7, 5), dim=0, size=6), ShapeError),),
    ),
    row(
        "put_along",
        S(T(7, 5), P(4, 5, of=7), T(4, 5), dim=0),
        S(T(6, 8), P(6, 4, of=8, dim=1), T(6, 4), dim=1),
        S(T(6), I(0, below=6), T(0), dim=0),
        ref=lambda t, x, index, src, dim: x.scatter(dim, index, src),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), I(6, 4, below=6), T(5, 5), dim=0), ShapeError),),
    ),
    row(
        "ravel_index",
        S(I(7, below=4), I(7, below=5), sizes=(4, 5), dims=(0, 1)),
        S(I(6, 1, below=4), I(7, below=5), sizes=(4, 5), dims=(0, 1)),
        S(I(below=4), I(7, below=5), I(6, 1, below=3), sizes=(4, 5, 3), dims=(0, 1, 2)),
        S(I(7, below=4, low=-4), sizes=(4,), dims=(0,)),
        ref=_ravel,
        errors=(Bad(S(T(4), sizes=(4,), dims=(0,)), DTypeError),),
    ),
)
