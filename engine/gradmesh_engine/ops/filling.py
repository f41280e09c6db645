"""PyTorch's functions that make tensors from nothing, composed of full and iota."""

from __future__ import annotations

import math
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import Emitter, V
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.ops.base import Attr, lookup
from gradmesh_engine.ops.creation import full, iota
from gradmesh_engine.ops.indexing import check_index
from gradmesh_engine.ops.layout import Ints
from gradmesh_engine.ops.limits import within
from gradmesh_engine.ops.shaping import composite, unsqueezed

_SHAPE = {"shape": Attr("ints"), "dtype": Attr("dtype", dtypes.DEFAULT.name)}


def _filled(value: complex) -> Any:
    def body(emitter: Emitter, *, shape: Ints, dtype: str) -> Any:
        return full.on(emitter, value=value, shape=shape, dtype=dtype)

    return body


def arange_length(start: float, end: float, step: float) -> int:
    """Number of elements of arange. Raises ShapeError and DTypeError, with PyTorch's wording where it has one."""
    for value in (start, end, step):
        if isinstance(value, complex):
            raise DTypeError("arange: complex numbers have no order", expected="real numbers", got=str(value))
    if not math.isfinite(start) or not math.isfinite(end):
        raise ShapeError(f"unsupported range: {start} -> {end}", expected="a finite range", got=f"{start} -> {end}")
    if not abs(step) > 0:
        raise ShapeError("step must be nonzero", expected="a step other than 0", got=str(step))
    if (end - start) * step < 0:
        raise ShapeError(
            "upper bound and lower bound inconsistent with step sign", got=f"start {start}, end {end}, step {step}"
        )
    length = (end - start) / step
    if not math.isfinite(length):
        raise ShapeError("invalid size, possible overflow?", got=f"start {start}, end {end}, step {step}")
    return math.ceil(length)


def _arange(emitter: Emitter, *, start: float, end: float, step: float, dtype: str) -> Any:
    length = arange_length(start, end, step)
    return iota.on(emitter, shape=(length,), dim=0, start=start, step=step, dtype=dtype)


def _linspace(emitter: Emitter, *, start: complex, end: complex, steps: int, dtype: str) -> Any:
    if steps < 0:
        raise ShapeError("number of steps must be non-negative", got=str(steps))
    if steps == 0:
        return full.on(emitter, value=0, shape=(0,), dtype=dtype)
    if steps == 1:
        return full.on(emitter, value=start, shape=(1,), dtype=dtype)
    step = (end - start) / (steps - 1)
    # The second half counts back from the end, so that the end itself is exact.
    wide = dtypes.complex128 if isinstance(step, complex) else dtypes.float64
    target = dtypes.parse(dtype)
    name = (wide if dtypes.is_differentiable(target) else dtypes.float64).name
    half = steps // 2
    first = iota.on(emitter, shape=(half,), dim=0, start=start, step=step, dtype=name)
    second = iota.on(
        emitter, shape=(steps - half,), dim=0, start=end - step * (steps - 1 - half), step=step, dtype=name
    )
    return lookup("convert")(lookup("concat")(first, second, dim=0), dtype=dtype)


def _logspace(emitter: Emitter, *, start: float, end: float, steps: int, base: float, dtype: str) -> Any:
    exponents: V = _linspace(emitter, start=start, end=end, steps=steps, dtype=dtypes.float64.name)
    bases: V = full.on(emitter, value=float(base), shape=exponents.shape, dtype=dtypes.float64.name)
    return lookup("convert")(lookup("pow")(bases, exponents), dtype=dtype)


def _eye(emitter: Emitter, *, n: int, m: int | None, dtype: str) -> Any:
    columns = n if m is None else m
    if n < 0 or columns < 0:
        raise ShapeError(f"n must be greater or equal to 0, got {min(n, columns)}", got=f"{n}, {columns}")
    name = dtypes.int64.name
    row = iota.on(emitter, shape=(n, 1), dim=0, dtype=name)
    column = iota.on(emitter, shape=(1, columns), dim=1, dtype=name)
    return lookup("convert")(lookup("eq")(row, column), dtype=dtype)


def _one_hot(index: V, *, num_classes: int) -> Any:
    check_index("one_hot", index.spec)
    if num_classes < 1:
        raise ShapeError(
            "num_classes should be positive", expected="at least 1", got=str(num_classes), remedy="give num_classes"
        )
    index = within(index, least=0.0, most=math.inf, message="Class values must be non-negative.")
    last = float(num_classes - 1)
    index = within(index, least=-math.inf, most=last, message="Class values must be smaller than num_classes.")
    classes = iota.on(index.emitter, shape=(num_classes,), dim=0, dtype=index.dtype.name)
    return lookup("convert")(lookup("eq")(unsqueezed(index, -1), classes), dtype=dtypes.int64.name)


composite("zeros", _filled(0), arity=0, attrs=_SHAPE, doc="Zeros.")
composite("ones", _filled(1), arity=0, attrs=_SHAPE, doc="Ones.")
composite(
    "arange",
    _arange,
    arity=0,
    attrs={
        "start": Attr("number", 0),
        "end": Attr("number"),
        "step": Attr("number", 1),
        "dtype": Attr("dtype", dtypes.int64.name),
    },
    doc="start, start + step, … up to but without end.",
)
composite(
    "linspace",
    _linspace,
    arity=0,
    attrs={
        "start": Attr("number"),
        "end": Attr("number"),
        "steps": Attr("int"),
        "dtype": Attr("dtype", dtypes.DEFAULT.name),
    },
    doc="Evenly spaced values from start to end, both included.",
)
composite(
    "logspace",
    _logspace,
    arity=0,
    attrs={
        "start": Attr("number"),
        "end": Attr("number"),
        "steps": Attr("int"),
        "base": Attr("float", 10.0),
        "dtype": Attr("dtype", dtypes.DEFAULT.name),
    },
    doc="Powers of base with evenly spaced exponents from start to end.",
)
composite(
    "eye",
    _eye,
    arity=0,
    attrs={"n": Attr("int"), "m": Attr("int", None), "dtype": Attr("dtype", dtypes.DEFAULT.name)},
    doc="Ones on the diagonal of an n x m matrix, zeros elsewhere.",
)
composite(
    "one_hot",
    _one_hot,
    attrs={"num_classes": Attr("int")},
    doc="1 at the index along a new last dim, 0 elsewhere.",
)
