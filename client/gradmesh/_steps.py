"""Views and their inverses: the steps from a storage to a view, and how a write goes back along them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from gradmesh._value import Value, application, emit, known, spec_of
from gradmesh_engine import dtypes
from gradmesh_engine.graph import TensorSpec

# Ops whose result is a view of their first operand.
VIEW_OPS: Final = frozenset(
    "alias as_strided chunk diagonal expand flatten imag movedim narrow "
    "permute real reshape select slice split split_with_sizes squeeze strided_slice "
    "t transpose unbind unfold unsqueeze view view_as_complex view_as_real".split()
)


class Step:
    """One view op on the way from a storage to a view. Final."""

    __slots__ = ("attrs", "index", "op")

    def __init__(self, op: str, attrs: Mapping[str, Any], index: int = -1) -> None:
        self.op = op
        self.attrs = attrs
        self.index = index

    def apply(self, value: Value) -> Value:
        """The view of a content."""
        result = emit(self.op, (value,), self.attrs)
        return result if isinstance(result, Value) else result[self.index]

    def spec(self, spec: TensorSpec) -> TensorSpec:
        """The spec of the view of a content of this spec."""
        return application(self.op, (spec,), self.attrs).outs[max(self.index, 0)]


def written_back(steps: Sequence[Step], base: Value, value: Value) -> Value:
    """`base` with the part that the view along `steps` shows replaced by `value`."""
    contents = [base]
    for step in steps[:-1]:
        contents.append(step.apply(contents[-1]))
    for step, content in zip(reversed(steps), reversed(contents), strict=True):
        value = _put_back(step, content, value)
    return value


def overlaps(steps: Sequence[Step], spec: TensorSpec) -> bool:
    """Whether several elements of the view along `steps` are one element of the base."""
    for step in steps:
        view = step.spec(spec)
        if step.op == "expand" and view.size > spec.size:
            return True
        if step.op == "as_strided":
            along = [np.arange(n) * s for n, s in zip(view.shape, step.attrs["stride"], strict=True)]
            places = sum(np.ix_(*along)) if along else np.zeros((), np.int64)
            if len(np.unique(places)) < view.size:
                return True
        spec = view
    return False


def _put_back(step: Step, content: Value, value: Value) -> Value:
    """The operand of a view op with the part that the view shows replaced."""
    shape = content.spec.shape
    cut = _CUTS.get(step.op)
    if cut is not None:
        starts, stops, steps = cut(step, shape)
        sizes = tuple([len(range(*bounds)) for bounds in zip(starts, stops, steps, strict=True)])
        if value.spec.shape != sizes:
            value = _one("reshape", value, shape=sizes)
        return _one("slice_update", content, value, starts=starts, stops=stops, steps=steps)
    order = _ORDERS.get(step.op)
    if order is not None:
        return _one("permute", value, dims=tuple(int(d) for d in np.argsort(order(step.attrs, len(shape)))))
    parts = _PARTS.get(step.op)
    if parts is not None:
        return parts(content, value)
    if value.spec.size == content.spec.size and step.op not in ("as_strided", "diagonal", "unfold"):
        return _one("reshape", value, shape=shape)
    return _put_at(step, content, value)


def _one(op: str, *inputs: Value, **attrs: Any) -> Value:
    result = emit(op, inputs, attrs)
    assert isinstance(result, Value)
    return result


def _put_at(step: Step, content: Value, value: Value) -> Value:
    """Write through a view by the positions of its elements in its operand."""
    size = content.spec.size
    places = step.apply(known(np.arange(size).reshape(content.spec.shape)))
    flat = _one("reshape", content, shape=(size,))
    written = _one("put_set", flat, _one("reshape", places, shape=(-1,)), _one("reshape", value, shape=(-1,)), dim=0)
    return _one("reshape", written, shape=content.spec.shape)


_Cut = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _whole(shape: tuple[int, ...], dim: int, start: int, stop: int, step: int = 1) -> _Cut:
    """A slice of one dim and all of the others."""
    dim %= len(shape)
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[dim], stops[dim], steps[dim] = start, stop, step
    return tuple(starts), tuple(stops), tuple(steps)


def _cut_select(step: Step, shape: tuple[int, ...]) -> _Cut:
    dim = step.attrs.get("dim", 0)
    index = step.attrs["index"] % shape[dim]
    return _whole(shape, dim, index, index + 1)


def _cut_slice(step: Step, shape: tuple[int, ...]) -> _Cut:
    dim = step.attrs.get("dim", 0)
    bounds = slice(step.attrs.get("start"), step.attrs.get("end"), step.attrs.get("step"))
    start, stop, stride = bounds.indices(shape[dim])
    return _whole(shape, dim, start, max(start, stop), stride)


def _cut_narrow(step: Step, shape: tuple[int, ...]) -> _Cut:
    start = step.attrs["start"] % max(shape[step.attrs["dim"]], 1)
    return _whole(shape, step.attrs["dim"], start, start + step.attrs["length"])


def _cut_strided(step: Step, shape: tuple[int, ...]) -> _Cut:
    return step.attrs["starts"], step.attrs["stops"], step.attrs["steps"]


def _cut_piece(step: Step, shape: tuple[int, ...]) -> _Cut:
    """One result of split, chunk or unbind."""
    dim = step.attrs.get("dim", 0)
    if step.op == "unbind":
        return _whole(shape, dim, step.index, step.index + 1)
    outs = application(step.op, (spec_of(shape, dtypes.float32),), step.attrs).outs
    start = sum([out.shape[dim] for out in outs[: step.index]])
    return _whole(shape, dim, start, start + outs[step.index].shape[dim])


_CUTS: Final[dict[str, Callable[[Step, tuple[int, ...]], _Cut]]] = {
    "chunk": _cut_piece,
    "narrow": _cut_narrow,
    "select": _cut_select,
    "slice": _cut_slice,
    "split": _cut_piece,
    "split_with_sizes": _cut_piece,
    "strided_slice": _cut_strided,
    "unbind": _cut_piece,
}


def _swapped(attrs: Mapping[str, Any], rank: int) -> list[int]:
    order = list(range(rank))
    if rank:
        a, b = attrs["dim0"] % rank, attrs["dim1"] % rank
        order[a], order[b] = order[b], order[a]
    return order


def _moved(attrs: Mapping[str, Any], rank: int) -> list[int]:
    order = dict(zip([d % rank for d in attrs["destination"]], [d % rank for d in attrs["source"]], strict=True))
    rest = iter([d for d in range(rank) if d not in order.values()])
    return [order[d] if d in order else next(rest) for d in range(rank)]


_ORDERS: Final[dict[str, Callable[[Mapping[str, Any], int], Sequence[int]]]] = {
    "movedim": _moved,
    "permute": lambda attrs, rank: [d % rank for d in attrs["dims"]],
    "t": lambda attrs, rank: range(rank)[::-1],
    "transpose": _swapped,
}

_PARTS: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "alias": lambda content, value: value,
    "imag": lambda content, value: _one("complex", _one("real", content), value),
    "real": lambda content, value: _one("complex", value, _one("imag", content)),
    "view_as_complex": lambda content, value: _one("view_as_real", value),
    "view_as_real": lambda content, value: _one("view_as_complex", value),
}
