"""Ops that give back the content of an operand as a value of its own."""

from __future__ import annotations

from collections.abc import Sequence

from gradmesh_engine.builder import V
from gradmesh_engine.ops.base import Composite, declare
from gradmesh_engine.ops.layout import expand, sum_to, zeros_like
from gradmesh_engine.ops.pointwise import convert

alias = declare(
    Composite(
        name="alias",
        arity=1,
        grad_name="AliasBackward0",
        doc="Its operand, as a view of it.",
        body=lambda x: x,
    )
)

clone = declare(
    Composite(
        name="clone",
        arity=1,
        grad_name="CloneBackward0",
        doc="Its operand, as a copy. Values are immutable, so nothing is copied.",
        body=lambda x: x,
    )
)


def _copy(x: V, source: V) -> V:
    result: V = expand(convert(source, dtype=x.dtype.name), shape=x.shape)
    return result


def _copy_vjp(g: V, y: V, x: V, source: V) -> Sequence[V | None]:
    # Zero, but connected: what is overwritten has a gradient, as in PyTorch.
    return zeros_like(x), convert(sum_to(g, source.shape), dtype=source.dtype.name)


copy = declare(
    Composite(
        name="copy",
        arity=2,
        grad_name="CopyBackwards",
        doc="The second operand, broadcast and cast to the shape and dtype of the first.",
        body=_copy,
        vjp=_copy_vjp,
    )
)
