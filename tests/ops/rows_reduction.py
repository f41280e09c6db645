"""Rows: reductions."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import AxisError, ShapeError

from tests.ops.rows import COMPLEX, EVERY, FLOATS, INTS, Bad, L, Row, S, Sample, T, row

INF, NAN = float("inf"), float("nan")


def over_dims(empty: bool = True, **options: Any) -> tuple[Sample, ...]:
    """Samples of a primitive reduction."""
    samples = (
        S(T(5, 7, **options), dims=(0,)),
        S(T(5, 7, **options), dims=(1,)),
        S(T(5, 7, **options), dims=(0, 1)),
        S(T(4, 5, 6, **options), dims=(0, 2)),
        S(T(4, 5, 6, **options), dims=(1,)),
        S(T(9, **options), dims=()),
        S(T(**options), dims=()),
        S(T(0, 3, **options), dims=(1,)),
    )
    return (*samples, S(T(0, 3, **options), dims=(0,))) if empty else samples


BAD_DIMS = (Bad(S(T(3, 4), dims=(2,)), AxisError), Bad(S(T(3, 4), dims=(0, 0)), ShapeError))


def _over(name: str) -> Any:
    def reference(t: Any, x: Any, dims: tuple[int, ...]) -> Any:
        if not dims:
            return x.clone()
        if name == "prod":
            for dim in sorted(dims, reverse=True):
                x = t.prod(x, dim, dtype=x.dtype)
            return x
        if name == "sum":
            return t.sum(x, dims, dtype=x.dtype)
        return getattr(t, name)(x, dims)

    return reference


PRIMITIVE: tuple[Row, ...] = (
    row("reduce_sum", *over_dims(), ref=_over("sum"), dtypes=(*FLOATS, *COMPLEX, *INTS), loose=4, errors=BAD_DIMS),
    row(
        "reduce_prod",
        *over_dims(low=0.5),
        ref=_over("prod"),
        dtypes=("float64", "float32", *COMPLEX, *INTS),
        loose=4,
        errors=BAD_DIMS,
    ),
    *(
        row(
            f"reduce_{kind}",
            *over_dims(empty=False),
            ref=_over(f"a{kind}"),
            dtypes=(*FLOATS, *INTS, "bool"),
            specials=(
                S(L([[1.0, NAN, 3.0], [INF, -INF, 0.0], [1.0, 1.0, 0.5]]), dims=(1,)),
                S(L([-INF, -INF]), dims=(0,)),
            ),
            errors=(*BAD_DIMS, Bad(S(T(0, 3), dims=(0,)), ShapeError)),
        )
        for kind in ("max", "min")
    ),
)

ROWS: tuple[Row, ...] = PRIMITIVE
_ = EVERY
