"""A mapped op is the stack of the op on each example: every op of the table, each operand batched alone and all."""

from __future__ import annotations

from collections.abc import Callable

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

# Primitives that no user records.
EACH = {"scaled_erf", "tag", "take_sum", "turn"}

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


@pytest.mark.parametrize(
    "draw",
    [
        lambda v: gm.multinomial(v, 6, replacement=True),
        lambda v: gm.multinomial(v, 6),
        lambda v: gm.multinomial(gm.ones(8), 6) + 0 * v.sum().long(),
        lambda v: gm.multinomial(v.reshape(2, 4), 3).reshape(-1),
        lambda v: gm.randperm(8) + 0 * v.sum().long(),
    ],
)
def test_positions_are_drawn_for_each_example(draw: Callable[[gm.Tensor], gm.Tensor]) -> None:
    gm.manual_seed(0)
    weights = gm.rand(40, 8) + 0.1
    different = vmap(draw, randomness="different")(weights).numpy()
    assert len({row.tobytes() for row in different}) > 30
    same = vmap(draw, randomness="same")(weights[:1].expand(40, 8)).numpy()
    assert len({row.tobytes() for row in same}) == 1
    with pytest.raises(gm.errors.AutogradError, match="called random operation while in randomness error mode"):
        vmap(draw)(weights)


def test_what_is_drawn_for_examples_has_their_weights() -> None:
    gm.manual_seed(1)
    weights = gm.tensor([[0.0, 1.0, 3.0], [5.0, 0.0, 5.0]])
    drawn = vmap(lambda v: gm.multinomial(v, 4000, replacement=True), randomness="different")(weights).numpy()
    shares = np.stack([np.bincount(row, minlength=3) / 4000 for row in drawn])
    np.testing.assert_allclose(shares, [[0, 0.25, 0.75], [0.5, 0, 0.5]], atol=0.03)
    assert not shares[0, 0] and not shares[1, 1]
    orders = vmap(lambda v: gm.randperm(5) + 0 * v.sum().long(), randomness="different")(gm.ones(200, 1)).numpy()
    assert (np.sort(orders) == np.arange(5)).all()
