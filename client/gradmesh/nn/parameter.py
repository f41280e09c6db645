"""Parameter: a tensor that a module trains."""

from __future__ import annotations

import weakref
from typing import Any

from gradmesh import _creation, _views
from gradmesh._modes import STATE
from gradmesh._tensor import Tensor
from gradmesh._value import alias
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, NotDifferentiableError

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A leaf that requires grad and, assigned to a module, is one of its parameters. Final.

    Args:
        data: the content, which is shared; by default empty.
        requires_grad: whether gradients flow to it.

    Raises AttributeTypeError unless data is a Tensor, NotDifferentiableError for integers that require grad.

    Example: `weight = gm.nn.Parameter(gm.zeros(3))`
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        if data is None:
            data = _creation.empty(0)
        if not isinstance(data, Tensor):
            raise AttributeTypeError(
                f"Parameter data has to be a Tensor, but got {type(data).__name__}",
                expected="Tensor",
                got=type(data).__name__,
            )
        if requires_grad and not dtypes.is_differentiable(data.np_dtype):
            raise NotDifferentiableError(
                "Only Tensors of floating point and complex dtype can require gradients",
                expected="a floating point or complex dtype",
                got=data.np_dtype.name,
            )
        store = _views.store_of(data)
        value = alias(data.value)
        super().__init__(value)
        self._store = store
        _views.split_off(self, value)
        if value.data is None:
            STATE.live.append(weakref.ref(self))
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            found: Parameter = memo[id(self)]
            return found
        memo[id(self)] = copy = Parameter(self.detach().clone(), self.requires_grad)
        return copy

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restore, (self.detach(), self.requires_grad)


def _restore(data: Tensor, requires_grad: bool) -> Parameter:
    return Parameter(data, requires_grad)
