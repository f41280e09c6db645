"""Products of vectors, matrices and batches of them, composed of the contraction."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V
from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops.base import Attr, Composite, Specs, declare, lookup
from gradmesh_engine.ops.contract import contract
from gradmesh_engine.ops.factors import (
    fit_any,
    fit_batches,
    fit_matrices,
    fit_matrix_and_vector,
    fit_vectors,
    whole,
)
from gradmesh_engine.ops.layout import normal_dims
from gradmesh_engine.ops.pointwise import convert
from gradmesh_engine.ops.reduce import reduce_sum

_LETTERS = string.ascii_letters
# Half of the letters, but for three that label what is not a batch.
_MOST_DIMS = 23

# --- pieces ---------------------------------------------------------------------------------------


def product(name: str, a: V, b: V, spec: str) -> V:
    """The contraction of two operands of one dtype; 16-bit floats accumulate in float32.

    Raises DTypeError.
    """
    if a.dtype != b.dtype:
        raise DTypeError(
            f"expected m1 and m2 to have the same dtype, but got: {dtypes.spelling(a.dtype)} != "
            f"{dtypes.spelling(b.dtype)}",
            expected=a.dtype.name,
            got=b.dtype.name,
            remedy="cast one operand",
        )
    if a.dtype == dtypes.bool_:
        raise DTypeError(dtypes.refusal(name, dtypes.bool_), got="bool", remedy="cast the operands")
    if not dtypes.is_half(a.dtype):
        result: V = contract(a, b, spec=spec)
        return result
    wide = contract(convert(a, dtype="float32"), convert(b, dtype="float32"), spec=spec)
    result = convert(wide, dtype=a.dtype.name)
    return result


def _rank(name: str, v: V, ndim: int, role: str) -> None:
    if v.ndim != ndim:
        raise ShapeError(
            f"{name}: {role} must be a {'matrix' if ndim == 2 else 'vector' if ndim == 1 else f'{ndim}D tensor'}, "
            f"but got a {v.ndim}D tensor",
            expected=f"{ndim} dims",
            got=str(list(v.shape)),
        )


def _some_dims(name: str, *operands: V, least: int = 1) -> None:
    """Raises ShapeError for operands without dims, or with more than there are letters to label them with."""
    for v in operands:
        if not least <= v.ndim <= _MOST_DIMS:
            raise ShapeError(
                f"{name}: an operand has {v.ndim} dims", expected=f"{least} to {_MOST_DIMS}", got=str(v.ndim)
            )


def _inner(name: str, a: V, b: V, da: int, db: int) -> None:
    if a.shape[da] != b.shape[db]:
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied "
            f"({'x'.join(map(str, a.shape))} and {'x'.join(map(str, b.shape))})",
            op=name,
            expected=f"a dim of size {a.shape[da]}",
            got=f"size {b.shape[db]}",
            remedy="transpose or reshape one operand",
        )


# --- matmul ---------------------------------------------------------------------------------------


def _matmul(a: V, b: V, turned: bool | None) -> V:
    if not a.ndim or not b.ndim:
        raise ShapeError(
            f"both arguments to matmul need to be at least 1D, but they are {a.ndim}D and {b.ndim}D",
            expected="at least 1 dim each",
            got=f"{list(a.shape)} and {list(b.shape)}",
        )
    _some_dims("matmul", a, b)
    fit_any(a, b)
    rows = "X" if a.ndim > 1 else ""
    columns = "Z" if b.ndim > 1 else ""
    a, b, left, right, batch = _batched(a, b, a.shape[:-2], b.shape[:-2])
    return product("matmul", a, b, f"{left}{rows}Y,{right}Y{columns}->{batch}{rows}{columns}")


def _batched(a: V, b: V, over_a: Sequence[int], over_b: Sequence[int]) -> tuple[V, V, str, str, str]:
    """Label the leading batch dims; an operand drops those of size 1 it would be repeated along."""
    count = max(len(over_a), len(over_b))
    sizes_a = [1] * (count - len(over_a)) + list(over_a)
    sizes_b = [1] * (count - len(over_b)) + list(over_b)
    labels_a = labels_b = ""
    for i, (x, y) in enumerate(zip(sizes_a, sizes_b, strict=True)):
        if x != y and 1 not in (x, y):
            raise ShapeError(
                f"The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {i}",
                expected="batch dims that broadcast together",
                got=f"{list(a.shape)} and {list(b.shape)}",
            )
        has_a, has_b = i >= count - len(over_a), i >= count - len(over_b)
        if has_a and (x != 1 or y == 1):
            labels_a += _LETTERS[i]
        if has_b and (y != 1 or x == 1):
            labels_b += _LETTERS[i]
    reshape = lookup("reshape")
    kept_a = tuple(sizes_a[_LETTERS.index(label)] for label in labels_a)
    kept_b = tuple(sizes_b[_LETTERS.index(label)] for label in labels_b)
    a = reshape(a, shape=kept_a + a.shape[len(over_a) :])
    b = reshape(b, shape=kept_b + b.shape[len(over_b) :])
    batch = "".join(label for label in _LETTERS[:count] if label in labels_a or label in labels_b)
    return a, b, labels_a, labels_b, batch


def _matmul_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    if attrs.get("turned"):
        a, b = specs
        # Turned back, it is copied where that makes a difference.
        moves = a.ndim > 1 and a.shape[-2] > 1 and b.shape[-1] > 1 and all(b.shape[:-2])
        return "CloneBackward0" if moves else "TransposeBackward0"
    return {(1, 1): "DotBackward0", (2, 1): "MvBackward0", (1, 2): "SqueezeBackward4", (2, 2): "MmBackward0"}.get(
        (specs[0].ndim, specs[1].ndim), "UnsafeViewBackward0"
    )


matmul = declare(
    Composite(
        name="matmul",
        arity=2,
        attrs={"turned": Attr("bool", None, "a client computes gradients of a, one matrix, which PyTorch turns round")},
        grad_name=_matmul_name,
        doc="The product of vectors, matrices, or batches of matrices whose batch dims broadcast.",
        body=_matmul,
    )
)


def _fixed(name: str, fit: Callable[[V, V], None], spec: str, title: str, doc: str) -> None:
    def body(a: V, b: V) -> V:
        fit(a, b)
        return product(name, a, b, spec)

    declare(Composite(name=name, arity=2, grad_name=f"{title}Backward0", doc=doc, body=body))


_fixed("dot", fit_vectors, "k,k->", "Dot", "The product of two vectors, a number.")
_fixed("mv", lambda a, b: fit_matrix_and_vector(a.shape, b.shape), "mk,k->m", "Mv", "A matrix times a vector.")
_fixed("mm", lambda a, b: fit_matrices(a.shape, b.shape), "mk,kn->mn", "Mm", "A matrix times a matrix.")
_fixed(
    "bmm",
    lambda a, b: fit_batches(a.shape, b.shape),
    "bmk,bkn->bmn",
    "Bmm",
    "A batch of matrices times a batch of matrices.",
)


def _outer(a: V, b: V) -> V:
    for v, role in ((a, "self"), (b, "vec2")):
        if v.ndim != 1:
            raise ShapeError(
                f"outer: Expected 1-D argument {role}, but got {v.ndim}-D", expected="1 dim", got=str(list(v.shape))
            )
    column: V = lookup("reshape")(a, shape=(a.shape[0], 1))
    return column * b


outer = declare(
    Composite(
        name="outer",
        arity=2,
        grad_name="MulBackward0",
        doc="Every element of a vector times every element of another.",
        body=_outer,
    )
)

# --- with a term added ----------------------------------------------------------------------------

_SCALES = {"beta": Attr("number", 1, "factor of the term"), "alpha": Attr("number", 1, "factor of the product")}


def _scaled(name: str, v: V, factor: Any) -> V:
    if factor == 1:
        return v
    if dtypes.category(v.dtype) <= dtypes.INT and not isinstance(factor, int):
        # As in PyTorch, a number becomes one of the dtype it multiplies.
        return _scaled(name, v, whole(factor, v.dtype))
    scaled: V = v * factor
    return scaled


def _added(name: str) -> Callable[..., V]:
    def body(term: V, a: V, b: V, beta: Any, alpha: Any) -> V:
        if name == "addmm":
            fit_matrices(a.shape, b.shape, ("mat1", "mat2"))
        y = _scaled(name, lookup("mm" if name == "addmm" else "bmm")(a, b), alpha)
        if beta == 0:
            # As in BLAS, the term does not count then, even where it is NaN.
            return y
        if term.dtype != y.dtype:
            raise DTypeError(
                f"{name}: term and product must have the same dtype, but got: {term.dtype.name} != {y.dtype.name}",
                expected=y.dtype.name,
                got=term.dtype.name,
            )
        scaled: V = lookup("expand")(_scaled(name, term, beta), shape=y.shape)
        return scaled + y

    return body


for _name, _what in (("addmm", "a matrix times a matrix"), ("baddbmm", "a batch of matrices times another")):
    declare(
        Composite(
            name=_name,
            arity=3,
            attrs=_SCALES,
            grad_name=f"{_name.capitalize()}Backward0",
            doc=f"beta times a term plus alpha times {_what}.",
            body=_added(_name),
        )
    )


def _linear(x: V, weight: V, bias: V | None = None) -> V:
    if not x.ndim:
        raise ShapeError("linear: the input needs at least 1 dim", got="0 dims")
    _some_dims("linear", x)
    _rank("linear", weight, 2, "weight")
    if x.shape[-1] != weight.shape[1]:
        rows = x.spec.size // max(x.shape[-1], 1)
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {weight.shape[1]}x{weight.shape[0]})",
            expected=f"an input whose last dim is {weight.shape[1]}",
            got=str(list(x.shape)),
        )
    lead = _LETTERS[: x.ndim - 1]
    y = product("linear", x, weight, f"{lead}y,zy->{lead}z")
    if bias is None:
        return y
    if bias.dtype != y.dtype:
        raise DTypeError("linear: bias has another dtype", expected=y.dtype.name, got=bias.dtype.name)
    return y + bias


def _linear_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    rank = specs[0].ndim
    if len(specs) == 3:
        return "AddmmBackward0" if rank == 2 else "ViewBackward0"
    return {1: "SqueezeBackward4", 2: "MmBackward0"}.get(rank, "UnsafeViewBackward0")


linear = declare(
    Composite(
        name="linear",
        arity=(2, 3),
        grad_name=_linear_name,
        doc="x times the transposed weight, plus bias when there is one.",
        body=_linear,
    )
)


def _bilinear(a: V, b: V, weight: V, bias: V | None = None) -> V:
    _some_dims("bilinear", a, b)
    _rank("bilinear", weight, 3, "weight")
    _inner("bilinear", a, weight, -1, 1)
    _inner("bilinear", b, weight, -1, 2)
    lead = _LETTERS[: a.ndim - 1]
    half = product("bilinear", a, weight, f"{lead}x,zxy->{lead}zy")
    y = product("bilinear", half, b, f"{lead}zy,{lead}y->{lead}z")
    return y if bias is None else y + bias


bilinear = declare(
    Composite(
        name="bilinear",
        arity=(3, 4),
        grad_name=lambda specs, attrs: "AddBackward0" if len(specs) == 4 else "ViewBackward0",
        doc="a times each matrix of the weight times b, plus bias when there is one.",
        body=_bilinear,
    )
)


def _collapsed(x: V, dim: int) -> V:
    """The sum over one dim, kept at size 1."""
    shape = tuple(1 if d == dim else n for d, n in enumerate(x.shape))
    result: V = lookup("reshape")(lookup("reduce_sum")(x, dims=(dim,)), shape=shape)
    return result


def _tensordot(a: V, b: V, dims_a: Sequence[int], dims_b: Sequence[int]) -> V:
    if len(dims_a) != len(dims_b):
        raise AxisError("tensordot: both dims lists must have the same length", got=f"{dims_a} and {dims_b}")
    _some_dims("tensordot", a, b, least=1 if dims_a else 0)
    left = list(_LETTERS[: a.ndim])
    right = list(_LETTERS[26 : 26 + b.ndim])
    pairs = zip(normal_dims(dims_a, a.ndim), normal_dims(dims_b, b.ndim), strict=True)
    for (at, bt), da, db in zip(pairs, dims_a, dims_b, strict=True):
        # A dim of size 1 meets any: the other is summed over.
        if a.shape[at] != b.shape[bt] and b.shape[bt] == 1:
            a = _collapsed(a, at)
        elif a.shape[at] != b.shape[bt] and a.shape[at] == 1:
            b = _collapsed(b, bt)
        if a.shape[at] != b.shape[bt]:
            raise ShapeError(
                f"contracted dimensions need to match, but first has size {a.shape[at]} in dim {da} and second has "
                f"size {b.shape[bt]} in dim {db}",
                got=f"{list(a.shape)} and {list(b.shape)}",
            )
        right[bt] = left[at]
    out = [x for x in left if x not in right] + [x for x in right if x not in left]
    return product("tensordot", a, b, f"{''.join(left)},{''.join(right)}->{''.join(out)}")


tensordot = declare(
    Composite(
        name="tensordot",
        arity=2,
        attrs={"dims_a": Attr("ints", doc="dims of the first operand"), "dims_b": Attr("ints", doc="of the second")},
        grad_name="ViewBackward0",
        doc="The sum over pairs of dims of the product of both operands.",
        body=_tensordot,
    )
)

# --- einsum ---------------------------------------------------------------------------------------


def _einsum_labels(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of the operands and of the result, an ellipsis spelled out with labels of its own.

    Raises AttributeTypeError, ShapeError.
    """
    text = equation.replace(" ", "")
    operands, arrow, out = text.partition("->")
    terms = operands.split(",")
    for term in (*terms, out):
        wrong = next((x for x in term.replace("...", "", 1) if x not in _LETTERS), None)
        if wrong is not None:
            raise AttributeTypeError(
                f"einsum(): invalid subscript given at index {equation.index(wrong)} in the equation string, "
                "subscripts must be in [a-zA-Z]",
                expected="letters, commas, '...' and '->'",
                got=equation,
            )
    if len(terms) != len(ranks):
        raise AttributeTypeError(
            f"einsum(): {'fewer' if len(ranks) < len(terms) else 'more'} operands were provided than specified in the "
            "equation",
            expected=str(len(terms)),
            got=str(len(ranks)),
        )
    free = [x for x in _LETTERS if x not in text]
    widest = 0
    for term, rank in zip(terms, ranks, strict=True):
        named = len(term.replace("...", ""))
        if named > rank or (named < rank and "..." not in term):
            raise ShapeError(
                "einsum(): the number of subscripts in the equation does not match the number of dimensions",
                expected=term,
                got=f"{rank} dims",
            )
        widest = max(widest, rank - named)
    if widest > len(free):
        raise ShapeError("einsum(): '...' stands for more dims than there are letters left", got=f"{widest} dims")
    dots = "".join(free[:widest])
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        spelled.append(term.replace("...", dots[len(dots) - count :]))
    if not arrow:
        every = "".join(terms).replace(".", "")
        out = "..." + "".join(sorted(x for x in set(every) if every.count(x) == 1))
        result = out.replace("...", dots)
    else:
        result = out.replace("...", dots)
    for x in result:
        if result.count(x) > 1:
            raise AttributeTypeError(
                f"einsum(): output subscript {x} appears more than once in the output", got=equation
            )
        if not any(x in term for term in spelled):
            raise AttributeTypeError(
                f"einsum(): output subscript {x} does not appear in the equation for any input operand", got=equation
            )
    return spelled, result


