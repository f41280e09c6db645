"""Rows: poolings by position, interpolation, values at points of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from tests.ops.rows import WIDE, Bad, I, Operand, Row, S, Sample, T, row
from tests.ops.rows_nn import functional


def D(*shape: int) -> Operand:
    """A tensor whose elements differ by more than finite differences step."""

    def build(rng: np.random.Generator) -> np.ndarray:
        size = int(np.prod(shape))
        return rng.permutation(size).reshape(shape) / max(size, 1) * 8 - 4

    return Operand(shape, build=build)


# --- poolings -------------------------------------------------------------------------------------


def _adaptive(name: str) -> Any:
    def ref(t: Any, x: Any, output_size: Any) -> Any:
        rank = int(name.partition("pool")[2][0])
        return getattr(t.nn.functional, name)(x, (output_size * rank)[:rank])

    return ref


def _fractional(rank: int) -> Any:
    def ref(t: Any, x: Any, samples: Any, kernel_size: Any, output_size: Any) -> Any:
        function = getattr(t.nn.functional, f"fractional_max_pool{rank}d_with_indices")
        kernel, size = ((v * rank)[:rank] for v in (kernel_size, output_size))
        return function(x, kernel, size, _random_samples=samples)

    return ref


def _unpool(rank: int) -> Any:
    def ref(t: Any, x: Any, indices: Any, output_size: Any) -> Any:
        function = getattr(t.nn.functional, f"max_unpool{rank}d")
        stride = [-(-n // h) for n, h in zip(output_size, x.shape[-rank:], strict=True)]
        return function(x, indices, stride, output_size=output_size)

    return ref


def _backward(t: Any, g: Any, x: Any, indices: Any) -> Any:
    return t.ops.aten.max_pool2d_with_indices_backward(g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)


def _distinct(*shape: int, below: int, rank: int) -> Operand:
    """Positions, each at most once in a plane."""
    planes = int(np.prod(shape[: len(shape) - rank]))

    def build(rng: np.random.Generator) -> np.ndarray:
        count = int(np.prod(shape)) // planes
        return np.stack([rng.permutation(below)[:count] for _ in range(planes)]).reshape(shape)

    return Operand(shape, dtype="int64", fixed=True, build=build)


SIZES = (7, 6, 5)

POOLS: tuple[Row, ...] = (
    *(
        row(
            f"adaptive_max_pool{rank}d{suffix}",
            S(D(2, 4, *SIZES[:rank]), output_size=(3, 4, 2)[:rank]),
            S(D(4, *SIZES[:rank]), output_size=(2,)),
            S(D(2, 4, *(6, 4, 2)[:rank]), output_size=(3, 2, 1)[:rank]),
            ref=_adaptive(f"adaptive_max_pool{rank}d{suffix}"),
            dtypes=WIDE,
            errors=(Bad(S(T(*SIZES[:rank]), output_size=(2,)), ShapeError),),
        )
        for rank in (1, 2, 3)
        for suffix in ("", "_with_indices")
    ),
    *(
        row(
            f"fractional_max_pool{rank}d",
            S(D(2, 4, *SIZES[:rank]), T(2, 4, rank, low=0.0, high=1.0), kernel_size=(2,), output_size=(4, 3, 2)[:rank]),
            S(D(4, *SIZES[:rank]), T(1, 4, rank, low=0.0, high=1.0), kernel_size=(3,), output_size=(1,)),
            ref=_fractional(rank),
            dtypes=WIDE,
            wrt=(0,),
            errors=(
                Bad(S(T(2, 4, *SIZES[:rank]), T(2, 4, rank), kernel_size=(5,), output_size=(4,)), ShapeError),
                Bad(S(T(2, 4, *SIZES[:rank]), T(2, 4, 4), kernel_size=(2,), output_size=(2,)), ShapeError),
            ),
        )
        for rank in (2, 3)
    ),
    *(
        row(
            f"max_unpool{rank}d",
            S(
                T(2, 4, *(3, 2, 2)[:rank]),
                _distinct(2, 4, *(3, 2, 2)[:rank], below=int(np.prod(size)), rank=rank),
                output_size=size,
            ),
            ref=_unpool(rank),
            dtypes=WIDE,
            errors=(
                Bad(S(T(2, 4, *SIZES[:rank]), I(2, 3, *SIZES[:rank], below=4), output_size=size), ShapeError),
                Bad(S(T(2, 4, *SIZES[:rank]), T(2, 4, *SIZES[:rank]), output_size=size), DTypeError),
            ),
        )
        for rank, size in ((1, (6,)), (2, (6, 4)), (3, (6, 4, 4)))
    ),
    row(
        "max_pool2d_with_indices_backward",
        S(T(2, 4, 3, 2), T(2, 4, 6, 4), _distinct(2, 4, 3, 2, below=24, rank=2)),
        ref=_backward,
        dtypes=WIDE,
        errors=(Bad(S(T(2, 4, 3, 2), T(2, 4, 6, 4), I(2, 3, 3, 2, below=4)), ShapeError),),
    ),
)

# --- interpolation --------------------------------------------------------------------------------


def _interpolate(
    t: Any,
    x: Any,
    output_size: Any,
    mode: str = "nearest",
    align_corners: bool = False,
    factors: Any = (),
    antialias: bool = False,
) -> Any:
    plain = mode.startswith("nearest")
    size, factor = (None, list(factors)) if factors else (list(output_size), None)
    return t.nn.functional.interpolate(x, size, factor, mode, None if plain else align_corners, antialias=antialias)


def _modes(rank: int) -> tuple[Sample, ...]:
    size, smaller = (9, 4, 7)[:rank], (3, 4, 2)[:rank]
    x = T(4, 3, *SIZES[:rank])
    smooth = ({1: "linear", 2: "bilinear", 3: "trilinear"}[rank], *(("bicubic",) if rank == 2 else ()))
    factors = (1.7, 1.3, 0.6)[:rank]
    scaled = tuple(int(n * f) for n, f in zip(SIZES, factors, strict=False))
    return (
        *(S(x, output_size=s, mode=m) for s in (size, smaller) for m in ("nearest", "nearest-exact")),
        *(S(x, output_size=s, mode=m, align_corners=a) for s in (size, smaller) for m in smooth for a in (False, True)),
        S(x, output_size=scaled, mode="nearest", factors=factors),
        S(x, output_size=scaled, mode=smooth[0], factors=factors),
    )


IMAGES: tuple[Row, ...] = (
    row(
        "interpolate",
        *_modes(2),
        *_modes(1),
        *_modes(3),
        *(
            S(T(4, 3, 7, 6), output_size=size, mode=mode, align_corners=align, antialias=True)
            for size, align, mode in (
                ((3, 4), False, "bilinear"),
                ((9, 2), True, "bicubic"),
                ((3, 4), False, "bicubic"),
                ((3, 9), False, "lanczos"),
            )
        ),
        ref=_interpolate,
        dtypes=WIDE,
        loose=16,
        errors=(
            Bad(S(T(4, 3, 7), output_size=(3,), mode="bilinear"), AttributeTypeError),
            Bad(S(T(4, 3, 7), output_size=(3, 2)), ShapeError),
            Bad(S(T(4, 3, 7), output_size=(0,)), ShapeError),
            Bad(S(T(4, 3, 7, dtype="int64"), output_size=(3,)), DTypeError),
        ),
    ),
    row(
        "grid_sample",
        *(
            S(T(2, 3, 5, 4), T(2, 3, 2, 2, low=-1.4, high=1.4), mode=m, padding_mode=p, align_corners=a)
            for m, a in (("bilinear", False), ("bilinear", True), ("nearest", False), ("bicubic", False))
            for p in ("zeros", "border", "reflection")
        ),
        *(
            S(T(2, 3, 4, 3, 5), T(2, 3, 2, 2, 3, low=-1.4, high=1.4), mode=m, padding_mode=p)
            for m, p in (("bilinear", "zeros"), ("bilinear", "reflection"), ("nearest", "border"))
        ),
        ref=functional("grid_sample"),
        dtypes=WIDE,
        loose=16,
        # A step of finite differences may cross the border of an element.
        smooth=False,
        errors=(
            Bad(S(T(2, 3, 5, 4), T(1, 3, 2, 2)), ShapeError),
            Bad(S(T(2, 3, 5, 4), T(2, 3, 2, 3)), ShapeError),
            Bad(S(T(2, 3, 5, 4), T(2, 3, 2, 2, dtype="float32")), DTypeError),
            Bad(S(T(2, 3, 5, 4, 3), T(2, 3, 2, 2, 3), mode="bicubic"), AttributeTypeError),
        ),
    ),
    row(
        "affine_grid",
        S(T(4, 2, 3), size=(4, 1, 5, 3)),
        S(T(4, 2, 3), size=(4, 1, 5, 1), align_corners=True),
        S(T(4, 3, 4), size=(4, 1, 2, 5, 3)),
        ref=functional("affine_grid"),
        dtypes=WIDE,
        errors=(
            Bad(S(T(4, 2, 3), size=(3, 1, 5, 3)), ShapeError),
            Bad(S(T(4, 2, 3), size=(4, 1, 0, 3)), ShapeError),
        ),
    ),
)

ROWS: tuple[Row, ...] = POOLS + IMAGES
