"""Losses that ask one score to exceed another by a margin, and distances of pairs of vectors."""

from __future__ import annotations

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.ops.base import Attr
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.indexing import gather, put_along_add, take
from gradmesh_engine.ops.losses import REDUCTION, reduced
from gradmesh_engine.ops.numeric import div_floor, square
from gradmesh_engine.ops.pointwise import convert, ge, gt, keep, logical_and, logical_not, meet, ne, where
from gradmesh_engine.ops.reduce import reduce_sum, scan_sum
from gradmesh_engine.ops.shaping import composite, reshaped
from gradmesh_engine.ops.smooth import log1pexp, sqrt
from gradmesh_engine.ops.statistics import norm, widened

# --- one score and a sign -------------------------------------------------------------------------


def _soft_margin(x: V, t: V, *, reduction: str) -> V:
    dtype = meet((x.spec, t.spec))
    if not dtypes.is_floating(x.dtype):
        raise DTypeError(dtypes.refusal("soft_margin_loss", x.dtype), got=x.dtype.name)
    terms = log1pexp(-(widened(x) * convert(t, dtype=widened(x).dtype.name)))
    result: V = convert(reduced(terms, reduction), dtype=dtype.name)
    return result


composite(
    "soft_margin_loss",
    _soft_margin,
    arity=2,
    attrs=REDUCTION,
    grad_name="SoftMarginLossBackward0",
    doc="log(1 + e^(-t x)) for targets t of 1 or -1, without overflow.",
)

# --- the scores of the classes of a sample --------------------------------------------------------


def _scores(name: str, x: V, t: V) -> V:
    """The scores as (N, C). Raises ShapeError, DTypeError."""
    if x.ndim > 2 or not (x.shape or (1,))[-1]:
        raise ShapeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(x.shape)}",
            expected="[C] or [N, C]",
            got=str(list(x.shape)),
        )
    return x if x.ndim == 2 else reshaped(x, 1, x.spec.size)


def _check_dtypes(name: str, x: V, t: V) -> None:
    """Raises DTypeError."""
    if not dtypes.is_floating(x.dtype):
        raise DTypeError(dtypes.refusal(name, x.dtype), expected="a float", got=x.dtype.name)
    if t.dtype != dtypes.int64:
        raise DTypeError(
            f"expected scalar type Long but found {dtypes.title(t.dtype)}", expected="int64", got=t.dtype.name
        )


def _multi_margin(x: V, t: V, weight: V | None = None, *, p: int, margin: float, reduction: str) -> V:
    if p not in (1, 2):
        raise AttributeTypeError("only p == 1 and p == 2 supported", expected="1 or 2", got=str(p))
    scores = _scores("multi_margin_loss", x, t)
    count, classes = scores.shape
    if t.ndim > 1 or t.spec.size != count:
        raise ShapeError(
            f"multi_margin_loss: The size of target tensor should be 1-D with size equal to the batch size. Expected "
            f"target size [{count}] but got {list(t.shape)}; target tensor should be 1-D with size equal to it",
            expected=f"[{count}]",
            got=str(list(t.shape)),
        )
    if weight is not None and weight.ndim != 1:
        raise ShapeError("weight must be one-dimensional", expected=f"[{classes}]", got=str(list(weight.shape)))
    if weight is not None and weight.spec.size != classes:
        raise ShapeError(
            f"inconsistent weight size, expected {classes} but got {list(weight.shape)}",
            expected=f"[{classes}]",
            got=str(list(weight.shape)),
        )
    _check_dtypes("multi_margin_loss", x, t)
    wide = widened(scores)
    at = reshaped(t, count, 1)
    short = wide - gather(wide, at, dim=1) + margin
    place = iota.on(x.emitter, shape=(1, classes), dim=1, start=0, step=1, dtype="int64")
    counts = logical_and(ne(place, at), gt(short, constant(short, 0)))
    short = keep(short, counts)
    terms = reduce_sum(square(short) if p == 2 else short, dims=(1,)) / constant(wide, float(classes))
    if weight is not None:
        terms = terms * take(convert(reshaped(weight, classes), dtype=wide.dtype.name), reshaped(t, count), dim=0)
    loss = reduced(terms, reduction)
    if reduction == "none" and not t.ndim:
        loss = reshaped(loss)
    result: V = convert(loss, dtype=x.dtype.name)
    return result


composite(
    "multi_margin_loss",
    _multi_margin,
    arity=(2, 3),
    attrs={**REDUCTION, "p": Attr("int", 1, "1 or 2"), "margin": Attr("float", 1.0)},
    grad_name="MultiMarginLossBackward0",
    doc="Sum over the other classes j of max(0, margin - x[t] + x[j])^p / C, weighted by class t.",
)