def _diagonals(x: V, labels: str) -> tuple[V, str]:
    """Take the diagonal of every pair of dims with one label."""
    while len(set(labels)) != len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        first, second = labels.index(label), labels.rindex(label)
        x = lookup("diagonal")(x, dim1=first, dim2=second)
        labels = "".join(c for i, c in enumerate(labels) if i not in (first, second)) + label
    return x, labels


def _summed(x: V, labels: str, keep: str) -> tuple[V, str]:
    """Sum over the labels nobody else needs."""
    dims = tuple(i for i, label in enumerate(labels) if label not in keep)
    if not dims:
        return x, labels
    whole = dtypes.category(x.dtype) <= dtypes.INT
    wide = convert(x, dtype="float32" if dtypes.is_half(x.dtype) else "int64" if whole else x.dtype.name)
    # Sums of whole numbers are int64.
    total = convert(reduce_sum(wide, dims=dims), dtype="int64" if whole else x.dtype.name)
    return total, "".join(label for label in labels if label in keep)


def _einsum(*operands: V, equation: str) -> V:
    terms, out = _einsum_labels(equation, [v.ndim for v in operands])
    sizes: dict[str, int] = {}
    for position, (v, labels) in enumerate(zip(operands, terms, strict=True)):
        for at, (label, size) in enumerate(zip(labels, v.shape, strict=True)):
            if sizes.setdefault(label, size) != size:
                if 1 not in (size, sizes[label]):
                    raise ShapeError(
                        f"einsum(): subscript {label} is repeated for operand {position} but the sizes don't match, "
                        f"{size} != {sizes[label]}"
                        if label in labels[:at]
                        else f"einsum(): subscript {label} has size {size} for operand {position} which does not "
                        f"broadcast with previously seen size {sizes[label]}",
                        expected=equation,
                        got=" and ".join(str(list(x.shape)) for x in operands),
                    )
                sizes[label] = max(size, sizes[label])
    pending: list[tuple[V, str]] = []
    for v, labels in zip(operands, terms, strict=True):
        # A dim of size 1 that meets a larger one is repeated along it, so its label may go.
        stays = [size == sizes[label] for size, label in zip(v.shape, labels, strict=True)]
        shape = tuple(size for size, stay in zip(v.shape, stays, strict=True) if stay)
        labels = "".join(label for label, stay in zip(labels, stays, strict=True) if stay)
        pending.append(_diagonals(lookup("reshape")(v, shape=shape), labels))
    # The labels that the result and the operands behind each one need.
    needed = [out]
    for _, labels in reversed(pending[2:]):
        needed.append("".join(dict.fromkeys(needed[-1] + labels)))
    (a, la) = pending[0]
    for b, lb in pending[1:]:
        others = needed.pop()
        a, la = _summed(a, la, lb + others)
        b, lb = _summed(b, lb, la + others)
        if len({v.dtype for v in operands}) == 1 and a.dtype != b.dtype:
            # One of them was summed, and is int64 for that.
            a, b = convert(a, dtype="int64"), convert(b, dtype="int64")
        result = "".join(label for label in dict.fromkeys(la + lb) if label in others)
        if not needed and set(result) == set(out):
            result = out
        a, la = product("einsum", a, b, f"{la},{lb}->{result}"), result
    y, labels = _summed(a, la, out)
    if labels != out:
        y = lookup("permute")(y, dims=tuple(labels.index(label) for label in out))
    return y


def _einsum_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    terms, out = _einsum_labels(str(attrs["equation"]), [s.ndim for s in specs])
    sums = bool(set("".join(terms)) - set(out))
    if len(terms) == 1:
        return "SumBackward1" if sums else "PermuteBackward0"
    return "ViewBackward0" if sums else "MulBackward0"


einsum = declare(
    Composite(
        name="einsum",
        arity=(1, -1),
        attrs={"equation": Attr("str", doc='like "bij,bjk->bik"; "..." stands for broadcast dims')},
        grad_name=_einsum_name,
        doc="Sums of products in Einstein's notation.",
        body=_einsum,
    )
)
