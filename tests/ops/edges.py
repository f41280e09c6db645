"""The calls that are compared at NaN, infinities, signed zeros, subnormals, large values and kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INF, NAN = float("inf"), float("nan")

KINKS = (0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, 3.0, -3.0, 6.0, 0.25)
"""Where the functions of the table have corners, poles or limits, beside 0."""


def points(dtype: str) -> list[float]:
    """The numbers that functions of one operand are compared at."""
    tiny, big = (1e-310, 1e300) if dtype == "float64" else (1e-40, 3e38)
    moderate = (1e-8, -1e-8, 20.0, -20.0, 100.0, -100.0, 1e4, -1e4)
    return [NAN, INF, -INF, 0.0, -0.0, tiny, -tiny, big, -big, *KINKS, *moderate]


def pairs(dtype: str) -> tuple[list[float], list[float]]:
    """Every pair of the numbers that functions of two operands are compared at."""
    tiny, big = (1e-310, 1e300) if dtype == "float64" else (1e-40, 3e38)
    some = [NAN, INF, -INF, 0.0, -0.0, tiny, big, -big, 1.0, -1.0, 0.5, 2.0]
    return [a for a in some for _ in some], [b for _ in some for b in some]


def rows(dtype: str) -> list[list[float]]:
    """The rows that reductions are compared at."""
    tiny, big = (1e-310, 1e300) if dtype == "float64" else (1e-40, 3e38)
    return [
        [NAN, 1.0, 2.0, -1.0],
        [1.0, NAN, NAN, 3.0],
        [NAN, INF, 1.0, -INF],
        [NAN, NAN, NAN, NAN],
        [INF, 1.0, 2.0, 3.0],
        [INF, INF, 2.0, 3.0],
        [-INF, 1.0, 2.0, 3.0],
        [-INF, -INF, -INF, -INF],
        [INF, INF, INF, INF],
        [INF, -INF, 0.0, 1.0],
        [0.0, -0.0, 0.0, -0.0],
        [0.0, 0.0, 1.0, 2.0],
        [0.0, INF, 1.0, 2.0],
        [1.0, 1.0, 1.0, 1.0],
        [2.0, 2.0, 1.0, 1.0],
        [tiny, -tiny, tiny, 0.0],
        [big, big, 1.0, 2.0],
        [big, -big, 1.0, 2.0],
        [1.0, -2.0, 3.0, -4.0],
    ]


@dataclass(frozen=True)
class Edge:
    """A call compared at the edges. Final.

    Attributes:
        name: names it.
        call: `call(library, *tensors)`.
    """

    name: str
    call: Callable[..., Any]


def _named(name: str) -> Edge:
    def call(library: Any, *tensors: Any) -> Any:
        found = library
        for part in name.split("."):
            found = getattr(found, part)
        return found(*tensors)

    return Edge(name, call)


_UNARY = """
abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor frac lgamma digamma log log10
log1p log2 logit nan_to_num neg positive rad2deg reciprocal round rsqrt sgn sigmoid sign sin sinc sinh sqrt square
tan tanh trunc i0 angle special.entr special.erfcx special.erfinv special.i0e special.i1 special.i1e
special.log_ndtr special.ndtr special.ndtri
nn.functional.celu nn.functional.elu nn.functional.gelu nn.functional.hardshrink nn.functional.hardsigmoid
nn.functional.hardswish nn.functional.hardtanh nn.functional.leaky_relu nn.functional.logsigmoid nn.functional.mish
nn.functional.relu nn.functional.relu6 nn.functional.selu nn.functional.silu nn.functional.softplus
nn.functional.softshrink nn.functional.softsign nn.functional.tanhshrink
""".split()

UNARY: tuple[Edge, ...] = (
    *map(_named, _UNARY),
    Edge("celu alpha=2", lambda t, x: t.nn.functional.celu(x, 2.0)),
    Edge("clamp", lambda t, x: t.clamp(x, -1.0, 2.0)),
    Edge("clamp crossed", lambda t, x: t.clamp(x, 2.0, -1.0)),
    Edge("clamp max", lambda t, x: t.clamp(x, max=1.5)),
    Edge("clamp min", lambda t, x: t.clamp(x, min=-0.5)),
    Edge("clamp nan", lambda t, x: t.clamp(x, NAN, 1.0)),
    Edge("clamp tensors", lambda t, x: t.clamp(x, t.tensor(-1.0, dtype=x.dtype), t.tensor(2.0, dtype=x.dtype))),
    Edge("dropout", lambda t, x: t.nn.functional.dropout(x, 0.5, training=False)),
    Edge("elu alpha=0.5", lambda t, x: t.nn.functional.elu(x, 0.5)),
    Edge("elu alpha=-1", lambda t, x: t.nn.functional.elu(x, -1.0)),
    Edge("gelu tanh", lambda t, x: t.nn.functional.gelu(x, approximate="tanh")),
    Edge("hardshrink 1", lambda t, x: t.nn.functional.hardshrink(x, 1.0)),
    Edge("hardtanh 0 6", lambda t, x: t.nn.functional.hardtanh(x, 0.0, 6.0)),
    Edge("leaky_relu 0", lambda t, x: t.nn.functional.leaky_relu(x, 0.0)),
    Edge("leaky_relu 2", lambda t, x: t.nn.functional.leaky_relu(x, 2.0)),
    Edge("leaky_relu -1", lambda t, x: t.nn.functional.leaky_relu(x, -1.0)),
    Edge("logit eps", lambda t, x: t.logit(x, 0.25)),
    Edge("masked_fill", lambda t, x: t.masked_fill(x, t.isnan(x), 0.0)),
    Edge("mvlgamma", lambda t, x: t.mvlgamma(t.where(x < 1, t.full_like(x, 2.0), x), 2)),
    Edge("nan_to_num given", lambda t, x: t.nan_to_num(x, 1.0, 2.0, 3.0)),
    Edge("polygamma 1", lambda t, x: t.polygamma(1, x)),
    *(Edge(f"pow {e}", lambda t, x, e=e: t.pow(x, e)) for e in (0, 0.5, 1, 2, 3, -1, -2, 2.5, -0.5, NAN, INF)),
    *(Edge(f"{b} ** x", lambda t, x, b=b: b**x) for b in (0.0, 1.0, 2.0, -2.0, INF)),
    Edge("prelu", lambda t, x: t.nn.functional.prelu(x, t.tensor([0.25], dtype=x.dtype))),
    Edge("rrelu", lambda t, x: t.nn.functional.rrelu(x, training=False)),
    Edge("softplus beta=2", lambda t, x: t.nn.functional.softplus(x, 2.0, 3.0)),
    Edge("softshrink 0", lambda t, x: t.nn.functional.softshrink(x, 0.0)),
    Edge("softshrink 1", lambda t, x: t.nn.functional.softshrink(x, 1.0)),
    Edge("threshold", lambda t, x: t.nn.functional.threshold(x, 0.5, 20.0)),
    Edge("x / 0", lambda t, x: x / 0.0),
    Edge("x % 2", lambda t, x: x % 2.0),
    Edge("x // 2", lambda t, x: t.div(x, 2.0, rounding_mode="floor")),
    Edge("fmod", lambda t, x: t.fmod(x, 2.0)),
    Edge("remainder -2", lambda t, x: t.remainder(x, -2.0)),
    Edge("1 / x", lambda t, x: 1.0 / x),
    Edge("where", lambda t, x: t.where(x > 0, x, x * 2)),
    Edge("copysign", lambda t, x: t.copysign(x, -1.0)),
    Edge("ldexp", lambda t, x: t.ldexp(x, t.tensor(3))),
    Edge("xlogy", lambda t, x: t.xlogy(x, 2.0)),
    Edge("frexp", lambda t, x: t.frexp(x)[0]),
    Edge("complex abs", lambda t, x: t.abs(t.complex(x, t.zeros_like(x)))),
    Edge("square relu", lambda t, x: t.nn.functional.relu(x) ** 2),
    Edge("smooth_l1", lambda t, x: t.nn.functional.smooth_l1_loss(x, t.zeros_like(x), reduction="none")),
    Edge("huber", lambda t, x: t.nn.functional.huber_loss(x, t.zeros_like(x), reduction="none")),
    Edge("l1", lambda t, x: t.nn.functional.l1_loss(x, t.ones_like(x), reduction="none")),
    Edge("mse", lambda t, x: t.nn.functional.mse_loss(x, t.ones_like(x), reduction="none")),
    Edge(
        "bce_logits",
        lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(x, t.full_like(x, 0.25), reduction="none"),
    ),
    Edge("kl_div", lambda t, x: t.nn.functional.kl_div(x, t.full_like(x, 0.25), reduction="none")),
    Edge("kl_div target", lambda t, x: t.nn.functional.kl_div(t.full_like(x, 0.25), x, reduction="none")),
    Edge("soft_margin", lambda t, x: t.nn.functional.soft_margin_loss(x, t.ones_like(x), reduction="none")),
    Edge(
        "hinge",
        lambda t, x: t.nn.functional.hinge_embedding_loss(x, -t.ones_like(x), reduction="none"),
    ),
    Edge(
        "gaussian_nll",
        lambda t, x: t.nn.functional.gaussian_nll_loss(x, t.zeros_like(x), t.ones_like(x), reduction="none"),
    ),
    Edge("poisson_nll", lambda t, x: t.nn.functional.poisson_nll_loss(x, t.ones_like(x), reduction="none")),
)

_BINARY = """
add atan2 copysign div fmax fmin fmod hypot logaddexp logaddexp2 maximum minimum mul pow remainder sub xlogy
special.xlog1py
""".split()

BINARY: tuple[Edge, ...] = (
    *map(_named, _BINARY),
    Edge("clamp_min tensor", lambda t, x, y: t.clamp_min(x, y)),
    Edge("clamp_max tensor", lambda t, x, y: t.clamp_max(x, y)),
    Edge("clamp tensor low", lambda t, x, y: t.clamp(x, y, t.ones_like(y))),
    Edge("clamp tensor high", lambda t, x, y: t.clamp(x, t.ones_like(y), y)),
    Edge("div floor", lambda t, x, y: t.div(x, y, rounding_mode="floor")),
    Edge("div trunc", lambda t, x, y: t.div(x, y, rounding_mode="trunc")),
    Edge("lerp", lambda t, x, y: t.lerp(x, y, 0.25)),
    Edge("lerp 0.75", lambda t, x, y: t.lerp(x, y, 0.75)),
    Edge("addcmul", lambda t, x, y: t.addcmul(x, y, y, value=2)),
    Edge("addcdiv", lambda t, x, y: t.addcdiv(x, x, y, value=2)),
    Edge("where", lambda t, x, y: t.where(x > y, x, y)),
    Edge("l1_loss", lambda t, x, y: t.nn.functional.l1_loss(x, y, reduction="none")),
    Edge("mse_loss", lambda t, x, y: t.nn.functional.mse_loss(x, y, reduction="none")),
    Edge("smooth_l1_loss", lambda t, x, y: t.nn.functional.smooth_l1_loss(x, y, reduction="none")),
    Edge("huber_loss", lambda t, x, y: t.nn.functional.huber_loss(x, y, reduction="none")),
    Edge("max", lambda t, x, y: t.max(x, y)),
    Edge("min", lambda t, x, y: t.min(x, y)),
    Edge("complex abs", lambda t, x, y: t.abs(t.complex(x, y))),
    Edge("complex angle", lambda t, x, y: t.angle(t.complex(x, y))),
    Edge("prelu", lambda t, x, y: t.nn.functional.prelu(x.reshape(1, -1), y.reshape(-1))),
    Edge("glu", lambda t, x, y: t.nn.functional.glu(t.cat([x, y]), 0)),
)


def _along(name: str, **how: Any) -> Edge:
    return Edge(f"{name} {how}" if how else name, lambda t, x: getattr(t, name)(x, 1, **how))


REDUCTIONS: tuple[Edge, ...] = (
    *map(
        _along, "amax amin mean sum nansum nanmean std var logsumexp cumsum cumprod prod logcumsumexp softmax".split()
    ),
    Edge("log_softmax", lambda t, x: t.log_softmax(x, 1)),
    Edge("softmin", lambda t, x: t.nn.functional.softmin(x, 1)),
    Edge("max values", lambda t, x: t.max(x, 1).values),
    Edge("min values", lambda t, x: t.min(x, 1).values),
    Edge("median values", lambda t, x: t.median(x, 1).values),
    Edge("nanmedian values", lambda t, x: t.nanmedian(x, 1).values),
    Edge("mode values", lambda t, x: t.mode(x, 1).values),
    Edge("kthvalue values", lambda t, x: t.kthvalue(x, 2, 1).values),
    Edge("sort values", lambda t, x: t.sort(x, dim=1, stable=True).values),
    Edge("topk values", lambda t, x: t.topk(x, 2, 1).values),
    Edge("cummax values", lambda t, x: t.cummax(x, 1).values),
    Edge("cummin values", lambda t, x: t.cummin(x, 1).values),
    Edge("aminmax min", lambda t, x: t.aminmax(x, dim=1).min),
    Edge("aminmax max", lambda t, x: t.aminmax(x, dim=1).max),
    Edge("quantile", lambda t, x: t.quantile(x, 0.4, dim=1)),
    Edge("nanquantile", lambda t, x: t.nanquantile(x, 0.4, dim=1)),
    Edge("var_mean", lambda t, x: t.var_mean(x, 1)[0]),
    *(
        Edge(f"norm {p}", lambda t, x, p=p: t.linalg.vector_norm(x, p, dim=1))
        for p in (0, 0.5, 1, 1.5, 2, 3, INF, -INF, -1)
    ),
    Edge("normalize", lambda t, x: t.nn.functional.normalize(x, dim=1)),
    Edge("renorm", lambda t, x: t.renorm(x, 2, 0, 1.5)),
    Edge("layer_norm", lambda t, x: t.nn.functional.layer_norm(x, (4,))),
    Edge("diff", lambda t, x: t.diff(x, dim=1)),
    Edge("trapezoid", lambda t, x: t.trapezoid(x, dim=1)),
    Edge("max_pool1d", lambda t, x: t.nn.functional.max_pool1d(x[None], 2)),
    Edge("avg_pool1d", lambda t, x: t.nn.functional.avg_pool1d(x[None], 2)),
    Edge("adaptive_max_pool1d", lambda t, x: t.nn.functional.adaptive_max_pool1d(x[None], 2)),
    Edge("cross_entropy", lambda t, x: t.nn.functional.cross_entropy(x, t.ones(19, dtype=t.int64), reduction="none")),
    Edge("cosine_similarity", lambda t, x: t.nn.functional.cosine_similarity(x, t.ones_like(x), dim=1)),
)

# Over all elements, each row by itself: PyTorch spreads these gradients otherwise than along a dim.
WHOLE: tuple[Edge, ...] = (
    Edge("max", lambda t, x: t.max(x)),
    Edge("min", lambda t, x: t.min(x)),
    Edge("amax", lambda t, x: t.amax(x)),
    Edge("amin", lambda t, x: t.amin(x)),
    Edge("median", lambda t, x: t.median(x)),
    Edge("nanmedian", lambda t, x: t.nanmedian(x)),
    Edge("prod", lambda t, x: t.prod(x)),
    Edge("sum", lambda t, x: t.sum(x)),
    Edge("mean", lambda t, x: t.mean(x)),
    Edge("std", lambda t, x: t.std(x)),
    Edge("norm", lambda t, x: t.norm(x)),
    Edge("norm inf", lambda t, x: t.norm(x, INF)),
    Edge("aminmax", lambda t, x: t.aminmax(x).max),
    Edge("dist", lambda t, x: t.dist(x, t.ones_like(x))),
)


@dataclass(frozen=True)
class Different:
    """Where a value or gradient is deliberately not PyTorch's. Final.

    Attributes:
        where: `where(*operands)`: whether it may differ there; a reduction's operand is a row.
        why: the reason.
        dtypes: in which dtypes it does differ.
        kernels: of which of PyTorch's kernels (`torch.backends.cpu.get_cpu_capability()`) this is known; "" for all.
    """

    where: Callable[..., bool]
    why: str
    dtypes: tuple[str, ...] = ("float64", "float32")
    kernels: str = ""


_F32 = ("float32",)
_F64 = ("float64",)


def _huge(*operands: Any) -> bool:
    """Whether a square, a product by 6 or a sum of two overflows."""
    return any(1e37 < abs(x) < INF for x in operands if isinstance(x, float)) or any(
        _huge(*x) for x in operands if isinstance(x, list)
    )


def _odd(x: float) -> bool:
    return math.isnan(x) or math.isinf(x)


def _whole_negative(x: float) -> bool:
    return x == -INF or (x < 0 and x == math.floor(x))


def _ties(row: list[float]) -> bool:
    return len(set(row)) < len(row) or sum(map(math.isnan, row)) > 1


_OVERFLOW = "a step between overflows in PyTorch, though the result does not"
_TIES = "which of equal elements an unstable selection names is open"
_POLES = "PyTorch's reflection formula has no poles, but what rounding leaves of them"
_LAST_NAN = "of several NaN in a window ours names the first, PyTorch's the last"

DIFFERENT: dict[tuple[str, str], Different] = {
    ("one", "acosh"): Different(lambda x: x == -1, "outside its domain; ours factors x² - 1, which is exact near 1"),
    ("one", "complex abs"): Different(
        math.isinf, "the sign of a real infinity is known; PyTorch divides infinity by itself"
    ),
    ("one", "digamma"): Different(_whole_negative, _POLES),
    ("one", "gaussian_nll"): Different(_huge, _OVERFLOW, _F32),
    ("one", "gelu tanh"): Different(_huge, "x³ overflows beside its factor", _F32),
    ("one", "nn.functional.gelu"): Different(lambda x: x > 1e37, "PyTorch's is NaN or overflows", _F32, "AVX512"),
    ("one", "nn.functional.hardsigmoid"): Different(lambda x: abs(x) < 3, "PyTorch's 1/6 is a float32", _F64),
    ("one", "nn.functional.hardswish"): Different(_huge, _OVERFLOW, _F32),
    ("one", "polygamma 1"): Different(lambda x: x == INF or _whole_negative(x), _POLES),
    ("one", "soft_margin"): Different(lambda x: x <= -100, "PyTorch's e^-x overflows; ours is -x there"),
    ("one", "special.erfcx"): Different(
        _huge, "2 x erfcx(x) - 2/sqrt(pi), whose first term overflows in PyTorch", _F32
    ),
    ("one", "special.i1"): Different(math.isnan, "the slope at NaN is NaN, and not 1/2"),
    ("one", "special.i1e"): Different(math.isnan, "the slope at NaN is NaN, and not 1/2"),
    ("two", "addcdiv"): Different(lambda x, y: True, "PyTorch squares the divisor and multiplies before it divides"),
    ("two", "addcmul"): Different(
        lambda x, y: abs(x) == INF, "PyTorch's compiler fuses the sum with a product that overflows", _F64
    ),
    ("two", "atan2"): Different(_huge, _OVERFLOW, _F32),
    ("two", "complex abs"): Different(
        lambda x, y: math.isinf(x) or math.isinf(y) or _huge(x, y), "the direction of a single infinity is known"
    ),
    ("two", "complex angle"): Different(
        lambda x, y: any(not 1e-37 < abs(v) < 1e37 for v in (x, y)), "far away the angle does not change"
    ),
    ("two", "hypot"): Different(_huge, _OVERFLOW, _F32),
    ("rows", "adaptive_max_pool1d"): Different(_ties, _LAST_NAN),
    ("rows", "kthvalue values"): Different(_ties, _TIES),
    ("rows", "layer_norm"): Different(_huge, "where the variance overflows, PyTorch's result is NaN and ours 0"),
    ("rows", "logcumsumexp"): Different(
        lambda row: -INF in row, "the exponential of -infinity has no slope; PyTorch's is NaN"
    ),
    ("rows", "logsumexp"): Different(
        _huge, "equal shares are halves; PyTorch's e^(x - y) is 1, as log 2 is lost beside y"
    ),
    ("rows", "max_pool1d"): Different(_ties, _LAST_NAN),
    ("rows", "median values"): Different(_ties, _TIES),
    ("rows", "mode values"): Different(lambda row: any(map(math.isnan, row)), "NaN breaks the order PyTorch sorts by"),
    ("rows", "nanmean"): Different(lambda row: all(map(math.isnan, row)), "of no numbers nothing has an influence"),
    ("rows", "nanmedian values"): Different(_ties, _TIES),
    ("rows", "nanquantile"): Different(lambda row: -INF in row, "between infinities"),
    ("rows", "prod"): Different(
        lambda row: any(map(_odd, row)) or _huge(row), "a zero in any row makes PyTorch multiply the others in all rows"
    ),
    ("rows", "renorm"): Different(
        lambda row: _huge(row) or any(map(math.isnan, row)), "a row whose norm is no number has no slope to know"
    ),
    ("rows", "std"): Different(
        lambda row: _huge(row) or any(0 < abs(x) < 1e-37 for x in row), "PyTorch's float32 is a float64 here", _F32
    ),
    ("rows", "topk values"): Different(_ties, _TIES),
    ("rows", "trapezoid"): Different(lambda row: any(map(math.isinf, row)), "PyTorch subtracts the halves of the ends"),
    ("all", "prod"): Different(lambda row: INF in row and 0.0 in row, "beside a zero PyTorch multiplies the others"),
    ("all", "std"): Different(
        lambda row: _huge(row) or any(0 < abs(x) < 1e-37 for x in row), "PyTorch's float32 is a float64 here", _F32
    ),
}
