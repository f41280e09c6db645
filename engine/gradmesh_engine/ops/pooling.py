"""PyTorch's convolutions, poolings and sliding blocks, composed of the window and convolution primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Specs, lookup
from gradmesh_engine.ops.conv import conv, conv_input
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.layout import Ints, expand
from gradmesh_engine.ops.regions import concat, narrowed, pad
from gradmesh_engine.ops.shaping import composite, reshaped
from gradmesh_engine.ops.windows import (
    Windows,
    fold_windows,
    window_max,
    window_max_pick,
    window_sum,
    windows,
    windows_of,
)


def per_dim(name: str, values: Ints, rank: int) -> Ints:
    """One number per spatial dim, from one for all or one each. Raises ShapeError."""
    if len(values) not in (1, rank):
        raise ShapeError(
            f"expected {name} to be a single integer value or a list of {rank} values to match the "
            f"convolution dimensions, but got {name}={list(values)}"
        )
    return values if len(values) == rank else values * rank


def _batched(name: str, x: V, rank: int) -> tuple[V, bool]:
    """`x` with a batch dim, and whether it had one. Raises ShapeError."""
    if x.ndim == rank + 2:
        return x, True
    if x.ndim == rank + 1:
        return reshaped(x, 1, *x.shape), False
    raise ShapeError(
        f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: "
        f"{list(x.shape)}",
        expected=f"{rank + 1} or {rank + 2} dims",
        got=str(list(x.shape)),
    )


def _unbatched(y: V, batched: bool) -> V:
    return y if batched else reshaped(y, *y.shape[1:])


def _biased(y: V, w: tuple[int, ...], bias: tuple[V, ...], filters: int) -> V:
    if not bias:
        return y
    if bias[0].shape != (filters,):
        raise ShapeError(
            f"Given weight of size {list(w)}, expected bias to be 1-dimensional with {filters} elements, but got bias "
            f"of size {list(bias[0].shape)} instead",
            expected=str([filters]),
            got=str(list(bias[0].shape)),
        )
    if bias[0].dtype != y.dtype:
        raise DTypeError(
            f"Input type ({y.dtype.name}) and bias type ({bias[0].dtype.name}) should be the same",
            expected=y.dtype.name,
            got=bias[0].dtype.name,
        )
    return y + reshaped(bias[0], filters, *(1,) * (y.ndim - 2))


# --- convolutions ---------------------------------------------------------------------------------


def _conv(name: str, rank: int) -> Callable[..., V]:
    def body(x: V, w: V, *bias: V, stride: Ints, padding: Ints, padding_mode: str, dilation: Ints, groups: int) -> V:
        x, batched = _batched(name, x, rank)
        if w.ndim != rank + 2:
            raise ShapeError(
                "weight should have at least three dimensions"
                if w.ndim < 3
                else f"Expected {w.ndim}-dimensional input for {w.ndim}-dimensional weight {list(w.shape)}, but got "
                f"{x.ndim}-dimensional input of size {list(x.shape)} instead",
                expected=f"{rank + 2} dims",
                got=str(list(w.shape)),
            )
        strides, gaps = per_dim("stride", stride, rank), per_dim("dilation", dilation, rank)
        low = high = per_dim("padding", padding, rank)
        if padding_mode == "same":
            if any(s != 1 for s in strides):
                raise ShapeError("padding='same' is not supported for strided convolutions", got=str(list(stride)))
            total = [d * (k - 1) for d, k in zip(gaps, w.shape[2:], strict=True)]
            low, high = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
        elif padding_mode == "valid":
            low = high = (0,) * rank
        elif padding_mode:
            raise AttributeTypeError(
                f"unknown padding {padding_mode!r}", op=name, expected="'same', 'valid' or numbers", got=padding_mode
            )
        y = conv(x, w, stride=strides, dilation=gaps, low=low, high=high, groups=groups)
        return _unbatched(_biased(y, w.shape, bias, w.shape[0]), batched)

    return body


def _conv_transpose(name: str, rank: int) -> Callable[..., V]:
    def body(x: V, w: V, *bias: V, stride: Ints, padding: Ints, output_padding: Ints, groups: int, dilation: Ints) -> V:
        x, batched = _batched(name, x, rank)
        if w.ndim != rank + 2 or x.shape[1] != w.shape[0]:
            raise ShapeError(
                f"Given transposed=1, weight of size {list(w.shape)}, expected input{list(x.shape)} to have "
                f"{w.shape[0] if w.ndim else 0} channels, but got {x.shape[1]} channels instead",
                got=str(list(x.shape)),
            )
        strides, gaps = per_dim("stride", stride, rank), per_dim("dilation", dilation, rank)
        around, extra = per_dim("padding", padding, rank), per_dim("output_padding", output_padding, rank)
        if any(e and e >= max(s, d) for e, s, d in zip(extra, strides, gaps, strict=True)):
            raise ShapeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding: {list(extra)} "
                f"stride: {list(strides)} dilation: {list(gaps)}"
            )
        kernel = w.shape[2:]
        reach = [d * (k - 1) + 1 for d, k in zip(gaps, kernel, strict=True)]
        size = tuple((n - 1) * s - 2 * p + r for n, s, p, r in zip(x.shape[2:], strides, around, reach, strict=True))
        wanted = tuple(n + e for n, e in zip(size, extra, strict=True))
        if any(n < 1 for n in wanted):
            raise ShapeError(
                f"Given input size per channel: {list(x.shape[2:])}. Calculated output size per channel: "
                f"{list(wanted)}. Output size is too small"
            )
        # Output padding takes back what padding cut off; beyond that stand zeros.
        back = tuple(min(e, p) for e, p in zip(extra, around, strict=True))
        beyond = tuple(e - b for e, b in zip(extra, back, strict=True))
        # Zeros that another window would fit into belong behind the result.
        inside = tuple(n + b + min(z, s - 1) for n, b, z, s in zip(size, back, beyond, strides, strict=True))
        high = tuple(p - b for p, b in zip(around, back, strict=True))
        y = conv_input(x, w, size=inside, stride=strides, dilation=gaps, low=around, high=high, groups=groups)
        if inside != wanted:
            end = (0, 0, *(a - b for a, b in zip(wanted, inside, strict=True)))
            y = pad(y, low=(0,) * y.ndim, high=end, interior=(0,) * y.ndim)
        return _unbatched(_biased(y, w.shape, bias, w.shape[1] * groups), batched)

    return body


def _conv_name(rank: int) -> Callable[[Specs, Mapping[str, AttrValue]], str]:
    def name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
        if specs[0].ndim != rank + 2:
            return "SqueezeBackward1"
        # PyTorch composes complex convolutions of real ones.
        return "AddBackward0" if dtypes.is_complex(specs[0].dtype) else "ConvolutionBackward0"

    return name


for _rank in (1, 2, 3):
    _spatial = {
        "stride": Attr("ints", (1,), "one for all spatial dims or one each"),
        "padding": Attr("ints", (0,), "zeros on both sides"),
        "dilation": Attr("ints", (1,)),
        "groups": Attr("int", 1),
    }
    composite(
        f"conv{_rank}d",
        _conv(f"conv{_rank}d", _rank),
        arity=(2, 3),
        attrs={**_spatial, "padding_mode": Attr("str", "", "'same' or 'valid' instead of numbers")},
        grad_name=_conv_name(_rank),
        doc="(x [N, C, *S], weight [F, C/groups, *K], bias [F]): cross-correlation.",
    )
    composite(
        f"conv_transpose{_rank}d",
        _conv_transpose(f"conv_transpose{_rank}d", _rank),
        arity=(2, 3),
        attrs={**_spatial, "output_padding": Attr("ints", (0,))},
        grad_name=_conv_name(_rank),
        doc="(x [N, F, *O], weight [F, C/groups, *K], bias [C]): the adjoint of a convolution in its input.",
    )

# --- pooling --------------------------------------------------------------------------------------


class _Pool:
    """A pooling over the trailing `rank` dims: its windows, and the padding that makes their number right."""

    def __init__(
        self,
        name: str,
        rank: int,
        x: V,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        ceil_mode: bool,
    ) -> None:
        if x.ndim not in (rank + 1, rank + 2):
            what = (
                "Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:"
                f"{list(x.shape)}"
                if rank == 1
                else f"non-empty {rank + 1}D or {rank + 2}D (batch mode) tensor expected for input"
            )
            raise ShapeError(f"{name}: {what}", got=str(list(x.shape)))
        kernel = per_dim("kernel_size", kernel_size, rank)
        steps = per_dim("stride", stride, rank) if stride else kernel
        around, gaps = per_dim("padding", padding, rank), per_dim("dilation", dilation, rank)
        for what, given in (("kernel_size", kernel), ("stride", steps), ("dilation", gaps)):
            if min(given) < 1:
                if what == "stride" and rank > 1:
                    raise ShapeError("stride should not be zero", got=str(list(given)))
                raise ShapeError(f"{name}() {what} must be greater than zero, but got {min(given)}")
        if min(around) < 0:
            raise ShapeError(f"{name}() pad must be non-negative, but got pad: {min(around)}")
        for p, k, d in zip(around, kernel, gaps, strict=True):
            if not 0 <= p <= (d * (k - 1) + 1) // 2:
                raise ShapeError(
                    f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                    f"dilation={d}"
                )
        if 0 in x.shape[-rank - 1 :]:
            raise ShapeError(
                f"{name}: Expected input's non-batch dimensions to have positive length, but input has a shape of "
                f"{list(x.shape)}"
                if rank == 3
                else f"Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim batch size for "
                f"input, but got:{list(x.shape)}"
            )
        self.rank = rank
        self.sizes = x.shape[-rank:]
        self.around = around
        self.geometry = Windows(kernel, steps, gaps)
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, gaps, strict=True)]
        counts = []
        for n, p, r, s in zip(self.sizes, around, reach, steps, strict=True):
            spare = n + 2 * p - r
            count = (-(-spare // s) if ceil_mode else spare // s) + 1
            if ceil_mode and (count - 1) * s >= n + p:
                count -= 1  # the last window would lie in the padding alone
            counts.append(count)
        if min(counts) < 1:
            channels = x.shape[-rank - 1]
            if name == "max_pool1d":
                raise ShapeError(f"max_pool1d() Invalid computed output size: {counts[0]}")
            raise ShapeError(
                f"Given input size: ({channels}x{'x'.join(map(str, self.sizes))}). Calculated output size: "
                f"({channels}x{'x'.join(str(max(c, 0)) for c in counts)}). Output size is too small"
            )
        self.counts = tuple(counts)
        # With ceil_mode the last window may reach past the padding.
        self.high = tuple(
            max(p, (c - 1) * s + r - n - p)
            for n, p, r, s, c in zip(self.sizes, around, reach, steps, counts, strict=True)
        )
        self.beyond = any(h > p for h, p in zip(self.high, around, strict=True))

    @property
    def attrs(self) -> dict[str, Ints]:
        return {"kernel": self.geometry.kernel, "stride": self.geometry.stride, "dilation": self.geometry.dilation}

    def padded(self, x: V, value: complex, high: Ints | None = None) -> V:
        """`x` padded for the windows."""
        lead = (0,) * (x.ndim - self.rank)
        end = self.high if high is None else high
        if not any((*self.around, *end)):
            return x
        result: V = pad(x, low=lead + self.around, high=lead + end, interior=(0,) * x.ndim, value=value)
        return result

    def cropped(self, y: V) -> V:
        """Only the windows that count: padding may have made room for more."""
        for dim, count in enumerate(self.counts, y.ndim - self.rank):
            if y.shape[dim] != count:
                y = narrowed(y, dim, 0, count)
        return y


def _lowest(dtype: np.dtype) -> float:
    if dtypes.is_complex(dtype) or dtype == dtypes.bool_:
        raise DTypeError(dtypes.refusal("max_pool", dtype), got=dtype.name)
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else float("-inf")


def _max_pool(rank: int, indices: bool) -> Callable[..., Any]:
    name = f"max_pool{rank}d"

    def body(x: V, *, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Any:
        pool = _Pool(name, rank, x, kernel_size, stride, padding, dilation, ceil_mode)
        seen = pool.padded(x, _lowest(x.dtype))
        y = window_max(seen, **pool.attrs)
        if not indices:
            return pool.cropped(y)
        at = constant(x, 0, dtype=dtypes.int64)
        step = 1
        for dim in range(rank - 1, -1, -1):
            shape = (*(1,) * dim, seen.shape[dim - rank], *(1,) * (rank - 1 - dim))
            start = -pool.around[dim] * step
            at = at + iota.on(x.emitter, shape=shape, dim=dim, start=start, step=step, dtype=dtypes.int64.name)
            step *= pool.sizes[dim]
        where = window_max_pick(expand(at, shape=seen.shape), seen, y, **pool.attrs)
        return pool.cropped(y), pool.cropped(where)

    return body


def _divided(total: V, count: V) -> V:
    """A mean; that of integers is rounded towards 0."""
    result: V = lookup("div_trunc")(total, count) if total.dtype == dtypes.int64 else total / count
    return result


def _avg_pool(rank: int) -> Callable[..., V]:
    name = f"avg_pool{rank}d"

    def body(
        x: V,
        *,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> V:
        if x.dtype != dtypes.int64 and not dtypes.is_floating(x.dtype):
            raise DTypeError(dtypes.refusal(name, x.dtype), got=x.dtype.name, remedy="cast it")
        if divisor_override == 0:
            raise ShapeError("divisor must be not zero")
        pool = _Pool(name, rank, x, kernel_size, stride, padding, (1,), ceil_mode)
        total = pool.cropped(window_sum(pool.padded(x, 0), **pool.attrs))
        padding_counts = count_include_pad or not any(pool.around)
        if divisor_override is not None or (padding_counts and not pool.beyond):
            by = pool.geometry.count if divisor_override is None else divisor_override
            return _divided(total, constant(total, by)) if x.dtype == dtypes.int64 else total * (1.0 / by)
        # How many elements each window averages, from the windows of a plane of ones.
        ones = constant(x, 1, pool.sizes)
        if count_include_pad:
            zero = (0,) * rank
            ones = pad(ones, low=pool.around, high=pool.around, interior=zero, value=1)
            rest = tuple(h - p for h, p in zip(pool.high, pool.around, strict=True))
            ones = pad(ones, low=zero, high=rest, interior=zero)
        else:
            ones = pool.padded(ones, 0)
        counts = pool.cropped(window_sum(ones, **pool.attrs))
        return _divided(total, counts)

    return body


_POOL = {
    "kernel_size": Attr("ints", doc="one for all dims or one each"),
    "stride": Attr("ints", (), "kernel_size when empty"),
    "padding": Attr("ints", (0,), "on both sides"),
    "ceil_mode": Attr("bool", False, "a last window that is not full counts"),
}


def pool_name(rank: int, name: str) -> str:
    """The name of a pooling's `grad_fn`: PyTorch pools one dim as two of which one has size 1."""
    return "SqueezeBackward1" if rank == 1 else name


