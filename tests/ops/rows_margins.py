"""Rows: losses of margins, distances of pairs, shrinking and gated activations, norms with their statistics."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import AttributeTypeError, DTypeError, InvalidGraphError, ShapeError
from tests.ops.rows import FLOATS, INTS, WIDE, Bad, I, L, Row, S, T, row
from tests.ops.rows_nn import activation, functional, loss

SIGNS = L([[1.0, -1.0, 1.0, 1.0, -1.0]] * 3)

MARGINS: tuple[Row, ...] = (
    loss("soft_margin_loss", operands=(T(3, 5), SIGNS), wrt=(0,)),
    loss(
        "multi_margin_loss",
        {"p": 2, "margin": 0.5},
        operands=(T(6, 5), I(6, below=5)),
        errors=(
            Bad(S(T(6, 5), I(4, below=5)), ShapeError),
            Bad(S(T(6, 5), I(6, below=5), T(4)), ShapeError),
            Bad(S(T(6, 5), I(6, below=5), p=3), InvalidGraphError),
            Bad(S(T(6, 5), T(6)), DTypeError),
        ),
        smooth=False,
        twice=False,
        dtypes=WIDE,
    ),
    loss(
        "multilabel_margin_loss",
        operands=(T(3, 4), L([[3, 0, -1, 1], [-1, 0, 1, 2], [2, 1, 3, 0]], "int64", fixed=True)),
        errors=(Bad(S(T(3, 4), I(3, 5, below=4)), ShapeError),),
        smooth=False,
        twice=False,
        dtypes=WIDE,
    ),
    row(
        "pairwise_distance",
        S(T(5, 7), T(5, 7)),
        S(T(4, 5, 7), T(7), p=1.0, eps=0.1, keepdim=True),
        S(T(7), T(5, 7), p=3.0),
        ref=lambda t, x, y, p=2.0, eps=1e-6, keepdim=False: t.pairwise_distance(x, y, p, eps, keepdim),
        dtypes=WIDE,
        loose=16,
        errors=(Bad(S(T(), T()), ShapeError),),
    ),
    row(
        "pdist",
        S(T(6, 4)),
        S(T(5, 3), p=1.0),
        S(T(5, 3), p=3.0),
        S(T(5, 3), p=0.0),
        S(T(1, 3)),
        ref=lambda t, x, p=2.0: t.pdist(x, p),
        dtypes=WIDE,
        loose=16,
        twice=False,
        errors=(Bad(S(T(3)), ShapeError), Bad(S(T(3, 2), p=-1.0), AttributeTypeError)),
    ),
)

GATES: tuple[Row, ...] = (
    activation("hardshrink", {"lambd": 1.0}),
    activation("softshrink", {"lambd": 1.0}),
    row(
        "glu",
        S(T(5, 8)),
        S(T(4, 6, 5), dim=1),
        S(T(6), dim=0),
        ref=functional("glu"),
        dtypes=FLOATS,
        errors=(Bad(S(T(5, 7)), ShapeError), Bad(S(T()), ShapeError), Bad(S(T(4, dtype="int64")), DTypeError)),
    ),
    row(
        "channel_shuffle",
        S(T(4, 6, 5), groups=3),
        S(T(2, 8, 3, 5), groups=2),
        ref=functional("channel_shuffle"),
        dtypes=(*WIDE, *INTS),
        errors=(Bad(S(T(4, 6, 5), groups=4), ShapeError), Bad(S(T(4, 6), groups=2), ShapeError)),
    ),
    row(
        "native_dropout_backward",
        S(T(5, 7), L([[True, False, True, True, False, True, False]], "bool", fixed=True), scale=1.5),
        ref=lambda t, g, mask, scale: t.ops.aten.native_dropout_backward(g, mask.expand(g.shape), scale),
        dtypes=(*WIDE, *INTS),
        errors=(Bad(S(T(5), T(5), scale=1.0), DTypeError),),
    ),
)

# --- norms with their statistics ------------------------------------------------------------------


def _affine(operands: Any) -> tuple[Any, Any]:
    weight, bias = (*operands, None, None)[:2]
    return weight, bias


def _layer(t: Any, x: Any, *affine: Any, normalized_shape: Any, eps: float = 1e-5) -> Any:
    return t.native_layer_norm(x, normalized_shape, *_affine(affine), eps)


def _group(t: Any, x: Any, *affine: Any, num_groups: int, eps: float = 1e-5) -> Any:
    n, c = x.shape[:2]
    return t.native_group_norm(x, *_affine(affine), n, c, x[0, 0].numel(), num_groups, eps)


def _batch(t: Any, x: Any, *affine: Any, eps: float = 1e-5) -> Any:
    return t.native_batch_norm(x, *_affine(affine), None, None, True, 0.0, eps)


NATIVE: tuple[Row, ...] = (
    row(
        "native_layer_norm",
        S(T(5, 7), T(7), T(7), normalized_shape=(7,)),
        S(T(4, 5, 6), normalized_shape=(5, 6), eps=0.1),
        ref=_layer,
        dtypes=WIDE,
        smooth=False,
        loose=16,
    ),
    row(
        "native_group_norm",
        S(T(4, 6, 5), T(6), T(6), num_groups=3),
        S(T(4, 6, 2, 2), num_groups=2, eps=0.1),
        ref=_group,
        dtypes=WIDE,
        loose=16,
    ),
    row(
        "native_batch_norm",
        S(T(9, 6), T(6), T(6)),
        S(T(4, 6, 5), eps=0.1),
        ref=_batch,
        dtypes=WIDE,
        loose=16,
        smooth=False,
    ),
)

ROWS: tuple[Row, ...] = MARGINS + GATES + NATIVE
