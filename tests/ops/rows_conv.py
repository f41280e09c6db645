"""Rows: the user's convolutions, poolings and sliding blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.errors import AttributeTypeError, ShapeError
from tests.ops.rows import FLOATS, WIDE, Bad, Operand, Row, S, T, row


def functional(name: str, *operands_first: str, **fixed: Any) -> Any:
    """torch.nn.functional's function of that name, attributes by keyword."""
    return lambda t, *xs, **attrs: getattr(t.nn.functional, name)(*xs, **attrs, **fixed)


def D(*shape: int) -> Operand:
    """Distinct values: a maximum is at one place."""
    size = int(np.prod(shape))
    return Operand(shape, build=lambda rng: rng.permutation(size).reshape(shape) / max(size, 1) * 4 - 2)


def _convolution(name: str) -> Any:
    def reference(
        t: Any, x: Any, w: Any, b: Any = None, padding: Any = (0,), padding_mode: str = "", **attrs: Any
    ) -> Any:
        return getattr(t.nn.functional, name)(x, w, b, padding=padding_mode or padding, **attrs)

    return reference


def _pool(name: str) -> Any:
    def reference(t: Any, x: Any, kernel_size: Any, stride: Any = (), **attrs: Any) -> Any:
        f = t.nn.functional
        if name.startswith("max"):
            with_indices = name.endswith("_with_indices")
            plain = name.removesuffix("_with_indices")
            return getattr(f, plain)(x, kernel_size, stride or None, return_indices=with_indices, **attrs)
        return getattr(f, name)(x, kernel_size, stride or None, **attrs)

    return reference


SIZES: dict[int, tuple[int, ...]] = {1: (9,), 2: (7, 6), 3: (5, 4, 4)}


def _convolutions(rank: int) -> tuple[Row, ...]:
    size = SIZES[rank]
    kernel = (3, 2, 2)[:rank]
    return (
        row(
            f"conv{rank}d",
            S(T(4, 4, *size), T(6, 4, *kernel), T(6)),
            S(T(4, *size), T(6, 4, *kernel)),
            S(T(2, 4, *size), T(6, 2, *kernel), T(6), stride=(2,), padding=(1,), groups=2),
            S(T(2, 4, *size), T(3, 4, *(2,) * rank), stride=(1,) * rank, padding=(1,) * rank, dilation=(2,)),
            S(T(2, 4, *size), T(3, 4, *kernel), padding_mode="same"),
            S(T(2, 4, *size), T(3, 4, *kernel), padding_mode="valid"),
            ref=_convolution(f"conv{rank}d"),
            dtypes=FLOATS if rank == 2 else WIDE,
            loose=16,
            errors=(
                Bad(S(T(4, 3, *size), T(6, 4, *kernel)), ShapeError),
                Bad(S(T(*size), T(6, 4, *kernel)), ShapeError),
                Bad(S(T(4, 4, *size), T(6, 4, *kernel), T(5)), ShapeError),
                Bad(S(T(4, 4, *size), T(6, 4, *kernel), stride=2), AttributeTypeError),
            ),
        ),
        row(
            f"conv_transpose{rank}d",
            S(T(4, 6, *size), T(6, 4, *kernel), T(4)),
            S(T(6, *size), T(6, 4, *kernel)),
            S(T(2, 6, *size), T(6, 2, *kernel), T(4), stride=(2,), padding=(1,), groups=2, output_padding=(1,)),
            S(T(2, 6, *size), T(6, 4, *kernel), dilation=(2,)),
            ref=functional(f"conv_transpose{rank}d"),
            dtypes=WIDE,
            loose=16,
            errors=(
                Bad(S(T(4, 5, *size), T(6, 4, *kernel)), ShapeError),
                Bad(S(T(4, 6, *size), T(6, 4, *kernel), output_padding=(1,)), ShapeError),
            ),
        ),
    )


