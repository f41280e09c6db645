"""Programs that compile a function and call it several times; see test_compile.py.

A program takes the library and its `compile`, and returns what it saw: tensors, numbers and names.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import time
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Seen = list[Any]
Program = Callable[[Any, Callable[..., Any]], Seen]


class Row(NamedTuple):
    """A program.

    Attributes:
        program: it.
        replayed: whether some call is replayed.
        oracle: whether PyTorch shows the same, its numbers being other in the last bits.
    """

    program: Program
    replayed: bool = True
    oracle: bool = True


ROWS: dict[str, Row] = {}


def row(replayed: bool = True, oracle: bool = True) -> Callable[[Program], Program]:
    def add(program: Program) -> Program:
        assert program.__name__ not in ROWS
        ROWS[program.__name__] = Row(program, replayed, oracle)
        return program

    return add


def numbers(lib: Any, *shape: int, seed: int = 0, grad: bool = False) -> Any:
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    made = lib.from_numpy(array)
    return made.requires_grad_() if grad else made


CALLS = range(7)


# --- values ---------------------------------------------------------------------------------------


@row()
def pointwise(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x, y: (x.tanh() * y + x.exp()).sum(0))
    return [f(numbers(lib, 3, 4, seed=i), numbers(lib, 4, seed=i + 50)) for i in CALLS]


@row()
def shapes_and_dtypes(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: (x * 3).cumsum(0).sum() / 2)
    seen = []
    for i in CALLS:
        x = numbers(lib, 3, seed=i)
        seen += [f(x), f(x.double()), f(x[:2]), f((x * 10).long()), f(x > 0)]
    return seen


@row()
def arguments_of_all_kinds(lib: Any, compile: Any) -> Seen:
    Pair = namedtuple("Pair", "left right")

    @compile
    def f(pair: Any, table: Any, *rest: Any, scale: float = 1.0, how: str = "sum", flag: bool = False) -> Any:
        x = pair.left * table["a"][0] + pair.right
        for one in rest:
            x = x - one
        return {"x": getattr(x, how)() * scale, "flag": flag, "shape": tuple(x.shape)}, [x, (x, None)]

    seen: Seen = []
    for i in CALLS:
        x, y = numbers(lib, 3, seed=i), numbers(lib, 3, seed=i + 9)
        for given in ({}, {"scale": 2.0}, {"how": "mean"}, {"flag": True}):
            found, more = f(Pair(x, y), {"a": [y]}, x, 2.0, **given)
            seen += [found["x"], found["flag"], found["shape"], more[0], more[1][0] is more[0], more[1][1]]
    return seen


@row()
def numbers_of_equal_value(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x, k: x * k)
    x = lib.tensor([1, -2])
    return [f(x, k) for _ in CALLS for k in (1, 1.0, True, 0.0, -0.0)]


@row()
def no_tensors(lib: Any, compile: Any) -> Seen:
    f = compile(lambda n: lib.arange(n) * 2 + lib.full((n,), 2.0) @ lib.eye(n))
    return [f(n) for _ in CALLS for n in (2, 3)]


@row()
def several_results(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: (x.max(0), x.sort(1), x.split(1), lib.linalg.qr(x @ x.t())))
    seen: Seen = []
    for i in CALLS:
        largest, ordered, parts, (q, r) = f(numbers(lib, 3, 4, seed=i))
        seen += [largest.values, largest.indices, ordered[0], ordered[1], *parts, (q @ r).abs().round(decimals=3)]
    return seen


@row()
def a_result_given_twice(lib: Any, compile: Any) -> Seen:
    def g(x: Any) -> Any:
        y = x * 2
        return y, y, x

    f, seen = compile(g), []
    for i in CALLS:
        x = numbers(lib, 3, seed=i)
        a, b, c = f(x)
        a.add_(1)
        seen += [a, b, a is b, c is x]
    return seen


@row()
def the_same_argument_twice(lib: Any, compile: Any) -> Seen:
    def g(x: Any, y: Any) -> Any:
        return x + 1 if x is y else x * y

    f, seen = compile(g), []
    for i in CALLS:
        x, y = numbers(lib, 3, seed=i), numbers(lib, 3, seed=i + 9)
        seen += [f(x, x), f(x, y), f(y, y)]
    return seen


@row()
def views_of_arguments(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: (x.view(-1), x[0], x.t()[1:]))
    seen: Seen = []
    for i in CALLS:
        x = numbers(lib, 2, 3, seed=i)
        flat, first, turned = f(x)
        first.fill_(7.0)
        seen += [x, flat, first, turned, turned.is_contiguous(), flat._base is x]
    return seen


@row()
def views_of_results(lib: Any, compile: Any) -> Seen:
    def g(x: Any) -> Any:
        y = x * 2
        left, right = y.chunk(2, 1)
        return y.t(), left, right, (x + 1).t()

    f, seen = compile(g), []
    for i in CALLS:
        turned, left, right, other = f(numbers(lib, 2, 4, seed=i))
        turned.mul_(3)
        seen += [turned, left, right, other, other.is_contiguous(), other.stride()]
    return seen


@row()
def writes_to_what_it_made(lib: Any, compile: Any) -> Seen:
    def g(x: Any) -> Any:
        y = lib.zeros(3)
        y[1:] = x[:2]
        y += x
        y.clamp_(max=1)
        return y

    f = compile(g)
    return [f(numbers(lib, 3, seed=i)) for i in CALLS]


@row(replayed=False)
def writes_to_an_argument(lib: Any, compile: Any) -> Seen:
    def g(x: Any) -> Any:
        x.add_(1)
        return x * 2

    f, seen = compile(g), []
    for i in CALLS:
        x = numbers(lib, 3, seed=i)
        seen += [f(x), x]
    return seen


@row(replayed=False)
def writes_through_a_view(lib: Any, compile: Any) -> Seen:
    def g(x: Any) -> Any:
        x[0].zero_()
        return x.sum()

    f, seen = compile(g), []
    for i in CALLS:
        x = numbers(lib, 3, 2, seed=i)
        seen += [f(x), x]
    return seen


@row(replayed=False)
def writes_to_what_it_closes_over(lib: Any, compile: Any) -> Seen:
    total = lib.zeros(3)

    def g(x: Any) -> Any:
        total.copy_(total + x)
        return total * 2

    f = compile(g)
    return [f(numbers(lib, 3, seed=i)) for i in CALLS] + [total]


# --- what Python sees -----------------------------------------------------------------------------


@row(replayed=False)
def reads_a_value(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: x * 2 if x.sum().item() > 0 else x - 1)
    return [f(numbers(lib, 3, seed=i)) for i in CALLS]


@row(replayed=False)
def branches_on_a_value(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: x * 2 if x.sum() > 0 else x - 1)
    return [f(numbers(lib, 3, seed=i)) for i in CALLS]


@row(replayed=False)
def counts_its_calls(lib: Any, compile: Any) -> Seen:
    count = 0

    def g(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * 2

    f = compile(g)
    return [f(numbers(lib, 3, seed=i)) for i in CALLS] + [count]


@row(replayed=False)
def appends_to_a_list(lib: Any, compile: Any) -> Seen:
    kept: list[Any] = []

    def g(x: Any) -> Any:
        kept.append(len(kept))
        return x * len(kept)

    f = compile(g)
    return [f(numbers(lib, 3, seed=i)) for i in CALLS] + kept


@row(replayed=False, oracle=False)
def appends_to_an_argument(lib: Any, compile: Any) -> Seen:
    def g(x: Any, kept: list[Any]) -> Any:
        kept.append(x)
        return x * 2

    f, seen = compile(g), []
    for i in CALLS:
        kept: list[Any] = []
        seen += [f(numbers(lib, 3, seed=i), kept), len(kept)]
    return seen


@row(replayed=False, oracle=False)
def takes_from_an_iterator(lib: Any, compile: Any) -> Seen:
    count = itertools.count()
    f = compile(lambda x: x * next(count))
    return [f(numbers(lib, 3, seed=i)) for i in CALLS]


@row(replayed=False, oracle=False)
def asks_for_the_time(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x: x * bool(time.time()))
    g = compile(lambda x: x * (datetime.datetime.now().year > 0))
    return [h(numbers(lib, 3, seed=i)) for i in CALLS for h in (f, g)]


@row(replayed=False)
def reads_an_array(lib: Any, compile: Any) -> Seen:
    array, seen = np.ones(3, np.float32), []
    f = compile(lambda x: x * lib.from_numpy(array))
    for i in CALLS:
        array[:] = i
        seen.append(f(numbers(lib, 3, seed=i)) + 0)
    return seen


@row()
def closes_over_numbers_and_lists(lib: Any, compile: Any) -> Seen:
    scale, table, options = 1.0, [2.0, 3.0], {"power": 2}
    f = compile(lambda x: ((x * scale + table[0]) ** options["power"] - len(table)).sum())
    seen = []
    for i in range(24):
        x = numbers(lib, 3, seed=i)
        if i == 6:
            scale = 5.0
        if i == 12:
            table.append(1.0)
        if i == 18:
            options["power"] = 3
        seen.append(f(x))
    return seen


@row()
def objects_of_the_user(lib: Any, compile: Any) -> Seen:
    @dataclasses.dataclass
    class Settings:
        scale: float
        unused: Any = None

    class Holder:
        offset = 1.0

        def __init__(self) -> None:
            self.settings = Settings(2.0, unused=itertools.count())
            self.weight = numbers(lib, 3, seed=99)

        def apply(self, x: Any) -> Any:
            return x * self.weight * self.settings.scale + self.offset

    holder = Holder()
    f = compile(holder.apply)
    seen = []
    for i in range(30):
        if i == 6:
            holder.settings.scale = 3.0
        if i == 12:
            holder.weight = numbers(lib, 3, seed=98)
        if i == 18:
            Holder.offset = 4.0
        if i == 24:
            holder.offset = 5.0
        seen.append(f(numbers(lib, 3, seed=i)))
    return seen


@row()
def a_method_compiled_in_its_class(lib: Any, compile: Any) -> Seen:
    class Holder:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        @compile
        def apply(self, x: Any) -> Any:
            return x * self.scale

    holders = [Holder(1.0), Holder(2.0)]
    return [holder.apply(numbers(lib, 3, seed=i)) for i in CALLS for holder in holders]


def _helper(x: Any) -> Any:
    return x * 2


@row()
def functions_it_calls(lib: Any, compile: Any) -> Seen:
    def helper(x: Any, k: Any) -> Any:
        return _helper(x) * k

    f = compile(lambda x: helper(x, 3.0))
    seen = []
    for i in range(14):
        if i == 7:
            helper = lambda x, k: x - k  # noqa: E731
        seen.append(f(numbers(lib, 3, seed=i)))
    return seen


@row()
def too_many_numbers(lib: Any, compile: Any) -> Seen:
    f = compile(lambda x, k: x * k)
    return [f(numbers(lib, 3, seed=i), float(k)) for k in range(12) for i in range(4)]
