"""The function surface against PyTorch: the same text evaluated with both must agree.

Compared are value, dtype, shape, requires_grad, the chain of grad_fn names, and the gradient of every input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmesh as gm
from gradmesh.nn import functional
from tests.client.function_rows import COARSE, IN_PLACE, REFUSED, ROWS, arrays


def _inputs(library: Any) -> dict[str, Any]:
    tensors = {}
    for name, array in arrays().items():
        tensor = library.tensor(array)
        if tensor.is_floating_point() or tensor.is_complex():
            tensor.requires_grad_()
        tensors[name] = tensor
    return tensors


def _value(tensor: Any) -> np.ndarray:
    """The content of either library's tensor, 16-bit floats widened."""
    tensor = tensor.detach()
    if repr(tensor.dtype) in ("torch.bfloat16", "torch.float16"):
        tensor = tensor.float()
    if isinstance(tensor, gm.Tensor):
        return np.asarray(tensor.numpy())
    return np.asarray(tensor.resolve_conj().numpy(force=True))


def _chain(grad_fn: Any, depth: int = 3) -> str:
    """Names of a grad_fn and of those behind it, without operands that have none."""
    name = type(grad_fn).__name__
    behind = [node for node, _ in grad_fn.next_functions if node is not None]
    return f"{name}({', '.join(_chain(node, depth - 1) for node in behind)})" if behind and depth else name


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS)
def test_same_as_torch(row: str) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = _inputs(torch), _inputs(gm)
    wanted = eval(row, {"torch": torch, "F": torch.nn.functional, **theirs})
    got = eval(row, {"torch": gm, "F": functional, **ours})
    assert repr(got.dtype) == repr(wanted.dtype)
    assert repr(got.shape) == repr(wanted.shape)
    half = repr(wanted.dtype) in ("torch.bfloat16", "torch.float16")
    near = {"rtol": 1e-2 if half else 1e-5, "atol": 1e-2 if half else 1e-5}
    np.testing.assert_allclose(_value(got), _value(wanted), **near)
    assert got.requires_grad == wanted.requires_grad
    if not got.requires_grad:
        assert got.grad_fn is None
        return
    if wanted.grad_fn is None:
        assert got.grad_fn is None
    elif row not in COARSE:
        assert _chain(got.grad_fn) == _chain(wanted.grad_fn)
    seed = np.random.default_rng(1).standard_normal(tuple(wanted.shape))
    wanted.backward(torch.tensor(seed).to(wanted.dtype))
    got.backward(gm.tensor(seed).to(got.dtype))
    for name, tensor in theirs.items():
        assert (tensor.grad is None) == (ours[name].grad is None), name
        if tensor.grad is not None:
            # PyTorch gives a zero of its own kind where only a copy can be read.
            np.testing.assert_allclose(_value(ours[name].grad), _value(tensor.grad.clone()), rtol=2e-4, atol=2e-5)


# --- in place -------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", IN_PLACE.strip().splitlines())
def test_in_place_same_as_torch(row: str) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = _inputs(torch), _inputs(gm)
    results = []
    for library, tensors in ((torch, theirs), (gm, ours)):
        z = tensors["x"] * 1.0
        returned = eval(row, {"torch": library, "z": z, **tensors})
        results.append((_value(z), _value(returned), repr(z.dtype), z._version))
        (z * tensors["y"].detach()).sum().backward()
    for mine, other in zip(results[1], results[0], strict=True):
        np.testing.assert_array_equal(mine, other) if isinstance(mine, str | int) else np.testing.assert_allclose(
            mine, other, rtol=1e-5, atol=1e-6
        )
    for name in ("x", "y", "v"):
        # No gradient stands for one of zeros.
        mine, other = (
            np.zeros(tensors[name].shape) if tensors[name].grad is None else _value(tensors[name].grad)
            for tensors in (ours, theirs)
        )
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", REFUSED.strip().splitlines())
@pytest.mark.parametrize("library", ["gradmesh", pytest.param("torch", marks=pytest.mark.oracle)])
@pytest.mark.filterwarnings("ignore")
def test_refused_with_the_class_torch_uses(row: str, library: str) -> None:
    text, kinds = row.split(" | ")
    module = gm if library == "gradmesh" else pytest.importorskip("torch")
    names = {"torch": module, "F": functional if module is gm else module.nn.functional, **_inputs(module)}
    with pytest.raises(eval(kinds)) as caught:
        eval(text, names)
    if library == "gradmesh" and "GradmeshError" in [c.__name__ for c in type(caught.value).__mro__]:
        assert isinstance(caught.value, gm.errors.GradmeshError)
        assert caught.value.message
