"""Markers: ops that compute nothing and tell a pass something."""

from __future__ import annotations

from gradmesh_engine.builder import V
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Specs, declare


def _axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    return [Factor((dim,), dim) for dim in range(out.ndim)]


def _tag_vjp(g: V, y: V, x: V, *, index: int) -> tuple[V]:
    return (g,)


tag = declare(
    Primitive(
        name="tag",
        arity=1,
        attrs={"index": Attr("int", doc="keeps this value apart from equal ones")},
        grad_name="AliasBackward0",
        doc="Its operand, kept apart from equal values; internal to differentiation.",
        spec=lambda specs, *, index: specs[0],
        view=lambda site: lambda x: x,
        vjp=_tag_vjp,
        axes=_axes,
        cost=lambda specs, out, attrs: 0.0,
        cheap=True,
    )
)
