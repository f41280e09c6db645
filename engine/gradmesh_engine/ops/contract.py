"""Contractions: one primitive of two operands, and every product of matrices composed of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gradmesh_engine.builder import V
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Order, Primitive, Site, Specs, declare
from gradmesh_engine.ops.pointwise import Run, conjugate, in_float32

# --- the equation ---------------------------------------------------------------------------------

_EQUATION = re.compile(r"[A-Za-z]*,[A-Za-z]*->[A-Za-z]*")


class Equation(NamedTuple):
    """The labels of the two operands and of the result, one letter per dim."""

    a: str
    b: str
    out: str


@lru_cache(maxsize=4096)
def parse_equation(spec: str) -> Equation:
    """The labels in "bij,bjk->bik". Raises AttributeTypeError.

    A label occurs at most once in each of the three; one that is summed is in both operands.
    """
    if not _EQUATION.fullmatch(spec):
        raise AttributeTypeError("not an equation of two operands", expected='letters like "ij,jk->ik"', got=spec)
    operands, out = spec.split("->")
    a, b = operands.split(",")
    for labels in (a, b, out):
        if len(set(labels)) != len(labels):
            raise AttributeTypeError("a label occurs twice in one operand", got=spec, remedy="take the diagonal first")
    if set(out) - set(a) - set(b):
        raise AttributeTypeError("a label of the result is in no operand", got=spec)
    if (set(a) ^ set(b)) - set(out):
        raise AttributeTypeError("a summed label is in one operand only", got=spec, remedy="sum over it first")
    return Equation(a, b, out)


def _sizes(specs: Specs, equation: Equation) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for operand, labels in zip(specs, equation, strict=False):
        if operand.ndim != len(labels):
            raise ShapeError(
                "an operand has another number of dims than its labels", expected=labels, got=str(list(operand.shape))
            )
        for label, size in zip(labels, operand.shape, strict=True):
            if sizes.setdefault(label, size) != size:
                raise ShapeError(
                    f"dim {label!r} has size {sizes[label]} in one operand and {size} in the other",
                    expected=",".join(equation[:2]),
                    got=" and ".join(str(list(s.shape)) for s in specs),
                )
    return sizes


def _spec(specs: Specs, spec: str) -> TensorSpec:
    equation = parse_equation(spec)
    sizes = _sizes(specs, equation)
    a, b = specs
    if a.dtype != b.dtype:
        raise DTypeError(
            f"expected both operands to have the same dtype, but got: {a.dtype.name} != {b.dtype.name}",
            expected=a.dtype.name,
            got=b.dtype.name,
            remedy="cast one operand",
        )
    return TensorSpec(tuple(sizes[label] for label in equation.out), a.dtype)


def _axes(specs: Specs, out: TensorSpec, spec: str) -> list[Factor]:
    def find(labels: str, label: str) -> int | None:
        at = labels.find(label)
        return at if at >= 0 else None

    a, b, result = parse_equation(spec)
    factors = [Factor((find(a, label), find(b, label)), i) for i, label in enumerate(result)]
    factors += [Factor((i, b.index(label)), None, "sum") for i, label in enumerate(a) if label not in result]
    return factors


def _cost(specs: Specs, out: TensorSpec, attrs: Mapping[str, AttrValue]) -> float:
    equation = parse_equation(str(attrs["spec"]))
    every = math.prod(_sizes(specs, equation).values())
    return float(every if every == out.size else 2 * every)


def _time(specs: Specs, out: TensorSpec, attrs: Mapping[str, AttrValue]) -> float:
    """A FLOP of a product of matrices takes a tenth of an add's time, one of a matrix and a vector a third."""
    equation = parse_equation(str(attrs["spec"]))
    sizes = _sizes(specs, equation)
    every = math.prod(sizes.values())
    if every == out.size:
        return float(every)
    _, _, rows, summed, columns = _matmul_groups(equation)
    least = min(math.prod(sizes[label] for label in group) for group in (rows, summed, columns))
    return every * (0.2 if least >= 8 else 0.6)


def matmul_sizes(specs: Specs, spec: str) -> tuple[int, int, int, int]:
    """The matrix product a contraction comes to: its batch, rows, summed dim and columns."""
    equation = parse_equation(spec)
    sizes = _sizes(specs, equation)
    _, batch, rows, summed, columns = _matmul_groups(equation)
    groups = ([label for group in batch for label in group], rows, summed, columns)
    batches, height, length, width = (math.prod(sizes[label] for label in group) for group in groups)
    return batches, height, length, width


# --- in another order -----------------------------------------------------------------------------


def _turned(attrs: Mapping[str, AttrValue], orders: Sequence[Order], result: Order) -> Mapping[str, AttrValue]:
    equation = parse_equation(str(attrs["spec"]))
    a, b, out = ("".join(labels[d] for d in order) for labels, order in zip(equation, (*orders, result), strict=True))
    return {"spec": f"{a},{b}->{out}"}


