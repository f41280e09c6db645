"""Rows: Fourier transforms, and complex numbers as pairs."""

from __future__ import annotations

from typing import Any

from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from tests.ops.rows import COMPLEX, WIDE, Bad, Row, S, T, row

C = "complex128"
_SCIPY = {"none": 0, "by_root_n": 1, "by_n": 2}


def _c2c(t: Any, x: Any, dims: Any, norm: str = "none", forward: bool = True) -> Any:
    return t._fft_c2c(x, dims, _SCIPY[norm], forward)


def _r2c(t: Any, x: Any, dims: Any, norm: str = "none", onesided: bool = True) -> Any:
    return t._fft_r2c(x, dims, _SCIPY[norm], onesided)


def _c2r(t: Any, x: Any, dims: Any, size: int, norm: str = "none") -> Any:
    return t._fft_c2r(x, dims, _SCIPY[norm], size)


def _stft(t: Any, x: Any, *window: Any, n_fft: int, **kwargs: Any) -> Any:
    return t.stft(x, n_fft, window=window[0] if window else None, center=False, **{"return_complex": True, **kwargs})


def _istft(t: Any, x: Any, *window: Any, n_fft: int, **kwargs: Any) -> Any:
    return t.istft(x, n_fft, window=window[0] if window else None, **kwargs)


ROWS: tuple[Row, ...] = (
    row(
        "fft_c2c",
        S(T(6, 5, dtype=C), dims=(1,)),
        S(T(6, 5, 4, dtype=C), dims=(2, 0), norm="by_n"),
        S(T(4, 6, dtype=C), dims=(0,), norm="by_root_n", forward=False),
        ref=_c2c,
        dtypes=COMPLEX,
        loose=8,
        errors=(
            Bad(S(T(4), dims=(0,)), DTypeError, "complex"),
            Bad(S(T(4, dtype=C), dims=(1,)), ShapeError),
            Bad(S(T(4, dtype=C), dims=(0,), norm="half"), AttributeTypeError),
            Bad(S(T(4, 0, dtype=C), dims=(1,)), ShapeError, "data points"),
        ),
    ),
    row(
        "fft_r2c",
        S(T(6, 5), dims=(1,)),
        S(T(6, 8), dims=(1,)),
        S(T(6, 5, 4), dims=(2, 0), norm="by_n"),
        S(T(4, 6), dims=(0,), norm="by_root_n", onesided=False),
        ref=_r2c,
        dtypes=WIDE,
        loose=8,
        errors=(Bad(S(T(4, dtype=C), dims=(0,)), DTypeError),),
    ),
    row(
        "fft_c2r",
        S(T(6, 3, dtype=C), dims=(1,), size=5),
        S(T(6, 3, dtype=C), dims=(1,), size=4),
        S(T(3, 6, dtype=C), dims=(1, 0), size=5, norm="by_n"),
        S(T(4, 1, dtype=C), dims=(1,), size=1, norm="by_root_n"),
        ref=_c2r,
        dtypes=COMPLEX,
        loose=8,
        errors=(Bad(S(T(4, dtype=C), dims=(0,), size=4), ShapeError),),
    ),
    row(
        "stft",
        S(T(2, 24), T(8), n_fft=8, hop_length=2, win_length=8),
        S(T(24), n_fft=8, hop_length=3, win_length=6, normalized=True, onesided=False),
        S(T(24), T(6), n_fft=8, hop_length=3, win_length=6, return_complex=False),
        S(T(24, dtype=C), n_fft=8, hop_length=3, win_length=8, onesided=False),
        ref=_stft,
        dtypes=WIDE,
        loose=8,
        errors=(
            Bad(S(T(6), n_fft=8, hop_length=2, win_length=8), ShapeError, "n_fft"),
            Bad(S(T(24), n_fft=8, hop_length=0, win_length=8), ShapeError, "hop_length"),
            Bad(S(T(24), T(5), n_fft=8, hop_length=2, win_length=8), ShapeError, "window"),
        ),
    ),
    row(
        "istft",
        S(T(2, 5, 6, dtype=C), T(8, low=0.5), n_fft=8, hop_length=2, win_length=8),
        S(T(5, 6, dtype=C), n_fft=8, hop_length=2, win_length=8, center=False),
        S(T(8, 6, dtype=C), n_fft=8, hop_length=2, win_length=8, onesided=False, length=12, normalized=True),
        S(T(8, 6, dtype=C), n_fft=8, hop_length=2, win_length=8, onesided=False, return_complex=True),
        ref=_istft,
        loose=50,
        errors=(Bad(S(T(6, 6, dtype=C), n_fft=8, hop_length=2, win_length=8), ShapeError, "frequency"),),
    ),
    row("view_as_real", S(T(6, 4, dtype=C)), S(T(dtype=C)), dtypes=COMPLEX, errors=(Bad(S(T(4)), DTypeError),)),
    row(
        "view_as_complex",
        S(T(6, 2)),
        dtypes=WIDE,
        errors=(Bad(S(T(6, 3)), ShapeError), Bad(S(T(6, 2, dtype="int64")), DTypeError)),
    ),
)
