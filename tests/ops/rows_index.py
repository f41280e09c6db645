"""Rows: ops that read and write at positions given by integer tensors."""

from __future__ import annotations

import numpy as np

from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from tests.ops.rows import EVERY, FLOATS, B, Bad, I, Operand, Row, S, T, row, untorched


def _take(t, x, index, dim=0, wrap=True):  # type: ignore[no-untyped-def]
    dim = dim % x.ndim
    flat = t.where(index < 0, index + x.shape[dim], index).reshape(-1).long()
    return x.index_select(dim, flat).reshape(x.shape[:dim] + index.shape + x.shape[dim + 1 :])


def _put_add(t, index, values, size, dim=0):  # type: ignore[no-untyped-def]
    shape = values.shape[:dim] + (size,) + values.shape[dim + index.ndim :]
    flat = values.reshape(values.shape[:dim] + (-1,) + values.shape[dim + index.ndim :])
    return t.zeros(shape, dtype=values.dtype).index_add(dim, index.reshape(-1), flat)


NEEDS_EQUAL = "its backward needs an index of the shape of the source"


def P(*shape: int, of: int, dim: int = 0) -> Operand:
    """Indices below `of` that are distinct along `dim`: writing has one answer whatever the order."""

    def build(rng: np.random.Generator) -> np.ndarray:
        full = [*shape]
        full[dim] = of
        order = rng.permuted(
            np.broadcast_to(np.arange(of).reshape([-1 if d == dim else 1 for d in range(len(full))]), full), axis=dim
        )
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


def _at(x, at, dims):  # type: ignore[no-untyped-def]
    found = [slice(None)] * x.ndim
    for dim, index in zip(dims, at, strict=True):
        found[dim] = index
    return tuple(found)


