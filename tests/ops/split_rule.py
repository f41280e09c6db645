"""The axis rule of a primitive against splitting real data in uneven pieces.

Nothing here knows any op. A declared factor must give the whole result from the results of its
pieces; a split that gives the whole result must be declared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops import Factor, Order
from tests.ops.graphs import Application, accumulate_kernel, assert_close, run_kernel, run_whole, spec_of

_COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}


def cuts(length: int) -> list[tuple[int, int]]:
    """Uneven pieces of `length` elements: three of them when there are enough."""
    if length < 2:
        return [(0, length)]
    if length < 6:
        first = max(1, length // 3)
        return [(0, first), (first, length)]
    first, second = length // 4, length // 4 + length // 3
    return [(0, first), (first, second), (second, length)]


def _cut(array: np.ndarray, dim: int, start: int, stop: int) -> np.ndarray:
    index: list[slice] = [slice(None)] * array.ndim
    index[dim] = slice(start, stop)
    return np.ascontiguousarray(array[tuple(index)])


def _base(app: Application, factor: Factor) -> int:
    """The number of elements of the factor that cannot be divided further."""
    sizes = [app.arrays[i].shape[dim] for i, dim in enumerate(factor.operands) if dim is not None]
    if factor.result is not None:
        sizes.append(app.out.shape[factor.result])
    return math.gcd(*sizes) if sizes else 0


def run_split(app: Application, factor: Factor) -> np.ndarray:
    """The result made from the results of pieces, as the factor says."""
    base = _base(app, factor)
    results = []
    for first, last in cuts(base):
        arrays = []
        for array, dim in zip(app.arrays, factor.operands, strict=True):
            if dim is None:
                arrays.append(array)
            else:
                scale = array.shape[dim] // base
                arrays.append(_cut(array, dim, first * scale, last * scale))
        if factor.kind == "map":
            assert factor.result is not None, "a factor that maps has a dim of the result"
            whole = app.out.shape[factor.result]
            scale = whole // base
            shape = list(app.out.shape)
            shape[factor.result] = (last - first) * scale
            out = TensorSpec(tuple(shape), app.out.dtype)
            results.append(
                run_kernel(app.op, arrays, out, app.attrs, split=factor.result, length=whole, start=first * scale)
            )
        else:
            assert factor.result is None, "a contracted factor has no dim of the result"
            results.append(run_kernel(app.op, arrays, app.out, app.attrs))
    if factor.kind == "map":
        assert factor.result is not None
        return np.concatenate(results, axis=factor.result)
    combine = _COMBINE[factor.kind]
    total = results[0]
    for partial in results[1:]:
        total = combine(total, partial)
    return np.asarray(total).astype(app.out.dtype)


def declared(app: Application) -> list[Factor]:
    """The factors of the op's axis rule at this application."""
    specs = tuple(TensorSpec(a.shape, a.dtype) for a in app.arrays)
    full = {name: app.attrs.get(name) for name in app.op.attrs}
    factors = list(app.op.axes(specs, app.out, **full))
    for factor in factors:
        assert len(factor.operands) == len(app.arrays), f"{app.op.name}: {factor} has the wrong number of operands"
    return factors


def check_declared(app: Application, factors: Sequence[Factor] | None = None) -> None:
    """Every factor of the rule holds on this application's data."""
    whole = run_whole(app.op, app.arrays, app.out, app.attrs)
    seen: set[tuple[int, int]] = set()
    for factor in declared(app) if factors is None else factors:
        for i, dim in enumerate(factor.operands):
            if dim is not None:
                assert (i, dim) not in seen, f"{app.op.name}: dim {dim} of operand {i} is in two factors"
                seen.add((i, dim))
        base = _base(app, factor)
        if base < 2:
            continue
        assert_close(run_split(app, factor), whole, 16.0, f"{app.op.name} split along {describe(factor)}")
        if factor.kind == "sum" and app.op.accumulate is not None:
            check_accumulate(app, factor, whole)


def check_accumulate(app: Application, factor: Factor, whole: np.ndarray) -> None:
    """Adding piece after piece in place gives the whole."""
    base = _base(app, factor)
    total = np.zeros(app.out.shape, app.out.dtype)
    for first, last in cuts(base):
        arrays = []
        for array, dim in zip(app.arrays, factor.operands, strict=True):
            scale = 1 if dim is None else array.shape[dim] // base
            arrays.append(array if dim is None else _cut(array, dim, first * scale, last * scale))
        accumulate_kernel(app.op, arrays, app.out, app.attrs, total)
    assert_close(total, whole, 16.0, f"{app.op.name} accumulated along {describe(factor)}")


Orders = tuple[list[Order], Order]


