"""Losses as modules. `reduction` is "mean", "sum" or "none"; see the functions of `nn.functional`."""

from __future__ import annotations

from gradmesh._functions import layers
from gradmesh._functions import loss as F
from gradmesh._functions.loss import Reduction
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Layer):
    """What losses share. Abstract."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction


class MSELoss(_Loss):
    """`F.mse_loss`. Example: `gm.nn.MSELoss()(gm.ones(2), gm.zeros(2))` is `tensor(1.)`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """`F.l1_loss`. Example: `gm.nn.L1Loss()(gm.ones(2), gm.zeros(2))` is `tensor(1.)`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """`F.smooth_l1_loss`. Example: `gm.nn.SmoothL1Loss()(gm.ones(2), gm.zeros(2))` is `tensor(0.5000)`."""

    def __init__(self, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """`F.huber_loss`. Example: `gm.nn.HuberLoss()(gm.ones(2), gm.zeros(2))` is `tensor(0.5000)`."""

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class _WeightedLoss(_Loss):
    """A loss with weights, which are a buffer. Abstract."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class BCELoss(_WeightedLoss):
    """`F.binary_cross_entropy`. Example: `gm.nn.BCELoss()(gm.full((2,), 0.5), gm.ones(2))` is `tensor(0.6931)`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Probabilities and targets of one shape."""
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """`F.binary_cross_entropy_with_logits`.

    Example: `gm.nn.BCEWithLogitsLoss()(gm.zeros(2), gm.ones(2))` is `tensor(0.6931)`.
    """

    pos_weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, reduction: Reduction = "mean", pos_weight: Tensor | None = None
    ) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits and targets of one shape."""
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Layer):
    """`F.kl_div`; reduction may be "batchmean" too.

    Example: `gm.nn.KLDivLoss(reduction="sum")(gm.zeros(2), gm.ones(2))` is `tensor(0.)`.
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__()
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities and probabilities of one shape."""
        return F.kl_div(input, target, self.reduction, self.log_target)


class NLLLoss(_WeightedLoss):
    """`F.nll_loss`. Example: `gm.nn.NLLLoss()(gm.tensor([[-1., -2.]]), gm.tensor([1]))` is `tensor(2.)`."""

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: Reduction = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities (N, C, …) and int64 classes (N, …)."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(_WeightedLoss):
    """`F.cross_entropy`. Example: `gm.nn.CrossEntropyLoss()(gm.zeros(1, 2), gm.tensor([1]))` is `tensor(0.6931)`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits (N, C, …) and int64 classes (N, …), or probabilities (N, C, …)."""
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, label_smoothing=self.label_smoothing
        )


class CosineSimilarity(Layer):
    """`F.cosine_similarity`. Example: `gm.nn.CosineSimilarity(0)(gm.ones(4), gm.ones(4))` is `tensor(1.)`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two tensors that broadcast, without the dim."""
        return layers.cosine_similarity(x1, x2, self.dim, self.eps)
