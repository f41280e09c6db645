"""Entries whose call or comparison is not the default: neural networks and masked reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.opdb.row import Row, without_halves


def _max_pool2d_backward(
    gm: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    y, indices = gm.nn.functional.max_pool2d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode)
    how = (kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)
    return gm.max_pool2d_with_indices_backward(gm.ones_like(y), x, *how, indices)


def _triplet(gm: Any, *vectors: Any, distance_function: Any = None, **how: Any) -> Any:
    # The only distance among the samples is a module of PyTorch's.
    distance = None if distance_function is None else gm.nn.functional.pairwise_distance
    loss = gm.nn.functional.triplet_margin_with_distance_loss
    return loss(*vectors, distance_function=distance, **how)


def _channel_fates(x: Any) -> Any:
    """The share of the channels that are not all zero."""
    kept = (x != 0).reshape((*x.shape[:2], -1)).numpy()
    assert (kept.all(-1) | ~kept.any(-1)).all()
    return kept.any(-1).mean()


def _check_dropout2d(gm: Any) -> None:
    share = _channel_fates(gm.nn.functional.dropout2d(gm.ones(100, 50, 2, 2), 0.3))
    assert abs(share - 0.7) < 0.02


def _check_dropout3d(gm: Any) -> None:
    share = _channel_fates(gm.nn.functional.dropout3d(gm.ones(100, 50, 2, 1, 2), 0.3))
    assert abs(share - 0.7) < 0.02


def _check_alpha(name: str) -> Any:
    def check(gm: Any) -> None:
        # Mean and variance persist.
        x = gm.randn(100, 200, 1)
        y = getattr(gm.nn.functional, name)(x, 0.2, training=True)
        assert abs(y.mean().item()) < 0.03
        assert abs(y.std().item() - 1) < 0.03

    return check


def _check_rrelu(gm: Any) -> None:
    y = gm.nn.functional.rrelu(gm.full((10000,), -1.0), 0.2, 0.6, training=True)
    assert 0.2 <= -y.max().item() < 0.21
    assert 0.59 < -y.min().item() <= 0.6
    assert abs(y.mean().item() + 0.4) < 0.01


def _check_dropout(gm: Any) -> None:
    y = gm.nn.functional.dropout(gm.ones(10000), 0.3)
    assert abs((y != 0).double().mean().item() - 0.7) < 0.02
    assert abs(y.mean().item() - 1) < 0.03


def _check_fractional(rank: int) -> Any:
    """From the same random numbers come PyTorch's windows."""

    def check(gm: Any) -> None:
        import torch

        rng = np.random.default_rng(rank)
        sizes, kernel, wanted = (9, 8, 7)[:rank], (2, 3, 2)[:rank], (4, 3, 5)[:rank]
        arrays = rng.standard_normal((2, 3, *sizes)), rng.random((2, 3, rank))
        results = []
        for library in (torch, gm):
            x = library.tensor(arrays[0], requires_grad=True)
            function = getattr(library.nn.functional, f"fractional_max_pool{rank}d")
            y, where = function(x, kernel, wanted, return_indices=True, _random_samples=library.tensor(arrays[1]))
            (y * y).sum().backward()
            results.append((y.detach().numpy(), where.numpy(), x.grad.numpy()))
        for mine, other in zip(*results, strict=True):
            np.testing.assert_allclose(mine, other)

    return check


def _check_heads(gm: Any) -> None:
    """Without dropout, with every mask and every kind of additional key, the values and gradients are PyTorch's."""
    import torch

    rng = np.random.default_rng(3)
    shapes = [(4, 3, 8), (5, 3, 8), (5, 3, 8), (24, 8), (24,), (1, 1, 8), (1, 1, 8), (8, 8), (8,)]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    blind, behind = np.zeros((3, 5), bool), np.triu(np.ones((4, 5), bool), 2)
    blind[0, 3:] = True
    for need_weights in (True, False):
        results = []
        for library in (torch, gm):
            made = [library.tensor(a, requires_grad=True) for a in arrays]
            function = library.nn.functional.multi_head_attention_forward
            found = function(
                *made[:3], 8, 2, *made[3:7], True, 0.0, *made[7:], False,
                library.tensor(blind), need_weights, library.tensor(behind),
            )  # fmt: skip
            kept = [part for part in found if part is not None]
            sum((part * part).sum() for part in kept).backward()
            results.append([*(part.detach().numpy() for part in kept), *(m.grad.numpy() for m in made)])
        for mine, other in zip(*results, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)


