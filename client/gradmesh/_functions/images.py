"""Images: other resolutions, and values at points of a grid.

Operands are (N, C, L), (N, C, H, W) or (N, C, D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from gradmesh._functions import windows
from gradmesh._functions._common import ints, one
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "affine_grid",
    "grid_sample",
    "interpolate",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]

Mode: TypeAlias = Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area", "lanczos"]

# --- other resolutions ----------------------------------------------------------------------------


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The image at another size: (N, C, …) is (N, C, *size).

    Give `size` or `scale_factor`; a factor also places the points, unless `recompute_scale_factor` says that the size
    ratio does. With `align_corners` the corner elements stay where they are. `antialias`, for "bilinear", "bicubic" and
    "lanczos" of four dims, averages what falls together when shrinking.

    Raises InvalidRequestError for options that do not fit each other.

    Example: `F.interpolate(gm.tensor([[[1., 2.]]]), scale_factor=2)` is `tensor([[[1., 1., 2., 2.]]])`.
    """
    rank = input.ndim - 2
    if mode in ("nearest", "nearest-exact", "area"):
        if align_corners is not None:
            raise InvalidRequestError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear",
                op="interpolate",
                got=mode,
            )
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise InvalidRequestError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as "
            "input",
            op="interpolate",
            got=f"{mode} of {input.ndim} dims",
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise InvalidRequestError(
            "Lanczos mode needs antialias=True and does not support align_corners=True", op="interpolate"
        )
    sizes, factors = _sizes(input, rank, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise InvalidRequestError("recompute_scale_factor is not meaningful with an explicit size.", op="interpolate")
    if mode == "area":
        if rank not in (1, 2, 3):
            raise InvalidRequestError(
                f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D)", op="interpolate"
            )
        return windows.adaptive(rank, input, sizes)
    return one(
        "interpolate",
        input,
        output_size=sizes,
        mode=mode,
        align_corners=bool(align_corners),
        factors=() if recompute_scale_factor else factors,
        antialias=antialias,
    )


def _sizes(
    input: Tensor, rank: int, size: int | Sequence[int] | None, scale_factor: float | Sequence[float] | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The output size, and the factors it came from, none when it was given."""
    if (size is None) == (scale_factor is None):
        given = "only one of size or scale_factor" if size is not None else "either size or scale_factor"
        raise InvalidRequestError(f"{given} should be defined", op="interpolate")
    if size is not None:
        sizes = ints("interpolate", "size", size)
        sizes = sizes if isinstance(size, (tuple, list)) else sizes * rank
        factors: tuple[float, ...] = ()
        count = len(sizes)
    else:
        assert scale_factor is not None
        many = isinstance(scale_factor, (tuple, list))
        factors = tuple(map(float, scale_factor)) if many else (float(scale_factor),) * rank  # type: ignore[arg-type]
        sizes = tuple([int(have * factor) for have, factor in zip(input.shape[2:], factors, strict=False)])
        count = len(factors)
    if count != rank:
        raise InvalidRequestError(
            f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions "
            f"of {list(input.shape[2:])} and output size of {list(sizes)}.",
            op="interpolate",
            expected=f"{rank} numbers",
            got=str(count),
        )
    return sizes, factors


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its former name.

    Example: `F.upsample(gm.tensor([[[1., 2.]]]), 4)` is `tensor([[[1., 1., 2., 2.]]])`.
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` by the nearest element.

    Example: `F.upsample_nearest(gm.tensor([[[1., 2.]]]), 4)` is `tensor([[[1., 1., 2., 2.]]])`.
    """
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` by lines, with the corners where they are.

    Example: `F.upsample_bilinear(gm.ones(1, 1, 2, 2), 3).shape` is `torch.Size([1, 1, 3, 3])`.
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


# --- grids ----------------------------------------------------------------------------------------


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: Literal["bilinear", "nearest", "bicubic"] = "bilinear",
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Values at points: (N, C, H, W) with points (N, H', W', 2) is (N, C, H', W'); with a depth, three coordinates.

    A point is (x, y[, z]), each from -1 to 1 across the image: the outer edges of the corner elements, or with
    `align_corners` their middles. Beyond the image stand zeros, its border elements, or its reflection.

    Example: `F.grid_sample(gm.ones(1, 1, 2, 2), gm.zeros(1, 1, 1, 2))` is `tensor([[[[1.]]]])`.
    """
    return one("grid_sample", input, grid, mode=mode, padding_mode=padding_mode, align_corners=bool(align_corners))


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points of a regular grid under affine maps, for `grid_sample`.

    Maps (N, 2, 3) with the size (N, C, H, W) of the result give (N, H, W, 2), maps (N, 3, 4) with a depth (N, D, H, W,
    3).

    Example: `F.affine_grid(gm.ones(1, 2, 3), (1, 1, 1, 1))` is `tensor([[[[1., 1.]]]])`.
    """
    return one("affine_grid", theta, size=ints("affine_grid", "size", size), align_corners=bool(align_corners))
