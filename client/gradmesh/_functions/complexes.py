"""Complex numbers and their parts: views, conjugates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh._functions._common import one
from gradmesh._functions.factor import adjoint
from gradmesh._steps import VIEW_OPS

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = ["adjoint", "resolve_conj", "resolve_neg", "view_as_complex", "view_as_real"]


def view_as_real(input: Tensor) -> Tensor:
    """Complex numbers (…) as pairs (…, 2), a view.

    Example: `gm.view_as_real(gm.tensor(1 + 2j))` is `tensor([1., 2.])`.
    """
    return one("view_as_real", input)


def view_as_complex(input: Tensor) -> Tensor:
    """Pairs (…, 2) as complex numbers (…), a view.

    Example: `gm.view_as_complex(gm.tensor([1., 2.]))` is `tensor(1.+2.j)`.
    """
    return one("view_as_complex", input)


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself, or, as PyTorch has it, a tracked copy of a tracked conjugate. No conjugate is put off here.

    Example: `gm.resolve_conj(gm.ones(1))` is `tensor([1.])`.
    """
    value = input.value
    while value.app is not None and value.app.op in VIEW_OPS:
        value = value.inputs[0]
    conjugate = value.requires_grad and value.app is not None and value.app.op == "conj"
    return one("clone", input) if conjugate else input


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: a negation is never put off. Example: `gm.resolve_neg(gm.ones(1))` is `tensor([1.])`."""
    return input