_FIXED_POINT = {"uint8": "PyTorch rounds between the dims, and on some CPUs computes in fixed point"}

# PyTorch computes in chunks where `options` ask for it, in a node with a name of its own; and adds a batch dim.
_CHUNKED = {
    "GeneratedBackwardFor_torch_nn__linear_cross_entropy_batch_chunked_defaultBackward": "NllLossBackward0",
    "GeneratedBackwardFor_torch_nn__linear_cross_entropy_batch_chunked_no_reduction_defaultBackward": (
        "NllLossBackward0"
    ),
    "SqueezeBackward1": "NllLossBackward0",
}

_PLACES = without_halves("PyTorch's places in the grid are of 16 bits")

ROWS: dict[str, Row] = {
    "grid_sampler_2d": Row(without=_PLACES),
    "grid_sampler_3d": Row(without=_PLACES),
    "nn.functional.grid_sample": Row(without=_PLACES),
    "nn.functional.normalize": Row(without=without_halves("negative norms leave their range")),
    "nn.functional.linear_cross_entropy:chunked": Row(other_names=_CHUNKED, once="PyTorch's chunks have none"),
    "nn.functional.linear_cross_entropy:chunked_none": Row(other_names=_CHUNKED, once="PyTorch's chunks have none"),
    "masked.logaddexp": Row(once="PyTorch's are NaN where an operand does not count"),
    "max_pool2d_with_indices_backward": Row(call=_max_pool2d_backward),
    "native_layer_norm": Row(
        keep=lambda sample: (sample.args[1] is not None or sample.args[2] is None) and math.prod(sample.args[0]) > 1,
        dropped="PyTorch's second derivative fails with a bias and no weight; and see layer_norm",
    ),
    "nn.functional.alpha_dropout": Row(random=True, check=_check_alpha("alpha_dropout")),
    "nn.functional.ctc_loss": Row(once="PyTorch has none"),
    "nn.functional.dropout": Row(random=True, check=_check_dropout),
    "nn.functional.embedding": Row(
        # Its samples have the weight first.
        call=lambda gm, weight, indices, **how: gm.nn.functional.embedding(indices, weight, **how)
    ),
    "nn.functional.embedding_bag": Row(
        call=lambda gm, weight, indices, **how: gm.nn.functional.embedding_bag(indices, weight, **how)
    ),
    "nn.functional.dropout2d": Row(random=True, check=_check_dropout2d),
    "nn.functional.dropout3d": Row(random=True, check=_check_dropout3d),
    "nn.functional.feature_alpha_dropout:with_train": Row(random=True, check=_check_alpha("feature_alpha_dropout")),
    "nn.functional.fractional_max_pool2d": Row(random=True, check=_check_fractional(2)),
    "nn.functional.fractional_max_pool3d": Row(random=True, check=_check_fractional(3)),
    "nn.functional.interpolate:bicubic": Row(without=_FIXED_POINT),
    "nn.functional.interpolate:bilinear": Row(without=_FIXED_POINT),
    "nn.functional.layer_norm": Row(
        keep=lambda sample: math.prod(sample.args[0]) > 1,
        dropped="the gradient of one element alone is 0, but for PyTorch's rounding",
    ),
    "nn.functional.multi_head_attention_forward": Row(random=True, check=_check_heads),
    "nn.functional.soft_margin_loss": Row(without=without_halves("e^-x overflows in PyTorch")),
    "nn.functional.scaled_dot_product_attention": Row(
        without=without_halves("PyTorch's kernels round between the products"),
        keep=lambda sample: not sample.kwargs.get("dropout_p"),
        dropped="dropout is random",
        once="PyTorch's fused kernel has none",
    ),
    "nn.functional.upsample_bilinear": Row(without=_FIXED_POINT),
    "nn.functional.rrelu": Row(random=True, check=_check_rrelu),
    "nn.functional.triplet_margin_with_distance_loss": Row(call=_triplet),
}
