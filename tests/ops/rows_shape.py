"""Rows: ops that move elements without computing with them."""

from __future__ import annotations

from gradmesh_engine.errors import ArityError, AttributeTypeError, AxisError, ShapeError
from tests.ops.rows import EVERY, Bad, I, Row, S, T, row, unsplit


def _strided(t, x, starts, stops, steps):  # type: ignore[no-untyped-def]
    return x[tuple(slice(*s) for s in zip(starts, stops, steps, strict=True))]


def _pad(t, x, low, high, interior, value=0):  # type: ignore[no-untyped-def]
    shape = [lo + n + max(n - 1, 0) * i + hi for n, lo, hi, i in zip(x.shape, low, high, interior, strict=True)]
    index = tuple(
        slice(lo, lo + (n - 1) * (i + 1) + 1 if n else lo, i + 1)
        for n, lo, i in zip(x.shape, low, interior, strict=True)
    )
    result = t.full(shape, value, dtype=x.dtype)
    if not x.requires_grad:
        result[index] = x
        return result
    padded = result.clone()
    padded[index] = x
    return padded


PRIMITIVE: tuple[Row, ...] = (
    row(
        "expand",
        S(T(5, 1), shape=(5, 7)),
        S(T(7), shape=(4, 5, 7)),
        S(T(4, 1, 6), shape=(4, 5, 6)),
        S(T(), shape=(4, 6)),
        S(T(5, 6), shape=(-1, 6)),
        S(T(1, 3), shape=(0, 3)),
        ref=lambda t, x, shape: x.expand(shape),
        dtypes=EVERY,
        errors=(
            Bad(S(T(3), shape=(4,)), ShapeError, "must match the existing size"),
            Bad(S(T(3, 3), shape=(3,)), ShapeError),
            Bad(S(T(3), shape=(-1, 3)), ShapeError),
            Bad(S(T(3)), AttributeTypeError),
            Bad(S(T(3), shape=3), AttributeTypeError),
            Bad(S(T(3), T(3), shape=(3,)), ArityError),
        ),
    ),
    row(
        "reshape",
        S(T(6, 4), shape=(24,)),
        S(T(24), shape=(6, 4)),
        S(T(6, 4), shape=(4, 6)),
        S(T(8, 3, 5), shape=(24, 5)),
        S(T(24, 5), shape=(8, 3, 5)),
        S(T(4, 6, 5), shape=(4, 30)),
        S(T(4, 6, 5), shape=(4, 5, 6)),
        S(T(8, 9), shape=(4, 2, 3, 3)),
        S(T(6, 4), shape=(6, 1, 4, 1)),
        S(T(1, 6, 1), shape=(6,)),
        S(T(6, 4), shape=(-1, 8)),
        S(T(1), shape=()),
        S(T(), shape=(1, 1)),
        S(T(0, 4), shape=(2, 0)),
        dtypes=EVERY,
        ref=lambda t, x, shape: x.reshape(shape),
        errors=(
            Bad(S(T(6), shape=(4,)), ShapeError, "is invalid for input of size 6"),
            Bad(S(T(6), shape=(-1, -1)), ShapeError),
            Bad(S(T(6), shape=(-2, 3)), ShapeError),
            Bad(S(T(0), shape=(-1, 0)), ShapeError),
        ),
    ),
    row(
        "permute",
        S(T(5, 7), dims=(1, 0)),
        S(T(4, 5, 6), dims=(2, 0, 1)),
        S(T(4, 5, 6), dims=(0, -1, 1)),
        S(T(), dims=()),
        S(T(0, 3), dims=(1, 0)),
        dtypes=EVERY,
        errors=(
            Bad(S(T(3, 4), dims=(0, 2)), AxisError),
            Bad(S(T(3, 4), dims=(0,)), ShapeError),
            Bad(S(T(3, 4), dims=(0, 0)), ShapeError),
        ),
    ),
    row(
        "turn",
        S(T(5, 7), dims=(1, 0)),
        S(T(4, 5, 6), dims=(2, 0, 1)),
        S(T(4, 5, 6), dims=(0, -1, 1)),
        S(T(3, 1024), dims=(1, 0)),  # a row of every dtype but bool fills a cache's sets
        S(T(2, 3, 4096), dims=(1, 2, 0)),
        S(T(), dims=()),
        S(T(0, 3), dims=(1, 0)),
        ref=lambda t, x, dims: x.permute(dims).contiguous(),
        dtypes=EVERY,
        errors=(Bad(S(T(3, 4), dims=(0, 0)), ShapeError),),
    ),
    row(
        "strided_slice",
        S(T(9, 7), starts=(2, 0), stops=(7, 7), steps=(1, 1)),
        S(T(9, 7), starts=(0, 1), stops=(9, 6), steps=(2, 3)),
        S(T(9), starts=(1,), stops=(9,), steps=(4,)),
        S(T(9, 7), starts=(4, 0), stops=(4, 7), steps=(1, 1)),
        S(T(), starts=(), stops=(), steps=()),
        ref=_strided,
        dtypes=EVERY,
        errors=(
            Bad(S(T(5), starts=(3,), stops=(7,), steps=(1,)), ShapeError),
            Bad(S(T(5), starts=(0,), stops=(5,), steps=(-1,)), ShapeError),
            Bad(S(T(5), starts=(0, 0), stops=(5, 5), steps=(1, 1)), ShapeError),
        ),
    ),
    row(
        "pad",
        S(T(5, 7), low=(1, 0), high=(2, 0), interior=(0, 0)),
        S(T(5, 7), low=(1, 0), high=(0, 3), interior=(2, 1)),
        S(T(6), low=(2,), high=(1,), interior=(0,), value=1.5),
        S(T(0), low=(2,), high=(1,), interior=(0,)),
        S(T(), low=(), high=(), interior=()),
        ref=_pad,
        dtypes=EVERY,
        errors=(
            Bad(S(T(5), low=(-1,), high=(0,), interior=(0,)), ShapeError),
            Bad(S(T(5), low=(1, 1), high=(0,), interior=(0,)), ShapeError),
        ),
    ),
    row("detach", S(T(5, 7)), S(T()), S(T(0, 3)), ref=lambda t, x: x.detach(), dtypes=EVERY),
    row("tag", S(T(5, 7), index=3), S(T(), index=0), ref=lambda t, x, index: x.clone(), dtypes=EVERY),
    row(
        "convert",
        *(S(T(5, 7), dtype=d) for d in ("float32", "float64", "float16", "bfloat16")),
        S(T(5), dtype="complex64"),
        S(T(5), dtype="complex128"),
        S(T(), dtype="float64"),
        S(T(0, 3), dtype="float32"),
        ref=lambda t, x, dtype: x.to(getattr(t, dtype)),
        dtypes=EVERY,
        # A rounding cast has no derivative finite differences could see.
        smooth=False,
        specials=(
            *(S(T(9, dtype=d, low=0, high=9), dtype="bool") for d in EVERY),
            *(S(T(9, dtype="float32", low=-100, high=100), dtype=d) for d in ("int8", "int16", "int32", "int64")),
            *(S(T(9, dtype=d, low=0, high=100), dtype="bfloat16") for d in EVERY),
        ),
        errors=(Bad(S(T(3), dtype="float8"), AttributeTypeError),),
    ),
)


