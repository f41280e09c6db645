"""Rows: order statistics, places among boundaries, and histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from tests.ops.rows import FLOATS, INTS, WIDE, B, Bad, L, Operand, Row, S, T, row, unsplit

NAN = float("nan")
REAL = (*FLOATS, *INTS)


def U(*shape: int) -> Operand:
    """Distinct whole numbers in random order: where equal ones would go is open."""
    return Operand(shape, build=lambda rng: rng.permutation(int(np.prod(shape))).reshape(shape))


def _order(t: Any, x: Any, dim: int, descending: bool = False, start: int = 0, count: int | None = None) -> Any:
    places = t.argsort(x, dim=dim, descending=descending, stable=True)
    return places.narrow(dim, start, x.shape[dim] - start if count is None else count)


def _running(t: Any, x: Any, dim: int, largest: bool = True) -> Any:
    return (t.cummax if largest else t.cummin)(x, dim).indices


def _along(name: str) -> Any:
    return lambda t, x, dim, keepdim=False: getattr(t, name)(x, dim, keepdim)


def _quantile(name: str) -> Any:
    def reference(t: Any, x: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear") -> Any:
        return getattr(t, name)(x, q, dim, keepdim, interpolation=interpolation)

    return reference


def _histogram(name: str) -> Any:
    def reference(
        t: Any, x: Any, *rest: Any, bins: Any = (), range: Any = (), weighted: bool = False, density: bool = False
    ) -> Any:
        weight, edges = (rest[0], rest[1:]) if weighted else (None, rest)
        if name == "histogram":
            given = edges[0] if edges else bins[0]
            span = {"range": range} if range else {}
            return t.histogram(x, given, weight=weight, density=density, **span)
        hist, found = t.histogramdd(x, edges or bins, range=range or None, weight=weight, density=density)
        return (hist, *found)

    return reference


QUANTILES = (
    S(U(9, 6), L(0.3), dim=0),
    S(U(9, 6), L([0.1, 0.62, 0.9]), dim=1),
    S(U(9, 6), L([0.25, 0.66]), dim=-1, keepdim=True),
    S(U(9, 6), L(0.4)),
    S(U(5, 7), L([0.3]), keepdim=True),
    *(S(U(9, 6), L([0.3, 0.71]), dim=0, interpolation=how) for how in ("lower", "higher", "nearest", "midpoint")),
    S(T(), L(0.5), dim=0),
)
BAD_QUANTILES = (
    Bad(S(T(4), L([[0.5]])), ShapeError),
    Bad(S(T(4, dtype="float32"), L(0.5)), DTypeError),
    Bad(S(T(4), L(0.5), interpolation="cubic"), ShapeError),
    Bad(S(T(0, 3), L(0.5), dim=0), ShapeError),
)
MISSING = L([[3.0, NAN, 1.0, 2.0], [NAN, NAN, NAN, NAN], [0.5, -1.0, 4.0, 4.5]])
PIECES = "places in pieces of the boundaries add up only where these ascend"
BAD_DIM = Bad(S(T(3, 4), dim=2), AxisError)

ROWS: tuple[Row, ...] = (
    row(
        "order",
        S(U(7, 6), dim=0),
        S(U(7, 6), dim=1, descending=True),
        S(U(5, 9), dim=1, count=3),
        S(U(5, 9), dim=1, count=4, descending=True),
        S(U(4, 5, 6), dim=1, count=4),
        S(U(9), dim=0, count=1),
        S(U(9, 5), dim=0, start=6, count=1, descending=True),
        S(U(9, 5), dim=0, start=1, count=2),
        S(U(9, 5), dim=0, start=7),
        S(U(7, *(1,) * 33, 6), dim=0, descending=True),
        S(U(7, *(1,) * 33, 6), dim=34, count=2),
        ref=_order,
        dtypes=REAL,
        specials=(
            S(MISSING, dim=1),
            S(MISSING, dim=1, descending=True),
            S(L([2, 1, 2, 1, 2], dtype="int64"), dim=0, descending=True),
            S(L([[NAN, 1.0, -2.0, 5.0]], dtype="bfloat16"), dim=1),
            S(L([[NAN, 1.0, -2.0, 5.0]]), dim=1, count=2, descending=True),
            S(B(9), dim=0),
        ),
        errors=(Bad(S(T(3, dtype="complex128"), dim=0), DTypeError), Bad(S(T(3), dim=0, start=2, count=2), ShapeError)),
    ),
    row(
        "running_extreme",
        S(T(7, 6), dim=0),
        S(T(7, 6), dim=1, largest=False),
        S(T(4, 5, 6), dim=1),
        ref=_running,
        dtypes=(*REAL, "bool"),
        specials=(S(MISSING, dim=1), S(L([2, 1, 2, 1, 3, 3], dtype="int64"), dim=0), S(MISSING, dim=1, largest=False)),
        errors=(Bad(S(T(3, dtype="complex128"), dim=0), DTypeError), Bad(S(T(3), dim=1), ShapeError)),
    ),
    row(
        "sort",
        S(U(7, 6)),
        S(U(7, 6), dim=0, descending=True),
        S(U(4, 5, 6), dim=1, stable=True),
        S(T()),
        S(T(0, 3)),
        ref=lambda t, x, dim=-1, descending=False, stable=None: t.sort(x, dim=dim, descending=descending, stable=True),
        dtypes=REAL,
        specials=(S(MISSING), S(MISSING, descending=True)),
        errors=(BAD_DIM, Bad(S(T(3, dtype="complex64")), DTypeError)),
    ),
    row(
        "argsort",
        S(U(7, 6)),
        S(U(7, 6), dim=0, descending=True),
        S(T()),
        ref=lambda t, x, dim=-1, descending=False: t.argsort(x, dim=dim, descending=descending, stable=True),
        errors=(BAD_DIM,),
    ),
    row(
        "topk",
        S(U(7, 6), k=2),
        S(U(7, 6), k=5, dim=0),
        S(U(4, 5, 6), k=2, dim=1, largest=False),
        S(U(7), k=0),
        S(T(), k=1),
        S(T(), k=0),
        dtypes=REAL,
        specials=(S(L([[1.0, NAN, 3.0, 2.0, 0.0]]), k=2), S(L([[1.0, NAN, 3.0, 2.0, 0.0]]), k=2, largest=False)),
        errors=(Bad(S(T(3), k=4), ShapeError), Bad(S(T(3, 4), k=1, dim=2), AxisError)),
    ),
    row(
        "kthvalue",
        S(U(7, 6), k=2),
        S(U(7, 6), k=6, dim=0, keepdim=True),
        S(T(), k=1),
        dtypes=REAL,
        errors=(Bad(S(T(3), k=4), ShapeError), Bad(S(T(3), k=0), ShapeError)),
    ),
    row(
        "median",
        S(U(7, 6)),
        S(U(9)),
        S(T()),
        dtypes=REAL,
        specials=(S(MISSING), S(T(0)), S(L([], dtype="int64"))),
    ),
    row("nanmedian", S(U(7, 6)), S(U(9)), S(T()), dtypes=REAL, specials=(S(MISSING), S(L([NAN, NAN])))),
    row(
        "median_dim",
        S(U(7, 6), dim=0),
        S(U(7, 6), dim=-1, keepdim=True),
        S(U(4, 5, 6), dim=1),
        S(T(), dim=0),
        ref=_along("median"),
        dtypes=REAL,
        specials=(S(MISSING, dim=1),),
        errors=(BAD_DIM, Bad(S(T(0, 3), dim=0), AxisError)),
    ),
    row(
        "nanmedian_dim",
        S(U(7, 6), dim=0),
        S(U(7, 6), dim=-1, keepdim=True),
        S(T(), dim=0),
        ref=_along("nanmedian"),
        dtypes=REAL,
        specials=(S(L([[3.0, NAN, 1.0, 2.0], [0.5, -1.0, 4.0, NAN]]), dim=1),),
        errors=(BAD_DIM,),
    ),
    row(
        "mode",
        S(U(7, 6)),
        S(U(7, 6), dim=0, keepdim=True),
        S(T()),
        dtypes=REAL,
        specials=(S(L([[3, 1, 1, 2, 2, 2], [5, 5, 4, 4, 0, 7]], dtype="int64")),),
        errors=(BAD_DIM, Bad(S(T(3, 0), dim=1), AxisError)),
    ),
    *(
        row(
            name,
            S(T(7, 6), dim=0),
            S(T(4, 5, 6), dim=-2),
            S(T(), dim=0),
            dtypes=REAL,
            specials=(S(MISSING, dim=1), S(L([2, 1, 2, 1, 3, 3], dtype="int64"), dim=0)),
            errors=(BAD_DIM,),
        )
        for name in ("cummax", "cummin")
    ),
    row(
        "quantile",
        *QUANTILES,
        ref=_quantile("quantile"),
        dtypes=WIDE,
        specials=(S(MISSING, L([0.0, 0.3]), dim=1),),
        errors=BAD_QUANTILES,
        wrt=(0, 1),
    ),
    row(
        "nanquantile",
        *QUANTILES,
        ref=_quantile("nanquantile"),
        dtypes=WIDE,
        specials=(S(MISSING, L([0.0, 0.3]), dim=1),),
        errors=BAD_QUANTILES,
    ),
    row(
        "nansum",
        S(T(7, 6), dim=(0,)),
        S(T(4, 5, 6), dim=(0, -1), keepdim=True),
        S(T(7, 6)),
        dtypes=(*REAL, "bool"),
        specials=(S(MISSING, dim=(1,)), S(MISSING)),
        errors=(Bad(S(T(3, dtype="complex64")), DTypeError), Bad(S(T(3), dim=(1,)), AxisError)),
    ),
    row(
        "nanmean",
        S(T(7, 6), dim=(0,)),
        S(T(4, 5, 6), dim=(0, -1), keepdim=True),
        S(T(7, 6)),
        dtypes=FLOATS,
        specials=(S(MISSING, dim=(1,)), S(MISSING)),
        errors=(Bad(S(T(3, dtype="int64")), DTypeError),),
    ),
    row(
        "nonzero_static",
        S(B(5, 7), size=9),
        S(B(4, 3, 2), size=40, fill_value=-7),
        S(B(), size=2),
        S(B(0, 3), size=2),
        ref=lambda t, x, size, fill_value=-1: t.nonzero_static(x, size=size, fill_value=fill_value),
        specials=(S(L([0.0, NAN, -0.0, 2.0]), size=3),),
        errors=(Bad(S(B(3), size=-1), ShapeError),),
    ),
    row(
        "searchsorted",
        unsplit(S(L([-1.0, -0.5, 0.25, 1.0, 1.5]), T(7, 6)), PIECES),
        unsplit(S(L([-1.0, -0.5, 0.25, 1.0]), T(8), right=True, out_int32=True), PIECES),
        unsplit(S(L(np.sort(np.random.default_rng(3).normal(size=(6, 5)))), T(6, 7)), PIECES),
        S(L([1.0, 2.0]), T()),
        S(L([]), T(3)),
        ref=lambda t, bounds, values, **attrs: t.searchsorted(bounds, values, **attrs),
        dtypes=REAL,
        specials=(
            S(L([1.0, 2.0, 2.0, 3.0]), L([0.0, 1.0, 2.0, 3.0, 4.0, NAN])),
            S(L([1.0, 2.0, 2.0, 3.0]), L([0.0, 1.0, 2.0, 3.0, 4.0, NAN]), right=True),
            S(L([1.0, 2.0, NAN]), L([NAN, 3.0])),
        ),
        errors=(
            Bad(S(T(3), T(3, dtype="float32")), DTypeError),
            Bad(S(T(), T(3)), ShapeError),
            Bad(S(T(3, 4), T(2, 4)), ShapeError),
            Bad(S(T(3, dtype="complex64"), T(3, dtype="complex64")), DTypeError),
        ),
    ),
    row(
        "histc",
        S(T(9, 7), bins=5),
        S(T(30), bins=6, min=-1.0, max=1.0),
        S(T(0), bins=3),
        dtypes=WIDE,
        specials=(
            S(L([2.0, 2.0]), bins=3),
            S(L([0.0, 1.0, 2.0, 3.0, NAN]), bins=3, min=0.0, max=3.0),
            S(L([0.5]), bins=4, min=0.5, max=0.5),
        ),
        errors=(
            Bad(S(T(3), bins=0), ShapeError),
            Bad(S(T(3), bins=2, min=2.0, max=1.0), ShapeError),
            Bad(S(T(3, dtype="int64"), bins=2), DTypeError),
        ),
    ),
    row(
        "histogram",
        S(T(9, 7), bins=(5,)),
        S(T(30), bins=(6,), range=(-1.0, 1.0)),
        S(T(30), L([-1.5, -1.0, 0.5, 2.0])),
        S(T(30), T(30), L([-1.5, -1.0, 0.5, 2.0]), weighted=True, density=True),
        S(T(30), T(30), bins=(4,), weighted=True),
        ref=_histogram("histogram"),
        dtypes=WIDE,
        specials=(S(L([2.0, 2.0]), bins=(3,)), S(L([0.0, 0.5, 1.0]), bins=(2,)), S(L([]), bins=(3,))),
        errors=(
            Bad(S(T(3)), ShapeError),
            Bad(S(T(3), bins=(0,)), ShapeError),
            Bad(S(T(3), T(4), bins=(2,), weighted=True), ShapeError),
            Bad(S(T(3), T(4, dtype="float32")), DTypeError),
            Bad(S(T(3), bins=(2,), range=(1.0, 0.0)), ShapeError),
            Bad(S(T(3, dtype="int64"), bins=(2,)), DTypeError),
        ),
    ),
    row(
        "histogramdd",
        S(T(40, 2), bins=(3, 4)),
        S(T(9, 5, 3), bins=(2, 3, 2), range=(-1.0, 1.0, -2.0, 0.0, 0.0, 1.5), density=True),
        S(T(40, 2), T(40), L([-2.0, 0.0, 2.0]), L([-1.0, 0.0, 0.5]), weighted=True),
        ref=_histogram("histogramdd"),
        dtypes=WIDE,
        errors=(Bad(S(T(4), bins=(2,)), ShapeError), Bad(S(T(4, 2), bins=(2,)), ShapeError)),
    ),
)