for _rank in (1, 2, 3):
    _max = {**_POOL, "dilation": Attr("ints", (1,))}
    composite(
        f"max_pool{_rank}d",
        _max_pool(_rank, False),
        attrs=_max,
        grad_name=pool_name(_rank, f"MaxPool{_rank}DWithIndicesBackward0"),
        doc="The maximum of each window; the gradient goes to the first one.",
    )
    composite(
        f"max_pool{_rank}d_with_indices",
        _max_pool(_rank, True),
        attrs=_max,
        grad_name=pool_name(_rank, f"MaxPool{_rank}DWithIndicesBackward0"),
        doc="The maximum of each window, and its position in the flattened spatial dims.",
    )
    composite(
        f"avg_pool{_rank}d",
        _avg_pool(_rank),
        attrs={
            **_POOL,
            "count_include_pad": Attr("bool", True),
            "divisor_override": Attr("int", None),
        },
        grad_name=pool_name(_rank, f"AvgPool{_rank}DBackward0"),
        doc="The mean of each window.",
    )

# --- adaptive pooling -----------------------------------------------------------------------------


def _averaged(x: V, dim: int, count: int) -> V:
    """Means of `count` stretches of a dim, which overlap where the size is no multiple of it."""
    size = x.shape[dim]
    if size == count:
        return x
    reduce_sum = lookup("reduce_sum")
    if size % count == 0:
        each = size // count
        parts = reshaped(x, *x.shape[:dim], count, each, *x.shape[dim + 1 :])
        mean_of_each: V = reduce_sum(parts, dims=(dim + 1,)) * (1.0 / each)
        return mean_of_each
    means = []
    for i in range(count):
        start, stop = i * size // count, -(-(i + 1) * size // count)
        mean = reduce_sum(narrowed(x, dim, start, stop), dims=(dim,)) * (1.0 / (stop - start))
        means.append(reshaped(mean, *x.shape[:dim], 1, *x.shape[dim + 1 :]))
    joined: V = concat(*means, dim=dim)
    return joined


