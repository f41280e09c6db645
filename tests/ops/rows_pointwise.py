"""Rows: pointwise ops, from trivial to hard."""

from __future__ import annotations

from gradmesh_engine.errors import ArityError, AttributeTypeError, DTypeError, ShapeError
from tests.ops.rows import COMPLEX, EVERY, FLOATS, INTS, NUMBERS, WIDE, B, Bad, L, Row, S, Sample, T, row

INF, NAN = float("inf"), float("nan")
EDGES = L([0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 1e300, -1e300, 1e-310])
EDGES_A = L([0.0, -0.0, 0.0, 1.0, INF, INF, -INF, NAN, 1.0, NAN])
EDGES_B = L([0.0, 0.0, -0.0, INF, INF, -INF, 2.0, 1.0, NAN, NAN])


def unary(**options: object) -> tuple[Sample, ...]:
    """Samples of an op of one operand: matrix, vector, 0-d and empty."""
    return (S(T(5, 7, **options)), S(T(9, **options)), S(T(**options)), S(T(0, 3, **options)))


def binary(**options: object) -> tuple[Sample, ...]:
    """Samples of an op of two operands, with every way to broadcast."""
    return (
        S(T(5, 7, **options), T(5, 7, **options)),
        S(T(5, 7, **options), T(7, **options)),
        S(T(5, 1, **options), T(1, 7, **options)),
        S(T(4, 1, 6, **options), T(5, 1, **options)),
        S(T(**options), T(6, **options)),
        S(T(**options), T(**options)),
        S(T(0, 3, **options), T(3, **options)),
        S(T(0, 3, **options), T(1, 1, **options)),
    )


def unary_row(op: str, *, low: float = -2.0, high: float = 2.0, kinks: tuple[float, ...] = (), **fields: object) -> Row:
    fields.setdefault("dtypes", NUMBERS)
    fields.setdefault("specials", (S(EDGES),))
    fields.setdefault("errors", (Bad(S(T(3), T(3)), ArityError), Bad(S(T(3), colour=1), AttributeTypeError)))
    return row(op, *unary(low=low, high=high, kinks=kinks), **fields)


def binary_row(op: str, *, samples: tuple[Sample, ...] | None = None, **fields: object) -> Row:
    fields.setdefault("dtypes", NUMBERS)
    fields.setdefault("promotes", True)
    fields.setdefault("specials", (S(EDGES_A, EDGES_B),))
    samples = samples or binary()
    kind = samples[0].operands[0].dtype
    fields.setdefault(
        "errors",
        (
            Bad(S(T(3, dtype=kind), T(4, dtype=kind)), ShapeError, "must match the size"),
            Bad(S(T(2, 3, dtype=kind), T(3, 2, dtype=kind)), ShapeError),
            Bad(S(T(3, dtype=kind)), ArityError),
        ),
    )
    return row(op, *samples, **fields)


def comparison(op: str) -> Row:
    same = L([1.0, 2.0, NAN, INF, -0.0]), L([1.0, 3.0, NAN, INF, 0.0])
    dtypes = EVERY if op in ("eq", "ne") else (*FLOATS, *INTS, "bool")
    return binary_row(op, dtypes=dtypes, specials=(S(*same), S(EDGES_A, EDGES_B)))


# Quotients that stay away from whole numbers, where rounding jumps.
APART = tuple(
    S(T(*a, low=0.1, high=0.9), T(*b, low=1.1, high=1.9))
    for a, b in (((5, 7), (5, 7)), ((5, 1), (7,)), ((), (6,)), ((0, 3), (3,)))
)


def _softplus(t, x):  # type: ignore[no-untyped-def]
    return t.logaddexp(x, t.zeros((), dtype=x.dtype))


