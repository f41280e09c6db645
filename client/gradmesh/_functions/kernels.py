"""Functions of `nn.functional` as PyTorch has them at top level: by position, reductions as numbers.

0, their default, is none, 1 the mean and 2 the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gradmesh._functions import activation, images, layers, loss, native, pooling, ranking, windows
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._functions.loss import Reduction
    from gradmesh._tensor import Tensor

__all__ = [
    "adaptive_max_pool1d",
    "affine_grid_generator",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "ctc_loss",
    "embedding",
    "grid_sampler",
    "group_norm",
    "hinge_embedding_loss",
    "instance_norm",
    "kl_div",
    "layer_norm",
    "margin_ranking_loss",
    "max_pool1d_with_indices",
    "native_channel_shuffle",
    "poisson_nll_loss",
    "rms_norm",
    "threshold",
    "triplet_margin_loss",
]

_REDUCTIONS: Final[tuple[Reduction, ...]] = ("none", "mean", "sum")

bilinear = layers.bilinear
cosine_similarity = layers.cosine_similarity
max_pool1d_with_indices = pooling.max_pool1d_with_indices
native_channel_shuffle = windows.channel_shuffle
rms_norm = layers.rms_norm


def _named(reduction: int) -> Reduction:
    if not 0 <= reduction < len(_REDUCTIONS):
        raise InvalidRequestError(f"{reduction} is not a valid value for reduction", expected="0, 1 or 2")
    return _REDUCTIONS[reduction]


# --- layers ---------------------------------------------------------------------------------------


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """`nn.functional.embedding`, the table first.

    Example: `gm.embedding(gm.eye(2), gm.tensor(1))` is `tensor([0., 1.])`.

    A negative `padding_idx` is none.
    """
    padding = None if padding_idx < 0 else padding_idx
    return layers.embedding(indices, weight, padding, None, 2.0, scale_grad_by_freq, sparse)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
    cudnn_enable: bool = True,
) -> Tensor:
    """`nn.functional.layer_norm`. Example: `gm.layer_norm(gm.ones(2), (2,))` is `tensor([0., 0.])`."""
    return layers.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
    cudnn_enabled: bool = True,
) -> Tensor:
    """`nn.functional.group_norm`. Example: `gm.group_norm(gm.ones(1, 2), 1)` is `tensor([[0., 0.]])`."""
    return layers.group_norm(input, num_groups, weight, bias, eps)


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.batch_norm`, the weight first.

    Example: `gm.batch_norm(gm.ones(2, 1), *[None] * 4, True, 0.1, 1e-5, False)` is `tensor([[0.], [0.]])`.
    """
    return layers.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`nn.functional.instance_norm`, the weight first.

    Example: `gm.instance_norm(gm.ones(1, 1, 2), *[None] * 4, True, 0.1, 1e-5, False)` is `tensor([[[0., 0.]]])`.
    """
    return layers.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """`nn.functional.threshold`. Example: `gm.threshold(gm.ones(1), 2, 0)` is `tensor([0.])`."""
    return activation.threshold(input, threshold, value)


def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """`nn.functional.adaptive_max_pool1d` and the positions.

    Example: `gm.adaptive_max_pool1d(gm.ones(1, 2), 1)[1]` is `tensor([[0]])`.
    """
    return pooling.adaptive_max_pool1d_with_indices(input, output_size)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """`nn.functional.affine_grid`.

    Example: `gm.affine_grid_generator(gm.zeros(1, 2, 3), (1, 1, 2, 2), False).shape` is `torch.Size([1, 2, 2, 2])`.
    """
    return images.affine_grid(theta, size, align_corners)


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sampler_2d` or `grid_sampler_3d`, by the operand's dims.

    Example: `gm.grid_sampler(gm.ones(1, 1, 2, 2), gm.zeros(1, 1, 1, 2), 0, 0, False)` is `tensor([[[[1.]]]])`.
    """
    sample = native.grid_sampler_3d if input.ndim == 5 else native.grid_sampler_2d
    return sample(input, grid, interpolation_mode, padding_mode, align_corners)


# --- losses ---------------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """`nn.functional.binary_cross_entropy_with_logits`.

    Example: `gm.binary_cross_entropy_with_logits(gm.zeros(1), gm.ones(1))` is `tensor([0.6931])`.
    """
    return loss.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_named(reduction), pos_weight=pos_weight
    )


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """`nn.functional.cosine_embedding_loss`.

    Example: `gm.cosine_embedding_loss(gm.ones(1, 2), gm.ones(1, 2), gm.ones(1))` is `tensor([0.])`.
    """
    return ranking.cosine_embedding_loss(input1, input2, target, margin, reduction=_named(reduction))


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """`nn.functional.ctc_loss`.

    Example: `gm.ctc_loss(gm.zeros(1, 1, 2), gm.tensor([[1]]), [1], [1])` is `tensor([-0.])`.
    """
    how = _named(reduction)
    return loss.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """`nn.functional.hinge_embedding_loss`.

    Example: `gm.hinge_embedding_loss(gm.ones(1), gm.ones(1))` is `tensor([1.])`.
    """
    return ranking.hinge_embedding_loss(input, target, margin, reduction=_named(reduction))


def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """`nn.functional.kl_div`. Example: `gm.kl_div(gm.zeros(1), gm.ones(1))` is `tensor([0.])`."""
    return loss.kl_div(input, target, _named(reduction), log_target)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """`nn.functional.margin_ranking_loss`.

    Example: `gm.margin_ranking_loss(gm.ones(1), gm.ones(1), gm.ones(1), 2.)` is `tensor([2.])`.
    """
    return ranking.margin_ranking_loss(input1, input2, target, margin, reduction=_named(reduction))


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """`nn.functional.poisson_nll_loss`.

    Example: `gm.poisson_nll_loss(gm.zeros(1), gm.ones(1), True, False, 1e-8, 1)` is `tensor(1.)`.
    """
    return loss.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_named(reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-06,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """`nn.functional.triplet_margin_loss`.

    Example: `gm.triplet_margin_loss(gm.ones(1, 2), gm.ones(1, 2), gm.ones(1, 2))` is `tensor([1.])`.
    """
    how = _named(reduction)
    return ranking.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=how)
