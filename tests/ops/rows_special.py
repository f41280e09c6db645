"""Rows: special functions, and elementary ones composed of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine.errors import AttributeTypeError, DTypeError, GradmeshError, ShapeError
from gradmesh_engine.ops.special import FAMILIES
from tests.ops.rows import COMPLEX, EVERY, FLOATS, INTS, KEY, NUMBERS, WIDE, Bad, I, L, Row, S, T, row
from tests.ops.rows_pointwise import EDGES, EDGES_A, EDGES_B, binary, unary

INF, NAN = float("inf"), float("nan")
REAL = (*FLOATS, *INTS)


def _special(op: str) -> Any:
    return lambda t, *xs: getattr(t.special, op)(*xs)


def _one(op: str, *, low: float = -2.0, high: float = 2.0, edges: Any = EDGES, **fields: Any) -> Row:
    fields.setdefault("dtypes", REAL)
    fields.setdefault("ref", _special(op))
    return row(op, *unary(low=low, high=high), specials=(S(edges),) if edges is not None else (), **fields)


def _two(op: str, low: float, high: float, *, edges: Any = (EDGES_A, EDGES_B), **fields: Any) -> Row:
    fields.setdefault("dtypes", WIDE)
    samples = fields.pop("samples", None) or binary(low=low, high=high)
    return row(op, *samples, specials=(S(*edges),) if edges is not None else (), **fields)


# PyTorch's Bessel functions of float64 are right to seven digits only.
_BESSEL = {"loose": 1e4, "dtypes": ("float64", "float32", *INTS), "edges": None}

_ORDERS = L([0, 1, 2, 3, 7, -1, 12])
_POINTS = L([-0.9, -0.3, 0.2, 0.5, 0.8, 1.0, 1.5])


def _normal(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> None:
    if outputs[0].size > 1000:
        assert abs(outputs[0].mean() - 1) < 0.05 and abs(outputs[0].std() - 2) < 0.05


def _weights(outputs: Sequence[np.ndarray], arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> None:
    """A position of weight 0 is never drawn, and without replacement none twice."""
    drawn = outputs[0].reshape(-1, attrs["num_samples"])
    weights = np.broadcast_to(arrays[0], (len(drawn), arrays[0].shape[-1]))
    assert (np.take_along_axis(weights, drawn, axis=1) > 0).all()
    if not attrs.get("replacement"):
        assert all(len(set(r)) == len(r) for r in drawn.tolist())


def _recurrence(t: Any, a: Any, b: Any, dim: int) -> Any:
    if not b.shape[dim]:
        return a * b
    rows = [b.select(dim, 0)]
    for i in range(1, b.shape[dim]):
        rows.append(a.select(dim, i) * rows[-1] + b.select(dim, i))
    # One in front, so that the first factor takes part, with no effect.
    return t.stack(rows, dim) + 0 * a


def _cumprod_backward(t: Any, g: Any, x: Any, dim: int) -> Any:
    x = x if x.requires_grad else x.detach().requires_grad_()
    return t.autograd.grad(t.cumprod(x, dim), x, g, create_graph=True)[0]


ROWS: tuple[Row, ...] = (
    # --- one operand ------------------------------------------------------------------------------
    # The derivatives of these two: PyTorch's trigamma function is right to nine digits only.
    _one("digamma", low=0.3, high=4.0, loose=1e3, edges=L([0.5, -0.5, INF, NAN, 1e-3])),
    _one("lgamma", low=0.3, high=4.0, loose=1e3, ref=lambda t, x: t.lgamma(x)),
    _one("erfinv", low=-0.9, high=0.9, edges=L([0.0, 1.0, -1.0, NAN, 0.999])),
    _one("i0", edges=L([0.0, 8.0, -30.0, INF, NAN])),
    _one("i0e", edges=L([0.0, 8.0, -30.0, INF, NAN])),
    _one("i1", dtypes=WIDE, edges=L([0.0, 8.0, -30.0, NAN])),
    _one("i1e", dtypes=WIDE, edges=L([0.0, 8.0, -30.0, NAN])),
    _one("ndtr"),
    _one("ndtri", low=0.1, high=0.9, edges=L([0.0, 1.0, 0.5, NAN, 1e-300]), dtypes=WIDE),
    _one("log_ndtr", dtypes=WIDE, edges=L([-40.0, -1.0, 3.0, INF, -INF, NAN])),
    _one("entr", low=0.2, edges=L([0.0, -1.0, 1.0, NAN])),
    _one("erfcx", dtypes=WIDE, edges=L([-20.0, -1.0, 3.0, 60.0, NAN])),
    _one("sinc", low=0.1, dtypes=(*NUMBERS, "bool"), edges=L([0.0, 1.0, 0.5, -0.0, NAN])),
    _one("airy_ai", dtypes=WIDE, edges=L([-5.0, 0.0, 5.0]), loose=10),
    *(_one(f"bessel_{k}", low=0.2, **_BESSEL) for k in ("j0", "j1", "y0", "y1")),
    *(_one(f"modified_bessel_{k}", low=0.2, dtypes=WIDE, edges=None) for k in ("i0", "i1", "k0", "k1")),
    *(_one(f"scaled_modified_bessel_{k}", low=0.2, dtypes=WIDE, edges=None) for k in ("k0", "k1")),
    _one("spherical_bessel_j0", dtypes=WIDE, edges=L([0.0, 1.0, INF, NAN])),
    row(
        "polygamma",
        *(S(T(5, 7, low=0.4, high=3.0), n=n) for n in range(4)),
        S(T(0, 3), n=1),
        ref=lambda t, x, n: t.polygamma(n, x),
        dtypes=("float64", "float32", *INTS),
        loose=10,
        errors=(Bad(S(T(3), n=-1), AttributeTypeError),),
    ),
    row(
        "mvlgamma",
        *(S(T(5, 7, low=2.4, high=5.0), p=p) for p in (1, 3)),
        S(T(0, 3), p=2),
        dtypes=WIDE,
        errors=(Bad(S(T(3), p=0), AttributeTypeError),),
    ),
    row(
        "logit",
        *unary(low=0.1, high=0.9),
        S(T(5, 7, low=0.1, high=0.9), eps=0.05),
        dtypes=FLOATS,
        specials=(S(L([0.0, 1.0, 2.0, -1.0, NAN])), S(L([0.0, 1.0, 2.0, -1.0, NAN]), eps=0.1)),
    ),
    row(
        "special",
        S(T(5, 7), function="i0"),
        S(T(5, 7, low=0.3), function="lgamma"),
        S(T(9, low=0.3), function="erfcx"),
        ref=lambda t, x, function: getattr(t, function, None)(x) if hasattr(t, function) else _special(function)(t, x),
        errors=(Bad(S(T(3), function="none"), GradmeshError),),
    ),
    # --- two operands -----------------------------------------------------------------------------
    _two(
        "igamma", 0.3, 3.0, edges=(L([1.0, 2.0, 0.5]), L([0.0, INF, 3.0])), ref=lambda t, a, x: t.igamma(a, x), wrt=(1,)
    ),
    _two(
        "igammac",
        0.3,
        3.0,
        edges=(L([1.0, 2.0, 0.5]), L([0.0, INF, 3.0])),
        ref=lambda t, a, x: t.igammac(a, x),
        wrt=(1,),
    ),
    _two("nextafter", -2.0, 2.0, smooth=False, ref=lambda t, a, b: t.nextafter(a, b)),
    _two(
        "xlog1py",
        0.3,
        2.0,
        ref=_special("xlog1py"),
        dtypes=REAL,
        edges=(L([0.0, 0.0, 2.0, 1.0]), L([NAN, 3.0, -1.0, 0.5])),
    ),
    _two("zeta", 1.4, 4.0, edges=(L([2.0, 3.0, 1.5]), L([1.0, 0.5, 4.0])), ref=_special("zeta"), wrt=(1,)),
    row(
        "special_pair",
        S(T(5, 7, low=0.3), T(5, 7, low=0.3), function="xlog1py"),
        S(T(5, 7, low=0.3), T(7, low=0.3), function="copysign"),
        ref=lambda t, a, b, function: t.copysign(a, b) if function == "copysign" else t.special.xlog1py(a, b),
        errors=(Bad(S(T(3), T(3), function="none"), GradmeshError),),
    ),
    row(
        "polynomial",
        S(_POINTS, _ORDERS, family="legendre_polynomial_p"),
        S(T(5, 1), T(7, dtype="int64", low=0, high=9), family="hermite_polynomial_he"),
        ref=lambda t, x, n, family: getattr(t.special, family)(x, n),
    ),
    *(
        row(
            name,
            S(_POINTS, _ORDERS),
            S(T(5, 7), T(7, low=0.0, high=9.0)),
            ref=_special(name),
            dtypes=("float64",),
            loose=10,
        )
        for name in FAMILIES
    ),
    # --- elementary -------------------------------------------------------------------------------
    row("deg2rad", *unary(), dtypes=(*REAL, "bool"), specials=(S(EDGES),)),
    row("rad2deg", *unary(), dtypes=(*REAL, "bool"), specials=(S(EDGES),)),
    row("polar", *binary(low=0.2), dtypes=WIDE, errors=(Bad(S(T(3, dtype="int64"), T(3, dtype="int64")), DTypeError),)),
    row("conj_physical", *unary(dtype="complex128"), dtypes=COMPLEX),
    row("signbit", *unary(), dtypes=REAL, specials=(S(EDGES),)),
    row("isposinf", *unary(), dtypes=(*REAL, "bool"), specials=(S(EDGES),)),
    row("isneginf", *unary(), dtypes=(*REAL, "bool"), specials=(S(EDGES),)),
    row("isreal", *unary(), dtypes=EVERY, specials=(S(L([1j, 1.0, 0.0], "complex128")),)),
    row(
        "copysign",
        *binary(low=0.2),
        S(T(5, 7), L(-2.0), number=True),
        ref=lambda t, a, b, **_: t.copysign(a, b),
        dtypes=REAL,
        specials=(S(EDGES_A, EDGES_B),),
    ),
    row(
        "heaviside",
        *binary(),
        dtypes=REAL,
        specials=(S(EDGES_A, EDGES_B),),
        errors=(Bad(S(T(3), T(3, dtype="int64")), DTypeError),),
    ),
    row("fmax", *binary(), dtypes=(*REAL, "bool"), specials=(S(EDGES_A, EDGES_B),)),
    row("fmin", *binary(), dtypes=(*REAL, "bool"), specials=(S(EDGES_A, EDGES_B),)),
    row(
        "nan_to_num",
        *unary(),
        dtypes=REAL,
        specials=(S(L([1.0, NAN, INF, -INF])), S(L([1.0, NAN, INF, -INF]), nan=1.0, posinf=2.0, neginf=-3.0)),
    ),
    row(
        "isin",
        S(T(5, 7, dtype="int64", low=0, high=9), T(4, dtype="int64", low=0, high=9)),
        S(L([1.0, NAN, 2.0]), L([NAN, 2.0])),
        S(T(0, 3, dtype="int64"), T(2, dtype="int64")),
        dtypes=INTS,
        errors=(Bad(S(T(3, dtype="complex128"), T(2)), DTypeError),),
    ),
    row("exponent", *unary(low=0.3), ref=lambda t, x: t.frexp(x)[1], specials=(S(L([0.0, 8.0, -0.3])),)),
    row("frexp", *unary(low=0.3, high=0.45), S(L([8.0, -3.0])), dtypes=FLOATS),
    row(
        "ldexp",
        *binary(),
        S(T(5, 7), T(7, dtype="int64", low=0, high=4)),
        ref=lambda t, a, b: t.ldexp(a, b),
        dtypes=(*FLOATS, *COMPLEX),
        specials=(S(L([1e-30, 3.0, 5.0]), L([150, -140, 3], dtype="int64")),),
    ),
    row("logaddexp2", *binary(), dtypes=FLOATS, specials=(S(EDGES_A, EDGES_B),)),
    row(
        "logcumsumexp",
        S(T(5, 7), dim=0),
        S(T(5, 7), dim=-1),
        S(T(), dim=0),
        S(T(0, 3), dim=0),
        S(T(4, 5, dtype="complex128", low=-1.0, high=1.0), dim=1),
        dtypes=("float64", "float32"),
        specials=(S(L([-INF, 1.0, 800.0, INF, NAN]), dim=0),),
    ),
    row("scan_logaddexp", S(T(5, 7), dim=0), S(T(4, 5, 6), dim=1), ref=lambda t, x, dim: t.logcumsumexp(x, dim)),
    # --- integrals --------------------------------------------------------------------------------
    *(
        row(
            name,
            S(T(5, 7)),
            S(T(5, 7), dx=0.5, dim=0),
            S(T(5, 7), T(7)),
            S(T(5, 7), T(5), dim=0),
            S(T(5, 7), T(5, 7)),
            S(T(5, 1)),
            ref=lambda t, *xs, name=name, **attrs: getattr(t, name)(*xs, **attrs),
            errors=(Bad(S(T(5, 7), T(4)), ShapeError),),
        )
        for name in ("trapezoid", "cumulative_trapezoid")
    ),
    row(
        "multinomial",
        S(L([[1.0, 0.0, 3.0], [0.0, 2.0, 1.0]]), KEY(), num_samples=2),
        S(L([1.0, 0.0, 3.0]), KEY(3), num_samples=20, replacement=True),
        check=_weights,
        wrt=(),
        errors=(
            Bad(S(T(3), KEY(), num_samples=4), ShapeError),
            Bad(S(T(3, dtype="int64"), KEY(), num_samples=1), DTypeError),
        ),
    ),
    # --- products ---------------------------------------------------------------------------------
    row(
        "scan_linear",
        S(T(5, 7), T(5, 7), dim=0),
        S(T(4, 5, 6), T(4, 5, 6), dim=1),
        S(T(0, 3), T(0, 3), dim=0),
        ref=_recurrence,
        dtypes=("float64", "float32", *COMPLEX),
        errors=(Bad(S(T(5), T(4), dim=0), ShapeError),),
    ),
    row(
        "scan_prod_backward",
        S(T(5, 7), T(5, 7), dim=0),
        S(T(7), L([1.0, -2.0, 0.0, 3.0, 0.0, 0.5, 2.0]), dim=0),
        S(T(3, 4, dtype="complex128"), T(3, 4, dtype="complex128"), dim=1),
        S(T(0, 3), T(0, 3), dim=0),
        ref=_cumprod_backward,
        errors=(Bad(S(T(5), T(4), dim=0), ShapeError),),
    ),
    row(
        "others_of",
        S(T(5, 7), T(5, 7), T(5, 7), T(5, 7, low=0.3), dims=(1,)),
        ref=lambda t, a, b, g, x, dims: t.where(x == 0, b, a / x),
        # Alone it is no product's derivative, which its own derivative takes it for.
        wrt=(),
        errors=(Bad(S(T(5), T(5), T(5), T(4), dims=(0,)), ShapeError),),
    ),
    # --- what a client finds before ---------------------------------------------------------------
    row(
        "gather_fitted",
        S(T(6, 5), I(2, 0, below=6), dim=0),
        S(T(6), I(below=6), dim=0),
        S(T(), I(3, below=1), dim=0),
        ref=lambda t, x, index, dim: t.gather(x, dim, index),
    ),
    row(
        "masked_select",
        S(T(5, 7), I(4, below=35)),
        S(T(5, 7), I(0, below=35)),
        ref=lambda t, x, at: t.take(x, at),
    ),
    row(
        "aminmax",
        S(T(5, 7)),
        S(T(5, 7), dim=(1,), keepdim=True),
        S(T()),
        ref=lambda t, x, dim=None, keepdim=False: t.aminmax(x, dim=None if dim is None else dim[0], keepdim=keepdim),
        dtypes=REAL,
        errors=(Bad(S(T(0)), ShapeError),),
    ),
    row(
        "normal",
        S(T(200, 100, low=1.0, high=1.0001), L(2.0), KEY()),
        S(T(3), T(3, low=0.1), KEY(), form=3),
        check=_normal,
        wrt=(),
    ),
)
