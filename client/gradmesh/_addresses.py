"""Which of several addresses to try next. Decides only: no call, no waiting."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError

FIRST_REST_SECONDS: Final = 0.1
"""How long an address is left alone after it failed, while there is another; twice as long after each failure."""

LONGEST_REST_SECONDS: Final = 30.0


def parse(given: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses in "a:1,b:2" or ["a:1", "b:2"], each once. Raises InvalidRequestError, AttributeTypeError."""
    parts = given.split(",") if isinstance(given, str) else list(given)
    if not all(isinstance(part, str) for part in parts):
        raise AttributeTypeError("an address is a str", expected='"host:port"', got=repr(given))
    found = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not found:
        raise InvalidRequestError("no address is given", expected="host:port", got=repr(given))
    for address in found:
        if ":" not in address:
            raise InvalidRequestError("an address has a port", expected="host:port", got=address)
    return found


class Endpoint:
    """One address, and what is known of the server behind it. Final.

    Attributes:
        address: "host:port".
        connection: what the session calls it with, None before the first call.
        stored: digests of tensors known to be there.
        moving: digests on their way there, each with the event that tells the end.
        inline_bytes: how many bytes of tensors fit into one request; None before its server was asked.
        met: whether a server ever answered.
        failures: in a row, until now.
        generation: number of failures ever. What began before the latest says nothing of what is there now.
    """

    __slots__ = (
        "address",
        "connection",
        "failures",
        "generation",
        "inline_bytes",
        "met",
        "moving",
        "rests_until",
        "stored",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.connection: Any = None
        self.stored: set[bytes] = set()
        self.moving: dict[bytes, Any] = {}
        self.inline_bytes: int | None = None
        self.met = False
        self.failures = 0
        self.generation = 0
        self.rests_until = 0.0

    def __repr__(self) -> str:
        return f"Endpoint({self.address!r}, failures={self.failures})"


class Addresses:
    """The addresses in order of preference. Thread-safe. Final.

    The first that answers is kept to. One that failed rests, longer each time it fails again, and is then
    tried by one request, while the others go on where it is known to work; as a last resort it is tried
    before. Results depend on requests alone, so any address is right.
    """

    def __init__(self, addresses: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.endpoints: Final = tuple(Endpoint(address) for address in addresses)
        self.current = self.endpoints[0]
        self._clock = clock
        self._lock = threading.Lock()

    def choose(self, tried: Collection[Endpoint] = ()) -> Endpoint:
        """The one to try now, other than those tried; there must be one."""
        first = self.endpoints[0]
        if not first.failures and not tried:  # The usual case.
            self.current = first
            return first
        with self._lock:
            now = self._clock()
            left = [endpoint for endpoint in self.endpoints if endpoint not in tried]
            chosen = next((endpoint for endpoint in left if endpoint.rests_until <= now), None)
            if chosen is None:
                chosen = min(left, key=lambda endpoint: endpoint.rests_until)
            if chosen.failures:
                # One request finds out; others do not wait for what may not answer.
                self._rest(chosen, now)
            self.current = chosen
            return chosen

    def answered(self, endpoint: Endpoint, generation: int) -> None:
        """What was begun in this generation of the endpoint went well."""
        if endpoint.failures or not endpoint.met:
            with self._lock:
                endpoint.met = True
                if endpoint.generation == generation:
                    endpoint.failures = 0
                    endpoint.rests_until = 0.0

    def failed(self, endpoint: Endpoint, generation: int) -> None:
        """Nobody answered what was begun in this generation of the endpoint."""
        with self._lock:
            if endpoint.generation != generation:
                return  # Known already: many requests fail at once when a server goes.
            endpoint.generation += 1
            endpoint.failures += 1
            # What answers there next may be another server.
            endpoint.stored.clear()
            endpoint.inline_bytes = None
            self._rest(endpoint, self._clock())

    @staticmethod
    def _rest(endpoint: Endpoint, now: float) -> None:
        longest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(endpoint.failures - 1, 30))
        endpoint.rests_until = now + longest * random.uniform(0.5, 1.0)
