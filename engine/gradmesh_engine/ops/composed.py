"""Elementary pointwise functions, nearly all composed of others; integrals by trapezoids; running log-sum-exp."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import BOOL, COMPLEX, FLOAT, INT
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.base import Attr, Composite, Factor, Primitive, Site, Specs, declare, lookup
from gradmesh_engine.ops.numeric import NUMBER_GIVEN, absolute, by_number, complex_, conj, imag, isfinite, isnan, real
from gradmesh_engine.ops.numeric import power as pow_
from gradmesh_engine.ops.pointwise import (
    REAL,
    Run,
    conjugate,
    convert,
    eq,
    floating,
    ge,
    gt,
    in_float32,
    is_zero,
    keep,
    le,
    logical_or,
    lt,
    meet,
    ne,
    of_category,
    pointwise,
    to_bool,
    where,
)
from gradmesh_engine.ops.reduce import normal_dim, reduce_sum
from gradmesh_engine.ops.several import complex_logaddexp, logaddexp
from gradmesh_engine.ops.smooth import cos, exp, log, sin
from gradmesh_engine.ops.special import special, special_pair


def _declare(
    name: str, grad_name: Any, doc: str, body: Callable[..., Any], arity: Any = 1, **changes: Any
) -> Composite:
    return declare(Composite(name=name, arity=arity, grad_name=grad_name, doc=doc, body=body, **changes))


def as_float(x: V) -> V:
    """Integers and bools as the default float; anything else as it is."""
    result: V = convert(x, dtype=floating(x.dtype).name)
    return result


# --- angles ---------------------------------------------------------------------------------------

_declare("deg2rad", "Deg2RadBackward0", "Degrees in radians.", lambda x: as_float(x) * (math.pi / 180))
_declare("rad2deg", "Rad2DegBackward0", "Radians in degrees.", lambda x: as_float(x) * (180 / math.pi))


def _polar(size: V, angle: V) -> V:
    if size.dtype != angle.dtype or not dtypes.is_floating(size.dtype):
        raise DTypeError(
            f"Expected both inputs to be Half, Float or Double tensors of one dtype but got {size.dtype.name} and "
            f"{angle.dtype.name}",
            expected="two floats of one dtype",
            got=f"{size.dtype.name} and {angle.dtype.name}",
        )
    result: V = complex_(size * cos(angle), size * sin(angle))
    return result


_declare("polar", "PolarBackward0", "The complex numbers of given absolute values and angles.", _polar, arity=2)
_declare("conj_physical", "ConjPhysicalBackward0", "The complex conjugate, computed.", lambda x: conj(x))

# --- signs ----------------------------------------------------------------------------------------


def _signbit_kernel(site: Site) -> Run:
    if dtypes.is_floating(site.ins[0].dtype):
        return lambda x, out: np.signbit(x, out=out)
    return lambda x, out: np.less(x, 0, out=out)


pointwise("signbit", _signbit_kernel, allowed=REAL, result=to_bool, inplace=False, doc="Whether the sign bit is set.")


def _copysign(a: V, b: V, number: bool | None) -> V:
    result: V = special_pair(a, b, function="copysign")
    return result


_declare(
    "copysign",
    by_number("CopysignBackward0", "CopysignBackward1"),
    "|a| with the sign of b.",
    _copysign,
    arity=2,
    attrs=NUMBER_GIVEN,
)


def _heaviside(x: V, values: V) -> V:
    if x.dtype != values.dtype:
        raise DTypeError(
            "heaviside is not yet implemented for tensors with different dtypes.",
            expected=x.dtype.name,
            got=values.dtype.name,
        )
    if dtypes.is_complex(x.dtype):
        raise DTypeError("heaviside is not yet implemented for complex tensors.", expected="a real dtype")
    above = convert(gt(x, constant(x, 0)), dtype=x.dtype.name)
    result: V = where(is_zero(x), values, above)
    return result


_declare("heaviside", "", "0 below 0, 1 above it, the second operand at 0.", _heaviside, arity=2)


def _infinity(sign: int) -> Callable[[V], V]:
    def body(x: V) -> V:
        if dtypes.is_complex(x.dtype):
            raise DTypeError("does not support complex inputs.", expected="a real dtype", got=x.dtype.name)
        if not dtypes.is_floating(x.dtype):
            return constant(x, False, x.shape, dtypes.bool_)
        result: V = eq(x, constant(x, sign * math.inf))
        return result

    return body


_declare("isposinf", "", "Where x is infinite and positive.", _infinity(1))
_declare("isneginf", "", "Where x is infinite and negative.", _infinity(-1))
_declare(
    "isreal",
    "",
    "Where the imaginary part is 0.",
    lambda x: is_zero(imag(x)) if dtypes.is_complex(x.dtype) else constant(x, True, x.shape, dtypes.bool_),
)

# --- choosing -------------------------------------------------------------------------------------


def _extreme(beats: Callable[[V, V], V]) -> Callable[[V, V], V]:
    def body(a: V, b: V) -> V:
        result: V = where(logical_or(beats(a, b), isnan(b)), a, b)
        return result

    return body


_declare("fmax", "FmaxBackward0", "The larger; of a number and NaN the number.", _extreme(ge), arity=2)
_declare("fmin", "FminBackward0", "The smaller; of a number and NaN the number.", _extreme(le), arity=2)


def _nan_to_num(x: V, nan: float | None, posinf: float | None, neginf: float | None) -> V:
    if not dtypes.is_floating(x.dtype):
        result: V = lookup("clone")(x)
        return result
    # The largest number of each float, where nothing else is asked for.
    top = float(_LARGEST[x.dtype])
    y = where(isnan(x), constant(x, nan or 0.0), x)
    y = where(eq(x, constant(x, math.inf)), constant(x, top if posinf is None else posinf), y)
    result = where(eq(x, constant(x, -math.inf)), constant(x, -top if neginf is None else neginf), y)
    return result


_LARGEST: Final = {
    dtypes.float16: 65504.0,
    dtypes.bfloat16: 3.3895313892515355e38,
    dtypes.float32: float(np.finfo(np.float32).max),
    dtypes.float64: float(np.finfo(np.float64).max),
}

_declare(
    "nan_to_num",
    "NanToNumBackward0",
    "NaN and the infinities replaced by numbers.",
    _nan_to_num,
    attrs={
        "nan": Attr("float", None, "for NaN, by default 0"),
        "posinf": Attr("float", None, "for infinity, by default the largest number"),
        "neginf": Attr("float", None, "for -infinity, by default the lowest number"),
    },
    vjp=lambda g, y, x, **_: (keep(g, isfinite(x)),),
)


def _isin_spec(specs: Specs) -> TensorSpec:
    x, among = specs
    if dtypes.category(meet(specs)) == COMPLEX or BOOL in (dtypes.category(x.dtype), dtypes.category(among.dtype)):
        raise DTypeError("Unsupported input type encountered for isin()", got=f"{x.dtype.name} and {among.dtype.name}")
    return TensorSpec(x.shape, dtypes.bool_)


declare(
    Primitive(
        name="isin",
        arity=2,
        doc="Where an element of the first operand is one of the second's.",
        spec=_isin_spec,
        kernel=lambda site: lambda x, among, out: np.copyto(out, np.isin(x, among)),
        axes=lambda specs, out: [
            *(Factor((dim, None), dim) for dim in range(out.ndim)),
            # Among the pieces of the second operand one is enough.
            *(Factor((None, dim), None, "max") for dim in range(specs[1].ndim)),
        ],
        cost=lambda specs, out, attrs: 20.0 * (out.size + specs[1].size),
    )
)

# --- parts of a floating number -------------------------------------------------------------------


@in_float32
def _exponent_kernel(site: Site) -> Run:
    return lambda x, out: np.copyto(out, np.frexp(x)[1])


exponent = pointwise(
    "exponent",
    _exponent_kernel,
    allowed=of_category(FLOAT),
    result=lambda dtype: dtypes.int32,
    cost=4.0,
    inplace=False,
    doc="The e of x = m * 2^e with 1/2 <= |m| < 1, int32.",
)
_declare(
    "frexp",
    "FrexpBackward0",
    "The m and e of x = m * 2^e with 1/2 <= |m| < 1.",
    lambda x: (special(x, function="mantissa"), exponent(x)),
)


def _scaled(x: V, steps: V) -> V:
    """The product of x and 2^steps, for whole numbers of steps: the power may overflow where the product does not."""
    wide = convert(steps, dtype="float64")
    two = lookup("expand")(constant(wide, 2.0), shape=steps.shape)
    first = lookup("trunc")(wide * 0.5)
    scaled = convert(x, dtype="float64") * pow_(two, first) * pow_(two, wide - first)
    result: V = convert(scaled, dtype=floating(x.dtype).name)
    return result


def _ldexp(x: V, other: V) -> V:
    if dtypes.category(other.dtype) == INT and dtypes.category(x.dtype) <= FLOAT:
        return _scaled(x, other)
    two = constant(other, 2.0, dtype=floating(other.dtype))
    # A power of a number yields to tensors with dims as the operand it belongs to does.
    return as_float(x) * pow_(lookup("expand")(two, shape=other.shape), as_float(other))


_declare("ldexp", "LdexpBackward0", "x * 2^other", _ldexp, arity=2)

# --- sums of exponentials -------------------------------------------------------------------------


def _logaddexp2(a: V, b: V) -> V:
    common = meet((a.spec, b.spec))
    if not dtypes.is_floating(common):
        raise DTypeError(dtypes.refusal("logaddexp2", common), expected="a float", got=common.name)
    result: V = logaddexp(a * _LN2, b * _LN2) * (1 / _LN2)
    return result


_LN2: Final = math.log(2)

_declare("logaddexp2", "Logaddexp2Backward0", "log2(2^a + 2^b), without overflow.", _logaddexp2, 2)


@in_float32
def _scan_kernel(site: Site) -> Run:
    dim = site.attrs["dim"]
    assert isinstance(dim, int)
    if not dtypes.is_complex(site.out.dtype):
        return lambda x, out: np.logaddexp.accumulate(x, axis=dim, out=out)

    def run(x: np.ndarray, out: np.ndarray) -> None:
        source, target = np.moveaxis(x, dim, 0), np.moveaxis(out, dim, 0)
        target[:1] = source[:1]
        for i in range(1, len(source)):
            target[i] = complex_logaddexp(target[i - 1], source[i])

    return run


def _scan_vjp(g: V, y: V, x: V, dim: int) -> tuple[V]:
    """exp(conj x) times the sum behind of g exp(-conj y), in logarithms, so that nothing overflows."""

    def behind(v: V) -> V:
        flip = lookup("flip")
        # Where nothing was summed yet, y is -infinity and so is x: no gradient, rather than NaN.
        some = ne(real(y) if dtypes.is_complex(y.dtype) else y, constant(y, -math.inf, dtype=dtypes.real_of(y.dtype)))
        v = where(some, v, constant(v, -math.inf))
        result: V = flip(scan_logaddexp(flip(v, dims=(dim,)), dim=dim), dims=(dim,))
        return result

    if dtypes.is_complex(x.dtype):
        return (exp(behind(log(g) - conjugate(y)) + conjugate(x)),)
    size, nothing = log(absolute(g)), constant(g, -math.inf)
    above = where(gt(g, constant(g, 0)), size, nothing)
    below = where(lt(g, constant(g, 0)), size, nothing)
    return (exp(behind(above - y) + x) - exp(behind(below - y) + x),)


def _scan_spec(specs: Specs, dim: int) -> TensorSpec:
    (x,) = specs
    if dtypes.category(x.dtype) < FLOAT:
        raise DTypeError(dtypes.refusal("logcumsumexp_out_cpu", x.dtype), expected="a float")
    if not 0 <= dim < x.ndim:
        raise AxisError(f"scan_logaddexp: no dim {dim} in {x}", expected=f"0 to {x.ndim - 1}", got=str(dim))
    return x


scan_logaddexp: Primitive = declare(
    Primitive(
        name="scan_logaddexp",
        arity=1,
        attrs={"dim": Attr("int")},
        grad_name="LogcumsumexpBackward0",
        doc="Running logarithms of sums of exponentials along `dim`.",
        spec=_scan_spec,
        kernel=_scan_kernel,
        vjp=_scan_vjp,
        axes=lambda specs, out, dim: [Factor((i,), i) for i in range(out.ndim) if i != dim],
        cost=lambda specs, out, attrs: 30.0 * out.size,
    )
)


def _logcumsumexp(x: V, dim: int) -> V:
    at = normal_dim(dim, x.ndim)
    if not x.ndim:
        return x
    result: V = scan_logaddexp(x, dim=at)
    return result


_declare(
    "logcumsumexp",
    "LogcumsumexpBackward0",
    "Running logarithms of sums of exponentials along a dim.",
    _logcumsumexp,
    attrs={"dim": Attr("int")},
)

# --- integrals by trapezoids ----------------------------------------------------------------------


def _cut(x: V, dim: int, start: int, stop: int) -> V:
    starts = tuple(start if d == dim else 0 for d in range(x.ndim))
    stops = tuple(stop if d == dim else n for d, n in enumerate(x.shape))
    result: V = lookup("strided_slice")(x, starts=starts, stops=stops, steps=(1,) * x.ndim)
    return result


def neighbours(x: V, dim: int) -> tuple[V, V]:
    """All but the last, and all but the first, along a dim."""
    n = x.shape[dim]
    return _cut(x, dim, 0, max(n - 1, 0)), _cut(x, dim, min(1, n), n)


def _areas(operands: Sequence[V], dx: float, dim: int) -> tuple[V, float]:
    """Areas between neighbours before division, and what they are still to be multiplied by."""
    y = operands[0]
    if not y.ndim or not -y.ndim <= dim < y.ndim:
        raise ShapeError(f"Dimension out of range (expected to be in range of [{-y.ndim}, {y.ndim - 1}], got {dim})")
    at = dim % y.ndim
    left, right = neighbours(y, at)
    total = left + right
    if len(operands) == 1:
        return total, dx / 2
    x = operands[1]
    if x.ndim == 1:
        if x.shape[0] != y.shape[at]:
            raise ShapeError(
                "trapezoid: There must be one `x` value for each sample point",
                expected=str(y.shape[at]),
                got=str(x.shape[0]),
            )
        x = lookup("reshape")(x, shape=(x.shape[0],) + (1,) * (y.ndim - at - 1))
        before, after = neighbours(x, 0)
    else:
        if x.ndim < y.ndim - at:
            raise ShapeError("trapezoid: x has no dim that runs along y's", got=f"{x.spec} and {y.spec}")
        before, after = neighbours(x, x.ndim - (y.ndim - at))
    return (after - before) * total, 0.5


def _trapezoid(y: V, *x: V, dx: float, dim: int) -> V:
    areas, factor = _areas((y, *x), dx, dim)
    at = dim % y.ndim
    dims = (at + areas.ndim - y.ndim,)
    if dtypes.category(areas.dtype) <= INT:
        areas = convert(areas, dtype="int64")
    return as_float(reduce_sum(areas, dims=dims)) * factor


def _cumulative(y: V, *x: V, dx: float, dim: int) -> V:
    areas, factor = _areas((y, *x), dx, dim)
    at = dim % y.ndim + areas.ndim - y.ndim
    return lookup("scan_sum")(as_float(areas) * factor, dim=at)  # type: ignore[no-any-return]


_STEPS: Final = {"dx": Attr("float", 1.0, "the distance of neighbours"), "dim": Attr("int", -1)}

_declare(
    "trapezoid",
    lambda specs, attrs: "MulBackward1" if len(specs) == 1 else "DivBackward1",
    "The integral by trapezoids along a dim, over the second operand or steps of dx.",
    _trapezoid,
    arity=(1, 2),
    attrs=_STEPS,
)
_declare(
    "cumulative_trapezoid",
    lambda specs, attrs: "CumsumBackward0" if len(specs) == 1 else "DivBackward1",
    "Running integrals by trapezoids along a dim, over the second operand or steps of dx.",
    _cumulative,
    arity=(1, 2),
    attrs=_STEPS,
)
