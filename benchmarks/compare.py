"""`make bench-compare BASE=rev`: this checkout beside another revision, taking turns on one machine.

Fails when a workload takes more than 15 % longer than at BASE. Both run this checkout's workloads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from suite import HERE, ContestantError, Process, contestant, workload_names

ROOT: Final = HERE.parent

SLOWER: Final = 1.15
"""How many times BASE's time a workload may take."""

AGAIN: Final = 3
"""A workload that seems slower is measured so many times over before that is believed."""


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A revision's files, in a temporary git worktree."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "base"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), revision], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def ratio(base: Process, here: Process, rounds: int, budget_s: float) -> tuple[float, float, float]:
    """Median of both in seconds, and the median over the rounds of here / base."""
    times: list[tuple[float, float]] = []
    for turn in range(rounds):
        order = (base, here) if turn % 2 == 0 else (here, base)
        seconds = {id(one): statistics.median(one.ask("run", budget_s)) for one in order}
        times.append((seconds[id(base)], seconds[id(here)]))
    return (
        statistics.median(b for b, _ in times),
        statistics.median(h for _, h in times),
        statistics.median(h / b for b, h in times),
    )


def main() -> int:
    """Compare; exit with 1 when something became slower."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("base", help="a revision: a branch, a tag, HEAD~1, …")
    parser.add_argument("workloads", nargs="*", help="just these")
    parser.add_argument("--size", action="append", choices=["small", "large"], help="just this size")
    parser.add_argument("--cores", type=int, default=1, help="cores each may use")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a turn lasts, at least one call")
    options = parser.parse_args()
    names = workload_names(options.workloads)
    slower = []
    with (
        checkout(options.base) as place,
        contestant("gradmesh", options.cores, place) as base,
        contestant("gradmesh", options.cores, ROOT) as here,
    ):
        print(f"{'':24}{options.base[:14]:>14}{'here':>14}{'here / base':>14}")
        for name in names:
            for size in options.size or ["small", "large"]:
                what = f"{name} {size}"
                try:
                    for one in (base, here):
                        one.ask("load", name, size)
                        one.ask("first")
                except ContestantError as error:
                    print(f"{what:24}  not at both: {error}")
                    continue
                for _ in range(AGAIN):
                    before, now, factor = ratio(base, here, options.rounds, options.seconds)
                    if factor <= SLOWER:
                        break
                verdict = "SLOWER" if factor > SLOWER else ""
                slower += [what] if verdict else []
                print(f"{what:24}{before * 1e3:>11.3g} ms{now * 1e3:>11.3g} ms{factor:>14.2f} {verdict}", flush=True)
    if slower:
        print(f"more than {SLOWER - 1:.0%} slower: {', '.join(slower)}")
    return int(bool(slower))


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
