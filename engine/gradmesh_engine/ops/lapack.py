"""Primitives that factorize and solve: one LAPACK or BLAS call for each matrix of a batch.

A factorization has several results and a primitive has one, so the factors come side by side in the
last dim, one after the other, each in C order; `unpacked` takes them apart again. Integers among
them (pivots, `info`) are kept as floats, exactly. The batch dims map; the dims of a matrix are whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.blas import single_threaded
from gradmesh_engine.builder import V
from gradmesh_engine.dtypes import FLOAT
from gradmesh_engine.errors import AttributeTypeError, DTypeError, LinAlgError, OutOfRangeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Factor, Primitive, Site, Specs, Vjp, declare, lookup
from gradmesh_engine.ops.layout import permute, reshape
from gradmesh_engine.ops.pointwise import conjugate, convert
from gradmesh_engine.ops.regions import narrowed

Shape: TypeAlias = "tuple[int, ...]"
Where: TypeAlias = "Callable[[int], str]"
Routine: TypeAlias = "Callable[[Mapping[str, Any]], Callable[..., Sequence[np.ndarray]]]"

# --- what is accepted -----------------------------------------------------------------------------


def check_matrix(name: str, a: V, *, square: bool = False) -> None:
    """Raises ShapeError, DTypeError unless `a` is a batch of (square) matrices of floats."""
    if a.ndim < 2:
        raise ShapeError(
            f"{name}: The input tensor A must have at least 2 dimensions.",
            expected="a matrix, or a batch of them",
            got=str(list(a.shape)),
        )
    rows, columns = a.shape[-2:]
    if square and rows != columns:
        raise ShapeError(
            f"{name}: A must be batches of square matrices, but they are {rows} by {columns} matrices",
            expected=f"{rows} by {rows}",
            got=f"{rows} by {columns}",
        )
    if dtypes.category(a.dtype) < FLOAT or dtypes.is_half(a.dtype):
        raise DTypeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {a.dtype.name}",
            expected="float32, float64, complex64 or complex128",
            got=a.dtype.name,
            remedy="cast the operand",
        )


# --- the constructor ------------------------------------------------------------------------------


def _where(site: Site, start: int) -> Where:
    """Names the matrix with a position in the block: "(Batch element 3): ", or "" when there is but one."""
    dims = site.ins[0].ndim - 2
    batch, whole = site.ins[0].shape[:dims], site.global_shape[:dims]

    def name(local: int) -> str:
        if not batch:
            return ""
        index = [int(i) for i in np.unravel_index(local, batch)]
        if site.split is not None:
            index[site.split] += start
        return f"(Batch element {int(np.ravel_multi_index(index, whole))}): "

    return name


def _batched(site: Site, cores: Sequence[int], routine: Routine, packed: bool) -> Callable[..., None]:
    """A kernel that hands the matrices of the operands to the routine as (count, …) arrays."""
    run = routine(site.attrs)
    out_core = 1 if packed else 2
    count = math.prod(site.out.shape[: site.out.ndim - out_core])
    shapes = [(count, *spec.shape[spec.ndim - core :]) for spec, core in zip(site.ins, cores, strict=True)]

    def kernel(*args: Any) -> None:
        *ins, out, start = args
        results = run(*(x.reshape(shape) for x, shape in zip(ins, shapes, strict=True)), where=_where(site, start))
        if packed:
            flat = np.concatenate([np.reshape(r, (count, -1)) for r in results], axis=1) if count else np.empty(0)
            np.copyto(out, flat.reshape(out.shape), casting="unsafe")
        else:
            np.copyto(out, results[0].reshape(out.shape))

    return kernel


def matrix_op(
    name: str,
    routine: Routine,
    *,
    labels: Sequence[str] = ("mn",),
    attrs: Mapping[str, Attr] | None = None,
    parts: Callable[..., Sequence[Shape]] | None = None,
    result: Callable[[np.dtype], np.dtype] = lambda dtype: dtype,
    size: Callable[..., Shape] | None = None,
    vjp: Vjp | None = None,
    grad_name: str = "",
    flops: float,
    doc: str,
) -> Primitive:
    """Declare a primitive over batches of matrices.

    Operands have equal batch dims and then dims of their own, one for each letter of `labels[i]`; those of one
    letter are equal, which LAPACK relies on. Matrices have one dtype, float32 to complex128.
    With `parts(specs, **attrs)`, the shapes of the factors, the result is packed; otherwise `size` gives its
    last two dims.
    `routine(attrs)` gives `run(*matrices, where=...)`, which takes (count, …) arrays, returns one
    per factor, and names the matrix that fails by `where(position)`. `flops` is per cubed side.
    """

    cores = tuple(map(len, labels))

    def spec(specs: Specs, **attrs: Any) -> TensorSpec:
        batch = specs[0].shape[: specs[0].ndim - cores[0]]
        for given, core in zip(specs, cores, strict=True):
            if given.ndim < core or given.shape[: given.ndim - core] != batch:
                raise ShapeError(
                    f"{name}: operands must have equal batch dims, expanded before",
                    expected=str(list(batch)),
                    got=str(list(given.shape)),
                )
        _check_cores(name, specs, labels)
        if parts is not None:
            core_shape: Shape = (sum(math.prod(part) for part in parts(specs, **attrs)),)
        else:
            assert size is not None
            core_shape = size(specs, **attrs)
        return TensorSpec((*batch, *core_shape), result(specs[0].dtype))

    def axes(specs: Specs, out: TensorSpec, **_: AttrValue) -> list[Factor]:
        return [Factor((dim,) * len(cores), dim) for dim in range(specs[0].ndim - cores[0])]

    def cost(specs: Specs, out: TensorSpec, _: Mapping[str, AttrValue]) -> float:
        a = specs[0]
        return flops * a.size * min(a.shape[a.ndim - cores[0] :], default=1) + 100.0

    return declare(
        Primitive(
            name=name,
            arity=len(cores),
            attrs=attrs or {},
            grad_name=grad_name,
            doc=doc,
            spec=spec,
            kernel=lambda site: _batched(site, cores, routine, parts is not None),
            blas="lapack",
            positional=True,
            vjp=vjp,
            axes=axes,
            cost=cost,
        )
    )


def _check_cores(name: str, specs: Specs, labels: Sequence[str]) -> None:
    """Raises ShapeError unless dims of one letter are equal, DTypeError for what LAPACK has no routines for."""
    sizes: dict[str, int] = {}
    for given, letters in zip(specs, labels, strict=True):
        for letter, n in zip(letters, given.shape[given.ndim - len(letters) :], strict=True):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(
                    f"{name}: operands do not fit each other, or are not square",
                    expected=" and ".join(labels),
                    got=" and ".join(str(list(s.shape)) for s in specs),
                )
        right = given.dtype == specs[0].dtype if len(letters) == 2 else not dtypes.is_complex(given.dtype)
        if not right or (len(letters) == 2 and given.dtype.name not in _LAPACK):
            raise DTypeError(f"{name}: not for {given.dtype.name} here", expected=", ".join(_LAPACK), got=str(given))


_LAPACK = ("float32", "float64", "complex64", "complex128")


def checked_pivots(pivots: np.ndarray, size: int, *, pairs: bool = False) -> np.ndarray:
    """Pivots as integers. Raises OutOfRangeError for those that name no row: LAPACK would write there all the same.

    With `pairs` they may be negative, two and two, for the blocks of an LDL factorization.
    """
    with np.errstate(invalid="ignore"):
        whole = pivots.astype(np.int64)
    rows = np.abs(whole) if pairs else whole
    good = bool(((rows >= 1) & (rows <= size)).all())
    if good and pairs:
        for row in whole.reshape(-1, whole.shape[-1]) if whole.size else ():
            lengths = [len(list(run)) for negative, run in groupby(row < 0) if negative]
            good = good and not any(length % 2 for length in lengths)
    if not good:
        raise OutOfRangeError(
            "the pivots are not those of a factorization", expected=f"rows from 1 to {size}", got=str(pivots)[:200]
        )
    return whole


def unpacked(v: V, *shapes: Shape) -> list[V]:
    """The factors of a packed result, given their shapes without the batch dims."""
    batch, dim, at = v.shape[:-1], v.ndim - 1, 0
    factors = []
    for shape in shapes:
        length = math.prod(shape)
        factors.append(reshape(narrowed(v, dim, at, at + length), shape=(*batch, *shape)))
        at += length
    return factors


@lru_cache(maxsize=256)
def _find(names: tuple[str, ...], dtype: np.dtype, blas: bool) -> tuple[Any, ...]:
    from scipy.linalg import get_blas_funcs, get_lapack_funcs

    find = get_blas_funcs if blas else get_lapack_funcs
    return tuple(find(names, dtype=dtype))


@contextmanager
def _functions(*names: str, dtype: np.dtype, blas: bool = False) -> Iterator[tuple[Any, ...]]:
    """LAPACK's or BLAS's functions for a dtype. SciPy's library may just have been loaded: hold it, too."""
    found = _find(names, dtype, blas)
    with single_threaded():
        yield found


