"""A mapped op is the stack of the op on each example: every op of the table, each operand batched alone and all."""

from __future__ import annotations

import numpy as np
import pytest

import gradmesh as gm
from gradmesh._batching import RANDOM, rule_of
from gradmesh._trace import record
from gradmesh._vmap import vmap
from gradmesh_engine.ops import TABLE, Primitive
from tests.ops.graphs import assert_close
from tests.ops.rows import Row, Sample
from tests.ops.table import SAMPLES

SIZE = 3

# Primitives that are applied to each example: a rule for them would be worth having.
EACH = {"ctc_alignment", "ctc_use", "isin", "multinomial", "searchsorted", "tag"}

# Enough of each row: which other shapes it has matters to other tests.
FEW = [pair for pair in SAMPLES if pair.values[1] in pair.values[0].samples[:3]]


def outputs(row: Row, sample: Sample, tensors: list[gm.Tensor]) -> list[gm.Tensor]:
    result = record(row.op, *tensors, **sample.attrs)
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize(("row", "sample"), FEW)
def test_mapped_is_stacked(row: Row, sample: Sample) -> None:
    variants = [sample.arrays(f"{row.seed(sample)} {index}") for index in range(SIZE)]
    count = len(variants[0])
    keys = [operand.dtype == "int64" and operand.shape == () for operand in sample.operands]
    alone = [{index} for index in range(count) if not keys[index]]
    for chosen in [set().union(*alone), *alone] if len(alone) > 1 else alone:
        mixed = [[(variants[b] if i in chosen else variants[0])[i] for i in range(count)] for b in range(SIZE)]
        expected = [outputs(row, sample, [gm.tensor(array) for array in arrays]) for arrays in mixed]
        given = [gm.tensor(np.stack([m[i] for m in mixed]) if i in chosen else mixed[0][i]) for i in range(count)]
        dims = tuple([0 if i in chosen else None for i in range(count)])
        got = vmap(lambda *ts: tuple(outputs(row, sample, list(ts))), dims, randomness="same")(*given)
        assert len(got) == len(expected[0])
        for index, batch in enumerate(got):
            want = np.stack([example[index].numpy() for example in expected])
            assert (batch.shape, batch.np_dtype) == (want.shape, want.dtype)
            assert_close(batch.numpy(), want, what=f"{row.op} batched in {sorted(chosen)}")


def test_rules_cover_the_table() -> None:
    without = {
        name
        for name, op in TABLE.items()
        if isinstance(op, Primitive) and op.arity != 0 and name not in RANDOM and rule_of(op) is None
    }
    assert without == EACH
