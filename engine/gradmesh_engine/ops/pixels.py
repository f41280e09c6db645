"""Channels and pixels in other places: pixel shuffles, channel shuffle."""

from __future__ import annotations

from gradmesh_engine.builder import V
from gradmesh_engine.errors import ShapeError
from gradmesh_engine.ops.base import Attr
from gradmesh_engine.ops.layout import permute
from gradmesh_engine.ops.shaping import composite, reshaped, swapped


def _pixel_shuffle(x: V, *, upscale_factor: int) -> V:
    r = upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={x.shape[-3] if x.ndim > 2 else 0} is not divisible by {r * r}"
        )
    lead, (c, h, w) = x.shape[:-3], x.shape[-3:]
    n = len(lead)
    cells = reshaped(x, *lead, c // (r * r), r, r, h, w)
    mixed = permute(cells, dims=(*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshaped(mixed, *lead, c // (r * r), h * r, w * r)


def _pixel_unshuffle(x: V, *, downscale_factor: int) -> V:
    r = downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise ShapeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor {r}, got {x.spec}"
        )
    lead, (c, h, w) = x.shape[:-3], x.shape[-3:]
    n = len(lead)
    cells = reshaped(x, *lead, c, h // r, r, w // r, r)
    mixed = permute(cells, dims=(*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshaped(mixed, *lead, c * r * r, h // r, w // r)


composite(
    "pixel_shuffle",
    _pixel_shuffle,
    attrs={"upscale_factor": Attr("int")},
    grad_name="PixelShuffleBackward0",
    doc="[*, C r², H, W] to [*, C, H r, W r].",
)
composite(
    "pixel_unshuffle",
    _pixel_unshuffle,
    attrs={"downscale_factor": Attr("int")},
    grad_name="PixelUnshuffleBackward0",
    doc="[*, C, H r, W r] to [*, C r², H, W].",
)


def _channel_shuffle(x: V, *, groups: int) -> V:
    if x.ndim < 3:
        raise ShapeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(x.shape)}")
    if groups < 1 or x.shape[1] % groups:
        raise ShapeError(
            f"Number of groups to divide channels in must be positive and divide them. "
            f"Value of groups:{groups}, channels:{x.shape[1]}",
            got=str(groups),
        )
    n, c = x.shape[:2]
    parts = reshaped(x, n, groups, c // groups, *x.shape[2:])
    return reshaped(swapped(parts, 1, 2), *x.shape)


composite(
    "channel_shuffle",
    _channel_shuffle,
    attrs={"groups": Attr("int")},
    grad_name="ChannelShuffleBackward0",
    doc="[N, g k, …] to [N, k g, …]: the channels of g groups interleaved.",
)
