"""Rows: the user's functions that rearrange, cut and join tensors."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import AxisError, ShapeError
from tests.ops.rows import EVERY, Bad, I, Row, S, T, row

OUT = AxisError


def method(name: str) -> Any:
    """The tensor method of that name, attributes positional in the order given."""
    return lambda t, x, **attrs: getattr(x, name)(*attrs.values())


def joined(name: str) -> Any:
    """A torch function of a list of tensors."""
    return lambda t, *xs, **attrs: getattr(t, name)(list(xs), **attrs)


def _squeeze(t: Any, x: Any, dim: Any = None) -> Any:
    return x.squeeze() if dim is None else x.squeeze(dim)


def _slice(t: Any, x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _tensor_split(t: Any, x: Any, indices: Any = (), sections: int | None = None, dim: int = 0) -> Any:
    return t.tensor_split(x, sections if sections is not None else indices, dim)


def _pad_edges(t: Any, x: Any, pad: Any, mode: str) -> Any:
    return t.nn.functional.pad(x, pad, mode)


DIMS: tuple[Row, ...] = (
    row(
        "view",
        S(T(6, 4), shape=(24,)),
        S(T(24), shape=(6, -1)),
        S(T(6, 4), shape=(2, 3, 4)),
        S(T(0, 4), shape=(4, 0)),
        ref=lambda t, x, shape: x.view(shape),
        dtypes=EVERY,
        errors=(Bad(S(T(6), shape=(4,)), ShapeError),),
    ),
    row(
        "flatten",
        S(T(4, 5, 6)),
        S(T(4, 5, 6), start_dim=1),
        S(T(4, 5, 6), start_dim=-3, end_dim=-2),
        S(T()),
        S(T(0, 3)),
        dtypes=EVERY,
        errors=(Bad(S(T(3, 4), start_dim=2), OUT), Bad(S(T(3, 4, 5), start_dim=2, end_dim=1), ShapeError)),
    ),
    row(
        "unflatten",
        S(T(6, 8), dim=1, sizes=(4, 2)),
        S(T(6, 8), dim=0, sizes=(-1, 2)),
        S(T(4, 6, 5), dim=-2, sizes=(2, 3)),
        ref=lambda t, x, dim, sizes: x.unflatten(dim, sizes),
        dtypes=EVERY,
        errors=(Bad(S(T(6, 8), dim=1, sizes=(3, 2)), ShapeError), Bad(S(T(6), dim=1, sizes=(3, 2)), OUT)),
    ),
    row(
        "squeeze",
        S(T(1, 5, 1)),
        S(T(1, 5, 1), dim=(0,)),
        S(T(1, 5, 1), dim=(-1, 0)),
        S(T(5, 4), dim=(0,)),
        S(T()),
        S(T(1, 0)),
        ref=_squeeze,
        dtypes=EVERY,
        errors=(Bad(S(T(3), dim=(1,)), OUT),),
    ),
    row(
        "unsqueeze",
        S(T(5, 4), dim=0),
        S(T(5, 4), dim=2),
        S(T(5, 4), dim=-2),
        S(T(), dim=0),
        dtypes=EVERY,
        errors=(Bad(S(T(3), dim=2), OUT),),
    ),
    *(
        row(
            name,
            S(T(5, 4), **{first: 0, second: 1}),
            S(T(4, 5, 6), **{first: -1, second: 0}),
            S(T(), **{first: 0, second: -1}),
            S(T(0, 4), **{first: 0, second: 1}),
            ref=method(name),
            dtypes=EVERY,
            errors=(Bad(S(T(3, 4), **{first: 0, second: 2}), OUT),),
        )
        for name, first, second in (
            ("transpose", "dim0", "dim1"),
            ("swapaxes", "dim0", "dim1"),
            ("swapdims", "dim0", "dim1"),
        )
    ),
    row("t", S(T(5, 4)), S(T(5)), S(T()), dtypes=EVERY, errors=(Bad(S(T(3, 4, 5)), ShapeError),)),
    *(
        row(
            name,
            S(T(4, 5, 6), source=(0,), destination=(2,)),
            S(T(4, 5, 6), source=(0, -1), destination=(1, 0)),
            ref=method(name),
            dtypes=EVERY,
            errors=(Bad(S(T(4, 5), source=(2,), destination=(0,)), OUT),),
        )
        for name in ("movedim", "moveaxis")
    ),
)

COPIES: tuple[Row, ...] = (
    row(
        "expand_as",
        S(T(5, 1), T(5, 7)),
        S(T(), T(4, 6)),
        S(T(7), T(0, 7)),
        ref=lambda t, x, like: x.expand_as(like),
        wrt=(0,),
        dtypes=EVERY,
        errors=(Bad(S(T(3), T(4)), ShapeError),),
    ),
    row(
        "broadcast_to",
        S(T(5, 1), shape=(5, 7)),
        S(T(7), shape=(4, 5, 7)),
        S(T(), shape=(4,)),
        ref=lambda t, x, shape: t.broadcast_to(x, shape),
        dtypes=EVERY,
        errors=(Bad(S(T(3), shape=(4,)), ShapeError),),
    ),
    row(
        "repeat",
        S(T(5, 4), repeats=(2, 3)),
        S(T(5), repeats=(2, 1, 3)),
        S(T(5, 4), repeats=(1, 1)),
        S(T(), repeats=(4,)),
        S(T(5), repeats=(0,)),
        ref=method("repeat"),
        dtypes=EVERY,
        errors=(Bad(S(T(3, 4), repeats=(2,)), ShapeError),),
    ),
    row(
        "tile",
        S(T(5, 4), dims=(2, 3)),
        S(T(5, 4), dims=(3,)),
        S(T(5), dims=(2, 3)),
        ref=lambda t, x, dims: t.tile(x, dims),
        dtypes=EVERY,
    ),
    row(
        "repeat_interleave",
        S(T(5, 4), repeats=3, dim=0),
        S(T(5, 4), repeats=2, dim=-1),
        S(T(5, 4), repeats=2),
        S(T(5), repeats=0, dim=0),
        ref=lambda t, x, repeats, dim=None: t.repeat_interleave(x, repeats, dim),
        dtypes=EVERY,
        errors=(Bad(S(T(3), repeats=2, dim=1), OUT),),
    ),
    row("fliplr", S(T(5, 4)), S(T(4, 5, 6)), dtypes=EVERY, errors=(Bad(S(T(3)), ShapeError),)),
    row("flipud", S(T(5, 4)), S(T(5)), dtypes=EVERY, errors=(Bad(S(T()), ShapeError),)),
    row(
        "roll",
        S(T(5, 7), shifts=(2,), dims=(0,)),
        S(T(5, 7), shifts=(-3, 8), dims=(0, 1)),
        S(T(5, 7), shifts=(4,)),
        S(T(0, 3), shifts=(1,), dims=(0,)),
        ref=lambda t, x, shifts, dims=(): t.roll(x, shifts, dims),
        dtypes=EVERY,
        errors=(Bad(S(T(3), shifts=(1,), dims=(1,)), OUT), Bad(S(T(3, 4), shifts=(1, 2), dims=(0,)), ShapeError)),
    ),
    row(
        "rot90",
        S(T(5, 7)),
        *(S(T(4, 5, 6), k=k, dims=(2, 0)) for k in (0, 2, 3, -1)),
        ref=lambda t, x, k=1, dims=(0, 1): t.rot90(x, k, dims),
        dtypes=EVERY,
        errors=(Bad(S(T(3, 4), dims=(0, 2)), OUT),),
    ),
)

PARTS: tuple[Row, ...] = (
    row(
        "narrow",
        S(T(9, 5), dim=0, start=2, length=4),
        S(T(5, 9), dim=-1, start=-4, length=3),
        S(T(9), dim=0, start=9, length=0),
        dtypes=EVERY,
        errors=(
            Bad(S(T(5), dim=0, start=3, length=4), ShapeError),
            Bad(S(T(5), dim=1, start=0, length=1), OUT),
            Bad(S(T(5), dim=0, start=0, length=-1), ShapeError),
        ),
    ),
    row(
        "select",
        S(T(9, 5), dim=0, index=3),
        S(T(4, 9, 5), dim=1, index=-2),
        S(T(9), dim=-1, index=0),
        dtypes=EVERY,
        errors=(Bad(S(T(5), dim=0, index=5), OUT), Bad(S(T(5, 4), dim=2, index=0), OUT)),
    ),
    row(
        "slice",
        S(T(9, 5), start=2, end=7),
        S(T(5, 9), dim=1, start=-4, step=2),
        S(T(5, 9), dim=-1, end=-2, step=3),
        S(T(9), start=7, end=3),
        S(T(9), start=-100, end=100),
        ref=_slice,
        dtypes=EVERY,
        errors=(Bad(S(T(5), dim=1), OUT), Bad(S(T(5), step=0), ShapeError)),
    ),
    row(
        "unfold",
        S(T(9, 5), dim=0, size=3, step=2),
        S(T(5, 9), dim=-1, size=2, step=2),
        S(T(9), dim=0, size=9, step=1),
        S(T(9), dim=0, size=9, step=1 << 62),
        ref=method("unfold"),
        dtypes=EVERY,
        errors=(Bad(S(T(5), dim=0, size=6, step=1), ShapeError), Bad(S(T(5), dim=0, size=2, step=0), ShapeError)),
    ),
    row(
        "split",
        S(T(9, 5), split_size=4),
        S(T(5, 8), split_size=2, dim=-1),
        S(T(4), split_size=9),
        ref=lambda t, x, split_size, dim=0: t.split(x, split_size, dim),
        dtypes=EVERY,
        errors=(Bad(S(T(5), split_size=2, dim=1), OUT), Bad(S(T(5), split_size=-1), ShapeError)),
    ),
    row(
        "split_with_sizes",
        S(T(9, 5), split_sizes=(4, 3, 2)),
        S(T(5, 9), split_sizes=(0, 9), dim=1),
        ref=lambda t, x, split_sizes, dim=0: t.split(x, split_sizes, dim),
        dtypes=EVERY,
        errors=(Bad(S(T(5), split_sizes=(2, 2)), ShapeError),),
    ),
    row(
        "chunk",
        S(T(9, 5), chunks=4),
        S(T(5, 8), chunks=3, dim=1),
        S(T(2), chunks=5),
        ref=lambda t, x, chunks, dim=0: t.chunk(x, chunks, dim),
        dtypes=EVERY,
        errors=(Bad(S(T(5), chunks=0), ShapeError),),
    ),
    row(
        "tensor_split",
        S(T(9, 5), sections=4),
        S(T(9, 5), indices=(2, 6)),
        S(T(5, 9), indices=(3, 3, 20), dim=1),
        ref=_tensor_split,
        dtypes=EVERY,
        errors=(Bad(S(T(5), sections=0), ShapeError),),
    ),
    row("unbind", S(T(4, 5)), S(T(5, 4), dim=-1), S(T(3)), dtypes=EVERY, errors=(Bad(S(T(3), dim=1), OUT),)),
)

JOINS: tuple[Row, ...] = (
    row(
        "cat",
        S(T(5, 7), T(4, 7)),
        S(T(5, 7), T(5, 4), T(5, 1), dim=-1),
        S(T(5)),
        S(T(0), T(5, 4)),
        S(T(5), T(4, dtype="float32")),
        S(T(5), I(4, below=9)),
        ref=joined("cat"),
        dtypes=EVERY,
        loose=1,
        errors=(Bad(S(T(5, 7), T(5, 6)), ShapeError), Bad(S(T(5), T(5), dim=1), OUT), Bad(S(T(), T()), ShapeError)),
    ),
    row(
        "stack",
        S(T(5, 7), T(5, 7)),
        S(T(5), T(5), T(5), dim=1),
        S(T(), T(), dim=-1),
        ref=joined("stack"),
        dtypes=EVERY,
        errors=(Bad(S(T(5), T(4)), ShapeError), Bad(S(T(5), T(5), dim=2), OUT)),
    ),
    row("hstack", S(T(5, 7), T(5, 4)), S(T(5), T(4)), S(T(), T()), ref=joined("hstack"), dtypes=EVERY),
    row("vstack", S(T(5, 7), T(4, 7)), S(T(5), T(5)), ref=joined("vstack"), dtypes=EVERY),
    row("dstack", S(T(5, 7), T(5, 7)), S(T(5), T(5)), S(T(4, 5, 6), T(4, 5, 3)), ref=joined("dstack"), dtypes=EVERY),
)

EDGES: tuple[Row, ...] = (
    row(
        "constant_pad_nd",
        S(T(5, 7), pad=(1, 2)),
        S(T(5, 7), pad=(-1, 2, 3, -2), value=1.5),
        S(T(4, 5, 6), pad=(0, 0, 1, 1)),
        ref=lambda t, x, pad, value=0: t.constant_pad_nd(x, pad, value),
        dtypes=EVERY,
        errors=(Bad(S(T(5), pad=(1,)), ShapeError), Bad(S(T(5), pad=(1, 1, 1, 1)), ShapeError)),
    ),
    row(
        "pad_edges",
        *(S(T(2, 5, 7), pad=(2, 1), mode=mode) for mode in ("reflect", "replicate", "circular")),
        *(S(T(2, 3, 5, 7), pad=(2, 1, 0, 3), mode=mode) for mode in ("reflect", "replicate", "circular")),
        ref=_pad_edges,
        dtypes=("float64", "float32"),
        loose=4,
        errors=(Bad(S(T(2, 5), pad=(6, 0), mode="reflect"), ShapeError),),
    ),
    *(
        row(
            name,
            S(T(5, 7)),
            S(T(5, 7), diagonal=2),
            S(T(4, 6, 5), diagonal=-1),
            S(T(0, 4)),
            ref=lambda t, x, diagonal=0, name=name: getattr(t, name)(x, diagonal),
            dtypes=EVERY,
            errors=(Bad(S(T(5)), ShapeError),),
        )
        for name in ("triu", "tril")
    ),
    row(
        "diagonal",
        S(T(5, 7)),
        S(T(5, 7), offset=2),
        S(T(5, 7), offset=-3),
        S(T(4, 5, 6), dim1=-1, dim2=0),
        S(T(5, 7), offset=9),
        dtypes=EVERY,
        errors=(Bad(S(T(5)), OUT), Bad(S(T(5, 4), dim1=1, dim2=1), OUT)),
    ),
    row(
        "diag_embed",
        S(T(5)),
        S(T(4, 5), offset=2),
        S(T(4, 5), offset=-1, dim1=0, dim2=2),
        dtypes=EVERY,
        errors=(Bad(S(T(5), dim1=0, dim2=0), OUT),),
    ),
    row(
        "diag",
        S(T(5)),
        S(T(5), diagonal=-2),
        S(T(5, 7), diagonal=1),
        dtypes=EVERY,
        errors=(Bad(S(T(4, 5, 6)), ShapeError),),
    ),
    row(
        "trace",
        S(T(5, 7)),
        S(T(4, 4)),
        dtypes=("float64", "float32", "int64", "complex128"),
        errors=(Bad(S(T(5)), ShapeError),),
    ),
)

STRIDED: tuple[Row, ...] = (
    row(
        "as_strided",
        S(T(5, 7), shape=(4, 3), stride=(7, 2), offset=1),
        S(T(9), shape=(4, 3), stride=(2, 1)),
        S(T(9), shape=(3, 3), stride=(0, 1), offset=6),
        S(T(9), shape=(), stride=(), offset=3),
        S(T(9), shape=(0, 2), stride=(1, 1)),
        ref=lambda t, x, shape, stride, offset=0: t.as_strided(x, shape, stride, offset),
        dtypes=EVERY,
        errors=(
            Bad(S(T(9), shape=(4, 3), stride=(3, 1)), ShapeError, "out of bounds"),
            Bad(S(T(9), shape=(4, 3), stride=(1,)), ShapeError),
            Bad(S(T(9), shape=(2,), stride=(-1,), offset=8), ShapeError),
        ),
    ),
)

ROWS: tuple[Row, ...] = DIMS + COPIES + PARTS + JOINS + EDGES + STRIDED
