"""The pointwise family: one builder makes every primitive of it; here the arithmetic ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import BOOL, COMPLEX, FLOAT, INT
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, Vjp, declare, primitive_of, unturned

Run: TypeAlias = "Callable[..., Any]"
Kernel: TypeAlias = "Callable[[Site], Run]"
GradName: TypeAlias = "str | Callable[[Specs, Mapping[str, AttrValue]], str]"

# --- shapes ---------------------------------------------------------------------------------------


def broadcast_shapes(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """NumPy's broadcasting rule. Raises ShapeError with PyTorch's wording."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size == result[i] or size == 1:
                continue
            if result[i] != 1:
                raise ShapeError(
                    f"The size of tensor a ({result[i]}) must match the size of tensor b ({size}) "
                    f"at non-singleton dimension {i}",
                    expected="shapes that broadcast together",
                    got=" and ".join(str(list(s)) for s in shapes),
                    remedy="reshape or expand one operand",
                )
            result[i] = size
    return tuple(result)


def pointwise_axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    """Every dim maps; a broadcast operand takes no part in the dims it lacks."""
    factors = []
    for dim, size in enumerate(out.shape):
        operands = []
        for spec in specs:
            own = dim - (out.ndim - spec.ndim)
            operands.append(own if own >= 0 and (spec.shape[own] == size) else None)
        factors.append(Factor(tuple(operands), dim))
    return factors


def _number_axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    """The same for ops whose 0-d operands stay so: they are told apart where another dim would come in front."""
    return pointwise_axes(specs, out)


def meet(specs: Sequence[TensorSpec]) -> np.dtype:
    """The dtype pointwise operands are promoted to; 0-d ones yield to those with dims."""
    return dtypes.result_type([(s.dtype, 2 if s.shape else 1) for s in specs])


def together(operands: Sequence[V], dtype: np.dtype, numbers: bool = False) -> list[V]:
    """The operands as `dtype`, expanded to their common shape; with `numbers`, 0-d ones behind the first are not."""
    expand, convert = primitive_of("expand"), primitive_of("convert")
    shape = broadcast_shapes([v.shape for v in operands])
    made = []
    for position, v in enumerate(operands):
        if v.dtype != dtype:
            v = convert(v, dtype=dtype.name)
        stays = v.shape == shape or (numbers and position > 0 and not v.ndim)
        made.append(v if stays else expand(v, shape=shape))
    return made


# --- dtype rules ----------------------------------------------------------------------------------


def same(dtype: np.dtype) -> np.dtype:
    """Result dtype rule: the dtype the operands were promoted to."""
    return dtype


def to_bool(dtype: np.dtype) -> np.dtype:
    """Result dtype rule of comparisons."""
    return dtypes.bool_


def floating(dtype: np.dtype) -> np.dtype:
    """Operand dtype rule of functions with values in the reals: ints become the default float."""
    return dtypes.DEFAULT if dtypes.category(dtype) <= dtypes.INT else dtype


def of_category(*categories: int) -> Callable[[np.dtype], bool]:
    """Which operand dtypes are allowed: those of the given categories."""
    return lambda dtype: dtypes.category(dtype) in categories


REAL = of_category(BOOL, INT, FLOAT)
NUMBER = of_category(INT, FLOAT, COMPLEX)
REAL_NUMBER = of_category(INT, FLOAT)
INTEGRAL = of_category(BOOL, INT)


def check_held(value: Any, dtype: np.dtype) -> None:
    """Raises DTypeError unless `dtype` holds `value` without its fraction: a kernel's numbers do not wrap around."""
    if dtypes.category(dtype) != INT or isinstance(value, complex):
        return
    limits = np.iinfo(dtype)
    if not limits.min <= (math.trunc(value) if math.isfinite(value) else math.inf) <= limits.max:
        raise DTypeError(
            f"value {value} cannot be converted to type {dtype.name} without overflow",
            expected=f"{limits.min} to {limits.max}",
            got=str(value),
            remedy="cast the operand to a wider dtype",
        )


# --- pieces of derivatives ------------------------------------------------------------------------


def conjugate(v: V) -> V:
    """conj(v) for a complex handle, the handle itself for a real one (PyTorch's gradient convention)."""
    if dtypes.is_complex(v.dtype):
        result: V = primitive_of("conj")(v)
        return result
    return v


def zeros_like(v: V, dtype: np.dtype | None = None) -> V:
    """Zeros of the shape of `v`: the gradient of a function that is flat almost everywhere."""
    return constant(v, 0, v.shape, dtype)


def is_zero(v: V) -> V:
    """A mask of where `v` is 0; NaN is not."""
    result: V = primitive_of("eq")(v, constant(v, 0))
    return result