def _index_put(t, x, v, *at, dims, accumulate=False):  # type: ignore[no-untyped-def]
    if x.requires_grad or v.requires_grad or not accumulate:
        x = x.clone()
    full = [None] * x.ndim
    for dim, index in zip(dims, at, strict=True):
        full[dim] = index
    return t.ops.aten.index_put(x, full, v, accumulate)


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
        "take_sum",
        S(T(6, 5), I(9, 4, below=6, low=-6)),
        S(T(6, 3, 2), I(4, 5, 3, below=6)),
        S(T(6), I(9, below=6)),
        S(T(6, 5), I(9, 0, below=6)),
        S(T(6, 5), I(9, 4, below=6), wrap=False),
        ref=lambda t, x, index, wrap=True: x[index].sum(index.ndim - 1, dtype=x.dtype),
        dtypes=tuple(d for d in EVERY if d != "bool"),
        loose=4,
        errors=(
            Bad(S(T(6, 5), I(below=6)), ShapeError),
            Bad(S(T(6, 5), T(4)), DTypeError),
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
        errors=(
            Bad(S(T(6, 5), I(6, 4, below=6), T(5, 5), dim=0), ShapeError),
            Bad(S(T(6), I(4, below=6), T(4), dim=1), AxisError),
        ),
    ),
    row(
        "ravel_index",
        S(I(7, below=4), I(7, below=5), sizes=(4, 5), dims=(0, 1)),
        S(I(6, 1, below=4), I(7, below=5), sizes=(4, 5), dims=(0, 1)),
        S(I(below=4), I(7, below=5), I(6, 1, below=3), sizes=(4, 5, 3), dims=(0, 1, 2)),
        S(I(7, below=4, low=-4), sizes=(4,), dims=(0,)),
        S(I(*(1,) * 34, below=4), I(7, below=5), sizes=(4, 5), dims=(0, 1)),
        ref=_ravel,
        errors=(Bad(S(T(4), sizes=(4,), dims=(0,)), DTypeError),),
    ),
    row(
        "index",
        S(T(6, 5), I(4, below=6), dims=(0,)),
        S(T(6, 5), I(4, below=5, low=-5), dims=(1,)),
        S(T(6, 5), I(7, below=6), I(7, below=5), dims=(0, 1)),
        S(T(6, 5, 7), I(4, 1, below=6), I(8, below=5), dims=(0, 1)),
        S(T(6, 4, 5), I(7, below=6), I(7, below=5), dims=(0, 2)),
        S(T(4, 6, 5), I(7, below=6), dims=(1,)),
        S(T(6, 5), I(below=6), dims=(0,)),
        S(T(6, 5), I(0, below=6), dims=(0,)),
        ref=lambda t, x, *at, dims: x[_at(x, at, dims)],
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), T(4), dims=(0,)), DTypeError), Bad(S(T(6, 5), I(4, below=5), dims=(2,)), AxisError)),
    ),
    row(
        "index_put",
        S(T(6, 5), T(4, 5), P(4, of=6), dims=(0,)),
        S(T(6, 5), T(5), P(4, of=6), dims=(0,)),
        S(T(6, 5), T(), P(4, of=5), dims=(1,)),
        S(T(6, 5), T(4), P(4, of=6), I(4, below=5), dims=(0, 1)),
        S(T(6, 5), T(9, 5), I(9, below=6), dims=(0,), accumulate=True),
        S(T(6, 5), T(9), I(9, below=6), I(9, below=5, low=-5), dims=(0, 1), accumulate=True),
        S(T(6, 5), T(0, 5), I(0, below=6), dims=(0,)),
        ref=_index_put,
        dtypes=EVERY,
        loose=4,
        errors=(Bad(S(T(6, 5), T(3, 5), I(4, below=6), dims=(0,)), ShapeError),),
    ),
    row(
        "index_select",
        S(T(6, 5), I(4, below=6), dim=0),
        S(T(4, 6, 5), I(7, below=6), dim=-2),
        S(T(6), I(0, below=6), dim=0),
        ref=lambda t, x, index, dim: x.index_select(dim, index),
        dtypes=EVERY,
        errors=(
            Bad(S(T(6, 5), I(4, 2, below=6), dim=0), AxisError),
            Bad(S(T(6, 5), I(4, below=6), dim=2), AxisError),
            Bad(S(T(6), T(4), dim=0), DTypeError),
        ),
    ),
    row(
        "index_add",
        S(T(6, 5), I(9, below=6), T(9, 5), dim=0),
        S(T(5, 6), I(4, below=6), T(5, 4), dim=-1, alpha=0.5),
        S(T(6), I(0, below=6), T(0), dim=0),
        ref=lambda t, x, index, source, dim, alpha=1: x.index_add(dim, index, source, alpha=alpha),
        dtypes=tuple(d for d in EVERY if d != "bool"),
        loose=4,
        errors=(Bad(S(T(6, 5), I(4, below=6), T(3, 5), dim=0), ShapeError),),
    ),
    row(
        "index_copy",
        S(T(6, 5), P(4, of=6), T(4, 5), dim=0),
        S(T(5, 6), P(4, of=6), T(5, 4), dim=-1),
        ref=lambda t, x, index, source, dim: x.index_copy(dim, index, source),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), I(4, below=6), T(3, 5), dim=0), ShapeError),),
    ),
    row(
        "index_fill",
        S(T(6, 5), I(4, below=6), T(), dim=0),
        S(T(5, 6), I(2, below=6), T(), dim=1),
        ref=lambda t, x, index, value, dim: x.index_fill(dim, index, value),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), I(4, below=6), T(3), dim=0), ShapeError),),
    ),
    row(
        "take_along_dim",
        S(T(6, 5), I(4, 5, below=6), dim=0),
        S(T(6, 5), I(4, 1, below=6), dim=0),
        S(T(1, 5), I(6, 4, below=5), dim=1),
        S(T(6, 5), I(7, below=30)),
        ref=lambda t, x, index, dim=None: t.take_along_dim(x, index, dim),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 5), I(4, below=6), dim=0), ShapeError),),
    ),
    row(
        "scatter",
        S(T(7, 5), P(4, 5, of=7), T(4, 5), dim=0),
        S(T(6, 8), P(6, 4, of=8, dim=1), T(6, 4), dim=-1),
        untorched(S(T(6, 8), P(4, 4, of=8, dim=1), T(6, 6), dim=1), NEEDS_EQUAL),
        untorched(S(T(6, 8), I(6, 4, below=8), T(), dim=1), "it counts an element written twice twice"),
        ref=lambda t, x, index, src, dim: x.scatter(dim, index, src if src.ndim else src.expand(index.shape)),
        dtypes=EVERY,
        errors=(
            Bad(S(T(6, 5), I(6, 4, below=6), T(5, 5), dim=0), ShapeError),
            Bad(S(T(6, 5), I(6, 6, below=6), T(6, 6), dim=0), ShapeError),
        ),
    ),
    row(
        "scatter_add",
        S(T(6, 5), I(7, 5, below=6), T(7, 5), dim=0),
        S(T(6, 5), I(6, 8, below=5), T(6, 8), dim=-1),
        untorched(S(T(6, 5), I(4, 3, below=6), T(7, 5), dim=0), NEEDS_EQUAL),
        ref=lambda t, x, index, src, dim: x.scatter_add(dim, index, src),
        dtypes=tuple(d for d in EVERY if d != "bool"),
        loose=4,
        errors=(Bad(S(T(6, 5), I(7, 6, below=6), T(7, 6), dim=0), ShapeError),),
    ),
    row(
        "masked_fill",
        S(T(5, 7), B(5, 7), T()),
        S(T(5, 7), B(7), T()),
        S(T(5, 7), B(5, 1), T()),
        S(T(0, 3), B(3), T()),
        ref=lambda t, x, mask, value: x.masked_fill(mask, value),
        dtypes=EVERY,
        errors=(
            Bad(S(T(3), B(4), T()), ShapeError),
            Bad(S(T(3), T(3), T()), DTypeError),
            Bad(S(T(3), B(3), T(3)), ShapeError),
        ),
    ),
    row(
        "masked_scatter",
        S(T(5, 7), B(5, 7), T(35)),
        S(T(5, 7), B(7), T(6, 7)),
        ref=lambda t, x, mask, source: x.masked_scatter(mask, source),
        dtypes=EVERY,
        errors=(Bad(S(T(3), T(3), T(3)), DTypeError),),
    ),
    row(
        "embedding",
        S(T(6, 5), I(7, below=6)),
        S(T(6, 5), I(4, 7, below=6)),
        S(T(6, 5), I(9, below=6), padding_idx=2),
        S(T(6, 5), I(below=6)),
        untorched(S(T(6, 5), I(0, below=6)), "its second derivative reshapes 0 elements"),
        ref=lambda t, weight, at, padding_idx=None: t.nn.functional.embedding(at, weight, padding_idx),
        dtypes=FLOATS,
        errors=(Bad(S(T(6), I(3, below=6)), ShapeError), Bad(S(T(6, 5), T(3)), DTypeError)),
    ),
)
