"""Rows: activations, losses and normalisations."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import ArityError, AttributeTypeError, AxisError, DTypeError, InvalidGraphError, ShapeError
from tests.ops.rows import FLOATS, INTS, WIDE, Bad, I, L, Operand, Row, S, T, row, untorched
from tests.ops.rows_pointwise import EDGES, binary, unary

INF, NAN = float("inf"), float("nan")
KNEES = (-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0)


def functional(name: str) -> Any:
    """torch.nn.functional's function of that name, attributes by keyword."""
    return lambda t, *xs, **attrs: getattr(t.nn.functional, name)(*xs, **attrs)


def activation(op: str, *more: dict[str, Any], specials: bool = True, alone: str = "", **fields: Any) -> Row:
    """A function of one operand; other attributes are in `more`, why PyTorch's gradient is no reference in `alone`."""
    fields.setdefault("dtypes", FLOATS)
    fields.setdefault("ref", functional(op))
    samples = (
        *unary(low=-4.0, high=4.0, kinks=KNEES),
        *(S(T(5, 7, low=-4.0, high=4.0, kinks=KNEES), **attrs) for attrs in more),
    )
    return row(
        op,
        *(untorched(sample, alone) for sample in samples),
        specials=(S(EDGES), S(L([-100.0, 100.0, 20.0, -20.0, 1e-8]))) if specials else (),
        **fields,
    )


ACTIVATIONS: tuple[Row, ...] = (
    activation("relu", dtypes=(*FLOATS, *INTS)),
    activation("leaky_relu", {"negative_slope": 0.3}),
    activation(
        "hardtanh",
        {"min_val": -0.5, "max_val": 3.0},
        errors=tuple(
            Bad(S(L([1, 0], dtype), min_val=low, max_val=high), DTypeError)
            for dtype, low, high in (
                ("uint8", -1.0, 1.0),
                ("int8", 0.0, 300.0),
                ("int64", -INF, 1.0),
                ("int32", 0.0, NAN),
            )
        ),
    ),
    activation("elu", {"alpha": 0.7}),
    activation("selu"),
    activation("celu", {"alpha": 0.5}),
    row(
        "threshold",
        S(T(5, 7, kinks=(0.5,)), threshold=0.5, value=-3.0),
        S(T(kinks=(0.5,)), threshold=0.5, value=0.0),
        ref=lambda t, x, threshold, value: t.nn.functional.threshold(x, threshold, value),
        dtypes=FLOATS,
    ),
    activation(
        "hardsigmoid", dtypes=("float32", "float16", "bfloat16"), alone="it multiplies by 1/6 rounded to float32"
    ),
    activation("hardswish"),
    activation("gelu", {"approximate": "tanh"}, loose=4),
    activation("silu"),
    activation("mish"),
    activation("softplus", {"beta": 2.0}, {"beta": 0.5, "threshold": 1.0}),
    activation("logsigmoid"),
    row(
        "prelu",
        *(S(T(4, 5, 6, kinks=(0.0,)), T(*weight)) for weight in ((5, 1), (1,), (6,))),
        ref=lambda t, x, weight: t.where(x > 0, x, weight * x),
        dtypes=FLOATS,
    ),
    *(
        row(
            op,
            S(T(5, 7), dim=1),
            S(T(5, 7), dim=0),
            S(T(4, 5, 6), dim=-2),
            S(T(), dim=0),
            S(T(0, 3), dim=1),
            S(T(5, 7, low=-300.0, high=300.0), dim=1),
            ref=lambda t, x, dim, dtype=None, op=op: getattr(t, op)(
                x, dim, dtype=None if dtype is None else getattr(t, dtype)
            ),
            dtypes=FLOATS,
            specials=(
                S(L([[1e4, 0.0], [-INF, 1.0], [-INF, -INF], [NAN, 1.0]]), dim=1),
                S(T(5, 7, dtype="float32"), dim=1, dtype="float64"),
            ),
            loose=4,
            errors=(Bad(S(T(3, 4), dim=2), AxisError), Bad(S(T(3, 4)), AttributeTypeError)),
        )
        for op in ("softmax", "log_softmax")
    ),
    row(
        "clamp",
        S(T(5, 7, kinks=(-1.0, 1.0)), L(-1.0), L(1.0)),
        S(T(5, 7), T(5, 7, low=-2, high=-1), T(7, low=1, high=1.5)),
        untorched(S(T(7), T(5, 1, low=-1, high=-0.5), L(1.0)), "its backward does not sum over what broadcast x"),
        S(T(0, 3), L(-1.0), L(1.0)),
        dtypes=(*FLOATS, *INTS),
        specials=(S(EDGES, L(-1.0), L(1.0)), S(L([1.0, 1.0]), L(2.0), L(0.0))),
    ),
    *(
        row(
            op,
            *binary(),
            ref=lambda t, x, low, op=op: getattr(t, op)(x, low),
            dtypes=(*FLOATS, *INTS),
            specials=(S(EDGES, L(0.5)),),
        )
        for op in ("clamp_min", "clamp_max")
    ),
)

