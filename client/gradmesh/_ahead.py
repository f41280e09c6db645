"""Gradients computed along with a value that is read, where backward is known to follow."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from gradmesh._state import KEPT_PLACES_LIMIT, Place, place_of
from gradmesh._value import Value

if TYPE_CHECKING:
    from gradmesh._explore import Remains

Run: TypeAlias = "tuple[Remains, dict[Value, Value | None]]"
"""What backward would have done: what is left of its request, and each leaf's gradient."""

# Places whose values were read and then differentiated, with what they owe: gradients computed along that were not
# asked for, less the backward passes that came since. So what is wasted stays below these passes, give or take two.
_OWED: Final[dict[Place, int]] = {}
_MOST_OWED: Final = 2


class Ahead:
    """Gradients computed when a value was read, for the backward pass that is known to follow. Final.

    Attributes:
        run: what backward would have done now.
        used: whether the pass came.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.used = False


_AHEAD: Final[weakref.WeakKeyDictionary[Value, Ahead]] = weakref.WeakKeyDictionary()
_LATEST: Final[dict[Place, Ahead]] = {}


def is_followed(values: Sequence[Value]) -> bool:
    """Whether backward has followed reads like this one, of a single value that is pending."""
    if not _OWED or len(values) != 1 or not values[0].requires_grad:
        return False
    spot = place_of(values[0])
    owed = _OWED.get(spot)
    if owed is None:
        return False
    before = _LATEST.pop(spot, None)
    if before is not None and not before.used:
        owed = _OWED[spot] = owed + 1
        before.run = None
    return owed < _MOST_OWED


def keep(root: Value, run: Run) -> None:
    """Keep what was computed along with `root`."""
    ahead = Ahead()
    ahead.run = run
    _LATEST[place_of(root)] = _AHEAD[root] = ahead


def taken(root: Value, wrt: Sequence[Value]) -> Run | None:
    """What was computed when `root` was read, if it holds the gradients of all of `wrt`; given out once."""
    ahead = _AHEAD.pop(root, None)
    if ahead is None or ahead.run is None:
        return None
    ahead.used = True
    followed(root)
    run, ahead.run = ahead.run, None
    return run if all(value in run[1] for value in wrt) else None


def followed(root: Value) -> None:
    """Note that a value was differentiated after it was read."""
    if len(_OWED) > KEPT_PLACES_LIMIT:
        _OWED.clear()
        _LATEST.clear()
    spot = place_of(root)
    _OWED[spot] = max(0, _OWED.get(spot, 0) - 1)
