"""Evaluation: what a read computes, and what pending state is computed along with it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import CodeType
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from gradmesh._gather import Gathering
from gradmesh._leaf import Leaf
from gradmesh._modes import STATE
from gradmesh._session import current_session
from gradmesh._stats import RECORDER
from gradmesh._value import Bundle, Made, Value, source_of, user_line
from gradmesh_engine.errors import GradmeshError, LimitError, OutOfRangeError
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Query, Request, Result

if TYPE_CHECKING:
    from gradmesh._explore import Remains
    from gradmesh._tensor import Tensor

Place: TypeAlias = "tuple[CodeType | None, int]"

# Places in the user's code whose values were computed once and, not having been kept, again.
_KEPT_PLACES: Final[set[Place]] = set()
_KEPT_PLACES_LIMIT: Final = 4096

# Places whose values were read and then differentiated, with how often gradients computed along were not asked for.
_FOLLOWED: Final[dict[Place, int]] = {}
_MOST_WASTED: Final = 2


class StateFailure(Exception):
    """A request failed that computed pending state along; it is to be tried without. Final, never reaches users.

    Attributes:
        state: the values that were not asked for.
    """

    def __init__(self, state: Sequence[Value]) -> None:
        super().__init__("a request failed that computed pending state along")
        self.state = state


def content(value: Value) -> np.ndarray:
    """The content of a value, evaluated if it is pending. Read-only."""
    if value.data is None:
        evaluate([value])
        assert value.data is not None
    return value.data


def evaluate(values: Sequence[Value]) -> None:
    """Compute values, and the pending state that live tensors hold, in one request."""
    settle(values)
    wanted = [value for value in values if value.data is None]
    if _FOLLOWED and len(wanted) == 1 and wanted[0].requires_grad and _gradients_along(wanted[0]):
        return
    if not wanted:
        return
    try:
        _compute(wanted, True)
    except StateFailure as failure:
        # What was asked for must not fail for what was not.
        forget(failure.state)
        _compute(wanted, False)


class Ahead:
    """Gradients computed when a value was read, for the backward pass that is known to follow. Final.

    Attributes:
        run: what backward would have done now: what is left of its request, and each leaf's gradient.
        used: whether the pass came.
    """

    def __init__(self) -> None:
        self.run: tuple[Remains, dict[Value, Value | None]] | None = None
        self.used = False


_AHEAD: Final[weakref.WeakKeyDictionary[Value, Ahead]] = weakref.WeakKeyDictionary()
_LATEST: Final[dict[Place, Ahead]] = {}


def _gradients_along(root: Value) -> bool:
    """Compute a value with its gradients where backward has followed such reads before; False where it was not done."""
    spot = _place(root)
    wasted = _FOLLOWED.get(spot)
    if wasted is None or wasted >= _MOST_WASTED:
        return False
    before = _LATEST.get(spot)
    if before is not None and not before.used:
        _FOLLOWED[spot] = wasted + 1
        before.run = None
    from gradmesh import _backward

    ahead = Ahead()
    ahead.run = _backward.ahead(root)
    if ahead.run is None or root.data is None:
        return False
    _LATEST[spot] = _AHEAD[root] = ahead
    return True


def taken_ahead(root: Value, wrt: Sequence[Value]) -> tuple[Remains, dict[Value, Value | None]] | None:
    """What was computed when `root` was read, if it holds the gradients of all of `wrt`; given out once."""
    ahead = _AHEAD.pop(root, None)
    if ahead is None or ahead.run is None:
        return None
    ahead.used = True
    run, ahead.run = ahead.run, None
    return run if all(value in run[1] for value in wrt) else None


def followed(root: Value) -> None:
    """Note that a value was read before it was differentiated."""
    if len(_FOLLOWED) > _KEPT_PLACES_LIMIT:
        _FOLLOWED.clear()
        _LATEST.clear()
    _FOLLOWED.setdefault(_place(root), 0)


def is_kept(value: Value) -> bool:
    """Whether values from the same place in the user's code are known to be read after an evaluation."""
    return bool(_KEPT_PLACES) and _place(value) in _KEPT_PLACES