def nonzero(v: V) -> V:
    """A mask of where `v` is not 0."""
    result: V = primitive_of("ne")(v, constant(v, 0))
    return result


def flat(g: V, y: V, x: V) -> tuple[V]:
    """The vjp of a step function: zero, but connected, as in PyTorch."""
    return (zeros_like(g),)


# --- kernels --------------------------------------------------------------------------------------


def in_float32(kernel: Kernel) -> Kernel:
    """A kernel that computes the 16-bit floats in float32 and rounds once."""

    def make(site: Site) -> Run:
        specs = (*site.ins, site.out)
        if not any(dtypes.is_half(s.dtype) for s in specs):
            return kernel(site)

        def widen(spec: TensorSpec) -> TensorSpec:
            return TensorSpec(spec.shape, dtypes.float32) if dtypes.is_half(spec.dtype) else spec

        wide = Site(tuple(map(widen, site.ins)), widen(site.out), site.attrs, site.split, site.length, site.scratch)
        run = kernel(wide)
        result = np.empty(wide.out.shape, wide.out.dtype)
        casts = [s.dtype for s in wide.ins]

        def run_wide(*args: Any) -> None:
            ins = [a.astype(dtype, copy=False) for a, dtype in zip(args, casts, strict=False)]
            run(*ins, result)
            np.copyto(args[len(casts)], result, casting="unsafe")

        return run_wide

    return make


# --- the builder ----------------------------------------------------------------------------------


def pointwise(
    name: str,
    kernel: np.ufunc | Kernel,
    *,
    arity: int = 1,
    vjp: Vjp | None = None,
    compute: Callable[[np.dtype], np.dtype] = same,
    result: Callable[[np.dtype], np.dtype] = same,
    allowed: Callable[[np.dtype], bool] = lambda dtype: True,
    attrs: Mapping[str, Attr] | None = None,
    cost: float = 1.0,
    inplace: bool = True,
    numbers: bool = False,
    grad_name: GradName = "",
    doc: str = "",
    check: Callable[[Mapping[str, AttrValue], np.dtype], object] | None = None,
) -> Primitive:
    """Declare a pointwise primitive.

    Operands are promoted together (torch.result_type), then `compute` gives the dtype they are
    converted to and `result` the dtype of the outcome. `cost` is in adds per element. `inplace` is
    false for kernels of several passes that read an operand after the first write. Where `numbers`, 0-d operands
    behind the first are not expanded: the kernel broadcasts them, and the vjp sums. `check` raises
    for attributes that mean nothing to operands of their common dtype.
    """

    def spec(specs: Specs, **given: AttrValue) -> TensorSpec:
        common = meet(specs)
        if not allowed(common):
            if common == dtypes.bool_ and name == "neg":
                raise DTypeError(
                    "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
                    "mask, use the `~` or `logical_not()` operator instead.",
                    op=name,
                    got="bool",
                )
            raise DTypeError(dtypes.refusal(name, common), op=name, got=common.name, remedy="cast the operand")
        if check is not None:
            check(given, common)
        return TensorSpec(broadcast_shapes([s.shape for s in specs]), result(compute(common)))

    def prepare(operands: Sequence[V], _: Mapping[str, AttrValue]) -> Sequence[V]:
        specs = [v.spec for v in operands]
        alike = specs.count(specs[0]) == len(specs)
        common = specs[0].dtype if alike else meet(specs)
        # A dtype the op refuses stays, for `spec` to refuse it by name.
        wanted = compute(common) if allowed(common) else common
        return operands if alike and wanted == common else together(operands, wanted, numbers)

    return declare(
        Primitive(
            name=name,
            arity=arity,
            attrs=attrs or {},
            grad_name=(grad_name or f"{name.capitalize()}Backward0") if vjp else "",
            doc=doc,
            spec=spec,
            kernel=(lambda site: kernel) if isinstance(kernel, np.ufunc) else kernel,
            ufunc=kernel if isinstance(kernel, np.ufunc) else None,
            vjp=vjp,
            axes=_number_axes if numbers else pointwise_axes,
            turned=unturned,
            cost=lambda specs, out, attrs: cost * out.size,
            cheap=True,
            inplace=inplace,
            prepare=prepare,
        )
    )


# --- casts ----------------------------------------------------------------------------------------


def _convert_kernel(site: Site) -> Run:
    source, target = site.ins[0].dtype, site.out.dtype
    if dtypes.is_complex(source) and not dtypes.is_complex(target) and target != dtypes.bool_:
        return lambda x, out: np.copyto(out, x.real, casting="unsafe")
    return lambda x, out: np.copyto(out, x, casting="unsafe")


