"""Losses of margins, pairs and triplets, and the distances they are made of.

`reduction` is "mean" (a 0-d result), "sum" (0-d) or "none" (the shape of the terms).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gradmesh import _creation
from gradmesh._functions import activation, binary, reduce, select, unary
from gradmesh._functions._common import one
from gradmesh._functions.loss import Reduction, checked, reduced
from gradmesh_engine.errors import InvalidRequestError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "pairwise_distance",
    "pdist",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

# --- distances ------------------------------------------------------------------------------------


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False) -> Tensor:
    """The p-norm of `x1 - x2 + eps` along the last dim: (…, D) is (…).

    Example: `F.pairwise_distance(gm.ones(1, 1), gm.zeros(1, 1))` is `tensor([1.0000])`.
    """
    return one("pairwise_distance", x1, x2, p=float(p), eps=float(eps), keepdim=keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms between the rows i < j of (N, M): (N (N - 1) / 2).

    Example: `F.pdist(gm.tensor([[0.], [3.]]))` is `tensor([3.])`.
    """
    return one("pdist", input, p=float(p))


# --- a score and a sign ---------------------------------------------------------------------------


def soft_margin_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """log(1 + exp(-target * input)) for targets 1 and -1, without overflow.

    Example: `F.soft_margin_loss(gm.zeros(1), gm.ones(1))` is `tensor(0.6931)`.
    """
    return one("soft_margin_loss", input, target, reduction=checked("soft_margin_loss", reduction))


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: Reduction = "mean") -> Tensor:
    """The input where the target is 1, `max(0, margin - input)` where it is -1.

    Example: `F.hinge_embedding_loss(gm.tensor([3.]), gm.ones(1))` is `tensor(3.)`.
    """
    nothing = _creation.zeros_like(input)
    far = select.where(binary.ne(target, 1), binary.clamp_min(margin - input, 0), nothing)
    near = select.where(binary.ne(target, -1), input, nothing)
    return reduced(far + near, checked("hinge_embedding_loss", reduction))


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, reduction: Reduction = "mean"
) -> Tensor:
    """`max(0, -target * (input1 - input2) + margin)`: target 1 asks the first to be larger, -1 the second.

    Example: `F.margin_ranking_loss(gm.zeros(1), gm.ones(1), gm.ones(1))` is `tensor(1.)`.
    """
    checked("margin_ranking_loss", reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} ",
            op="margin_ranking_loss",
        )
    return reduced(binary.clamp_min(-target * (input1 - input2) + float(margin), 0), reduction)


# --- scores of classes ----------------------------------------------------------------------------


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Sum over the classes j other than the target of `max(0, margin - x[target] + x[j])^p / C`, for p 1 or 2.

    Scores are (N, C) or (C), targets int64 (N) or 0-d.

    Example: `F.multi_margin_loss(gm.zeros(1, 2), gm.tensor([1]))` is `tensor(0.5000)`.
    """
    operands = (input, target) if weight is None else (input, target, weight)
    checked("multi_margin_loss", reduction)
    return one("multi_margin_loss", *operands, p=int(p), margin=float(margin), reduction=reduction)


def multilabel_margin_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Sum over labels i and other classes j of `max(0, 1 - x[i] + x[j]) / C`.

    Scores and int64 targets are (N, C) or (C); the labels of a sample end before its first -1.

    Example: `F.multilabel_margin_loss(gm.zeros(1, 2), gm.tensor([[1, -1]]))` is `tensor(0.5000)`.
    """
    return one("multilabel_margin_loss", input, target, reduction=checked("multilabel_margin_loss", reduction))


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: Reduction = "mean"
) -> Tensor:
    """Mean over the last dim of `-(t log(s) + (1 - t) log(1 - s))`, s = sigmoid(input), weighted by class.

    Example: `F.multilabel_soft_margin_loss(gm.zeros(1, 2), gm.ones(1, 2))` is `tensor(0.6931)`.
    """
    checked("multilabel_soft_margin_loss", reduction)
    loss = -(target * activation.logsigmoid(input) + (1 - target) * activation.logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(reduce.sum(loss, -1) / input.shape[-1], reduction)


# --- vectors --------------------------------------------------------------------------------------


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, reduction: Reduction = "mean"
) -> Tensor:
    """1 - cos of vectors (N, D) or (D) where the target is 1, `max(0, cos - margin)` where it is -1.

    Example: `F.cosine_embedding_loss(gm.ones(2), gm.ones(2), gm.tensor(1))` is `tensor(0.)`.
    """
    checked("cosine_embedding_loss", reduction)
    if target.ndim > 1 or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise ShapeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}.",
            op="cosine_embedding_loss",
            expected="(N, D) and (N), or (D) and ()",
        )
    tiny = 1e-12
    along = target.ndim
    product = reduce.sum(input1 * input2, along)
    squares = [reduce.sum(x * x, along) + tiny for x in (input1, input2)]
    cosine = product / unary.sqrt(squares[0] * squares[1])
    nothing = _creation.zeros_like(cosine)
    alike = select.where(binary.eq(target, 1), 1 - cosine, nothing)
    apart = select.where(binary.eq(target, -1), binary.clamp_min(cosine - margin, 0), nothing)
    return reduced(alike + apart, reduction)


def _triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = binary.minimum(far, distance(positive, negative))
    return reduced(binary.clamp_min(margin + near - far, 0), reduction)


def _check_triplet(name: str, anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> None:
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs",
            op=name,
        )
    if margin <= 0:
        raise InvalidRequestError(
            f"margin must be greater than 0, got {margin}", op=name, expected="a number > 0", got=str(margin)
        )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-06,
    swap: bool = False,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """`max(0, margin + |anchor - positive| - |anchor - negative|)` of vectors (N, D) or (D), by `pairwise_distance`.

    With `swap`, the negative's distance is the smaller one of those to the anchor and to the positive.

    Example: `F.triplet_margin_loss(gm.zeros(1, 1), gm.zeros(1, 1), gm.ones(1, 1))` is `tensor(0.)`.
    """
    checked("triplet_margin_loss", reduction)
    _check_triplet("triplet_margin_loss", anchor, positive, negative, margin)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """`triplet_margin_loss` by a distance of the caller's, which is run here and recorded like other code.

    Example: `F.triplet_margin_with_distance_loss(gm.zeros(1, 1), gm.zeros(1, 1), gm.ones(1, 1))` is `tensor(0.)`.
    """
    name = "triplet_margin_with_distance_loss"
    checked(name, reduction)
    _check_triplet(name, anchor, positive, negative, margin)
    return _triplet(anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)
