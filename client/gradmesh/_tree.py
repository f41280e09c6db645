"""Nests of tuples, lists and dicts: taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Rebuild = Callable[[Sequence[Any]], Any]


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """The leaves of a nest in order, and a function that puts as many others in their places."""
    if isinstance(tree, dict):
        keys, parts = list(tree), list(tree.values())
        build: Callable[[list[Any]], Any] = lambda found: type(tree)(zip(keys, found, strict=True))  # noqa: E731
    elif isinstance(tree, tuple):
        parts = list(tree)
        build = (lambda found: type(tree)(*found)) if hasattr(tree, "_fields") else tuple
    elif isinstance(tree, list):
        parts, build = tree, list
    else:
        return [tree], lambda leaves: leaves[0]
    taken = [flatten(part) for part in parts]

    def rebuild(leaves: Sequence[Any]) -> Any:
        found, start = [], 0
        for held, inner in taken:
            found.append(inner(leaves[start : start + len(held)]))
            start += len(held)
        return build(found)

    return [leaf for held, _ in taken for leaf in held], rebuild


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The nest with `function` applied to each leaf."""
    leaves, rebuild = flatten(tree)
    return rebuild([function(leaf) for leaf in leaves])


def spread(prefix: Any, tree: Any) -> list[Any] | None:
    """One entry of `prefix`, a nest that may end before `tree` does, for each leaf of `tree`; None when they differ."""
    if isinstance(prefix, dict):
        if not isinstance(tree, dict) or list(prefix) != list(tree):
            return None
        return spread(tuple(prefix.values()), tuple(tree.values()))
    if isinstance(prefix, (tuple, list)):
        if type(prefix) is not type(tree) or len(prefix) != len(tree):
            return None
        found = []
        for part, below in zip(prefix, tree, strict=True):
            inner = spread(part, below)
            if inner is None:
                return None
            found += inner
        return found
    return [prefix] * len(flatten(tree)[0])
