"""Tells what differs from PyTorch: `python -m tests.opdb NAME...` (a name without its variant means all variants).

With `--left-out FAMILY` it runs what entries/FAMILY.txt leaves out, and lists there as passing what does.
"""

from __future__ import annotations

import sys
import time

import torch

from tests.opdb.body import count, differences, seed
from tests.opdb.listing import ENTRIES, database, listed


def _mark(family: str, passing: set[str]) -> None:
    path = ENTRIES / f"{family}.txt"
    lines = path.read_text().splitlines()
    marked = [name if (name := line.partition(" | ")[0]) in passing else line for line in lines]
    path.write_text("".join(f"{line}\n" for line in marked))


def _chosen(arguments: list[str]) -> list[str]:
    if arguments[0] == "--left-out":
        lines = (ENTRIES / f"{arguments[1]}.txt").read_text().splitlines()
        return [line.partition(" | ")[0] for line in lines if " | " in line]
    if arguments[0] == "--all":
        return list(listed())
    return [name for name in database() if name in arguments or name.partition(":")[0] in arguments]


def main(arguments: list[str]) -> None:
    """Print every difference of the entries named, and a line per entry."""
    torch.set_num_threads(1)
    print(f"seed {seed()}, {count()} samples")
    chosen = _chosen(arguments)
    good: set[str] = set()
    for name in chosen:
        start = time.perf_counter()
        found = list(differences(name))
        if not found:
            good.add(name)
        for difference in found:
            print(difference)
        print(f"{name}: {f'{len(found)} differences' if found else 'passes'} ({time.perf_counter() - start:.1f} s)")
    print(f"{len(good)} of {len(chosen)} pass")
    if arguments[0] == "--left-out":
        _mark(arguments[1], good)


if __name__ == "__main__":
    main(sys.argv[1:] or ["--all"])
