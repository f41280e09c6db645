"""Every form of subscript against PyTorch: reading and assigning, with gradients, grad_fn names and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmesh as gm

SUBSCRIPTS = """
1
-1
1, 2
1, 2, 3
1:3
:
-100:100
0:4
:, 1
..., 1
..., ::2
1:, ::2, 1
None
:, None
..., None
None, ..., None
None, 1, None
True
False
True, 1
1, True
...
()
:, ...
5:
2:1
..., ...
torch.tensor(2):
i
i, k
i, :, j
:, k
:, k, 1
1, :, j
:, :, j
:, k, j
pairs
pairs, 1
pairs, :, j[:2]
..., j
i, ..., j
i, None
None, i
:, None, k
i, None, k
1:3, k
1:3, :, j
::2, k, ::2
i.view(-1, 1), j[:2]
m
m4
m4, 1
m4, :, 1
:, m3
:, :, m5
m43
m43, 1
m4, k
..., m5
m4, ..., m5
m4, None
[0, 1]
[0, 1], [1, 2]
[[0, 1], [1, 2]]
[0, 1], :, [1, 2]
[True, False, True, True]
(0, 1)
range(2)
np.array([0, 2])
np.array([True, False, True, True])
np.int64(1)
torch.tensor(1)
torch.tensor(1), torch.tensor(2)
torch.tensor(1), k
:, torch.tensor(1), j
torch.tensor([1])
torch.tensor([], dtype=torch.int64)
torch.tensor(True)
torch.tensor(False)
torch.tensor([True, False, True, True]), 1:2
i.to(torch.int32)
torch.tensor(1, dtype=torch.int16)
[]
[], []
:, []
1, [0, 2]
[0, 2], 1
[0, 2], 1, [1, 1]
0, [0, 2], 1:3
0:1, [0, 2], 1:3
m4, 0, k
i, 0
i, 0, j
0, k, 0
None, [0, 1], [1, 2]
i, None, :, j
i[0]
[i, k]
[slice(None), k]
True, i
i, True
True, True
m4, True
..., True
None, True
""".strip().splitlines()

REFUSED = """
1.0
4
0, 0, 0, 0
..., ..., 0
::-1
::0
1.5:
i + 10
m3
:, m4
i, k[:2], 0
i.to(torch.int16)
i.to(torch.int8)
""".strip().splitlines()

X = np.random.default_rng(0).standard_normal((4, 3, 5))


def _names(library: Any) -> dict[str, Any]:
    tensor = library.tensor
    return {
        "torch": library,
        "np": np,
        "i": tensor([0, 2, 3]),
        "j": tensor([1, -1, 4]),
        "k": tensor([2, 0, 1]),
        "pairs": tensor([[0, 1], [3, 2]]),
        "m": tensor(X > 0),
        "m4": tensor([True, False, True, True]),
        "m43": tensor(X[:, :, 0] > 0),
        "m3": tensor([True, False, True]),
        "m5": tensor([True, False, True, False, True]),
    }


def _chain(node: Any, depth: int) -> str:
    behind = [other for other, _ in node.next_functions if other is not None]
    inner = f"({', '.join(_chain(other, depth - 1) for other in behind)})" if behind and depth else ""
    return type(node).__name__ + inner


def _random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _array(tensor: Any) -> np.ndarray:
    return np.zeros(()) if tensor is None else np.array(tensor.detach().numpy())


def _read(library: Any, subscript: str) -> list[Any]:
    leaf = library.tensor(X, requires_grad=True)
    result = eval(f"x[{subscript}]", {**_names(library), "x": leaf * 1})
    cotangent = library.tensor(_random(tuple(result.shape), 5))
    gradient = library.autograd.grad(result, leaf, cotangent)[0]
    return [_chain(result.grad_fn, 2), _array(result), _array(gradient)]


def _write(library: Any, subscript: str, value: str) -> list[Any]:
    leaf = library.tensor(X, requires_grad=True)
    x = leaf * 1
    names = {**_names(library), "x": x}
    shapes = {"whole": tuple(eval(f"x[{subscript}]", names).shape), "one": (1,)}
    source = library.tensor(_random(shapes.get(value, ()), 7), requires_grad=True)
    exec(f"x[{subscript}] = {'2.5' if value == 'number' else 'source'}", {**names, "source": source})
    gradients = library.autograd.grad(x, (leaf, source), library.tensor(_random(X.shape, 5)), allow_unused=True)
    return [_chain(x.grad_fn, 2), x._version, _array(x), *map(_array, gradients)]


def _same(mine: list[Any], other: list[Any]) -> None:
    for a, b in zip(mine, other, strict=True):
        if isinstance(a, np.ndarray):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-12)
        else:
            assert a == b


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")
@pytest.mark.parametrize("subscript", SUBSCRIPTS)
def test_reading_as_torch(subscript: str) -> None:
    torch = pytest.importorskip("torch")
    _same(_read(gm, subscript), _read(torch, subscript))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")
@pytest.mark.parametrize("value", ["number", "whole", "one"])
@pytest.mark.parametrize("subscript", SUBSCRIPTS)
def test_assigning_as_torch(subscript: str, value: str) -> None:
    torch = pytest.importorskip("torch")
    _same(_write(gm, subscript, value), _write(torch, subscript, value))


@pytest.mark.oracle
@pytest.mark.parametrize("subscript", REFUSED)
def test_refused_with_the_class_torch_uses(subscript: str) -> None:
    torch = pytest.importorskip("torch")
    kinds = []
    for library in (torch, gm):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            eval(f"x[{subscript}]", {**_names(library), "x": library.tensor(X)}).tolist()
        kinds.append(type(caught.value))
    assert issubclass(kinds[1], kinds[0])
    assert issubclass(kinds[1], gm.errors.GradmeshError)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "assignment",
    ["x[i] = w", "x[m3] = w", "x[1] = w.float()", "x[m4] = w", "x[m4] = w[0]", "x[1] = w", "x[i] = 1 + 0 * w"],
)
def test_a_source_of_another_dtype_or_shape(assignment: str) -> None:
    """Plain subscripts and one mask cast; index tensors do not."""
    torch = pytest.importorskip("torch")
    outcomes: list[Any] = []
    for library in (torch, gm):
        names = {**_names(library), "x": library.tensor(X), "w": library.tensor([3, 4, 5, 6, 7])}
        try:
            exec(assignment, names)
            outcomes.append(_array(names["x"]).tolist())
        except (RuntimeError, IndexError) as error:
            outcomes.append(str(error).split(" (")[0][:40])
    assert outcomes[1] == outcomes[0]