def core_sizes(specs: Specs) -> tuple[int, int, int]:
    """Rows, columns, and the smaller of both."""
    rows, columns = specs[0].shape[-2:]
    return rows, columns, min(rows, columns)


def _each(run: Callable[[np.ndarray], Any], a: np.ndarray, where: Where, why: Callable[[np.ndarray], str]) -> Any:
    """The whole batch at once; where a matrix fails, LinAlgError that names the first one."""
    try:
        return run(a)
    except np.linalg.LinAlgError:
        for i, matrix in enumerate(a):
            try:
                run(matrix)
            except np.linalg.LinAlgError:
                function, _, reason = why(matrix).partition(": ")
                raise LinAlgError(
                    f"{function}: {where(i)}{reason}",
                    got="finite values" if np.isfinite(matrix).all() else "NaN or inf",
                ) from None
        raise


# --- eigenvalues ----------------------------------------------------------------------------------


def _diverged(name: str, *, finite_only: bool = False) -> Callable[[np.ndarray], str]:
    def why(matrix: np.ndarray) -> str:
        if np.isfinite(matrix).all():
            return (
                f"{name}: The algorithm failed to converge because the input matrix is ill-conditioned or has too "
                "many repeated eigenvalues."
            )
        return (
            f"{name}: input tensor should not contain infs or NaNs."
            if finite_only
            else f"{name}: The algorithm failed to converge because the input matrix contained non-finite values."
        )

    return why


