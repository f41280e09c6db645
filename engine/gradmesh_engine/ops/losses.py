"""Losses: terms reduced to their mean or sum, or left as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import ArityError, AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.activations import hardtanh
from gradmesh_engine.ops.base import Attr, Composite, Specs, declare, lookup
from gradmesh_engine.ops.limits import within
from gradmesh_engine.ops.numeric import square
from gradmesh_engine.ops.pointwise import broadcast_shapes, convert, keep, maximum, meet, ne, where
from gradmesh_engine.ops.reduce import reduce_sum
from gradmesh_engine.ops.smooth import log, log1p, log1pexp, sigmoid

REDUCTION = {"reduction": Attr("str", "mean", "mean, sum or none")}

# --- helpers --------------------------------------------------------------------------------------


def _widened(*operands: V) -> list[V]:
    """The operands in the dtype they meet in, 16-bit floats in float32."""
    dtype = meet([v.spec for v in operands])
    name = "float32" if dtypes.is_half(dtype) else dtype.name
    return [convert(v, dtype=name) for v in operands]


def _all_dims(v: V) -> tuple[int, ...]:
    return tuple(range(v.ndim))


def reduced(terms: V, reduction: str) -> V:
    """The terms' mean or sum, or themselves. Raises AttributeTypeError."""
    if reduction == "none":
        return terms
    if reduction not in ("mean", "sum"):
        raise AttributeTypeError(
            f"{reduction} is not a valid value for reduction", expected="mean, sum or none", got=reduction
        )
    total: V = reduce_sum(terms, dims=_all_dims(terms))
    return total / constant(total, float(terms.spec.size)) if reduction == "mean" else total


def _per_term(g: V, count: int, reduction: str, factor: float = 1.0) -> V:
    """Factor times the cotangent of each term: a number when they were reduced."""
    if reduction == "mean":
        return g * (factor / count) if count else g
    return g if factor == 1 else g * factor


def _pulled(v: V, x: V) -> V:
    """A cotangent of the terms as one of `x`, which was converted and broadcast to them."""
    from gradmesh_engine.ops.layout import sum_to

    result: V = convert(sum_to(v, x.shape), dtype=x.dtype.name)
    return result


def _pair_loss(
    name: str,
    terms: Callable[..., V],
    slope: Callable[..., V],
    title: str,
    doc: str,
    factor: float = 1.0,
    **attrs: Attr,
) -> None:
    """Declare a loss whose terms depend on the difference of two operands: their derivative is factor * slope."""

    def body(x: V, t: V, reduction: str, **own: Any) -> V:
        wide_x, wide_t = _widened(x, t)
        result: V = convert(reduced(terms(wide_x - wide_t, **own), reduction), dtype=meet((x.spec, t.spec)).name)
        return result

    def vjp(g: V, y: V, x: V, t: V, reduction: str, **own: Any) -> tuple[V, V]:
        wide_x, wide_t, g = *_widened(x, t), _widened(g)[0]
        off = wide_x - wide_t
        pulled = slope(off, **own) * _per_term(g, off.spec.size, reduction, factor)
        if off.shape != pulled.shape:
            pulled = lookup("expand")(pulled, shape=off.shape)
        return _pulled(pulled, x), _pulled(-pulled, t)

    declare(
        Composite(
            name=name,
            arity=2,
            attrs={**REDUCTION, **attrs},
            grad_name=f"{title}Backward0",
            doc=doc,
            body=body,
            vjp=vjp,
        )
    )


# --- of differences -------------------------------------------------------------------------------


def _huber(off: V, delta: float) -> V:
    near = hardtanh(off, min_val=-delta, max_val=delta)
    result: V = near * (off - near * 0.5)
    return result


_pair_loss("mse_loss", square, lambda off: off, "MseLoss", "(x - t)²", factor=2.0)
_pair_loss(
    "huber_loss",
    _huber,
    lambda off, delta: hardtanh(off, min_val=-delta, max_val=delta),
    "HuberLoss",
    "d² / 2 where d = |x - t| < delta, else delta (d - delta / 2).",
    delta=Attr("float", 1.0),
)
_pair_loss(
    "smooth_l1_loss",
    lambda off, beta: _huber(off, beta) / constant(off, beta),
    lambda off, beta: hardtanh(off, min_val=-beta, max_val=beta) / constant(off, beta),
    "SmoothL1Loss",
    "d² / (2 beta) where d = |x - t| < beta, else d - beta / 2.",
    beta=Attr("float", 1.0),
)

