"""Which pending state is computed along with what was asked, so that it never grows a chain."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import CodeType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from gradmesh._gather import Gathering
from gradmesh._leaf import Leaf
from gradmesh._modes import STATE
from gradmesh._value import Bundle, Made, Value

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

Place: TypeAlias = "tuple[CodeType | None, int]"
"""Where the user's code recorded something."""

# Places in the user's code whose values were computed once and, not having been kept, again.
_KEPT_PLACES: Final[set[Place]] = set()
KEPT_PLACES_LIMIT: Final = 4096


class Along(Protocol):
    """What to compute along with requests. Abstract.

    Attributes:
        reads: whether what is not computed now may be read later, at the price of another request.
    """

    reads: bool

    def choose(self, gathering: Gathering, roots: Sequence[Value]) -> list[Value]:
        """The state to compute along with a request for `roots`, which are gathered."""

    def release(self, gathering: Gathering, state: Sequence[Value], computed: bool) -> None:
        """The request is over, and has computed everything gathered, or nothing."""

    def forget(self, state: Sequence[Value]) -> None:
        """A request failed that might not have without the state."""


class Everything:
    """All that the thread's live tensors hold: for a thread that asks one thing at a time. Final."""

    reads = True

    def choose(self, gathering: Gathering, roots: Sequence[Value]) -> list[Value]:
        """See Along."""
        learn(gathering, roots)
        return [value for value in pending_state() if value not in roots]

    def release(self, gathering: Gathering, state: Sequence[Value], computed: bool) -> None:
        """See Along."""
        if computed:
            STATE.epoch += 1

    def forget(self, state: Sequence[Value]) -> None:
        """Leave pending values to those who read them."""
        gone = set(state)
        live = []
        for ref in STATE.live:
            tensor = ref()
            if tensor is not None and tensor._value not in gone:
                if tensor._store is None or tensor._store.storage.value not in gone:
                    live.append(ref)
        STATE.live = live


EVERYTHING: Final = Everything()

# The epoch of values that some request computed on its way and did not keep.
_PASSED: Final = -1


class Needed:
    """Only what the request computes anyway: for requests that go on side by side. Final.

    What others recorded meanwhile is left to them. Of the values a request computes on its way, it keeps the
    leaves that were written to; and, once something new has used what an earlier request computed and did not keep,
    what tensors hold of the same places in the user's code. Each value is kept by one request at a time.
    """

    reads = False

    def __init__(self) -> None:
        self._under_way: set[Value] = set()
        self._places: set[Place] = set()

    def choose(self, gathering: Gathering, roots: Sequence[Value]) -> list[Value]:
        """See Along."""
        found: list[Value] = []
        for made in gathering.order:
            if isinstance(made, Value) and made.data is None and made.meta.__class__ is Leaf:
                found.append(made)
            if made.epoch != _PASSED:
                for operand in made.inputs:
                    if _passed(operand):
                        self._learn(operand)
                        if operand.node is not None:
                            found.append(operand)
        if self._places:
            found += self._carried(gathering)
        not_now = self._under_way.union(roots)
        state = [value for value in dict.fromkeys(found) if value not in not_now]
        self._under_way.update(state)
        return state

    def _learn(self, value: Value) -> None:
        if len(self._places) > KEPT_PLACES_LIMIT:
            self._places.clear()
        self._places.add(place_of(value))

    def _carried(self, gathering: Gathering) -> list[Value]:
        """What tensors hold from places whose values are used again later."""
        places = self._places
        pending = [
            made
            for made in gathering.order
            if isinstance(made, Value) and made.data is None and not made.requires_grad and place_of(made) in places
        ]
        if not pending:
            return pending
        held: set[Value] = set()
        live = []
        for ref in STATE.live:
            tensor = ref()
            if tensor is not None:
                value = tensor._value if tensor._store is None else tensor._store.storage.value
                if value.data is None:
                    held.add(value)
                    live.append(ref)
        STATE.live = live
        return [value for value in pending if value in held]

    def release(self, gathering: Gathering, state: Sequence[Value], computed: bool) -> None:
        """See Along."""
        self._under_way.difference_update(state)
        if computed:
            for made in gathering.order:
                made.epoch = _PASSED

    def forget(self, state: Sequence[Value]) -> None:
        """See Along."""
        for value in state:
            value.epoch = STATE.epoch
            self._places.discard(place_of(value))


def _passed(value: Value) -> bool:
    """Whether a pending value, through which no gradient flows, was computed before."""
    if value.data is not None or value.requires_grad:
        return False
    made: Made = value if value.node is None else value.node
    return made.epoch == _PASSED


# --- of a thread ------------------------------------------------------------------------------------


def pending_state() -> list[Value]:
    """What live tensors hold and is to be computed with the next request, in the order of recording.

    That is every leaf, every storage that was there before the last evaluation and was written to since,
    every value recorded before the last evaluation, and every value from a place in the user's code
    whose values are known to be read again. So state never grows a chain, and temporaries are not kept.
    """
    if STATE.traces:
        return []
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
            if value.meta.__class__ is Leaf or (_KEPT_PLACES and place_of(value) in _KEPT_PLACES):
                found[value] = None
        elif born < epoch or (_KEPT_PLACES and place_of(value) in _KEPT_PLACES):
            found[value] = None
    STATE.live = live
    settle(list(found))
    return [value for value in found if value.data is None]


def settle(values: Sequence[Value]) -> None:
    """Give aliases of known values their content."""
    for value in values:
        chain = []
        while value.data is None and value.app is None and value.node is None and value.inputs:
            chain.append(value)
            value = value.inputs[0]
        if value.data is not None:
            for one in chain:
                one.keep(value.data)


def learn(gathering: Gathering, roots: Sequence[Value]) -> None:
    """Learn from values that are computed again after an evaluation that did not keep them.

    The next values from the same places in the user's code are kept.
    """
    epoch = STATE.epoch
    late = [root for root in roots if root.epoch < epoch and root.data is None]
    for made in gathering.order:
        if made.epoch == epoch:
            for operand in made.inputs:
                if operand.epoch < epoch and operand.data is None:
                    late.append(operand)
    if late:
        if len(_KEPT_PLACES) > KEPT_PLACES_LIMIT:
            _KEPT_PLACES.clear()
        _KEPT_PLACES.update(map(place_of, late))


def is_kept(value: Value) -> bool:
    """Whether values from the same place in the user's code are known to be read after an evaluation."""
    return bool(_KEPT_PLACES) and place_of(value) in _KEPT_PLACES


def place_of(value: Value) -> Place:
    """Where the user's code recorded a value."""
    made: Made | Bundle = value
    while True:
        if isinstance(made, Value) and made.node is not None:
            made = made.node
        elif made.app is None and made.inputs:
            made = made.inputs[0]
        else:
            return made.code, made.instruction