convert: Primitive = declare(
    Primitive(
        name="convert",
        arity=1,
        attrs={"dtype": Attr("dtype")},
        grad_name="ToCopyBackward0",
        doc="The operand cast to `dtype`; complex to real keeps the real part.",
        spec=lambda specs, dtype: TensorSpec(specs[0].shape, dtypes.parse(dtype)),
        kernel=_convert_kernel,
        vjp=lambda g, y, x, dtype: (
            convert(g, dtype=x.dtype.name)
            if dtypes.is_differentiable(x.dtype) and dtypes.is_differentiable(y.dtype)
            else None,
        ),
        axes=pointwise_axes,
        turned=unturned,
        cost=lambda specs, out, attrs: float(out.size),
        cheap=True,
        neutral=True,
    )
)

# --- detach ---------------------------------------------------------------------------------------

detach = declare(
    Primitive(
        name="detach",
        arity=1,
        doc="Its operand, through which no gradient flows.",
        spec=lambda specs: specs[0],
        view=lambda site: lambda x: x,
        vjp=lambda g, y, x: (None,),
        axes=pointwise_axes,
        turned=unturned,
        cost=lambda specs, out, attrs: 0.0,
        cheap=True,
    )
)

# --- arithmetic -----------------------------------------------------------------------------------


def _sub_allowed(dtype: np.dtype) -> bool:
    return dtype != dtypes.bool_


add = pointwise("add", np.add, arity=2, vjp=lambda g, y, a, b: (g, g), doc="a + b")
sub = pointwise("sub", np.subtract, arity=2, allowed=_sub_allowed, vjp=lambda g, y, a, b: (g, -g), doc="a - b")
mul = pointwise(
    "mul",
    np.multiply,
    arity=2,
    vjp=lambda g, y, a, b: (g * conjugate(b), g * conjugate(a)),
    doc="a * b",
)
div = pointwise(
    "div",
    np.true_divide,
    arity=2,
    compute=floating,
    vjp=lambda g, y, a, b: _div_vjp(g, y, b),
    doc="True division; ints divide as the default float.",
)
neg = pointwise("neg", np.negative, allowed=_sub_allowed, vjp=lambda g, y, x: (-g,), doc="-x")


def _div_vjp(g: V, y: V, b: V) -> tuple[V, V]:
    return g / conjugate(b), -(g * conjugate(y / b))


# --- comparison -----------------------------------------------------------------------------------

_ORDERED = of_category(BOOL, INT, FLOAT)

eq = pointwise("eq", np.equal, arity=2, result=to_bool, inplace=False, doc="a == b")
ne = pointwise("ne", np.not_equal, arity=2, result=to_bool, inplace=False, doc="a != b")
lt = pointwise("lt", np.less, arity=2, result=to_bool, allowed=_ORDERED, inplace=False, doc="a < b")
le = pointwise("le", np.less_equal, arity=2, result=to_bool, allowed=_ORDERED, inplace=False, doc="a <= b")
gt = pointwise("gt", np.greater, arity=2, result=to_bool, allowed=_ORDERED, inplace=False, doc="a > b")
ge = pointwise("ge", np.greater_equal, arity=2, result=to_bool, allowed=_ORDERED, inplace=False, doc="a >= b")

# --- selection ------------------------------------------------------------------------------------

_BITS: Mapping[int, np.dtype] = {
    1: np.dtype(np.int8),
    2: np.dtype(np.int16),
    4: np.dtype(np.int32),
    8: np.dtype(np.int64),
}


def _keep_kernel(site: Site) -> Run:
    # The bits of x and-ed with all ones or all zeros: exact for NaN, infinities and signed zeros,
    # where a product is not, and several times as fast as np.where.
    shape, dtype = site.out.shape, site.out.dtype
    bits = _BITS.get(dtype.itemsize)
    if bits is None or dtypes.is_complex(dtype):

        def run_plain(x: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
            np.copyto(out, np.where(mask, x, dtype.type(0)))

        return run_plain
    (ones,) = site.scratch.arrays((shape, np.dtype(np.int8)))

    def run(x: np.ndarray, mask: np.ndarray, out: np.ndarray) -> None:
        np.negative(mask.view(np.int8), out=ones)
        kept = out.view(bits)
        np.copyto(kept, ones)  # a loop of its own is faster than a cast inside of another
        np.bitwise_and(x.view(bits), kept, out=kept)

    return run


def _keep_spec(specs: Specs) -> TensorSpec:
    x, mask = specs
    if mask.dtype != dtypes.bool_:
        raise DTypeError("the mask must be bool", expected="bool", got=mask.dtype.name, remedy="compare or cast it")
    return TensorSpec(broadcast_shapes([x.shape, mask.shape]), x.dtype)


def _expand_all(operands: Sequence[V], _: Mapping[str, AttrValue]) -> Sequence[V]:
    expand = primitive_of("expand")
    shape = broadcast_shapes([v.shape for v in operands])
    return [expand(v, shape=shape) for v in operands]


keep: Primitive = declare(
    Primitive(
        name="keep",
        arity=2,
        grad_name="MaskedFillBackward0",
        doc="x where the bool mask holds, +0 elsewhere.",
        spec=_keep_spec,
        kernel=_keep_kernel,
        vjp=lambda g, y, x, mask: (keep(g, mask), None),
        axes=pointwise_axes,
        turned=unturned,
        cost=lambda specs, out, attrs: 2.0 * out.size,
        cheap=True,
        prepare=_expand_all,
    )
)


def _where_spec(specs: Specs) -> TensorSpec:
    mask, a, b = specs
    if mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {mask.dtype.name}",
            expected="bool",
            got=mask.dtype.name,
            remedy="compare or cast the condition",
        )
    return TensorSpec(broadcast_shapes([mask.shape, a.shape, b.shape]), meet((a, b)))