def _multilabel_margin(x: V, t: V, *, reduction: str) -> V:
    scores = _scores("multilabel_margin_loss", x, t)
    if t.spec.size != scores.spec.size or t.ndim != x.ndim:
        raise ShapeError(
            f"inconsistent target size: {list(t.shape)} for input of size: {list(x.shape)}",
            expected=str(list(x.shape)),
            got=str(list(t.shape)),
        )
    _check_dtypes("multilabel_margin_loss", x, t)
    count, classes = scores.shape
    wide, labels = widened(scores), reshaped(t, count, classes)
    zero = constant(labels, 0)
    # The labels of a sample end before its first negative number.
    ended = scan_sum(convert(logical_not(ge(labels, zero)), dtype="int64"), dim=1)
    given = logical_not(ne(ended, zero))
    safe = where(given, labels, zero)
    marked = put_along_add(safe, convert(given, dtype="int64"), dim=1, size=classes)
    other = logical_not(ne(marked, zero))
    short = 1 - reshaped(gather(wide, safe, dim=1), count, classes, 1) + reshaped(wide, count, 1, classes)
    pairs = logical_and(reshaped(given, count, classes, 1), reshaped(other, count, 1, classes))
    short = keep(short, logical_and(pairs, gt(short, constant(short, 0))))
    terms = reduce_sum(short, dims=(1, 2)) / constant(wide, float(classes))
    loss = reduced(terms, reduction)
    if reduction == "none" and x.ndim < 2:
        loss = reshaped(loss)
    result: V = convert(loss, dtype=x.dtype.name)
    return result


composite(
    "multilabel_margin_loss",
    _multilabel_margin,
    arity=2,
    attrs=REDUCTION,
    grad_name="MultilabelMarginLossBackward0",
    doc="Sum of max(0, 1 - x[i] + x[j]) / C over labels i and other classes j; the first -1 ends the labels.",
)

# --- distances ------------------------------------------------------------------------------------


def _pairwise_distance(x: V, y: V, *, p: float, eps: float, keepdim: bool) -> V:
    if not x.ndim and not y.ndim:
        raise ShapeError("pairwise_distance needs vectors along the last dim", got="0-d tensors")
    off = x - y
    if dtypes.category(off.dtype) < dtypes.FLOAT:
        off = convert(off, dtype=dtypes.DEFAULT.name)
    result: V = norm(off + eps, p=p, dim=(-1,), keepdim=keepdim)
    return result


composite(
    "pairwise_distance",
    _pairwise_distance,
    arity=2,
    attrs={"p": Attr("float", 2.0), "eps": Attr("float", 1e-6), "keepdim": Attr("bool", False)},
    grad_name="NormBackward1",
    doc="The p-norm of x - y + eps along the last dim.",
)


def _pdist(x: V, *, p: float) -> V:
    if x.ndim != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {x.ndim}D", expected="[N, M]", got=str(list(x.shape)))
    if not dtypes.is_floating(x.dtype):
        raise DTypeError("pdist only supports floating-point dtypes", got=x.dtype.name)
    if p < 0:
        raise AttributeTypeError("pdist only supports non-negative p values", got=str(p))
    rows = x.shape[0]
    first, second = _pairs(x, rows)
    off = take(x, first, dim=0) - take(x, second, dim=0)
    if not x.shape[1]:
        return constant(x, 0, (first.shape[0],))
    result: V = norm(off, p=p, dim=(1,), keepdim=False)
    if not p:
        # A count is flat, but connected, unlike the norm of order 0.
        result = result + keep(reduce_sum(off, dims=(1,)), constant(off, False, dtype=dtypes.bool_))
    return result


def _start(row: V, rows: int) -> V:
    """The number of the first pair of a row."""
    result: V = div_floor(row * (2 * rows - 1 - row), constant(row, 2))
    return result


def _pairs(x: V, rows: int) -> tuple[V, V]:
    """The numbers i < j of all pairs of rows, in order of i, then j."""
    count = rows * (rows - 1) // 2
    if not count:
        empty = constant(x, 0, (0,), dtypes.int64)
        return empty, empty
    # Row i of the upper triangle starts at i (2 rows - i - 1) / 2. The root of that says which row holds pair k, up to
    # rounding, which the two comparisons undo.
    place = iota.on(x.emitter, shape=(count,), dim=0, start=0, step=1, dtype="int64")
    odd = 2 * rows - 1
    root = sqrt(odd * odd - 8 * convert(place, dtype="float64"))
    guess = convert((odd - root) * 0.5, dtype="int64")
    late = convert(gt(_start(guess, rows), place), dtype="int64")
    early = convert(ge(place, _start(guess + 1, rows)), dtype="int64")
    first = guess - late + early
    second = place - _start(first, rows) + first + 1
    return first, second


composite(
    "pdist",
    _pdist,
    attrs={"p": Attr("float", 2.0)},
    grad_name="PdistBackward0",
    doc="The p-norms of the differences of all pairs of rows i < j.",
)
