"""What a tensor looks like as text: PyTorch's layout, to the character."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError

Profile = Literal["default", "short", "full"]


@dataclass(frozen=True, slots=True)
class PrintOptions:
    """How tensors are printed.

    Attributes:
        precision: digits after the point.
        threshold: number of elements above which only the edges are shown.
        edgeitems: elements shown at each end of a dim that is not shown whole.
        linewidth: characters per line.
        sci_mode: scientific notation always (True), never (False), or where the values ask for it (None).
    """

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES: Final[dict[str, PrintOptions]] = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: Profile | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed from now on, in the whole process; see `PrintOptions`.

    `profile` ("default", "short" or "full") is applied first. As in PyTorch, every call sets
    `sci_mode` anew. Raises InvalidRequestError for an unknown profile.

    Example: `gm.set_printoptions(precision=2)`
    """
    global _options
    chosen = _options
    if profile is not None:
        if profile not in _PROFILES:
            raise InvalidRequestError(
                "unknown print profile", expected=", ".join(_PROFILES), got=repr(profile), remedy="choose one of these"
            )
        chosen = _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = replace(chosen, **changes, sci_mode=sci_mode)


def get_printoptions() -> dict[str, Any]:
    """The options in force, as keyword arguments of `set_printoptions`.

    Example: `gm.get_printoptions()["precision"]` is `4`.
    """
    return asdict(_options)


@contextmanager
def printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: Profile | None = None,
    sci_mode: bool | None = None,
) -> Iterator[None]:
    """Options that hold inside a `with` block.

    Example: `with gm.printoptions(precision=8): print(x)`
    """
    global _options
    before = _options
    set_printoptions(precision, threshold, edgeitems, linewidth, profile, sci_mode)
    try:
        yield
    finally:
        _options = before


class _Exact:
    """Bools and integers: as Python writes them, flush right."""

    def __init__(self, values: np.ndarray) -> None:
        self.width = max((len(str(value)) for value in values.reshape(-1).tolist()), default=1)

    def __call__(self, value: Any) -> str:
        return str(value).rjust(self.width)


class _Floating:
    """Floats: whole numbers as "3.", others with fixed precision, a wide range with exponents.

    Nonfinite values do not count towards the width.
    """

    def __init__(self, values: np.ndarray, options: PrintOptions) -> None:
        self.width = 1
        self._form = ".0f"
        self._whole = True
        self._scientific = False
        flat = values.reshape(-1)
        counted = flat[np.isfinite(flat) & (flat != 0)]
        if not counted.size:
            return
        sizes = np.abs(counted)
        largest, smallest = float(sizes.max()), float(sizes.min())
        self._whole = bool((counted == np.ceil(counted)).all())
        self._scientific = (
            largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
            if options.sci_mode is None
            else options.sci_mode
        )
        if self._scientific:
            self._form = f".{options.precision}e"
        elif not self._whole:
            self._form = f".{options.precision}f"
        point = int(self._whole and not self._scientific)
        self.width = max(len(format(value, self._form)) + point for value in counted.tolist())

    def __call__(self, value: float) -> str:
        text = format(value, self._form)
        if self._whole and not self._scientific and math.isfinite(value):
            text += "."
        return text.rjust(self.width)


class _Complex:
    """Two columns, real and imaginary, each with a layout of its own."""

    def __init__(self, values: np.ndarray, options: PrintOptions) -> None:
        self._real = _Floating(values.real, options)
        self._imag = _Floating(values.imag, options)
        self.width = self._real.width + self._imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = (self._imag(value.imag) + "j").lstrip()
        return self._real(value.real) + (imag if imag[0] in "+-" else "+" + imag)


_Format = _Exact | _Floating | _Complex


def _edges(array: np.ndarray, options: PrintOptions) -> np.ndarray:
    """What is left of `array` when the middle of every long dim is cut out."""
    edge = options.edgeitems
    if edge == 0 and array.ndim > 1:
        return array[(slice(0, 0),) * array.ndim]
    for dim, size in enumerate(array.shape):
        if size > 2 * edge and edge:
            kept = np.r_[0:edge, size - edge : size]
            array = array.take(kept, axis=dim)
    return array


def _row(array: np.ndarray, indent: int, cut: bool, form: _Format, options: PrintOptions) -> str:
    edge = options.edgeitems
    if cut and not edge:
        cells = ["..."]
    elif cut and len(array) > 2 * edge:
        cells = [*map(form, _wide(array[:edge]).tolist()), " ...", *map(form, _wide(array[-edge:]).tolist())]
    else:
        cells = [*map(form, _wide(array).tolist())]
    per_line = max(1, (options.linewidth - indent) // (form.width + 2))
    lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _body(array: np.ndarray, indent: int, cut: bool, form: _Format, options: PrintOptions) -> str:
    if array.ndim == 0:
        return form(_wide(array).item())
    if array.ndim == 1:
        return _row(array, indent, cut, form, options)
    edge, size = options.edgeitems, len(array)
    if cut and size > 2 * edge:
        parts = [_body(array[i], indent + 1, cut, form, options) for i in range(edge)]
        parts.append("...")
        parts += [_body(array[i], indent + 1, cut, form, options) for i in range(size - edge, size)]
    else:
        parts = [_body(part, indent + 1, cut, form, options) for part in array]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _wide(array: np.ndarray) -> np.ndarray:
    """The same values in the dtype Python computes in; exact, and free of 16-bit arithmetic."""
    kind = dtypes.category(array.dtype)
    if kind == dtypes.FLOAT:
        return array.astype(np.float64, copy=False)
    return array.astype(np.complex128, copy=False) if kind == dtypes.COMPLEX else array


def _elements(array: np.ndarray, indent: int, options: PrintOptions) -> str:
    if not array.size:
        return "[]"
    cut = array.size > options.threshold
    shown = _wide(_edges(array, options)) if cut else _wide(array)
    kind = dtypes.category(array.dtype)
    form: _Format
    if kind == dtypes.COMPLEX:
        form = _Complex(shown, options)
    elif kind == dtypes.FLOAT:
        form = _Floating(shown, options)
    else:
        form = _Exact(shown)
    return _body(array if cut else shown, indent, cut, form, options)


def tensor_repr(
    array: np.ndarray,
    *,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    tangent: str | None = None,
    name: str = "tensor",
    default_dtype: np.dtype = dtypes.DEFAULT,
) -> str:
    """`repr(tensor)` as PyTorch writes it, for the tensor's value and what is told of it.

    Args:
        array: the value, of any shape and any of the dtypes of gradmesh.
        requires_grad: whether the tensor is a leaf that requires a gradient.
        grad_fn_name: class name of its `grad_fn`, None for a leaf.
        tangent: that of a dual tensor, as text.
        name: the word before the bracket.
        default_dtype: the floating dtype that needs no mention.

    Example: `gm._printing.tensor_repr(np.ones(1, np.float32))` is `'tensor([1.])'`.
    """
    options = _options
    prefix = name + "("
    indent = len(prefix)
    implied = {default_dtype, dtypes.complex_of(default_dtype), dtypes.int64, dtypes.bool_}
    suffixes = []
    if array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={array.shape}")
        # Without elements even the dtypes that elements tell apart have to be named.
        implied = {default_dtype}
    elif not options.edgeitems:
        suffixes.append(f"size={array.shape}")
    if array.dtype not in implied:
        suffixes.append(f"dtype=torch.{array.dtype.name}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")

    text = prefix + _elements(array, indent, options)
    # One more than the characters of the last line, so that the closing bracket has its place.
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"