def _independent(specs: Specs, dims: Sequence[int | None], attrs: Mapping[str, AttrValue]) -> bool:
    """BLAS takes matrices either way; what it does not take are rows, columns or sums of several dims in that case."""
    equation = parse_equation(str(attrs["spec"]))
    sizes = _sizes(specs, equation)
    split = {labels[d] for labels, d in zip(equation, dims, strict=False) if d is not None}
    a, b, out = map(set, equation)
    groups = ((a & b) - out, a - b, b - a)
    return len(split) == 1 and any(
        split <= group and all(sizes[label] == 1 for label in group - split) for group in groups
    )


# --- the kernel -----------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """How one array is seen by matmul: transposed by `order`, then reshaped to `shape`."""

    order: tuple[int, ...] | None
    shape: tuple[int, ...] | None

    def of(self, array: np.ndarray) -> np.ndarray:
        if self.order is not None:
            array = array.transpose(self.order)
        return array if self.shape is None else array.reshape(self.shape)


def _layout(labels: str, groups: Sequence[Sequence[str]], sizes: Mapping[str, int]) -> _Layout:
    """See an array labelled `labels` with one dim per group of labels; labels it lacks have size 1."""
    own = [[label for label in group if label in labels] for group in groups]
    order = tuple(labels.index(label) for group in own for label in group)
    shape = tuple(math.prod(sizes[label] for label in group) for group in own)
    plain = tuple(sizes[labels[i]] for i in order)
    return _Layout(None if order == tuple(range(len(order))) else order, None if shape == plain else shape)


def _matmul_groups(equation: Equation) -> tuple[bool, list[Sequence[str]], Sequence[str], Sequence[str], Sequence[str]]:
    """Whether to swap the operands, and the labels of matmul's batch dims, rows, summed dim and columns."""
    a, b, out = equation
    batch = [label for label in out if label in a and label in b]
    rows = [label for label in out if label not in b]
    columns = [label for label in out if label not in a]
    summed = [label for label in a if label not in out]
    whole = "".join(batch + rows + columns)
    swapped = "".join(batch + columns + rows)
    if out == whole:
        return False, [[label] for label in batch], rows, summed, columns
    if out == swapped:
        return True, [[label] for label in batch], columns, summed, rows
    # The result interleaves the groups: all but its last row and column label become batch dims.
    swap = bool(rows) and out.index(rows[-1]) > max((out.index(label) for label in columns), default=-1)
    if swap:
        rows, columns = columns, rows
    last = {*rows[-1:], *columns[-1:]}
    return swap, [[label] for label in out if label not in last], rows[-1:], summed, columns[-1:]


def _blas_ready(x: np.ndarray) -> np.ndarray:
    """`x`, or a copy where matmul would leave BLAS for its scalar loop."""
    item = x.itemsize
    rows, columns = x.shape[-2:]
    step_row, step_column = x.strides[-2:]
    if step_column == item and step_row % item == 0 and step_row >= columns * item:
        return x
    if step_row == item and step_column % item == 0 and step_column >= rows * item:
        return x
    return np.ascontiguousarray(x)


_NARROW = 512
"""Rows shorter than this are multiplied faster by einsum's loop than by a ufunc's, from some thousand elements."""


def _of_vectors(site: Site, rows: int, columns: int, swap: bool) -> Run:
    """The product of every element of one vector and every one of another.

    BLAS takes half of einsum's time where the matrices have a second column and row, of zeros.
    """
    left, right = np.zeros((rows, 2), site.out.dtype), np.zeros((2, columns), site.out.dtype)

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        left[:, 0], right[0] = (b.reshape(-1), a.reshape(-1)) if swap else (a.reshape(-1), b.reshape(-1))
        target = out.reshape(rows, columns)
        np.matmul(left, right, out=target)
        if not np.may_share_memory(target, out):
            np.copyto(out, target.reshape(out.shape))

    return run


def _product(site: Site, equation: Equation, sizes: Mapping[str, int]) -> Run:
    """Nothing is summed, or single products are: a broadcast product."""
    groups = [[label] for label in equation.out]
    gone = {label for label in equation.a if label not in equation.out}  # all of size 1
    kept = Equation(*("".join(label for label in labels if label not in gone) for labels in equation))
    plain = [tuple(sizes[label] for label in labels) for labels in kept[:2]]
    outer = not set(kept.a) == set(kept.b) == set(kept.out)
    if outer and site.out.size >= 4096 and sizes[equation.out[-1]] < _NARROW and site.out.dtype.kind == "f":
        swap = kept.out == kept.b + kept.a
        if swap or kept.out == kept.a + kept.b:
            sizes_of = [math.prod(sizes[label] for label in labels) for labels in (kept.a, kept.b)]
            rows, columns = reversed(sizes_of) if swap else sizes_of
            return _of_vectors(site, rows, columns, swap)
        spec = f"{kept.a},{kept.b}->{kept.out}"
        return lambda a, b, out: np.einsum(spec, a.reshape(plain[0]), b.reshape(plain[1]), out=out)
    first, second = (_layout(labels, groups, sizes) for labels in kept[:2])
    return lambda a, b, out: np.multiply(first.of(a.reshape(plain[0])), second.of(b.reshape(plain[1])), out=out)


