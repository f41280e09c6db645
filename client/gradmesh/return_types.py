"""The named tuples of functions with several results, printed as PyTorch prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


class _ValuesIndices(NamedTuple):
    values: Tensor
    indices: Tensor


class _Printed(_ValuesIndices):
    __slots__ = ()

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{fields})"


class max(_Printed):
    """Largest `values` along a dim and the `indices` where they stand, of the same shape."""

    __slots__ = ()


class min(_Printed):
    """Smallest `values` along a dim and the `indices` where they stand, of the same shape."""

    __slots__ = ()


class sort(_Printed):
    """Sorted `values` along a dim and the `indices` they came from, of the operand's shape."""

    __slots__ = ()


class topk(_Printed):
    """The k largest or smallest `values` along a dim and the `indices` where they stand."""

    __slots__ = ()
