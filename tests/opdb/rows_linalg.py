"""Entries whose call or comparison is not the default: linear algebra, Fourier transforms and complex views."""

from __future__ import annotations

from typing import Any

from tests.opdb.row import Row, without_halves


def _lengths(result: Any) -> Any:
    """Values, and what of the vectors no sign and no phase changes."""
    values, vectors = result
    return values, vectors.abs()


def _low_rank(result: Any) -> Any:
    """Singular values, and the product of the three factors."""
    u, s, v = result
    return s, (u * s.unsqueeze(-2)) @ v.mH


def _projection(result: Any) -> Any:
    """Singular values, and the product of the vectors that belong to them."""
    u, s, vh = result
    return s, u[..., : s.shape[-1]] @ vh[..., : s.shape[-1], :]


def _projection_of_v(result: Any) -> Any:
    u, s, v = result
    return _projection((u, s, v.mH))


def _relative(result: Any) -> Any:
    """The elements relative to all of them: PyTorch's float32 scaling and squaring loses the small ones."""
    return result / (1 + result.abs().sum().detach())


_ILL = "the random basis decides how rounding grows"


def _not_empty(sample: Any) -> bool:
    return all(bool(t.numel()) for t in (sample.input, *sample.args))


_EMPTY = "PyTorch has no gradient by an operand without elements"

ROWS: dict[str, Row] = {
    "linalg.eig": Row(gauge=_lengths),
    "linalg.eigh": Row(gauge=_lengths),
    "linalg.householder_product": Row(keep=_not_empty, dropped=_EMPTY, loose=20),
    "linalg.lstsq": Row(loose=200),
    "linalg.lstsq:grad_oriented": Row(call=lambda gm, *args, **kwargs: gm.linalg.lstsq(*args, **kwargs)[:2], loose=20),
    "linalg.norm": Row(
        keep=lambda sample: bool(sample.input.numel()) or sample.args[:1] != (3.5,),
        dropped="PyTorch's second derivative of the 3.5-norm of no elements is NaN",
    ),
    "linalg.norm:subgradients_at_zero": Row(once="PyTorch's second derivatives at 0 are NaN"),
    "linalg.pinv:singular": Row(call=lambda gm, a, b: gm.linalg.pinv(a @ b.mT)),
    "linalg.svd": Row(gauge=_projection),
    "matrix_exp": Row(gauge=_relative, without=without_halves("PyTorch's are NaN")),
    "ormqr": Row(keep=_not_empty, dropped=_EMPTY),
    "pca_lowrank": Row(
        call=lambda gm, a, b, **kwargs: gm.pca_lowrank(a @ b.mT, **kwargs),
        gauge=_low_rank,
        loose=100,
        without={"complex64": _ILL, "float32": _ILL},
    ),
    "renorm": Row(
        keep=lambda sample: sample.args[0] != float("inf") or not sample.input.is_complex(),
        dropped="PyTorch's gradient of the largest absolute value of complex numbers is NaN",
    ),
    "svd": Row(gauge=_projection_of_v),
    "svd_lowrank": Row(
        call=lambda gm, a, b, **kwargs: gm.svd_lowrank(a @ b.mT, **kwargs),
        gauge=_low_rank,
        loose=100,
        without={"complex64": _ILL, "float32": _ILL},
        keep=lambda sample: sample.kwargs.get("M") is None,
        dropped="less a matrix of full rank, the result depends on the random basis",
    ),
}
