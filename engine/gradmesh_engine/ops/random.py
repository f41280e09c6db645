"""Random numbers that depend on nothing but a key and the position of the element.

Philox4x64-10 in counter mode gives any word of a key's stream without the ones before it. An
element of a result uses the words its global C-order position names, so a block draws the same
numbers whoever computes it, and a mask is drawn again rather than stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, InvalidRequestError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Composite, Factor, Primitive, Site, Specs, declare
from gradmesh_engine.ops.limits import within
from gradmesh_engine.ops.pointwise import Run, broadcast_shapes, convert, floating, gt, keep, lt, where

Fill: TypeAlias = "Callable[[Stream, int, np.ndarray], None]"

# --- the stream -----------------------------------------------------------------------------------


class Stream:
    """The words of one key's stream. Not thread-safe. Final."""

    def __init__(self) -> None:
        self._generator = np.random.Philox(key=0)
        self._state: Any = self._generator.state

    def seek(self, key: int) -> None:
        """Choose the key."""
        self._state["state"]["key"][:] = key & 0xFFFF_FFFF_FFFF_FFFF, 0

    def words64(self, first: int, count: int) -> np.ndarray:
        """`count` uint64 words, from word number `first` on."""
        block, skip = divmod(first, 4)
        state = self._state
        state["state"]["counter"][:] = block, 0, 0, 0
        state["buffer_pos"] = 4
        state["has_uint32"] = 0
        self._generator.state = state
        words: np.ndarray = self._generator.random_raw(skip + count)
        return words[skip:]

    def words32(self, first: int, count: int) -> np.ndarray:
        """`count` uint32 words, from word number `first` on: the halves of the 64-bit ones, low half first."""
        skip = first & 1
        words = self.words64(first >> 1, (skip + count + 1) >> 1)
        return words.astype("<u8", copy=False).view("<u4")[skip : skip + count]


def _positional_kernel(fill_for: Callable[[Site], Fill]) -> Callable[[Site], Run]:
    """A kernel that fills each contiguous run of the result's block."""

    def kernel(site: Site) -> Run:
        fill = fill_for(site)
        stream = Stream()
        shape = site.out.shape
        split = site.split
        outer = 1 if split is None else math.prod(shape[:split])
        inner = 1 if split is None else math.prod(shape[split + 1 :])
        whole = 0 if split is None else site.length * inner
        count = site.out.size // max(outer, 1)

        def run(key: np.ndarray, out: np.ndarray, start: int = 0) -> None:
            stream.seek(int(key))
            target = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
            rows = target.reshape(outer, count)
            for i in range(outer):
                fill(stream, i * whole + start * inner, rows[i])
            if target is not out:
                np.copyto(out, target)

        return run

    return kernel


def _check_key(key: TensorSpec) -> None:
    if key.dtype != dtypes.int64:
        raise DTypeError("the key must be int64", expected="int64[]", got=str(key))
    if key.shape:
        raise ShapeError("the key must be 0-d", expected="int64[]", got=str(key))


def _random(
    name: str,
    fill_for: Callable[[Site], Fill],
    attrs: Mapping[str, Attr],
    dtype_of: Callable[[Mapping[str, Any]], np.dtype],
    cost: float,
    doc: str,
) -> Primitive:
    def spec(specs: Specs, **given: Any) -> TensorSpec:
        _check_key(specs[0])
        if min(given["shape"], default=0) < 0:
            raise ShapeError("a size is negative", got=str(given["shape"]))
        return TensorSpec(tuple(given["shape"]), dtype_of(given))

    return declare(
        Primitive(
            name=name,
            arity=1,
            attrs={"shape": Attr("ints"), **attrs},
            doc=doc,
            spec=spec,
            kernel=_positional_kernel(fill_for),
            positional=True,
            axes=lambda specs, out, **_: [Factor((None,), dim) for dim in range(out.ndim)],
            cost=lambda specs, out, attrs: cost * out.size,
            cheap=True,
        )
    )


