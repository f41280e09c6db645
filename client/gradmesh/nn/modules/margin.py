"""Losses of margins between classes, pairs and triplets, as modules; see the functions of `nn.functional`."""

from __future__ import annotations

from collections.abc import Callable

from gradmesh._functions import ranking as F
from gradmesh._functions.loss import Reduction
from gradmesh._tensor import Tensor
from gradmesh.nn.modules.distance import PairwiseDistance
from gradmesh.nn.modules.loss import _Loss, _WeightedLoss

__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class SoftMarginLoss(_Loss):
    """`F.soft_margin_loss`. Example: `gm.nn.SoftMarginLoss()(gm.zeros(2), gm.ones(2))` is `tensor(0.6931)`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores, and 1 or -1, of one shape."""
        return F.soft_margin_loss(input, target, self.reduction)


class MultiLabelMarginLoss(_Loss):
    """`F.multilabel_margin_loss`.

    Example: `gm.nn.MultiLabelMarginLoss()(gm.zeros(2), gm.tensor([1, -1]))` is `tensor(0.5000)`.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores (N, C) or (C,), and int64 classes of the same shape, which the first -1 ends."""
        return F.multilabel_margin_loss(input, target, self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """`F.multilabel_soft_margin_loss`.

    Example: `gm.nn.MultiLabelSoftMarginLoss()(gm.zeros(1, 2), gm.ones(1, 2))` is `tensor(0.6931)`.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores and targets (N, C)."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """`F.multi_margin_loss`. Raises ValueError for another p than 1 and 2, or a weight that is no vector.

    Example: `gm.nn.MultiMarginLoss()(gm.zeros(1, 2), gm.tensor([1]))` is `tensor(0.5000)`.
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.ndim}D instead")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores (N, C) or (C,), and int64 classes (N,) or ()."""
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)


class _MarginLoss(_Loss):
    """A loss with a margin. Abstract."""

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin


class HingeEmbeddingLoss(_MarginLoss):
    """`F.hinge_embedding_loss`. Example: `gm.nn.HingeEmbeddingLoss()(gm.ones(2), gm.ones(2))` is `tensor(1.)`."""

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(margin, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Distances, and 1 or -1, of one shape."""
        return F.hinge_embedding_loss(input, target, self.margin, self.reduction)


class CosineEmbeddingLoss(_MarginLoss):
    """`F.cosine_embedding_loss`.

    Example: `gm.nn.CosineEmbeddingLoss()(gm.ones(1, 4), gm.ones(1, 4), -gm.ones(1))` is `tensor(1.)`.
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Two tensors (N, D) or (D,), and 1 or -1, (N,) or ()."""
        return F.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class MarginRankingLoss(_MarginLoss):
    """`F.margin_ranking_loss`.

    Example: `gm.nn.MarginRankingLoss(0.5)(gm.zeros(2), gm.zeros(2), gm.ones(2))` is `tensor(0.5000)`.
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Two tensors, and 1 where the first should be larger, else -1, of one shape."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


def _check_margin(name: str, margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"{name}: expected margin to be greater than 0, got {margin} instead")


class TripletMarginLoss(_MarginLoss):
    """`F.triplet_margin_loss`. Raises ValueError unless the margin is positive.

    Example: `gm.nn.TripletMarginLoss()(gm.zeros(1, 4), gm.zeros(1, 4), gm.zeros(1, 4))` is `tensor(1.)`.
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(margin, reduction)
        _check_margin("TripletMarginLoss", margin)
        self.p, self.eps, self.swap = p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Three tensors (N, D) or (D,)."""
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(_MarginLoss):
    """`F.triplet_margin_with_distance_loss`, of a distance function of one's own.

    Example: `gm.nn.TripletMarginWithDistanceLoss()(gm.zeros(1, 4), gm.zeros(1, 4), gm.zeros(1, 4))` is `tensor(1.)`.
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(margin, reduction)
        _check_margin("TripletMarginWithDistanceLoss", margin)
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Three tensors that the distance function takes."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
