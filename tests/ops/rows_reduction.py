"""Rows: reductions."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import ArityError, AxisError, DTypeError, ShapeError
from tests.ops.rows import COMPLEX, EVERY, FLOATS, INTS, WIDE, Bad, L, Row, S, Sample, T, row

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
            errors=(*BAD_DIMS, Bad(S(T(0, 3), dims=(0,)), AxisError)),
        )
        for kind in ("max", "min")
    ),
)

ALONG: tuple[Row, ...] = (
    *(
        row(
            f"arg{kind}_along",
            *(S(T(*shape), dim=dim) for shape, dim in (((5, 7), 0), ((5, 7), 1), ((4, 5, 6), 1), ((9,), 0))),
            ref=lambda t, x, dim, kind=kind: getattr(t, f"arg{kind}")(x, dim),
            dtypes=(*FLOATS, *INTS),
            specials=(S(L([[1.0, NAN, 3.0], [INF, -INF, 0.0], [1.0, 1.0, 0.5]]), dim=1),),
            errors=(Bad(S(T(3, 4), dim=2), AxisError), Bad(S(T(0, 3), dim=0), AxisError)),
        )
        for kind in ("max", "min")
    ),
    *(
        row(
            f"scan_{kind}",
            *(
                S(T(*shape), dim=dim)
                for shape, dim in (((5, 7), 0), ((5, 7), 1), ((4, 5, 6), 1), ((9,), 0), ((0, 3), 0))
            ),
            ref=lambda t, x, dim, kind=kind: getattr(t, f"cum{kind}")(x, dim, dtype=x.dtype),
            dtypes=(*WIDE, *COMPLEX, *INTS),
            loose=4,
            errors=(Bad(S(T(3, 4), dim=2), AxisError),),
        )
        for kind in ("sum", "prod")
    ),
)


def reductions(empty: bool = True, keepdim: bool = True, **options: Any) -> tuple[Sample, ...]:
    """Samples of a reduction as a user calls it."""
    samples = [
        S(T(5, 7, **options)),
        S(T(5, 7, **options), dim=(0,)),
        S(T(4, 5, 6, **options), dim=(-1, 0)),
        S(T(**options)),
        S(T(0, 3, **options), dim=(1,)),
    ]
    if keepdim:
        samples += [S(T(4, 5, 6, **options), dim=(1,), keepdim=True), S(T(5, 7, **options), dim=(0, 1), keepdim=True)]
    if empty:
        samples += [S(T(0, 3, **options), dim=(0,)), S(T(0, **options))]
    return tuple(samples)


def extremes(name: str) -> Any:
    """torch.amax with its default of every dim."""
    return lambda t, x, dim=(), keepdim=False: getattr(t, name)(x, dim, keepdim)


def _prod(t: Any, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """torch.prod over any dims."""
    kind = None if dtype is None else getattr(t, dtype)
    if dim is None:
        return t.prod(x, dtype=kind)
    for d in sorted((d % x.ndim for d in dim), reverse=True):
        x = t.prod(x, d, keepdim, dtype=kind)
    return x


def _named(name: str) -> Any:
    def reference(t: Any, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        kind = None if dtype is None else getattr(t, dtype)
        return getattr(t, name)(x, dim=dim, keepdim=keepdim, dtype=kind)

    return reference


def _truth(name: str) -> Any:
    def reference(t: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return getattr(t, name)(x) if dim is None else getattr(t, name)(x, dim=dim, keepdim=keepdim)

    return reference


def _argument(name: str) -> Any:
    return lambda t, x, dim=None, keepdim=False: getattr(t, name)(x, dim=dim, keepdim=keepdim)


def _spreading(name: str) -> Any:
    return lambda t, x, dim=None, keepdim=False, correction=1.0: getattr(t, name)(
        x, dim=dim, keepdim=keepdim, correction=correction
    )


def _norm(t: Any, x: Any, dim: Any = None, keepdim: bool = False, p: float = 2.0) -> Any:
    return t.linalg.vector_norm(x, p, dim, keepdim)


def _logsumexp(t: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return t.logsumexp(x, tuple(range(x.ndim)) if dim is None else dim, keepdim)


BAD_DIM = (Bad(S(T(3, 4), dim=(2,)), AxisError, "Dimension out of range"), Bad(S(T(3, 4), dim=(0, 0)), ShapeError))
NOTHING = Bad(S(T(0, 3), dim=(0,)), AxisError)
SPECIAL = L([[1.0, NAN, 3.0], [INF, -INF, 0.0], [1.0, 1.0, 0.5], [INF, INF, 1.0]])
SPECIALS = (S(SPECIAL), S(SPECIAL, dim=(1,)), S(SPECIAL, dim=(0,)))

USER: tuple[Row, ...] = (
    row(
        "sum",
        *reductions(),
        S(T(5, 7), dim=(0,), dtype="float32"),
        ref=_named("sum"),
        dtypes=EVERY,
        specials=SPECIALS,
        loose=4,
        errors=BAD_DIM,
    ),
    row(
        "prod",
        *reductions(low=0.5),
        ref=_prod,
        dtypes=tuple(d for d in EVERY if d != "float16"),
        loose=4,
        errors=BAD_DIM,
    ),
    row(
        "mean",
        *reductions(empty=False),
        S(T(5, 7), dim=(1,), dtype="float32"),
        ref=_named("mean"),
        dtypes=(*FLOATS, *COMPLEX),
        specials=(*SPECIALS, S(T(0, 3), dim=(0,)), S(T(0))),
        loose=4,
        errors=(*BAD_DIM, Bad(S(T(3, dtype="int64")), DTypeError)),
    ),
    *(
        row(
            f"cum{kind}",
            *(
                S(T(*shape, low=0.3), dim=dim)
                for shape, dim in (((5, 7), 0), ((5, 7), -1), ((4, 5, 6), 1), ((), 0), ((0, 3), 0))
            ),
            specials=(S(T(5, 7), dim=0, dtype="float32"), S(T(5, 7, dtype="float32"), dim=0, dtype="float64")),
            ref=lambda t, x, dim, dtype=None, kind=kind: getattr(t, f"cum{kind}")(
                x, dim, dtype=None if dtype is None else getattr(t, dtype)
            ),
            dtypes=(*WIDE, *COMPLEX, *INTS, "bool"),
            loose=4,
            errors=(Bad(S(T(3, 4), dim=2), AxisError),),
        )
        for kind in ("sum", "prod")
    ),
    *(
        row(
            f"a{kind}",
            *reductions(empty=False),
            ref=extremes(f"a{kind}"),
            dtypes=(*FLOATS, *INTS, "bool"),
            specials=SPECIALS,
            errors=(*BAD_DIM, NOTHING),
        )
        for kind in ("max", "min")
    ),
    *(
        row(
            kind,
            S(T(5, 7)),
            S(T(9)),
            S(T()),
            dtypes=(*FLOATS, *INTS, "bool"),
            specials=(S(SPECIAL),),
            errors=(Bad(S(T(0)), ShapeError), Bad(S(T(3), T(3)), ArityError)),
        )
        for kind in ("max", "min")
    ),
    *(
        row(
            f"{kind}_dim",
            S(T(5, 7), dim=0),
            S(T(5, 7), dim=-1, keepdim=True),
            S(T(4, 5, 6), dim=1),
            S(T(), dim=0),
            S(T(0, 3), dim=1),
            ref=lambda t, x, dim, keepdim=False, kind=kind: getattr(t, kind)(x, dim, keepdim),
            dtypes=(*FLOATS, *INTS, "bool"),
            specials=(S(SPECIAL, dim=1),),
            errors=(Bad(S(T(3, 4), dim=2), AxisError), Bad(S(T(0, 3), dim=0), AxisError)),
        )
        for kind in ("max", "min")
    ),
    *(
        row(
            f"arg{kind}",
            S(T(5, 7)),
            S(T(5, 7), dim=0),
            S(T(4, 5, 6), dim=-2, keepdim=True),
            S(T(5, 7), keepdim=True),
            S(T(), dim=0),
            S(T(0, 3), dim=1),
            ref=_argument(f"arg{kind}"),
            dtypes=(*FLOATS, *INTS),
            specials=(S(SPECIAL), S(SPECIAL, dim=1)),
            errors=(Bad(S(T(3, 4), dim=2), AxisError), Bad(S(T(0, 3), dim=0), AxisError)),
        )
        for kind in ("max", "min")
    ),
    *(
        row(kind, *(s for s in reductions(low=-0.5)), ref=_truth(kind), dtypes=EVERY, specials=SPECIALS, errors=BAD_DIM)
        for kind in ("any", "all")
    ),
    *(
        row(
            kind,
            *reductions(empty=False)[:3],
            S(T(4, 5, 6), dim=(1,), keepdim=True),
            S(T(5, 7), dim=(0,), correction=0.0),
            S(T(5, 7), correction=2.0),
            ref=_spreading(kind),
            dtypes=FLOATS,
            specials=(
                S(T()),
                S(T(0, 3), dim=(1,)),
                S(T(1, 3), dim=(0,)),
                S(L([[1.0, NAN, 3.0], [1.0, 1.0, 0.5]]), dim=(1,)),
            ),
            loose=16,
            errors=(*BAD_DIM, Bad(S(T(3, dtype="int64")), DTypeError)),
        )
        for kind in ("var", "std", "var_mean", "std_mean")
    ),
    row(
        "norm",
        *reductions(empty=False),
        *(S(T(5, 7), dim=(0,), p=p) for p in (1.0, 3.0, 0.0, INF, -INF, 0.5)),
        ref=_norm,
        dtypes=(*FLOATS, *COMPLEX),
        loose=16,
        errors=(*BAD_DIM, Bad(S(T(3, dtype="int64")), DTypeError)),
    ),
    row(
        "logsumexp",
        *reductions(empty=False),
        ref=_logsumexp,
        dtypes=FLOATS,
        specials=(*SPECIALS, S(L([1000.0, 1000.0])), S(L([-INF, -INF])), S(L([-1000.0, -1001.0]))),
        loose=4,
        errors=BAD_DIM,
    ),
)

ROWS: tuple[Row, ...] = PRIMITIVE + ALONG + USER
