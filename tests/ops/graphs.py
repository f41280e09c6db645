"""Graphs of one op, and the kernels of a graph of primitives run one after the other on whole operands."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import Builder, V
from gradmesh_engine.differentiate import pullback, replay
from gradmesh_engine.graph import Graph, Node, TensorSpec, attrs_of
from gradmesh_engine.ops import TABLE, Primitive, Site, lookup, primitive_of
from gradmesh_engine.program import arrays_of, compile_query
from gradmesh_engine.session import Query, Request

Arrays = Sequence[np.ndarray]


def spec_of(array: np.ndarray) -> TensorSpec:
    return TensorSpec(array.shape, array.dtype)


def attributes(op: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes as a graph holds them."""
    return TABLE[op].bind(attrs)


def one_node(op: str, arrays: Arrays, attrs: Mapping[str, Any]) -> Graph:
    """The graph a client records for one application of `op`; all results are outputs."""
    specs = tuple(map(spec_of, arrays))
    bound = attributes(op, attrs)
    results = TABLE[op].infer(specs, bound)
    node = Node(op, tuple(range(len(specs))), attrs_of(bound), results, 0)
    first = len(specs)
    return Graph(specs, (node,), tuple(range(first, first + len(results))), ("table.py:1",))


def pullback_graph(op: str, arrays: Arrays, attrs: Mapping[str, Any], wrt: Sequence[int]) -> tuple[Graph, list[int]]:
    """The gradients of `op` as a graph of xs and cotangents: `sum(<cotangent, y>)` by each connected x.

    Returns the graph and the operands its outputs belong to.
    """
    specs = tuple(map(spec_of, arrays))
    bound = attributes(op, attrs)
    results = TABLE[op].infer(specs, bound)
    given = tuple(dtypes.is_differentiable(spec.dtype) for spec in results)
    pull = pullback(TABLE[op], specs, attrs_of(bound), tuple(i in wrt for i in range(len(specs))), given)
    seeds = [spec for spec, is_given in zip(results, given, strict=True) if is_given]
    builder = Builder([*specs, *seeds])
    xs = [builder.value(i) for i in range(len(specs))]
    gs = [builder.value(len(specs) + i) for i in range(len(seeds))]
    ys: Sequence[V] = TABLE[op].build(builder, xs, bound)
    gradients = replay(pull.graph, [*xs, *ys, *gs], builder)
    return builder.build(gradients), [i for i, connected in enumerate(pull.connected) if connected]


@dataclass(frozen=True)
class Application:
    """One primitive applied to real arrays."""

    op: Primitive
    attrs: Mapping[str, Any]
    arrays: tuple[np.ndarray, ...]
    out: TensorSpec


def run_kernel(
    op: Primitive,
    arrays: Arrays,
    out: TensorSpec,
    attrs: Mapping[str, Any],
    *,
    split: int | None = None,
    length: int = 0,
    start: int = 0,
) -> np.ndarray:
    """One call of a primitive's kernel or view, on a block when `split` says so."""
    full = {name: attrs.get(name) for name in op.attrs}
    site = Site(tuple(map(spec_of, arrays)), out, full, split, length)
    place = (start,) if op.positional else ()
    if op.view is not None:
        try:
            result = op.view(site)(*arrays, *place)
        except ValueError:
            assert op.kernel is not None, f"{op.name} has no kernel for strides it cannot view"
        else:
            assert (result.shape, result.dtype) == (out.shape, out.dtype), (
                f"{op.name} made {result.dtype}{result.shape}"
            )
            return result
    assert op.kernel is not None
    array = np.full(out.shape, 97, out.dtype)  # a kernel must not rely on what its buffer held
    with np.errstate(all="ignore"):
        op.kernel(site)(*arrays, array, *place)
    return array


def accumulate_kernel(
    op: Primitive, arrays: Arrays, out: TensorSpec, attrs: Mapping[str, Any], total: np.ndarray
) -> None:
    """Add a primitive's result into `total` in place."""
    assert op.accumulate is not None
    full = {name: attrs.get(name) for name in op.attrs}
    site = Site(tuple(map(spec_of, arrays)), out, full)
    place = (0,) if op.positional else ()
    op.accumulate(site)(*arrays, total, *place)


def run_whole(op: Primitive, arrays: Arrays, out: TensorSpec, attrs: Mapping[str, Any]) -> np.ndarray:
    """The primitive on whole operands."""
    return run_kernel(op, arrays, out, attrs)


def applications(graph: Graph, arrays: Arrays) -> Iterator[Application]:
    """Every node of a graph of primitives with its operands' values."""
    values = [np.asarray(a) for a in arrays]
    for node in graph.nodes:
        op = primitive_of(node.op)
        operands = tuple(values[i] for i in node.inputs)
        attrs = dict(node.attrs)
        yield Application(op, attrs, operands, node.outputs[0])
        values.append(run_whole(op, operands, node.outputs[0], attrs))


def is_primitive(name: str) -> bool:
    return isinstance(lookup(name), Primitive)


@functools.cache
def torch() -> Any:
    """PyTorch, imported when first needed."""
    import torch as module

    module.set_num_threads(1)
    return module


def to_torch(array: np.ndarray) -> Any:
    """A copy of the array as a PyTorch tensor."""
    if array.dtype == dtypes.bfloat16:
        return torch().from_numpy(array.view(np.int16).copy()).view(torch().bfloat16)
    return torch().from_numpy(np.array(array, copy=True))


def from_torch(tensor: Any) -> np.ndarray:
    """A PyTorch tensor as an array."""
    tensor = tensor.detach().clone().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch().bfloat16:
        return np.asarray(tensor.view(torch().int16).numpy()).view(dtypes.bfloat16)
    return np.asarray(tensor.numpy())


_TOLERANCE = {
    "float64": 1e-11,
    "complex128": 1e-11,
    "float32": 2e-6,
    "complex64": 2e-6,
    "float16": 2e-3,
    "bfloat16": 1.6e-2,
}


def assert_close(got: np.ndarray, expected: np.ndarray, loose: float = 1.0, what: str = "") -> None:
    """Same shape, same dtype, same values up to rounding relative to the array's scale."""
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    assert got.dtype == expected.dtype, f"{what}: dtype {got.dtype}, expected {expected.dtype}"
    tolerance = _TOLERANCE.get(got.dtype.name, 0.0) * loose
    wide = np.complex128 if got.dtype.kind == "c" else np.float64 if tolerance else got.dtype
    a, b = got.astype(wide), expected.astype(wide)
    if not tolerance:
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max()) if finite.size else 1.0
    np.testing.assert_allclose(
        a, b, rtol=tolerance * 4, atol=tolerance * max(scale, 1e-3), equal_nan=True, err_msg=what
    )


def evaluate(
    graph: Graph, arrays: Arrays, query: Query | None = None, cotangents: Arrays = ()
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Outputs and gradients, planned and run by the engine as any request is."""
    program = compile_query(graph, query or Query())
    request = Request(graph, tuple(arrays), query or Query(), tuple(cotangents))
    result = program.split_result(program.run(arrays_of(program, request)))
    return list(result.outputs), list(result.gradients)
