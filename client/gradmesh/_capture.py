"""A function recorded once, and replayed: what it recorded becomes one node of the trace."""

from __future__ import annotations

import sys
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from gradmesh import _dtype, _trace
from gradmesh._body import Body, Captured
from gradmesh._explore import Exploration
from gradmesh._gather import Gathering
from gradmesh._guards import ATOMS, Guards, is_inside, is_users
from gradmesh._leaf import Edge, Leaf
from gradmesh._modes import STATE
from gradmesh._random import Generator, next_key
from gradmesh._steps import Step
from gradmesh._tensor import Tensor
from gradmesh._value import INFERENCE, Bundle, Made, Value, alias, place, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import InvalidRequestError

_IMPURE: Final = frozenset(
    "time random _random _io io posix secrets _socket numpy.random.mtrand numpy.random._generator".split()
)
_PRINTS: Final = (print, input, open)
_CLOCKS: Final = frozenset({"now", "today", "utcnow"})

# --- what a call is given -------------------------------------------------------------------------


class Given:
    """The arguments of one call, taken apart. Final.

    Attributes:
        key: what calls must have in common to be recorded alike.
        tensors: the tensors among the arguments, in order.
        values: their values.
        others: arguments that are neither tensors nor told apart by value.
    """

    __slots__ = ("key", "others", "parts", "tensors", "values")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.parts: list[Any] = [STATE.grad, _dtype.get_default_dtype(), len(args)]
        self.tensors: list[Tensor] = []
        self.values: list[Value] = []
        self.others: list[Any] = []
        for argument in args:
            self._take(argument)
        for name, argument in kwargs.items():
            self.parts.append(name)
            self._take(argument)
        tensors = self.tensors
        if len(tensors) > 1 and len(set(map(id, tensors))) != len(tensors):
            # The same tensor given twice may be recorded otherwise than two.
            first = {id(t): i for i, t in reversed([*enumerate(tensors)])}
            self.parts.append(tuple([first[id(t)] for t in tensors]))
        self.key = tuple(self.parts)

    def _take(self, one: Any) -> None:
        kind = one.__class__
        if isinstance(one, Tensor):
            value = one.value
            self.parts += (kind, id(value.spec), value.requires_grad, value.meta.__class__ is Leaf)
            if one._store is not None and one._store.steps:
                self.parts.append(one.stride())
            self.tensors.append(one)
            self.values.append(value)
        elif kind in ATOMS:
            self.parts += (kind, repr(one) if kind is float or kind is complex or kind is slice else one)
        elif isinstance(one, np.generic):
            self.parts += (kind, repr(one))
        elif kind is tuple or kind is list or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            self.parts += (kind, len(one))
            for part in one:
                self._take(part)
        elif kind is dict or kind is OrderedDict:
            self.parts.append(kind)
            self.parts += [len(one), *[key if key.__class__ is str else (key.__class__, key) for key in one]]
            for part in one.values():
                self._take(part)
        else:
            self.parts += (kind, id(one))
            self.others.append(one)


# --- what a call returns --------------------------------------------------------------------------

Put = Callable[[list[Tensor]], Any]


class Returned:
    """What a function returned, taken apart. Final.

    Attributes:
        tensors: the tensors, each once.
        put: puts others in their places.
        refused: why others cannot be put there, "" when they can.
        shape: tells results apart by what they are besides tensors.
    """

    def __init__(self, result: Any, taken: Callable[[object], bool]) -> None:
        self.tensors: list[Tensor] = []
        self.refused = ""
        self.shape: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._taken = taken
        self.put = self._take(result)

    def _take(self, one: Any) -> Put:
        kind = type(one)
        self.shape.append(kind)
        if isinstance(one, Tensor):
            number = self._numbers.setdefault(id(one), len(self.tensors))
            self.shape.append(number)
            if number == len(self.tensors):
                self.tensors.append(one)
            return lambda found: found[number]
        if kind in ATOMS:
            self.shape.append(repr(one))
            return lambda found: one
        named = issubclass(kind, tuple) and hasattr(kind, "_fields")
        if kind in (tuple, list) or named:
            if kind is list and self._taken(one):
                self.refused = "returns a list that others see"
            self.shape.append(len(one))
            parts = [self._take(part) for part in one]
            make: Callable[[Any], Any] = (lambda found: kind(*found)) if named else kind
            return lambda found: make([part(found) for part in parts])
        if kind in (dict, OrderedDict):
            if self._taken(one):
                self.refused = "returns a dict that others see"
            keys = list(one)
            self.shape.append(tuple(map(repr, keys)))
            values = [self._take(part) for part in one.values()]
            return lambda found: kind(zip(keys, [value(found) for value in values], strict=True))
        self.refused = f"returns an object of type {kind.__name__}"
        return lambda found: one


