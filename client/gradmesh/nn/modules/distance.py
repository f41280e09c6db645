"""Distances between vectors as modules."""

from __future__ import annotations

from gradmesh._functions import layers, ranking
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Layer):
    """`F.cosine_similarity`. Example: `gm.nn.CosineSimilarity(0)(gm.ones(4), gm.ones(4))` is `tensor(1.)`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two tensors that broadcast, without the dim."""
        return layers.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Layer):
    """`F.pairwise_distance`. Example: `gm.nn.PairwiseDistance()(gm.ones(4), gm.zeros(4))` is `tensor(2.0000)`."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two tensors (…, D) that broadcast, as (…,)."""
        return ranking.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
