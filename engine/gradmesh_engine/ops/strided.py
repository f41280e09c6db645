"""The elements of a tensor in C order, read at strides."""

from __future__ import annotations

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import ShapeError
from gradmesh_engine.ops.base import Attr
from gradmesh_engine.ops.creation import iota
from gradmesh_engine.ops.indexing import take
from gradmesh_engine.ops.layout import Ints, expand
from gradmesh_engine.ops.shaping import composite, reshaped


def _as_strided(x: V, *, shape: Ints, stride: Ints, offset: int) -> V:
    if len(shape) != len(stride):
        raise ShapeError(
            f"mismatch in length of strides and shape: {len(stride)} and {len(shape)}", got=f"{list(stride)}"
        )
    if any(n < 0 for n in (*shape, *stride, offset)):
        raise ShapeError("as_strided: Negative strides are not supported", got=f"{list(stride)} from {offset}")
    need = 1 + offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if all(shape) else 0
    if need > x.spec.size:
        size = x.dtype.itemsize
        raise ShapeError(
            f"setStorage: sizes {list(shape)}, strides {list(stride)}, storage offset {offset}, and itemsize {size} "
            f"requiring a storage size of {need * size} are out of bounds for storage of size {x.spec.size * size}",
            expected=f"at most {x.spec.size} elements",
            got=str(need),
        )
    places = constant(x, offset, (1,) * len(shape), dtypes.int64)
    for dim, (n, step) in enumerate(zip(shape, stride, strict=True)):
        along = tuple(n if d == dim else 1 for d in range(len(shape)))
        places = places + iota.on(x.emitter, shape=along, dim=dim, start=0, step=step, dtype="int64")
    result: V = take(reshaped(x, x.spec.size), expand(places, shape=shape), dim=0, wrap=False)
    return result


composite(
    "as_strided",
    _as_strided,
    attrs={
        "shape": Attr("ints"),
        "stride": Attr("ints", doc="elements of the operand from one to the next along each dim"),
        "offset": Attr("int", 0, "elements before the first"),
    },
    grad_name="AsStridedBackward0",
    doc="The elements of the operand, in C order, read at strides.",
)
