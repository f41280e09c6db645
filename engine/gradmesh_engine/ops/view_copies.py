"""The view functions whose result is a copy, and those that are unsafe in PyTorch: the same values, other names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradmesh_engine.builder import V
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Composite, Op, Specs, declare, lookup
from gradmesh_engine.ops.shaping import GradName


def _renamed(op: Op, suffix: str, own: str) -> GradName:
    if own:
        return own

    def name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
        return op.grad_name_for(specs, attrs) + suffix

    return name if callable(op.grad_name) else op.grad_name + suffix


def _body(op: Op) -> Callable[..., Any]:
    def body(x: V, **attrs: Any) -> Any:
        return op(x, **attrs)

    return body


def _again(name: str, of: str, doc: str, suffix: str = "", grad_name: str = "") -> None:
    """Declare `name`, which means what `of` does."""
    op = lookup(of)
    declare(
        Composite(
            name=name,
            arity=op.arity,
            attrs=op.attrs,
            grad_name=_renamed(op, suffix, grad_name),
            doc=doc,
            body=op.body if isinstance(op, Composite) else _body(op),
            vjp=op.vjp if isinstance(op, Composite) else None,
        )
    )


for _name in (
    "alias diagonal expand permute select slice split split_with_sizes squeeze t transpose unbind unfold unsqueeze view"
).split():
    _again(f"{_name}_copy", _name, f"{_name}, as a copy.", "_copy")
_again("narrow_copy", "narrow", "narrow, as a copy.", grad_name="NarrowCopyBackward0")
for _name, _grad in (("split", "Unsafe"), ("split_with_sizes", "Unsafe"), ("chunk", "Unsafe")):
    _again(
        f"unsafe_{_name}",
        _name,
        f"{_name} whose parts may be written to.",
        grad_name="UnsafeSplitWithSizesBackward0" if "sizes" in _name else "UnsafeSplitBackward0",
    )
