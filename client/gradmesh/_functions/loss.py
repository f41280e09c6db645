"""Losses. `reduction` is "mean" (a 0-d result), "sum" (0-d) or "none" (the shape of the terms)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from gradmesh import _creation, _modes, _tensor
from gradmesh._functions import activation, binary, convert, layers, layout, reduce, select, unary
from gradmesh._functions._common import cast, in_place, ints, one, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]

Reduction: TypeAlias = 'Literal["mean", "sum", "none"]'


def checked(name: str, reduction: str) -> str:
    """The reduction. Raises AttributeTypeError for any other word."""
    if reduction not in ("mean", "sum", "none"):
        raise AttributeTypeError(
            f"{reduction} is not valid"
            if name == "gaussian_nll_loss"
            else f"{reduction} is not a valid value for reduction",
            op=name,
            expected="mean, sum or none",
            got=repr(reduction),
        )
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean or sum of the terms, or the terms."""
    return reduce.mean(loss) if reduction == "mean" else reduce.sum(loss) if reduction == "sum" else loss


# --- of numbers -----------------------------------------------------------------------------------


def mse_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """(input - target)², of operands that broadcast. Example: `F.mse_loss(gm.ones(2), gm.zeros(2))` is `tensor(1.)`."""
    return one("mse_loss", input, target, reduction=checked("mse_loss", reduction))


def l1_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """|input - target|, of operands that broadcast. Example: `F.l1_loss(gm.ones(2), gm.zeros(2))` is `tensor(1.)`."""
    return reduced(unary.abs(binary.sub(input, target)), checked("l1_loss", reduction))


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean", beta: float = 1.0) -> Tensor:
    """d² / (2 beta) where d = |input - target| < beta, else d - beta / 2.

    Example: `F.smooth_l1_loss(gm.ones(2), gm.zeros(2))` is `tensor(0.5000)`.
    """
    if beta < 0:
        raise AttributeTypeError(
            "smooth_l1_loss does not support negative values for beta.", op="smooth_l1_loss", got=str(beta)
        )
    if beta == 0:
        return l1_loss(input, target, reduction)
    return one("smooth_l1_loss", input, target, beta=float(beta), reduction=checked("smooth_l1_loss", reduction))


def huber_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean", delta: float = 1.0) -> Tensor:
    """d² / 2 where d = |input - target| < delta, else delta * (d - delta / 2).

    Example: `F.huber_loss(gm.ones(2), gm.zeros(2))` is `tensor(0.5000)`.
    """
    if delta <= 0:
        raise AttributeTypeError(
            "huber_loss does not support non-positive values for delta.", op="huber_loss", got=str(delta)
        )
    return one("huber_loss", input, target, delta=float(delta), reduction=checked("huber_loss", reduction))


