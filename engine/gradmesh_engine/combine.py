"""Combine groups' partials in a fixed binary tree over the group index.

Level 0 holds one leaf per group; node (level, index) covers the groups from index·2^level up to
(index+1)·2^level. Any complete node may be combined by whoever holds both its children; no one may
combine in another order, so the bits do not depend on who ran what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from gradmesh_engine.arithmetic import ieee
from gradmesh_engine.errors import InternalError
from gradmesh_engine.plan.types import Plan

COMBINERS: Final[Mapping[str, np.ufunc]] = {
    "sum": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "prod": np.multiply,
}


@dataclass(frozen=True, slots=True)
class Subtree:
    """The combined partials of the groups index·2^level up to (index+1)·2^level.

    Attributes:
        level: height in the tree, 0 for one group.
        index: position within the level.
        values: array by value number.
    """

    level: int
    index: int
    values: dict[int, np.ndarray]


def _join(kinds: Mapping[int, str], left: Subtree, right: Subtree) -> Subtree:
    values = {}
    for value, a in left.values.items():
        out = a if a.flags.writeable else None
        values[value] = np.asarray(COMBINERS[kinds[value]](a, right.values[value], out=out))
    return Subtree(left.level + 1, left.index // 2, values)


def _kinds(plan: Plan, stage: int) -> dict[int, str]:
    return {p.value: p.kind for p in plan.stages[stage].partials}


def merge(plan: Plan, stage: int, subtrees: Iterable[Subtree]) -> list[Subtree]:
    """Combine as far as complete, aligned subtrees allow. Writable arrays are reused."""
    assert plan.split is not None
    groups = plan.split.groups
    kinds = _kinds(plan, stage)
    pending = {(s.level, s.index): s for s in subtrees}
    work = sorted(pending)
    with ieee():
        while work:
            level, index = work.pop(0)
            here = pending.get((level, index))
            if here is None or (index == 0 and (1 << level) >= groups):
                continue
            if index % 2 == 0 and (index + 1) << level >= groups:
                joined = Subtree(level + 1, index // 2, here.values)  # nothing to its right
            else:
                left, right = pending.get((level, index & ~1)), pending.get((level, index | 1))
                if left is None or right is None:
                    continue
                joined = _join(kinds, left, right)
                del pending[level, right.index], pending[level, left.index]
            pending.pop((level, index), None)
            pending[joined.level, joined.index] = joined
            work.append((joined.level, joined.index))
    return [pending[key] for key in sorted(pending)]


def finish(plan: Plan, stage: int, subtrees: Iterable[Subtree]) -> dict[int, np.ndarray]:
    """The value of every reduction of a stage, from all of its groups' partials.

    Raises:
        InternalError: a group is missing.
    """
    if not plan.stages[stage].partials:
        return {}
    merged = merge(plan, stage, subtrees)
    assert plan.split is not None
    if len(merged) != 1 or (1 << merged[0].level) < plan.split.groups:
        raise InternalError("partials of some groups are missing")
    return merged[0].values


class Accumulator:
    """Takes groups in order and keeps only the subtrees that are not complete yet: O(log groups) arrays."""

    def __init__(self, plan: Plan, stage: int) -> None:
        self._kinds = _kinds(plan, stage)
        self._stack: list[Subtree] = []

    def push(self, group: int, values: dict[int, np.ndarray]) -> None:
        """Take the partials of the next group."""
        tree = Subtree(0, group, values)
        stack = self._stack
        while stack and stack[-1].level == tree.level and stack[-1].index == tree.index - 1 and tree.index % 2:
            tree = _join(self._kinds, stack.pop(), tree)
        stack.append(tree)

    def subtrees(self) -> list[Subtree]:
        """What has been gathered."""
        return self._stack
