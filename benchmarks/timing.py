"""Paired timings: the contestants take turns, so that a slow minute of the machine hits them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of every round, per contestant."""

    rounds: Mapping[str, list[float]]

    def median_s(self, name: str) -> float:
        """Median of one contestant."""
        return statistics.median(self.rounds[name])

    def p50_ratio(self, slower: str, faster: str) -> float:
        """Median over the rounds of slower / faster, each round by itself."""
        pairs = zip(self.rounds[slower], self.rounds[faster], strict=True)
        return statistics.median(s / f for s, f in pairs)


def alternate(contestants: Mapping[str, Callable[[], Any]], rounds: int, warm: int = 2) -> Timing:
    """Time each contestant once per round."""
    for call in contestants.values():
        for _ in range(warm):
            call()
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return Timing(found)