def eigh_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Eigenvalues and eigenvectors of Hermitian matrices."""
    triangle: Any = "L" if attrs["lower"] else "U"
    if not attrs["vectors"]:
        return lambda a, where: [
            _each(lambda m: np.linalg.eigvalsh(m, UPLO=triangle), a, where, _diverged("linalg.eigh"))
        ]
    return lambda a, where: _each(lambda m: np.linalg.eigh(m, UPLO=triangle), a, where, _diverged("linalg.eigh"))


def eig_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Eigenvalues and eigenvectors of square matrices."""
    why = _diverged("linalg.eig", finite_only=True)
    if not attrs["vectors"]:
        return lambda a, where: [_each(np.linalg.eigvals, a, where, why)]
    return lambda a, where: _each(np.linalg.eig, a, where, why)


VECTORS = {"vectors": Attr("bool", True, "the vectors too")}


def eigen_parts(specs: Specs, vectors: bool, **_: Any) -> Sequence[Shape]:
    """Shapes of the values and the vectors."""
    n = specs[0].shape[-1]
    return [(n,), (n, n)] if vectors else [(n,)]


# --- singular values ------------------------------------------------------------------------------


def svd_parts(specs: Specs, full: bool, vectors: bool) -> Sequence[Shape]:
    """Shapes of U, S and Vh."""
    m, n, k = core_sizes(specs)
    if not vectors:
        return [(k,)]
    return [(m, m), (k,), (n, n)] if full else [(m, k), (k,), (k, n)]


def svd_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Singular values and vectors."""
    why = _diverged("linalg.svd")
    if not attrs["vectors"]:
        return lambda a, where: [_each(lambda m: np.linalg.svd(m, compute_uv=False), a, where, why)]
    return lambda a, where: _each(lambda m: np.linalg.svd(m, full_matrices=attrs["full"]), a, where, why)


# --- QR -------------------------------------------------------------------------------------------


def qr_parts(specs: Specs, mode: str) -> Sequence[Shape]:
    """Shapes of Q and R; Q is absent in mode r."""
    m, n, k = core_sizes(specs)
    shapes = {"reduced": [(m, k), (k, n)], "complete": [(m, m), (m, n)], "r": [(k, n)]}
    if mode not in shapes:
        raise AttributeTypeError("qr has no such mode", expected=", ".join(shapes), got=mode)
    return shapes[mode]


def qr_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Q and R."""
    mode: Any = attrs["mode"]
    if mode == "r":
        return lambda a, where: [np.asarray(np.linalg.qr(a, mode="r"))]
    return lambda a, where: np.linalg.qr(a, mode=mode)