# --- watching -------------------------------------------------------------------------------------


class Watch:
    """Watches a function that runs as it is, and notes what keeps it from being replayed. Final.

    Attributes:
        codes: the user's code that ran, each with its globals, and what it called of Python's library, with None.
        keys: keys of random ops, each with the generator it came from.
        reason: why it cannot be replayed, "" when it can.
        start: values recorded by the function are of this epoch.
    """

    def __init__(self, strict: bool) -> None:
        self.codes: dict[types.CodeType, dict[str, Any] | None] = {}
        self.keys: list[tuple[Value, Generator | None]] = []
        self.reason = ""
        self.start = 0
        self._strict = strict

    def fail(self, what: str) -> None:
        """The function did something that a replay would not. Raises InvalidRequestError if that was asked for."""
        if not self.reason:
            self.reason = what
            line = user_line()
            self.reason = f"{what}{f' ({line})' if line else ''}"
            if self._strict:
                raise refusal(what, line)

    def writes(self, target: Tensor) -> None:
        """A tensor is written to."""
        store = target._store
        born = target._value.epoch if store is None else store.storage.born
        if born < self.start:
            self.fail("writes to a tensor it did not make")

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function."""
        STATE.epoch += 1  # What it records can be told from what was there.
        self.start = STATE.epoch
        STATE.capture = self
        sys.setprofile(self._profile)
        try:
            return function(*args, **kwargs)
        finally:
            sys.setprofile(None)
            STATE.capture = None

    def _profile(self, frame: types.FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code, back = frame.f_code, frame.f_back
            if code in self.codes or is_inside(code.co_filename):
                return
            # Code made of text, as of a dataclass, is told by where it was made.
            if is_users(code.co_filename) and not _is_ours(frame):
                self.codes[code] = frame.f_globals
            elif back is not None and back.f_code in self.codes:
                self.codes[code] = None
        elif event == "c_call" and not self.reason:
            module = getattr(argument, "__module__", None)
            owner = getattr(argument, "__self__", None)
            impure = argument in _PRINTS or module in _IMPURE or type(owner).__module__ in _IMPURE
            impure = impure or (argument.__name__ in _CLOCKS and isinstance(owner, type))
            if impure and not is_inside(frame.f_code.co_filename):
                self.fail(f"calls {argument.__name__}()")


def _is_ours(frame: types.FrameType) -> bool:
    name = str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] in ("gradmesh", "gradmesh_engine") or name.startswith("namedtuple_")


def refusal(what: str, line: str) -> InvalidRequestError:
    """What to raise for a function that has to be replayed and cannot be."""
    return InvalidRequestError(
        f"compile(fullgraph=True): the function {what}, which a replay would not",
        remedy="keep it outside the compiled function, or leave out fullgraph=True to have it run as it is",
        source=line,
    )


class Refused(Exception):
    """A function cannot be replayed. Final, never reaches users."""


def _there_before(roots: Sequence[Value], start: int) -> set[Value]:
    """The values of earlier epochs that others are made of. Raises Refused for what cannot be recorded anew."""
    found: set[Value] = set()
    seen: set[Value] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.epoch < start:
            found.add(value)
            continue
        made: Made = value if value.node is None else value.node
        if made.hooks is not None:
            raise Refused("attaches hooks")
        if value.requires_grad and isinstance(value.meta, Leaf | Edge):
            raise Refused("makes a leaf, or calls a custom Function")
        stack += made.inputs
    return found


class _Recorded(Gathering):
    """What a function recorded, from what was there before and from constants. Final."""

    def __init__(self, before: set[Value], tracked: set[Value] | None = None) -> None:
        super().__init__(tracked)
        self._cut = self.before = before

    def _is_input(self, value: Value) -> bool:
        return value in self._cut or (value.data is not None and not value.inputs)

    @property
    def parts(self) -> tuple[Any, ...]:
        """The ops with their operands."""
        found, key, at = [], self._key, 0
        for app in self._apps:
            arity = len(app.ins)
            found.append((app, tuple(key[at + 1 : at + 1 + arity])))
            at += 1 + arity
        return tuple(found)


class _Source:
    """A tensor that a replay reads. Final.

    Attributes:
        argument: which of the arguments' tensors it is, -1 for none.
        tensor: the tensor where it is no argument.
    """

    __slots__ = ("argument", "leaf", "requires_grad", "spec", "tensor")

    def __init__(self, tensor: Tensor, argument: int) -> None:
        value = tensor.value
        self.argument = argument
        self.tensor = None if argument >= 0 else tensor
        self.spec = value.spec
        self.requires_grad = value.requires_grad
        self.leaf = value.meta.__class__ is Leaf

    def now(self, given: Given) -> Value | None:
        """Its present value, None when it is of another kind than it was."""
        tensor = self.tensor
        if tensor is None:
            value = given.values[self.argument]
        else:
            value = tensor._value if tensor._store is None else tensor._store.sync(tensor)
            if value.requires_grad is not self.requires_grad or (value.meta.__class__ is Leaf) is not self.leaf:
                return None
        if (value.spec is not self.spec and value.spec != self.spec) or value.meta is INFERENCE:
            return None
        return value


class _Output:
    """Where one tensor that a replay returns comes from. Final.

    Attributes:
        number: which result of the node, or ~ which of its inputs it is, or is a view of.
        source: the tensor it is, or is a view of, instead.
        steps: the views that lead to it.
        shared: whether others may see its elements.
    """

    __slots__ = ("number", "shared", "source", "steps")

    def __init__(self, number: int, source: _Source | None, steps: tuple[Step, ...], shared: bool) -> None:
        self.number = number
        self.source = source
        self.steps = steps
        self.shared = shared


class Replay:
    """What a function recorded, and how to do it again. Final.

    Args:
        watch: what was noted while it ran.
        given: its arguments.
        guards: what it may have read, as it was before.
        before: the value each tensor had then, by id.
        result: what it returned.

    Attributes:
        guards: the same.
        print: what another recording must have in common with this one.

    Raises Refused when a replay would not be the same.
    """

    def __init__(self, watch: Watch, given: Given, guards: Guards, before: dict[int, Value], result: Any) -> None:
        self.guards = guards
        returned = Returned(result, guards.holds_object)
        arguments = {id(tensor): index for index, tensor in enumerate(given.tensors)}
        tensors = {id(tensor): tensor for tensor in (*guards.tensors, *given.tensors)}
        for reason in (watch.reason, guards.unseen, returned.refused):
            if reason:
                raise Refused(reason)
        if any([t.__dict__ for t in given.tensors]):
            raise Refused("is given a tensor with attributes of its own")
        if any([tensor.value is not before[one] for one, tensor in tensors.items()]):
            raise Refused("writes to a tensor it did not make")
        self._put = returned.put
        roots: list[Value] = []
        numbered: dict[Value, int] = {}
        outputs: list[tuple[int, Tensor | None, tuple[Step, ...], bool]] = []
        seen: dict[int, Value] = {}
        for tensor in returned.tensors:
            source, root, steps = _origin(tensor, tensors)
            if source is not None:
                outputs.append((0, source, steps, True))
                continue
            if tensor._store is not None and seen.setdefault(id(tensor._store.storage), root) is not root:
                raise Refused("returns tensors that share memory without being views of one another")
            if root not in numbered:
                numbered[root] = len(roots)
                roots.append(root)
            outputs.append((numbered[root], None, steps, tensor._store is not None))
        plain = _Recorded(_there_before(roots, watch.start))
        numbers = [plain.add(root) for root in roots]
        if any([root.requires_grad for root, number in zip(roots, numbers, strict=True) if number < 0]):
            raise Refused("returns a leaf it made")
        # What is an input as it stands is no result of the node.
        own = [k for k, number in enumerate(numbers) if number >= 0]
        results = {k: index for index, k in enumerate(own)}
        sources = {one: _Source(tensor, arguments.get(one, -1)) for one, tensor in tensors.items()}
        self._outputs = [
            _Output(0, sources[id(source)], steps, shared)
            if source is not None
            else _Output(results.get(k, numbers[k]), None, steps, shared)
            for k, source, steps, shared in outputs
        ]
        self._find_inputs(watch, plain.inputs, sources, before)
        guards.leave([source.tensor for _, source in self._inputs if source.tensor is not None])
        app = self._made(plain, [roots[k] for k in own], [numbers[k] for k in own])
        self._app = app
        self.print = (
            plain.parts, app.plain.numbers, app.tracks, app.ins, tuple(returned.shape),
            tuple([(n, source.argument, id(source.tensor)) for n, source in self._inputs]),
            tuple([(n, id(generator)) for n, generator in self._keys]),
            tuple([None if v is None or v.data is None else v.data.tobytes() for v in self._constants]),
            tuple([(o.number, o.source, len(o.steps)) if o.source is None else () for o in self._outputs]),
        )  # fmt: skip

    def _find_inputs(
        self, watch: Watch, inputs: Sequence[Value], sources: dict[int, _Source], before: dict[int, Value]
    ) -> None:
        """Where each input of the node comes from at a replay."""
        owners: dict[Value, list[int]] = {}
        for one in sources:
            owners.setdefault(before[one], []).append(one)
        keys = {value for value, _ in watch.keys}
        numbers = {value: number for number, value in enumerate(inputs)}
        self._keys = [(numbers.get(value, -1), generator) for value, generator in watch.keys]
        self._inputs: list[tuple[int, _Source]] = []
        self._constants: list[Value | None] = [None] * len(inputs)
        for number, value in enumerate(inputs):
            if value.epoch >= watch.start:
                if value not in keys:
                    self._constants[number] = value
                continue
            found = owners.get(value, [])
            if not found:
                raise Refused("reads a tensor that is neither an argument nor where it was looked for")
            if len(found) > 1:
                raise Refused("reads an argument from elsewhere, too")
            if value.meta is INFERENCE:
                raise Refused("reads a tensor made in inference mode")
            self._inputs.append((number, sources[found[0]]))

    def _made(self, plain: _Recorded, roots: Sequence[Value], numbers: Sequence[int]) -> Captured:
        ins = tuple([value.spec for value in plain.inputs])
        body, tracked = Body(ins, plain.parts, plain.order, tuple(numbers)), None
        leading = [root for root in roots if root.requires_grad]
        if leading:
            gathering = _Recorded(plain.before, Exploration(leading).tracked)
            again = tuple([gathering.add(root) for root in roots])
            if gathering.inputs != plain.inputs or any([number < 0 for number in again]):
                raise Refused("records what cannot be differentiated as a whole")
            tracked = Body(ins, gathering.parts, gathering.order, again)
        needs = tuple([value.requires_grad for value in plain.inputs])
        return Captured(body, tracked, needs, [r.spec for r in roots], tuple([r.requires_grad for r in roots]))

    def inputs(self, given: Given) -> list[Value] | None:
        """The values it would read now; None where a tensor is of another kind than it was."""
        values: list[Any] = self._constants.copy()
        for number, source in self._inputs:
            value = source.now(given)
            if value is None:
                return None
            values[number] = value
        return values

    def run(self, given: Given, values: list[Value]) -> Any:
        """What the function would return. Nothing is computed."""
        for number, generator in self._keys:
            key = _trace.scalar(next_key(generator), dtypes.int64)
            if number >= 0:
                values[number] = key._value
        app = self._app
        results: list[Value] = []
        if app.outs:
            bundle = Bundle(app, tuple(values))
            place(bundle)
            for index, (spec, track) in enumerate(zip(app.outs, app.tracks, strict=True)):
                value = Value(spec, None, None, (), track)
                value.node, value.index = bundle, index
                bundle.results.append(weakref.ref(value))
                results.append(value)
        bases: dict[int, Tensor] = {}
        found = []
        for output in self._outputs:
            number, source = output.number, output.source
            if source is not None:
                tensor = given.tensors[source.argument] if source.tensor is None else source.tensor
            elif output.shared and number in bases:
                tensor = bases[number]
            else:
                tensor = bases[number] = _trace.wrap(results[number] if number >= 0 else alias(values[~number]))
            for step in output.steps:
                view = _trace.record(step.op, tensor, **step.attrs)
                tensor = view if step.index < 0 else view[step.index]
            found.append(tensor)
        return self._put(found)


def _origin(tensor: Tensor, tensors: dict[int, Tensor]) -> tuple[Tensor | None, Value, tuple[Step, ...]]:
    """The tensor that a result is or is a view of where it was there before, or the value; and the views between."""
    value = tensor.value
    if id(tensor) in tensors:
        return tensor, value, ()
    store = tensor._store
    if store is None:
        return None, value, ()
    there = [one for one in tensors.values() if one._store is not None and one._store.storage is store.storage]
    for one in there:
        assert one._store is not None
        steps = one._store.steps
        if one._store.family is store.family and store.steps[: len(steps)] == steps:
            return one, value, store.steps[len(steps) :]
    if there:
        raise Refused("returns a tensor that shares memory with one it was given, without being a view of it")
    base = store.family.value
    if store.family.path or base.requires_grad != value.requires_grad:
        raise Refused("returns a view without the history of what it is a view of")
    return None, base, store.steps