# --- losses --------------------------------------------------------------------------------------


def loss(op: str, *more: dict[str, Any], operands: tuple[Operand, Operand] | None = None, **fields: Any) -> Row:
    """A loss of two operands of equal shape, in every reduction."""
    x, target = operands or (T(5, 7), T(5, 7))
    fields.setdefault("dtypes", FLOATS)
    fields.setdefault("ref", functional(op))
    return row(
        op,
        *(S(x, target, reduction=reduction) for reduction in ("mean", "sum", "none")),
        *(S(x, target, **attrs) for attrs in more),
        loose=4,
        errors=(Bad(S(T(3), T(3), reduction="median"), InvalidGraphError), *fields.pop("errors", ())),
        **fields,
    )


def _bce(t: Any, *xs: Any, **attrs: Any) -> Any:
    x, target, *weight = xs
    return t.nn.functional.binary_cross_entropy(x, target, *weight, **attrs)


def _bce_logits(t: Any, x: Any, target: Any, *more: Any, has_pos_weight: bool = False, reduction: str = "mean") -> Any:
    pos_weight = more[-1] if has_pos_weight else None
    weights = more[:-1] if has_pos_weight else more
    return t.nn.functional.binary_cross_entropy_with_logits(
        x, target, weights[0] if weights else None, reduction=reduction, pos_weight=pos_weight
    )


P01 = {"low": 0.05, "high": 0.95}

LOSSES: tuple[Row, ...] = (
    loss("mse_loss", errors=(Bad(S(T(3), T(4)), ShapeError),)),
    loss("huber_loss", {"delta": 0.5}, {"delta": 0.5, "reduction": "none"}),
    loss("smooth_l1_loss", {"beta": 0.5}, {"beta": 0.5, "reduction": "sum"}),
    row(
        "binary_cross_entropy",
        *(S(T(5, 7, **P01), T(5, 7, **P01), reduction=r) for r in ("mean", "sum", "none")),
        S(T(5, 7, **P01), T(5, 7, **P01), T(7, **P01)),
        ref=_bce,
        wrt=(0, 1),
        dtypes=WIDE,
        specials=(S(L([0.0, 1.0, 0.0, 1.0]), L([0.0, 1.0, 1.0, 0.0]), reduction="none"),),
        loose=8,
        errors=(Bad(S(T(3, **P01), T(4, **P01)), ShapeError), Bad(S(T(3), T(3), T(2, 3)), ShapeError)),
    ),
    row(
        "binary_cross_entropy_with_logits",
        *(S(T(5, 7), T(5, 7, **P01), reduction=r) for r in ("mean", "sum", "none")),
        S(T(5, 7), T(5, 7, **P01), T(7, **P01)),
        S(T(5, 7), T(5, 7, **P01), T(7, **P01), has_pos_weight=True),
        S(T(5, 7), T(5, 7, **P01), T(5, 1, **P01), T(7, **P01), has_pos_weight=True, reduction="none"),
        ref=_bce_logits,
        wrt=(0, 1),
        dtypes=FLOATS,
        specials=(S(L([100.0, -100.0, 0.0, INF]), L([0.0, 1.0, 0.5, 1.0]), reduction="none"),),
        loose=8,
        errors=(
            Bad(S(T(3), T(4)), ShapeError),
            Bad(S(T(3), T(3), T(3), T(3)), ArityError),
            Bad(S(T(3), T(3), T(2, 3), has_pos_weight=True), ShapeError),
            Bad(S(T(3), T(3), T(2, 3)), ShapeError),
        ),
    ),
    row(
        "nll_loss",
        *(S(T(6, 5), I(6, below=5), reduction=r) for r in ("mean", "sum", "none")),
        S(T(6, 5), I(6, below=5), T(5, low=0.2, high=1.5)),
        S(T(6, 5), I(6, below=5), ignore_index=2),
        S(T(6, 5), I(6, below=5), T(5, low=0.2, high=1.5), ignore_index=1, reduction="none"),
        S(T(4, 5, 3), I(4, 3, below=5)),
        S(T(5), I(below=5)),
        ref=functional("nll_loss"),
        wrt=(0,),
        dtypes=WIDE,
        loose=4,
        errors=(
            Bad(S(T(6, 5), I(7, below=5)), ShapeError),
            Bad(S(T(6, 5), T(6)), DTypeError),
            Bad(S(T(6, 5), I(6, below=5), reduction="median"), InvalidGraphError),
        ),
    ),
    row(
        "cross_entropy",
        *(S(T(6, 5), I(6, below=5), reduction=r) for r in ("mean", "sum", "none")),
        S(T(6, 5), I(6, below=5), T(5, low=0.2, high=1.5)),
        S(T(6, 5), I(6, below=5), ignore_index=2),
        S(T(6, 5), I(6, below=5), label_smoothing=0.1),
        S(T(6, 5), I(6, below=5), T(5, low=0.2, high=1.5), label_smoothing=0.1, ignore_index=1),
        S(T(4, 5, 3), I(4, 3, below=5)),
        S(T(5), I(below=5)),
        ref=functional("cross_entropy"),
        wrt=(0,),
        dtypes=WIDE,
        specials=(
            S(T(6, 5), T(6, 5, **P01)),
            S(T(6, 5), T(6, 5, **P01), T(5, **P01), label_smoothing=0.2),
            S(T(6, 5, low=-500, high=500), I(6, below=5)),
        ),
        loose=8,
        errors=(
            Bad(S(T(6, 5), I(7, below=5)), ShapeError),
            Bad(S(T(6, 5), I(6, below=5), label_smoothing=1.5), InvalidGraphError),
        ),
    ),
)

