"""Views and in-place ops over immutable values: storages that tensors share, and writes through them.

A storage is seen by families of tensors. A family is a tensor and its views: they share one history.
`detach` begins another family on the same storage: its tensors see the same elements, and none of the
history.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gradmesh import _tensor
from gradmesh._grad_fn import CopySlices, edge_of, node_of
from gradmesh._hooks import move_retained
from gradmesh._leaf import Edge, Leaf
from gradmesh._modes import STATE
from gradmesh._steps import VIEW_OPS, Step, overlaps, written_back
from gradmesh._value import INFERENCE, Counter, Value, alias, emit, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AutogradError, DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "VIEW_OPS",
    "Family",
    "Storage",
    "Store",
    "become",
    "check_writable",
    "detached",
    "inplace",
    "set_data",
    "share",
    "write",
]


class Storage:
    """What tensors that see the same elements share. Final.

    Attributes:
        value: the present content, in the shape of the tensor that was there first.
        generation: number of writes.
        born: epoch in which the content was first recorded.
        shared: whether a second tensor has ever seen it.
    """

    __slots__ = ("born", "generation", "shared", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.generation = 0
        self.born = value.epoch
        self.shared = False


class Family:
    """A tensor and its views: what shares a history. Final.

    Attributes:
        storage: what they see.
        path: the view ops from the storage's content to the first tensor's.
        value: the first tensor's value, of the storage's `generation`.
        counter: counts their writes; another family's too, except after `.data`.
    """

    __slots__ = ("counter", "generation", "path", "storage", "value")

    def __init__(self, storage: Storage, path: tuple[Step, ...], value: Value, counter: Counter) -> None:
        self.storage = storage
        self.path = path
        self.value = value
        self.counter = counter
        self.generation = storage.generation

    def sync(self) -> Value:
        """The first tensor's value, brought up to date with writes through other families."""
        if self.generation != self.storage.generation:
            self.value = _with_history(_derived(self.storage.value, self.path, False), history_of(self.value))
            self.generation = self.storage.generation
        return self.value

    def adopt(self, value: Value) -> None:
        """Make `value`, with another history and the present content, the first tensor's."""
        self.value = value
        if not self.path:
            self.storage.value = value


class Store:
    """How one tensor sees a storage. Final.

    Attributes:
        family: what it shares its history with.
        steps: the view ops from the storage's content to the tensor's, through the family's first.
        base: the tensor this is a view of; None for the family's first.
        generation: the storage's generation that the tensor's value is of.
        apart: whether it is a view, taken while nothing was recorded, of what requires grad.
    """

    __slots__ = ("apart", "base", "family", "generation", "steps")

    def __init__(self, family: Family, steps: tuple[Step, ...], base: Tensor | None) -> None:
        self.family = family
        self.steps = steps
        self.base = base
        self.generation = family.storage.generation
        self.apart = False

    @property
    def storage(self) -> Storage:
        """What the tensor sees."""
        return self.family.storage

    @property
    def counter(self) -> Counter:
        """Counts the writes."""
        return self.family.counter

    @property
    def own(self) -> tuple[Step, ...]:
        """The view ops from the family's first tensor to this one."""
        return self.steps[len(self.family.path) :]

    def sync(self, tensor: Tensor) -> Value:
        """The tensor's value, derived anew when the storage was written to."""
        if self.generation == self.family.storage.generation:
            return tensor._value
        old = tensor._value
        value = self.family.sync()
        own = self.own
        if own:
            if value.requires_grad and old.requires_grad and _one_of_several(own):
                if STATE.grad:
                    raise _several_views(old, "its base or another view of its base has been")
                return _derived(value, own, False)  # It has no place in the graph any more.
            value = _derived(value, own, True)
            if value.requires_grad and value.meta is None:
                value.meta = "AsStridedBackward0"
        self.adopt(tensor, value)
        if own and old.requires_grad and tensor._meta is not None and tensor._meta.retains:
            # The gradient that is kept is that of the present content.
            move_retained(tensor, edge_of(old))
        return value

    def adopt(self, tensor: Tensor, value: Value) -> Value:
        """Make `value`, which is of the storage's present generation, the tensor's."""
        counter = self.family.counter
        value.counter, value.version = counter, counter.current
        self.generation = self.family.storage.generation
        tensor._value = value
        return value


def _derived(value: Value, steps: tuple[Step, ...], recorded: bool) -> Value:
    grad, STATE.grad = STATE.grad, recorded
    try:
        for step in steps:
            value = step.apply(value)
    finally:
        STATE.grad = grad
    return value


