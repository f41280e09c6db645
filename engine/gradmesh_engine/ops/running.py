"""Derivatives of products, once fast and then exact.

The first derivative of a product divides by what it leaves out, and minds zeros. That is fast and splits well, but at
zeros it cannot be differentiated again: its own derivative is made without division, of running products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradmesh_engine.builder import V, constant
from gradmesh_engine.dtypes import real_of
from gradmesh_engine.errors import ShapeError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare
from gradmesh_engine.ops.layout import flip, permute, reshape
from gradmesh_engine.ops.pointwise import Run, conjugate, convert, eq, is_zero, keep, pointwise_axes, where
from gradmesh_engine.ops.reduce import reduce_prod, reduce_sum, scan_prod, spread
from gradmesh_engine.ops.regions import narrowed, pad

# --- running along one dim ------------------------------------------------------------------------


def _flipped(x: V, dim: int) -> V:
    result: V = flip(x, dims=(dim,))
    return result


def _shifted(x: V, dim: int, by: int, value: float) -> V:
    """Everything one place on (by 1) or back (by -1) along `dim`, `value` where nothing comes from."""
    n = x.shape[dim]
    if not n:
        return x
    kept = narrowed(x, dim, 0, n - 1) if by > 0 else narrowed(x, dim, 1, n)
    low, high = [0] * x.ndim, [0] * x.ndim
    (low if by > 0 else high)[dim] = 1
    result: V = pad(kept, low=tuple(low), high=tuple(high), interior=(0,) * x.ndim, value=value)
    return result


def _linear_kernel(site: Site) -> Run:
    dim = site.attrs["dim"]
    assert isinstance(dim, int)

    def run(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        factor, result = np.moveaxis(a, dim, 0), np.moveaxis(out, dim, 0)
        np.copyto(out, b)
        for i in range(1, len(result)):
            result[i] += factor[i] * result[i - 1]

    return run


def _linear_spec(specs: Specs, dim: int) -> TensorSpec:
    a, b = specs
    if a != b or not 0 <= dim < a.ndim:
        raise ShapeError(f"scan_linear: {a} and {b} along dim {dim}", expected="two of one shape and dtype")
    return b


def _linear_vjp(g: V, y: V, a: V, b: V, dim: int) -> tuple[V, V]:
    back = scan_linear(_shifted(_flipped(conjugate(a), dim), dim, 1, 0), _flipped(g, dim), dim=dim)
    back = _flipped(back, dim)
    return back * conjugate(_shifted(y, dim, 1, 0)), back


scan_linear: Primitive = declare(
    Primitive(
        name="scan_linear",
        arity=2,
        attrs={"dim": Attr("int")},
        grad_name="ScanLinearBackward0",
        doc="y[i] = a[i] * y[i - 1] + b[i] along `dim`.",
        spec=_linear_spec,
        kernel=_linear_kernel,
        vjp=_linear_vjp,
        axes=lambda specs, out, dim: [Factor((i, i), i) for i in range(out.ndim) if i != dim],
        cost=lambda specs, out, attrs: 4.0 * out.size,
    )
)


def _exactly(g: V, x: V, dim: int) -> V:
    """The derivative of running products without division: those before, times what comes after by its factors."""
    before = scan_prod(_shifted(x, dim, 1, 1), dim=dim)
    after = scan_linear(_shifted(_flipped(conjugate(x), dim), dim, 1, 0), _flipped(g, dim), dim=dim)
    return conjugate(before) * _flipped(after, dim)


def _backwards(v: np.ndarray, dim: int) -> np.ndarray:
    return np.flip(np.add.accumulate(np.flip(v, dim), axis=dim), dim)


def _scan_backward_kernel(site: Site) -> Run:
    dim = site.attrs["dim"]
    assert isinstance(dim, int)

    def run(g: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
        # Before the first zero y / x serves; at it, the products made as if it were 1; behind it all is 0.
        zero = x == 0
        one = x.dtype.type(1)
        usual = np.multiply.accumulate(x, axis=dim)
        if not zero.any():
            np.divide(_backwards(g * usual.conj(), dim), x.conj(), out=out)
            return
        seen = np.add.accumulate(zero, axis=dim, dtype=np.int64)
        first = zero & (seen == 1)
        spared = np.multiply.accumulate(np.where(first, one, x), axis=dim)
        before = _backwards(g * usual.conj(), dim) / np.where(zero, one, x).conj()
        at_zero = np.where(first, _backwards(g * spared.conj(), dim), 0)
        np.copyto(out, np.where(seen == 0, before, at_zero), casting="same_kind")

    return run


def _scan_vjp(c: V, r: V, g: V, x: V, dim: int) -> tuple[V, V]:
    """The derivative of `_exactly`, which the kernel equals, by hand."""
    x_before, x_behind = _shifted(x, dim, 1, 1), _shifted(_flipped(conjugate(x), dim), dim, 1, 0)
    before = scan_prod(x_before, dim=dim)
    behind = scan_linear(x_behind, _flipped(g, dim), dim=dim)
    after = _flipped(behind, dim)
    by_behind, by_g = _linear_vjp(_flipped(c * before, dim), behind, x_behind, _flipped(g, dim), dim)
    by_before = _exactly(conjugate(c) * after, x_before, dim)
    by_x = _shifted(by_before, dim, -1, 0) + conjugate(_flipped(_shifted(by_behind, dim, -1, 0), dim))
    return _flipped(by_g, dim), by_x


declare(
    Primitive(
        name="scan_prod_backward",
        arity=2,
        attrs={"dim": Attr("int")},
        grad_name="CumprodBackwardBackward0",
        doc="(g, x): the derivative of running products of x along `dim`.",
        spec=_linear_spec,
        kernel=_scan_backward_kernel,
        vjp=_scan_vjp,
        axes=lambda specs, out, dim: [Factor((i, i), i) for i in range(out.ndim) if i != dim],
        cost=lambda specs, out, attrs: 20.0 * out.size,
    )
)

# --- over several dims ----------------------------------------------------------------------------


def prod_backward(g: V, y: V, x: V, dims: tuple[int, ...]) -> V:
    """The derivative of products y of x over `dims`: those of the others.

    They are y / x, or, at a single zero, the product without it.
    """
    zero, one = is_zero(x), constant(x, 1)
    zeros = reduce_sum(convert(zero, dtype=real_of(g.dtype).name), dims=dims)
    others = reduce_prod(where(zero, one, x), dims=dims)
    usual = g * conjugate(y)
    spare = keep(g * conjugate(others), eq(zeros, constant(zeros, 1)))
    return others_of(*(spread(v, dims, x.shape) for v in (usual, spare, g)), x, dims=dims)


def _others_kernel(site: Site) -> Run:
    one = site.out.dtype.type(1)

    def run(usual: np.ndarray, spare: np.ndarray, g: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
        zero = x == 0
        np.divide(usual, np.where(zero, one, x).conj(), out=out)
        np.copyto(out, spare, where=zero)

    return run


def _others_spec(specs: Specs, dims: Sequence[int]) -> TensorSpec:
    if any(spec != specs[3] for spec in specs):
        raise ShapeError("others_of: operands differ in shape or dtype", got=", ".join(map(str, specs)))
    return specs[3]


def _others_vjp(c: V, r: V, usual: V, spare: V, g: V, x: V, dims: Sequence[int]) -> tuple[V | None, ...]:
    """The derivative of g times the product of the others, which is that of those before times that of those behind.

    The first two operands are made of the others, and their part is in this.
    """
    order = (*(d for d in range(x.ndim) if d not in dims), *dims)
    back = tuple(order.index(d) for d in range(x.ndim))
    kept = x.ndim - len(dims)

    def flat(v: V) -> V:
        moved = permute(v, dims=order)
        result: V = reshape(moved, shape=(*moved.shape[:kept], -1 if moved.spec.size else 0))
        return result

    line, cotangent, wide = flat(x), flat(c), flat(g)
    x_before, x_behind = _shifted(line, kept, 1, 1), _shifted(_flipped(line, kept), kept, 1, 1)
    before = scan_prod(x_before, dim=kept)
    behind = _flipped(scan_prod(x_behind, dim=kept), kept)
    by_others = conjugate(cotangent) * wide
    left = _exactly(by_others * conjugate(behind), x_before, kept)
    right = _exactly(_flipped(by_others * conjugate(before), kept), x_behind, kept)
    by_line = _shifted(left, kept, -1, 0) + _flipped(_shifted(right, kept, -1, 0), kept)

    def whole(v: V) -> V:
        result: V = permute(reshape(v, shape=tuple(x.shape[d] for d in order)), dims=back)
        return result

    return None, None, whole(cotangent * before * behind), whole(by_line)


others_of: Primitive = declare(
    Primitive(
        name="others_of",
        arity=4,
        attrs={"dims": Attr("ints", doc="the dims of the product")},
        grad_name="ProdBackwardBackward0",
        doc="(a, b, g, x): a / x, and b where x is 0; with a and b made of the g and x of a product, its derivative.",
        spec=_others_spec,
        kernel=_others_kernel,
        vjp=_others_vjp,
        axes=pointwise_axes,
        cost=lambda specs, out, attrs: 4.0 * out.size,
    )
)
