"""What the declaration of an op is: the types behind every row of the op table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np

from gradmesh_engine.builder import Builder, Emitter, V
from gradmesh_engine.dtypes import BY_NAME
from gradmesh_engine.errors import (
    ArityError,
    AttributeTypeError,
    GradmeshError,
    InternalError,
    InvalidGraphError,
    ShapeError,
    UnknownOpError,
)
from gradmesh_engine.graph import Attrs, AttrValue, TensorSpec, exact, known
from gradmesh_engine.memory import empty

Specs: TypeAlias = "tuple[TensorSpec, ...]"
Vjp: TypeAlias = "Callable[..., Sequence[V | None]]"
Reduction: TypeAlias = Literal["map", "sum", "max", "min", "prod"]
Order: TypeAlias = "tuple[int, ...]"
Turned: TypeAlias = "Callable[[Mapping[str, AttrValue], Sequence[Order], Order], Mapping[str, AttrValue] | None]"

# --- attributes -----------------------------------------------------------------------------------

REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Attr:
    """Type and default of one static attribute.

    `kind` is one of "bool", "int", "float", "number" (bool, int, float or complex), "str",
    "dtype" (a dtype's name), "ints", "floats", "strs". An attribute whose default is None may be
    absent and reaches the op's functions as None.
    """

    kind: str
    default: Any = REQUIRED
    doc: str = ""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    "bool": lambda v: isinstance(v, bool),
    "int": _is_int,
    "float": lambda v: isinstance(v, float),
    "number": lambda v: isinstance(v, (bool, int, float, complex)),
    "str": lambda v: isinstance(v, str),
    "dtype": lambda v: isinstance(v, str) and v in BY_NAME,
    "ints": lambda v: isinstance(v, tuple) and all(map(_is_int, v)),
    "floats": lambda v: isinstance(v, tuple) and all(isinstance(x, float) for x in v),
    "strs": lambda v: isinstance(v, tuple) and all(isinstance(x, str) for x in v),
}

# --- how an op splits -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Factor:
    """One independent loop of an op, einsum-like.

    Attributes:
        operands: for each operand the dim that runs along this factor, or None.
        result: the dim of the result that does, or None when the factor is contracted.
        kind: "map" when it passes to the result; otherwise how the partials of its pieces combine.

    A dim that is in no factor may not be split ("whole").
    """

    operands: tuple[int | None, ...]
    result: int | None
    kind: Reduction = "map"


class Scratch:
    """Memory for what kernels need during a call, shared by kernels that run one after the other: so it stays in cache.

    Final. For one thread at a time.
    """

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []

    def arrays(self, *wanted: tuple[tuple[int, ...], np.dtype]) -> tuple[np.ndarray, ...]:
        """Uninitialised arrays, by shape and dtype, that hold what is written into them until the call ends.

        All that one kernel needs together has to be asked for together.
        """
        found = []
        for number, (shape, dtype) in enumerate(wanted):
            nbytes = math.prod(shape) * dtype.itemsize
            if number == len(self._chunks):
                self._chunks.append(np.empty(0, np.uint8))
            if self._chunks[number].nbytes < nbytes:
                # In powers of two, since each of several sizes would get memory of its own.
                self._chunks[number] = empty(TensorSpec((1 << (nbytes - 1).bit_length(),), np.dtype(np.uint8)))
            found.append(self._chunks[number][:nbytes].view(dtype).reshape(shape))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a kernel will run: the specs of one block (or of the whole, when nothing is split).

    Attributes:
        ins: specs of the operands' blocks.
        out: spec of the result's block.
        attrs: the node's attributes.
        split: the result's dim that is cut into blocks, or None.
        length: the whole length of that dim.
        scratch: memory shared with the kernels that run before and after.
        same: the operands are views of one value, and so lie in the same memory wherever this runs.
    """

    ins: Specs
    out: TensorSpec
    attrs: Mapping[str, AttrValue]
    split: int | None = None
    length: int = 0
    scratch: Scratch = field(default_factory=Scratch)
    same: bool = False

    @property
    def global_shape(self) -> tuple[int, ...]:
        """The result's shape before it was cut into blocks."""
        shape = list(self.out.shape)
        if self.split is not None:
            shape[self.split] = self.length
        return tuple(shape)


def unturned(attrs: Mapping[str, AttrValue], orders: Sequence[Order], result: Order) -> Mapping[str, AttrValue]:
    """How attributes that name no dims change when these come in another order."""
    return attrs


# --- ops ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """What primitives and composites share. Abstract.

    Attributes:
        name: the name in graphs, on the wire and in docs.
        arity: number of operands, or (least, most) with most = -1 for any number.
        attrs: the static attributes by name.
        grad_name: the class name of the `grad_fn` this op leaves, "" when it is not differentiable;
            a function of (specs, attrs) where PyTorch's name depends on them.
        doc: one line for the op catalogue.
    """

    name: str
    arity: int | tuple[int, int]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    grad_name: str | Callable[[Specs, Mapping[str, AttrValue]], str] = ""
    doc: str = ""

    @property
    def differentiable(self) -> bool:
        return bool(self.grad_name)

    def grad_name_for(self, specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
        """The class name of the `grad_fn` of one application."""
        return self.grad_name if isinstance(self.grad_name, str) else self.grad_name(specs, attrs)

    def infer(self, specs: Specs, attrs: Mapping[str, AttrValue]) -> Specs:
        """Specs of the outputs. Raises ShapeError, DTypeError or AxisError."""
        raise NotImplementedError

    def build(self, builder: Any, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        """Put the op into a graph of primitives."""
        raise NotImplementedError

    def bind(self, attrs: Mapping[str, Any]) -> dict[str, AttrValue]:
        """Checked attributes with defaults filled in; absent optional ones are left out.

        Raises AttributeTypeError.
        """
        if not attrs and not self.attrs:
            return {}
        bound: dict[str, AttrValue] = {}
        for name, declared in self.attrs.items():
            value = attrs.get(name, declared.default)
            if value is REQUIRED:
                raise AttributeTypeError(
                    f"{self.name} needs the attribute {name!r}", op=self.name, expected=declared.kind, got="nothing"
                )
            if value is None:
                if declared.default is None:
                    continue
            elif declared.kind == "float" and _is_int(value):
                value = float(value)
            if not _KINDS[declared.kind](value):
                raise AttributeTypeError(
                    f"attribute {name!r} of {self.name} has the wrong type",
                    op=self.name,
                    expected=declared.kind,
                    got=f"{value!r} ({type(value).__name__})",
                )
            bound[name] = value
        for name in attrs:
            if name not in self.attrs:
                raise AttributeTypeError(
                    f"{self.name} has no attribute {name!r}",
                    op=self.name,
                    expected=", ".join(self.attrs) or "no attributes",
                    got=name,
                )
        return bound

    def check_arity(self, count: int) -> None:
        """Raises ArityError unless the op takes `count` operands."""
        least, most = (self.arity, self.arity) if isinstance(self.arity, int) else self.arity
        if count < least or (most >= 0 and count > most):
            expected = str(least) if least == most else f"at least {least}" if most < 0 else f"{least} to {most}"
            raise ArityError(
                f"{self.name} takes {expected} operands, got {count}", op=self.name, expected=expected, got=str(count)
            )

    def __call__(self, *operands: V, **attrs: Any) -> Any:
        """Apply to handles; returns a handle, or a tuple of them for an op with several outputs."""
        return self.on(operands[0].emitter, *operands, **attrs)

    def on(self, emitter: Emitter, *operands: V, **attrs: Any) -> Any:
        """Apply to handles, or to none at all, in the given emitter."""
        results = emitter.emit(self, operands, self.bind(attrs))
        return results[0] if len(results) == 1 else results


@dataclass(frozen=True, eq=False, kw_only=True)
class Primitive(Op):
    """An op with a NumPy kernel and exactly one output. Final.

    Attributes:
        spec: shape and dtype rule: `spec(specs, **attrs) -> TensorSpec`.
        kernel: `kernel(site) -> run(*ins, out)`, which writes the result into `out`.
        ufunc: what the kernel gives, where that is a ufunc at any site.
        view: instead of a kernel, `view(site) -> run(*ins) -> array` that makes a view, no copy.
        accumulate: optional, `accumulate(site) -> run(*ins, acc)`, which adds into `acc` in place.
        positional: the kernel depends on the position of the block along the split dim; `run` then
            takes the block's start as an additional last argument.
        vjp: `vjp(g, y, *xs, **attrs) -> one cotangent or None per operand`.
        workspace: optional, bytes the kernel needs beside operands and result where that may be many times
            as much as these: `workspace(specs, out, attrs) -> int`.
        axes: axis rule: `axes(specs, out, **attrs) -> factors`.
        turned: the attributes of the same application on operands whose dims come in other orders, with a
            result whose dims do: `turned(attrs, orders, result's order) -> attrs`; an order lists the dims'
            numbers. It gives None for orders its kernel does not know, and is None where it knows C order alone.
        independent: whether operands and result may each lie in C order or with the split dim innermost, whatever
            the others do, at no cost: `independent(specs, split dims, attrs) -> bool`; they lie alike when None.
        cost: FLOPs (or equivalent units of one add) per call: `cost(specs, out, attrs) -> float`.
        time: its time in adds, like `cost`, where its FLOPs are faster than that.
        blas: "matmul" where its kernel multiplies matrices, "lapack" where it calls LAPACK, "" where BLAS has no part.
        in_order: time in adds per element, of the result or of the operand it sums over, that C order costs beyond the
            turned one: it turns images itself, or takes every other element of a row.
        gathers: where its result is larger than what it adds up, this had better be gathered than be added by parts.
        cheap: pointwise or layout: may be recomputed rather than stored across a stage boundary.
        inplace: the kernel may write over an operand of equal shape and dtype.
        neutral: an application whose result has the spec of its only operand changes nothing, and is the operand.
        prepare: rewrites operands before the node is made (broadcasting and promotion of the
            pointwise family): `prepare(operands, attrs) -> operands`.
    """

    spec: Callable[..., TensorSpec]
    kernel: Callable[[Site], Callable[..., Any]] | None = None
    ufunc: np.ufunc | None = None
    view: Callable[[Site], Callable[..., np.ndarray]] | None = None
    accumulate: Callable[[Site], Callable[..., Any]] | None = None
    positional: bool = False
    vjp: Vjp | None = None
    workspace: Callable[[Specs, TensorSpec, Mapping[str, AttrValue]], int] | None = None
    axes: Callable[..., Sequence[Factor]]
    turned: Turned | None = None
    independent: Callable[[Specs, Sequence[int | None], Mapping[str, AttrValue]], bool] | None = None
    cost: Callable[[Specs, TensorSpec, Mapping[str, AttrValue]], float]
    time: Callable[[Specs, TensorSpec, Mapping[str, AttrValue]], float] | None = None
    blas: Literal["", "matmul", "lapack"] = ""
    in_order: float = 0.0
    gathers: bool = False
    cheap: bool = False
    inplace: bool = False
    neutral: bool = False
    prepare: Callable[[Sequence[V], Mapping[str, AttrValue]], Sequence[V]] | None = None

    def __call__(self, *operands: V, **attrs: Any) -> V:
        """Apply to handles."""
        return self.on(operands[0].emitter, *operands, **attrs)

    def on(self, emitter: Emitter, *operands: V, **attrs: Any) -> V:
        """Apply to handles, or to none at all, in the given emitter."""
        return emitter.emit(self, operands, self.bind(attrs))[0]

    def infer(self, specs: Specs, attrs: Mapping[str, AttrValue]) -> Specs:
        infer = _infer_primitive if _small(specs, attrs) else _infer_primitive.__wrapped__
        canonical = tuple(sorted(attrs.items()))
        return infer(self, specs, canonical, exact(canonical))

    def build(self, builder: Builder, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        if self.prepare is not None:
            operands = self.prepare(operands, attrs)
        canonical: Attrs = tuple(sorted(attrs.items())) if attrs else ()
        specs = tuple([v.spec for v in operands])
        spec = _infer_primitive(self, specs, canonical, exact(canonical))[0]
        if self.neutral and spec == specs[0]:
            return (operands[0],)
        return (builder.append(self.name, tuple([v.id for v in operands]), canonical, spec),)


MAX_RANK: Final = 64
"""NumPy's largest number of dims."""

MAX_ELEMENTS: Final = 1 << 48
"""No shape may claim more elements than any memory holds."""


def check_shape(shape: tuple[int, ...]) -> None:
    """Raises ShapeError for a shape no array can have."""
    if len(shape) > MAX_RANK or any(isinstance(d, bool) or not isinstance(d, int) or d < 0 for d in shape):
        raise ShapeError(
            "not a shape", expected=f"up to {MAX_RANK} non-negative dims", got=str(shape), remedy="mend the shape"
        )
    # Zero dims do not make the others' product harmless: strides are computed from it.
    if math.prod([d for d in shape if d]) > MAX_ELEMENTS:
        raise ShapeError("a shape of impossible size", expected=f"at most {MAX_ELEMENTS} elements", got=str(shape))


# What a rule raises where operands and attributes make no sense to it, and nobody has thought of them.
_UNFORESEEN: Final = (ArithmeticError, LookupError, TypeError, ValueError)
UNFORESEEN: Final = "cannot be applied to these operands with these attributes"


def _unforeseen(op: Op, error: Exception) -> InvalidGraphError:
    """The last resort: a wrong call stays the caller's error, though it does not say what exactly is wrong."""
    return InvalidGraphError(
        f"{op.name} {UNFORESEEN}",
        op=op.name,
        got=f"{type(error).__name__}: {error}",
        remedy="see what the op's documentation says of its attributes",
    )


# The rules' results are remembered by operands and attributes, unless these take much memory themselves.
_SMALL: Final = 64


def _small(specs: Specs, attrs: Mapping[str, AttrValue]) -> bool:
    for value in attrs.values():
        if isinstance(value, (tuple, str)) and len(value) > _SMALL:
            return False
    return len(specs) <= _SMALL


@lru_cache(maxsize=16384)
def _infer_primitive(op: Primitive, specs: Specs, attrs: Attrs, key: tuple[object, ...]) -> Specs:
    op.check_arity(len(specs))
    try:
        spec = op.spec(specs, **dict(attrs))
        check_shape(spec.shape)
    except GradmeshError as error:
        raise error.at(op=op.name) from None
    except _UNFORESEEN as error:
        raise _unforeseen(op, error) from error
    return (known(spec),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Composite(Op):
    """A named expression of other ops: the body gives it its meaning, the name its `grad_fn`. Final.

    Attributes:
        body: `body(*operands, **attrs) -> handle or tuple of handles`. With no operands the first
            argument is the emitter.
        vjp: only where the derivative of the body would be unstable or slow:
            `vjp(g, y, *xs, **attrs)`, with tuples for g and y when there are several outputs.
    """

    body: Callable[..., Any]
    vjp: Vjp | None = None

    def infer(self, specs: Specs, attrs: Mapping[str, AttrValue]) -> Specs:
        infer = _infer_composite if _small(specs, attrs) else _infer_composite.__wrapped__
        canonical = tuple(sorted(attrs.items()))
        return infer(self, specs, canonical, exact(canonical))

    def build(self, builder: Builder, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        self.check_arity(len(operands))
        try:
            if self.vjp is None:
                return self._expand(builder, operands, attrs)
            with builder.region(self.name, tuple(sorted(attrs.items())), operands) as results:
                given = {v.id for v in operands}
                made = self._expand(builder, operands, attrs)
                # An operand given back is no node of the region: its cotangent would pass the vjp by.
                results.extend(lookup("tag")(v, index=0) if v.id in given else v for v in made)
            return tuple(results)
        except GradmeshError as error:
            error.op = self.name
            raise

    def _expand(self, builder: Builder, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        full = {name: attrs.get(name) for name in self.attrs}
        result = self.body(*operands, **full) if operands else self.body(builder, **full)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)


@lru_cache(maxsize=16384)
def _infer_composite(op: Composite, specs: Specs, attrs: Attrs, key: tuple[object, ...]) -> Specs:
    builder = Builder(specs)
    operands = [builder.value(i) for i in range(len(specs))]
    try:
        return tuple(v.spec for v in op.build(builder, operands, dict(attrs)))
    except GradmeshError:
        raise
    except _UNFORESEEN as error:
        raise _unforeseen(op, error) from error


# --- the table ------------------------------------------------------------------------------------

TABLE: Final[dict[str, Op]] = {}

_PRIMITIVES: Final[dict[str, Primitive]] = {}


_OpT = TypeVar("_OpT", bound=Op)


def declare(op: _OpT) -> _OpT:
    """Enter an op into the table."""
    if op.name in TABLE:
        raise InternalError(f"op {op.name!r} is declared twice")
    TABLE[op.name] = op
    if isinstance(op, Primitive):
        _PRIMITIVES[op.name] = op
    return op


def primitive_of(name: str) -> Primitive:
    """The primitive called `name`. Raises UnknownOpError."""
    op = _PRIMITIVES.get(name)
    if op is not None:
        return op
    raise UnknownOpError(f"{lookup(name).name!r} is not a primitive", op=name)


def lookup(name: str) -> Op:
    """The op called `name`. Raises UnknownOpError."""
    op = TABLE.get(name)
    if op is None:
        raise UnknownOpError(
            f"unknown op {name!r}", op=name, expected="an op of the catalogue", remedy="list the ops the server knows"
        )
    return op
