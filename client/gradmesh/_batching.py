"""How a recorded op is applied to a batch: a rule per primitive, derived from its declaration where that is enough.

A batched value has the batch as its first dim. Composites are expanded to primitives first. A primitive without a rule
is applied to each example on its own: slower, and always right.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from gradmesh._value import App, Value, emit, known
from gradmesh_engine.builder import Builder
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops import Primitive, lookup
from gradmesh_engine.ops.pointwise import pointwise_axes


class Operand:
    """One operand of an op: a value, with the batch in front or for all examples alike. Final."""

    __slots__ = ("batched", "spec", "value")

    def __init__(self, value: Value, batched: bool) -> None:
        self.value = value
        self.batched = batched
        # What one example sees.
        self.spec = TensorSpec(value.spec.shape[1:], value.spec.dtype) if batched else value.spec

    def front(self, size: int) -> Value:
        """The value with the batch in front, repeated without a copy when all examples share it."""
        if self.batched:
            return self.value
        return one("expand", one("reshape", self.value, shape=(1, *self.spec.shape)), shape=(size, *self.spec.shape))


Rule = Callable[[Primitive, Mapping[str, Any], Sequence[Operand], int], Value]


def one(op: str, *values: Value, **attrs: Any) -> Value:
    """Record an op with one result."""
    result = emit(op, values, attrs)
    assert isinstance(result, Value)
    return result


def moved(value: Value, source: int, target: int) -> Value:
    """The value with one dim at another place."""
    order = list(range(len(value.spec.shape)))
    order.insert(target, order.pop(source))
    return value if order == sorted(order) else one("permute", value, dims=tuple(order))


# --- rules that follow from the declaration ----------------------------------------------------------


def _alike(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    """The op does not mind another dim in front."""
    return one(op.name, *[operand.front(size) for operand in operands], **attrs)


# What another dim in front makes of an attribute, given the operand's rank without it and the batch's size.
_SHIFTS: Final[dict[str, Callable[[Any, int, int], Any]]] = {
    "dim": lambda dim, rank, size: dim % max(rank, 1) + 1,
    "dims": lambda dims, rank, size: tuple([dim % max(rank, 1) + 1 for dim in dims]),
    "shape": lambda shape, rank, size: (size, *shape),
    "low": lambda low, rank, size: (0, *low),
    "high": lambda high, rank, size: (0, *high),
    "interior": lambda interior, rank, size: (0, *interior),
    "starts": lambda starts, rank, size: (0, *starts),
    "stops": lambda stops, rank, size: (size, *stops),
    "steps": lambda steps, rank, size: (1, *steps),
}


def _shifted(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    """The op names dims or sizes by attributes, which count the batch too."""
    rank = max([len(operand.spec.shape) for operand in operands])
    changed = {n: _SHIFTS[n](v, rank, size) if n in _SHIFTS else v for n, v in attrs.items()}
    fronts = [operand.front(size) for operand in operands]
    if rank == 0 and "dim" in attrs:
        # Examples without dims have none to go along, beside the batch.
        found = one(op.name, *[one("reshape", front, shape=(size, 1)) for front in fronts], **changed)
        return one("reshape", found, shape=(size,))
    return one(op.name, *fronts, **changed)


def _permute(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    rank = len(operands[0].spec.shape)
    return one("permute", operands[0].value, dims=(0, *[dim % max(rank, 1) + 1 for dim in attrs["dims"]]))


def _expand(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    """The operand's dims are the last of the result's, so the batch must stand before those that are new."""
    shape, own = attrs["shape"], operands[0].spec.shape
    padded = one("reshape", operands[0].value, shape=(size, *(1,) * (len(shape) - len(own)), *own))
    return one("expand", padded, shape=(size, *shape))


def _aligned(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    """The operands broadcast, so the batch must stand before the dims of the largest."""
    rank = max([len(operand.spec.shape) for operand in operands])
    values = []
    for operand in operands:
        value = operand.value
        if operand.batched and len(operand.spec.shape) < rank:
            value = one("reshape", value, shape=(size, *(1,) * (rank - len(operand.spec.shape)), *operand.spec.shape))
        values.append(value)
    return one(op.name, *values, **attrs)


# --- products ---------------------------------------------------------------------------------------


def _contract(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    inputs, out = attrs["spec"].split("->")
    letter = next(c for c in string.ascii_letters if c not in attrs["spec"])
    labels = [
        letter + label if operand.batched else label for label, operand in zip(inputs.split(","), operands, strict=True)
    ]
    return one("contract", *[operand.value for operand in operands], spec=f"{','.join(labels)}->{letter}{out}")


def _merged(value: Value, dim: int) -> Value:
    """The batch, in front, and the dim that is `dim` of one example as one dim."""
    value = moved(value, 0, dim)
    shape = value.spec.shape
    return one("reshape", value, shape=(*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :]))


def _parted(value: Value, dim: int, size: int) -> Value:
    """The reverse of `_merged`."""
    shape = value.spec.shape
    split = one("reshape", value, shape=(*shape[:dim], size, shape[dim] // size, *shape[dim + 1 :]))
    return moved(split, dim, 0)


def _convolved(first: int, second: int, result: int) -> Rule:
    """Examples as groups of channels, which stand at these dims of both operands and the result."""

    def rule(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
        a, b = operands
        if not b.batched and op.name != "conv_weight":
            # Another example is only more images.
            return _parted(one(op.name, _merged(a.value, 0), b.value, **attrs), 0, size)
        grouped = {**attrs, "groups": attrs["groups"] * size}
        found = one(op.name, _merged(a.front(size), first), _merged(b.front(size), second), **grouped)
        return _parted(found, result, size)

    return rule


# --- positions --------------------------------------------------------------------------------------


def _own_rows(index: Value, rows: int, size: int) -> Value:
    """Positions among the rows of all examples, one after the other, for positions (batch, …) among one's own.

    A position outside of 0..rows-1 (from the end, -rows..-1) stays outside of all.
    """
    dtype = index.spec.dtype
    first = (np.arange(size) * rows).astype(np.int64).reshape(size, *(1,) * (len(index.spec.shape) - 1))
    wide = index if dtype == np.int64 else one("convert", index, dtype="int64")
    zero, count = known(np.array(0)), known(np.array(rows))
    counted = one("where", one("lt", wide, zero), one("add", wide, count), wide)
    inside = one("logical_and", one("ge", counted, zero), one("lt", counted, count))
    return one("where", inside, one("add", counted, known(first)), known(np.array(rows * size)))


def _take(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    x, index = operands
    dim = attrs["dim"] % len(x.spec.shape)
    if not index.batched:
        return one("take", x.value, index.value, **{**attrs, "dim": dim + 1})
    if not x.batched:
        return moved(one("take", x.value, index.value, **{**attrs, "dim": dim}), dim, 0)
    rows = _own_rows(index.value, x.spec.shape[dim], size)
    return moved(one("take", _merged(x.value, dim), rows, dim=dim), dim, 0)


def _put_add(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    index, values = operands
    dim, rows = attrs["dim"], attrs["size"]
    if not index.batched:
        return one("put_add", index.value, values.value, dim=dim + 1, size=rows)
    at = _own_rows(index.value, rows, size)
    found = one("put_add", at, moved(values.front(size), 0, dim), dim=dim, size=rows * size)
    return _parted(found, dim, size)


def _put_set(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    x, index, values = operands
    dim = attrs["dim"] % len(x.spec.shape)
    if not index.batched:
        return one("put_set", x.front(size), index.value, values.front(size), dim=dim + 1)
    at = _own_rows(index.value, x.spec.shape[dim], size)
    found = one("put_set", _merged(x.front(size), dim), at, moved(values.front(size), 0, dim), dim=dim)
    return _parted(found, dim, size)


def _searched(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    """Boundaries of their own go with values in as many dims; those that all examples share with any values."""
    bounds, values = operands
    if not bounds.batched and len(bounds.spec.shape) == 1:
        return one(op.name, bounds.value, values.value, **attrs)
    front, shape = values.front(size), (size, *values.spec.shape)
    if len(bounds.spec.shape) == 1:
        front = one("reshape", front, shape=(size, values.spec.size))
    return one("reshape", one(op.name, bounds.front(size), front, **attrs), shape=shape)


def _isin(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    x, among = operands
    return _each(op.name, attrs, operands, size) if among.batched else one(op.name, x.value, among.value)


def _samples(result: int) -> Rule:
    """Examples are only more samples, whose dim is 1 of the first operand, 0 of the others and `result`."""

    def rule(op: Primitive, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
        first, *others = [operand.front(size) for operand in operands]
        found = one(op.name, _merged(first, 1), *[_merged(value, 0) for value in others], **attrs)
        return _parted(found, result, size)

    return rule


# --- random positions ---------------------------------------------------------------------------------


def _positions(
    op: str, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int, drawn: Callable[..., dict[str, Any]]
) -> Operand:
    """Multinomial and randperm: rows are drawn each on their own, so examples that differ are more rows."""
    key = operands[-1].value
    differ = bool(drawn(op, {"shape": ()})["shape"])
    if op == "randperm":
        count = attrs["n"]
        if not differ or not count:
            return Operand(one(op, key, n=count), False)
        weights = known(np.broadcast_to(np.float32(1), (size, count)).copy())
        return Operand(one("multinomial", weights, key, num_samples=count), True)
    given = operands[0]
    if not differ:
        same = _each(op, attrs, operands, size) if given.batched else one(op, given.value, key, **attrs)
        return Operand(same, given.batched)
    rows = given.spec.shape[:-1]
    flat = one("reshape", given.front(size), shape=(size * math.prod(rows), given.spec.shape[-1]))
    found = one(op, flat, key, **attrs)
    return Operand(one("reshape", found, shape=(size, *rows, attrs["num_samples"])), True)


# --- the table --------------------------------------------------------------------------------------

_RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        "argmax_along argmin_along concat fft_c2c fft_c2r fft_r2c flip gather order pad put_along put_along_add "
        "put_along_reduce reduce_max reduce_min reduce_prod reduce_sum reshape running_extreme scan_linear "
        "scan_logaddexp scan_prod scan_prod_backward scan_sum slice_update strided_slice".split(),
        _shifted,
    ),
    # The windowed dims are the last ones, and so are those of matrices.
    **dict.fromkeys(
        "fold_windows window_fill window_max window_max_pick window_max_spread window_sum windows cholesky_apply "
        "cholesky_packed eig_packed eigh_packed expm geqrf_packed gesv ldl_apply ldl_packed lu_apply lu_packed "
        "pivoted_rows qr_packed svd_packed triangular".split(),
        _alike,
    ),
    "contract": _contract,
    "ctc_alignment": _samples(0),
    "ctc_use": _samples(1),
    "isin": _isin,
    "searchsorted": _searched,
    "conv": _convolved(1, 0, 1),
    "conv_input": _convolved(1, 0, 1),
    "conv_weight": _convolved(1, 1, 0),
    "expand": _expand,
    "permute": _permute,
    "put_add": _put_add,
    "put_set": _put_set,
    "ravel_index": _aligned,
    "take": _take,
}

# Composites that stay whole, because what their bodies are made of has worse derivatives.
_WHOLE: Final = frozenset("log_softmax logsumexp norm softmax std var".split())
# Primitives whose result depends on a key.
RANDOM: Final = frozenset("multinomial rand randint randn random_mask randperm".split())


def rule_of(op: Primitive) -> Rule | None:
    """How a primitive is applied to a batch; None when it is to be applied to each example."""
    if op.axes is pointwise_axes:
        # Its derivative may go along dims although it does not itself.
        return _alike if _SHIFTS.keys().isdisjoint(op.attrs) else _shifted
    return _RULES.get(op.name)


def _each(op: str, attrs: Mapping[str, Any], operands: Sequence[Operand], size: int) -> Value:
    """The op applied to each example on its own."""
    results = []
    for index in range(size):
        taken = [one("select", o.value, dim=0, index=index) if o.batched else o.value for o in operands]
        result = one(op, *taken, **attrs)
        results.append(one("reshape", result, shape=(1, *result.spec.shape)))
    return one("concat", *results, dim=0)


class _Steps(NamedTuple):
    """An application in primitives: of each its attributes and the numbers of its operands; the results' numbers."""

    nodes: tuple[tuple[Primitive, Mapping[str, Any], tuple[int, ...]], ...]
    outputs: tuple[int, ...]


