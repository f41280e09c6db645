"""Activation functions and softmaxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Site, Specs, declare, lookup
from gradmesh_engine.ops.pointwise import (
    REAL,
    REAL_NUMBER,
    Run,
    check_held,
    convert,
    detach,
    floating,
    ge,
    gt,
    in_float32,
    keep,
    le,
    logical_and,
    logical_not,
    logical_or,
    lt,
    minimum,
    nonzero,
    pointwise,
    where,
)
from gradmesh_engine.ops.reduce import normal_dim, reduce_max, reduce_sum, spread
from gradmesh_engine.ops.regions import narrowed
from gradmesh_engine.ops.smooth import exp, log, log1pexp, normal_cdf, sigmoid, tanh

# --- helpers --------------------------------------------------------------------------------------


def in_wide(body: Callable[..., V]) -> Callable[..., V]:
    """A body of one operand that computes the 16-bit floats in float32 and rounds once."""

    def wide(x: V, **attrs: Any) -> V:
        if not dtypes.is_half(x.dtype):
            return body(x, **attrs)
        result: V = convert(body(convert(x, dtype="float32"), **attrs), dtype=x.dtype.name)
        return result

    return wide


def _activation(name: str, body: Callable[..., V], doc: str, **changes: Any) -> Composite:
    title = "".join(part.capitalize() for part in name.split("_"))

    def checked(x: V, **attrs: Any) -> V:
        if not dtypes.is_differentiable(x.dtype):
            raise DTypeError(
                dtypes.refusal(name, x.dtype),
                expected="a floating dtype",
                got=x.dtype.name,
                remedy="cast the operand to a float",
            )
        return in_wide(body)(x, **attrs)

    changes.setdefault("grad_name", f"{title}Backward0")
    return declare(Composite(name=name, arity=1, body=checked, doc=doc, **changes))


# --- limits ---------------------------------------------------------------------------------------


def _clamp_kernel(site: Site) -> Run:
    def run(x: np.ndarray, low: np.ndarray, high: np.ndarray, out: np.ndarray) -> None:
        np.maximum(x, low, out=out)
        np.minimum(out, high, out=out)

    return run


def _clamp_vjp(g: V, y: V, x: V, low: V, high: V) -> tuple[V, V, V]:
    inside = logical_and(ge(x, low), le(x, high))
    below = logical_and(lt(x, low), lt(low, high))
    above = logical_or(gt(x, high), lt(high, low))
    return keep(g, inside), keep(g, below), keep(g, above)


def _limit_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    """PyTorch names the derivative by whether the limits are numbers or tensors."""
    numbers = all(not s.shape for s in specs[1:]) and bool(specs[0].shape)
    return "ClampBackward1" if numbers else "ClampBackward0"


clamp = pointwise(
    "clamp",
    _clamp_kernel,
    arity=3,
    allowed=REAL_NUMBER,
    cost=2.0,
    inplace=False,
    vjp=_clamp_vjp,
    grad_name=_limit_name,
    doc="x limited to [low, high]; at a limit the gradient passes.",
)


def _one_limit(which: str) -> Callable[[Specs, Mapping[str, AttrValue]], str]:
    """PyTorch tells clamp with one limit from clamp_min and clamp_max, and numbers from tensors."""

    def name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
        if attrs.get("as_clamp"):
            return _limit_name(specs, attrs)
        return f"Clamp{which}Backward{0 if attrs.get('number') else 1}"

    return name


_ONE_LIMIT = {
    "number": Attr("bool", False, "the limit was a Python number"),
    "as_clamp": Attr("bool", False, "recorded by clamp with one limit"),
}
clamp_min = pointwise(
    "clamp_min",
    lambda site: lambda x, low, out: np.maximum(x, low, out=out),
    arity=2,
    allowed=REAL,
    attrs=_ONE_LIMIT,
    vjp=lambda g, y, x, low, **_: (keep(g, ge(x, low)), keep(g, lt(x, low))),
    grad_name=_one_limit("Min"),
    doc="x limited from below; at the limit the gradient passes.",
)
clamp_max = pointwise(
    "clamp_max",
    lambda site: lambda x, high, out: np.minimum(x, high, out=out),
    arity=2,
    allowed=REAL,
    attrs=_ONE_LIMIT,
    vjp=lambda g, y, x, high, **_: (keep(g, le(x, high)), keep(g, gt(x, high))),
    grad_name=_one_limit("Max"),
    doc="x limited from above; at the limit the gradient passes.",
)


def _hardtanh_kernel(site: Site) -> Run:
    low, high = (site.out.dtype.type(site.attrs[name]) for name in ("min_val", "max_val"))

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.maximum(x, low, out=out)
        np.minimum(out, high, out=out)

    return run


def _hardtanh_check(attrs: Mapping[str, Any], dtype: np.dtype) -> None:
    for limit in ("min_val", "max_val"):
        check_held(attrs[limit], dtype)


def _hardtanh_vjp(g: V, y: V, x: V, min_val: float, max_val: float) -> tuple[V]:
    return (keep(g, logical_and(gt(x, constant(x, min_val)), lt(x, constant(x, max_val)))),)


hardtanh = pointwise(
    "hardtanh",
    _hardtanh_kernel,
    allowed=REAL_NUMBER,
    attrs={"min_val": Attr("float", -1.0), "max_val": Attr("float", 1.0)},
    cost=2.0,
    vjp=_hardtanh_vjp,
    check=_hardtanh_check,
    doc="x limited to [min_val, max_val]; at a limit the gradient is 0.",
)

# --- rectifiers -----------------------------------------------------------------------------------


def _relu_kernel(site: Site) -> Run:
    # Two arrays meet in twice the speed of an array and a number.
    zeros = np.zeros(site.out.shape, site.out.dtype)
    return lambda x, out: np.maximum(x, zeros, out=out)


relu = pointwise(
    "relu",
    _relu_kernel,
    allowed=REAL_NUMBER,
    vjp=lambda g, y, x: (keep(g, nonzero(y)),),
    doc="max(x, 0); its derivative at 0 is 0, at NaN 1.",
)


@in_float32
def _leaky_kernel(site: Site) -> Run:
    slope: Any = site.attrs["negative_slope"]
    # Of x and slope * x the one wanted is the larger when slope ≤ 1.
    pick = np.maximum if slope <= 1 else np.minimum

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, slope, out=out)
        pick(x, out, out=out)

    def run_flat(x: np.ndarray, out: np.ndarray) -> None:
        # Infinity times 0 is NaN, but only the negative one is multiplied.
        np.minimum(x, 0, out=out)
        np.multiply(out, slope, out=out)
        np.add(out, np.maximum(x, 0), out=out)

    return run if slope else run_flat


leaky_relu = pointwise(
    "leaky_relu",
    _leaky_kernel,
    compute=floating,
    allowed=REAL_NUMBER,
    attrs={"negative_slope": Attr("float", 0.01)},
    cost=2.0,
    inplace=False,
    vjp=lambda g, y, x, negative_slope: (where(gt(x, constant(x, 0)), g, g * negative_slope),),
    grad_name="LeakyReluBackward0",
    doc="x, and negative_slope * x where x < 0.",
)


def _prelu(x: V, weight: V) -> V:
    above = gt(x, constant(x, 0))
    # A weight that is not finite concerns no other element.
    result: V = where(above, x, weight * keep(x, logical_not(above)))
    return result


prelu = declare(
    Composite(
        name="prelu",
        arity=2,
        grad_name="PreluKernelBackward0",
        doc="x, and weight * x where x < 0.",
        body=_prelu,
    )
)


@in_float32
def _elu_kernel(site: Site) -> Run:
    alpha: Any = site.attrs["alpha"]
    high = np.empty(site.out.shape, site.out.dtype)
    zeros = np.zeros(site.out.shape, site.out.dtype)  # extrema are four times slower beside a scalar

    def run(x: np.ndarray, out: np.ndarray) -> None:
        np.maximum(x, zeros, out=high)
        np.minimum(x, zeros, out=out)
        np.expm1(out, out=out)
        np.multiply(out, alpha, out=out)
        np.add(out, high, out=out)

    return run


def _elu_vjp(g: V, y: V, x: V, alpha: float) -> tuple[V]:
    if alpha == 1:
        return (g * (minimum(y, constant(y, 0)) + 1),)
    return (where(gt(x, constant(x, 0)), g, g * (y + alpha)),)


elu = pointwise(
    "elu",
    _elu_kernel,
    allowed=dtypes.is_floating,
    attrs={"alpha": Attr("float", 1.0)},
    cost=8.0,
    inplace=False,
    vjp=_elu_vjp,
    doc="x, and alpha * (e^x - 1) where x < 0.",
)
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946

_activation(
    "selu",
    lambda x: elu(x, alpha=_SELU_ALPHA) * _SELU_SCALE,
    "elu scaled so that mean and variance persist.",
    grad_name="EluBackward0",
)
_activation(
    "celu",
    lambda x, alpha: elu(x / constant(x, alpha), alpha=1.0) * alpha,
    "x, and alpha * (e^(x / alpha) - 1) where x < 0.",
    attrs={"alpha": Attr("float", 1.0)},
)


def _threshold(x: V, threshold: float, value: float) -> V:
    result: V = where(le(x, constant(x, threshold)), constant(x, value), x)
    return result


declare(
    Composite(
        name="threshold",
        arity=1,
        attrs={"threshold": Attr("float"), "value": Attr("float")},
        grad_name="ThresholdBackward0",
        doc="x where it is above the threshold, else value.",
        body=_threshold,
    )
)
_activation(
    "hardsigmoid", lambda x: hardtanh(x + 3, min_val=0.0, max_val=6.0) / constant(x, 6), "clamp(x + 3, 0, 6) / 6"
)
_activation(
    "hardswish",
    lambda x: x * (hardtanh(x + 3, min_val=0.0, max_val=6.0) / constant(x, 6)),
    "x * clamp(x + 3, 0, 6) / 6",
)


def _shrunk(x: V, lambd: float) -> V:
    """A mask of where x is not within lambd of 0; NaN is not."""
    limit = constant(x, lambd)
    result: V = logical_not(logical_and(ge(x, -limit), le(x, limit)))
    return result


_activation(
    "hardshrink",
    lambda x, lambd: keep(x, _shrunk(x, lambd)),
    "x where |x| > lambd, else 0.",
    attrs={"lambd": Attr("float", 0.5)},
)
_activation(
    "softshrink",
    lambda x, lambd: x - hardtanh(x, min_val=-lambd, max_val=lambd),
    "x moved towards 0 by lambd, not past it.",
    attrs={"lambd": Attr("float", 0.5)},
    vjp=lambda g, y, x, lambd: (keep(g, _shrunk(x, lambd)),),
)

# --- gates ----------------------------------------------------------------------------------------


def _halves(x: V, dim: int) -> tuple[V, V, int]:
    if not x.ndim:
        raise ShapeError("glu does not support 0-dimensional tensors", got="[]", expected="at least one dim")
    at = normal_dim(dim, x.ndim)
    size = x.shape[at]
    if size % 2:
        raise ShapeError(
            f"Halving dimension must be even, but dimension {at} is size {size}", expected="an even size", got=str(size)
        )
    return narrowed(x, at, 0, size // 2), narrowed(x, at, size // 2, size), at


def _glu(x: V, dim: int) -> V:
    a, b, _ = _halves(x, dim)
    result: V = a * sigmoid(b)
    return result


def _glu_vjp(g: V, y: V, x: V, dim: int) -> tuple[V]:
    a, b, at = _halves(x, dim)
    s = sigmoid(b)
    return (lookup("concat")(g * s, g * (s * (1 - s)) * a, dim=at),)


_activation(
    "glu",
    _glu,
    "The first half along a dim times the sigmoid of the second.",
    attrs={"dim": Attr("int", -1)},
    vjp=_glu_vjp,
)

# --- smooth ones ----------------------------------------------------------------------------------


def _gelu(x: V, approximate: str) -> V:
    if approximate == "none":
        result: V = x * normal_cdf(x)
        return result
    if approximate != "tanh":
        raise AttributeTypeError(
            "approximate argument must be either none or tanh.", expected="'none' or 'tanh'", got=approximate
        )
    slope = math.sqrt(2 / math.pi)
    inner: V = tanh(x * (x * x * (slope * 0.044715) + slope))
    return x * ((inner + 1) * 0.5)


def _silu_vjp(g: V, y: V, x: V) -> tuple[V]:
    if dtypes.is_half(x.dtype):
        g, y, wide = (convert(v, dtype="float32") for v in (g, y, x))
        return (convert(_silu_vjp(g, y, wide)[0], dtype=x.dtype.name),)
    s = sigmoid(x)
    return (g * (s + y * (1 - s)),)


_activation(
    "gelu",
    _gelu,
    "x times the probability that a standard normal variable is below it, exact or by tanh.",
    attrs={"approximate": Attr("str", "none", "none or tanh")},
)
_activation("silu", lambda x: x * sigmoid(x), "x * sigmoid(x)", vjp=_silu_vjp)
_activation("mish", lambda x: x * tanh(log1pexp(x)), "x * tanh(softplus(x))")


def _softplus(x: V, beta: float, threshold: float) -> V:
    scaled = x if beta == 1 else x * beta
    y: V = log1pexp(scaled)
    if beta != 1:
        y = y / constant(y, beta)
    # Above this both branches are one number, and the choice can be saved.
    if threshold < (37 if x.dtype == dtypes.float64 else 17):
        y = where(gt(scaled, constant(x, threshold)), x, y)
    return y


def _slope(x: V) -> V:
    """sigmoid(x), also where e^-x overflows and that is too small to be 1 / (1 + e^-x)."""
    # From 40 on the quotient is 1.
    z: V = exp(minimum(x, constant(x, 40)))
    return z / (z + 1)


def _softplus_vjp(g: V, y: V, x: V, beta: float, threshold: float) -> tuple[V]:
    if dtypes.is_half(x.dtype):
        g, y, wide = (convert(v, dtype="float32") for v in (g, y, x))
        return (convert(_softplus_vjp(g, y, wide, beta, threshold)[0], dtype=x.dtype.name),)
    scaled = x if beta == 1 else x * beta
    slope = _slope(scaled)
    if threshold < (37 if x.dtype == dtypes.float64 else 17):
        slope = where(gt(scaled, constant(x, threshold)), constant(x, 1, x.shape), slope)
    return (g * slope,)


def _logsigmoid_vjp(g: V, y: V, x: V) -> tuple[V]:
    if dtypes.is_half(x.dtype):
        g, y, wide = (convert(v, dtype="float32") for v in (g, y, x))
        return (convert(_logsigmoid_vjp(g, y, wide)[0], dtype=x.dtype.name),)
    return (g * _slope(-x),)


_activation(
    "softplus",
    _softplus,
    "log(1 + e^(beta x)) / beta, and x where beta x > threshold.",
    attrs={"beta": Attr("float", 1.0), "threshold": Attr("float", 20.0)},
    vjp=_softplus_vjp,
)
_activation(
    "logsigmoid",
    lambda x: -log1pexp(-x),
    "log(sigmoid(x)), without overflow.",
    vjp=_logsigmoid_vjp,
    grad_name="LogSigmoidBackward0",
)

# --- softmaxes ------------------------------------------------------------------------------------


def _shifted(x: V, dim: int) -> tuple[V, V]:
    """X minus its maximum along dim, and the sum of its exponentials."""
    top = detach(reduce_max(x, dims=(dim,)))
    low = x - spread(top, (dim,), x.shape)
    return low, reduce_sum(exp(low), dims=(dim,))


def _softmax_like(name: str, finish: Callable[[V, V, int], V], pull: Callable[[V, V, int], V], doc: str) -> None:
    def body(x: V, dim: int, dtype: str | None) -> V:
        if dtype is not None:
            x = convert(x, dtype=dtype)
        if not dtypes.is_floating(x.dtype):
            raise DTypeError(
                dtypes.refusal(name, x.dtype),
                expected="a floating dtype",
                got=x.dtype.name,
                remedy="pass dtype, or cast the operand",
            )
        at = normal_dim(dim, x.ndim)
        if not x.ndim:
            flat = lookup("reshape")(x, shape=(1,))
            result: V = lookup("reshape")(body(flat, 0, None), shape=())
            return result
        if not x.spec.size:
            return x
        wide = convert(x, dtype="float32") if dtypes.is_half(x.dtype) else x
        result = convert(finish(*_shifted(wide, at), at), dtype=x.dtype.name)
        return result

    def vjp(g: V, y: V, x: V, dim: int, dtype: str | None) -> tuple[V]:
        if not y.ndim:
            return (convert(g * 0, dtype=x.dtype.name),)
        if dtypes.is_half(y.dtype):
            g, y = (convert(v, dtype="float32") for v in (g, y))
        return (convert(pull(g, y, normal_dim(dim, y.ndim)), dtype=x.dtype.name),)

    title = "".join(part.capitalize() for part in name.split("_"))
    declare(
        Composite(
            name=name,
            arity=1,
            attrs={"dim": Attr("int"), "dtype": Attr("dtype", None, "cast to it before")},
            grad_name=f"{title}Backward0",
            doc=doc,
            body=body,
            vjp=vjp,
        )
    )


def _softmax_finish(low: V, total: V, dim: int) -> V:
    result: V = exp(low) / spread(total, (dim,), low.shape)
    return result


def _softmax_pull(g: V, y: V, dim: int) -> V:
    weighted = g * y
    return weighted - y * spread(reduce_sum(weighted, dims=(dim,)), (dim,), y.shape)


def _log_softmax_pull(g: V, y: V, dim: int) -> V:
    result: V = g - exp(y) * spread(reduce_sum(g, dims=(dim,)), (dim,), y.shape)
    return result


_softmax_like("softmax", _softmax_finish, _softmax_pull, "e^x over its sum along a dim.")
_softmax_like(
    "log_softmax",
    lambda low, total, dim: low - spread(log(total), (dim,), low.shape),
    _log_softmax_pull,
    "The logarithm of softmax, without overflow.",
)