# --- of probabilities -----------------------------------------------------------------------------


def _same_shapes(x: V, t: V) -> None:
    if x.shape != t.shape:
        raise ShapeError(
            f"Target size ({list(t.shape)}) must be the same as input size ({list(x.shape)})",
            expected=str(list(x.shape)),
            got=str(list(t.shape)),
            remedy="reshape the target",
        )


def _check_weights(x: V, *weights: V) -> None:
    """Raises ShapeError for weights that are not repeated along the terms, but the terms along them."""
    for weight in weights:
        if broadcast_shapes([x.shape, weight.shape]) != x.shape:
            raise ShapeError(
                f"output with shape {list(x.shape)} doesn't match the broadcast shape "
                f"{list(broadcast_shapes([x.shape, weight.shape]))}",
                expected=f"weights that broadcast to {list(x.shape)}",
                got=str(list(weight.shape)),
            )


def _bce_terms(p: V, t: V) -> V:
    floor = constant(p, -100)
    result: V = -(t * maximum(log(p), floor) + (1 - t) * maximum(log1p(-p), floor))
    return result


def _bce(p: V, t: V, weight: V | None = None, reduction: str = "mean") -> V:
    if p.shape != t.shape:
        raise ShapeError(
            f"Using a target size (torch.Size({list(t.shape)})) that is different to the input size "
            f"(torch.Size({list(p.shape)})) is deprecated. Please ensure they have the same size.",
            expected=str(list(p.shape)),
            got=str(list(t.shape)),
            remedy="reshape the target",
        )
    p = within(p, least=0.0, most=1.0, message="all elements of input should be between 0 and 1")
    if weight is not None:
        _check_weights(p, weight)
    wide = _widened(p, t)
    terms = _bce_terms(*wide)
    if weight is not None:
        terms = terms * convert(weight, dtype=terms.dtype.name)
    result: V = convert(reduced(terms, reduction), dtype=p.dtype.name)
    return result


def _bce_vjp(g: V, y: V, p: V, t: V, weight: V | None = None, reduction: str = "mean") -> tuple[V, ...]:
    wide_p, wide_t = _widened(p, t)
    scale = _per_term(_widened(g)[0], p.spec.size, reduction)
    terms = scale if weight is None else scale * convert(weight, dtype=wide_p.dtype.name)
    spread_out = maximum(wide_p * (1 - wide_p), constant(wide_p, 1e-12))
    gp = (wide_p - wide_t) / spread_out * terms
    gt = (log1p(-wide_p) - log(wide_p)) * terms
    results = [_pulled(gp, p), _pulled(gt, t)]
    if weight is not None:
        results.append(_pulled(_bce_terms(wide_p, wide_t) * scale, weight))
    return tuple(results)


declare(
    Composite(
        name="binary_cross_entropy",
        arity=(2, 3),
        attrs=REDUCTION,
        grad_name="BinaryCrossEntropyBackward0",
        doc="-(t log p + (1 - t) log(1 - p)), weighted; logarithms are limited to -100 from below.",
        body=_bce,
        vjp=_bce_vjp,
    )
)


class _Logits:
    """The operands of binary cross entropy with logits, told apart and widened."""

    def __init__(self, x: V, t: V, rest: Sequence[V], has_pos_weight: bool) -> None:
        _same_shapes(x, t)
        if len(rest) > 1 and not has_pos_weight:
            raise ArityError(
                "binary_cross_entropy_with_logits takes one weight",
                expected="x, target and weight; or has_pos_weight, with pos_weight last",
                got=f"{2 + len(rest)} operands",
            )
        _check_weights(x, *rest)
        wide = _widened(x, t, *rest)
        self.x, self.t = wide[:2]
        self.pos_weight = wide[-1] if has_pos_weight and rest else None
        self.weight = wide[2] if len(rest) - (self.pos_weight is not None) else None

    def terms(self) -> V:
        """The terms, before the weight."""
        result: V
        if self.pos_weight is None:
            result = (1 - self.t) * self.x + log1pexp(-self.x)
        else:
            result = (1 - self.t) * self.x + self.sharpened() * log1pexp(-self.x)
        return result

    def sharpened(self) -> V:
        """The factor of the target's part: pos_weight where the target is 1, 1 where it is 0."""
        assert self.pos_weight is not None
        return (self.pos_weight - 1) * self.t + 1