def _float_dtype(attrs: Mapping[str, Any]) -> np.dtype:
    dtype = dtypes.parse(attrs["dtype"])
    if not dtypes.is_floating(dtype):
        raise DTypeError("random numbers need a real floating dtype", expected="a float", got=dtype.name)
    return dtype


# --- uniform --------------------------------------------------------------------------------------

_UNIFORM_BITS = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24}
"""Bits of a uniform number: as many as every number below 1 of the dtype can hold."""


def _uniform_fill(site: Site) -> Fill:
    dtype = site.out.dtype
    if dtype == dtypes.float64:

        def fill_wide(stream: Stream, first: int, out: np.ndarray) -> None:
            words = stream.words64(first, out.size)
            np.right_shift(words, 11, out=words)
            np.multiply(words, 2.0**-53, out=out)

        return fill_wide
    bits = _UNIFORM_BITS[dtype]

    def fill(stream: Stream, first: int, out: np.ndarray) -> None:
        words = stream.words32(first, out.size)
        np.right_shift(words, 32 - bits, out=words)
        exact = out if dtype == dtypes.float32 else np.empty(out.shape, np.float32)
        np.copyto(exact, words, casting="unsafe")
        np.multiply(exact, 2.0**-bits, out=exact)
        if exact is not out:
            np.copyto(out, exact, casting="unsafe")

    return fill


rand = _random(
    "rand",
    _uniform_fill,
    {"dtype": Attr("dtype", "float32")},
    _float_dtype,
    16.0,
    "Uniform numbers in [0, 1).",
)

# --- normal ---------------------------------------------------------------------------------------


def _normal_fill(site: Site) -> Fill:
    """Box and Muller's transform, the cosine half: each element has its own two uniforms."""
    dtype = site.out.dtype
    if dtype == dtypes.float64:

        def fill_wide(stream: Stream, first: int, out: np.ndarray) -> None:
            words = np.right_shift(stream.words64(2 * first, 2 * out.size), 11).reshape(-1, 2)
            radius = np.multiply(words[:, 0] + 1, 2.0**-53)
            np.log(radius, out=radius)
            np.multiply(radius, -2, out=radius)
            np.sqrt(radius, out=radius)
            np.multiply(words[:, 1], 2 * math.pi * 2.0**-53, out=out)
            np.cos(out, out=out)
            np.multiply(out, radius, out=out)

        return fill_wide

    def fill(stream: Stream, first: int, out: np.ndarray) -> None:
        words = stream.words32(2 * first, 2 * out.size).reshape(-1, 2)
        radius = words[:, 0].astype(np.float32)
        # Half a step up keeps the logarithm finite.
        np.add(radius, 0.5, out=radius)
        np.multiply(radius, 2.0**-32, out=radius)
        np.log(radius, out=radius)
        np.multiply(radius, -2, out=radius)
        np.sqrt(radius, out=radius)
        angle = words[:, 1].astype(np.float32)
        np.multiply(angle, 2 * math.pi * 2.0**-32, out=angle)
        np.cos(angle, out=angle)
        np.multiply(angle, radius, out=angle)
        np.copyto(out, angle, casting="unsafe")

    return fill


randn = _random(
    "randn",
    _normal_fill,
    {"dtype": Attr("dtype", "float32")},
    _float_dtype,
    22.0,
    "Numbers from the standard normal distribution.",
)

# --- integers and masks ---------------------------------------------------------------------------


def _int_fill(site: Site) -> Fill:
    low, high = site.attrs["low"], site.attrs["high"]
    assert isinstance(low, int) and isinstance(high, int)
    span = np.uint64(high - low)

    def fill(stream: Stream, first: int, out: np.ndarray) -> None:
        words = stream.words64(first, out.size)
        # Division by a scalar is vectorised, the remainder is not.
        np.subtract(words, np.multiply(np.floor_divide(words, span), span), out=words)
        np.add(words.view(np.int64), low, out=out, casting="unsafe")

    return fill


