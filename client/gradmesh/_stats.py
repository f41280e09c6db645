"""What the client counts: requests, reads that forced one, plan-cache outcomes, bytes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gradmesh_engine.session import Stats


@dataclass(frozen=True)
class ClientStats:
    """What happened since the last reset.

    Attributes:
        requests: evaluations sent to a session.
        reads: reads that forced an evaluation, by the user's line ("train.py:12").
        hits: requests whose plan was cached.
        misses: requests whose plan was made, by the reason the session gave.
        bytes_sent: bytes that went to services.
        bytes_received: bytes that came back.
        seconds: seconds spent by phase, summed over requests.
    """

    requests: int
    reads: Mapping[str, int]
    hits: int
    misses: Mapping[str, int]
    bytes_sent: int
    bytes_received: int
    seconds: Mapping[str, float]

    def __str__(self) -> str:
        lines = [f"requests: {self.requests}", f"plans: {self.hits} cached, {sum(self.misses.values())} made"]
        lines += [f"  {count} x {reason}" for reason, count in sorted(self.misses.items(), key=lambda item: -item[1])]
        lines.append(f"bytes: {self.bytes_sent:,} sent, {self.bytes_received:,} received")
        lines += [f"{phase}: {spent:.6f} s" for phase, spent in sorted(self.seconds.items())]
        if self.reads:
            lines.append("reads that forced an evaluation:")
            lines += [f"  {count} x {line}" for line, count in sorted(self.reads.items(), key=lambda item: -item[1])]
        return "\n".join(lines)


class Recorder:
    """Collects the counts. Thread-safe. Final."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start from zero."""
        self._requests = 0
        self._reads: Counter[str] = Counter()
        self._hits = 0
        self._misses: Counter[str] = Counter()
        self._sent = 0
        self._received = 0
        self._seconds: Counter[str] = Counter()

    def request(self, line: str, stats: Stats) -> None:
        """Count one request, forced by a read at `line`."""
        with self._lock:
            self._requests += 1
            if line:
                self._reads[line] += 1
            if stats.cache == "hit":
                self._hits += 1
            elif stats.cache:
                self._misses[stats.cache] += 1
            self._sent += stats.bytes.get("sent", 0)
            self._received += stats.bytes.get("received", 0)
            for phase, spent in stats.seconds.items():
                self._seconds[phase] += spent  # type: ignore[assignment]

    def snapshot(self) -> ClientStats:
        """The counts so far."""
        with self._lock:
            return ClientStats(
                self._requests,
                dict(self._reads),
                self._hits,
                dict(self._misses),
                self._sent,
                self._received,
                dict(self._seconds),
            )


RECORDER: Final = Recorder()


def stats(*, reset: bool = False) -> ClientStats:
    """Requests, the reads that forced them by source line, plan-cache hits and misses with reasons, bytes.

    `reset=True` starts counting anew afterwards.

    Example: `print(gm.stats())`
    """
    found = RECORDER.snapshot()
    if reset:
        RECORDER.reset()
    return found