_SHORT = 64
"""Sums of fewer products, one for each element of the result, are quicker as a product and a sum of its rows."""


def _rowwise(site: Site, equation: Equation, sizes: Mapping[str, int]) -> Run:
    """Every element of the result is a sum of products of its own elements of both operands."""
    summed = [label for label in equation.a if label not in equation.out]
    groups = [*([label] for label in equation.out), *([label] for label in summed)]
    first, second = (_layout(labels, groups, sizes) for labels in equation[:2])
    length = math.prod(sizes[label] for label in summed)
    terms = np.empty([sizes[label] for label in equation.out] + [sizes[label] for label in summed], site.out.dtype)
    rows, ones = terms.reshape(-1, length), np.ones(length, site.out.dtype)

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        np.multiply(first.of(a), second.of(b), out=terms)
        if out.flags.c_contiguous:
            np.matmul(rows, ones, out=out.reshape(-1))
        else:
            np.copyto(out, np.matmul(rows, ones).reshape(out.shape))

    return run


_DEEP = 8
"""Sums so many times as long as the result is wide: the operands are larger by far."""


def _is_turned(x: np.ndarray) -> bool:
    """Whether a matrix lies column by column."""
    return x.strides[0] == x.itemsize and x.strides[1] > x.itemsize


@in_float32
def _kernel(site: Site) -> Run:
    equation = parse_equation(str(site.attrs["spec"]))
    sizes = _sizes(site.ins, equation)
    if math.prod(size for label, size in sizes.items() if label not in equation.out) == 1:
        return _product(site, equation, sizes)
    length = math.prod(size for label, size in sizes.items() if label not in equation.out)
    if len(equation.out) > 0 and set(equation.a) == set(equation.b) and 0 < length < _SHORT:
        return _rowwise(site, equation, sizes)
    swap, batch, rows, summed, columns = _matmul_groups(equation)
    left, right = (equation.b, equation.a) if swap else (equation.a, equation.b)
    if math.prod(sizes[label] for label in right) > math.prod(sizes[label] for label in left):
        # The larger operand is the one not to copy when summed dims are merged.
        summed = [label for label in right if label in summed]
    else:
        summed = [label for label in left if label in summed]
    see_left = _layout(left, [*batch, rows, summed], sizes)
    see_right = _layout(right, [*batch, summed, columns], sizes)
    see_out = _layout(equation.out, [*batch, rows, columns], sizes)
    blas = site.out.dtype.kind in "fc"
    size, width = (math.prod(sizes[label] for label in group) for group in (rows, columns))
    small = blas and not batch and min(size, width) > 1 and length >= _DEEP * max(size, width)
    turned = np.empty((width, size), site.out.dtype) if small else None
    # NumPy makes half of a matrix times its transpose, to other bits, and tells it by the memory: which operands
    # that are not views of one value share only where they came from the caller as one array.
    apart = blas and size == width and not site.same

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        x, y = see_left.of(b if swap else a), see_right.of(a if swap else b)
        if blas:
            x, y = _blas_ready(x), _blas_ready(y)
        if apart and np.may_share_memory(x, y):
            y = y.copy("K")
        target = see_out.of(out)
        if turned is not None and _is_turned(x) and _is_turned(y):
            # BLAS is quicker with the matrices as they lie; the transpose of a small result is soon copied.
            np.matmul(y.T, x.T, out=turned)
            np.copyto(target, turned.T)
        else:
            np.matmul(x, y, out=target)
        if not np.may_share_memory(target, out):
            np.copyto(out, target.reshape(out.shape))

    return run


def _vjp(g: V, y: V, a: V, b: V, spec: str) -> tuple[V, V]:
    first, second, out = parse_equation(spec)
    return (
        contract(g, conjugate(b), spec=f"{out},{second}->{first}"),
        contract(conjugate(a), g, spec=f"{first},{out}->{second}"),
    )


contract = declare(
    Primitive(
        name="contract",
        arity=2,
        attrs={"spec": Attr("str", doc='the labels of each dim, like "bij,bjk->bik"')},
        grad_name="EinsumBackward0",
        doc="The sum over the labels missing from the result of the product of both operands.",
        spec=_spec,
        kernel=_kernel,
        blas="matmul",
        vjp=_vjp,
        axes=_axes,
        turned=_turned,
        independent=_independent,
        cost=_cost,
        time=_time,
    )
)