def _adaptive_avg_pool(rank: int) -> Callable[..., V]:
    def body(x: V, *, output_size: Ints) -> V:
        counts = per_dim("output_size", output_size, rank)
        if min(counts) < 0:
            raise ShapeError(
                f"adaptive_avg_pool{rank}d: elements of output_size must be greater than or equal to 0 but received "
                f"{list(counts)}"
            )
        if x.ndim not in (rank + 1, rank + 2) or 0 in x.shape[-rank:] or any(n < 1 for n in counts):
            raise ShapeError(
                f"adaptive_avg_pool{rank}d(): Expected {rank + 1}D or {rank + 2}D tensor with non-zero sizes and a "
                f"positive output size, but got {list(x.shape)} and {list(output_size)}"
            )
        if not dtypes.is_differentiable(x.dtype):
            raise DTypeError(dtypes.refusal(f"adaptive_avg_pool{rank}d", x.dtype), got=x.dtype.name)
        if all(n == 1 for n in counts):
            dims = tuple(range(x.ndim - rank, x.ndim))
            total = lookup("reduce_sum")(x, dims=dims)
            size = int(np.prod(x.shape[-rank:]))
            return reshaped(total * (1.0 / size), *x.shape[:-rank], *counts)
        for dim, count in enumerate(counts, x.ndim - rank):
            x = _averaged(x, dim, count)
        return x

    return body


