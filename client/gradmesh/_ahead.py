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

# Places whose values were read and then differentiated, with how often gradients computed along were not asked for.
_FOLLOWED: Final[dict[Place, int]] = {}
_MOST_WASTED: Final = 2


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
    if not _FOLLOWED or len(values) != 1 or not values[0].requires_grad:
        return False
    spot = place_of(values[0])
    wasted = _FOLLOWED.get(spot)
    if wasted is None or wasted >= _MOST_WASTED:
        return False
    before = _LATEST.get(spot)
    if before is not None and not before.used:
        _FOLLOWED[spot] = wasted + 1
        before.run = None
    return True


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
    run, ahead.run = ahead.run, None
    return run if all(value in run[1] for value in wrt) else None


def followed(root: Value) -> None:
    """Note that a value was read before it was differentiated."""
    if len(_FOLLOWED) > KEPT_PLACES_LIMIT:
        _FOLLOWED.clear()
        _LATEST.clear()
    _FOLLOWED.setdefault(place_of(root), 0)
