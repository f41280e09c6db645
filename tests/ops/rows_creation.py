"""Rows: tensors from nothing."""

from __future__ import annotations

from gradmesh_engine.errors import AttributeTypeError, AxisError, ShapeError

from tests.ops.rows import EVERY, Bad, Row, S, row


def _iota(t, shape, dtype, dim=0, start=0, step=1):  # type: ignore[no-untyped-def]
    ramp = start + step * t.arange(shape[dim], dtype=t.float64 if isinstance(step, float) else t.int64)
    view = [1] * len(shape)
    view[dim] = shape[dim]
    return ramp.to(getattr(t, dtype)).reshape(view).expand(shape)


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
)