def geqrf_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Householder vectors and their factors."""

    def run(a: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        count, m, n = a.shape
        reflectors, taus = np.empty_like(a), np.empty((count, min(m, n)), a.dtype)
        with _functions("geqrf", dtype=a.dtype) as (geqrf,):
            for i in range(count if a.size else 0):
                reflectors[i], taus[i], _, _ = geqrf(a[i])
        return reflectors, taus

    return run


# --- Cholesky, LU, LDL ----------------------------------------------------------------------------

CHECK = Attr("str", "", "the function that raises where a matrix fails; '' to report it in info only")


def cholesky_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Cholesky factors and info."""
    name = str(attrs["check"])
    upper = bool(attrs["upper"])

    def run(a: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        info = np.zeros(len(a))
        try:
            return np.linalg.cholesky(a, upper=upper), info
        except np.linalg.LinAlgError:
            factors = np.empty_like(a)
            with _functions("potrf", dtype=a.dtype) as (potrf,):
                for i, matrix in enumerate(a):
                    factors[i], info[i] = potrf(matrix, lower=not upper, clean=True)
                    if info[i] and name:
                        raise LinAlgError(
                            f"{name}: {where(i)}The factorization could not be completed because the input is not "
                            f"positive-definite (the leading minor of order {int(info[i])} is not positive-definite).",
                            expected="a Hermitian positive-definite matrix",
                        ) from None
            return factors, info

    return run


SINGULAR = {
    "linalg.inv": "The diagonal element {0} is zero, the inversion could not be completed because the input matrix is "
    "singular.",
    "linalg.lu_factor": "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still "
    "want to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
}


def lu_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """LU, pivots and info."""
    name = str(attrs["check"])

    def run(a: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        count, m, n = a.shape
        lu, pivots, info = np.empty_like(a), np.empty((count, min(m, n))), np.zeros(count)
        with _functions("getrf", dtype=a.dtype) as (getrf,):
            for i in range(count if a.size else 0):
                lu[i], pivots[i], info[i] = getrf(a[i])
                if info[i] and name:
                    reason = SINGULAR.get(name, "The solver failed because the input matrix is singular.")
                    raise LinAlgError(
                        f"{name}: {where(i)}{reason.format(int(info[i]))}",
                        expected="an invertible matrix",
                        remedy="use the function that ends in _ex, which reports it instead",
                    )
        return lu, pivots + 1, info

    return run


def gesv_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Solutions of small systems, factorized and solved in one go."""
    factorize = lu_routine(attrs)
    solve = lu_apply_routine({"adjoint": False})

    def run(a: np.ndarray, b: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        if attrs["adjoint"]:
            a = np.swapaxes(a, -1, -2).conj()
        try:
            return [np.linalg.solve(a, b)]
        except np.linalg.LinAlgError:
            # One of them is singular: raise for it, or go on to the infinities that its zero pivot gives.
            lu, pivots, _ = factorize(a, where=where)
            return solve(lu, pivots, b, where=where)

    return run


def ldl_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """LDL, pivots and info."""

    def run(a: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        ld, pivots, info = np.empty_like(a), np.empty(a.shape[:-1]), np.zeros(len(a))
        hermitian = attrs["hermitian"] and a.dtype.kind == "c"
        with _functions("hetrf" if hermitian else "sytrf", dtype=a.dtype) as (factor,):
            for i in range(len(a) if a.size else 0):
                found, pivots[i], info[i] = factor(a[i], lower=1)
                ld[i] = np.tril(found)
        return ld, pivots, info

    return run


# --- solving with factors -------------------------------------------------------------------------


def right_side(specs: Specs, **_: AttrValue) -> Shape:
    """The last two dims of the last operand."""
    return specs[-1].shape[-2:]


def left_side(specs: Specs, **_: AttrValue) -> Shape:
    """The last two dims of the first operand."""
    return specs[0].shape[-2:]


def ldl_solve_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Solutions from LDL and pivots."""

    def run(ld: np.ndarray, pivots: np.ndarray, b: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        rows = checked_pivots(pivots, ld.shape[-1], pairs=True)
        x = np.empty_like(b)
        hermitian = attrs["hermitian"] and ld.dtype.kind == "c"
        with _functions("hetrs" if hermitian else "sytrs", dtype=ld.dtype) as (solve,):
            for i in range(len(b) if b.size else 0):
                x[i], _ = solve(ld[i], rows[i], b[i], lower=1)
        return [x]

    return run


def cholesky_apply_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Solutions from Cholesky factors."""

    def run(b: np.ndarray, factor: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        x = np.empty_like(b)
        with _functions("potrs", dtype=factor.dtype) as (potrs,):
            for i in range(len(b) if b.size else 0):
                x[i], _ = potrs(factor[i], b[i], lower=not attrs["upper"])
        return [x]

    return run


def lu_apply_routine(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    """Solutions from LU and pivots."""

    def run(lu: np.ndarray, pivots: np.ndarray, b: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        rows = checked_pivots(pivots, lu.shape[-1])
        x = np.empty_like(b)
        with _functions("getrs", dtype=lu.dtype) as (getrs,):
            for i in range(len(b) if b.size else 0):
                x[i], _ = getrs(lu[i], rows[i] - 1, b[i], trans=2 if attrs["adjoint"] else 0)
        return [x]

    return run


def _triangular(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    def run(a: np.ndarray, b: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        x = np.empty_like(b)
        with _functions("trsm", dtype=a.dtype, blas=True) as (trsm,):
            for i in range(len(b) if b.size else 0):
                x[i] = trsm(1.0, a[i], b[i], lower=not attrs["upper"], diag=attrs["unit"])
        return [x]

    return run


def _triangular_vjp(g: V, y: V, a: V, b: V, upper: bool, unit: bool) -> tuple[V, V]:
    gb = triangular(adjoint(a), g, upper=not upper, unit=unit)
    ga = -lookup("matmul")(gb, adjoint(y))
    return lookup("triu" if upper else "tril")(ga, diagonal=int(unit) if upper else -int(unit)), gb


triangular: Primitive = matrix_op(
    "triangular",
    _triangular,
    labels=("nn", "nk"),
    attrs={"upper": Attr("bool"), "unit": Attr("bool", False, "take the diagonal for ones")},
    size=right_side,
    vjp=_triangular_vjp,
    grad_name="LinalgSolveTriangularBackward0",
    flops=1.0,
    doc="Solves with one triangle of each matrix (BLAS trsm); the other is not read.",
)


def adjoint(a: V) -> V:
    """The conjugate transpose of the last two dims."""
    turned: V = permute(a, dims=(*range(a.ndim - 2), a.ndim - 1, a.ndim - 2))
    return conjugate(turned)


# --- pivots ---------------------------------------------------------------------------------------


def _rows(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    def run(pivots: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        pivots = checked_pivots(pivots, attrs["size"])
        every = np.arange(len(pivots))
        rows = np.tile(np.arange(attrs["size"]), (len(pivots), 1))
        for k in range(pivots.shape[1]):
            other = pivots[:, k].astype(np.int64) - 1
            rows[:, k], rows[every, other] = rows[every, other], rows[:, k].copy()
        return [np.argsort(rows, axis=1) if attrs["inverse"] else rows]

    return run


def _row_parts(specs: Specs, size: int, inverse: bool) -> Sequence[Shape]:
    if size < specs[0].shape[-1]:
        raise ShapeError("fewer rows than pivots", expected=f"at least {specs[0].shape[-1]}", got=str(size))
    return [(size,)]


pivoted_rows = matrix_op(
    "pivoted_rows",
    _rows,
    labels=("p",),
    attrs={"size": Attr("int", doc="number of rows"), "inverse": Attr("bool", False, "where each row went instead")},
    parts=_row_parts,
    result=lambda dtype: dtypes.int64,
    flops=1.0,
    doc="The row that each place holds once rows were exchanged as the pivots, counted from 1, say.",
)

# --- the exponential ------------------------------------------------------------------------------


def _expm(attrs: Mapping[str, Any]) -> Callable[..., Sequence[np.ndarray]]:
    def run(a: np.ndarray, where: Where) -> Sequence[np.ndarray]:
        if not a.size:
            return [a]
        from scipy.linalg import expm

        with single_threaded():  # SciPy's library may just have been loaded.
            return [expm(a).astype(a.dtype, copy=False)]

    return run


def _expm_vjp(g: V, y: V, a: V) -> tuple[V]:
    # Fréchet derivative from one larger exponential: Higham, Functions of Matrices (2008), theorem 3.6.
    n, dim = a.shape[-1], a.ndim
    turned = adjoint(a)
    concat = lookup("concat")
    zeros = lookup("full").on(a.emitter, value=0, shape=a.shape, dtype=a.dtype.name)
    block = concat(concat(turned, g, dim=dim - 1), concat(zeros, turned, dim=dim - 1), dim=dim - 2)
    large = matrix_exp(block)
    return (narrowed(narrowed(large, dim - 2, 0, n), dim - 1, n, 2 * n),)


matrix_exp: Primitive = matrix_op(
    "expm",
    _expm,
    labels=("nn",),
    size=right_side,
    vjp=_expm_vjp,
    grad_name="LinalgMatrixExpBackward0",
    flops=30.0,
    doc="The exponential of square matrices, by scaling and squaring of a Padé approximant (SciPy's expm).",
)


def as_int32(v: V) -> V:
    """An integer kept as a float, as int32."""
    result: V = convert(v, dtype="int32")
    return result
