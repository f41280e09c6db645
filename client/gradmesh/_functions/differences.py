"""Differences of neighbours, derivatives of samples, and integrals by trapezoids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradmesh import _tensor
from gradmesh._functions import binary, layout, select
from gradmesh._functions._common import Number, dim_of, is_number, one, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = ["cumulative_trapezoid", "diff", "gradient", "trapezoid", "trapz"]


def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along a dim, taken n times, of the tensor between `prepend` and `append`.

    Bools differ where they are unequal.

    Example: `gm.diff(gm.tensor([1., 4., 9.]))` is `tensor([3., 5.])`. Raises ShapeError for 0-d tensors and n < 0.
    """
    own = spec(input)
    if not own.shape:
        raise ShapeError("diff expects input to be at least one-dimensional", op="diff", got="0-d tensor")
    if n < 0:
        raise ShapeError(f"order must be non-negative but got {n}", op="diff", got=str(n))
    at = dim_of(dim, len(own.shape))
    if n == 0:
        return one("copy", _zeros_like(input), input)
    if prepend is not None or append is not None:
        input = select.cat([part for part in (prepend, input, append) if part is not None], at)
    differ = binary.logical_xor if own.dtype == dtypes.bool_ else binary.sub
    for _ in range(min(n, spec(input).shape[at])):
        length = spec(input).shape[at]
        input = differ(layout.narrow(input, at, 1, length - 1), layout.narrow(input, at, 0, length - 1))
    return input


def _zeros_like(input: Tensor) -> Tensor:
    from gradmesh._creation import zeros_like

    return zeros_like(input)


# --- derivatives of samples -----------------------------------------------------------------------


def _shaped(values: Tensor, dim: int, rank: int) -> Tensor:
    """A vector along one dim of `rank`."""
    return layout.reshape(values, tuple(-1 if d == dim else 1 for d in range(rank)))


def _along(input: Tensor, spacing: Number | Tensor, dim: int, edge_order: int) -> Tensor:
    """Second-order differences inside, of `edge_order` at the two ends. After PyTorch's and NumPy's `gradient`."""
    length = spec(input).shape[dim]

    def part(start: int, count: int) -> Tensor:
        return layout.narrow(input, dim, start, count)

    if not isinstance(spacing, _tensor.Tensor):
        inside = binary.div(binary.sub(part(2, length - 2), part(0, length - 2)), 2 * spacing)
        if edge_order == 1:
            first = binary.div(binary.sub(part(1, 1), part(0, 1)), spacing)
            last = binary.div(binary.sub(part(length - 1, 1), part(length - 2, 1)), spacing)
        else:
            first = _edge(part, (0, 1, 2), (-1.5, 2.0, -0.5), spacing)
            last = _edge(part, (length - 1, length - 2, length - 3), (1.5, -2.0, 0.5), spacing)
        return select.cat([first, inside, last], dim)
    rank = len(spec(input).shape)
    step = _shaped(diff(spacing), dim, rank)

    def steps(start: int, count: int) -> Tensor:
        return layout.narrow(step, dim, start, count)

    left, right = steps(0, length - 2), steps(1, length - 2)
    both = left + right
    inside = (
        part(0, length - 2) * -(right / (left * both))
        + part(1, length - 2) * ((right - left) / (left * right))
        + part(2, length - 2) * (left / (right * both))
    )
    if edge_order == 1:
        first = binary.div(binary.sub(part(1, 1), part(0, 1)), steps(0, 1))
        last = binary.div(binary.sub(part(length - 1, 1), part(length - 2, 1)), steps(length - 2, 1))
        return select.cat([first, inside, last], dim)
    one_, two = steps(0, 1), steps(1, 1)
    first = (
        part(0, 1) * -((2 * one_ + two) / (one_ * (one_ + two)))
        + part(1, 1) * ((one_ + two) / (one_ * two))
        + part(2, 1) * -(one_ / (two * (one_ + two)))
    )
    one_, two = steps(length - 3, 1), steps(length - 2, 1)
    last = (
        part(length - 3, 1) * (two / (one_ * (one_ + two)))
        + part(length - 2, 1) * -((one_ + two) / (one_ * two))
        + part(length - 1, 1) * ((2 * two + one_) / (two * (one_ + two)))
    )
    return select.cat([first, inside, last], dim)


