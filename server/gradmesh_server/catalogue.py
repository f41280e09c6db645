"""The op table as the contract's catalogue."""

from __future__ import annotations

from gradmesh import _codec
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.dtypes import BY_NAME, INT, category
from gradmesh_engine.errors import DTypeError, GradmeshError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops import TABLE
from gradmesh_engine.ops.base import REQUIRED, Attr, Composite, Op


def describe_ops() -> list[pb.OpInfo]:
    """One entry per op a graph may use, sorted by name."""
    return [_describe(TABLE[name]) for name in sorted(TABLE)]


def _describe(op: Op) -> pb.OpInfo:
    least, most = (op.arity, op.arity) if isinstance(op.arity, int) else op.arity
    return pb.OpInfo(
        name=op.name,
        doc=op.doc,
        min_operands=least,
        max_operands=most,
        attrs=[_attr(name, op.attrs[name]) for name in sorted(op.attrs)],
        dtypes=_dtypes(op, max(least, 1)) if most else (),
        differentiable=op.differentiable,
        grad_name=op.grad_name if isinstance(op.grad_name, str) else "",
        composite=isinstance(op, Composite),
    )


def _attr(name: str, attr: Attr) -> pb.AttrInfo:
    given = attr.default is REQUIRED or attr.default is None
    return pb.AttrInfo(
        name=name,
        kind=attr.kind,
        required=attr.default is REQUIRED,
        default_value=None if given else _codec.encode_attr(attr.default),
        doc=attr.doc,
    )


# Plausible values of required attributes, to ask an op's own rule which dtypes it takes.
_SAMPLES = {
    "bool": False, "int": 0, "float": 1.0, "number": 1.0, "str": "", "dtype": "float32", "ints": (0,), "floats": (1.0,),
    "strs": (),
}  # fmt: skip


def _dtypes(op: Op, count: int) -> list[str]:
    """Names of the dtypes the op's rule does not refuse for the first operand, in any company."""
    attrs = {name: _SAMPLES[attr.kind] for name, attr in op.attrs.items() if attr.default is REQUIRED}
    accepted = []
    for name, dtype in BY_NAME.items():
        companies = {dtype, BY_NAME["int64"], BY_NAME["bool"], BY_NAME["float32"]}
        if category(dtype) <= INT:
            companies.add(BY_NAME["float64"])
        for company in companies:
            specs = (TensorSpec((2, 2), dtype), *[TensorSpec((2, 2), company)] * (count - 1))
            try:
                op.infer(specs, op.bind(attrs))
            except DTypeError:
                continue
            except (GradmeshError, LookupError, ValueError, TypeError, ArithmeticError):
                pass  # The samples' shapes or attributes do not fit; the dtypes were not what was refused.
            accepted.append(name)
            break
    return accepted