def _slice_update(t, x, v, starts, stops, steps):  # type: ignore[no-untyped-def]
    result = x.clone()
    result[tuple(slice(*s) for s in zip(starts, stops, steps, strict=True))] = v
    return result


REGIONS: tuple[Row, ...] = (
    row(
        "flip",
        S(T(5, 7), dims=(0,)),
        S(T(5, 7), dims=(1, 0)),
        S(T(4, 5, 6), dims=(-1,)),
        S(T(5), dims=()),
        S(T(0, 3), dims=(0,)),
        dtypes=EVERY,
        errors=(Bad(S(T(3), dims=(1,)), AxisError),),
    ),
    row(
        "slice_update",
        S(T(9, 7), T(5, 7), starts=(2, 0), stops=(7, 7), steps=(1, 1)),
        S(T(9, 7), T(5, 2), starts=(0, 1), stops=(9, 6), steps=(2, 3)),
        S(T(9, 7), T(7), starts=(2, 0), stops=(7, 7), steps=(1, 1)),
        S(T(9), T(), starts=(1,), stops=(9,), steps=(4,)),
        S(T(6, 5), T(6, 1), starts=(0, 1), stops=(6, 4), steps=(1, 1)),
        S(T(9, 7), T(0, 7), starts=(4, 0), stops=(4, 7), steps=(1, 1)),
        S(T(), T(), starts=(), stops=(), steps=()),
        ref=_slice_update,
        dtypes=EVERY,
        errors=(
            Bad(S(T(5), T(3), starts=(3,), stops=(7,), steps=(1,)), ShapeError),
            Bad(S(T(5), T(3), starts=(0,), stops=(5,), steps=(1,)), ShapeError),
        ),
    ),
    row(
        "concat",
        S(T(5, 7), T(4, 7)),
        S(T(5, 7), T(5, 4), T(5, 1), dim=1),
        S(T(5, 6), T(5, 4), dim=-1),
        unsplit(S(T(5)), "joining one tensor changes nothing"),
        S(T(0, 4), T(5, 4)),
        S(T(5), T(4, dtype="float32")),
        S(T(5), I(4, below=9)),
        ref=lambda t, *xs, dim=0: t.cat(xs, dim),
        dtypes=EVERY,
        loose=1,
        errors=(
            Bad(S(T(5, 7), T(5, 6)), ShapeError),
            Bad(S(T(5), T(5, 6)), ShapeError),
            Bad(S(T(5), T(5), dim=1), AxisError),
        ),
    ),
)

ROWS: tuple[Row, ...] = PRIMITIVE + REGIONS