def _logits(x: V, t: V, *rest: V, reduction: str, has_pos_weight: bool) -> V:
    given = _Logits(x, t, rest, has_pos_weight)
    terms = given.terms()
    if given.weight is not None:
        terms = terms * given.weight
    result: V = convert(reduced(terms, reduction), dtype=meet((x.spec, t.spec)).name)
    return result


def _logits_vjp(g: V, y: V, x: V, t: V, *rest: V, reduction: str, has_pos_weight: bool) -> tuple[V, ...]:
    given = _Logits(x, t, rest, has_pos_weight)
    scale = _per_term(convert(g, dtype=given.x.dtype.name), x.spec.size, reduction)
    each = scale if given.weight is None else scale * given.weight
    pulled: list[V] = []
    if given.pos_weight is None:
        pulled = [(sigmoid(given.x) - given.t) * each, -(given.x * each)]
    else:
        tail = log1pexp(-given.x)
        pulled = [
            ((1 - given.t) - given.sharpened() * sigmoid(-given.x)) * each,
            ((given.pos_weight - 1) * tail - given.x) * each,
        ]
    if given.weight is not None:
        pulled.append(given.terms() * scale)
    if given.pos_weight is not None:
        pulled.append(given.t * log1pexp(-given.x) * each)
    return tuple(_pulled(v, operand) for v, operand in zip(pulled, (x, t, *rest), strict=True))


declare(
    Composite(
        name="binary_cross_entropy_with_logits",
        arity=(2, 4),
        attrs={**REDUCTION, "has_pos_weight": Attr("bool", False, "the last operand is pos_weight, not weight")},
        grad_name="BinaryCrossEntropyWithLogitsBackward0",
        doc="binary_cross_entropy of sigmoid(x), without overflow; then weight, then pos_weight, may follow.",
        body=_logits,
        vjp=_logits_vjp,
    )
)

# --- of classes -----------------------------------------------------------------------------------


def _classes(x: V, t: V) -> tuple[V, V]:
    """Operands with a batch dim: (N, C, …) and (N, …). Raises ShapeError, DTypeError."""
    if t.dtype not in (dtypes.int64, dtypes.uint8):
        raise DTypeError(
            f"expected target dtype to be Long or Byte, but got {dtypes.title(t.dtype)}",
            expected="int64",
            got=t.dtype.name,
            remedy="cast it",
        )
    reshape = lookup("reshape")
    if x.ndim == 1 and t.ndim == 0:
        x, t = reshape(x, shape=(1, *x.shape)), reshape(t, shape=(1,))
    if x.ndim < 2 or t.shape != (x.shape[0], *x.shape[2:]):
        wanted = [x.shape[0], *x.shape[2:]] if x.ndim else []
        if x.ndim == 2 and t.ndim > 1:
            what = "0D or 1D target tensor expected, multi-target not supported"
        elif x.ndim > 1 and t.ndim and t.shape[0] != x.shape[0]:
            what = f"Expected input batch_size ({x.shape[0]}) to match target batch_size ({t.shape[0]})."
        else:
            what = f"Expected target size {wanted}, got {list(t.shape)}"
        raise ShapeError(
            what,
            expected="(N, C, …) and (N, …)",
            got=f"{list(x.shape)} and {list(t.shape)}",
        )
    return x, t


def _class_weights(x: V, weight: V | None) -> None:
    if weight is not None and weight.shape != (x.shape[1],):
        raise ShapeError(
            "weight tensor should be defined either for all classes or no classes",
            expected=f"[{x.shape[1]}]",
            got=str(list(weight.shape)),
        )


def _nll(x: V, t: V, weight: V | None, reduction: str, ignore_index: int) -> tuple[V, V | None]:
    """The loss, and the sum of weights it was divided by, of widened operands with a batch dim."""
    reshape = lookup("reshape")
    _class_weights(x, weight)
    t = convert(t, dtype="int64")
    counts = ne(t, constant(t, ignore_index))
    safe = where(counts, t, constant(t, 0))
    picked = lookup("gather")(x, reshape(safe, shape=(t.shape[0], 1, *t.shape[1:])), dim=1)
    terms = -reshape(picked, shape=t.shape)
    weights = None
    if weight is not None:
        weights = keep(lookup("take")(weight, safe, dim=0), counts)
        terms = terms * weights
    terms = keep(terms, counts)
    if reduction != "mean":
        return reduced(terms, reduction), None
    if weights is None:
        total = reduce_sum(convert(counts, dtype="int64"), dims=_all_dims(t))
        total = convert(total, dtype=terms.dtype.name)
    else:
        total = reduce_sum(weights, dims=_all_dims(t))
    return reduce_sum(terms, dims=_all_dims(t)) / total, total


