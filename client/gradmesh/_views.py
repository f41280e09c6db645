"""Views and in-place ops over immutable values: storages that tensors share, and writes through them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gradmesh import _tensor
from gradmesh._grad_fn import CopySlices
from gradmesh._leaf import Edge, Leaf
from gradmesh._modes import STATE
from gradmesh._value import INFERENCE, Counter, Value, alias, application, emit, known, spec_of, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AutogradError, DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

# Ops whose result is a view of their first operand.
VIEW_OPS: Final = frozenset(
    "alias chunk diagonal expand flatten imag movedim narrow permute real reshape select slice split "
    "split_with_sizes squeeze strided_slice t transpose unbind unfold unsqueeze view view_as_complex view_as_real".split()
)


class Storage:
    """What tensors that see the same elements share. Final.

    Attributes:
        value: the present content, in the shape of the tensor that was there first.
        generation: number of writes.
        born: epoch in which the content was first recorded.
    """

    __slots__ = ("born", "generation", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.generation = 0
        self.born = value.epoch


class Step:
    """One view op on the way from a storage to a view. Final."""

    __slots__ = ("attrs", "index", "op")

    def __init__(self, op: str, attrs: Mapping[str, Any], index: int = -1) -> None:
        self.op = op
        self.attrs = attrs
        self.index = index

    def apply(self, value: Value) -> Value:
        """The view of a content."""
        result = emit(self.op, (value,), self.attrs)
        return result if isinstance(result, Value) else result[self.index]


class Store:
    """How one tensor sees a storage. Final.

    Attributes:
        storage: what it sees.
        steps: the view ops from the storage's content to the tensor's.
        generation: the storage's generation that the tensor's value is of.
        counter: counts writes; shared by all that see the storage, except through `.data`.
        base: the tensor this is a view of, for a view that gradients flow through or could.
        detached: whether the tensor's history is its own, not that of the storage's content.
        history: that history: a leaf's, an edge's, or None.
    """

    __slots__ = ("base", "counter", "detached", "generation", "history", "steps", "storage")

    def __init__(
        self,
        storage: Storage,
        steps: tuple[Step, ...],
        counter: Counter,
        base: Tensor | None = None,
        detached: bool = False,
    ) -> None:
        self.storage = storage
        self.steps = steps
        self.counter = counter
        self.base = base
        self.detached = detached
        self.generation = storage.generation
        self.history: Leaf | Edge | None = None

    def sync(self, tensor: Tensor) -> Value:
        """The tensor's value, derived anew when the storage was written to."""
        if self.generation == self.storage.generation:
            return tensor._value
        value = self.storage.value
        if self.detached:
            value = _without_history(value)
        if self.steps:
            grad, STATE.grad = STATE.grad, not self.detached
            try:
                for step in self.steps:
                    value = step.apply(value)
            finally:
                STATE.grad = grad
            if value.requires_grad and value.meta is None:
                value.meta = "AsStridedBackward0"
        if self.history is not None:
            value = alias(value, True, self.history)
        return self.adopt(tensor, value)

    def adopt(self, tensor: Tensor, value: Value) -> Value:
        """Make `value`, which is of the storage's present generation, the tensor's."""
        value.counter, value.version = self.counter, self.counter.current
        self.generation = self.storage.generation
        tensor._value = value
        return value


def _without_history(value: Value) -> Value:
    return alias(value) if value.requires_grad else value


def store_of(tensor: Tensor) -> Store:
    """How a tensor sees its storage; made when something begins to share it."""
    store = tensor._store
    if store is None:
        value = tensor._value
        counter = Counter()
        store = tensor._store = Store(Storage(value), (), counter)
        value.counter, value.version = counter, 0
    else:
        store.sync(tensor)
    return store


def share(source: Tensor, op: str, attrs: Mapping[str, Any], result: Value | tuple[Value, ...]) -> Any:
    """Tensors for the results of a view op on `source`, which share its storage."""
    store = store_of(source)
    base = store.base if store.base is not None else source
    if isinstance(result, Value):
        return _view(store, base, Step(op, attrs), result)
    return tuple([_view(store, base, Step(op, attrs, index), value) for index, value in enumerate(result)])