# --- of probabilities -----------------------------------------------------------------------------


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """-(t log(p) + (1 - t) log(1 - p)) of probabilities, logarithms limited to -100 from below.

    Example: `F.binary_cross_entropy(gm.tensor([0.5]), gm.ones(1))` is `tensor(0.6931)`.
    """
    checked("binary_cross_entropy", reduction)
    _same_shape("binary_cross_entropy", input, target)
    weights = () if weight is None else (weight,)
    return one("binary_cross_entropy", input, target, *weights, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), without overflow; pos_weight scales the terms of target 1.

    Example: `F.binary_cross_entropy_with_logits(gm.zeros(1), gm.ones(1))` is `tensor(0.6931)`.
    """
    name = "binary_cross_entropy_with_logits"
    checked(name, reduction)
    _same_shape(name, input, target)
    operands = [input, target, *(part for part in (weight, pos_weight) if part is not None)]
    return one(name, *operands, reduction=reduction, has_pos_weight=pos_weight is not None)


def _same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if tuple(input.shape) != tuple(target.shape):
        raise ShapeError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
            if name == "binary_cross_entropy"
            else f"Target size ({target.shape}) must be the same as input size ({input.shape})",
            op=name,
            expected=str(input.shape),
            got=str(target.shape),
            remedy="reshape the target",
        )


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-06,
    reduction: Reduction = "mean",
) -> Tensor:
    """(log(v) + (input - target)² / v) / 2 for variances v = max(var, eps); `full` adds log(2 pi) / 2.

    `var` has the shape of `input`, or lacks its last dim or has it at size 1. Its values are checked, so it is
    evaluated here. Raises InvalidRequestError for a negative variance.

    Example: `F.gaussian_nll_loss(gm.zeros(1), gm.ones(1), gm.ones(1))` is `tensor(0.5000)`.
    """
    name = "gaussian_nll_loss"
    checked(name, reduction)
    if isinstance(var, (int, float)):
        negative = var < 0
        var = _creation.full_like(input, var)
    else:
        negative = bool(reduce.any(binary.lt(var, 0)))
    if negative:
        raise InvalidRequestError("var has negative entry/entries", op=name, expected="variances ≥ 0")
    want, have = tuple(input.shape), tuple(var.shape)
    if have != want:
        if have == want[:-1]:
            var = layout.unsqueeze(var, -1)
        elif len(want) != len(have) or [v for v, x in zip(have, want, strict=True) if v != x] != [1]:
            raise ShapeError("var is of incorrect size", op=name, expected=f"{list(want)}", got=f"{list(have)}")
    var = convert.clone(var)
    with _modes.no_grad():
        # The gradient does not see the limit.
        in_place(var, binary.clamp_min(var, eps))
    loss = 0.5 * (unary.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-08,
    reduction: Reduction = "mean",
) -> Tensor:
    """exp(input) - target * input, or input - target * log(input + eps) when `input` is no logarithm.

    `full` adds Stirling's approximation of log(target!) for targets above 1.

    Example: `F.poisson_nll_loss(gm.zeros(1), gm.ones(1))` is `tensor(1.)`.
    """
    checked("poisson_nll_loss", reduction)
    loss = unary.exp(input) - target * input if log_input else input - target * unary.log(input + eps)
    if full:
        stirling = target * unary.log(target) - target + 0.5 * unary.log(2 * math.pi * target)
        loss = loss + select.masked_fill(stirling, binary.le(target, 1), 0)
    return reduced(loss, reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """`target * (log(target) - input)`, with `input` (and the target, if log_target) given as logarithms.

    "batchmean" divides the sum by the size of dim 0. Example: `F.kl_div(gm.zeros(1), gm.ones(1))` is `tensor(0.)`.
    """
    if reduction != "batchmean":
        checked("kl_div", reduction)
    if log_target:
        loss = binary.mul(unary.exp(target), binary.sub(target, input))
    else:
        loss = binary.sub(binary.xlogy(target, target), binary.mul(target, input))
    if reduction == "batchmean":
        total = reduce.sum(loss)
        return binary.div(total, input.shape[0]) if input.ndim else total
    return reduced(loss, reduction)


# --- of classes -----------------------------------------------------------------------------------


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """-input[n, target[n]] of log-probabilities (N, C, …) and int64 classes (N, …), weighted by class.

    Targets equal to `ignore_index` do not count. Example: `F.nll_loss(gm.zeros(1, 2), gm.tensor([1]))` is `tensor(0.)`.
    """
    checked("nll_loss", reduction)
    weights = () if weight is None else (weight,)
    return one("nll_loss", input, target, *weights, ignore_index=ignore_index, reduction=reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`nll_loss` of log_softmax(input) over classes: dim 1, or dim 0 of an operand of one dim.

    `target` holds int64 classes, or probabilities of the shape of `input`.

    Example: `F.cross_entropy(gm.zeros(1, 2), gm.tensor([1]))` is `tensor(0.6931)`.
    """
    checked("cross_entropy", reduction)
    if dtypes.is_differentiable(spec(target).dtype) and input.shape != target.shape:
        raise ShapeError(
            "0D or 1D target tensor expected, multi-target not supported"
            if input.ndim == target.ndim
            else f"expected target dtype to be Long or Byte, but got {dtypes.title(spec(target).dtype)}",
            op="cross_entropy",
            expected=f"classes, or probabilities of shape {list(input.shape)}",
            got=str(list(target.shape)),
        )
    if label_smoothing or dtypes.is_differentiable(spec(target).dtype):
        operands = (input, target) if weight is None else (input, target, weight)
        attrs = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": float(label_smoothing)}
        return one("cross_entropy", *operands, **attrs)
    logs = activation.log_softmax(input, 0 if input.ndim == 1 else 1)
    return nll_loss(logs, target, weight, ignore_index, reduction)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: object = None,
) -> Tensor:
    """`cross_entropy` of a linear map: (N, in) or (in) with (C, in) or (C, …, in), targets (N, …) or (N, C, …).

    `options`, with which PyTorch computes in chunks, change nothing: work is always done in blocks here.

    Raises ShapeError for sizes that do not fit, InvalidRequestError for `ignore_index` with probabilities.

    Example: `F.linear_cross_entropy(gm.zeros(1, 3), gm.ones(2, 3), gm.tensor([1]))` is `tensor(0.6931)`.
    """
    name = "linear_cross_entropy"
    classes, more = linear_weight.shape[0], tuple(linear_weight.shape[1:-1])
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or input.shape[-1] != linear_weight.shape[-1]:
        if input.ndim not in (1, 2):
            what = f"expected input with dimensionality 1 or 2, got {input.ndim}"
        elif linear_weight.ndim < 2:
            what = f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}"
        else:
            what = (
                "expected equal input and linear_weight last dimensions (in_features), got "
                f"{input.shape[-1]} and {linear_weight.shape[-1]}, respectively"
            )
        raise ShapeError(
            what,
            op=name,
            expected="(N, in) and (C, …, in)",
            got=f"{list(input.shape)} and {list(linear_weight.shape)}",
        )
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *more):
        raise ShapeError(
            f"expected linear_bias shape {(classes, *more)}, got {tuple(linear_bias.shape)}",
            op=name,
            expected=str([classes, *more]),
            got=str(list(linear_bias.shape)),
        )
    if more and input.ndim == 1:
        raise ShapeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {input.shape[-1]}), got unbatched input with shape {tuple(input.shape)}",
            op=name,
            expected="(N, in)",
        )
    shape = (*input.shape[:-1], classes, *more)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise InvalidRequestError("ignore_index cannot be specified when target contains probabilities", op=name)
    if more:
        linear_weight = layout.reshape(linear_weight, (-1, linear_weight.shape[-1]))
        linear_bias = None if linear_bias is None else layout.reshape(linear_bias, (-1,))
    logits = layout.reshape(layers.linear(input, linear_weight, linear_bias), shape)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(logits, target, weight, ignored, reduction, label_smoothing)