def _where_prepare(operands: Sequence[V], _: Mapping[str, AttrValue]) -> Sequence[V]:
    mask, a, b = operands
    name = meet((a.spec, b.spec)).name
    return _expand_all((mask, convert(a, dtype=name), convert(b, dtype=name)), {})


def _where_kernel(site: Site) -> Run:
    # b ^ ((a ^ b) & mask) on the bits: a fraction of the time of np.where, and into `out`.
    shape, dtype = site.out.shape, site.out.dtype
    bits = _BITS.get(dtype.itemsize)
    if bits is None or dtypes.is_complex(dtype):
        return lambda mask, a, b, out: np.copyto(out, np.where(mask, a, b))
    chosen, ones = site.scratch.arrays((shape, bits), (shape, np.dtype(np.int8)))

    def run(mask: np.ndarray, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        old, new = b.view(bits), out.view(bits)
        np.bitwise_xor(a.view(bits), old, out=chosen)
        np.negative(mask.view(np.int8), out=ones)
        np.copyto(new, ones)
        np.bitwise_and(chosen, new, out=new)
        np.bitwise_xor(old, new, out=new)

    return run


def _where_vjp(g: V, y: V, mask: V, a: V, b: V) -> tuple[V | None, ...]:
    return None, keep(g, mask), keep(g, logical_not(mask))


where = declare(
    Primitive(
        name="where",
        arity=3,
        grad_name="WhereBackward0",
        doc="a where the bool condition holds, b elsewhere.",
        spec=_where_spec,
        kernel=_where_kernel,
        vjp=_where_vjp,
        axes=pointwise_axes,
        turned=unturned,
        cost=lambda specs, out, attrs: 4.0 * out.size,
        cheap=True,
        prepare=_where_prepare,
    )
)


def _extreme_vjp(above: Callable[[V, V], V], at_least: Callable[[V, V], V]) -> Vjp:
    def vjp(g: V, y: V, a: V, b: V) -> tuple[V, V]:
        # Who is not beaten: beside NaN nobody is.
        half = g * 0.5
        first = keep(half, logical_not(above(b, a))) + keep(half, logical_not(at_least(b, a)))
        second = keep(half, logical_not(above(a, b))) + keep(half, logical_not(at_least(a, b)))
        return first, second

    return vjp


def _maximum(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.maximum(a, b, out=out)  # a third positional argument is deprecated


def _minimum(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.minimum(a, b, out=out)


maximum = pointwise(
    "maximum",
    lambda site: _maximum,
    arity=2,
    allowed=REAL,
    vjp=_extreme_vjp(gt, ge),
    doc="The larger; NaN wins; ties share, and so do both beside NaN.",
)
minimum = pointwise(
    "minimum",
    lambda site: _minimum,
    arity=2,
    allowed=REAL,
    vjp=_extreme_vjp(lt, le),
    doc="The smaller; NaN wins; ties share.",
)

# --- logic ----------------------------------------------------------------------------------------

logical_and = pointwise("logical_and", np.logical_and, arity=2, compute=to_bool, doc="Truth of both.")
logical_or = pointwise("logical_or", np.logical_or, arity=2, compute=to_bool, doc="Truth of either.")
logical_xor = pointwise("logical_xor", np.logical_xor, arity=2, compute=to_bool, doc="Truth of exactly one.")
logical_not = pointwise("logical_not", np.logical_not, compute=to_bool, doc="Falsehood.")

bitwise_and = pointwise("bitwise_and", np.bitwise_and, arity=2, allowed=INTEGRAL, doc="a & b")
bitwise_or = pointwise("bitwise_or", np.bitwise_or, arity=2, allowed=INTEGRAL, doc="a | b")
bitwise_xor = pointwise("bitwise_xor", np.bitwise_xor, arity=2, allowed=INTEGRAL, doc="a ^ b")
bitwise_not = pointwise("bitwise_not", np.invert, allowed=INTEGRAL, doc="~a")
