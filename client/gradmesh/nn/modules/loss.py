"""Losses as modules. `reduction` is "mean", "sum" or "none"; see the functions of `nn.functional`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradmesh import _dtype
from gradmesh._functions import layout
from gradmesh._functions import loss as F
from gradmesh._functions.loss import Reduction
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.modules.linear import Linear
from gradmesh_engine.errors import InvalidRequestError, ShapeError

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "MSELoss",
    "NLLLoss",
    "PoissonNLLLoss",
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
        if not isinstance(delta, (float, int)):
            raise TypeError(f"delta must be a float or int, got: {type(delta)}")
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


class LinearCrossEntropyLoss(_WeightedLoss):
    """`F.linear_cross_entropy`: a linear map to classes, and the cross entropy of its logits.

    Raises ShapeError for a weight of another shape, InvalidRequestError for smoothing outside [0, 1].

    Example: `gm.nn.LinearCrossEntropyLoss(3, 2)(gm.ones(5, 3), gm.tensor([0, 1, 1, 0, 1])).shape` is `torch.Size([])`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
        reduction: Reduction = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: object = None,
    ) -> None:
        if weight is not None and weight.shape != (num_classes,):
            raise ShapeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise InvalidRequestError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight, reduction)
        self.num_classes, self.out_features = num_classes, out_features
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Inputs (N, in_features), and int64 classes (N, *out_features) or probabilities."""
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            layout.reshape(self.linear.weight, (*shape, self.linear.in_features)),
            target,
            linear_bias=None if bias is None else layout.reshape(bias, shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        """What it was made with."""
        linear = self.linear
        parts = {"in_features": linear.in_features, "num_classes": self.num_classes, "out_features": self.out_features}
        parts |= {"bias": linear.bias is not None, "reduction": self.reduction, "ignore_index": self.ignore_index}
        parts |= {"label_smoothing": self.label_smoothing, "options": self.options}
        return ", ".join(f"{name}={value}" for name, value in parts.items())


class PoissonNLLLoss(_Loss):
    """`F.poisson_nll_loss`. Example: `gm.nn.PoissonNLLLoss()(gm.zeros(2), gm.ones(2))` is `tensor(1.)`."""

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """Logarithms of rates (rates, unless `log_input`), and counts of one shape."""
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """`F.gaussian_nll_loss`.

    Example: `gm.nn.GaussianNLLLoss()(gm.zeros(2), gm.ones(2), gm.ones(2))` is `tensor(0.5000)`.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Means and targets of one shape, and variances that broadcast with them."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class CTCLoss(_Loss):
    """`F.ctc_loss` (Graves et al. 2006).

    Example: `gm.nn.CTCLoss()(gm.full((2, 1, 3), -1.0), gm.tensor([[1]]), (2,), (1,))` is `tensor(0.9014)`.
    """

    def __init__(self, blank: int = 0, reduction: Reduction = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        """Log-probabilities (T, N, C), classes (N, S) or all in one row, and the lengths (N,) of both."""
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