# --- normalisations -------------------------------------------------------------------------------


def _affine(name: str) -> Any:
    """(x, weight, bias) with attributes first, as torch's norms take them."""

    def reference(t: Any, x: Any, *affine: Any, eps: float | None = None, **attrs: Any) -> Any:
        weight, bias = (*affine, None, None)[:2]
        extra = {} if eps is None else {"eps": eps}
        if name == "rms_norm":
            return t.nn.functional.rms_norm(x, *attrs.values(), weight, **extra)
        return getattr(t.nn.functional, name)(x, *attrs.values(), weight, bias, **extra)

    return reference


def _batch_norm(t: Any, x: Any, *affine: Any, eps: float = 1e-5) -> Any:
    weight, bias = (*affine, None, None)[:2]
    return t.nn.functional.batch_norm(x, None, None, weight, bias, True, 0.0, eps)


def _batch_norm_inference(t: Any, x: Any, mean: Any, var: Any, *affine: Any, eps: float = 1e-5) -> Any:
    weight, bias = (*affine, None, None)[:2]
    shape = [1, -1] + [1] * (x.ndim - 2)
    y = (x - mean.reshape(shape)) * t.rsqrt(var.reshape(shape) + eps)
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


NORMS: tuple[Row, ...] = (
    row(
        "layer_norm",
        S(T(5, 7), T(7), T(7), normalized_shape=(7,)),
        S(T(5, 7), normalized_shape=(7,)),
        S(T(4, 5, 6), T(5, 6), T(5, 6), normalized_shape=(5, 6)),
        S(T(4, 5, 6), T(6), normalized_shape=(6,), eps=0.1),
        S(T(0, 7), T(7), T(7), normalized_shape=(7,)),
        ref=_affine("layer_norm"),
        dtypes=FLOATS,
        loose=16,
        errors=(
            Bad(S(T(5, 7), normalized_shape=(5,)), ShapeError),
            Bad(S(T(5, 7), T(5), normalized_shape=(7,)), ShapeError),
        ),
    ),
    row(
        "rms_norm",
        S(T(5, 7), T(7), normalized_shape=(7,)),
        S(T(4, 5, 6), normalized_shape=(5, 6), eps=0.1),
        ref=_affine("rms_norm"),
        dtypes=WIDE,
        loose=16,
        errors=(Bad(S(T(5, 7), normalized_shape=(5,)), ShapeError),),
    ),
    row(
        "group_norm",
        S(T(4, 6, 5), T(6), T(6), num_groups=3),
        S(T(4, 6), num_groups=2),
        S(T(4, 6, 5, 3), T(6), num_groups=6, eps=0.1),
        ref=_affine("group_norm"),
        dtypes=WIDE,
        loose=16,
        errors=(Bad(S(T(4, 6, 5), num_groups=4), ShapeError),),
    ),
    row(
        "batch_norm",
        S(T(9, 6), T(6), T(6)),
        S(T(4, 6, 5), T(6), T(6)),
        S(T(4, 6, 5, 3), eps=0.1),
        S(T(9, 6), T(6)),
        ref=_batch_norm,
        dtypes=WIDE,
        loose=16,
        errors=(Bad(S(T(9, 6), T(5)), ShapeError), Bad(S(T(9)), ShapeError)),
    ),
    row(
        "batch_norm_inference",
        S(T(9, 6), T(6), T(6, low=0.3), T(6), T(6)),
        S(T(4, 6, 5), T(6), T(6, low=0.3), eps=0.1),
        ref=_batch_norm_inference,
        dtypes=WIDE,
        loose=16,
        errors=(Bad(S(T(9, 6), T(5), T(6)), ShapeError),),
    ),
)

ROWS: tuple[Row, ...] = ACTIVATIONS + LOSSES + NORMS