ROWS: tuple[Row, ...] = (
    # --- arithmetic -------------------------------------------------------------------------------
    binary_row("add", dtypes=EVERY),
    binary_row("sub"),
    binary_row("mul", dtypes=EVERY),
    binary_row("div", samples=binary(low=0.5, high=2.0), specials=(S(EDGES_A, EDGES_B),)),
    unary_row("neg"),
    unary_row("abs", kinks=(0.0,)),
    unary_row("sign", kinks=(0.0,), dtypes=(*FLOATS, *INTS, "bool")),
    unary_row("square"),
    unary_row("reciprocal", low=0.4, high=3.0),
    # --- comparison and choice --------------------------------------------------------------------
    *(comparison(op) for op in ("eq", "ne", "lt", "le", "gt", "ge")),
    binary_row("minimum", dtypes=(*FLOATS, *INTS, "bool")),
    binary_row("maximum", dtypes=(*FLOATS, *INTS, "bool")),
    row(
        "where",
        S(B(5, 7), T(5, 7), T(5, 7)),
        S(B(5, 1), T(7), T(5, 7)),
        S(B(7), T(), T(5, 1)),
        S(B(), T(6), T()),
        S(B(0, 3), T(3), T(1, 1)),
        dtypes=EVERY,
        specials=(S(L([True] * 5 + [False] * 5, dtype="bool", fixed=True), EDGES_A, EDGES_B),),
        errors=(Bad(S(B(3), T(4), T(3)), ShapeError), Bad(S(B(3), T(3)), ArityError)),
    ),
    row(
        "keep",
        S(T(5, 7), B(5, 7)),
        S(T(5, 7), B(7)),
        S(T(7), B(5, 1)),
        S(T(), B()),
        S(T(0, 3), B(3)),
        ref=lambda t, x, mask: t.where(mask, x, t.zeros((), dtype=x.dtype)),
        dtypes=EVERY,
        specials=(S(EDGES, L([True] * 5 + [False] * 5, dtype="bool", fixed=True)),),
        errors=(Bad(S(T(3), T(3)), DTypeError),),
    ),
    # --- logic ------------------------------------------------------------------------------------
    unary_row("logical_not", dtypes=EVERY),
    *(binary_row(op, dtypes=EVERY) for op in ("logical_and", "logical_or", "logical_xor")),
    *(unary_row(op, dtypes=EVERY) for op in ("isnan", "isinf", "isfinite")),
    *(
        binary_row(op, samples=binary(dtype="int64", low=0, high=60), dtypes=(*INTS, "bool"), specials=())
        for op in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ),
    *(
        row(
            op,
            *binary(dtype="int64", low=0, high=40),
            S(L([-9, 9, 1, 1, -1, -1], "int64"), L([1, 2, 63, 64, 65, -1], "int64")),
            S(L([200, 7], "uint8"), L([1, 9], "uint8")),
            S(L([-100, 7], "int8"), L([3, 9], "int8")),
            dtypes=INTS,
            errors=(Bad(S(T(3), T(3)), DTypeError),),
        )
        for op in ("bitwise_left_shift", "bitwise_right_shift")
    ),
    *(
        row(
            op,
            *binary(dtype="int64", low=-30, high=60),
            S(L([0, 0, 12, -12], "int64"), L([0, 5, -18, 18], "int64")),
            dtypes=INTS,
            errors=(Bad(S(T(3), T(3)), DTypeError),),
        )
        for op in ("gcd", "lcm")
    ),
    row("bitwise_not", *unary(dtype="int64", low=-60, high=60), dtypes=(*INTS, "bool")),
    # --- exponentials and logarithms --------------------------------------------------------------
    unary_row("exp", dtypes=EVERY, specials=(S(EDGES), S(L([710.0, -745.0, 88.0])))),
    unary_row("expm1", dtypes=(*FLOATS, *INTS)),
    unary_row("log", low=0.2, high=4.0),
    unary_row("log1p", low=-0.6, high=4.0, dtypes=(*FLOATS, *INTS)),
    unary_row("log2", low=0.2, high=4.0),
    unary_row("log10", low=0.2, high=4.0),
    unary_row("sqrt", low=0.2, high=4.0),
    unary_row("rsqrt", low=0.2, high=4.0),
    row(
        "pow",
        *binary(low=0.3, high=2.0),
        ref=lambda t, a, b: t.pow(a, b),
        dtypes=(*FLOATS, *COMPLEX),
        promotes=True,
        specials=(S(EDGES_A, EDGES_B), S(L([-2.0, -2.0, 0.0, 0.0]), L([3.0, 0.5, -1.0, 0.0]))),
        errors=(Bad(S(T(3), T(4)), ShapeError),),
    ),
    # --- trigonometry -----------------------------------------------------------------------------
    unary_row("sin"),
    unary_row("cos"),
    unary_row("tan", low=-1.2, high=1.2),
    unary_row("tanh", specials=(S(EDGES), S(L([20.0, -20.0, 1e-9])))),
    unary_row("sinh"),
    unary_row("cosh"),
    unary_row("asin", low=-0.9, high=0.9),
    unary_row("acos", low=-0.9, high=0.9),
    unary_row("atan", low=-0.9, high=0.9),
    binary_row("atan2", samples=binary(low=0.3), dtypes=(*FLOATS, *INTS)),
    # --- activations ------------------------------------------------------------------------------
    unary_row("sigmoid", specials=(S(EDGES), S(L([-800.0, 800.0, -40.0, 40.0])))),
    unary_row("erf", dtypes=(*FLOATS, *INTS), specials=(S(EDGES), S(L([-7.0, -3.0, 0.5, 0.84375, 1.25, 2.857, 6.0])))),
    unary_row("erfc", dtypes=(*FLOATS, *INTS)),
    # --- rounding ---------------------------------------------------------------------------------
    *(
        unary_row(op, kinks=(-1.0, 0.0, 1.0, -1.5, -0.5, 0.5, 1.5), dtypes=(*FLOATS, *INTS))
        for op in ("floor", "ceil", "trunc")
    ),
    unary_row(
        "round",
        kinks=(-1.0, 0.0, 1.0, -1.5, -0.5, 0.5, 1.5),
        dtypes=(*FLOATS, *INTS),
        specials=(S(EDGES), *(S(EDGES, decimals=n) for n in (2, -1, 308, 309, -400))),
    ),
    # --- complex parts ----------------------------------------------------------------------------
    unary_row("conj", dtypes=EVERY, ref=lambda t, x: t.conj(x).resolve_conj()),
    *(unary_row(op, dtypes=(*FLOATS, *INTS, *COMPLEX)) for op in ("asinh",)),
    unary_row("acosh", low=1.2, high=4.0),
    unary_row("atanh", low=-0.9, high=0.9),
    unary_row("exp2"),
    unary_row("frac", kinks=(-1.0, 0.0, 1.0), dtypes=FLOATS),
    unary_row("sgn", kinks=(0.0,), dtypes=(*FLOATS, *COMPLEX, *INTS, "bool"), specials=()),
    row(
        "scaled_erf",
        S(T(5, 7), T(), T()),
        S(T(9), T(9), T()),
        S(T(), T(9), T()),
        S(T(4, 1, 6), T(5, 1), T(6)),
        S(T(), T(), T()),
        S(T(0, 3), T(), T(3)),
        ref=lambda t, x, shift, factor: (t.erf(x) + shift) * factor,
        dtypes=(*FLOATS, *INTS),
        specials=(S(EDGES, L([1.0]), L([0.5])), S(EDGES_A, EDGES_B, L([0.5])), S(EDGES_A, L([1.0]), EDGES_B)),
        errors=(Bad(S(T(3), T(3)), ArityError), Bad(S(T(3), T(4), T()), ShapeError)),
    ),
    unary_row("log1pexp", dtypes=FLOATS, ref=_softplus, specials=(S(EDGES), S(L([-800.0, 800.0, -40.0, 40.0])))),
    unary_row("normal_cdf", dtypes=FLOATS, ref=lambda t, x: t.special.ndtr(x), specials=(S(EDGES), S(L([-8.0, 8.0])))),
    # --- pairs ------------------------------------------------------------------------------------
    binary_row("floor_divide", samples=APART, dtypes=(*FLOATS, *INTS), specials=(S(EDGES_A, EDGES_B),)),
    binary_row(
        "div_floor", samples=APART, dtypes=(*FLOATS, *INTS), ref=lambda t, a, b: t.div(a, b, rounding_mode="floor")
    ),
    binary_row(
        "div_trunc", samples=APART, dtypes=(*FLOATS, *INTS), ref=lambda t, a, b: t.div(a, b, rounding_mode="trunc")
    ),
    binary_row("remainder", samples=APART, dtypes=(*FLOATS, *INTS)),
    binary_row("fmod", samples=APART, dtypes=(*FLOATS, *INTS)),
    binary_row("hypot", samples=binary(low=0.3), dtypes=FLOATS),
    binary_row("logaddexp", dtypes=FLOATS, specials=(S(EDGES_A, EDGES_B), S(L([900.0, -900.0]), L([900.0, -900.0])))),
    binary_row("xlogy", samples=binary(low=0.3), dtypes=(*FLOATS, *INTS)),
    binary_row("rsub", ref=lambda t, a, b: t.sub(b, a)),
    row(
        "pow_scalar",
        *(S(T(5, 7, low=0.3), exponent=e) for e in (3, 2.5, -1, 0, 0.5, -0.5, 1, 2)),
        S(T(), exponent=3),
        S(T(0, 3), exponent=2),
        S(T(9), exponent=3),
        ref=lambda t, x, exponent: t.pow(x, exponent),
        dtypes=(*FLOATS, *COMPLEX, *INTS),
        specials=tuple(S(EDGES, exponent=e) for e in (0, 1, 2, 3, 0.5, -1, -2, 2.5)),
        errors=(
            Bad(S(L([2, 1], "uint8"), exponent=256), DTypeError),
            Bad(S(L([2, 1], "int8"), exponent=-1), DTypeError),
        ),
    ),
    # --- three and more ---------------------------------------------------------------------------
    row(
        "lerp",
        S(T(5, 7), T(5, 7), T(5, 7)),
        S(T(5, 7), T(7), T()),
        S(T(7), T(5, 1), T(5, 7)),
        dtypes=(*FLOATS, *COMPLEX),
    ),
    row(
        "addcmul",
        S(T(5, 7), T(5, 7), T(5, 7), T()),
        S(T(5, 7), T(7), T(5, 1), T()),
        ref=lambda t, x, a, b, value: x + value * (a * b),
        dtypes=(*FLOATS, *COMPLEX),
        loose=4,
    ),
    row(
        "addcdiv",
        S(T(5, 7), T(5, 7), T(5, 7, low=0.5), T()),
        S(T(5, 7), T(7), T(5, 1, low=0.5), T()),
        ref=lambda t, x, a, b, value: x + value * (a / b),
        dtypes=(*FLOATS, *COMPLEX),
        loose=4,
    ),
    row(
        "isclose",
        S(T(5, 7), T(5, 7)),
        S(L([1.0, 1.0, NAN, INF, -INF]), L([1.0 + 1e-9, 1.1, NAN, INF, INF])),
        S(L([1.0, NAN]), L([1.1, NAN]), rtol=0.2, equal_nan=True),
        S(L([1.0, 5.0]), L([1.1, 6.0]), atol=0.5),
        dtypes=(*FLOATS, *INTS),
    ),
    row(
        "within",
        *(S(T(*shape), least=-3.0, most=3.0, message="no") for shape in ((5, 7), (9,), (), (0, 3))),
        ref=lambda t, x, least, most, message: x * 1,
        dtypes=(*FLOATS, *INTS),
    ),
    # --- complex parts ----------------------------------------------------------------------------
    row("real", *unary(dtype="complex128"), dtypes=COMPLEX),
    row("imag", *unary(dtype="complex128"), dtypes=COMPLEX, errors=(Bad(S(T(3)), DTypeError),)),
    row("complex", *binary(), dtypes=WIDE, errors=(Bad(S(T(3), T(4)), ShapeError),)),
    row("angle", *unary(dtype="complex128"), dtypes=(*COMPLEX, "float64", "float32")),
)