def _view(store: Store, base: Tensor, step: Step, value: Value) -> Tensor:
    tensor = _tensor.Tensor(value)
    # A view taken while nothing is recorded, or of a tensor with a history of its own, follows no other history.
    detached = store.detached or (store.storage.value.requires_grad and not value.requires_grad)
    tensor._store = view = Store(store.storage, (*store.steps, step), store.counter, base, detached)
    if store.detached and value.requires_grad:
        view.history = history_of(value)
    value.counter, value.version = store.counter, store.counter.current
    STATE.live.append(weakref.ref(tensor))
    return tensor


def detached(source: Tensor, *, own_counter: bool = False) -> Tensor:
    """A tensor that shares the storage and has no history; `own_counter` hides its writes from version checks."""
    store = store_of(source)
    value = alias(source._value)
    tensor = _tensor.Tensor(value)
    counter = Counter() if own_counter else store.counter
    tensor._store = Store(store.storage, store.steps, counter, store.base, True)
    value.counter, value.version = counter, counter.current
    if value.data is None:
        STATE.live.append(weakref.ref(tensor))
    return tensor


def history_of(value: Value) -> Leaf | Edge | None:
    """Where the gradient of a value goes."""
    if not value.requires_grad:
        return None
    if isinstance(value.meta, (Leaf, Edge)):
        return value.meta
    return Edge(value.node if value.node is not None else value, value.index)


# --- writes ---------------------------------------------------------------------------------------


def check_writable(tensor: Tensor) -> None:
    """Raises AutogradError when an in-place op on the tensor is against the rules."""
    value = tensor.value
    if value.meta is INFERENCE and not STATE.inference:
        raise AutogradError(
            "Inplace update to inference tensor outside InferenceMode is not allowed."
            "You can make a clone to get a normal tensor before doing inplace update.",
            source=user_line(),
        )
    store = tensor._store
    if STATE.grad and value.requires_grad:
        if isinstance(value.meta, Leaf):
            raise AutogradError(
                "a leaf Variable that requires grad is being used in an in-place operation.", source=user_line()
            )
        if store is not None and store.steps and isinstance(store.storage.value.meta, Leaf) and not store.detached:
            raise AutogradError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation.",
                source=user_line(),
            )
    if store is not None and any(step.op == "expand" for step in store.steps) and _overlaps(store):
        raise AutogradError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation.",
            source=user_line(),
        )


def _overlaps(store: Store) -> bool:
    shape = store.storage.value.spec
    value = shape
    for step in store.steps:
        grown = _spec_after(value, step)
        if step.op == "expand" and grown.size > value.size:
            return True
        value = grown
    return False


def _spec_after(spec: Any, step: Step) -> Any:
    outs = application(step.op, (spec,), step.attrs).outs
    return outs[max(step.index, 0)]


def inplace(target: Tensor, result: Tensor) -> Tensor:
    """Write `result`, computed out of place, into `target` and everything that shares its elements.

    `result` is converted to the dtype of `target`. Returns `target`.

    Raises:
        AutogradError: `target` is a leaf that requires grad, a view of one, or overlaps itself.
        ShapeError: the shapes differ.
        DTypeError: the dtype of `result` is of a higher category.
    """
    check_writable(target)
    value = result.value
    spec = target._value.spec
    if value.spec.shape != spec.shape:
        raise ShapeError(
            f"output with shape {list(spec.shape)} doesn't match the broadcast shape {list(value.spec.shape)}",
            expected=str(list(spec.shape)),
            got=str(list(value.spec.shape)),
            source=user_line(),
        )
    if value.spec.dtype != spec.dtype:
        value = _converted(value, spec.dtype)
    write(target, value)
    return target


_TORCH_NAMES: Final = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