def _int_dtype(attrs: Mapping[str, Any]) -> np.dtype:
    if not attrs["low"] < attrs["high"]:
        raise AttributeTypeError(
            f"random_ expects 'from' to be less than 'to', but got from={attrs['low']} >= to={attrs['high']}",
            expected="low < high",
            got=f"{attrs['low']} and {attrs['high']}",
        )
    if not -(2**63) <= attrs["low"] < attrs["high"] <= 2**63:
        raise AttributeTypeError("low and high must fit int64", got=f"{attrs['low']} and {attrs['high']}")
    return dtypes.int64


def _mask_fill(site: Site) -> Fill:
    p = site.attrs["p"]
    assert isinstance(p, float)
    limit = round(p * 2.0**32)

    def fill(stream: Stream, first: int, out: np.ndarray) -> None:
        if limit >= 2**32:
            out.fill(True)
        else:
            np.less(stream.words32(first, out.size), np.uint32(limit), out=out)

    return fill


def _mask_dtype(attrs: Mapping[str, Any]) -> np.dtype:
    if not 0 <= attrs["p"] <= 1:
        raise AttributeTypeError(
            f"a probability has to be between 0 and 1, but got {attrs['p']}", expected="0 to 1", got=str(attrs["p"])
        )
    return dtypes.bool_


randint = _random(
    "randint",
    _int_fill,
    {"low": Attr("int", 0), "high": Attr("int", doc="above the largest")},
    _int_dtype,
    20.0,
    "int64 numbers, each of low … high - 1 as likely as the other.",
)
random_mask = _random(
    "random_mask",
    _mask_fill,
    {"p": Attr("float", doc="the probability of True")},
    _mask_dtype,
    14.0,
    "Bools that are True with probability p.",
)


def _permutation_spec(specs: Specs, n: int) -> TensorSpec:
    _check_key(specs[0])
    if n < 0:
        raise ShapeError("a size is negative", got=str(n))
    return TensorSpec((n,), dtypes.int64)


def _permutation_kernel(site: Site) -> Run:
    stream = Stream()

    def run(key: np.ndarray, out: np.ndarray) -> None:
        stream.seek(int(key))
        np.copyto(out, np.argsort(stream.words64(0, out.size), kind="stable"))

    return run


randperm = declare(
    Primitive(
        name="randperm",
        arity=1,
        attrs={"n": Attr("int")},
        doc="The numbers 0 … n - 1 in random order, int64.",
        spec=_permutation_spec,
        kernel=_permutation_kernel,
        axes=lambda specs, out, **_: [],
        cost=lambda specs, out, attrs: 100.0 * out.size,
    )
)

# --- positions ------------------------------------------------------------------------------------


def _multinomial_spec(specs: Specs, num_samples: int, replacement: bool) -> TensorSpec:
    weights, key = specs
    _check_key(key)
    if not dtypes.is_floating(weights.dtype):
        raise DTypeError(
            "multinomial only supports floating-point dtypes for input", expected="a float", got=weights.dtype.name
        )
    if weights.ndim not in (1, 2):
        raise ShapeError("prob_dist must be 1 or 2 dim", expected="1 or 2 dims", got=str(list(weights.shape)))
    if weights.shape[-1] > 1 << 24:
        raise ShapeError("number of categories cannot exceed 2^24", got=str(weights.shape[-1]))
    if num_samples <= 0:
        raise ShapeError("cannot sample n_sample <= 0 samples", expected="at least 1", got=str(num_samples))
    if not replacement and num_samples > weights.shape[-1]:
        raise ShapeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement",
            expected=f"at most {weights.shape[-1]}",
            got=str(num_samples),
        )
    return TensorSpec((*weights.shape[:-1], num_samples), dtypes.int64)


