"""Compiled functions give what the functions give: values, gradients and errors, to the last bit."""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import functools
import operator
import os
import threading
import types
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import gradmesh as gm
from gradmesh._compile import Compiled, OptimizedModule
from tests.client import compile_rows, compile_rows_autograd
from tests.client.compile_rows import ROWS, numbers

assert compile_rows_autograd.CALLS  # Its rows are in the table.


def plain(one: Any) -> Any:
    """What two programs must show alike, to the last bit."""
    if isinstance(one, gm.Tensor):
        array = one.detach().numpy()
        return "tensor", array.dtype.name, array.shape, array.tobytes(), one.requires_grad
    return type(one).__name__, one


def _saw(lib: Any, program: Any, compile: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return program(lib, compile)


@pytest.mark.parametrize("name", ROWS)
def test_compiled_is_as_it_is(name: str) -> None:
    row = ROWS[name]
    made: list[Compiled] = []

    def compile(function: Any) -> Any:
        compiled = gm.compile(function)
        made.append(compiled.__dict__["_compiled"] if isinstance(compiled, OptimizedModule) else compiled)
        return compiled

    compiled = [plain(one) for one in _saw(gm, row.program, compile)]
    as_it_is = [plain(one) for one in _saw(gm, row.program, lambda function: function)]
    assert len(as_it_is) > 2
    for index, (one, other) in enumerate(zip(compiled, as_it_is, strict=True)):
        assert one == other, f"result {index}"
    replays = sum(len(signature.replays) for one in made for signature in one._signatures.values())
    assert bool(replays) == row.replayed, [one.reasons for one in made]
    if not row.replayed:
        assert any(one.reasons for one in made)


# --- what changes between calls -------------------------------------------------------------------


class _Object:
    k = 2.0

    def times(self, x: Any) -> Any:
        return x * self.k

    @property
    def own(self) -> float:
        return self.held.k  # type: ignore[attr-defined,no-any-return]


class _Slots:
    __slots__ = ("k",)


class _Sub(_Object):
    pass


class _Any:
    def __init__(self) -> None:
        self.table = {"k": 2.0}

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["table"][name]


def _default(x: Any, k: list[float] = [2.0]) -> Any:  # noqa: B006
    return x * k[0] * _default.scale  # type: ignore[attr-defined]


_default.scale = 1.0  # type: ignore[attr-defined]


def _imports(x: Any) -> Any:
    from tests.client.compile_rows import CALLS

    return x * len(CALLS)


Change = tuple[Any, Any, Any]


def _changes() -> dict[str, Change]:
    """By name a function of a tensor, and two ways in which what it reads is changed."""
    one, other, sub, free, slots = _Object(), _Object(), _Sub(), _Any(), _Slots()
    one.held = other  # type: ignore[attr-defined]
    slots.k = 2.0
    module = types.ModuleType("of_the_test")
    module.k = 2.0  # type: ignore[attr-defined]
    nest: dict[str, Any] = {"a": [{"b": 2.0}], "c": 1.0}
    members = {1.0, 2.0}
    outside = gm.ones(3)
    partial = functools.partial(lambda k, x: x * k[0], [2.0])
    local = threading.local()
    local.k = 2.0
    raw = bytearray(b"\x02")
    get = nest.get
    variable = contextvars.ContextVar("variable", default=2.0)
    return {
        "attribute": (lambda x: x * one.k, lambda: setattr(one, "k", 3.0), lambda: delattr(one, "k")),
        "method": (lambda x: one.times(x), lambda: setattr(_Object, "k", 4.0), lambda: setattr(_Object, "k", 2.0)),
        "method replaced": (
            lambda x: other.times(x),
            lambda: setattr(other, "times", lambda x: x - 1),
            lambda: delattr(other, "times"),
        ),
        "property": (lambda x: x * one.own, lambda: setattr(other, "k", 5.0), lambda: delattr(other, "k")),
        "inherited": (lambda x: x * sub.k, lambda: setattr(_Sub, "k", 6.0), lambda: delattr(_Sub, "k")),
        "getattr": (lambda x: x * getattr(one, "k"), lambda: setattr(one, "k", 3.0), lambda: delattr(one, "k")),  # noqa: B009
        "vars": (lambda x: x * len(vars(one)), lambda: setattr(one, "more", 1), lambda: delattr(one, "more")),
        "__getattr__": (lambda x: x * free.k, lambda: free.table.update(k=3.0), lambda: setattr(free, "k", 7.0)),
        "slots": (lambda x: x * slots.k, lambda: setattr(slots, "k", 3.0), lambda: setattr(slots, "k", 4.0)),
        "module": (lambda x: x * module.k, lambda: setattr(module, "k", 3.0), lambda: setattr(module, "k", 4.0)),
        "nest": (
            lambda x: x * nest["a"][0]["b"],
            lambda: nest["a"][0].update(b=3.0),
            lambda: nest["a"].insert(0, {"b": 9.0}),
        ),
        "order": (lambda x: x * len(next(iter(nest))), lambda: nest.update({"longer": nest.pop("a")}), nest.popitem),
        "bound": (lambda x: x * get("c"), lambda: nest.update(c=3.0), lambda: nest.update(c=4)),
        "set": (lambda x: x * sum(members), lambda: members.add(5.0), lambda: members.discard(1.0)),
        "default": (
            _default,
            lambda: _default.__defaults__[0].__setitem__(0, 3.0),  # type: ignore[index]
            lambda: setattr(_default, "scale", 2.0),
        ),
        "partial": (partial, lambda: partial.args[0].__setitem__(0, 3.0), lambda: partial.args[0].__setitem__(0, -0.0)),
        "import": (
            _imports,
            lambda: setattr(compile_rows, "CALLS", range(3)),
            lambda: setattr(compile_rows, "CALLS", range(7)),
        ),
        "environment": (
            lambda x: x * len(os.environ.get("GRADMESH_TEST", "")),
            lambda: os.environ.update(GRADMESH_TEST="three"),
            lambda: os.environ.pop("GRADMESH_TEST"),
        ),
        "shape alone": (
            lambda x: x * outside.numel(),
            lambda: setattr(outside, "data", gm.ones(2)),
            lambda: setattr(outside, "data", gm.ones(3)),
        ),
        "requires_grad alone": (
            lambda x: x * (2.0 if outside.requires_grad else 3.0),
            lambda: outside.requires_grad_(),
            lambda: outside.requires_grad_(False),
        ),
        "tag of a tensor": (
            lambda x: x * getattr(outside, "tag", 1.0),
            lambda: setattr(outside, "tag", 3.0),
            lambda: delattr(outside, "tag"),
        ),
        "thread's": (lambda x: x * local.k, lambda: setattr(local, "k", 3.0), lambda: setattr(local, "k", 4.0)),
        "bytes": (lambda x: x * raw[0], lambda: raw.__setitem__(0, 3), lambda: raw.__setitem__(0, 4)),
        "context's": (lambda x: x * variable.get(), lambda: variable.set(3.0), lambda: variable.set(4.0)),
        "by string": (
            lambda x: x * globals().get("_K", 1.0),
            lambda: globals().__setitem__("_K", 3.0),
            lambda: globals().pop("_K"),
        ),
        "attrgetter": (
            lambda x: x * operator.attrgetter("k")(one),
            lambda: setattr(one, "k", 3.0),
            lambda: delattr(one, "k"),
        ),
        "dataclass library": (
            lambda x: x * sum(dataclasses.astuple(settings)),
            lambda: setattr(settings, "k", 3.0),
            lambda: setattr(settings, "k", 4.0),
        ),
    }


@dataclasses.dataclass
class _Settings:
    k: float = 2.0


settings = _Settings()


@pytest.mark.parametrize("name", _changes())
def test_no_result_is_stale(name: str) -> None:
    function, *changes = _changes()[name]
    compiled = gm.compile(function)
    for change in (lambda: None, *changes):
        change()
        for index in range(5):
            x = numbers(gm, 3, seed=index)
            assert plain(compiled(x)) == plain(function(x))


def _arguments() -> dict[str, tuple[Any, Any, Any]]:
    """By name a function of one argument, and two arguments it tells apart."""
    leaf = gm.ones(2, 2, requires_grad=True)
    return {
        "leaf": (lambda x: x * (2.0 if x.is_leaf else 3.0), leaf, leaf * 1),
        "grad_fn": (lambda x: x * (2.0 if x.grad_fn is None else 3.0), leaf, leaf * 1),
        "layout": (lambda x: x * (2.0 if x.is_contiguous() else 3.0), gm.ones(2, 2), gm.ones(2, 2).t()),
        "stride": (lambda x: x * x.stride()[0], gm.ones(2, 2), gm.ones(2, 4)[:, :2]),
        "class": (lambda x: x * (2.0 if isinstance(x, gm.nn.Parameter) else 3.0), leaf, gm.nn.Parameter(gm.ones(2, 2))),
        "number": (lambda k: gm.ones(2) * k, 1, True),
        "zero": (lambda k: gm.ones(2) * k, 0.0, -0.0),
        "type": (lambda k: gm.ones(2) / len(k), (1, 2), [1, 2, 3]),
        "keys": (lambda d: gm.ones(2) * len(next(iter(d))), {"a": 1.0}, {"abc": 1.0}),
    }


@pytest.mark.parametrize("name", _arguments())
def test_arguments_are_told_apart(name: str) -> None:
    function, one, other = _arguments()[name]
    compiled = gm.compile(function)
    for argument in (one, one, one, one, other, other, one, other, other, other):
        assert plain(compiled(argument)) == plain(function(argument))


# --- errors and bounds ----------------------------------------------------------------------------


def _reads(x: Any) -> Any:
    return x * x.sum().item()


def _writes(x: Any) -> Any:
    return x.add_(1)


def _hooks(x: Any) -> Any:
    y = x.requires_grad_() * 1
    y.register_hook(print)
    return y


_COUNTED = [0]


def _counts(x: Any) -> Any:
    _COUNTED[0] += 1
    return x * 2


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_reads, r"the function reads a value, .*test_compile.py:\d+"),
        (_writes, r"the function writes to a tensor it did not make, .*test_compile.py:\d+"),
        (_hooks, r"the function registers a hook, "),
        (_counts, r"the function changes what it may read the next time, "),
        (lambda x: print("seen") or x, r"the function calls print\(\), "),
        (lambda x: lambda: x, r"the function returns an object of type function, "),
        (lambda x: x * np.ones(3, np.float32)[0] * _ARRAY.size, r"an object of type ndarray, "),
    ],
)
def test_fullgraph_says_what_cannot_be_replayed(function: Any, message: str) -> None:
    compiled = gm.compile(function, fullgraph=True)
    with pytest.raises(gm.errors.InvalidRequestError, match=message) as caught:
        for index in range(4):
            compiled(numbers(gm, 3, seed=index))
    assert "leave out fullgraph=True" in str(caught.value)


