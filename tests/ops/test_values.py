"""Values, dtypes and errors of every op."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gradmesh_engine import dtypes
from gradmesh_engine.errors import GradmeshError
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.ops import TABLE
from tests.ops.graphs import Arrays, assert_close, evaluate, from_torch, one_node, spec_of, to_torch, torch
from tests.ops.rows import Bad, Row, Sample
from tests.ops.table import BY_OP, BY_ROW, ERRORS, SAMPLES, SPECIALS, WITH_TORCH


def test_every_op_has_one_row_and_every_row_an_op() -> None:
    assert sorted(TABLE) == sorted(BY_OP)


@pytest.mark.parametrize(("row", "sample"), SAMPLES)
def test_the_shape_rule_tells_the_real_shape(row: Row, sample: Sample) -> None:
    """A session's answer has the specs that `infer` promised without computing anything."""
    arrays = sample.arrays(row.seed(sample))
    graph = one_node(row.op, arrays, sample.attrs)
    outputs, _ = evaluate(graph, arrays)
    assert tuple(map(spec_of, outputs)) == graph.nodes[0].outputs
    if row.check is not None:
        row.check(outputs, arrays, sample.attrs)


@pytest.mark.oracle
@pytest.mark.parametrize(("row", "sample"), WITH_TORCH)
def test_value(row: Row, sample: Sample) -> None:
    compare(row, sample, sample.arrays(row.seed(sample)))


@pytest.mark.oracle
@pytest.mark.parametrize(("row", "sample"), SPECIALS)
def test_special_values(row: Row, sample: Sample) -> None:
    compare(row, sample, sample.arrays(row.seed(sample)))


@pytest.mark.oracle
@pytest.mark.parametrize("row", [p for p in BY_ROW if p.values[0].dtypes])
def test_every_dtype(row: Row) -> None:
    for name in row.dtypes:
        sample = row.samples[0]
        compare(row, sample, sample.arrays(row.seed(sample), name), f"{row.op} of {name}")


@pytest.mark.oracle
@pytest.mark.parametrize("row", [p for p in BY_ROW if p.values[0].promotes])
def test_promotion(row: Row) -> None:
    """Operands of any two dtypes, with dims and without, give PyTorch's dtype."""
    for first, second in itertools.product(dtypes.ALL, repeat=2):
        for shapes in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
            pair = tuple(np.ones(s, d) for s, d in zip(shapes, (first, second), strict=True))
            meet = dtypes.result_type([(a.dtype, 2 if a.shape else 1) for a in pair])
            if meet.name not in row.dtypes:
                continue
            try:
                expected = row.reference(torch(), tuple(map(to_torch, pair)), {})
            except (RuntimeError, NotImplementedError):
                continue  # PyTorch does not have this pair
            names = [str(e.dtype).removeprefix("torch.") for e in expected]
            if "complex32" in names:
                continue  # a dtype of PyTorch's alone
            got = TABLE[row.op].infer(tuple(map(spec_of, pair)), {})
            what = f"{row.op}({first.name}{list(shapes[0])}, {second.name}{list(shapes[1])})"
            assert [g.dtype.name for g in got] == names, what


@pytest.mark.parametrize(("row", "bad"), ERRORS)
def test_wrong_calls_are_refused(row: Row, bad: Bad) -> None:
    specs = tuple(TensorSpec(o.shape, dtypes.parse(o.dtype)) for o in bad.sample.operands)
    op = TABLE[row.op]
    with pytest.raises(GradmeshError, match=bad.words or None) as caught:
        bound = op.bind(bad.sample.attrs)
        op.check_arity(len(specs))
        op.infer(specs, bound)
    assert isinstance(caught.value, bad.error), f"{type(caught.value).__name__}: {caught.value}"
    assert caught.value.op == row.op


def compare(row: Row, sample: Sample, arrays: Arrays, what: str = "") -> None:
    """The op's results beside PyTorch's: shape, dtype and values."""
    expected = reference(row, arrays, sample.attrs)
    outputs, _ = evaluate(one_node(row.op, arrays, sample.attrs), arrays)
    assert len(outputs) == len(expected)
    for got, value in zip(outputs, expected, strict=True):
        assert_close(got, value, row.loose, what or f"{row.op} {sample}")


def reference(row: Row, arrays: Arrays, attrs: Any) -> list[np.ndarray]:
    """What PyTorch gives for the same arrays."""
    return [from_torch(value) for value in row.reference(torch(), tuple(map(to_torch, arrays)), attrs)]