def _with_history(value: Value, history: Leaf | Edge | None) -> Value:
    if history is None and not value.requires_grad:
        return value
    return alias(value, history is not None, history)


def history_of(value: Value) -> Leaf | Edge | None:
    """Where the gradient of a value goes."""
    if not value.requires_grad:
        return None
    if isinstance(value.meta, (Leaf, Edge)):
        return value.meta
    return Edge(value.node if value.node is not None else value, value.index)


def store_of(tensor: Tensor) -> Store:
    """How a tensor sees its storage; made when something begins to share it."""
    store = tensor._store
    if store is None:
        value = tensor._value
        family = Family(Storage(value), (), value, Counter())
        store = tensor._store = Store(family, (), None)
        value.counter, value.version = family.counter, 0
    else:
        store.sync(tensor)
    return store


def split_off(tensor: Tensor, value: Value, counter: Counter | None = None) -> None:
    """Make the tensor, with a value of the present content and another history, the first of a family."""
    store = store_of(tensor)
    family = Family(store.storage, store.steps, value, store.counter if counter is None else counter)
    tensor._store = Store(family, store.steps, None)
    tensor._store.adopt(tensor, value)


def replace_history(tensor: Tensor, value: Value) -> None:
    """Give a tensor a value of its present content and another history, which its later views follow."""
    store = tensor._store
    if store is None:
        tensor._value = value
    elif store.own:
        split_off(tensor, value)
    else:
        store.sync(tensor)
        store.family.adopt(value)
        store.adopt(tensor, value)
    if value.data is None:
        STATE.live.append(weakref.ref(tensor))


def share(source: Tensor, op: str, attrs: Mapping[str, Any], result: Value | tuple[Value, ...]) -> Any:
    """Tensors for the results of a view op on `source`, which share its storage."""
    store = store_of(source)
    store.storage.shared = True
    base = store.base if store.base is not None else source
    if isinstance(result, Value):
        return _view(store, base, Step(op, attrs), result)
    return tuple([_view(store, base, Step(op, attrs, index), value) for index, value in enumerate(result)])


def _view(store: Store, base: Tensor, step: Step, value: Value) -> Tensor:
    tensor = _tensor.Tensor(value)
    family = store.family
    tensor._store = view = Store(family, (*store.steps, step), base)
    view.adopt(tensor, value)
    if family.value.requires_grad and not value.requires_grad:
        # Taken while nothing was recorded: it follows no history.
        split_off(tensor, value)
        assert tensor._store is not None
        tensor._store.apart = True
    if value.data is None:
        STATE.live.append(weakref.ref(tensor))
    return tensor


def detached(source: Tensor, *, own_counter: bool = False) -> Tensor:
    """A tensor that shares the storage and has no history; `own_counter` hides its writes from version checks."""
    grad, STATE.grad = STATE.grad, False
    try:
        store = store_of(source)
        value = alias(store.sync(source))
    finally:
        STATE.grad = grad
    store.storage.shared = True
    tensor = _tensor.Tensor(value)
    tensor._store = Store(store.family, store.steps, store.base)
    split_off(tensor, value, Counter() if own_counter else None)
    if value.data is None:
        STATE.live.append(weakref.ref(tensor))
    return tensor


def become(target: Tensor, op: str, grad_name: str, **attrs: Any) -> Tensor:
    """Make `target` the view that `op` makes of it: other dims, the same elements and storage. Returns `target`.

    What saw its elements before still does. Raises as `check_writable`.
    """
    check_writable(target)
    value = emit(op, (target.value,), attrs)
    assert isinstance(value, Value)
    if value.requires_grad:
        value.meta = grad_name
    store = store_of(target)
    store.counter.current += 1
    target._store = Store(store.family, (*store.steps, Step(op, attrs)), store.base)
    if store.storage.shared:
        target._store.adopt(target, value)
    else:
        # Nobody else is in the family: it begins anew with these dims.
        split_off(target, value)
    STATE.live.append(weakref.ref(target))
    return target


# --- writes ---------------------------------------------------------------------------------------

_UNRECORDED: Final = "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "


def _one_of_several(own: tuple[Step, ...]) -> bool:
    return any([step.index >= 0 for step in own])