def _any_orders(app: Application, rng: np.random.Generator) -> Orders | None:
    """Another order of every operand's dims, and that of the result's which follows from them, if one does."""

    def another(rank: int) -> Order:
        return tuple(int(d) for d in rng.permutation(rank))

    if app.op.independent is not None or not app.arrays:
        return [another(a.ndim) for a in app.arrays], another(len(app.out.shape))
    # Where it does not say otherwise, an op wants operands alike, and makes a result that is alike.
    orders: list[list[int]] = [[] for _ in app.arrays]
    result = []
    for dim in another(app.arrays[0].ndim):
        factor = next((f for f in declared(app) if f.operands[0] == dim), None)
        if factor is None or None in factor.operands:
            return None
        for order, own in zip(orders, factor.operands, strict=True):
            assert own is not None
            order.append(own)
        if factor.result is not None:
            result.append(factor.result)
    return [tuple(order) for order in orders], tuple(result)


def _innermost(app: Application, factor: Factor) -> Orders:
    """The dims along a factor behind all others."""

    def moved(rank: int, dim: int | None) -> Order:
        return tuple(range(rank)) if dim is None else (*(d for d in range(rank) if d != dim), dim)

    operands = [moved(a.ndim, dim) for a, dim in zip(app.arrays, factor.operands, strict=True)]
    return operands, moved(len(app.out.shape), factor.result)


def check_turned(app: Application) -> int:
    """On operands whose dims come in other orders, the attributes the op declares for them give the result turned.

    Returns how many orders the op has attributes for.
    """
    assert app.op.turned is not None
    whole = run_whole(app.op, app.arrays, app.out, app.attrs)
    rng = np.random.default_rng(app.out.size)
    tried = 0
    for found in (*(_any_orders(app, rng) for _ in range(3)), *(_innermost(app, factor) for factor in declared(app))):
        if found is None:
            continue
        orders, result = found
        attrs = app.op.turned(app.attrs, orders, result)
        if attrs is None:
            continue
        tried += 1
        arrays = tuple(a.transpose(order).copy(order="C") for a, order in zip(app.arrays, orders, strict=True))
        attrs = {name: value for name, value in attrs.items() if value is not None}
        out = app.op.infer(tuple(map(spec_of, arrays)), attrs)[0]
        got = run_kernel(app.op, arrays, out, attrs)
        assert_close(got, whole.transpose(result), 16.0, f"{app.op.name} turned {orders} -> {result}")
        check_declared(replace(app, arrays=arrays, out=out, attrs=attrs))
    return tried


def describe(factor: Factor) -> str:
    """ "0.1 1.0 -> 0" or "0.1 -> sum": operand.dim of every operand that is cut, and what becomes of it."""
    left = " ".join(f"{i}.{dim}" for i, dim in enumerate(factor.operands) if dim is not None)
    return f"{left or 'nothing'} -> {factor.result if factor.kind == 'map' else factor.kind}"


def candidates(app: Application, factors: Sequence[Factor]) -> Iterator[Factor]:
    """Every plausible split along dims that are in no factor."""
    in_operands = {(i, d) for f in factors for i, d in enumerate(f.operands) if d is not None}
    in_result = {f.result for f in factors if f.result is not None}
    free = [
        [None, *(d for d, size in enumerate(a.shape) if (i, d) not in in_operands and size >= 4)]
        for i, a in enumerate(app.arrays)
    ]
    targets = [d for d, size in enumerate(app.out.shape) if d not in in_result and size >= 4]
    for dims in itertools.product(*free):
        sizes = {app.arrays[i].shape[d] for i, d in enumerate(dims) if d is not None}
        if not sizes:
            yield from (Factor(tuple(dims), target) for target in targets)
            continue
        if len(sizes) == 1:
            for kind in _COMBINE:
                yield Factor(tuple(dims), None, kind)  # type: ignore[arg-type]
        for target in targets:
            every = {*sizes, app.out.shape[target]}
            base = math.gcd(*every)
            if base == min(every):
                yield Factor(tuple(dims), target)


def undeclared(app: Application, factors: Sequence[Factor] | None = None) -> list[Factor]:
    """Splits that give the whole result on this data although the rule does not have them."""
    whole = run_whole(app.op, app.arrays, app.out, app.attrs)
    if whole.size < 2 or _is_degenerate(whole) or any(a.size == 0 for a in app.arrays):
        return []  # data that cannot tell one split from another
    found = []
    for factor in candidates(app, declared(app) if factors is None else factors):
        try:
            split = run_split(app, factor)
            assert_close(split, whole, 16.0)
        except Exception:
            continue  # the kernel refuses such pieces, or they give another result
        found.append(factor)
    return found


def _is_degenerate(array: np.ndarray) -> bool:
    """All elements are the same."""
    return bool((array == array.reshape(-1)[0]).all())


def with_rule(app: Application, factors: Mapping[str, Factor] | Sequence[Factor]) -> Application:
    """The application with another axis rule."""
    rule = list(factors.values()) if isinstance(factors, Mapping) else list(factors)
    return replace(app, op=replace(app.op, axes=lambda specs, out, **_: rule))
