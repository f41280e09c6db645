"""Products with a term added, of blocks and of vectors; distances; composed of the contraction and the norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Specs, declare, lookup
from gradmesh_engine.ops.factors import fit_batches, fit_matrix_and_vector, fit_vectors, whole
from gradmesh_engine.ops.layout import expand, normal_dim, reshape
from gradmesh_engine.ops.linalg import product
from gradmesh_engine.ops.numeric import absolute, sign
from gradmesh_engine.ops.pointwise import broadcast_shapes, conjugate, convert, meet
from gradmesh_engine.ops.reduce import reduce_sum
from gradmesh_engine.ops.regions import concat, narrowed, pad
from gradmesh_engine.ops.shaping import unsqueezed

# --- with a term added ----------------------------------------------------------------------------


def _scaled(name: str, v: V, factor: Any) -> V:
    if factor == 1:
        return v
    if dtypes.category(v.dtype) <= dtypes.INT and not isinstance(factor, int):
        # As in PyTorch, a number becomes one of the dtype it multiplies.
        return _scaled(name, v, whole(factor, v.dtype))
    return v * constant(v, bool(factor)) if v.dtype == dtypes.bool_ else v * factor


def _plus(name: str, multiply: Callable[[V, V], V], *, promotes: bool = False) -> Callable[..., V]:
    def body(term: V, a: V, b: V, beta: Any, alpha: Any) -> V:
        if not promotes and dtypes.category(a.dtype) <= dtypes.INT:
            # PyTorch drops the fractions of these factors, where it refuses those of others.
            beta, alpha = whole(beta, a.dtype), whole(alpha, a.dtype)
        y = _scaled(name, multiply(a, b), alpha)
        if not promotes and term.dtype != y.dtype:
            raise DTypeError(
                f"{name}: expected all operands to have the same dtype, but got {term.dtype.name} and {y.dtype.name}",
                expected=y.dtype.name,
                got=term.dtype.name,
            )
        # As in BLAS, a term with the factor 0 does not count, even where it is NaN.
        return y if beta == 0 else expand(_scaled(name, term, beta), shape=y.shape) + y

    return body


def _mv(a: V, b: V) -> V:
    fit_matrix_and_vector(a.shape, b.shape)
    return product("addmv", a, b, "mk,k->m")


def _bmm_sum(a: V, b: V) -> V:
    if a.ndim == b.ndim == 3 and a.shape[0] == b.shape[0] and a.shape[2] != b.shape[1]:
        raise ShapeError(
            f"Incompatible matrix sizes for bmm ({a.shape[1]}x{a.shape[2]} and {b.shape[1]}x{b.shape[2]})",
            expected=f"{a.shape[2]} rows",
            got=str(b.shape[1]),
        )
    fit_batches(a.shape, b.shape)
    return product("addbmm", a, b, "bmk,bkn->mn")


def _outer(a: V, b: V) -> V:
    for v, role in ((a, "vec1"), (b, "vec2")):
        if v.ndim != 1:
            raise ShapeError(
                f"addr: Expected 1-D argument {role}, but got {v.ndim}-D", expected="1 dim", got=str(list(v.shape))
            )
    return unsqueezed(a, 1) * b


for _name, _multiply, _promotes, _what in (
    ("addmv", _mv, False, "a matrix times a vector"),
    ("addbmm", _bmm_sum, False, "the sum of products of a batch of matrices with another"),
    ("addr", _outer, True, "the outer product of two vectors"),
):
    declare(
        Composite(
            name=_name,
            arity=3,
            attrs={
                "beta": Attr("number", 1, "factor of the term"),
                "alpha": Attr("number", 1, "factor of the product"),
            },
            grad_name=f"{_name.capitalize()}Backward0",
            doc=f"beta times a term plus alpha times {_what}.",
            body=_plus(_name, _multiply, promotes=_promotes),
        )
    )

# --- vectors and blocks ---------------------------------------------------------------------------


def _vdot(a: V, b: V) -> V:
    fit_vectors(a, b)
    return product("vdot", conjugate(a), b, "k,k->")


def _cross(a: V, b: V, dim: int) -> V:
    if a.ndim != b.ndim:
        raise ShapeError(
            f"linalg.cross: inputs must have the same number of dimensions. Got: {a.ndim} and {b.ndim}",
            expected=str(a.ndim),
            got=str(b.ndim),
        )
    given, dim = dim, normal_dim(dim, a.ndim)
    if a.ndim == 0 or a.shape[dim] != 3 or b.shape[dim] != 3:
        raise ShapeError(
            f"linalg.cross: inputs dimension {given} must have length 3. "
            f"Got {a.shape[dim] if a.ndim else 0} and {b.shape[dim] if a.ndim else 0}",
            expected="3",
            got=f"{list(a.shape)} and {list(b.shape)}",
        )
    common = meet((a.spec, b.spec)).name
    shape = broadcast_shapes([a.shape, b.shape])
    a, b = (expand(convert(v, dtype=common), shape=shape) for v in (a, b))

    def rolled(v: V, by: int) -> V:
        result: V = concat(narrowed(v, dim, by, 3), narrowed(v, dim, 0, by), dim=dim)
        return result

    return rolled(a, 1) * rolled(b, 2) - rolled(a, 2) * rolled(b, 1)


def _kron(a: V, b: V) -> V:
    rank = max(a.ndim, b.ndim)
    left, right = ((1,) * (rank - v.ndim) + v.shape for v in (a, b))
    pairs = list(zip(left, right, strict=True))
    wide = reshape(a, shape=tuple(n for x, _ in pairs for n in (x, 1)))
    result: V = reshape(
        wide * reshape(b, shape=tuple(n for _, y in pairs for n in (1, y))), shape=tuple(x * y for x, y in pairs)
    )
    return result


def _block_diag(*blocks: V) -> V:
    common = meet([v.spec for v in blocks])
    for v in blocks[1:]:
        common = dtypes.promote(common, v.dtype)
    matrices = []
    for index, v in enumerate(blocks):
        if v.ndim > 2:
            raise ShapeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {index} has {v.ndim} "
                "dimensions",
                expected="at most 2 dims",
                got=str(list(v.shape)),
            )
        matrices.append(convert(reshape(v, shape=(1,) * (2 - v.ndim) + v.shape), dtype=common.name))
    width = sum(m.shape[1] for m in matrices)
    rows, before = [], 0
    for m in matrices:
        after = width - before - m.shape[1]
        rows.append(pad(m, low=(0, before), high=(0, after), interior=(0, 0)))
        before += m.shape[1]
    result: V = concat(*rows, dim=0)
    return result


declare(
    Composite(
        name="vdot",
        arity=2,
        grad_name="VdotBackward0",
        doc="The product of the conjugate of a vector and another, a number.",
        body=_vdot,
    )
)
declare(
    Composite(
        name="linalg_cross",
        arity=2,
        attrs={"dim": Attr("int", -1, "the dim of size 3")},
        grad_name="LinalgCrossBackward0",
        doc="The cross product of vectors in three dimensions; the other dims broadcast.",
        body=_cross,
    )
)
declare(
    Composite(
        name="kron",
        arity=2,
        grad_name="UnsafeViewBackward0",
        doc="The Kronecker product: each element of the first operand times the second, side by side.",
        body=_kron,
    )
)
declare(
    Composite(
        name="reshape_alias",
        arity=1,
        attrs={"shape": Attr("ints")},
        grad_name="ReshapeAliasBackward0",
        doc="The same elements under another shape.",
        body=lambda x, shape: reshape(x, shape=shape),
    )
)
declare(
    Composite(
        name="block_diag",
        arity=(1, -1),
        grad_name="BlockDiagBackward0",
        doc="A matrix with the operands on its diagonal.",
        body=_block_diag,
    )
)

# --- distances ------------------------------------------------------------------------------------


def _cdist(a: V, b: V, p: float, by_products: bool) -> V:
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError("cdist only supports at least 2D tensors", got=f"{list(a.shape)} and {list(b.shape)}")
    if a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"X1 and X2 must have the same number of columns. X1: {a.shape[-1]} X2: {b.shape[-1]}",
            expected=str(a.shape[-1]),
            got=str(b.shape[-1]),
        )
    if p < 0:
        raise ShapeError("cdist only supports non-negative p values", got=str(p))
    off = unsqueezed(a, -2) - unsqueezed(b, -3)
    if not off.shape[-1]:
        return constant(off, 0, off.shape[:-1])
    if p == 0:
        # What counts elements has a derivative of zeros here, where the norm has none.
        counted: V = reduce_sum(absolute(sign(off)), dims=(off.ndim - 1,))
        return counted
    result: V = lookup("norm")(off, p=p, dim=(off.ndim - 1,))
    return result


def _cdist_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    return "ViewBackward0" if attrs["by_products"] else "CdistBackward0"


def _renorm(x: V, p: float, dim: int, maxnorm: float) -> V:
    dim = normal_dim(dim, x.ndim)
    if x.ndim < 2:
        raise ShapeError(f"renorm: input needs at least 2 dimensions, got {x.ndim} dimensions", got=str(list(x.shape)))
    wide = convert(x, dtype="float32") if dtypes.is_half(x.dtype) else x
    others = tuple(d for d in range(x.ndim) if d != dim)
    size = lookup("norm")(wide, p=p, dim=others, keepdim=True)
    factor = lookup("where")(
        lookup("gt")(size, constant(size, maxnorm)), maxnorm / (size + 1e-7), constant(size, 1, size.shape)
    )
    result: V = convert(wide * factor, dtype=x.dtype.name)
    return result


declare(
    Composite(
        name="cdist",
        arity=2,
        attrs={
            "p": Attr("float", 2.0),
            "by_products": Attr("bool", False, "PyTorch composes it of products, which shows in its grad_fn"),
        },
        grad_name=_cdist_name,
        doc="The p-norm distance of every row of the first operand from every row of the second.",
        body=_cdist,
    )
)
declare(
    Composite(
        name="dist",
        arity=2,
        attrs={"p": Attr("float", 2.0)},
        grad_name="DistBackward0",
        doc="The p-norm of the difference.",
        body=lambda a, b, p: lookup("norm")(a - b, p=p),
    )
)
declare(
    Composite(
        name="renorm",
        arity=1,
        attrs={"p": Attr("float"), "dim": Attr("int"), "maxnorm": Attr("float")},
        grad_name="RenormBackward0",
        doc="The slices along a dim, scaled down where their p-norm is above maxnorm.",
        body=_renorm,
    )
)
