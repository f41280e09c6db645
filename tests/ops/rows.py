"""What a row of the op test table says, and how its operands are made."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.errors import GradmeshError

FLOATS = ("float64", "float32", "float16", "bfloat16")
WIDE = ("float64", "float32")
COMPLEX = ("complex128", "complex64")
INTS = ("int64", "int32", "int16", "int8", "uint8")
NUMBERS = FLOATS + COMPLEX + INTS
EVERY = (*NUMBERS, "bool")


@dataclass(frozen=True)
class Operand:
    """How one operand is made: uniform between `low` and `high`, or given literally.

    Attributes:
        shape: its shape.
        dtype: its dtype's name; the dtype tests replace it when it is the row's leading dtype.
        low, high: the open interval of the values (integers: low inclusive, high exclusive).
        kinks: values the op is not differentiable at; no element comes closer than 0.05.
        literal: the values themselves, instead.
        fixed: the dtype tests leave this operand's dtype alone (indices, masks, targets, keys).
        build: makes the values from a generator, instead.
    """

    shape: tuple[int, ...]
    dtype: str = "float64"
    low: float = -2.0
    high: float = 2.0
    kinks: tuple[float, ...] = ()
    literal: Any = None
    fixed: bool = False
    build: Callable[[np.random.Generator], np.ndarray] | None = None

    def make(self, seed: str, dtype: str | None = None) -> np.ndarray:
        """The array, of `dtype` instead of the operand's own unless it is fixed."""
        target = dtypes.parse(self.dtype if dtype is None or self.fixed else dtype)
        rng = np.random.default_rng(zlib.crc32(seed.encode()))
        if self.literal is not None:
            return np.asarray(self.literal).astype(target).reshape(self.shape)
        if self.build is not None:
            return np.ascontiguousarray(self.build(rng).astype(target))
        if target == np.bool_:
            return rng.random(self.shape) < 0.5
        if target.kind in "iu":
            low, high = int(self.low), int(self.high)
            if not self.fixed:
                low, high = max(low, 0) if target.kind == "u" else low, max(high, low + 3, 3)
            return rng.integers(low, high, self.shape).astype(target)
        values = rng.uniform(self.low, self.high, self.shape)
        for kink in self.kinks:
            near = np.abs(values - kink) < 0.05
            values = np.where(
                near, kink + np.where(values < kink, -0.05, 0.05) * (1.5 + rng.random(self.shape)), values
            )
        if target.kind == "c":
            values = values + 1j * rng.uniform(self.low, self.high, self.shape)
        return np.asarray(values.astype(target)).reshape(self.shape)


def T(*shape: int, **options: Any) -> Operand:
    """A tensor of uniform values."""
    return Operand(shape, **options)


def I(*shape: int, below: int, low: int = 0, **options: Any) -> Operand:  # noqa: E743
    """A tensor of indices in [low, below)."""
    return Operand(shape, dtype=options.pop("dtype", "int64"), low=low, high=below, fixed=True, **options)


def B(*shape: int) -> Operand:
    """A mask."""
    return Operand(shape, dtype="bool", fixed=True)


def L(values: Any, dtype: str = "float64", fixed: bool = False) -> Operand:
    """A tensor of given values."""
    return Operand(np.asarray(values).shape, dtype=dtype, literal=values, fixed=fixed)


def KEY(value: int = 1234) -> Operand:
    """A key of a random op."""
    return Operand((), dtype="int64", literal=value, fixed=True)


_SHORT = {name: name[0] + name.lstrip("abcdefghijklmnopqrstuvwxyz") for name in EVERY if name != "float64"}


@dataclass(frozen=True)
class Sample:
    """One application: operands and attributes.

    Attributes:
        operands: how the operands are made.
        attrs: the attributes.
        unsplit: why a split that happens to work on this sample need not be in the op's axis rule.
        untorched: why PyTorch's gradient of this sample is no reference; finite differences still are.
    """

    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    unsplit: str = ""
    untorched: str = ""

    def arrays(self, seed: str, dtype: str | None = None) -> tuple[np.ndarray, ...]:
        """The operands' values; `dtype` replaces that of every operand that is not fixed."""
        return tuple(operand.make(f"{seed}/{index}", dtype) for index, operand in enumerate(self.operands))

    def __str__(self) -> str:
        operands = " ".join(("x".join(map(str, o.shape)) or "0d") + _SHORT.get(o.dtype, "") for o in self.operands)
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items()).replace(" ", "")
        return f"{operands} {attrs}".strip()


def S(*operands: Operand, **attrs: Any) -> Sample:
    """One application."""
    return Sample(operands, attrs)


def unsplit(sample: Sample, why: str) -> Sample:
    """A sample on which a split that is not in the axis rule happens to work."""
    return replace(sample, unsplit=why)


def untorched(sample: Sample, why: str) -> Sample:
    """A sample that PyTorch cannot differentiate."""
    return replace(sample, untorched=why)


@dataclass(frozen=True)
class Bad:
    """An application that must be refused."""

    sample: Sample
    error: type[GradmeshError]
    words: str = ""

    def __str__(self) -> str:
        return f"{self.sample} is {self.error.__name__}"


@dataclass(frozen=True)
class Row:
    """Everything the tests know about one op.

    Attributes:
        op: its name in the op table.
        samples: applications in float64; value, gradients, shape rule, wire and split rule use all of them.
        ref: the PyTorch reference, `ref(torch, *tensors, **attrs)`; None means `torch.<op>(*tensors, **attrs)`.
        check: for ops without a PyTorch twin (random ones): `check(outputs, arrays, attrs)`.
        dtypes: the dtypes the first sample is also run in.
        promotes: operands of any two dtypes meet as torch.result_type says.
        specials: applications to special values; only values are compared.
        errors: applications that must be refused.
        loose: factor on the tolerances.
        smooth: gradients agree with finite differences (False where the op rounds or is random).
        twice: gradient of gradient is checked too.
        wrt: operands to differentiate, all real or complex ones when None.
    """

    op: str
    samples: tuple[Sample, ...]
    ref: Callable[..., Any] | None = None
    check: Callable[..., None] | None = None
    dtypes: tuple[str, ...] = ()
    promotes: bool = False
    specials: tuple[Sample, ...] = ()
    errors: tuple[Bad, ...] = ()
    loose: float = 1.0
    smooth: bool = True
    twice: bool = True
    wrt: tuple[int, ...] | None = None

    @property
    def has_reference(self) -> bool:
        """Whether PyTorch has the same op."""
        return self.ref is not None or self.check is None

    def seed(self, sample: Sample) -> str:
        """Names the data of one sample."""
        return f"{self.op} {sample}"

    def differentiated(self, arrays: Sequence[np.ndarray]) -> tuple[int, ...]:
        """The operands to differentiate."""
        if self.wrt is not None:
            return self.wrt
        return tuple(i for i, a in enumerate(arrays) if dtypes.is_differentiable(a.dtype))

    def reference(self, torch: Any, tensors: tuple[Any, ...], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
        """What PyTorch says. Its own warnings (degrees of freedom, complex32) are none of ours."""
        with warnings.catch_warnings(action="ignore"):
            result = self.ref(torch, *tensors, **attrs) if self.ref else getattr(torch, self.op)(*tensors, **attrs)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def row(op: str, *samples: Sample, **fields: Any) -> Row:
    """A row of the table."""
    return Row(op, samples, **fields)
