"""Pointwise primitives: one builder makes them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, Vjp, declare, primitive_of


def broadcast_shapes(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """NumPy's broadcasting rule. Raises ShapeError with PyTorch's wording."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size == result[i] or size == 1:
                continue
            if result[i] != 1:
                raise ShapeError(
                    f"The size of tensor a ({result[i]}) must match the size of tensor b ({size}) "
                    f"at non-singleton dimension {i}",
                    expected="shapes that broadcast together",
                    got=" and ".join(str(list(s)) for s in shapes),
                    remedy="reshape or expand one operand",
                )
            result[i] = size
    return tuple(result)


def pointwise_axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    """Every dim maps; a broadcast operand takes no part in the dims it lacks."""
    factors = []
    for dim, size in enumerate(out.shape):
        operands = []
        for spec in specs:
            own = dim - (out.ndim - spec.ndim)
            operands.append(own if own >= 0 and (spec.shape[own] == size) else None)
        factors.append(Factor(tuple(operands), dim))
    return factors


def same(dtype: np.dtype) -> np.dtype:
    """Result dtype rule: the dtype the operands were promoted to."""
    return dtype


def to_bool(dtype: np.dtype) -> np.dtype:
    """Result dtype rule of comparisons."""
    return dtypes.bool_


def floating(dtype: np.dtype) -> np.dtype:
    """Operand dtype rule of functions with values in the reals: ints become the default float."""
    return dtypes.DEFAULT if dtypes.category(dtype) <= dtypes.INT else dtype


def pointwise(
    name: str,
    kernel: np.ufunc | Callable[[Site], Callable[..., Any]],
    *,
    arity: int = 1,
    vjp: Vjp | None = None,
    compute: Callable[[np.dtype], np.dtype] = same,
    result: Callable[[np.dtype], np.dtype] = same,
    allowed: Callable[[np.dtype], bool] = lambda dtype: True,
    attrs: Mapping[str, Attr] | None = None,
    cost: float = 1.0,
    grad_name: str = "",
    doc: str = "",
) -> Primitive:
    """Declare a pointwise primitive.

    Operands are promoted together (torch.result_type), then `compute` gives the dtype they are
    converted to and `result` the dtype of the outcome. `cost` is in adds per element.
    """

    def spec(specs: Specs, **_: AttrValue) -> TensorSpec:
        common = dtypes.result_type([(s.dtype, 2 if s.shape else 1) for s in specs])
        if not allowed(common):
            raise DTypeError(
                f'"{name}" not implemented for {common.name!r}', op=name, got=common.name, remedy="cast the operand"
            )
        return TensorSpec(broadcast_shapes([s.shape for s in specs]), result(compute(common)))

    def prepare(operands: Sequence[V], _: Mapping[str, AttrValue]) -> Sequence[V]:
        expand, convert = primitive_of("expand"), primitive_of("convert")
        common = compute(dtypes.result_type([(v.dtype, 2 if v.shape else 1) for v in operands]))
        shape = broadcast_shapes([v.shape for v in operands])
        return [expand(convert(v, dtype=common.name), shape=shape) for v in operands]

    make = (lambda site: kernel) if isinstance(kernel, np.ufunc) else kernel
    return declare(
        Primitive(
            name=name,
            arity=arity,
            attrs=attrs or {},
            grad_name=(grad_name or f"{name.capitalize()}Backward0") if vjp else "",
            doc=doc,
            spec=spec,
            kernel=make,
            vjp=vjp,
            axes=pointwise_axes,
            cost=lambda specs, out, attrs: cost * out.size,
            cheap=True,
            inplace=True,
            prepare=prepare,
        )
    )


# --- arithmetic -----------------------------------------------------------------------------------

add = pointwise("add", np.add, arity=2, vjp=lambda g, y, a, b: (g, g))