def _adaptive_name(rank: int) -> Callable[[Specs, Mapping[str, AttrValue]], str]:
    def name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
        sizes: Any = attrs["output_size"]
        if rank == 1:
            return "SqueezeBackward1"
        return "MeanBackward1" if all(n == 1 for n in sizes) else f"AdaptiveAvgPool{rank}DBackward0"

    return name


for _rank in (1, 2, 3):
    composite(
        f"adaptive_avg_pool{_rank}d",
        _adaptive_avg_pool(_rank),
        attrs={"output_size": Attr("ints", doc="one for all dims or one each")},
        grad_name=_adaptive_name(_rank),
        doc="Means of windows that give an output of a certain size.",
    )

# --- sliding blocks -------------------------------------------------------------------------------

_BLOCKS = {
    "kernel_size": Attr("ints"),
    "dilation": Attr("ints", (1,)),
    "padding": Attr("ints", (0,)),
    "stride": Attr("ints", (1,)),
}


def _block_windows(kernel_size: Ints, dilation: Ints, stride: Ints) -> dict[str, Ints]:
    return {
        "kernel": per_dim("kernel_size", kernel_size, 2),
        "stride": per_dim("stride", stride, 2),
        "dilation": per_dim("dilation", dilation, 2),
    }


def _im2col(x: V, *, kernel_size: Ints, dilation: Ints, padding: Ints, stride: Ints) -> V:
    x, batched = _batched("unfold", x, 2)
    around = (0, 0, *per_dim("padding", padding, 2))
    seen = windows(pad(x, low=around, high=around, interior=(0,) * 4), **_block_windows(kernel_size, dilation, stride))
    n, c, kh, kw, oh, ow = seen.shape
    return _unbatched(reshaped(seen, n, c * kh * kw, oh * ow), batched)