# --- of sequences ---------------------------------------------------------------------------------


def _lengths(name: str, given: Tensor | Sequence[int], count: int) -> Tensor:
    found = given if isinstance(given, _tensor.Tensor) else _creation.tensor(ints("ctc_loss", name, given))
    if tuple(found.shape) != (count,) and not (count == 1 and found.ndim == 0):
        raise ShapeError(
            f"{name} must be of size batch_size",
            op="ctc_loss",
            expected=f"[{count}]",
            got=str(list(found.shape)),
        )
    return cast(layout.reshape(found, (count,)), dtypes.int64)


def _padded(targets: Tensor, lengths: Tensor) -> Tensor:
    """Targets one after the other as rows of the longest one's length."""
    known = [int(n) for n in lengths.tolist()]
    if sum(known) != targets.shape[0]:
        raise ShapeError(
            f"the target lengths add up to {sum(known)}, but there are {targets.shape[0]} targets",
            op="ctc_loss",
            expected=str(sum(known)),
            got=str(targets.shape[0]),
        )
    longest = max(known, default=0)
    starts = [sum(known[:i]) for i in range(len(known))]
    places = [[min(start + i, max(targets.shape[0] - 1, 0)) for i in range(longest)] for start in starts]
    if not targets.shape[0]:
        return layout.reshape(targets, (len(known), 0))
    return layout.reshape(select.index_select(targets, 0, _creation.tensor(places).flatten()), (len(known), longest))


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification: log-probabilities (T, N, C) or (T, C) against label sequences.

    `targets` are (N, S), (S), or one after the other in one dim, whose lengths are then evaluated here. "mean" divides
    each loss by its target's length before. With `zero_infinity` a target that cannot be said counts 0. The gradient is
    that by the operand of a log_softmax, as in PyTorch.

    Example: `F.ctc_loss(gm.zeros(1, 1, 1), gm.zeros(1, 0, dtype=gm.int64), (1,), (0,), reduction="sum")` is
    `tensor(0.)`.
    """
    checked("ctc_loss", reduction)
    alone = log_probs.ndim == 2
    if alone:
        log_probs, targets = layout.unsqueeze(log_probs, 1), layout.unsqueeze(targets, 0)
    if log_probs.ndim != 3:
        raise ShapeError(f"ctc_loss takes (T, N, C) or (T, C), got {list(log_probs.shape)}", op="ctc_loss")
    count = log_probs.shape[1]
    steps = _lengths("input_lengths", input_lengths, count)
    lengths = _lengths("target_lengths", target_lengths, count)
    if targets.ndim == 1:
        targets = _padded(targets, lengths)
    loss = one("ctc_loss", log_probs, targets, steps, lengths, blank=blank, zero_infinity=zero_infinity)
    if reduction == "mean":
        return reduce.mean(loss / binary.clamp_min(lengths, 1))
    if reduction == "sum":
        return reduce.sum(loss)
    return layout.squeeze(loss, 0) if alone else loss