_ARRAY = np.ones(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamic": True}, "dynamic=True is not supported"),
        ({"options": {"trace.enabled": True}}, "is not supported"),
        ({"backend": "tensorrt"}, "backend='tensorrt' is not supported"),
        ({"mode": "fastest"}, "Unrecognized mode=fastest"),
    ],
)
def test_what_is_not_supported_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gm.errors.InvalidRequestError, match=message):
        gm.compile(_reads, **options)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="compile takes a function or a Module, but got int"):
        gm.compile(3)  # type: ignore[arg-type]


def test_wrappers() -> None:
    assert gm.compile(_reads, disable=True) is _reads
    compiled = gm.compile(_counts)
    assert gm.compile(compiled) is compiled and compiled.__name__ == "_counts"
    decorated = gm.compile(fullgraph=True)(lambda x: x + 1)
    assert decorated(gm.ones(1)).item() == 2


def test_a_copy_is_compiled_by_itself() -> None:
    compiled = gm.compile(gm.nn.Linear(3, 1))
    other = copy.deepcopy(compiled)
    with gm.no_grad():
        other.weight.fill_(1.0)
        other.bias.zero_()
    for _ in range(5):
        assert other(gm.ones(1, 3)).item() == 3 and plain(compiled(gm.ones(1, 3))) != plain(other(gm.ones(1, 3)))
    assert other(gm.ones(1, 3)).grad_fn.name() == "CompiledFunctionBackward"


