"""Reverse-mode differentiation: the backward pass emitted as ops behind the forward one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import Builder, Emitter, Region, V, constant
from gradmesh_engine.errors import GradmeshError, InternalError, NotDifferentiableError
from gradmesh_engine.graph import Attrs, AttrValue, Graph, Node, TensorSpec, exact
from gradmesh_engine.ops import Composite, Op, lookup, primitive_of


def seed_cotangent(of: V) -> V:
    """The cotangent 1 of a one-element value. Raises NotDifferentiableError for any other."""
    if of.spec.size != 1:
        raise NotDifferentiableError(
            "grad can be implicitly created only for scalar outputs",
            expected="a value of one element, or a cotangent",
            got=str(of.spec),
            remedy="reduce it, for example with sum(), or pass a cotangent of its shape",
        )
    return constant(of, 1.0, of.shape)


def differentiate(builder: Builder, of: Sequence[V], wrt: Sequence[V], cotangents: Sequence[V]) -> list[V | None]:
    """Emit the gradients of sum(<cotangent, of>) with respect to each value of `wrt`.

    Only what lies between `of` and `wrt` is differentiated. Every emitted node carries the origin
    of the forward node it belongs to. A gradient is None where no path leads.

    Raises:
        NotDifferentiableError: a value of `of` or `wrt` has a dtype without gradients.
    """
    for value in (*of, *wrt):
        if not dtypes.is_differentiable(value.dtype):
            raise NotDifferentiableError(
                "only Tensors of floating point and complex dtype can require gradients",
                expected="a floating point or complex dtype",
                got=value.dtype.name,
                remedy="cast it before",
            )
    nodes = list(builder.nodes)
    first = builder.input_count
    regions = [r for r in builder.regions if all(v >= first + r.first for v in r.outputs)]
    depends = _reachable(builder, regions, {v.id for v in wrt})
    ending: dict[int, list[Region]] = {}
    for region in regions:
        ending.setdefault(region.last - 1, []).append(region)

    cots: dict[int, V] = {}

    def accumulate(value: int, g: V | None) -> None:
        if g is None or not depends[value]:
            return
        spec = builder.value(value).spec
        if not dtypes.is_differentiable(spec.dtype):
            return  # A mask, say, that an op takes for a number.
        if g.spec != spec:
            raise InternalError(f"a cotangent of {g.spec} arrived at a value of {spec}")
        have = cots.get(value)
        cots[value] = g if have is None else have + g

    for value, g in zip(of, cotangents, strict=True):
        accumulate(value.id, g)

    found: dict[int, V] = {}
    wanted = {v.id for v in wrt}
    for index in range(len(nodes) - 1, -1, -1):
        for region in reversed(ending.get(index, ())):  # the outermost region ends last
            if any(v in cots for v in region.outputs):
                _belongs(builder, nodes[index])
                _region_vjp(builder, region, cots, accumulate, found, wanted)
        if first + index not in cots:
            continue
        g = cots.pop(first + index)
        if first + index in wanted:
            found[first + index] = g
        node = nodes[index]
        if not any(depends[i] for i in node.inputs):
            continue
        _belongs(builder, node)
        op = primitive_of(node.op)
        if op.vjp is None:
            if op.grad_name:
                raise InternalError(f"{op.name} declares a grad_fn and no vjp")
            raise NotDifferentiableError(f"the derivative for {op.name!r} is not implemented", op=op.name)
        operands = [builder.value(i) for i in node.inputs]
        try:
            results = op.vjp(g, builder.value(first + index), *operands, **dict(node.attrs))
        except GradmeshError as error:
            raise error.at(op=op.name, node=node.origin) from None
        if len(results) != len(operands):
            raise InternalError(f"the vjp of {op.name} gave {len(results)} cotangents for {len(operands)} operands")
        # What one node gives to one operand is added up first: x·x gives twice the same.
        for i, result in _by_operand(node.inputs, results).items():
            accumulate(i, result)
    for number in wanted:
        if number < first and number in cots:
            found[number] = cots[number]
    return [found.get(v.id) for v in wrt]


def _belongs(builder: Builder, node: Node) -> None:
    """What is emitted now is part of the derivative of a node."""
    builder.origin = node.origin
    builder.segment = -abs(node.segment)


def _by_operand(inputs: Sequence[int], results: Sequence[V | None]) -> dict[int, V]:
    totals: dict[int, V] = {}
    for i, result in zip(inputs, results, strict=True):
        if result is not None:
            totals[i] = totals[i] + result if i in totals else result
    return totals


def _reachable(builder: Builder, regions: Sequence[Region], wrt: set[int]) -> list[bool]:
    """For every value whether it depends on one of `wrt`."""
    depends = [i in wrt for i in range(builder.input_count)]
    by_last: dict[int, list[Region]] = {}
    for region in regions:
        by_last.setdefault(region.last - 1, []).append(region)
    for index, node in enumerate(builder.nodes):
        value = len(depends)
        depends.append(value in wrt or any([depends[i] for i in node.inputs]))
        for region in by_last.get(index, ()):
            if any(depends[i] for i in region.inputs):
                for output in region.outputs:
                    depends[output] = True
    return depends


def _region_vjp(
    builder: Builder, region: Region, cots: dict[int, V], accumulate: Any, found: dict[int, V], wanted: set[int]
) -> None:
    op = lookup(region.op)
    assert isinstance(op, Composite) and op.vjp is not None
    gs = tuple(cots.pop(v, None) for v in region.outputs)
    for v, g in zip(region.outputs, gs, strict=True):
        if v in wanted and g is not None:
            found[v] = g
    ys = tuple(builder.value(v) for v in region.outputs)
    xs = [builder.value(v) for v in region.inputs]
    for value, result in zip(region.inputs, _apply_vjp(op, gs, ys, xs, dict(region.attrs)), strict=True):
        accumulate(value, result)


def _apply_vjp(
    op: Composite, gs: tuple[V | None, ...], ys: tuple[V, ...], xs: Sequence[V], attrs: Mapping[str, AttrValue]
) -> Sequence[V | None]:
    assert op.vjp is not None
    full = {name: attrs.get(name) for name in op.attrs}
    results = op.vjp(gs[0], ys[0], *xs, **full) if len(ys) == 1 else op.vjp(gs, ys, *xs, **full)
    if len(results) != len(xs):
        raise InternalError(f"the vjp of {op.name} gave {len(results)} cotangents for {len(xs)} operands")
    return results


# --- one op at a time -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pullback:
    """The derivative of one op as a graph of primitives.

    Attributes:
        graph: inputs are the operands, the results, then a cotangent per result with True in
            `given`; outputs are the cotangents of the connected operands, in order.
        connected: for each operand whether it gets a cotangent.
        uses: for each graph input whether its value is used (so must not have been modified since).
    """

    graph: Graph
    connected: tuple[bool, ...]
    uses: tuple[bool, ...]


def pullback(
    op: Op, specs: tuple[TensorSpec, ...], attrs: Attrs, needs: tuple[bool, ...], given: tuple[bool, ...] = (True,)
) -> Pullback:
    """The derivative of `op` at operands of `specs`, for the operands with True in `needs`.

    Args:
        op: the op.
        specs: specs of its operands.
        attrs: its attributes.
        needs: for each operand whether its cotangent is needed.
        given: for each result of the op whether a cotangent is given.
    """
    return _pullback(op, specs, attrs, exact(attrs), needs, given)


@lru_cache(maxsize=8192)
def _pullback(
    op: Op,
    specs: tuple[TensorSpec, ...],
    attrs: Attrs,
    key: tuple[object, ...],
    needs: tuple[bool, ...],
    given: tuple[bool, ...],
) -> Pullback:
    results = op.infer(specs, dict(attrs))
    seeds = [spec for spec, is_given in zip(results, given, strict=True) if is_given]
    builder = Builder([*specs, *results, *seeds])
    xs = [builder.value(i) for i in range(len(specs))]
    ys = [builder.value(len(specs) + i) for i in range(len(results))]
    seeded = iter(range(len(specs) + len(results), len(specs) + len(results) + len(seeds)))
    gs = tuple(builder.value(next(seeded)) if is_given else None for is_given in given)
    cots: Sequence[V | None]
    replaced: dict[int, int] = {}
    if isinstance(op, Composite) and op.vjp is not None:
        cots = _apply_vjp(op, gs, tuple(ys), xs, dict(attrs))
        cots = [c if need else None for c, need in zip(cots, needs, strict=True)]
    else:
        made = op.build(builder, xs, dict(attrs))
        pairs = [(m, g) for m, g in zip(made, gs, strict=True) if g is not None]
        wanted = [x for x, need in zip(xs, needs, strict=True) if need]
        got = iter(differentiate(builder, [m for m, _ in pairs], wanted, [g for _, g in pairs]))
        cots = [next(got) if need else None for need in needs]
        # The backward part reads the results the op has given instead of making them again.
        replaced = {m.id: y.id for m, y in zip(made, ys, strict=True) if m.id >= builder.input_count}
    graph = _pruned(builder, [c for c in cots if c is not None], replaced)
    used = {i for node in graph.nodes for i in node.inputs} | set(graph.outputs)
    return Pullback(graph, tuple(c is not None for c in cots), tuple(i in used for i in range(len(graph.inputs))))


def _pruned(builder: Builder, outputs: Sequence[V], replaced: Mapping[int, int]) -> Graph:
    """What `outputs` need, with values replaced by others."""
    first = builder.input_count
    nodes = builder.nodes
    live: set[int] = set()
    pending = [replaced.get(v.id, v.id) for v in outputs]
    while pending:
        value = pending.pop()
        if value < first or value in live:
            continue
        live.add(value)
        pending.extend(replaced.get(i, i) for i in nodes[value - first].inputs)
    fresh = Builder([builder.value(i).spec for i in range(first)])
    renamed = {i: i for i in range(first)}
    for value in sorted(live):
        node = nodes[value - first]
        inputs = tuple(renamed[replaced.get(i, i)] for i in node.inputs)
        renamed[value] = fresh.append(node.op, inputs, node.attrs, node.outputs[0]).id
    return fresh.build([fresh.value(renamed[replaced.get(v.id, v.id)]) for v in outputs])


def replay(graph: Graph, handles: Sequence[V], emitter: Emitter) -> list[V]:
    """Record the nodes of a graph through another emitter, over the given handles; returns its outputs."""
    values: list[V] = list(handles)
    for node in graph.nodes:
        values.extend(emitter.emit(lookup(node.op), [values[i] for i in node.inputs], dict(node.attrs)))
    return [values[i] for i in graph.outputs]
