"""Parametrized weights are PyTorch's: lines, states, values, gradients, assignment and removal."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gradmesh as gm

# Expression of a module, of n (nn), u (nn.utils), p and z (its parametrizations and parametrize); shape of its input.
ROWS: list[tuple[str, tuple[int, ...]]] = [
    ("p.weight_norm(n.Linear(3, 4))", (2, 3)),
    ("p.weight_norm(n.Linear(3, 4), dim=None)", (2, 3)),
    ("p.weight_norm(n.Conv1d(3, 4, 2, bias=False), dim=1)", (2, 3, 5)),
    ("p.weight_norm(n.Linear(3, 4), 'bias')", (2, 3)),
    ("p.spectral_norm(n.Linear(3, 4))", (2, 3)),
    ("p.spectral_norm(n.ConvTranspose1d(3, 4, 2), n_power_iterations=3)", (2, 3, 5)),
    ("p.spectral_norm(n.Conv2d(3, 4, 2), eps=1e-3, dim=1)", (1, 3, 5, 5)),
    ("p.spectral_norm(n.Linear(3, 4), 'bias')", (2, 3)),
    ("p.orthogonal(n.Linear(3, 3))", (2, 3)),
    ("p.orthogonal(n.Linear(3, 5))", (2, 3)),
    ("p.orthogonal(n.Linear(5, 3))", (2, 5)),
    ("p.orthogonal(n.Linear(5, 3), orthogonal_map='cayley')", (2, 5)),
    ("p.orthogonal(n.Linear(5, 3), orthogonal_map='matrix_exp', use_trivialization=False)", (2, 5)),
    ("p.orthogonal(n.Linear(3, 5), use_trivialization=False)", (2, 3)),
    ("p.weight_norm(p.spectral_norm(n.Linear(3, 4)), 'bias')", (2, 3)),
    ("u.weight_norm(n.Linear(3, 4), dim=None)", (2, 3)),
    ("u.weight_norm(n.Conv1d(3, 4, 2))", (2, 3, 5)),
    ("u.spectral_norm(n.Linear(3, 4), n_power_iterations=2)", (2, 3)),
    ("u.spectral_norm(n.ConvTranspose1d(3, 4, 2))", (2, 3, 5)),
    ("u.remove_weight_norm(u.weight_norm(n.Linear(3, 4)))", (2, 3)),
    ("u.remove_spectral_norm(u.spectral_norm(n.Linear(3, 4)))", (2, 3)),
    ("z.remove_parametrizations(p.weight_norm(n.Linear(3, 4)), 'weight')", (2, 3)),
    ("z.remove_parametrizations(p.spectral_norm(n.Linear(3, 4)), 'weight', leave_parametrized=False)", (2, 3)),
    ("u.fuse_conv_bn_eval(n.Conv1d(3, 4, 2, bias=False).eval(), n.BatchNorm1d(4).eval())", (2, 3, 5)),
    ("u.fuse_conv_bn_eval(n.ConvTranspose1d(3, 4, 2).eval(), n.BatchNorm1d(4, affine=False).eval(), True)", (2, 3, 5)),
    ("u.fuse_linear_bn_eval(n.Linear(3, 4).eval(), n.BatchNorm1d(4).eval())", (2, 3)),
]

REFUSED = [
    "p.weight_norm(n.Linear(3, 4), 'x')",
    "p.spectral_norm(n.Linear(3, 4), 'x')",
    "p.spectral_norm(n.Linear(3, 4), n_power_iterations=0)",
    "p.spectral_norm(n.Linear(3, 4), dim=2)",
    "p.orthogonal(n.Linear(3, 4), 'bias')",
    "p.orthogonal(n.Linear(3, 4), orthogonal_map='x')",
    "setattr(p.orthogonal(n.Linear(3, 4)), 'weight', torch.ones(3, 3))",
    "setattr(z.register_parametrization(n.Linear(3, 4), 'weight', n.Tanh()), 'weight', torch.ones(4, 3))",
    "z.register_parametrization(n.Linear(3, 4), 'weight', n.Flatten(0))",
    "z.register_parametrization(n.Linear(3, 4), 'weight', n.MaxPool1d(2, return_indices=True))",
    "z.remove_parametrizations(n.Linear(3, 4), 'weight')",
    "z.remove_parametrizations(p.weight_norm(n.Linear(3, 4)), 'weight', leave_parametrized=False)",
    "z.ParametrizationList([], torch.ones(2))",
    "u.weight_norm(u.weight_norm(n.Linear(3, 4)))",
    "u.remove_weight_norm(n.Linear(3, 4))",
    "u.remove_spectral_norm(n.Linear(3, 4))",
    "u.fuse_linear_bn_eval(n.Linear(3, 4), n.BatchNorm1d(4))",
    "u.fuse_linear_bn_eval(n.Linear(3, 4).eval(), n.BatchNorm1d(3).eval())",
]


def names(library: Any) -> dict[str, Any]:
    utils = library.nn.utils
    return {"n": library.nn, "u": utils, "p": utils.parametrizations, "z": utils.parametrize, "torch": library}


def outcome(library: Any, module: Any, x: np.ndarray) -> list[np.ndarray]:
    """Results of two calls, the gradients of both together, and what the module keeps after them."""
    total = 0.0
    found = []
    for _ in range(2):
        result = module(library.tensor(x))
        found.append(result.detach().numpy())
        total = total + (result**3).sum()
    total.backward()
    found += [parameter.grad.numpy() for parameter in module.parameters() if parameter.grad is not None]
    return found + [value.numpy() for value in module.state_dict().values()]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize(("expression", "shape"), ROWS, ids=[row[0] for row in ROWS])
def test_module_is_pytorchs(expression: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = (eval(expression, names(library)).double() for library in (torch, gm))
    assert repr(ours) == repr(theirs)
    assert [(name, tuple(value.shape)) for name, value in ours.state_dict().items()] == [
        (name, tuple(value.shape)) for name, value in theirs.state_dict().items()
    ]
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    ours.load_state_dict({name: gm.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=shape)
    for want, got in zip(outcome(torch, theirs, x), outcome(gm, ours, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("expression", REFUSED)
def test_errors_are_pytorchs(expression: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (torch, gm):
        with pytest.raises(Exception) as raised:
            eval(expression, names(library))
        found.append(raised)
    assert issubclass(found[1].type, found[0].type)
    assert str(found[1].value)[:60] == str(found[0].value)[:60]


def program(library: Any) -> list[str]:
    """What a program with parametrizations of its own shows."""
    nn, parametrize = library.nn, library.nn.utils.parametrize
    shown: list[Any] = []

    class Symmetric(nn.Module):
        calls = 0

        def forward(self, x: Any) -> Any:
            Symmetric.calls += 1
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    class Double(nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def right_inverse(self, x: Any) -> Any:
            return x / 2

    layer = nn.Linear(2, 2, bias=False)
    layer.register_buffer("kept", library.tensor([1.0, 2.0]))
    with library.no_grad():
        layer.weight.copy_(library.tensor([[1.0, 2.0], [3.0, 4.0]]))
    parametrize.register_parametrization(layer, "weight", Symmetric())
    shown += [layer, layer.weight, layer.parametrizations.weight.original, parametrize.is_parametrized(layer)]
    parametrize.register_parametrization(layer, "weight", Double())
    parametrize.register_parametrization(layer, "kept", Double())
    shown += [layer, layer.weight, layer.kept, [name for name, _ in layer.named_buffers()]]
    layer.weight = library.tensor([[6.0, 4.0], [4.0, 8.0]])
    shown += [layer.weight, layer.parametrizations.weight.original]
    Symmetric.calls = 0
    with parametrize.cached():
        layer(library.ones(1, 2)), layer(library.ones(1, 2))
        shown.append(layer.weight is layer.weight)
    shown += [Symmetric.calls, layer.weight is layer.weight]
    twin = copy.deepcopy(layer)
    twin.weight = library.eye(2)
    shown += [type(twin).__name__, twin.weight, layer.weight]
    shown.append(parametrize.type_before_parametrizations(layer) is nn.Linear)
    other = parametrize.transfer_parametrizations_and_params(layer, nn.Linear(2, 2, bias=False), "weight")
    shown += [other, other.weight]
    parametrize.remove_parametrizations(layer, "kept", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    shown += [layer, layer.weight, layer.kept, type(layer) is nn.Linear, list(layer.state_dict())]
    hooked = nn.utils.weight_norm(nn.Linear(2, 2))
    renewed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    shown += [renewed.load_state_dict(hooked.state_dict()), bool((renewed.weight == hooked.weight).all())]
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(other)
    return [str(part) for part in shown]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_own_parametrizations() -> None:
    torch = pytest.importorskip("torch")
    assert program(gm) == program(torch)
