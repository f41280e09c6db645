"""Layers that take their width from the first input are PyTorch's, before and after it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import gradmesh as gm

# Expression of a layer, and the shape of its input.
ROWS: list[tuple[str, tuple[int, ...]]] = [
    ("LazyLinear(4)", (2, 3)),
    ("LazyLinear(4, bias=False)", (2, 5, 3)),
    ("LazyConv1d(4, 3, padding=1)", (2, 3, 7)),
    ("LazyConv2d(4, (3, 2), stride=2, groups=2, bias=False)", (2, 7, 7)),
    ("LazyConv3d(2, 2)", (1, 2, 3, 3, 3)),
    ("LazyConvTranspose1d(4, 3, output_padding=1, stride=2)", (2, 3, 7)),
    ("LazyConvTranspose2d(4, 3, dilation=2)", (1, 3, 4, 4)),
    ("LazyConvTranspose3d(2, 2)", (1, 2, 3, 3, 3)),
    ("LazyBatchNorm1d()", (4, 3)),
    ("LazyBatchNorm2d(eps=0.1, momentum=None, bias=False)", (2, 3, 2, 2)),
    ("LazyBatchNorm3d(affine=False)", (2, 3, 2, 2, 2)),
    ("LazyInstanceNorm1d()", (2, 3, 4)),
    ("LazyInstanceNorm2d(affine=False)", (2, 3, 4, 4)),
    ("LazyInstanceNorm3d(track_running_stats=False)", (2, 3, 2, 2, 2)),
    ("Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))", (2, 3)),
]

# Expressions of a layer `f`, nn.LazyLinear(2), and of its weight, that raise.
REFUSED = [
    "f.weight.shape",
    "f.weight + 1",
    "f.weight.sum()",
    "nn.LazyConv2d(2, 3)(torch.ones(3))",
    "nn.LazyConv1d(2, 3, groups=2)(torch.ones(1, 3, 4))",
    "nn.Linear(1, 2).load_state_dict(f.state_dict())",
    "loaded(f)(torch.ones(1, 5))",
]


def make(expression: str, library: Any) -> Any:
    return eval(f"nn.{expression}", {"nn": library.nn})


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.filterwarnings("ignore:input's size at dim")
@pytest.mark.parametrize(("expression", "shape"), ROWS, ids=[row[0] for row in ROWS])
def test_layer_is_pytorchs(expression: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=shape)
    theirs, mine = make(expression, torch), make(expression, gm)
    assert repr(mine) == repr(theirs)
    assert str(dict(mine.state_dict())) == str(dict(theirs.state_dict()))
    waiting = copy.deepcopy(mine)
    theirs, mine = theirs.double(), mine.double()
    theirs(torch.tensor(x)), mine(gm.tensor(x))
    assert repr(mine) == repr(theirs)
    assert type(mine).__name__ == type(theirs).__name__
    state = {name: gm.tensor(value.numpy()) for name, value in theirs.state_dict().items()}
    # A state gives shapes, too: the first call then only makes an ordinary layer.
    for module in (mine, waiting.double()):
        assert module.load_state_dict(state) == ([], [])
        assert [(n, tuple(p.shape), p.dtype) for n, p in module.named_parameters()] == [
            (n, tuple(p.shape), gm.float64) for n, p in theirs.named_parameters()
        ]
    results = []
    for library, module in ((torch, copy.deepcopy(theirs)), (gm, mine), (gm, waiting)):
        found = module(library.tensor(x, requires_grad=True))
        (found * found).sum().backward()
        results.append([found.detach().numpy(), *[p.grad.numpy() for p in module.parameters()]])
    assert repr(waiting) == repr(theirs)
    for other in results[1:]:
        for want, got in zip(results[0], other, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-12)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("expression", REFUSED)
def test_errors_are_pytorchs(expression: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (torch, gm):
        nn = library.nn

        def loaded(module: Any, nn: Any = nn) -> Any:
            module.load_state_dict(nn.Linear(3, 2).state_dict())
            return module

        with pytest.raises(Exception) as raised:
            eval(expression, {"nn": nn, "torch": library, "f": nn.LazyLinear(2), "loaded": loaded})
        found.append(raised)
    assert issubclass(found[1].type, found[0].type)
    # PyTorch names the function that was called.
    assert str(found[1].value)[:40] == str(found[0].value)[:40]


def test_an_optimizer_takes_no_parameter_without_a_shape() -> None:
    layer = gm.nn.LazyLinear(2)
    with pytest.raises(ValueError, match="uninitialized parameter"):
        gm.optim.SGD(layer.parameters())
    layer.zero_grad()
    layer.requires_grad_(False)
    layer(gm.ones(1, 3))
    assert not layer.weight.requires_grad
    assert gm.optim.SGD(layer.parameters()).param_groups[0]["params"][0].shape == (2, 3)


@pytest.mark.oracle
def test_buffers() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (torch, gm):
        module = library.nn.Module()
        module.kept = library.nn.Buffer(library.tensor([1.0, 2.0]))
        module.passing = library.nn.Buffer(library.tensor([3.0]), persistent=False)
        module.passing = library.tensor([4.0])
        module.kept = library.nn.Buffer()
        module.first, module.second = library.nn.Parameter(library.ones(1)), library.nn.Parameter(library.ones(2))
        module.child, module.other = library.nn.ReLU(), library.nn.Tanh()
        # What is given anew keeps its place.
        module.first, module.child = library.nn.Parameter(library.zeros(3)), library.nn.SELU()
        found.append(
            (
                str(list(module.named_buffers())),
                str(list(module.named_parameters())),
                str(module),
                str(dict(module.state_dict())),
                isinstance(module.kept, library.nn.Buffer),
                module.kept.requires_grad,
                library.nn.UninitializedParameter().is_floating_point(),
                str(library.nn.UninitializedBuffer(dtype=library.float64).dtype),
            )
        )
    assert found[0] == found[1]
