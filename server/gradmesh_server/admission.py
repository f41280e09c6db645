"""Who may run now, who waits, and who is turned away; principals take turns."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from gradmesh_engine.errors import OverloadedError, UnavailableError
from gradmesh_server.telemetry import ANONYMOUS

# How much the time of the latest request counts in the estimate of the next one's.
_WEIGHT: Final = 0.2
# A queue that somebody was in for nearly all of so long is no burst that passes but load that stays, until hardly
# anybody waits any more.
_BURST_SECONDS: Final = 1.0
_STANDS_ABOVE: Final = 0.95
_PASSED_BELOW: Final = 0.2
# Some who are told when to come again do not come, or late: so many are told for each place that becomes free.
_TOLD_PER_PLACE: Final = 2
_LEAST_DELAY_SECONDS: Final = 0.05
_MOST_DELAY_SECONDS: Final = 60.0


@dataclass(slots=True, eq=False)
class _Waiter:
    turn: asyncio.Future[None]
    nbytes: int


class Admission:
    """A bounded number of running requests before a bounded queue for each principal. Lives on the event loop.

    Turns go round the principals that wait, and within one to whoever waits longest. When there is no
    more room to wait, whoever waits with the most requests loses the latest of them to one who waits with
    fewer; nobody else is kept waiting without hope: the rest are told at once.
    """

    def __init__(
        self,
        max_running: int,
        max_waiting: int,
        *,
        max_waiting_bytes: int = 1 << 62,
        max_wait_seconds: float = math.inf,
        own_running: int = 0,
        own_waiting: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own_running` and `own_waiting` are limits of each principal; 0 for none.

        A burst of `max_waiting` is taken. But where some have been waiting for a while without a break, only
        one may, or as many as get their turn in `max_wait_seconds`, by what the latest requests took: whoever
        is let in does not wait long, whoever is not is told.
        """
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds
        self._max_waiting_bytes = max_waiting_bytes
        self._own_running = own_running or max_running
        self._own_waiting = own_waiting or max_waiting
        self._clock = clock
        self._queues: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._running_of: dict[str, int] = {}
        self._seconds = 0.1
        self._standing = False
        # Of a second or so: when it began, and for how long somebody waited until `_looked_at`.
        self._window_at = self._looked_at = clock()
        self._occupied_seconds = 0.0
        self._told_until = -math.inf
        self.running = 0
        self.waiting = 0
        self.waiting_bytes = 0
        self.draining = False

    def free(self, owner: str = ANONYMOUS) -> bool:
        """Whether a request of `owner` could run now. Then nobody waits who could run instead."""
        if self.running >= self._max_running or self.draining:
            return False
        return self._own_running >= self._max_running or self._running_of.get(owner, 0) < self._own_running

    @property
    def room(self) -> int:
        """How many may wait, at the pace of the latest requests."""
        self._judge()
        if not self._standing or math.isinf(self._max_wait_seconds):
            return self._max_waiting
        in_time = self._max_wait_seconds * self._max_running / max(self._seconds, 1e-9)
        return int(min(self._max_waiting, max(in_time, 1)))

    @property
    def crowded(self) -> bool:
        """Whether the next to come may be turned away."""
        return self.running >= self._max_running and self.waiting >= self.room

    def check_room(self, owner: str) -> None:
        """Raises OverloadedError when a request of `owner` would be turned away, however few bytes it has.

        A server that is full and stopping raises UnavailableError: waiting would not help.
        """
        self._check_open()
        if not self.free(owner):
            self._crowd(owner)

    def _check_open(self) -> None:
        if self.draining:
            raise UnavailableError("the server is stopping", remedy="try again at another server, or later")

    def turn(self, owner: str = ANONYMOUS, nbytes: int = 0) -> Turn:
        """An async context manager around a request whose message has `nbytes`.

        Entering raises OverloadedError, UnavailableError. It takes no detour through the event loop
        while there is room.
        """
        return Turn(self, owner, nbytes)

    async def enter(self, owner: str, nbytes: int) -> float:
        """Wait for a turn; returns when it began."""
        self._check_open()
        if self.free(owner):
            self.running += 1
            self._running_of[owner] = self._running_of.get(owner, 0) + 1
            return self._clock()
        self._make_room(owner, nbytes)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), nbytes)
        self._queues.setdefault(owner, deque()).append(waiter)
        self._count(1, nbytes)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if not waiter.turn.done() or waiter.turn.cancelled():
                self._remove(owner, waiter)
            elif waiter.turn.exception() is None:
                self.leave(owner, None)  # The turn came together with the cancellation: pass it on.
            raise
        return self._clock()

    def leave(self, owner: str, began: float | None) -> None:
        """Give a turn back, and pass it to the next who may run."""
        if began is not None:
            self._seconds += _WEIGHT * (self._clock() - began - self._seconds)
        self.running -= 1
        count = self._running_of[owner] - 1
        if count:
            self._running_of[owner] = count
        else:
            del self._running_of[owner]
        while self.running < self._max_running:
            following = next((o for o in self._queues if self._running_of.get(o, 0) < self._own_running), None)
            if following is None:
                self._told_until = -math.inf  # Whoever was told to come later could have come now.
                return
            waiter = self._queues[following][0]
            self._remove(following, waiter)
            if following in self._queues:
                self._queues.move_to_end(following)
            if not waiter.turn.done():
                self.running += 1
                self._running_of[following] = self._running_of.get(following, 0) + 1
                waiter.turn.set_result(None)

    def _crowd(self, owner: str) -> str | None:
        """Who has to give way for one more request of `owner` to wait, None while there is room.

        Raises OverloadedError when nobody has.
        """
        own = self._queues.get(owner, ())
        if len(own) >= self._own_waiting:
            raise self._overloaded(f"too many requests of {owner} are waiting", self._own_waiting, len(own))
        room = self.room
        if self.waiting < room:
            return None
        crowd = max(self._queues, key=lambda o: len(self._queues[o]), default=None)
        if crowd is None or len(self._queues[crowd]) <= len(own) + 1:
            raise self._overloaded("too many requests are waiting", room, self.waiting)
        return crowd

    def _make_room(self, owner: str, nbytes: int) -> None:
        """Raises OverloadedError when `owner` may not wait."""
        crowd = self._crowd(owner)
        if crowd is not None:
            self._displace(crowd)
        while self.waiting_bytes + nbytes > self._max_waiting_bytes:
            sizes = {o: sum(waiter.nbytes for waiter in queue) for o, queue in self._queues.items()}
            crowd = max(sizes, key=lambda o: sizes[o], default=None)
            if crowd is None or sizes[crowd] <= sizes.get(owner, 0) + nbytes:
                raise OverloadedError(
                    "the requests that wait have too many bytes",
                    expected=f"at most {self._max_waiting_bytes} bytes waiting",
                    got=f"{self.waiting_bytes} bytes waiting, and {nbytes} of this request",
                    remedy="try again later",
                    retry_after_seconds=self._retry_after_seconds(),
                )
            self._displace(crowd)

    def _displace(self, owner: str) -> None:
        waiter = self._queues[owner][-1]
        error = self._overloaded("too many requests are waiting, most of them yours", self.room, self.waiting)
        self._remove(owner, waiter)
        if not waiter.turn.done():
            waiter.turn.set_exception(error)

    def _remove(self, owner: str, waiter: _Waiter) -> None:
        queue = self._queues.get(owner)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        self._count(-1, -waiter.nbytes)
        if not queue:
            del self._queues[owner]

    def _judge(self) -> None:
        """See whether the queue stands, or a burst of it is over."""
        now = self._clock()
        if self.waiting:
            self._occupied_seconds += now - self._looked_at
        self._looked_at = now
        if now - self._window_at >= _BURST_SECONDS:
            share = self._occupied_seconds / (now - self._window_at)
            self._standing = share > (_PASSED_BELOW if self._standing else _STANDS_ABOVE)
            self._window_at, self._occupied_seconds = now, 0.0

    def _count(self, waiting: int, nbytes: int) -> None:
        """So many more wait, with so many bytes."""
        self._judge()
        self.waiting += waiting
        self.waiting_bytes += nbytes

    def _retry_after_seconds(self) -> float:
        """When a place is likely to be free for one more of those who are told."""
        now, pace = self._clock(), self._seconds / self._max_running
        soonest = now + max(_LEAST_DELAY_SECONDS, pace * (self.waiting + 1))
        self._told_until = min(max(soonest, self._told_until + pace / _TOLD_PER_PLACE), now + _MOST_DELAY_SECONDS)
        return round(self._told_until - now, 3)

    def _overloaded(self, message: str, limit: int, count: int) -> OverloadedError:
        later = self._retry_after_seconds()
        return OverloadedError(
            message,
            expected=f"at most {limit} waiting",
            got=f"{count} waiting",
            remedy=f"try again in {later:g} s",
            retry_after_seconds=later,
        )


class Turn:
    """See Admission.turn."""

    __slots__ = ("_admission", "_began", "_nbytes", "_owner")

    def __init__(self, admission: Admission, owner: str, nbytes: int) -> None:
        self._admission = admission
        self._owner = owner
        self._nbytes = nbytes
        self._began = 0.0

    async def __aenter__(self) -> None:
        self._began = await self._admission.enter(self._owner, self._nbytes)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.leave(self._owner, self._began)
