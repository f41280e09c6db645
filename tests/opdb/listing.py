"""The entries of PyTorch's operator database that are meant to work here, and which of them do.

`entries/*.txt` name every entry, one a line: `name` or `name:variant` alone is held to pass, and `name | reason` is
left out. The names stand in files so that collecting the tests needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ENTRIES: Final = Path(__file__).parent / "entries"

# Private, compiled, sparse, or about memory whose content or layout is no value.
DROPPED: Final = (
    "_", "jiterator", "torch.", "sparse.", "to_sparse", "empty", "new_empty", "as_strided", "resize",
)  # fmt: skip


def listed() -> dict[str, str]:
    """Every listed entry, and the reason why it is left out: "" for those that pass."""
    found: dict[str, str] = {}
    for path in sorted(ENTRIES.glob("*.txt")):
        for line in path.read_text().splitlines():
            name, _, reason = line.partition(" | ")
            if name in found:
                raise ValueError(f"{name} is listed twice")
            found[name] = reason
    return found


def _entries() -> Iterator[tuple[str, Any]]:
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        if not op.name.startswith(DROPPED) and torch.float64 in op.supported_dtypes("cpu"):
            yield (f"{op.name}:{op.variant_test_name}" if op.variant_test_name else op.name), op


@cache
def database() -> dict[str, Any]:
    """PyTorch's description (an OpInfo) of every entry, by name."""
    found: dict[str, Any] = {}
    for name, op in _entries():
        found.setdefault(name, op)
    return found
