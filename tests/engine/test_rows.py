"""Rows added to matrices in long runs: the same bits as NumPy's own broadcasting, where and only where it pays."""

from __future__ import annotations

import numpy as np
import pytest

from gradmesh_engine.ops import Scratch
from gradmesh_engine.rows import with_row_repeated


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.arctan2, np.less])
@pytest.mark.parametrize(
    ("full", "row", "changed"),
    [
        ((2048, 64), (64,), True),
        ((2048, 64), (1, 64), True),
        ((8192, 24), (24,), True),
        ((32, 64, 8, 8), (8, 8), True),
        ((2048, 1, 64), (1, 1, 64), True),
        ((2048, 8, 8), (1, 8, 1), False),  # no row
        ((2048, 64), (2048, 1), False),
        ((2048, 64), (1, 1), False),
        ((2048, 64), (), False),
        ((2048, 64), (2048, 64), False),
        ((2047, 64), (64,), False),  # no whole runs
        ((256, 64), (64,), False),  # too few
        ((64, 8192), (8192,), False),  # long as it is
    ],
)
def test_bits_are_those_of_broadcasting(
    ufunc: np.ufunc, dtype: type, full: tuple[int, ...], row: tuple[int, ...], changed: bool
) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.asarray(100 * rng.standard_normal(shape)).astype(dtype) for shape in (full, row))
    for operands in ((a, b), (b, a)):
        expected = ufunc(*operands)
        run = with_row_repeated(ufunc, operands, full, Scratch())
        assert (run is not ufunc) == changed
        out = np.empty_like(expected)
        run(*operands, out)
        assert out.tobytes() == expected.tobytes()
        if out.dtype == a.dtype:
            place = a.copy()
            run(*[place if x is a else x for x in operands], place)
            assert place.tobytes() == expected.tobytes()


def test_operands_of_other_layouts_and_dtypes_are_left_alone() -> None:
    matrix, row = np.zeros((2048, 64), np.float32), np.zeros(64, np.float32)
    assert with_row_repeated(np.add, (matrix, row), matrix.shape, Scratch()) is not np.add
    turned = np.zeros((64, 2048), np.float32).T
    assert with_row_repeated(np.add, (turned, row), matrix.shape, Scratch()) is np.add
    assert with_row_repeated(np.add, (matrix, row.astype(np.float64)), matrix.shape, Scratch()) is np.add
    assert with_row_repeated(np.exp, (matrix,), matrix.shape, Scratch()) is np.exp
