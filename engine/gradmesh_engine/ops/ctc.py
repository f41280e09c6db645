"""Connectionist temporal classification (Graves et al. 2006): the loss, and the expected use of every label.

A target of length S is the path -, l1, -, l2, …, -, of 2 S + 1 states with blanks (-) between the labels. Both
primitives run over time with all samples and states at once, in logarithms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import DTypeError, OutOfRangeError, ShapeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare
from gradmesh_engine.ops.layout import expand
from gradmesh_engine.ops.numeric import isinf
from gradmesh_engine.ops.picking import counting
from gradmesh_engine.ops.pointwise import keep, logical_not, lt, where
from gradmesh_engine.ops.shaping import composite, reshaped
from gradmesh_engine.ops.smooth import exp


def _checked(specs: Specs, blank: int) -> TensorSpec:
    """The spec of log_probs. Raises ShapeError, DTypeError."""
    x, targets, input_lengths, target_lengths = specs
    if x.ndim != 3 or targets.ndim != 2 or {s.shape for s in (input_lengths, target_lengths)} != {x.shape[1:2]}:
        raise ShapeError(
            "ctc_loss takes log_probs [T, N, C], targets [N, S] and two lengths [N], but got "
            + ", ".join(str(list(s.shape)) for s in specs),
            expected="[T, N, C], [N, S], [N], [N]",
        )
    if targets.shape[0] != x.shape[1]:
        raise ShapeError(f"{targets.shape[0]} targets for a batch of {x.shape[1]}", got=str(list(targets.shape)))
    if x.dtype not in (dtypes.float32, dtypes.float64) or any(
        dtypes.category(s.dtype) != dtypes.INT for s in specs[1:]
    ):
        raise DTypeError(
            "ctc_loss takes log_probs of float32 or float64, and integers", got=", ".join(s.dtype.name for s in specs)
        )
    if not 0 <= blank < x.shape[2]:
        raise ShapeError("blank must be in label range", expected=f"0 to {x.shape[2] - 1}", got=str(blank))
    return x


class _Paths:
    """The states of a batch of targets, checked. Final.

    Attributes:
        labels: the label of every state (N, 2 S + 1).
        skips: whether a state may follow the one before the last: it is a label, and another one than that.
        steps: the length in time of every sample (N).
        ends: the number of states of every sample (N).
    """

    def __init__(self, targets: np.ndarray, steps: np.ndarray, lengths: np.ndarray, x: np.ndarray, blank: int) -> None:
        times, _, classes = x.shape
        count, longest = targets.shape
        self.steps, lengths = steps.astype(np.int64), lengths.astype(np.int64)
        for what, found, limit in (("input_lengths", self.steps, times), ("target_lengths", lengths, longest)):
            if found.size and not (found.min() >= 0 and found.max() <= limit):
                raise OutOfRangeError(
                    f"Expected {what} to have values from 0 to {limit}",
                    expected=f"0 to {limit}",
                    got=f"{found.min()} to {found.max()}",
                )
        counts = np.arange(longest) < lengths[:, None]
        known = np.where(counts, targets, blank).astype(np.int64)
        if known.size and not (known.min() >= 0 and known.max() < classes):
            raise OutOfRangeError(
                f"a target is no label of {classes}",
                expected=f"0 to {classes - 1}",
                got=f"{known.min()} to {known.max()}",
            )
        self.labels = np.full((count, 2 * longest + 1), blank, np.int64)
        self.labels[:, 1::2] = known
        self.skips = np.zeros(self.labels.shape, bool)
        self.skips[:, 3::2] = known[:, 1:] != known[:, :-1]
        self.ends = 2 * lengths + 1
        self.emitted = np.take_along_axis(x, np.broadcast_to(self.labels, (times, *self.labels.shape)), 2)

    def forward(self) -> np.ndarray:
        """The log-probability (T, N, 2 S + 1) of all beginnings that end in a state at a time."""
        emitted, never = self.emitted, -np.inf
        alpha = np.full(emitted.shape, never, emitted.dtype)
        if not emitted.size:
            return alpha
        alpha[0, :, :2] = emitted[0, :, :2]
        two = np.full(emitted.shape[1:], never, emitted.dtype)
        for t in range(1, len(alpha)):
            before = alpha[t - 1]
            total = before.copy()
            np.logaddexp(before[:, 1:], before[:, :-1], out=total[:, 1:])
            two[:, 2:] = np.where(self.skips[:, 2:], before[:, :-2], never)
            np.logaddexp(total, two, out=total)
            np.add(total, emitted[t], out=alpha[t])
        return alpha

    def totals(self, alpha: np.ndarray) -> np.ndarray:
        """The log-probability of every target."""
        count = self.labels.shape[0]
        result = np.full(count, -np.inf, alpha.dtype)
        every = np.arange(count)
        if len(alpha):
            last = alpha[np.maximum(self.steps - 1, 0), every]
            result = last[every, self.ends - 1]
            more = self.ends > 1
            result = np.where(more, np.logaddexp(result, last[every, np.maximum(self.ends - 2, 0)]), result)
        # In no time at all only the empty target can be said.
        return np.where(self.steps > 0, result, np.where(self.ends == 1, 0, -np.inf)).astype(alpha.dtype)

    def backward(self) -> np.ndarray:
        """The log-probability (T, N, 2 S + 1) of all endings after a state at a time."""
        emitted, never = self.emitted, -np.inf
        beta = np.full(emitted.shape, never, emitted.dtype)
        place = np.arange(emitted.shape[2])
        last = (place >= self.ends[:, None] - 2) & (place < self.ends[:, None])
        two = np.full(emitted.shape[1:], never, emitted.dtype)
        for t in range(len(beta) - 1, -1, -1):
            beta[t] = np.where(last & (self.steps[:, None] == t + 1), 0, never)
            if t + 1 == len(beta):
                continue
            after = beta[t + 1] + emitted[t + 1]
            total = after.copy()
            np.logaddexp(after[:, :-1], after[:, 1:], out=total[:, :-1])
            two[:, :-2] = np.where(self.skips[:, 2:], after[:, 2:], never)
            np.logaddexp(total, two, out=total)
            inside = self.steps[:, None] > t + 1
            beta[t] = np.where(inside, total, beta[t])
        return beta


def _loss_kernel(site: Site) -> Callable[..., None]:
    blank: Any = site.attrs["blank"]

    def run(x: np.ndarray, targets: np.ndarray, steps: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        paths = _Paths(targets, steps, lengths, x, blank)
        np.negative(paths.totals(paths.forward()), out=out)

    return run


def _use_kernel(site: Site) -> Callable[..., None]:
    blank: Any = site.attrs["blank"]

    def run(x: np.ndarray, targets: np.ndarray, steps: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        paths = _Paths(targets, steps, lengths, x, blank)
        alpha = paths.forward()
        share = np.exp(alpha + paths.backward() - paths.totals(alpha)[:, None])
        out[...] = 0
        np.add.at(out, (np.arange(len(out))[:, None, None], np.arange(out.shape[1])[:, None], paths.labels), share)

    return run


def _loss_vjp(
    g: V, y: V, x: V, targets: V, steps: V, lengths: V, *, blank: int, zero_infinity: bool
) -> tuple[V | None, ...]:
    times, count, _ = x.shape
    used = ctc_use(x, targets, steps, lengths, blank=blank)
    # As in PyTorch the derivative is that by the operand of a log-softmax, which is what log_probs should be.
    slope = exp(x) - used
    inside = lt(reshaped(counting(steps, times), times, 1), reshaped(steps, 1, count))
    slope = keep(slope, reshaped(inside, times, count, 1))
    if zero_infinity:
        slope = keep(slope, reshaped(logical_not(isinf(y)), 1, count, 1))
    return expand(reshaped(g, 1, count, 1), shape=x.shape) * slope, None, None, None


def _cost(specs: Specs, out: TensorSpec, attrs: Any) -> float:
    return 60.0 * specs[0].shape[0] * (2 * specs[1].size + specs[1].shape[0]) + out.size


_BLANK = {"blank": Attr("int", 0, "the label for nothing")}

ctc_use = declare(
    Primitive(
        name="ctc_use",
        arity=4,
        attrs=_BLANK,
        doc="(log_probs [T, N, C], targets [N, S], input lengths [N], target lengths [N]): the probability of each "
        "label at each time, given the target.",
        spec=lambda specs, blank: _checked(specs, blank),
        kernel=_use_kernel,
        axes=lambda specs, out, blank: [Factor((1, 0, 0, 0), 1)],
        cost=lambda specs, out, attrs: 3 * _cost(specs, out, attrs),
    )
)
ctc_alignment = declare(
    Primitive(
        name="ctc_alignment",
        arity=4,
        attrs={**_BLANK, "zero_infinity": Attr("bool", False, "a target that cannot be said has the gradient 0")},
        grad_name="CtcLossBackward0",
        doc="(log_probs [T, N, C], targets [N, S], input lengths [N], target lengths [N]): minus the log-probability "
        "of all ways to say each target.",
        spec=lambda specs, blank, **_: TensorSpec(_checked(specs, blank).shape[1:2], specs[0].dtype),
        kernel=_loss_kernel,
        vjp=_loss_vjp,
        axes=lambda specs, out, **_: [Factor((1, 0, 0, 0), 0)],
        cost=_cost,
    )
)


def _ctc_loss(x: V, targets: V, steps: V, lengths: V, *, blank: int, zero_infinity: bool) -> V:
    loss = ctc_alignment(x, targets, steps, lengths, blank=blank, zero_infinity=zero_infinity)
    return where(isinf(loss), constant(loss, 0), loss) if zero_infinity else loss


composite(
    "ctc_loss",
    _ctc_loss,
    arity=4,
    attrs={
        **_BLANK,
        "zero_infinity": Attr("bool", False, "a target that cannot be said has the loss 0"),
    },
    grad_name=lambda specs, attrs: "WhereBackward0" if attrs.get("zero_infinity") else "CtcLossBackward0",
    doc="(log_probs [T, N, C], targets [N, S], input lengths [N], target lengths [N]): the loss of each sample.",
)