def _pools(rank: int) -> tuple[Row, ...]:
    size = SIZES[rank]
    windows = (
        {"kernel_size": (2,)},
        {"kernel_size": (3,) * rank, "stride": (2,), "padding": (1,)},
        {"kernel_size": (2,), "stride": (2,) * rank, "ceil_mode": True},
    )
    bad = (
        Bad(S(T(*size), kernel_size=(2,)), ShapeError),
        Bad(S(T(2, 3, *size), kernel_size=(2,), padding=(2,)), ShapeError),
        Bad(S(T(2, 3, *size), kernel_size=(2,), stride=(0,)), ShapeError),
    )
    maxima = tuple(
        row(
            name,
            *(S(D(2, 3, *size), **how) for how in windows),
            S(D(3, *size), kernel_size=(2,)),
            S(D(2, 3, *size), kernel_size=(2,), stride=(1,), dilation=(2,)),
            ref=_pool(name),
            dtypes=FLOATS if rank == 2 else WIDE,
            errors=bad,
        )
        for name in (f"max_pool{rank}d", f"max_pool{rank}d_with_indices")
    )
    divisor: tuple[Any, ...] = () if rank == 1 else (S(T(2, 3, *size), kernel_size=(2,), divisor_override=3),)
    return (
        *maxima,
        row(
            f"avg_pool{rank}d",
            *(S(T(2, 3, *size), **how) for how in windows),
            S(T(3, *size), kernel_size=(2,)),
            S(T(2, 3, *size), kernel_size=(3,), padding=(1,), count_include_pad=False),
            S(T(2, 3, *size), kernel_size=(3,), padding=(1,), ceil_mode=True, stride=(2,)),
            *divisor,
            ref=_pool(f"avg_pool{rank}d"),
            dtypes=FLOATS if rank == 2 else WIDE,
            loose=8,
            errors=bad,
        ),
        row(
            f"adaptive_avg_pool{rank}d",
            S(T(2, 3, *size), output_size=(1,) * rank),
            S(T(2, 3, *size), output_size=(3, 2, 4)[:rank]),
            S(T(3, *size), output_size=(2,) * rank),
            ref=functional(f"adaptive_avg_pool{rank}d"),
            dtypes=WIDE,
            loose=8,
        ),
    )


BLOCKS: tuple[Row, ...] = (
    row(
        "im2col",
        S(T(4, 3, 7, 6), kernel_size=(3, 2)),
        S(T(4, 3, 7, 6), kernel_size=(2, 2), dilation=(2, 1), padding=(1, 0), stride=(1, 2)),
        S(T(3, 7, 6), kernel_size=(2, 2)),
        ref=functional("unfold"),
        dtypes=WIDE,
        errors=(Bad(S(T(7, 6), kernel_size=(2,)), ShapeError), Bad(S(T(4, 3, 2, 2), kernel_size=(3,)), ShapeError)),
    ),
    row(
        "col2im",
        S(T(4, 18, 25), output_size=(7, 6), kernel_size=(3, 2)),
        S(T(4, 12, 21), output_size=(7, 6), kernel_size=(2, 2), dilation=(2, 1), padding=(1, 0), stride=(1, 2)),
        ref=functional("fold"),
        dtypes=WIDE,
        loose=4,
        errors=(Bad(S(T(4, 18, 24), output_size=(7, 6), kernel_size=(3, 2)), ShapeError),),
    ),
    row(
        "pixel_shuffle",
        S(T(2, 12, 4, 5), upscale_factor=2),
        S(T(9, 4, 5), upscale_factor=3),
        ref=functional("pixel_shuffle"),
        dtypes=WIDE,
        errors=(Bad(S(T(2, 3, 4, 5), upscale_factor=2), ShapeError),),
    ),
    row(
        "pixel_unshuffle",
        S(T(2, 3, 4, 6), downscale_factor=2),
        S(T(2, 6, 9), downscale_factor=3),
        ref=functional("pixel_unshuffle"),
        dtypes=WIDE,
        errors=(Bad(S(T(2, 3, 5, 6), downscale_factor=2), ShapeError),),
    ),
)

ROWS: tuple[Row, ...] = (
    *(r for rank in (1, 2, 3) for r in _convolutions(rank)),
    *(r for rank in (1, 2, 3) for r in _pools(rank)),
    *BLOCKS,
)
