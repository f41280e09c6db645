"""The named tuples of functions with several results, printed as PyTorch prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


class _ValuesIndices(NamedTuple):
    values: Tensor
    indices: Tensor


class _HistEdges(NamedTuple):
    hist: Tensor
    bin_edges: Tensor


class _HistAllEdges(NamedTuple):
    hist: Tensor
    bin_edges: tuple[Tensor, ...]


def _printed(result: Any) -> str:
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(result._fields, result, strict=True))
    return f"torch.return_types.{type(result).__name__}(\n{fields})"


class _Printed(_ValuesIndices):
    __slots__ = ()

    def __repr__(self) -> str:
        return _printed(self)


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


class cummax(_Printed):
    """Running maxima along a dim as `values`, and the `indices` where they stand."""

    __slots__ = ()


class cummin(_Printed):
    """Running minima along a dim as `values`, and the `indices` where they stand."""

    __slots__ = ()


class kthvalue(_Printed):
    """The k-th smallest `values` along a dim and the `indices` where they stand."""

    __slots__ = ()


class median(_Printed):
    """Lower medians along a dim as `values`, and the `indices` where they stand."""

    __slots__ = ()


class mode(_Printed):
    """The most frequent `values` along a dim and `indices` where one stands."""

    __slots__ = ()


class nanmedian(_Printed):
    """Lower medians of what is not NaN as `values`, and the `indices` where they stand."""

    __slots__ = ()


class histogram(_HistEdges):
    """How many elements fall into each bin, `hist`, and the `bin_edges`, one more."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _printed(self)


class histogramdd(_HistAllEdges):
    """How many points fall into each bin, `hist`, and the `bin_edges` of each dim, one more."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _printed(self)


class frexp(NamedTuple):
    """The `mantissa`, 1/2 to 1 in absolute value, and the `exponent` of 2, int32, of floating numbers."""

    mantissa: Tensor
    exponent: Tensor