def _multinomial_kernel(site: Site) -> Run:
    stream = Stream()
    replacement = site.attrs["replacement"]
    num_samples = site.out.shape[-1]

    def run(weights: np.ndarray, key: np.ndarray, out: np.ndarray) -> None:
        wide = weights.astype(np.float64)
        if not np.isfinite(wide).all() or (wide < 0).any():
            what = "encountering probability entry < 0, = infinity or NaN"
            raise InvalidRequestError(
                f"invalid multinomial distribution ({what})"
                if replacement
                else "probability tensor contains either `inf`, `nan` or element < 0",
                expected="finite weights >= 0",
            )
        if (np.count_nonzero(wide, axis=-1) < (1 if replacement else num_samples)).any():
            raise InvalidRequestError(
                "invalid multinomial distribution (too few positive weights)", expected=f"{num_samples} positive ones"
            )
        stream.seek(int(key))

        def uniforms(shape: tuple[int, ...]) -> np.ndarray:
            # Half a step up keeps both logarithms finite.
            words = np.right_shift(stream.words64(0, math.prod(shape)), 12)
            numbers: np.ndarray = (words + 0.5) * 2.0**-52
            return numbers.reshape(shape)

        if replacement:
            ladder = np.cumsum(wide, axis=-1)
            drawn = uniforms(out.shape) * ladder[..., -1:]
            # How many rungs lie at or below what was drawn; zero weights have no height to be hit.
            np.copyto(out, (ladder[..., None, :] <= drawn[..., None]).sum(axis=-1))
        else:
            # The first to happen of events at these rates, then the second, and so on.
            with np.errstate(divide="ignore"):
                times = -np.log(uniforms(wide.shape)) / wide
            np.copyto(out, np.argsort(times, axis=-1, kind="stable")[..., :num_samples])

    return run


declare(
    Primitive(
        name="multinomial",
        arity=2,
        attrs={"num_samples": Attr("int"), "replacement": Attr("bool", False, "a position may come again")},
        doc="Positions along the last dim, drawn in proportion to the weights there; the second operand is the key.",
        spec=_multinomial_spec,
        kernel=_multinomial_kernel,
        axes=lambda specs, out, **_: [],
        cost=lambda specs, out, attrs: 100.0 * (specs[0].size + out.size),
    )
)

# --- composed -------------------------------------------------------------------------------------


