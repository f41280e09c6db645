"""Random programs of views, in-place writes, detached tensors and gradients agree with PyTorch."""

import random
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradmesh as gm

LENGTH = 14
# What PyTorch refuses and gradmesh can do: its storage is real memory.
REFUSALS = ("unsupported operation: some elements", "leaf Variable")


def random_program(rng: random.Random) -> tuple[list[str], list[str]]:
    """Statements over w and v, leaves that require grad, and x, which does not; and the names they bind."""
    names, shapes = ["w", "x", "v"], [(3, 4), (3, 4), (4,)]
    lines = []
    for number in range(LENGTH):
        pick = rng.randrange(len(names))
        name, shape, new = names[pick], shapes[pick], f"t{number}"
        other = rng.randrange(len(names))
        bound: tuple[str, tuple[int, ...]] | None = None
        kind = rng.choice(["view", "view", "write", "write", "op", "op", "op", "detach", "nograd", "assign", "index"])
        if kind == "view" and shape:
            choices: list[tuple[str, tuple[int, ...]]] = [
                (f"{name}[{rng.randrange(shape[0])}]", shape[1:]),
                (f"{name}[:{max(1, shape[0] - 1)}]", (max(1, shape[0] - 1), *shape[1:])),
                (f"{name}[::2]", (-(-shape[0] // 2), *shape[1:])),
                (f"{name}.unsqueeze(0)", (1, *shape)),
            ]
            if len(shape) == 2:
                choices += [
                    (f"{name}.t()", shape[::-1]),
                    (f"{name}[:, {rng.randrange(shape[1])}]", shape[:1]),
                    (f"{name}.diagonal()", (min(shape),)),
                    (f"{name}.narrow(1, 0, 1)", (shape[0], 1)),
                ]
            bound = rng.choice(choices)
        elif kind == "write":
            written = ["mul_(1.5)", "add_(0.25)", "zero_()", "sin_()", f"sub_({names[other]})", f"mul_({names[other]})"]
            lines.append(f"{name}.{rng.choice(written)}")
        elif kind == "nograd":
            lines.append(f"with torch.no_grad(): {name}.mul_({rng.choice(['0.5', '2.0'])})")
        elif kind == "op":
            if rng.random() < 0.5:
                bound = f"{name}.{rng.choice(['sin()', 'tanh()', 'mul(2.0)', 'square()'])}", shape
            elif shapes[other] == shape:
                bound = f"{name} {rng.choice('+-*')} {names[other]}", shape
        elif kind == "detach":
            bound = f"{name}.detach()", shape
        elif kind == "assign" and shape:
            lines.append(
                f"{name}[{rng.choice(['0', '-1', ':1', '...'])}] = {rng.choice(['3.0', names[other] + '.sum()'])}"
            )
        elif kind == "index" and shape:
            bound = f"{name}[torch.tensor([0, {shape[0] - 1}, 0])]", (3, *shape[1:])
        if bound is not None:
            lines.append(f"{new} = {bound[0]}")
            names.append(new)
            shapes.append(bound[1])
    return lines, names


def outcome(library: ModuleType, lines: list[str], names: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The error of each line ("" for none), and what is left: values, flags, versions and gradients."""
    start = np.arange(12.0).reshape(3, 4) / 7 - 0.6
    scope: dict[str, Any] = {
        "torch": library,
        "w": library.tensor(start.tolist(), dtype=library.float64, requires_grad=True),
        "x": library.tensor((start * 1.3 + 0.1).tolist(), dtype=library.float64),
        "v": library.tensor([0.3, -0.2, 0.5, 0.7], dtype=library.float64, requires_grad=True),
    }
    errors = []
    for line in lines:
        try:
            exec(line, scope)
            errors.append("")
        except RuntimeError as error:
            errors.append(str(error))
    left: dict[str, Any] = {}
    total = None
    for name in names:
        tensor = scope.get(name)
        if tensor is None:
            continue
        flags = tensor.requires_grad, tensor.is_leaf, tensor._version, tensor._is_view()
        left[name] = np.array(tensor.tolist()), flags
        if tensor.requires_grad:
            part = (tensor * tensor).sum()
            total = part if total is None else total + part
    try:
        if total is not None:
            total.backward()
    except RuntimeError as error:
        left["error"] = str(error)[:80], ()
    for name in ("w", "v"):
        grad = scope[name].grad
        left[f"{name}.grad"] = np.array([] if grad is None or "error" in left else grad.tolist()), ()
    return errors, left


@pytest.mark.oracle
@pytest.mark.parametrize("chunk", range(8))
def test_random_programs_agree_with_pytorch(chunk: int) -> None:
    torch = pytest.importorskip("torch")
    compared = 0
    for seed in range(chunk * 40, chunk * 40 + 40):
        lines, names = random_program(random.Random(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch_errors, expected = outcome(torch, lines, names)
            if any(refusal in error for error in torch_errors for refusal in REFUSALS):
                lines = [line for line, error in zip(lines, torch_errors, strict=True) if not error]
                torch_errors, expected = outcome(torch, lines, names)
            errors, found = outcome(gm, lines, names)
        text = f"seed {seed}:\n" + "\n".join(lines)
        assert [bool(error) for error in errors] == [bool(error) for error in torch_errors], text
        assert found.keys() == expected.keys(), text
        for name, (value, flags) in expected.items():
            assert found[name][1] == flags, f"{name} in {text}"
            if isinstance(value, str):
                assert found[name][0] == value, text
            else:
                np.testing.assert_allclose(found[name][0], value, atol=1e-9, err_msg=f"{name} in {text}")
        compared += 1
    assert compared == 40
