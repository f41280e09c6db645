"""Tensors from nothing: constants and ramps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.arithmetic import ieee
from gradmesh_engine.errors import AxisError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Order, Primitive, Site, Specs, declare


def checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` itself. Raises ShapeError when a size is negative."""
    for size in shape:
        if size < 0:
            raise ShapeError(
                f"Trying to create tensor with negative dimension {size}: {list(shape)}",
                expected="sizes of at least 0",
                got=str(list(shape)),
            )
    return shape


def check_constant(value: Any, dtype: np.dtype) -> None:
    """Raises DTypeError unless `dtype` can hold `value`; integers wrap around as PyTorch's do."""
    wide = dtypes.category(dtype)
    if isinstance(value, complex):
        fits = wide == dtypes.COMPLEX
    elif isinstance(value, float):
        fits = wide != dtypes.INT or (math.isfinite(value) and abs(value) < 2**63)
    else:
        fits = wide != dtypes.INT or -(2**63) <= value < 2**63
    if not fits:
        raise DTypeError(
            f"value {value} cannot be converted to type {dtype.name}",
            expected=f"a value of {dtype.name}",
            got=str(value),
            remedy="choose another dtype",
        )


def _full_spec(specs: Specs, *, value: complex, **attrs: Any) -> TensorSpec:
    out = _created(specs, **attrs)
    check_constant(value, out.dtype)
    return out


def _created(specs: Specs, *, shape: tuple[int, ...], dtype: str, **_: AttrValue) -> TensorSpec:
    return TensorSpec(checked_shape(shape), dtypes.parse(dtype))


def _every_dim(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    return [Factor((), dim) for dim in range(out.ndim)]


# --- full -----------------------------------------------------------------------------------------


def _full_turned(attrs: Mapping[str, AttrValue], orders: Sequence[Order], result: Order) -> Mapping[str, AttrValue]:
    shape = attrs["shape"]
    assert isinstance(shape, tuple)
    return {**attrs, "shape": tuple(int(shape[d]) for d in result)}


def _full_view(site: Site) -> Callable[[], np.ndarray]:
    with ieee():
        constant = np.asarray(site.attrs["value"]).astype(site.out.dtype)
    result = np.broadcast_to(constant, site.out.shape)
    return lambda: result


full = declare(
    Primitive(
        name="full",
        arity=0,
        attrs={
            "value": Attr("number", doc="the element"),
            "shape": Attr("ints", ()),
            "dtype": Attr("dtype"),
        },
        doc="A constant, read through strides of 0.",
        spec=_full_spec,
        view=_full_view,
        axes=_every_dim,
        turned=_full_turned,
        cost=lambda specs, out, attrs: 0.0,
        cheap=True,
    )
)


# --- iota -----------------------------------------------------------------------------------------


def _iota_spec(
    specs: Specs, *, shape: tuple[int, ...], dim: int, start: complex, step: complex, dtype: str
) -> TensorSpec:
    for value in (start, step):
        if isinstance(value, int):
            check_constant(value, dtypes.int64)
        elif isinstance(value, complex):
            check_constant(value, dtypes.parse(dtype))
    if not 0 <= dim < len(shape):
        raise AxisError(f"iota runs along dim {dim} of {len(shape)}", expected=f"0 to {len(shape) - 1}", got=str(dim))
    return _created(specs, shape=shape, dtype=dtype)


def _iota_kernel(site: Site) -> Callable[..., None]:
    dim: Any = site.attrs["dim"]
    start: Any = site.attrs["start"]
    step: Any = site.attrs["step"]
    along = [1] * site.out.ndim
    along[dim] = site.out.shape[dim]
    ramp = np.arange(site.out.shape[dim]).reshape(along)
    moves = site.split == dim

    def run(out: np.ndarray, begin: int) -> None:
        index = ramp + begin if moves else ramp
        out[...] = index * step + start

    return run


iota = declare(
    Primitive(
        name="iota",
        arity=0,
        attrs={
            "shape": Attr("ints"),
            "dim": Attr("int", 0, "the dim along which the values grow"),
            "start": Attr("number", 0),
            "step": Attr("number", 1),
            "dtype": Attr("dtype"),
        },
        doc="start + step * (position along dim), computed in int64, float64 or complex128.",
        spec=_iota_spec,
        kernel=_iota_kernel,
        positional=True,
        axes=_every_dim,
        cost=lambda specs, out, attrs: 2.0 * out.size,
        cheap=True,
    )
)
