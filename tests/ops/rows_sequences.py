"""Rows: attention, bags of embeddings, alignments of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.errors import DTypeError, InvalidGraphError, ShapeError
from tests.ops.rows import WIDE, Bad, I, L, Operand, Row, S, T, row

# --- attention ------------------------------------------------------------------------------------


def _attention(t: Any, q: Any, k: Any, v: Any, mask: Any = None, *, scale: float, is_causal: bool = False) -> Any:
    # The composition: PyTorch's fused kernel has no second derivative.
    with t.nn.attention.sdpa_kernel(t.nn.attention.SDPBackend.MATH):
        return t.nn.functional.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, scale=scale)


_MASK = L(np.arange(20).reshape(5, 4) % 3 != 0, "bool", fixed=True)
_BLIND = L(np.arange(20).reshape(5, 4) // 4 != 2, "bool", fixed=True)

ATTENTION: tuple[Row, ...] = (
    row(
        "scaled_dot_product_attention",
        S(T(2, 3, 5, 6), T(2, 3, 4, 6), T(2, 3, 4, 6), scale=0.4),
        S(T(2, 3, 5, 6), T(2, 3, 4, 6), T(2, 3, 4, 6), _MASK, scale=0.4),
        S(T(2, 3, 5, 6), T(2, 3, 4, 6), T(2, 3, 4, 6), T(5, 4), scale=0.4),
        S(T(4, 5, 6), T(4, 5, 6), T(4, 5, 3), scale=0.4, is_causal=True),
        ref=_attention,
        dtypes=WIDE,
        specials=(S(T(2, 3, 5, 6), T(2, 3, 4, 6), T(2, 3, 4, 6), _BLIND, scale=0.4),),
        loose=16,
        errors=(
            Bad(S(T(4, 5, 6), T(4, 5, 3), T(4, 5, 3), scale=0.4), ShapeError),
            Bad(S(T(4, 5, 6), T(4, 5, 6), T(4, 5, 6, dtype="float32"), scale=0.4), DTypeError),
        ),
    ),
)

# --- bags -----------------------------------------------------------------------------------------


def _bag(t: Any, weight: Any, index: Any, *rest: Any, has_weights: bool = False, **attrs: Any) -> Any:
    scales = rest[-1] if has_weights else None
    offsets = rest[0] if len(rest) > has_weights else None
    return t.nn.functional.embedding_bag(index, weight, offsets, per_sample_weights=scales, **attrs)


STARTS = L([0, 3, 3, 5], "int64", fixed=True)

BAGS: tuple[Row, ...] = (
    row(
        "embedding_bag",
        *(
            S(T(6, 5), index, *rest, mode=mode, **attrs)
            for mode in ("sum", "mean", "max")
            for index, rest, attrs in (
                (I(4, 3, below=6), (), {}),
                (I(4, 3, below=6), (), {"padding_idx": 2}),
                (I(8, below=6), (STARTS,), {}),
                (I(8, below=6), (STARTS,), {"padding_idx": -2}),
            )
        ),
        S(T(6, 5), I(8, below=6), L([0, 3, 8], "int64", fixed=True), include_last_offset=True),
        S(T(6, 5), I(8, below=6), STARTS, T(8), mode="sum", has_weights=True),
        S(T(6, 5), I(4, 3, below=6), T(4, 3), mode="sum", has_weights=True),
        ref=_bag,
        dtypes=WIDE,
        loose=4,
        twice=False,
        errors=(
            Bad(S(T(6, 5), I(8, below=6)), ShapeError),
            Bad(S(T(6, 5), I(4, 3, below=6), mode="min"), InvalidGraphError),
            Bad(S(T(6, 5), I(4, 3, below=6), T(4, 3), has_weights=True), ShapeError),
        ),
    ),
)

# --- alignments -----------------------------------------------------------------------------------


def _log_probs(*shape: int) -> Operand:
    def build(rng: np.random.Generator) -> np.ndarray:
        scores = rng.standard_normal(shape)
        return scores - np.log(np.exp(scores).sum(-1, keepdims=True))

    return Operand(shape, build=build)


def _ctc(t: Any, x: Any, targets: Any, steps: Any, lengths: Any, blank: int = 0, zero_infinity: bool = False) -> Any:
    return t.nn.functional.ctc_loss(x, targets, steps, lengths, blank, "none", zero_infinity)


def _use(t: Any, x: Any, targets: Any, steps: Any, lengths: Any, blank: int = 0) -> Any:
    """The loss's gradient is exp(x) less the use, up to each sample's end."""
    with t.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = t.autograd.grad(_ctc(t, x, targets, steps, lengths, blank).sum(), x)
    inside = t.arange(len(x))[:, None] < steps
    return (x.exp() - gradient).detach() * inside[..., None]


_TARGETS = L([[1, 2, 2], [3, 3, 1], [4, 0, 0], [2, 1, 4]], "int64", fixed=True)
_STEPS = L([7, 6, 7, 4], "int64", fixed=True)
_SIZES = L([3, 3, 1, 2], "int64", fixed=True)
_SHORT = L([2, 6, 7, 4], "int64", fixed=True)

CTC: tuple[Row, ...] = (
    row(
        "ctc_alignment",
        S(_log_probs(7, 4, 5), _TARGETS, _STEPS, _SIZES),
        ref=_ctc,
        loose=16,
        # The gradient is that by the operand of a log-softmax.
        smooth=False,
        twice=False,
        errors=(
            Bad(S(T(7, 4, 5), I(3, 3, below=5), _STEPS, _SIZES), ShapeError),
            Bad(S(T(7, 4, 5), _TARGETS, _STEPS, _SIZES, blank=5), ShapeError),
            Bad(S(T(7, 4, 5), T(4, 3), _STEPS, _SIZES), DTypeError),
        ),
    ),
    row(
        "ctc_use",
        S(_log_probs(7, 4, 5), _TARGETS, _STEPS, _SIZES),
        S(_log_probs(7, 4, 6), _TARGETS, _STEPS, _SIZES, blank=5),
        ref=_use,
        loose=16,
        wrt=(),
    ),
    row(
        "ctc_loss",
        S(_log_probs(7, 4, 6), _TARGETS, _STEPS, _SIZES, blank=5),
        S(_log_probs(7, 4, 5), _TARGETS, _SHORT, _SIZES, zero_infinity=True),
        ref=_ctc,
        dtypes=WIDE,
        loose=16,
        smooth=False,
        twice=False,
    ),
)

ROWS: tuple[Row, ...] = ATTENTION + BAGS + CTC
