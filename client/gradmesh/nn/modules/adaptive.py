"""Softmax over many classes, in clusters by how frequent they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gradmesh import _dtype
from gradmesh._functions import activation, binary, layout, reduce, select, unary
from gradmesh._tensor import Tensor
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.modules.container import ModuleList, Sequential
from gradmesh.nn.modules.linear import Linear
from gradmesh_engine.errors import ShapeError

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    """Log-probabilities of the targets, and the loss. Final."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Layer):
    """Log-softmax whose rare classes are behind narrow layers, a cluster each (Grave et al. 2017).

    Classes are sorted by frequency. The head tells the classes below `cutoffs[0]` and the clusters apart; cluster i
    holds those from `cutoffs[i]` on, behind a layer `div_value ** (i + 1)` times narrower than the input. Every sample
    goes through every cluster: shapes that depend on targets would make a plan per batch. So a cluster that no target
    is in gets gradient 0, where PyTorch gives it none.

    Raises ValueError for cutoffs that are not increasing, or not between 1 and n_classes - 1.

    Example: `gm.nn.AdaptiveLogSoftmaxWithLoss(8, 6, [2, 4]).log_prob(gm.ones(3, 8)).shape` is `torch.Size([3, 6])`.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if not bounds:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            bounds != sorted(set(bounds))
            or not 0 < bounds[0] <= bounds[-1] < n_classes
            or any(int(c) != c for c in bounds)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*bounds, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = bounds[0], len(bounds)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for index, (low, high) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (index + 1))
            narrow = Linear(in_features, width, False, device, dtype)
            self.tail.append(Sequential(narrow, Linear(width, high - low, False, device, dtype)))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for narrow, wide in self.tail:
            narrow.reset_parameters()
            wide.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """Inputs (N, in_features) and int64 classes (N,), or one of each, give log-probabilities (N,) and their loss.

        Raises ShapeError; OutOfRangeError for a class that is none.
        """
        if target_.ndim > 1:
            raise ShapeError("0D or 1D target tensor expected, multi-target not supported")
        if target_.ndim == 1 and input_.shape[0] != target_.shape[0]:
            raise ShapeError("Input and target should have the same size in the batch dimension.")
        if input_.ndim != target_.ndim + 1:
            raise ShapeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, but found inputs with size "
                f"{input_.shape}"
            )
        alone = target_.ndim == 0
        input = layout.unsqueeze(input_, 0) if alone else input_
        target = layout.unsqueeze(target_, 0) if alone else target_
        head = activation.log_softmax(self.head(input), 1)
        # What is no class, below or above, is left as it is where it is looked up, and refused there.
        output = _picked(head, _heads_of(target, self.cutoffs[:-1]))
        for index, (low, high) in enumerate(pairwise(self.cutoffs)):
            inside = binary.ge(target, low)
            if high != self.n_classes:
                inside = binary.logical_and(inside, binary.lt(target, high))
            place = select.where(inside, binary.sub(target, low), 0)
            found = _picked(activation.log_softmax(self.tail[index](input), 1), place)
            output = binary.add(output, select.where(inside, found, 0.0))
        loss = reduce.mean(unary.neg(output))
        return _ASMoutput(output.squeeze(0) if alone else output, loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities (N, n_classes) of inputs (N, in_features)."""
        head = activation.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for index, tail in enumerate(self.tail):
            of_cluster = head[:, self.shortlist_size + index].unsqueeze(1)
            parts.append(binary.add(activation.log_softmax(tail(input), 1), of_cluster))
        return select.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable classes (N,) of inputs (N, in_features)."""
        return reduce.argmax(self.log_prob(input), 1)


def _picked(rows: Tensor, index: Tensor) -> Tensor:
    """One element of each row."""
    return select.gather(rows, 1, layout.unsqueeze(index, 1)).squeeze(1)


def _heads_of(target: Tensor, bounds: list[int]) -> Tensor:
    """Where the head tells of targets: a frequent class at its own place, others at their cluster's."""
    place = target
    for index, low in enumerate(bounds):
        place = select.where(binary.ge(target, low), bounds[0] + index, place)
    return place