def _several_views(value: Value, what: str) -> AutogradError:
    """What to raise when one of several views, or what it is a view of, is written to."""
    opening = _UNRECORDED
    if value.requires_grad:
        node, index = node_of(value)
        name = node.name().rstrip("0123456789").removesuffix("Backward")
        opening = f"Output {index} of {name} is a view and {what} modified inplace. "
    return AutogradError(
        f"{opening}This view is the output of a function that returns multiple views. Such functions do not allow the "
        "output views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
        source=user_line(),
    )


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
    if STATE.grad and store is not None and store.apart:
        raise AutogradError(
            f"{_UNRECORDED}Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
            "your code by moving both the view and the inplace either both inside the no_grad block (if you don't want "
            "the inplace to be tracked) or both outside (if you want the inplace to be tracked).",
            source=user_line(),
        )
    if STATE.grad and value.requires_grad:
        if store is not None and _one_of_several(store.own):
            raise _several_views(value, "is being")
        if isinstance(value.meta, Leaf):
            raise AutogradError(
                "a leaf Variable that requires grad is being used in an in-place operation.", source=user_line()
            )
        if store is not None and store.own and isinstance(store.family.value.meta, Leaf):
            raise AutogradError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation.",
                source=user_line(),
            )
    if store is not None and overlaps(store.steps, store.storage.value.spec):
        raise AutogradError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation.",
            source=user_line(),
        )


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
    if value.inputs and value.inputs[0] is target._value:
        value.wrote = True
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


def _converted(value: Value, dtype: Any) -> Value:
    if dtypes.category(value.spec.dtype) > dtypes.category(dtype):
        given, wanted = dtypes.title(value.spec.dtype), dtypes.title(dtype)
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
    if STATE.capture is not None:
        STATE.capture.writes(target)
    store = store_of(target)
    family, storage, own = store.family, store.storage, store.own
    retaining = [
        (tensor, edge_of(tensor.value))
        for tensor in (target, store.base)
        if tensor is not None and tensor._meta is not None and tensor._meta.retains
    ]
    first = family.sync()
    if STATE.grad and _one_of_several(own) and (first.requires_grad or value.requires_grad):
        raise _several_views(target.value, "is being")
    if value is target._value or value.data is not None:
        # The value is someone else's too: its writes are not counted here.
        value = alias(value, value.requires_grad, history_of(value))
    # What is written while nothing is recorded leaves the history as it is.
    kept = history_of(first) if first.requires_grad and not STATE.grad else None
    if own:
        fresh = written_back(own, first, value)
        if fresh.requires_grad and fresh.meta is None:
            reads = value.inputs[1:] if value.inputs and value.inputs[0] is target._value else (value,)
            fresh.meta = CopySlices((first, *reads))
    else:
        fresh = value
    if kept is not None:
        fresh = alias(fresh, True, kept)
    storage.value = _stored(storage, family, fresh)
    storage.generation += 1
    family.value, family.generation = fresh, storage.generation
    counter = family.counter
    counter.current += 1
    fresh.counter, fresh.version = counter, counter.current
    if not own:
        store.adopt(target, fresh)
    elif not fresh.requires_grad and not value.requires_grad:
        store.adopt(target, value)
    STATE.live.append(weakref.ref(target))
    for tensor, edge in retaining:
        # The gradient that is kept is that of the present content.
        move_retained(tensor, edge)


def _stored(storage: Storage, family: Family, value: Value) -> Value:
    """The storage's content once the family's first tensor has this value."""
    if not family.path:
        return value
    grad, STATE.grad = STATE.grad, False
    try:
        return written_back(family.path, storage.value, value)
    finally:
        STATE.grad = grad


def set_data(target: Tensor, source: Tensor) -> None:
    """Give `target` the storage of `source`, keeping its history, gradient and hooks; see Tensor.data."""
    if not isinstance(source, _tensor.Tensor):
        raise AttributeTypeError(
            f"Variable data has to be a tensor, but got {type(source).__name__}",
            expected="Tensor",
            got=type(source).__name__,
            source=user_line(),
        )
    if STATE.capture is not None:
        STATE.capture.writes(target)
    value = target.value
    history = history_of(value)
    if history is not None and not dtypes.is_differentiable(source._value.spec.dtype):
        raise AutogradError(
            "data set to a tensor that requires gradients must be floating point or complex dtype", source=user_line()
        )
    theirs = store_of(source)
    theirs.storage.shared = True
    counter = Counter() if target._store is None else target._store.counter
    target._store = theirs
    split_off(target, alias(source._value, history is not None, history), counter)
    if target._value.data is None:
        STATE.live.append(weakref.ref(target))
