"""Tensors from nothing: constants and ramps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.errors import AxisError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, declare


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


def _created(specs: Specs, *, shape: tuple[int, ...], dtype: str, **_: AttrValue) -> TensorSpec:
    return TensorSpec(checked_shape(shape), dtypes.parse(dtype))


def _every_dim(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
    return [Factor((), dim) for dim in range(out.ndim)]


# --- full -----------------------------------------------------------------------------------------


def _full_view(site: Site) -> Callable[[], np.ndarray]:
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
        spec=_created,
        view=_full_view,
        axes=_every_dim,
        cost=lambda specs, out, attrs: 0.0,
        cheap=True,
    )
)


# --- iota -----------------------------------------------------------------------------------------


def _iota_spec(specs: Specs, *, shape: tuple[int, ...], dim: int, dtype: str, **_: AttrValue) -> TensorSpec:
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