def _nll_loss(x: V, t: V, weight: V | None = None, reduction: str = "mean", ignore_index: int = -100) -> V:
    unbatched = x.ndim == 1
    batch, target = _classes(x, t)
    wide = _widened(batch) if weight is None else _widened(batch, weight)
    loss, _ = _nll(wide[0], target, wide[1] if weight is not None else None, reduction, ignore_index)
    if unbatched and reduction == "none":
        loss = lookup("reshape")(loss, shape=())
    result: V = convert(loss, dtype=x.dtype.name)
    return result


def _nll_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    # PyTorch makes two spatial dims of any other number, and undoes that of terms.
    if specs[0].ndim > 2 and specs[0].ndim != 4 and attrs.get("reduction") == "none":
        return "ViewBackward0"
    return "NllLoss2DBackward0" if specs[0].ndim > 2 else "NllLossBackward0"


def _cross_entropy_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    if dtypes.is_differentiable(specs[1].dtype):
        return "DivBackward1" if attrs.get("reduction", "mean") == "mean" else "NegBackward0"
    return "AddBackward0" if attrs.get("label_smoothing") else _nll_name(specs, attrs)


_CLASSES = {**REDUCTION, "ignore_index": Attr("int", -100, "targets that do not count")}

declare(
    Composite(
        name="nll_loss",
        arity=(2, 3),
        attrs=_CLASSES,
        grad_name=_nll_name,
        doc="-x[n, t[n]] of log-probabilities (N, C, …) and classes (N, …), weighted by class.",
        body=_nll_loss,
    )
)


def _smoothed(x: V, t: V, weight: V | None, reduction: str, ignore_index: int, smoothing: float) -> V:
    """Classes as targets, a share of the probability given to all classes alike."""
    loss, total = _nll(x, t, weight, reduction, ignore_index)
    if not smoothing:
        return loss
    weighted = x
    if weight is not None:
        weighted = x * lookup("reshape")(weight, shape=(1, -1, *(1,) * (x.ndim - 2)))
    every = -reduce_sum(weighted, dims=(1,))
    every = reduced(keep(every, ne(t, constant(t, ignore_index))), "sum" if total is not None else reduction)
    if total is not None:
        every = every / total
    return loss * (1 - smoothing) + every * (smoothing / x.shape[1])


def _of_probabilities(x: V, t: V, weight: V | None, reduction: str, smoothing: float) -> V:
    classes = x.shape[1]
    if smoothing:
        t = t * (1 - smoothing) + smoothing / classes
    if weight is not None:
        t = t * lookup("reshape")(weight, shape=(1, -1, *(1,) * (x.ndim - 2)))
    return reduced(-reduce_sum(x * t, dims=(1,)), reduction)


def _cross_entropy(
    x: V,
    t: V,
    weight: V | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> V:
    if not 0 <= label_smoothing <= 1:
        raise AttributeTypeError(
            f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}", got=str(label_smoothing)
        )
    dim = 0 if x.ndim == 1 else 1
    wide = _widened(x, *(() if weight is None else (weight,)))
    weights = wide[1] if weight is not None else None
    logs = lookup("log_softmax")(wide[0], dim=dim)
    reshape = lookup("reshape")
    if dtypes.is_differentiable(t.dtype):
        _same_shapes(x, t)
        target = convert(t, dtype=logs.dtype.name)
        if x.ndim == 1:
            logs, target = (reshape(v, shape=(1, *x.shape)) for v in (logs, target))
        _class_weights(logs, weights)
        loss = _of_probabilities(logs, target, weights, reduction, label_smoothing)
    else:
        batch, target = _classes(logs, t)
        loss = _smoothed(batch, target, weights, reduction, ignore_index, label_smoothing)
    if x.ndim == 1 and reduction == "none":
        loss = reshape(loss, shape=())
    result: V = convert(loss, dtype=x.dtype.name)
    return result


declare(
    Composite(
        name="cross_entropy",
        arity=(2, 3),
        attrs={**_CLASSES, "label_smoothing": Attr("float", 0.0, "share of the probability given to all classes")},
        grad_name=_cross_entropy_name,
        doc="nll_loss of log_softmax(x); targets are classes, or probabilities of x's shape.",
        body=_cross_entropy,
    )
)