@lru_cache(maxsize=4096)
def _lowered(app: App) -> _Steps:
    """An application, which is one object for equal ones, in primitives."""
    builder = Builder(app.ins)
    operands = [builder.value(number) for number in range(len(app.ins))]
    graph = builder.build(lookup(app.op).build(builder, operands, dict(app.attrs)))
    nodes = []
    for node in graph.nodes:
        op = lookup(node.op)
        assert isinstance(op, Primitive)
        nodes.append((op, MappingProxyType(dict(node.attrs)), node.inputs))
    return _Steps(tuple(nodes), graph.outputs)


def _whole(app: App, operands: Sequence[Operand], size: int) -> Value:
    rank = len(app.ins[0].shape)
    attrs: dict[str, Any] = dict(app.attrs)
    dim = attrs.get("dim")
    every = tuple(range(1, rank + 1))
    if isinstance(dim, int):
        attrs["dim"] = dim % max(rank, 1) + 1
    else:
        attrs["dim"] = tuple([d % max(rank, 1) + 1 for d in dim]) if dim else every
    return one(app.op, operands[0].value, **attrs)


def batched(
    app: App, operands: Sequence[Operand], size: int, drawn: Callable[[str, dict[str, Any]], dict[str, Any]]
) -> list[Operand]:
    """Apply a recorded op to a batch of `size` examples; the results.

    `drawn` is given each random op and its attributes, and gives those to draw with; where they differ, the result is
    a batch.
    """
    if app.op in _WHOLE and app.ins[0].shape and len(operands) == 1:
        return [Operand(_whole(app, operands, size), True)]
    steps = _lowered(app)
    found = list(operands)
    for op, attrs, inputs in steps.nodes:
        given = [found[number] for number in inputs]
        if op.name in ("multinomial", "randperm"):
            found.append(_positions(op.name, attrs, given, size, drawn))
        elif op.name in RANDOM:
            changed = drawn(op.name, dict(attrs))
            found.append(Operand(one(op.name, *[o.value for o in given], **changed), changed != attrs))
        elif not any([operand.batched for operand in given]):
            found.append(Operand(one(op.name, *[o.value for o in given], **attrs), False))
        else:
            rule = rule_of(op)
            result = _each(op.name, attrs, given, size) if rule is None else rule(op, attrs, given, size)
            found.append(Operand(result, True))
    return [found[number] for number in steps.outputs]
