"""Evaluation: what a read computes, and what pending state is computed along with it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import CodeType
from typing import TYPE_CHECKING, Final

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
    from gradmesh._tensor import Tensor

# Places in the user's code whose values were computed once and, not having been kept, again.
_KEPT_PLACES: Final[set[tuple[CodeType | None, int]]] = set()
_KEPT_PLACES_LIMIT: Final = 4096


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
    if not wanted:
        return
    try:
        _compute(wanted, True)
    except StateFailure as failure:
        # What was asked for must not fail for what was not.
        forget(failure.state)
        _compute(wanted, False)


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


def _place(value: Value) -> tuple[CodeType | None, int]:
    made: Made | Bundle = value
    while True:
        if isinstance(made, Value) and made.node is not None:
            made = made.node
        elif made.app is None and made.inputs:
            made = made.inputs[0]
        else:
            return made.code, made.instruction