def _bernoulli(x: V, key: V) -> V:
    x = within(x, least=0.0, most=1.0, message="Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    drawn = rand(key, shape=x.shape, dtype="float64" if x.dtype == dtypes.float64 else "float32")
    result: V = convert(lt(drawn, convert(x, dtype=drawn.dtype.name)), dtype=x.dtype.name)
    return result


def _normal(mean: V, std: V, key: V, form: int) -> V:
    dtype = dtypes.result_type([(v.dtype, 2 if v.shape else 1) for v in (mean, std)])
    shape = broadcast_shapes([mean.shape, std.shape])
    drawn = randn(key, shape=shape, dtype=dtypes.real_of(dtype).name)
    if not dtypes.is_complex(std.dtype):
        std = within(std, least=0.0, most=math.inf, message="normal expects all elements of std >= 0.0")
    result: V = mean + std * drawn
    return result


declare(
    Composite(
        name="bernoulli",
        arity=2,
        grad_name="BernoulliBackward0",
        doc="1 with the probability that each element gives, else 0; the second operand is the key.",
        body=_bernoulli,
        vjp=lambda g, y, x, key: (constant(g, 0, g.shape), None),
    )
)


def _drop(x: V, key: V, p: float, training: bool, mask_shape: Sequence[int]) -> V:
    if not 0 <= p <= 1:
        raise AttributeTypeError(
            f"dropout probability has to be between 0 and 1, but got {p}", expected="0 to 1", got=str(p)
        )
    if not training or p == 0:
        return x
    mask = random_mask(key, shape=tuple(mask_shape), p=1 - p)
    scale = 1 / (1 - p) if p < 1 else 0.0
    result: V = keep(x * constant(x, scale), mask)
    return result


_DROPOUT = {"p": Attr("float", 0.5, "the probability to drop"), "training": Attr("bool", True)}


def _normal_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    return f"NormalBackward{attrs['form']}"


declare(
    Composite(
        name="normal",
        arity=3,
        attrs={"form": Attr("int", 3, "1: the mean is a tensor, 2: the standard deviation, 3: both")},
        grad_name=_normal_name,
        doc="(mean, standard deviation, key): numbers from normal distributions.",
        body=_normal,
        vjp=lambda g, y, mean, std, key, form: (
            constant(g, 0, mean.shape, mean.dtype),
            constant(g, 0, std.shape, std.dtype),
            None,
        ),
    )
)
declare(
    Composite(
        name="dropout",
        arity=2,
        attrs=_DROPOUT,
        grad_name="MulBackward0",
        doc="Elements dropped with probability p, the others scaled by 1 / (1 - p); the second operand is the key.",
        body=lambda x, key, p, training: _drop(x, key, p, training, x.shape),
    )
)
declare(
    Composite(
        name="feature_dropout",
        arity=2,
        attrs=_DROPOUT,
        grad_name="MulBackward0",
        doc="Dropout of whole channels (dim 1).",
        body=lambda x, key, p, training: _drop(x, key, p, training, x.shape[:2] + (1,) * (x.ndim - 2)),
    )
)


_ALPHA = 1.7580993408473766
"""What the self-normalising activation tends to far below 0, with its sign changed."""


def _alpha_drop(x: V, key: V, p: float, features: bool) -> V:
    if not 0 <= p <= 1:
        raise AttributeTypeError(
            f"dropout probability has to be between 0 and 1, but got {p}", expected="0 to 1", got=str(p)
        )
    if p == 1:
        return x * 0
    shape = x.shape[:2] + (1,) * (x.ndim - 2) if features else x.shape
    scale = 1 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    kept = convert(random_mask(key, shape=shape, p=1 - p), dtype=x.dtype.name)
    # A dropped element becomes -alpha; then all are scaled and moved so that mean and variance persist.
    shift = (kept - 1) * (_ALPHA * scale) + _ALPHA * scale * p
    return x * (kept * scale) + shift


declare(
    Composite(
        name="alpha_dropout",
        arity=2,
        attrs={"p": _DROPOUT["p"], "features": Attr("bool", False, "whole channels (dim 1)")},
        grad_name=lambda specs, attrs: "MulBackward0" if attrs["p"] == 1 else "AddBackward0",
        doc="Dropout that keeps mean 0 and variance 1 after selu; the second operand is the key.",
        body=_alpha_drop,
    )
)


def _rrelu(x: V, key: V, lower: float, upper: float, training: bool) -> V:
    if not dtypes.is_floating(x.dtype):
        raise DTypeError(dtypes.refusal("rrelu_with_noise", x.dtype), got=x.dtype.name)
    if lower > upper:
        raise AttributeTypeError(
            f"Lower bound should be less than or equal to the upper bound, but got {lower} and {upper}"
        )
    slope: V | float = (lower + upper) / 2
    if training:
        drawn = rand(key, shape=x.shape, dtype="float64" if x.dtype == dtypes.float64 else "float32")
        slope = convert(drawn * (upper - lower) + lower, dtype=x.dtype.name)
    result: V = where(gt(x, constant(x, 0)), x, x * slope)
    return result


declare(
    Composite(
        name="rrelu",
        arity=2,
        attrs={"lower": Attr("float", 1 / 8), "upper": Attr("float", 1 / 3), "training": Attr("bool", False)},
        grad_name="RreluWithNoiseBackward0",
        doc="x, and x times a slope where x < 0: drawn per element in training, else the mean; then the key.",
        body=_rrelu,
    )
)


def _dropout_backward(g: V, mask: V, scale: float) -> V:
    if mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"Mask should be Bool Scalar Type but got {mask.dtype.name}", expected="bool", got=mask.dtype.name
        )
    return convert(keep(g, mask), dtype=floating(g.dtype).name) * scale


declare(
    Composite(
        name="native_dropout_backward",
        arity=2,
        attrs={"scale": Attr("float")},
        grad_name="NativeDropoutBackwardBackward0",
        doc="g times scale where the mask holds, else 0.",
        body=_dropout_backward,
    )
)
