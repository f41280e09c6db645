"""Normalisations: mean 0 and variance 1 over some dims, then scaled and shifted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Specs, declare, lookup
from gradmesh_engine.ops.numeric import square
from gradmesh_engine.ops.pointwise import convert, detach
from gradmesh_engine.ops.reduce import reduce_sum, spread
from gradmesh_engine.ops.smooth import rsqrt

EPS = {"eps": Attr("float", 1e-5, "added to the variance")}

# --- helpers --------------------------------------------------------------------------------------


def _wide(v: V) -> V:
    result: V = convert(v, dtype="float32") if dtypes.is_half(v.dtype) else v
    return result


def _need_float(name: str, x: V, complex_too: bool = False) -> None:
    if not (dtypes.is_floating(x.dtype) or (complex_too and dtypes.is_complex(x.dtype))):
        raise DTypeError(
            f"{name}: expected a floating dtype, got {x.dtype.name}", expected="a floating dtype", got=x.dtype.name
        )


def _mean(v: V, dims: tuple[int, ...], count: int) -> V:
    total = reduce_sum(v, dims=dims)
    result: V = total / constant(total, float(count))
    return result


class _Centred(NamedTuple):
    """x with mean 0 over dims, and the factor that gives it variance 1, those dims removed."""

    off: V
    scale: V


def _centred(x: V, dims: tuple[int, ...], eps: float) -> _Centred:
    count = math.prod(x.shape[dim] for dim in dims)
    off = x - spread(_mean(x, dims, count), dims, x.shape)
    return _Centred(off, rsqrt(_mean(square(off), dims, count) + eps))


class _Normal(NamedTuple):
    """x with mean 0 and variance 1 over dims, and the factor that was used, its dims removed."""

    hat: V
    scale: V


def _normalized(x: V, dims: tuple[int, ...], eps: float) -> _Normal:
    off, scale = _centred(x, dims, eps)
    return _Normal(off * spread(scale, dims, x.shape), scale)


def _affine(y: V, weight: V | None, bias: V | None) -> V:
    """Y * weight + bias, both of shapes that broadcast to y."""
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _check_affine(name: str, shape: tuple[int, ...], *operands: V | None) -> None:
    for role, v in zip(("weight", "bias"), operands, strict=False):
        if v is not None and v.shape != shape:
            raise ShapeError(
                f"Expected {role} to be of same shape as normalized_shape, but got {role} of shape {list(v.shape)} and "
                f"normalized_shape = {list(shape)}",
                op=name,
                expected=str(list(shape)),
                got=str(list(v.shape)),
            )


def _pull(g: V, normal: _Normal, dims: tuple[int, ...]) -> V:
    """The cotangent of x for the cotangent `g` of the normalised x."""
    shape = g.shape
    count = math.prod(shape[dim] for dim in dims)
    average = spread(_mean(g, dims, count), dims, shape)
    along = spread(_mean(g * normal.hat, dims, count), dims, shape)
    return (g - average - normal.hat * along) * spread(normal.scale, dims, shape)


# --- over the last dims ---------------------------------------------------------------------------


def _last_dims(name: str, x: V, normalized_shape: Sequence[int]) -> tuple[int, ...]:
    _need_float(name, x, complex_too=name == "rms_norm")
    shape = tuple(normalized_shape)
    if not shape:
        raise ShapeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []",
            expected="at least one size",
        )
    if x.shape[x.ndim - len(shape) :] != shape or len(shape) > x.ndim:
        sizes = ", ".join(map(str, shape))
        raise ShapeError(
            f"Given normalized_shape=[{sizes}], expected input with shape [*, {sizes}], "
            f"but got input of size{list(x.shape)}",
            expected=f"[*, {sizes}]",
            got=str(list(x.shape)),
        )
    return tuple(range(x.ndim - len(shape), x.ndim))


def _layer_norm(
    x: V, weight: V | None = None, bias: V | None = None, *, normalized_shape: tuple[int, ...], eps: float
) -> V:
    dims = _last_dims("layer_norm", x, normalized_shape)
    _check_affine("layer_norm", normalized_shape, weight, bias)
    y = _normalized(_wide(x), dims, eps).hat
    result: V = convert(_affine(y, weight, bias), dtype=x.dtype.name)
    return result


def _layer_norm_vjp(
    g: V, y: V, x: V, weight: V | None = None, bias: V | None = None, *, normalized_shape: tuple[int, ...], eps: float
) -> tuple[V, ...]:
    dims = _last_dims("layer_norm", x, normalized_shape)
    lead = tuple(range(x.ndim - len(dims)))
    normal = _normalized(_wide(x), dims, eps)
    g = _wide(g)
    pulled = _pull(g if weight is None else g * _wide(weight), normal, dims)
    results = [convert(pulled, dtype=x.dtype.name)]
    if weight is not None:
        results.append(convert(reduce_sum(g * normal.hat, dims=lead), dtype=weight.dtype.name))
    if bias is not None:
        results.append(convert(reduce_sum(g, dims=lead), dtype=bias.dtype.name))
    return tuple(results)


_SHAPE = {"normalized_shape": Attr("ints", doc="sizes of the last dims")}

declare(
    Composite(
        name="layer_norm",
        arity=(1, 3),
        attrs={**_SHAPE, **EPS},
        grad_name="NativeLayerNormBackward0",
        doc="Mean 0 and variance 1 over the last dims, times weight plus bias.",
        body=_layer_norm,
        vjp=_layer_norm_vjp,
    )
)


def _rms_norm(x: V, weight: V | None = None, *, normalized_shape: tuple[int, ...], eps: float | None) -> V:
    dims = _last_dims("rms_norm", x, normalized_shape)
    _check_affine("rms_norm", normalized_shape, weight)
    wide = _wide(x)
    if eps is None:
        eps = 2.0**-52 if dtypes.real_of(wide.dtype) == dtypes.float64 else 2.0**-23
    scale = rsqrt(_mean(square(wide), dims, math.prod(normalized_shape)) + eps)
    y = _affine(wide * spread(scale, dims, x.shape), weight, None)
    result: V = convert(y, dtype=x.dtype.name)
    return result


def _rms_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    # PyTorch's 16-bit floats are cast back at the end.
    return "ToCopyBackward0" if dtypes.is_half(specs[0].dtype) else "MulBackward0"


declare(
    Composite(
        name="rms_norm",
        arity=(1, 2),
        attrs={**_SHAPE, "eps": Attr("float", None, "added to the mean square; the dtype's precision when absent")},
        grad_name=_rms_name,
        doc="x over the root of its mean square over the last dims, times weight.",
        body=_rms_norm,
    )
)

# --- over groups of channels ----------------------------------------------------------------------


def _group_norm(x: V, weight: V | None = None, bias: V | None = None, *, num_groups: int, eps: float) -> V:
    _need_float("group_norm", x)
    if x.ndim < 2:
        raise ShapeError(
            f"Expected at least 2 dimensions for input tensor but received {x.ndim}", got=str(list(x.shape))
        )
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(
            "Expected number of channels in input to be divisible by num_groups, "
            f"but got input of shape {list(x.shape)} and num_groups={num_groups}",
            expected="(N, C, …) with C divisible by num_groups",
            got=str(list(x.shape)),
        )
    _check_affine("group_norm", x.shape[1:2], weight, bias)
    reshape = lookup("reshape")
    inner = math.prod(x.shape[1:]) // num_groups
    groups = reshape(_wide(x), shape=(x.shape[0], num_groups, inner))
    y = reshape(lookup("layer_norm")(groups, normalized_shape=(inner,), eps=eps), shape=x.shape)
    per_channel = (x.shape[1], *(1,) * (x.ndim - 2))
    scale, shift = (None if v is None else reshape(v, shape=per_channel) for v in (weight, bias))
    result: V = convert(_affine(y, scale, shift), dtype=x.dtype.name)
    return result


declare(
    Composite(
        name="group_norm",
        arity=(1, 3),
        attrs={"num_groups": Attr("int"), **EPS},
        grad_name="NativeGroupNormBackward0",
        doc="Mean 0 and variance 1 over each group of channels (dim 1), times weight plus bias per channel.",
        body=_group_norm,
    )
)

# --- over the batch -------------------------------------------------------------------------------


def _batch_dims(name: str, x: V) -> tuple[int, ...]:
    _need_float(name, x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected an input of at least 2 dims", expected="(N, C, …)", got=str(list(x.shape)))
    return (0, *range(2, x.ndim))


def _batch_norm(x: V, weight: V | None = None, bias: V | None = None, *, eps: float) -> V:
    dims = _batch_dims("batch_norm", x)
    if math.prod(x.shape[dim] for dim in dims) == 1:
        raise ShapeError(
            f"Expected more than 1 value per channel when training, got input size {list(x.shape)}",
            expected="more than 1 value per channel",
            got=str(list(x.shape)),
        )
    _check_affine("batch_norm", x.shape[1:2], weight, bias)
    off, scale = _centred(_wide(x), dims, eps)
    # Factors meet where they are few, per channel.
    y = off * spread(_affine(scale, weight, None), dims, x.shape)
    result: V = convert(_affine(y, None, None if bias is None else spread(bias, dims, x.shape)), dtype=x.dtype.name)
    return result


def _batch_norm_vjp(g: V, y: V, x: V, weight: V | None = None, bias: V | None = None, *, eps: float) -> tuple[V, ...]:
    dims = _batch_dims("batch_norm", x)
    count = float(math.prod(x.shape[dim] for dim in dims))
    off, scale = _centred(_wide(x), dims, eps)
    g = _wide(g)
    # The sums the parameters need are the ones x needs.
    shift = reduce_sum(g, dims=dims)
    along = reduce_sum(g * off, dims=dims) * scale
    average = spread(shift / constant(g, count), dims, x.shape)
    slope = spread(along * scale / constant(g, count), dims, x.shape)
    factor = spread(scale if weight is None else scale * _wide(weight), dims, x.shape)
    pulled = (g - average - off * slope) * factor
    results = [convert(pulled, dtype=x.dtype.name)]
    if weight is not None:
        results.append(convert(along, dtype=weight.dtype.name))
    if bias is not None:
        results.append(convert(shift, dtype=bias.dtype.name))
    return tuple(results)


declare(
    Composite(
        name="batch_norm",
        arity=(1, 3),
        attrs=EPS,
        grad_name="NativeBatchNormBackward0",
        doc="Mean 0 and variance 1 per channel (dim 1) of this batch, times weight plus bias per channel.",
        body=_batch_norm,
        vjp=_batch_norm_vjp,
    )
)


def _batch_norm_inference(
    x: V, mean: V, variance: V, weight: V | None = None, bias: V | None = None, *, eps: float
) -> V:
    dims = _batch_dims("batch_norm", x)
    _check_affine("batch_norm", x.shape[1:2], weight, bias)
    for role, v in (("running_mean", mean), ("running_var", variance)):
        if v.shape != x.shape[1:2]:
            raise ShapeError(
                f"{role} should contain {x.shape[1]} elements not {v.spec.size}",
                expected=str(list(x.shape[1:2])),
                got=str(list(v.shape)),
            )
    wide = _wide(x)
    scale = rsqrt(_wide(variance) + eps)
    if weight is not None:
        scale = scale * _wide(weight)
    y = (wide - spread(mean, dims, x.shape)) * spread(scale, dims, x.shape)
    y = _affine(y, None, None if bias is None else spread(bias, dims, x.shape))
    result: V = convert(y, dtype=x.dtype.name)
    return result


declare(
    Composite(
        name="batch_norm_inference",
        arity=(3, 5),
        attrs=EPS,
        grad_name="NativeBatchNormBackward0",
        doc="Normalised per channel (dim 1) by a given mean and variance, times weight plus bias per channel.",
        body=_batch_norm_inference,
    )
)

# --- with the statistics --------------------------------------------------------------------------


def _statistics(x: V, dims: tuple[int, ...], eps: float) -> tuple[V, V]:
    """Mean, and 1 / standard deviation, over dims, which are removed."""
    wide = _wide(x)
    count = math.prod(x.shape[dim] for dim in dims)
    average = _mean(wide, dims, count)
    scale = rsqrt(_mean(square(wide - spread(average, dims, x.shape)), dims, count) + eps)
    return tuple(convert(v, dtype=x.dtype.name) for v in (average, scale))  # type: ignore[return-value]


def _native_layer_norm(
    x: V, weight: V | None = None, bias: V | None = None, *, normalized_shape: tuple[int, ...], eps: float
) -> tuple[V, V, V]:
    dims = _last_dims("layer_norm", x, normalized_shape)
    y: V = lookup("layer_norm")(
        x, *(v for v in (weight, bias) if v is not None), normalized_shape=normalized_shape, eps=eps
    )
    reshape = lookup("reshape")
    shape = x.shape[: x.ndim - len(dims)] + (1,) * len(dims)
    # No gradient flows through these statistics in PyTorch, unlike those of group norm.
    average, scale = (reshape(v, shape=shape) for v in _statistics(detach(x), dims, eps))
    return y, average, scale


def _native_group_norm(
    x: V, weight: V | None = None, bias: V | None = None, *, num_groups: int, eps: float
) -> tuple[V, V, V]:
    y = _group_norm(x, weight, bias, num_groups=num_groups, eps=eps)
    groups = lookup("reshape")(x, shape=(x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    return y, *_statistics(groups, (2,), eps)


def _native_batch_norm(x: V, weight: V | None = None, bias: V | None = None, *, eps: float) -> tuple[V, V, V]:
    y: V = lookup("batch_norm")(x, *(v for v in (weight, bias) if v is not None), eps=eps)
    return y, *_statistics(detach(x), _batch_dims("batch_norm", x), eps)


for _name, _body, _attrs in (
    ("layer", _native_layer_norm, {**_SHAPE, **EPS}),
    ("group", _native_group_norm, {"num_groups": Attr("int"), **EPS}),
    ("batch", _native_batch_norm, EPS),
):
    declare(
        Composite(
            name=f"native_{_name}_norm",
            arity=(1, 3),
            attrs=_attrs,
            grad_name=f"Native{_name.capitalize()}NormBackward0",
            doc=f"{_name}_norm, with the mean and 1 / standard deviation that were used.",
            body=_body,
        )
    )