def _edge(part: Any, places: Sequence[int], weights: Sequence[float], spacing: Number) -> Tensor:
    terms = [part(place, 1) * weight for place, weight in zip(places, weights, strict=True)]
    return binary.div(terms[0] + terms[1] + terms[2], spacing)


def gradient(
    input: Tensor,
    *,
    spacing: Number | Tensor | Sequence[Number] | Sequence[Tensor] | None = None,
    dim: int | Sequence[int] | None = None,
    edge_order: int = 1,
) -> tuple[Tensor, ...]:
    """The derivative of samples along each of `dim` (all by default), from second-order differences.

    `spacing` is the distance of samples, one for all dims or one each; or their coordinates, a vector for each dim.

    Example: `gm.gradient(gm.tensor([1., 4., 9.]))[0]` is `tensor([3., 4., 5.])`. Raises ShapeError for fewer than
    edge_order + 1 samples, AttributeTypeError for an edge_order that is neither 1 nor 2.
    """
    shape = spec(input).shape
    rank = len(shape)
    if edge_order not in (1, 2):
        raise AttributeTypeError(
            "torch.gradient only supports edge_order=1 and edge_order=2.", op="gradient", got=str(edge_order)
        )
    dims = range(rank) if dim is None else (dim,) if isinstance(dim, int) else dim
    places = [dim_of(d, rank) for d in dims]
    if len(set(places)) != len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise ShapeError(f"dim {twice} appears multiple times in the list of dims", op="gradient")
    steps: list[Any] = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing or 1] * len(places)
    if len(steps) != len(places):
        raise ShapeError(
            "torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to the number of "
            f"dims, {len(places)}, but got a list of length {len(steps)}",
            op="gradient",
            expected=str(len(places)),
            got=str(len(steps)),
        )
    for place in places:
        if shape[place] < edge_order + 1:
            raise ShapeError(
                "torch.gradient expected each dimension size to be at least edge_order+1",
                op="gradient",
                expected=f"at least {edge_order + 1}",
                got=str(shape[place]),
            )
    return tuple(_along(input, step, place, edge_order) for step, place in zip(steps, places, strict=True))


# --- integrals ------------------------------------------------------------------------------------


def _integral(op: str, y: Tensor, x: Tensor | None, dx: Number | None, dim: int) -> Tensor:
    if x is not None:
        if dx is not None:
            raise AttributeTypeError(f"{op}(): give x or dx, not both", op=op)
        return one(op, y, x, dim=dim)
    step = 1.0 if dx is None else dx
    if not is_number(step) or isinstance(step, complex):
        raise AttributeTypeError("Currently, we only support dx as a real number.", op=op, got=repr(step))
    return one(op, y, dx=float(step), dim=dim)


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Number | None = None, dim: int = -1) -> Tensor:
    """The integral of samples along a dim by trapezoids, at places `x` or at distances `dx` (1 by default).

    Example: `gm.trapezoid(gm.tensor([1., 2., 3.]))` is `tensor(4.)`.
    """
    return _integral("trapezoid", y, x, dx, dim)


def trapz(y: Tensor, x: Tensor | None = None, *, dx: Number | None = None, dim: int = -1) -> Tensor:
    """Another name of `trapezoid`. Example: `gm.trapz(gm.tensor([1., 2., 3.]))` is `tensor(4.)`."""
    return trapezoid(y, x, dx=dx, dim=dim)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Number | None = None, dim: int = -1) -> Tensor:
    """Running integrals along a dim by trapezoids; one sample fewer than `y`.

    Example: `gm.cumulative_trapezoid(gm.tensor([1., 2., 3.]))` is `tensor([1.5000, 4.0000])`.
    """
    return _integral("cumulative_trapezoid", y, x, dx, dim)
