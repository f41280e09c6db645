"""PyTorch's functions that change shapes, composed of the layout primitives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AxisError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Specs, Vjp, declare
from gradmesh_engine.ops.layout import Ints, expand, flip, inferred_shape, normal_dim, normal_dims, permute, reshape
from gradmesh_engine.ops.regions import concat, narrowed
from gradmesh_engine.ops.windows import windows

GradName = str | Callable[[Specs, Mapping[str, AttrValue]], str]


def composite(
    name: str,
    body: Callable[..., Any],
    *,
    arity: int | tuple[int, int] = 1,
    attrs: Mapping[str, Attr] | None = None,
    grad_name: GradName = "",
    vjp: Vjp | None = None,
    doc: str,
) -> Composite:
    """Declare a composite."""
    return declare(
        Composite(name=name, arity=arity, attrs=attrs or {}, grad_name=grad_name, doc=doc, body=body, vjp=vjp)
    )


def reshaped(x: V, *shape: int) -> V:
    """`x` under another shape."""
    result: V = reshape(x, shape=shape)
    return result


DIM = Attr("int", doc="counted from the end when negative")

# --- the same elements under another shape --------------------------------------------------------


def _flatten(x: V, *, start_dim: int, end_dim: int) -> V:
    first, last = normal_dim(start_dim, x.ndim), normal_dim(end_dim, x.ndim)
    if first > last:
        raise ShapeError(
            "flatten() has invalid args: start_dim cannot come after end_dim", got=f"{start_dim}, {end_dim}"
        )
    shape = x.shape or (1,)
    return reshaped(x, *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def _unflatten(x: V, *, dim: int, sizes: Ints) -> V:
    dim = normal_dim(dim, x.ndim)
    if not x.ndim or not sizes:
        raise ShapeError("unflatten: sizes must be non-empty and the tensor must have a dim", got=str(list(sizes)))
    return reshaped(x, *x.shape[:dim], *inferred_shape(sizes, x.shape[dim]), *x.shape[dim + 1 :])


def _squeeze(x: V, *, dim: Ints | None, several: bool | None) -> V:
    dims = range(x.ndim) if dim is None else normal_dims(dim, x.ndim)
    return reshaped(x, *(size for d, size in enumerate(x.shape) if size != 1 or d not in dims))


def _squeeze_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    dims: Any = attrs.get("dim")
    if dims is None:
        return "SqueezeBackward0"
    return "SqueezeBackward2" if attrs.get("several") or len(dims) > 1 else "SqueezeBackward1"


def unsqueezed(x: V, dim: int) -> V:
    """`x` with a dim of size 1 put before `dim`."""
    dim = normal_dim(dim, x.ndim + 1)
    return reshaped(x, *x.shape[:dim], 1, *x.shape[dim:])


view = composite(
    "view",
    lambda x, shape: reshape(x, shape=shape),
    attrs={"shape": Attr("ints", doc="one size may be -1")},
    grad_name="ViewBackward0",
    doc="The same elements under another shape.",
)
flatten = composite(
    "flatten",
    _flatten,
    attrs={"start_dim": Attr("int", 0), "end_dim": Attr("int", -1)},
    grad_name="ViewBackward0",
    doc="Merges the dims start_dim..end_dim.",
)
unflatten = composite(
    "unflatten",
    _unflatten,
    attrs={"dim": DIM, "sizes": Attr("ints", doc="one size may be -1")},
    grad_name="ViewBackward0",
    doc="Splits a dim into several.",
)
squeeze = composite(
    "squeeze",
    _squeeze,
    attrs={
        "dim": Attr("ints", None, "all dims when absent"),
        "several": Attr("bool", None, "dims were given as a sequence"),
    },
    grad_name=_squeeze_name,
    doc="Removes dims of size 1.",
)
unsqueeze = composite(
    "unsqueeze",
    lambda x, dim: unsqueezed(x, dim),
    attrs={"dim": DIM},
    grad_name="UnsqueezeBackward0",
    doc="Puts a dim of size 1 before dim.",
)

# --- another order of dims ------------------------------------------------------------------------


def swapped(x: V, dim0: int, dim1: int) -> V:
    """`x` with two dims exchanged."""
    a, b = normal_dim(dim0, x.ndim), normal_dim(dim1, x.ndim)
    if a == b:
        return x
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    result: V = permute(x, dims=tuple(order))
    return result


def _t(x: V) -> V:
    if x.ndim > 2:
        raise ShapeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D", got=str(x.spec))
    return swapped(x, 0, 1) if x.ndim == 2 else reshaped(x, *x.shape)


def _movedim(x: V, *, source: Ints, destination: Ints) -> V:
    if len(source) != len(destination):
        raise ShapeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same "
            f"number of dims as destination ({list(destination)} dims)"
        )
    sources, targets = normal_dims(source, x.ndim), normal_dims(destination, x.ndim)
    rest = iter(d for d in range(x.ndim) if d not in sources)
    order = tuple(sources[targets.index(d)] if d in targets else next(rest) for d in range(x.ndim))
    result: V = permute(x, dims=order)
    return result


for _name in ("transpose", "swapaxes", "swapdims"):
    composite(
        _name,
        lambda x, dim0, dim1: swapped(x, dim0, dim1),
        attrs={"dim0": DIM, "dim1": DIM},
        grad_name="TransposeBackward0",
        doc="Exchanges two dims.",
    )
composite("t", _t, grad_name="TBackward0", doc="The transpose of a matrix.")
for _name in ("movedim", "moveaxis"):
    composite(
        _name,
        _movedim,
        attrs={"source": Attr("ints"), "destination": Attr("ints")},
        grad_name="PermuteBackward0",
        doc="Moves dims to other places; the others keep their order.",
    )

# --- the same elements several times --------------------------------------------------------------


def repeated(x: V, repeats: Ints) -> V:
    """`x` laid side by side `repeats` times along each dim."""
    lead = len(repeats) - x.ndim
    if lead < 0:
        raise ShapeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor",
            expected=f"at least {x.ndim} numbers",
            got=str(list(repeats)),
        )
    if any(n < 0 for n in repeats):
        raise ShapeError(f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}")
    sizes = (1,) * lead + x.shape
    # Dims that are not repeated stay as they are, so that they can still be split.
    narrow: list[int] = []
    wide: list[int] = []
    for n, size in zip(repeats, sizes, strict=True):
        if n != 1 and size != 1:
            narrow, wide = [*narrow, 1], [*wide, n]
        narrow, wide = [*narrow, size], [*wide, n if size == 1 else size]
    every = expand(reshaped(x, *narrow), shape=tuple(wide))
    return reshaped(every, *(n * size for n, size in zip(repeats, sizes, strict=True)))


def _repeat_interleave(x: V, *, repeats: int, dim: int | None) -> V:
    if repeats < 0:
        raise ShapeError("repeats can not be negative", got=str(repeats))
    if dim is None:
        x, dim = reshaped(x, -1) if x.spec.size else reshaped(x, 0), 0
    dim = normal_dim(dim, x.ndim)
    inner = unsqueezed(x, dim + 1)
    wide = expand(inner, shape=(*x.shape[: dim + 1], repeats, *x.shape[dim + 1 :]))
    return reshaped(wide, *x.shape[:dim], x.shape[dim] * repeats, *x.shape[dim + 1 :])


composite(
    "expand_as",
    lambda x, other: expand(x, shape=other.shape),
    arity=2,
    grad_name="ExpandBackward0",
    doc="Broadcasts to the shape of the other operand.",
)
composite(
    "broadcast_to",
    lambda x, shape: expand(x, shape=shape),
    attrs={"shape": Attr("ints")},
    grad_name="ExpandBackward0",
    doc="Broadcasts to a shape.",
)
composite(
    "repeat",
    lambda x, repeats: repeated(x, repeats),
    attrs={"repeats": Attr("ints", doc="one per dim of the result")},
    grad_name="RepeatBackward0",
    doc="Lays copies side by side.",
)
composite(
    "tile",
    lambda x, dims: repeated(x, (1,) * (x.ndim - len(dims)) + dims),
    attrs={"dims": Attr("ints", doc="of the trailing dims when there are fewer")},
    grad_name="RepeatBackward0",
    doc="Lays copies side by side.",
)
composite(
    "repeat_interleave",
    _repeat_interleave,
    attrs={"repeats": Attr("int"), "dim": Attr("int", None, "of the flattened tensor when absent")},
    grad_name="ViewBackward0",
    doc="Repeats every element along a dim.",
)

# --- another order of elements --------------------------------------------------------------------


def _flipped(x: V, *, at_least: int, name: str, dim: int) -> V:
    if x.ndim < at_least:
        raise ShapeError(f"Input must be >= {at_least}-d.", op=name, got=str(x.spec))
    result: V = flip(x, dims=(dim,))
    return result


def _roll(x: V, *, shifts: Ints, dims: Ints) -> V:
    if not shifts:
        raise ShapeError("`shifts` required")
    if not dims and len(shifts) == 1:
        flat = reshaped(x, x.spec.size)
        return reshaped(_roll(flat, shifts=shifts, dims=(0,)), *x.shape)
    if len(dims) != len(shifts):
        raise ShapeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    for shift, dim in zip(shifts, dims, strict=True):
        if not x.ndim:
            raise AxisError("Dimension specified as 0 but tensor has no dimensions", got=str(list(dims)))
        dim = normal_dim(dim, x.ndim)
        size = x.shape[dim]
        cut = -shift % size if size else 0
        if cut:
            x = concat(narrowed(x, dim, cut, size), narrowed(x, dim, 0, cut), dim=dim)
    return x


def _rot90(x: V, *, k: int, dims: Ints) -> V:
    if len(dims) != 2:
        raise ShapeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if x.ndim < 2:
        raise ShapeError(f"expected total dims >= 2, but got total dims = {x.ndim}")
    if normal_dim(dims[0], x.ndim) == normal_dim(dims[1], x.ndim):
        raise ShapeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    a, b = normal_dims(dims, x.ndim)
    turns = k % 4
    if turns == 2:
        turned: V = flip(x, dims=(a, b))
        return turned
    if turns == 1:
        return swapped(flip(x, dims=(b,)), a, b)
    return flip(swapped(x, a, b), dims=(b,)) if turns else reshaped(x, *x.shape)


composite(
    "fliplr",
    lambda x: _flipped(x, at_least=2, name="fliplr", dim=1),
    grad_name="FlipBackward0",
    doc="Reverses dim 1.",
)
composite(
    "flipud",
    lambda x: _flipped(x, at_least=1, name="flipud", dim=0),
    grad_name="FlipBackward0",
    doc="Reverses dim 0.",
)
composite(
    "roll",
    _roll,
    attrs={"shifts": Attr("ints"), "dims": Attr("ints", (), "of the flattened tensor when empty")},
    grad_name="RollBackward0",
    doc="Shifts elements along dims; what leaves at one end enters at the other.",
)
composite(
    "rot90",
    _rot90,
    attrs={"k": Attr("int", 1), "dims": Attr("ints", (0, 1))},
    grad_name="Rot90Backward0",
    doc="Rotates by k quarter turns in the plane of two dims.",
)

# --- parts ----------------------------------------------------------------------------------------


def _narrow(x: V, *, dim: int, start: int, length: int) -> V:
    if not x.ndim:
        raise ShapeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise ShapeError("narrow(): length must be non-negative.", got=str(length))
    dim = normal_dim(dim, x.ndim)
    size = x.shape[dim]
    if not -size <= start <= size:
        raise AxisError(
            f"start out of range (expected to be in range of [{-size}, {size}], but got {start})", got=str(start)
        )
    start += size if start < 0 else 0
    if start + length > size:
        raise ShapeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return narrowed(x, dim, start, start + length)


def _select(x: V, *, dim: int, index: int) -> V:
    if not x.ndim:
        raise AxisError("select() cannot be applied to a 0-dim tensor.")
    dim = normal_dim(dim, x.ndim)
    size = x.shape[dim]
    if not -size <= index < size:
        raise AxisError(
            f"select(): index {index} out of range for tensor of size {list(x.shape)} at dimension {dim}",
            expected=f"{-size} to {size - 1}",
            got=str(index),
        )
    index %= size
    return reshaped(narrowed(x, dim, index, index + 1), *x.shape[:dim], *x.shape[dim + 1 :])


def _slice(x: V, *, dim: int, start: int | None, end: int | None, step: int) -> V:
    if not x.ndim:
        raise AxisError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise ShapeError("slice step must be positive", expected="at least 1", got=str(step), remedy="use flip")
    dim = normal_dim(dim, x.ndim)
    first, last, _ = slice(start, end).indices(x.shape[dim])
    return narrowed(x, dim, first, max(first, last), step)


def _unfold(x: V, *, dim: int, size: int, step: int) -> V:
    dim = normal_dim(dim, x.ndim)
    have = x.shape[dim] if x.ndim else 1
    if not 0 <= size <= have:
        raise ShapeError(
            f"maximum size for tensor at dimension {dim} is {have} but size is {size}",
            expected=f"at most {have}",
            got=str(size),
        )
    if step <= 0:
        raise ShapeError(f"step is {step} but must be > 0", got=str(step))
    if not x.ndim:
        return reshaped(x, size)
    if size == 0:
        count = have // step + 1
        return reshaped(narrowed(x, dim, 0, 0), *x.shape[:dim], count, *x.shape[dim + 1 :], 0)
    seen = windows(_movedim(x, source=(dim,), destination=(-1,)), kernel=(size,), stride=(step,), dilation=(1,))
    return _movedim(seen, source=(-1,), destination=(dim,))


composite(
    "narrow",
    _narrow,
    attrs={"dim": DIM, "start": Attr("int"), "length": Attr("int")},
    grad_name="SliceBackward0",
    doc="x[start : start + length] along a dim.",
)
select = composite(
    "select",
    _select,
    attrs={"dim": DIM, "index": Attr("int", doc="counted from the end when negative")},
    grad_name="SelectBackward0",
    doc="x[index] along a dim, which is removed.",
)
slice_ = composite(
    "slice",
    _slice,
    attrs={
        "dim": Attr("int", 0),
        "start": Attr("int", None),
        "end": Attr("int", None),
        "step": Attr("int", 1),
    },
    grad_name="SliceBackward0",
    doc="x[start:end:step] along a dim, with Python's rules.",
)
composite(
    "unfold",
    _unfold,
    attrs={"dim": DIM, "size": Attr("int"), "step": Attr("int")},
    grad_name="UnfoldBackward0",
    doc="All slices of a size along a dim; the slices become the last dim.",
)


def _parts(x: V, dim: int, sizes: Iterable[int]) -> tuple[V, ...]:
    parts = []
    start = 0
    for size in sizes:
        parts.append(narrowed(x, dim, start, start + size))
        start += size
    return tuple(parts)


def _rejoin(g: Any, y: Any, x: V, *, dim: int, **_: Any) -> Sequence[V | None]:
    # One concatenation, where the mechanical derivative would add up one padded tensor per part.
    gs, ys = (g, y) if isinstance(g, (tuple, list)) else ((g,), (y,))
    parts = [
        constant(x, 0, part.shape) if cotangent is None else cotangent for cotangent, part in zip(gs, ys, strict=True)
    ]
    return (concat(*parts, dim=normal_dim(dim, x.ndim)),)


def _split(x: V, *, split_size: int, dim: int) -> tuple[V, ...]:
    dim = _split_dim("split", x, dim)
    size = x.shape[dim]
    if split_size < 0 or (split_size == 0 and size != 0):
        raise ShapeError(
            f"split expects split_size be {'non-negative' if split_size < 0 else 'greater than 0'}, but got "
            f"split_size={split_size}",
            got=str(split_size),
        )
    count = max(1, -(-size // split_size)) if split_size else 1
    return _parts(x, dim, (min(split_size, size - i * split_size) for i in range(count)))


def _split_dim(name: str, x: V, dim: int) -> int:
    if not x.ndim:
        raise ShapeError(f"{name} expects at least a 1-dimensional tensor")
    return normal_dim(dim, x.ndim)


def _split_with_sizes(x: V, *, split_sizes: Ints, dim: int) -> tuple[V, ...]:
    dim = _split_dim("split_with_sizes", x, dim)
    if sum(split_sizes) != x.shape[dim] or any(n < 0 for n in split_sizes):
        raise ShapeError(
            f"split_with_sizes expects split_sizes to sum exactly to {x.shape[dim]} (input tensor's size at dimension "
            f"{dim}), but got split_sizes={list(split_sizes)}",
            expected=f"sizes that sum to {x.shape[dim]}",
            got=str(list(split_sizes)),
        )
    return _parts(x, dim, split_sizes)


def _chunk(x: V, *, chunks: int, dim: int) -> tuple[V, ...]:
    dim = _split_dim("chunk", x, dim)
    if chunks <= 0:
        raise ShapeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}", got=str(chunks))
    size = x.shape[dim]
    each = -(-size // chunks)
    if each == 0:
        return _parts(x, dim, repeat(0, chunks))
    return _split(x, split_size=each, dim=dim)


def _tensor_split(x: V, *, indices: Ints, sections: int | None, dim: int) -> tuple[V, ...]:
    dim = _split_dim("tensor_split", x, dim)
    size = x.shape[dim]
    if sections is not None:
        if sections <= 0:
            raise ShapeError(f"number of sections must be larger than 0, got {sections}", got=str(sections))
        each, larger = divmod(size, sections)
        return _parts(x, dim, (each + (i < larger) for i in range(sections)))
    bounds = [0, *(slice(0, i).indices(size)[1] for i in indices), size]
    return tuple(narrowed(x, dim, a, max(a, b)) for a, b in zip(bounds, bounds[1:], strict=False))


def _unbind(x: V, *, dim: int) -> tuple[V, ...]:
    if not x.ndim:
        raise AxisError(f"Dimension specified as {dim} but tensor has no dimensions")
    dim = normal_dim(dim, x.ndim)
    return tuple(_select(x, dim=dim, index=i) for i in range(x.shape[dim]))


def _unbind_vjp(g: Any, y: Any, x: V, *, dim: int) -> Sequence[V | None]:
    dim = normal_dim(dim, x.ndim)
    gs, ys = (g, y) if isinstance(g, (tuple, list)) else ((g,), (y,))
    parts = [
        constant(x, 0, part.shape) if cotangent is None else cotangent for cotangent, part in zip(gs, ys, strict=True)
    ]
    return (concat(*(unsqueezed(part, dim) for part in parts), dim=dim),)


composite(
    "split",
    _split,
    attrs={"split_size": Attr("int"), "dim": Attr("int", 0)},
    grad_name="SplitBackward0",
    vjp=_rejoin,
    doc="Parts of a size along a dim; the last may be smaller.",
)
composite(
    "split_with_sizes",
    _split_with_sizes,
    attrs={"split_sizes": Attr("ints"), "dim": Attr("int", 0)},
    grad_name="SplitWithSizesBackward0",
    vjp=_rejoin,
    doc="Parts of given sizes along a dim.",
)
composite(
    "chunk",
    _chunk,
    attrs={"chunks": Attr("int"), "dim": Attr("int", 0)},
    grad_name="SplitBackward0",
    vjp=_rejoin,
    doc="At most a number of parts of equal size along a dim.",
)
composite(
    "tensor_split",
    _tensor_split,
    attrs={"indices": Attr("ints", ()), "sections": Attr("int", None, "instead of indices"), "dim": Attr("int", 0)},
    grad_name="SliceBackward0",
    doc="Parts between indices, or a number of parts whose sizes differ by at most one.",
)
composite(
    "unbind",
    _unbind,
    attrs={"dim": Attr("int", 0)},
    grad_name="UnbindBackward0",
    vjp=_unbind_vjp,
    doc="The slices along a dim, which is removed.",
)
