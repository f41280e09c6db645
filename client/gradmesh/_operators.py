"""Python's operators on tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradmesh import _tensor, _trace
from gradmesh._functions import binary, integers, layout, linalg, unary
from gradmesh._functions._common import NUMBERS, Number, Operand, both, in_place
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def _operator(function: Callable[[Tensor, Any], Tensor], op: str = "") -> Callable[[Tensor, Operand], Tensor]:
    """The function for operands it knows; NotImplemented for others, so that Python asks them.

    Where the function does nothing but record an op, its name spares the way there.
    """

    def operate(self: Tensor, other: Operand) -> Tensor:
        if op and other.__class__ is _tensor.Tensor:
            result: Tensor = _trace.record(op, self, other)
            return result
        if isinstance(other, _tensor.Tensor) or isinstance(other, NUMBERS):  # noqa: SIM101 (quicker than a new tuple)
            return both(op, self, other) if op else function(self, other)
        return NotImplemented

    operate.__name__ = function.__name__
    operate.__doc__ = function.__doc__
    return operate


def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Number], Tensor]:
    """The operator for `number op tensor`."""

    def operate(self: Tensor, other: Number) -> Tensor:
        if isinstance(other, NUMBERS):
            return function(other, self)
        return NotImplemented

    operate.__name__ = function.__name__
    operate.__doc__ = function.__doc__
    return operate


def _assigned(function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Operand], Tensor]:
    """The operator for `tensor op= operand`, which writes to the tensor."""

    def operate(self: Tensor, other: Operand) -> Tensor:
        if isinstance(other, (_tensor.Tensor, *NUMBERS)):
            return in_place(self, function(self, other))
        return NotImplemented

    operate.__name__ = function.__name__
    operate.__doc__ = function.__doc__
    return operate


def _matmul(self: Tensor, other: Tensor) -> Tensor:
    return linalg.matmul(self, other) if isinstance(other, _tensor.Tensor) else NotImplemented


def _rmatmul(self: Tensor, other: Tensor) -> Tensor:
    return linalg.matmul(other, self) if isinstance(other, _tensor.Tensor) else NotImplemented


def _reversed(self: Tensor) -> Tensor:
    """Dim 0 backwards."""
    return layout.flip(self, (0,)) if self.ndim else self


def _invert(self: Tensor) -> Tensor:
    if dtypes.category(self.dtype.np) > dtypes.INT:
        raise AttributeTypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors", got=str(self.dtype)
        )
    return unary.bitwise_not(self)


def _divided_by(self: Tensor, other: Number) -> Tensor:
    return binary.mul(unary.reciprocal(self), other)


def _itself(self: Tensor) -> Tensor:
    return self


class Operators:
    """What Python's operators do to tensors."""

    __slots__ = ()

    # NumPy's scalars and arrays leave `scalar op tensor` to the tensor.
    __array_priority__ = 1000

    __add__ = _operator(binary.add, "add")
    __radd__ = _operator(binary.add)
    __sub__ = _operator(binary.sub)
    __rsub__ = _operator(binary.rsub)
    __mul__ = _operator(binary.mul, "mul")
    __rmul__ = _operator(binary.mul)
    __truediv__ = _operator(binary.div, "div")
    __rtruediv__ = _operator(_divided_by)
    __floordiv__ = _operator(binary.floor_divide)
    __rfloordiv__ = _reflected(binary.floor_divide)
    __mod__ = _operator(binary.remainder)
    __rmod__ = _reflected(binary.remainder)
    __pow__ = _operator(binary.pow)
    __rpow__ = _reflected(binary.pow)
    __matmul__ = _matmul
    __rmatmul__ = _rmatmul
    __lshift__ = _operator(integers.bitwise_left_shift)
    __rlshift__ = _reflected(integers.bitwise_left_shift)
    __rshift__ = _operator(integers.bitwise_right_shift)
    __rrshift__ = _reflected(integers.bitwise_right_shift)
    __div__ = _operator(binary.div)
    __rdiv__ = _operator(_divided_by)

    __neg__ = unary.neg
    __pos__ = _itself
    __abs__ = unary.abs
    __invert__ = _invert
    __reversed__ = _reversed

    __and__ = _operator(binary.bitwise_and)
    __rand__ = _operator(binary.bitwise_and)
    __or__ = _operator(binary.bitwise_or)
    __ror__ = _operator(binary.bitwise_or)
    __xor__ = _operator(binary.bitwise_xor)
    __rxor__ = _operator(binary.bitwise_xor)

    # Element by element, unlike object's.
    __eq__ = _operator(binary.eq)  # type: ignore[assignment]
    __ne__ = _operator(binary.ne)  # type: ignore[assignment]
    __lt__ = _operator(binary.lt)
    __le__ = _operator(binary.le)
    __gt__ = _operator(binary.gt)
    __ge__ = _operator(binary.ge)
    __hash__ = object.__hash__

    __iadd__ = _assigned(binary.add)
    __isub__ = _assigned(binary.sub)
    __imul__ = _assigned(binary.mul)
    __ilshift__ = _assigned(integers.bitwise_left_shift)
    __irshift__ = _assigned(integers.bitwise_right_shift)
    __idiv__ = _assigned(binary.div)
    __itruediv__ = _assigned(binary.div)
    __ifloordiv__ = _assigned(binary.floor_divide)
    __imod__ = _assigned(binary.remainder)
    __ipow__ = _assigned(binary.pow)
    __iand__ = _assigned(binary.bitwise_and)
    __ior__ = _assigned(binary.bitwise_or)
    __ixor__ = _assigned(binary.bitwise_xor)