def test_what_differs_each_time_runs_as_it_is() -> None:
    compiled = gm.compile(lambda x, k: x * k())
    functions = [lambda k=k: float(k) for k in range(40)]
    for k, function in enumerate(functions):
        assert compiled(gm.ones(1), function).item() == k
    assert "is given other arguments than in 32 calls" in compiled.reasons


def test_a_replay_is_one_request_and_one_node() -> None:
    weight = gm.ones(3, requires_grad=True)
    compiled = gm.compile(lambda x: functools.reduce(lambda y, _: (y * weight).sin(), range(200), x).sum())
    for _ in range(4):
        loss = compiled(gm.ones(3))
    assert loss.grad_fn is not None and loss.grad_fn.name() == "CompiledFunctionBackward"
    assert [node.name() for node, _ in loss.grad_fn.next_functions if node] == ["torch::autograd::AccumulateGrad"]
    gm.stats(reset=True)
    loss.backward()
    loss.item()
    assert gm.stats().requests == 1


def test_what_was_used_up_is_let_go() -> None:
    weight = gm.ones(3, requires_grad=True)
    compiled = gm.compile(lambda x: (x * weight).exp().sum())
    losses, arrays = [], []
    for _ in range(6):
        x = gm.ones(3) * 2
        arrays.append(weakref.ref(x.value))
        loss = compiled(x)
        loss.backward()
        losses.append(loss)
    del x, loss
    assert [ref() for ref in arrays] == [None] * 6


def _shown(one: Any) -> Any:
    """What PyTorch shows, too: numbers to some digits."""
    if not hasattr(one, "requires_grad"):
        return pytest.approx(one, 1e-3, 1e-5) if isinstance(one, float) else one
    array = one.detach().numpy()
    about = [pytest.approx(x, 1e-3, 1e-5) for x in array.ravel().tolist()]
    return array.dtype.name, array.shape, about, one.requires_grad


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.oracle])
def test_as_pytorchs_compile(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    program = ROWS[name].program
    theirs = [_shown(one) for one in _saw(torch, program, lambda f: torch.compile(f, backend="eager"))]
    mine = [_shown(one) for one in _saw(gm, program, gm.compile)]
    assert len(mine) == len(theirs)
    for index, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        assert one == other, f"result {index}"