def _converted(value: Value, dtype: Any) -> Value:
    if dtypes.category(value.spec.dtype) > dtypes.category(dtype):
        given, wanted = _TORCH_NAMES[value.spec.dtype.name], _TORCH_NAMES[dtype.name]
        raise DTypeError(
            f"result type {given} can't be cast to the desired output type {wanted}",
            expected=dtype.name,
            got=value.spec.dtype.name,
            source=user_line(),
        )
    converted = emit("convert", (value,), {"dtype": dtype.name})
    assert isinstance(converted, Value)
    return converted


def write(target: Tensor, value: Value) -> None:
    """Make `value`, of the spec of `target`, its content and that of what shares it."""
    store = store_of(target)
    storage = store.storage
    old = storage.value
    if value is target._value:
        value = alias(value, value.requires_grad, history_of(value))
    if not STATE.grad and target._value.requires_grad:
        # What is written while nothing is recorded leaves the history as it is.
        value = alias(value, True, history_of(target._value))
    elif store.detached:
        store.history = history_of(value) if value.requires_grad else None
    if store.steps:
        base = _written_back(store, old, _without_history(value) if store.detached else value)
        if base.requires_grad and base.meta is None:
            reads = value.inputs[1:] if value.inputs and value.inputs[0] is target._value else (value,)
            base.meta = CopySlices((old, *reads))
    else:
        base = value
    if (store.detached or not STATE.grad) and old.requires_grad:
        base = alias(base, True, history_of(old))
    elif store.detached:
        base = _without_history(base)
    storage.value = base
    storage.generation += 1
    store.counter.current += 1
    if base.counter is None:
        base.counter, base.version = store.counter, store.counter.current
    if not store.steps and not store.detached:
        store.adopt(target, base)
    elif not base.requires_grad and not value.requires_grad:
        store.adopt(target, value)
    STATE.live.append(weakref.ref(target))


def _written_back(store: Store, base: Value, value: Value) -> Value:
    """The storage's content with a view of it replaced."""
    contents = [base]
    for step in store.steps[:-1]:
        contents.append(step.apply(contents[-1]))
    for step, content in zip(reversed(store.steps), reversed(contents), strict=True):
        value = _put_back(step, content, value)
    return value


def _put_back(step: Step, content: Value, value: Value) -> Value:
    """The operand of a view op with the part that the view shows replaced."""
    shape = content.spec.shape
    cut = _CUTS.get(step.op)
    if cut is not None:
        starts, stops, steps = cut(step, shape)
        sizes = tuple([len(range(*bounds)) for bounds in zip(starts, stops, steps, strict=True)])
        if value.spec.shape != sizes:
            value = _one("reshape", value, shape=sizes)
        return _one("slice_update", content, value, starts=starts, stops=stops, steps=steps)
    order = _ORDERS.get(step.op)
    if order is not None:
        return _one("permute", value, dims=tuple(int(d) for d in np.argsort(order(step.attrs, len(shape)))))
    parts = _PARTS.get(step.op)
    if parts is not None:
        return parts(content, value)
    if value.spec.size == content.spec.size and step.op not in ("diagonal", "unfold"):
        return _one("reshape", value, shape=shape)
    return _put_at(step, content, value)


def _one(op: str, *inputs: Value, **attrs: Any) -> Value:
    result = emit(op, inputs, attrs)
    assert isinstance(result, Value)
    return result


def _put_at(step: Step, content: Value, value: Value) -> Value:
    """Write through a view by the positions of its elements in its operand."""
    size = content.spec.size
    places = step.apply(known(np.arange(size).reshape(content.spec.shape)))
    flat = _one("reshape", content, shape=(size,))
    written = _one("put_set", flat, _one("reshape", places, shape=(-1,)), _one("reshape", value, shape=(-1,)), dim=0)
    return _one("reshape", written, shape=content.spec.shape)


_Cut = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _whole(shape: tuple[int, ...], dim: int, start: int, stop: int, step: int = 1) -> _Cut:
    """A slice of one dim and all of the others."""
    dim %= len(shape)
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[dim], stops[dim], steps[dim] = start, stop, step
    return tuple(starts), tuple(stops), tuple(steps)