def _col2im(x: V, *, output_size: Ints, kernel_size: Ints, dilation: Ints, padding: Ints, stride: Ints) -> V:
    batched = x.ndim == 3
    if x.ndim not in (2, 3):
        raise ShapeError(
            f"Expected 2D or 3D (batch mode) tensor for input, but got: {list(x.shape)}", expected="2 or 3 dims"
        )
    if not batched:
        x = reshaped(x, 1, *x.shape)
    around = per_dim("padding", padding, 2)
    attrs = _block_windows(kernel_size, dilation, stride)
    inner = per_dim("output_size", output_size, 2)
    size = tuple(n + 2 * p for n, p in zip(inner, around, strict=True))
    geometry = windows_of(attrs)
    geometry.check(3)
    outputs = geometry.outputs(size)
    if x.shape[1] % geometry.count or x.shape[2] != outputs[0] * outputs[1]:
        raise ShapeError(
            f"Given output_size={list(output_size)}, kernel_size={list(geometry.kernel)}, expected size of input's "
            f"dimension 2 to match the calculated number of sliding blocks {outputs[0]} * {outputs[1]} = "
            f"{outputs[0] * outputs[1]}, and dimension 1 to be divisible by {geometry.count}, but got {list(x.shape)}"
        )
    blocks = reshaped(x, x.shape[0], x.shape[1] // geometry.count, *geometry.kernel, *outputs)
    y = fold_windows(blocks, size=size, **attrs)
    for dim, (p, n) in enumerate(zip(around, inner, strict=True), 2):
        if p:
            y = narrowed(y, dim, p, p + n)
    return _unbatched(y, batched)


composite(
    "im2col",
    _im2col,
    attrs=_BLOCKS,
    grad_name="Im2ColBackward0",
    doc="F.unfold: [N, C, H, W] to [N, C * kernel, windows].",
)
composite(
    "col2im",
    _col2im,
    attrs={"output_size": Attr("ints"), **_BLOCKS},
    grad_name="Col2ImBackward0",
    doc="F.fold: [N, C * kernel, windows] to [N, C, H, W], summing what overlaps.",
)