def _compute(values: Sequence[Value], with_state: bool) -> None:
    gathering = Gathering()
    pairs = [(value, gathering.add(value)) for value in values]
    learn(gathering, values)
    state = [value for value in pending_state() if value not in values] if with_state else []
    pairs += [(value, gathering.add(value)) for value in state]
    run(gathering, pairs, Query(), state=state)


def learn(gathering: Gathering, roots: Sequence[Value]) -> None:
    """Learn from values that are computed again after an evaluation that did not keep them.

    The next values from the same places in the user's code are kept.
    """
    epoch = STATE.epoch
    late = [root for root in roots if root.epoch < epoch and root.data is None]
    for made in gathering.order:
        if made.epoch == epoch:
            late += [operand for operand in made.inputs if operand.epoch < epoch and operand.data is None]
    if late:
        if len(_KEPT_PLACES) > _KEPT_PLACES_LIMIT:
            _KEPT_PLACES.clear()
        _KEPT_PLACES.update(map(_place, late))


def settle(values: Sequence[Value]) -> None:
    """Give aliases of known values their content."""
    for value in values:
        chain = []
        while value.data is None and value.app is None and value.node is None:
            chain.append(value)
            value = value.inputs[0]
        if value.data is not None:
            for one in chain:
                one.keep(value.data)


def run(
    gathering: Gathering,
    pairs: Sequence[tuple[Value, int]],
    query: Query,
    cotangents: tuple[np.ndarray, ...] = (),
    state: Sequence[Value] = (),
) -> tuple[Graph, Result]:
    """Send one request; attach the outputs to their values.

    Raises:
        StateFailure: it failed for its content or its size, and `state` was computed along.
        GradmeshError: placed at the user's line that recorded the node at fault.
    """
    graph = gathering.graph([number for _, number in pairs])
    inputs = []
    for value in gathering.inputs:
        assert value.data is not None
        inputs.append(value.data)
    line = user_line()
    try:
        result = current_session().run(Request(graph, tuple(inputs), query, cotangents))
    except GradmeshError as error:
        if 0 <= error.node < len(gathering.order):
            error.source = source_of(gathering.order[error.node]) or error.source
        if state and isinstance(error, LimitError | OutOfRangeError):
            raise StateFailure(state) from error
        raise
    for (value, _), array in zip(pairs, result.outputs, strict=True):
        value.keep(array)
    STATE.epoch += 1
    RECORDER.request(line, result.stats)
    return graph, result


# --- pending state --------------------------------------------------------------------------------


def pending_state() -> list[Value]:
    """What live tensors hold and is to be computed with the next request, in the order of recording.

    That is every leaf, every storage that was there before the last evaluation and was written to since,
    every value recorded before the last evaluation, and every value from a place in the user's code
    whose values are known to be read again. So state never grows a chain, and temporaries are not kept.
    """
    live: list[weakref.ref[Tensor]] = []
    found: dict[Value, None] = {}
    epoch = STATE.epoch
    seen: set[int] = set()
    for ref in STATE.live:
        tensor = ref()
        if tensor is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        store = tensor._store
        if store is None:
            value = tensor._value
            born = value.epoch
        else:
            value = store.storage.value
            born = store.storage.born
            current = tensor._value
            if current.meta.__class__ is Leaf and current.data is None and current.requires_grad:
                found[current] = None
        if value.data is not None:
            continue
        live.append(ref)
        if value.requires_grad:
            if value.meta.__class__ is Leaf or (_KEPT_PLACES and _place(value) in _KEPT_PLACES):
                found[value] = None
        elif born < epoch or (_KEPT_PLACES and _place(value) in _KEPT_PLACES):
            found[value] = None
    STATE.live = live
    settle(list(found))
    return [value for value in found if value.data is None]


def forget(values: Sequence[Value]) -> None:
    """Leave pending values to those who read them."""
    gone = set(values)
    live = []
    for ref in STATE.live:
        tensor = ref()
        if tensor is not None and tensor._value not in gone:
            if tensor._store is None or tensor._store.storage.value not in gone:
                live.append(ref)
    STATE.live = live


def _place(value: Value) -> Place:
    made: Made | Bundle = value
    while True:
        if isinstance(made, Value) and made.node is not None:
            made = made.node
        elif made.app is None and made.inputs:
            made = made.inputs[0]
        else:
            return made.code, made.instruction
