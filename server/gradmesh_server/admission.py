"""Who may run now, who waits, and who is turned away."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from gradmesh_engine.errors import OverloadedError, UnavailableError


class Admission:
    """A bounded number of running requests before a bounded queue, first come first served.

    An async context manager around each request; takes no detour through the event loop while there is room.
    Lives on the event loop.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._queue: deque[asyncio.Future[None]] = deque()
        self.running = 0
        self.draining = False

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def free(self) -> bool:
        """Whether a request could run now without a turn of its own."""
        return self.running < self._max_running and not self._queue and not self.draining

    async def __aenter__(self) -> None:
        if self.draining:
            raise UnavailableError("the server is stopping", remedy="try again at another server, or later")
        if self.free:
            self.running += 1
            return
        if len(self._queue) >= self._max_waiting:
            raise OverloadedError(
                "too many requests are waiting",
                expected=f"at most {self._max_waiting} waiting",
                remedy="try again later",
            )
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # The turn came together with the cancellation: pass it on.
            else:
                self._queue.remove(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next()

    def _next(self) -> None:
        """Pass a turn that became free to whoever waits longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
