"""Writes docs/ops.md from the op table: `python -m tests.ops.catalogue`.

What the table says in functions (dtypes, splits, derivatives) is asked of it for the first sample of the op's test row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gradmesh_engine import dtypes
from gradmesh_engine.builder import Builder
from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.graph import Graph, TensorSpec
from gradmesh_engine.ops import TABLE, Composite, Op, Primitive, lookup
from tests.ops.graphs import pullback_graph
from tests.ops.rows import Row
from tests.ops.table import BY_OP

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "ops.md"

_HEAD: Final = """\
# Ops

Every op of the table, by name: what a graph may hold. This page is made from the table by
`python -m tests.ops.catalogue`; a test fails when it is stale.

- **Attributes** are written `name: kind = default`; `?` marks one that may be absent.
- **Dtypes** are those its first operand may have: b bool, i integers, f floats (h only 16-bit, w only 32- and 64-bit),
  c complex. Operands of other dtypes meet as `torch.result_type` says where the op promotes.
- **Derivatives**: how often it can be differentiated (∞: as often as one likes), and the class of its `grad_fn`.
- **Splits**: for a primitive, which dims of the result (of an example) may be cut into blocks, and how pieces of what
  it sums up combine; a composite splits as the primitives it is made of, which are named.

| op | attributes | dtypes | derivatives | splits | what it is |
|---|---|---|---|---|---|
"""


def _attributes(op: Op) -> str:
    parts = []
    for name, attr in op.attrs.items():
        if attr.default is None:
            parts.append(f"{name}: {attr.kind}?")
        elif isinstance(attr.default, (bool, int, float, str, tuple)):
            parts.append(f"{name}: {attr.kind} = {attr.default}")
        else:
            parts.append(f"{name}: {attr.kind}")
    return ", ".join(f"`{part}`" for part in parts)


def _specs(row: Row, dtype: str | None = None) -> tuple[TensorSpec, ...]:
    sample = row.samples[0]
    lead = sample.operands[0].dtype if sample.operands else "float64"
    return tuple(
        TensorSpec(o.shape, dtypes.parse(dtype if dtype and not o.fixed and o.dtype == lead else o.dtype))
        if o.build is None
        else TensorSpec(array.shape, array.dtype)
        for o, array in zip(sample.operands, sample.arrays(row.seed(sample)), strict=True)
    )


_KINDS: Final = (
    ("b", ("bool",)),
    ("i", ("int64", "int8", "uint8")),
    ("f", ("float64", "float32", "float16", "bfloat16")),
    ("c", ("complex128", "complex64")),
)


def _dtypes(op: Op, row: Row) -> str:
    def takes(name: str) -> bool:
        try:
            op.infer(_specs(row, name), op.bind(row.samples[0].attrs))
        except GradmeshError:
            return False
        return True

    if not row.samples[0].operands or row.samples[0].operands[0].fixed:
        return "–"
    found = ""
    for letter, names in _KINDS:
        good = [name for name in names if takes(name)]
        if letter == "f" and good and len(good) < len(names):
            letter = "w" if good == ["float64", "float32"] else "h" if "float64" not in good else "f"
        found += letter if good else ""
    return found


def _again(graph: Graph, count: int) -> bool:
    """Whether the first `count` inputs reach the outputs through nothing that has no derivative."""
    needs = {i for i in range(count) if dtypes.is_differentiable(graph.inputs[i].dtype)}
    for number, node in enumerate(graph.nodes, len(graph.inputs)):
        op = lookup(node.op)
        if not needs & set(node.inputs) or not dtypes.is_differentiable(node.outputs[0].dtype):
            continue
        if isinstance(op, Primitive) and op.vjp is None and node.op != "full":
            return False
        needs.add(number)
    return True


def _derivatives(op: Op, row: Row) -> str:
    if not op.differentiable:
        return "none"
    sample = row.samples[0]
    arrays = sample.arrays(row.seed(sample))
    specs, attrs = _specs(row), op.bind(sample.attrs)
    name = op.grad_name_for(specs, attrs)
    wrt = tuple(i for i, spec in enumerate(specs) if dtypes.is_differentiable(spec.dtype))
    graph, _ = pullback_graph(op.name, arrays, sample.attrs, wrt)
    return f"{'∞' if row.twice and _again(graph, len(specs)) else '1'} `{name}`"


def _numbers(dims: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(dims)))


def _splits(op: Op, row: Row) -> str:
    specs, attrs = _specs(row), op.bind(row.samples[0].attrs)
    if isinstance(op, Composite):
        builder = Builder(specs)
        op.build(builder, [builder.value(i) for i in range(len(specs))], attrs)
        parts = sorted({node.op for node in builder.nodes} - {"full", "convert", "expand", "reshape"})
        shown = ", ".join(parts[:6]) + (", …" if len(parts) > 6 else "")
        return f"as {shown}" if parts else "as its operand"
    assert isinstance(op, Primitive)
    (out,) = op.infer(specs, attrs)
    factors = op.axes(specs, out, **attrs)
    said = []
    mapped = [f.result for f in factors if f.kind == "map" and f.result is not None]
    if mapped:
        said.append("every dim" if len(mapped) == out.ndim else f"dim {_numbers(mapped)}")
    said += sorted({f"pieces by {f.kind}" for f in factors if f.kind != "map"})
    return "; ".join(said) or "not"


def catalogue() -> str:
    """The page."""
    lines = []
    for name in sorted(TABLE):
        op, row = TABLE[name], BY_OP[name]
        cells = (f"`{name}`", _attributes(op), _dtypes(op, row), _derivatives(op, row), _splits(op, row), op.doc)
        lines.append(f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |\n")
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    FILE.write_text(catalogue())
