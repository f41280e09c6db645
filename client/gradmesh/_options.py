"""How a session talks to its service: frozen values with units in their names."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field

from gradmesh_engine.errors import DeadlineError


@dataclass(frozen=True, slots=True)
class Timeout:
    """The budget of one evaluation: uploads, computing, downloads and retries together.

    Attributes:
        total_seconds: how long it may take; None for as long as it takes.
    """

    total_seconds: float | None = 300.0

    def start(self) -> Budget:
        """The budget from now on."""
        return Budget(None if self.total_seconds is None else time.monotonic() + self.total_seconds)


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a Timeout.

    Attributes:
        deadline: on the clock of time.monotonic(), or None.
    """

    deadline: float | None

    def left(self) -> float | None:
        """Seconds left, None for no end. Raises DeadlineError when there are none."""
        if self.deadline is None:
            return None
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlineError("the time for this evaluation ran out", remedy="give the session a longer timeout")
        return seconds

    def allows(self, seconds: float) -> bool:
        """Whether more than `seconds` are left."""
        return self.deadline is None or self.deadline - time.monotonic() > seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """What to do when no server answers. Results depend on the request alone, so trying again is safe.

    Attributes:
        attempts: how often to try each address, in all.
        first_delay_seconds: pause before the second attempt; each further one is twice as long.
        max_delay_seconds: the longest pause.
    """

    attempts: int = 5
    first_delay_seconds: float = 0.1
    max_delay_seconds: float = 2.0

    def delay_seconds(self, attempt: int) -> float:
        """The pause after the `attempt`-th failure (from 1), with jitter so that clients do not come in step."""
        longest = min(self.max_delay_seconds, self.first_delay_seconds * 2 ** (attempt - 1))
        return float(longest * random.uniform(0.5, 1.0))


@dataclass(frozen=True, slots=True)
class TLS:
    """How the two ends of a connection know each other. Files are in PEM, given by name or as bytes.

    Attributes:
        ca: authorities one of which must have signed the server's certificate; None for those of the system.
        cert: this client's certificate, where the server requires one (mutual TLS).
        key: the certificate's private key.
        server_name: the name the server's certificate must have; None for that of the address.
    """

    ca: str | os.PathLike[str] | bytes | None = None
    cert: str | os.PathLike[str] | bytes | None = None
    key: str | os.PathLike[str] | bytes | None = field(default=None, repr=False)
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How a dead connection is noticed while a call is waiting.

    Attributes:
        interval_seconds: a ping is sent when nothing was heard for so long.
        timeout_seconds: the connection is dead when a ping is not answered for so long.
    """

    interval_seconds: float = 30.0
    timeout_seconds: float = 10.0
