"""Poolings by position: maxima of adaptive and of random windows, and their undoing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.ops.base import Attr, lookup
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.indexing import check_index, gather, put_along, put_along_add, take
from gradmesh_engine.ops.layout import Ints, expand, permute, zeros_like
from gradmesh_engine.ops.numeric import div_floor
from gradmesh_engine.ops.pointwise import convert, minimum
from gradmesh_engine.ops.pooling import per_dim, pool_name
from gradmesh_engine.ops.reduce import argmax_along
from gradmesh_engine.ops.shaping import composite, reshaped, unsqueezed

# --- helpers --------------------------------------------------------------------------------------


def _check(name: str, x: V, rank: int) -> None:
    if x.ndim not in (rank + 1, rank + 2) or 0 in x.shape[-rank - 1 :]:
        raise ShapeError(
            f"{name}(): Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with non-zero channels and sizes, "
            f"but got {list(x.shape)}",
            expected=f"{rank + 1} or {rank + 2} dims",
            got=str(list(x.shape)),
        )
    if not dtypes.is_floating(x.dtype):
        raise DTypeError(dtypes.refusal(name, x.dtype), got=x.dtype.name, remedy="cast it")


def counting(like: V, count: int, start: int = 0, step: int = 1) -> V:
    """start, start + step, …: `count` int64 numbers in the graph of `like`."""
    if not count:
        return constant(like, 0, (0,), dtypes.int64)
    numbers: V = iota.on(like.emitter, shape=(count,), dim=0, start=start, step=step, dtype=dtypes.int64.name)
    return numbers


def _largest(windows: V, at: V) -> tuple[V, V]:
    """The largest of each window along the last dim, and the position `at` where it stands."""
    first = unsqueezed(argmax_along(windows, dim=windows.ndim - 1), -1)
    found = gather(windows, first, dim=windows.ndim - 1)
    where = gather(expand(at, shape=windows.shape), first, dim=windows.ndim - 1)
    return reshaped(found, *found.shape[:-1]), reshaped(where, *where.shape[:-1])


def _flat_positions(along: Sequence[V], sizes: Ints, lead: int) -> V:
    """Positions in C order of all elements of all windows: (…, *outputs, window).

    `along` has for each dim the positions (…, outputs, window) with `lead` dims before.
    """
    rank = len(along)
    total: V | None = None
    for dim, at in enumerate(along):
        shape = [*at.shape[:lead], *(1,) * (2 * rank)]
        shape[lead + dim], shape[lead + rank + dim] = at.shape[lead:]
        part = reshaped(at, *shape) * math.prod(sizes[dim + 1 :])
        total = part if total is None else total + part
    assert total is not None
    return reshaped(total, *total.shape[: lead + rank], math.prod(total.shape[lead + rank :]))


# --- adaptive maxima ------------------------------------------------------------------------------


def _stretches(x: V, size: int, count: int) -> V:
    """Positions (count, widest) of the elements of `count` stretches of a dim; the last is repeated in shorter ones."""
    starts = div_floor(counting(x, count, 0, size), constant(x, count, dtype=dtypes.int64))
    ends = -div_floor(counting(x, count, -size, -size), constant(x, count, dtype=dtypes.int64))
    each, over = divmod(size, count)
    widest = each + (0 if not over else 1 if count % over == 0 else 2)
    inside = reshaped(starts, count, 1) + reshaped(counting(x, widest), 1, widest)
    return minimum(inside, reshaped(ends, count, 1) - 1)


def _adaptive_max_pool(rank: int, indices: bool) -> Callable[..., Any]:
    name = f"adaptive_max_pool{rank}d"

    def body(x: V, *, output_size: Ints) -> Any:
        _check(name, x, rank)
        counts = per_dim("output_size", output_size, rank)
        if min(counts) < 1:
            raise ShapeError(
                f"Trying to create tensor with negative dimension {min(counts)}: {list(counts)}"
                if min(counts) < 0
                else f"{name}(): output sizes must be positive",
                got=str(list(counts)),
            )
        sizes = x.shape[-rank:]
        if all(n % c == 0 for n, c in zip(sizes, counts, strict=True)):
            kernel = tuple(n // c for n, c in zip(sizes, counts, strict=True))
            pool = f"max_pool{rank}d" + "_with_indices" * indices
            return lookup(pool)(x, kernel_size=kernel)
        lead = x.ndim - rank
        along = [_stretches(x, n, c) for n, c in zip(sizes, counts, strict=True)]
        seen = x
        for dim, at in enumerate(along):
            # The dims before have become (outputs, window) each.
            seen = take(seen, at, dim=lead + 2 * dim)
        order = (*range(lead), *range(lead, seen.ndim, 2), *range(lead + 1, seen.ndim, 2))
        seen = permute(seen, dims=order)
        seen = reshaped(seen, *seen.shape[: lead + rank], math.prod(seen.shape[lead + rank :]))
        found, where = _largest(seen, _flat_positions(along, sizes, 0))
        return (found, where) if indices else found

    return body


# --- maxima of random windows ---------------------------------------------------------------------


def _random_starts(samples: V, size: int, kernel: int, count: int) -> V:
    """Starts (N, C, count) of windows at pseudorandom steps (arXiv:1412.6071), from samples (N, C) in [0, 1)."""
    n, c = samples.shape
    last = constant(samples, size - kernel, (n, c, 1), dtypes.int64)
    if count == 1:
        return last
    step = constant(samples, float(size - kernel)) / constant(samples, float(count - 1))
    each = convert(reshaped(counting(samples, count - 1), 1, 1, count - 1), dtype=samples.dtype.name)
    drawn = reshaped(samples, n, c, 1)
    starts = convert((each + drawn) * step, dtype="int64") - convert(drawn * step, dtype="int64")
    joined: V = lookup("concat")(starts, last, dim=2)
    return joined


def _fractional_max_pool(rank: int) -> Callable[..., tuple[V, V]]:
    name = f"fractional_max_pool{rank}d"

    def body(x: V, samples: V, *, kernel_size: Ints, output_size: Ints) -> tuple[V, V]:
        _check(name, x, rank)
        kernel, counts = per_dim("kernel_size", kernel_size, rank), per_dim("output_size", output_size, rank)
        sizes = x.shape[-rank:]
        if any(c < 1 or k < 1 or c + k - 1 > n for n, k, c in zip(sizes, kernel, counts, strict=True)):
            raise ShapeError(
                f"{name}(): pool sizes {list(kernel)} and output sizes {list(counts)} do not fit into {list(sizes)}",
                expected="output + kernel - 1 at most the size",
            )
        batched = x.ndim == rank + 2
        n, c = x.shape[:2] if batched else (1, x.shape[0])
        if samples.ndim != 3 or samples.shape[0] < n or samples.shape[1:] != (c, rank):
            raise ShapeError(
                f"{name}(): expected random samples of shape {[n, c, rank]}, got {list(samples.shape)}",
                expected=str([n, c, rank]),
                got=str(list(samples.shape)),
            )
        samples = convert(samples, dtype=x.dtype.name)
        along = []
        for dim, (size, k, count) in enumerate(zip(sizes, kernel, counts, strict=True)):
            # PyTorch takes the samples of a plane in the order (width, height), those of a volume in that of the dims.
            own = rank - 1 - dim if rank == 2 else dim
            drawn = reshaped(lookup("select")(samples, dim=2, index=own), n, c)
            starts = _random_starts(drawn, size, k, count)
            along.append(unsqueezed(starts, -1) + reshaped(counting(x, k), 1, 1, 1, k))
        at = _flat_positions(along, sizes, 2)
        flat = reshaped(x, n, c, math.prod(sizes))
        seen = reshaped(gather(flat, reshaped(at, n, c, at.spec.size // (n * c or 1)), dim=2), *at.shape)
        found, where = _largest(seen, at)
        if not batched:
            found, where = reshaped(found, *found.shape[1:]), reshaped(where, *where.shape[1:])
        return found, where

    return body


# --- the reverse ----------------------------------------------------------------------------------


def _planes(name: str, x: V, index: V, rank: int) -> tuple[V, V]:
    """Values and their positions with the spatial dims merged. Raises DTypeError, ShapeError."""
    check_index(name, index.spec)
    if index.shape != x.shape or x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(x.shape)}) but got indices "
            f"tensor with shape: {list(index.shape)}",
            expected=str(list(x.shape)),
            got=str(list(index.shape)),
        )
    merged = (*x.shape[:-rank], math.prod(x.shape[-rank:]))
    return reshaped(x, *merged), reshaped(index, *merged)


def _max_unpool(rank: int) -> Callable[..., V]:
    def body(x: V, index: V, *, output_size: Ints) -> V:
        values, at = _planes(f"max_unpool{rank}d", x, index, rank)
        size = per_dim("output_size", output_size, rank)
        empty = constant(x, 0, (*values.shape[:-1], math.prod(size)))
        placed = put_along(empty, at, values, dim=values.ndim - 1)
        return reshaped(placed, *x.shape[:-rank], *size)

    return body


def _max_pool2d_backward(g: V, x: V, index: V) -> V:
    values, at = _planes("max_pool2d_with_indices_backward", g, index, 2)
    added = put_along_add(at, values, dim=values.ndim - 1, size=math.prod(x.shape[-2:]))
    return reshaped(added, *x.shape)


def _max_pool2d_backward_vjp(h: V, y: V, g: V, x: V, index: V) -> tuple[V, V, None]:
    planes, at = reshaped(h, *h.shape[:-2], math.prod(h.shape[-2:])), _planes("max_pool2d", g, index, 2)[1]
    # The maxima are taken to stand where they are, as in PyTorch.
    return reshaped(gather(planes, at, dim=planes.ndim - 1), *g.shape), zeros_like(x), None


_SIZE = {"output_size": Attr("ints", doc="one for all dims or one each")}

for _rank in (1, 2, 3):
    for _indices in (False, True):
        composite(
            f"adaptive_max_pool{_rank}d" + "_with_indices" * _indices,
            _adaptive_max_pool(_rank, _indices),
            attrs=_SIZE,
            grad_name=pool_name(_rank, f"AdaptiveMaxPool{_rank}DBackward0"),
            doc="Maxima of windows that give an output of a certain size" + ", and their positions." * _indices,
        )
    composite(
        f"max_unpool{_rank}d",
        _max_unpool(_rank),
        arity=2,
        attrs=_SIZE,
        grad_name=pool_name(_rank, f"MaxUnpool{_rank}DBackward0"),
        doc="(x, positions): values put at positions in the flattened spatial dims, 0 elsewhere.",
    )
for _rank in (2, 3):
    composite(
        f"fractional_max_pool{_rank}d",
        _fractional_max_pool(_rank),
        arity=2,
        attrs={"kernel_size": Attr("ints"), **_SIZE},
        grad_name=f"FractionalMaxPool{_rank}DBackward0",
        doc="(x, samples [N, C, rank] in [0, 1)): maxima of windows at pseudorandom steps, and their positions.",
    )
composite(
    "max_pool2d_with_indices_backward",
    _max_pool2d_backward,
    arity=3,
    grad_name="MaxPool2DWithIndicesBackwardBackward0",
    vjp=_max_pool2d_backward_vjp,
    doc="(g, x, positions): cotangents added at positions in the flattened spatial dims of zeros like x.",
)
