"""Rows: tensors from nothing."""

from __future__ import annotations

from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, ShapeError
from tests.ops.rows import EVERY, Bad, I, Row, S, T, row


def _iota(t, shape, dtype, dim=0, start=0, step=1):  # type: ignore[no-untyped-def]
    ramp = start + step * t.arange(shape[dim], dtype=t.float64 if isinstance(step, float) else t.int64)
    view = [1] * len(shape)
    view[dim] = shape[dim]
    return ramp.to(getattr(t, dtype)).reshape(view).expand(shape)


def _typed(name):  # type: ignore[no-untyped-def]
    return lambda t, dtype="float32", **attrs: getattr(t, name)(**attrs, dtype=getattr(t, dtype))


def _eye(t, n, m=None, dtype="float32"):  # type: ignore[no-untyped-def]
    return t.eye(n, n if m is None else m, dtype=getattr(t, dtype))


ROWS: tuple[Row, ...] = (
    row(
        "full",
        *(S(value=1.5 if "float" in d or "complex" in d else 1, shape=(5, 7), dtype=d) for d in EVERY),
        S(value=True, shape=(), dtype="bool"),
        S(value=2, shape=(0, 3), dtype="int64"),
        S(value=1 + 2j, shape=(4,), dtype="complex128"),
        ref=lambda t, value, shape, dtype: t.full(shape, value, dtype=getattr(t, dtype)),
        errors=(
            Bad(S(value=1.0, shape=(-1,), dtype="float32"), ShapeError),
            Bad(S(value=1.0, shape=(2,), dtype="float31"), AttributeTypeError),
            Bad(S(value="one", shape=(2,), dtype="float32"), AttributeTypeError),
        ),
    ),
    row(
        "iota",
        S(shape=(9,), dtype="int64"),
        S(shape=(5, 7), dim=1, dtype="float64", start=0.5, step=0.25),
        S(shape=(5, 7), dim=0, dtype="int32", start=3, step=-2),
        S(shape=(0,), dtype="int64"),
        ref=_iota,
        errors=(Bad(S(shape=(3,), dim=1, dtype="int64"), AxisError),),
    ),
    *(
        row(
            name,
            *(S(shape=(5, 7), dtype=d) for d in EVERY),
            S(shape=()),
            S(shape=(0, 3)),
            ref=lambda t, shape, dtype="float32", name=name: getattr(t, name)(shape, dtype=getattr(t, dtype)),
            errors=(Bad(S(shape=(-1,)), ShapeError), Bad(S(), AttributeTypeError)),
        )
        for name in ("zeros", "ones")
    ),
    row(
        "arange",
        S(end=7),
        S(start=2, end=9, step=3),
        S(start=9, end=2, step=-2, dtype="int32"),
        S(start=0.0, end=1.0, step=0.1, dtype="float64"),
        S(start=1, end=1),
        ref=lambda t, end, start=0, step=1, dtype="int64": t.arange(start, end, step, dtype=getattr(t, dtype)),
        errors=(
            Bad(S(end=5, step=0), ShapeError),
            Bad(S(end=5, step=-1), ShapeError),
            Bad(S(end=5, step=float("nan")), ShapeError),
            Bad(S(end=float("inf")), ShapeError, "unsupported range"),
            Bad(S(end=1e308, start=-1e308), ShapeError, "invalid size"),
            Bad(S(end=1j), DTypeError),
            Bad(S(end=1 << 60), ShapeError, "impossible size"),
        ),
    ),
    row(
        "linspace",
        S(start=0.0, end=1.0, steps=11),
        S(start=-3, end=5, steps=7, dtype="float64"),
        S(start=2.5, end=2.5, steps=1),
        S(start=0, end=1, steps=0),
        ref=_typed("linspace"),
        loose=4,
        errors=(Bad(S(start=0.0, end=1.0, steps=-1), ShapeError),),
    ),
    row(
        "logspace",
        S(start=0.0, end=1.0, steps=11, dtype="float64"),
        S(start=-3, end=5, steps=7, base=2.0, dtype="float64"),
        ref=_typed("logspace"),
        loose=16,
    ),
    row(
        "eye",
        S(n=5),
        S(n=5, m=7, dtype="int64"),
        S(n=7, m=4, dtype="complex64"),
        S(n=0),
        ref=_eye,
        errors=(Bad(S(n=-1), ShapeError),),
    ),
    row(
        "one_hot",
        S(I(7, below=5), num_classes=5),
        S(I(6, 4, below=5), num_classes=6),
        S(I(below=5), num_classes=5),
        ref=lambda t, x, num_classes: t.nn.functional.one_hot(x, num_classes),
        errors=(Bad(S(T(3), num_classes=4), DTypeError),),
    ),
)