def _cut_select(step: Step, shape: tuple[int, ...]) -> _Cut:
    dim = step.attrs.get("dim", 0)
    index = step.attrs["index"] % shape[dim]
    return _whole(shape, dim, index, index + 1)


def _cut_slice(step: Step, shape: tuple[int, ...]) -> _Cut:
    dim = step.attrs.get("dim", 0)
    bounds = slice(step.attrs.get("start"), step.attrs.get("end"), step.attrs.get("step"))
    start, stop, stride = bounds.indices(shape[dim])
    return _whole(shape, dim, start, max(start, stop), stride)


def _cut_narrow(step: Step, shape: tuple[int, ...]) -> _Cut:
    start = step.attrs["start"] % max(shape[step.attrs["dim"]], 1)
    return _whole(shape, step.attrs["dim"], start, start + step.attrs["length"])


def _cut_strided(step: Step, shape: tuple[int, ...]) -> _Cut:
    return step.attrs["starts"], step.attrs["stops"], step.attrs["steps"]


def _cut_piece(step: Step, shape: tuple[int, ...]) -> _Cut:
    """One result of split, chunk or unbind."""
    dim = step.attrs.get("dim", 0)
    if step.op == "unbind":
        return _whole(shape, dim, step.index, step.index + 1)
    outs = application(step.op, (spec_of(shape, dtypes.float32),), step.attrs).outs
    start = sum([out.shape[dim] for out in outs[: step.index]])
    return _whole(shape, dim, start, start + outs[step.index].shape[dim])


_CUTS: Final[dict[str, Callable[[Step, tuple[int, ...]], _Cut]]] = {
    "chunk": _cut_piece,
    "narrow": _cut_narrow,
    "select": _cut_select,
    "slice": _cut_slice,
    "split": _cut_piece,
    "split_with_sizes": _cut_piece,
    "strided_slice": _cut_strided,
    "unbind": _cut_piece,
}


def _swapped(attrs: Mapping[str, Any], rank: int) -> list[int]:
    order = list(range(rank))
    if rank:
        a, b = attrs["dim0"] % rank, attrs["dim1"] % rank
        order[a], order[b] = order[b], order[a]
    return order


def _moved(attrs: Mapping[str, Any], rank: int) -> list[int]:
    order = dict(zip([d % rank for d in attrs["destination"]], [d % rank for d in attrs["source"]], strict=True))
    rest = iter([d for d in range(rank) if d not in order.values()])
    return [order[d] if d in order else next(rest) for d in range(rank)]


_ORDERS: Final[dict[str, Callable[[Mapping[str, Any], int], Sequence[int]]]] = {
    "movedim": _moved,
    "permute": lambda attrs, rank: [d % rank for d in attrs["dims"]],
    "t": lambda attrs, rank: range(rank)[::-1],
    "transpose": _swapped,
}

_PARTS: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "alias": lambda content, value: value,
    "imag": lambda content, value: _one("complex", _one("real", content), value),
    "real": lambda content, value: _one("complex", value, _one("imag", content)),
}


def set_data(target: Tensor, source: Tensor) -> None:
    """Give `target` the storage of `source`, keeping its history, gradient and hooks; see Tensor.data."""
    if not isinstance(source, _tensor.Tensor):
        raise AttributeTypeError(
            f"Variable data has to be a tensor, but got {type(source).__name__}",
            expected="Tensor",
            got=type(source).__name__,
            source=user_line(),
        )
    value = target.value
    theirs = store_of(source)
    counter = Counter() if target._store is None else target._store.counter
    history = history_of(value)
    if history is not None and not dtypes.is_differentiable(source._value.spec.dtype):
        raise AutogradError("data set to a tensor that requires gradients must be floating point or complex dtype")
    fresh = alias(source._value, history is not None, history)
    store = Store(theirs.storage, theirs.steps, counter, None, True)
    store.history = history
    target._store = store
    fresh.counter, fresh.version = counter, counter.current
    target._value = fresh
    if fresh.data is None:
        STATE.live.append(weakref.ref(target))
