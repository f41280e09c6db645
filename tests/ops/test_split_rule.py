"""Every primitive's axis rule is right and complete, on the data of every sample and of its gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.lower import lower
from gradmesh_engine.ops import Factor, Primitive, lookup
from tests.ops.graphs import Application, applications, is_primitive, one_node, pullback_graph, spec_of
from tests.ops.rows import Row, Sample
from tests.ops.split_rule import check_declared, check_turned, declared, describe, undeclared
from tests.ops.table import SAMPLES


def _turns(name: str) -> bool:
    op = lookup(name)
    return isinstance(op, Primitive) and op.turned is not None


@pytest.mark.parametrize(("row", "sample"), SAMPLES)
def test_declared_splits_hold(row: Row, sample: Sample) -> None:
    arrays = sample.arrays(row.seed(sample))
    for app in applications(lower(one_node(row.op, arrays, sample.attrs)), arrays):
        check_declared(app)


@pytest.mark.parametrize(("row", "sample"), SAMPLES)
def test_declared_splits_hold_in_the_gradient(row: Row, sample: Sample) -> None:
    arrays, graph = _gradient(row, sample)
    for app in applications(graph, arrays):
        check_declared(app)


@pytest.mark.parametrize(("row", "sample"), [p for p in SAMPLES if is_primitive(p.values[0].op)])
def test_no_split_is_missing(row: Row, sample: Sample) -> None:
    if sample.unsplit:
        pytest.skip(sample.unsplit)
    arrays = sample.arrays(row.seed(sample))
    for app in applications(lower(one_node(row.op, arrays, sample.attrs)), arrays):
        if app.op.name == row.op:
            _assert_complete(app)


@pytest.mark.parametrize(("row", "sample"), [p for p in SAMPLES if _turns(p.values[0].op)])
def test_operands_may_lie_in_another_order(row: Row, sample: Sample) -> None:
    arrays = sample.arrays(row.seed(sample))
    for app in applications(lower(one_node(row.op, arrays, sample.attrs)), arrays):
        if app.op.turned is not None:
            assert check_turned(app) or not declared(app), "no order but the plain one"


def _assert_complete(app: Application) -> None:
    missing = undeclared(app)
    specs = ", ".join(str(spec_of(a)) for a in app.arrays)
    assert not missing, f"{app.op.name}({specs}) -> {app.out} {dict(app.attrs)} could also split: " + "; ".join(
        sorted(map(describe, missing))
    )


def _gradient(row: Row, sample: Sample) -> tuple[tuple[np.ndarray, ...], object]:
    arrays = sample.arrays(row.seed(sample))
    wrt = row.differentiated(arrays)
    if not lookup(row.op).differentiable or not wrt:
        pytest.skip("no gradient")
    graph, _ = pullback_graph(row.op, arrays, sample.attrs, wrt)
    rng = np.random.default_rng(5)
    cotangents = [rng.uniform(-1, 1, s.shape).astype(s.dtype) for s in graph.inputs[len(arrays) :]]
    return (*arrays, *cotangents), graph


# --- the checker finds what it is for ----------------------------------------------------------------


def _matmul_like(factors: list[Factor]) -> Application:
    """A primitive of the tests' own: x @ w summed over nothing, with the axis rule given."""
    rng = np.random.default_rng(3)
    x, w = rng.uniform(-1, 2, (8, 5)), rng.uniform(-1, 2, (5, 6))
    op = Primitive(
        name="matmul of the tests",
        arity=2,
        spec=lambda specs: TensorSpec((specs[0].shape[0], specs[1].shape[1]), specs[0].dtype),
        kernel=lambda site: lambda x, w, out: np.matmul(x, w, out=out),
        axes=lambda specs, out: factors,
        cost=lambda specs, out, attrs: 1.0,
    )
    return Application(op, {}, (x, w), TensorSpec((8, 6), np.dtype("float64")))


_RIGHT = [Factor((0, None), 0), Factor((None, 1), 1), Factor((1, 0), None, "sum")]


def test_the_checker_accepts_a_right_rule() -> None:
    app = _matmul_like(_RIGHT)
    check_declared(app)
    assert undeclared(app) == []


@pytest.mark.parametrize(
    "wrong",
    [
        Factor((1, 0), None, "max"),  # the wrong combination
        Factor((1, 0), None, "prod"),
        Factor((0, None), 1),  # the wrong dim of the result
        Factor((None, 0), None, "sum"),  # only one of the two operands
    ],
)
def test_the_checker_refuses_a_wrong_rule(wrong: Factor) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_declared(_matmul_like([wrong]))


@pytest.mark.parametrize("missing", range(3))
def test_the_checker_finds_a_missing_rule(missing: int) -> None:
    incomplete = [f for i, f in enumerate(_RIGHT) if i != missing]
    assert undeclared(_matmul_like(incomplete)) == [_RIGHT[missing]]


def test_the_checker_finds_a_missing_proportional_split() -> None:
    x = np.random.default_rng(1).uniform(-1, 2, (6, 4))
    op = Primitive(
        name="reshape of the tests",
        arity=1,
        spec=lambda specs: TensorSpec((24,), specs[0].dtype),
        view=lambda site: lambda x: x.reshape(site.out.shape),
        axes=lambda specs, out: [],
        cost=lambda specs, out, attrs: 0.0,
    )
    app = Application(op, {}, (x,), TensorSpec((24,), x.dtype))
    assert undeclared(app) == [Factor((0,), 0)]
    check_declared(replace(app, op=replace(op, axes=lambda specs, out: [Factor((0,), 0)])))


def test_the_checker_refuses_attributes_that_do_not_turn() -> None:
    x = np.random.default_rng(1).uniform(-1, 2, (6, 4))
    op = lookup("reduce_sum")
    assert isinstance(op, Primitive)
    app = Application(op, {"dims": (0,)}, (x,), TensorSpec((4,), x.dtype))
    check_turned(app)
    with pytest.raises(AssertionError):
        check_turned(replace(app, op=replace(op, turned=lambda attrs, orders, result: attrs)))


def test_the_checker_passes_the_start_to_positional_kernels() -> None:
    x = np.random.default_rng(1).uniform(1, 2, (9, 4))

    def rule(positional: bool) -> Application:
        def kernel(site: object) -> object:
            def run(x: np.ndarray, out: np.ndarray, start: int = 0) -> None:
                np.multiply(x, np.arange(start, start + len(x))[:, None], out=out)

            return run

        op = Primitive(
            name="row numbers of the tests",
            arity=1,
            spec=lambda specs: specs[0],
            kernel=kernel,  # type: ignore[arg-type]
            positional=positional,
            axes=lambda specs, out: [Factor((0,), 0), Factor((1,), 1)] if not positional else [Factor((0,), 0)],
            cost=lambda specs, out, attrs: 1.0,
        )
        return Application(op, {}, (x,), TensorSpec((9, 4), x.dtype))

    check_declared(rule(positional=True))
    with pytest.raises(AssertionError, match="split along"):
        check_declared(rule(positional=False))
