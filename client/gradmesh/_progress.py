"""A progress bar for uploads a person would notice."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Final

DELAY_SECONDS: Final = 2.0
"""Uploads that are done sooner show nothing."""


class Progress:
    """Counts the bytes of uploads; shows a bar on a terminal once they have taken a while.

    Args:
        total: bytes that will be sent.
        enabled: whether a bar may be shown at all.
    """

    def __init__(self, total: int, enabled: bool) -> None:
        self._bar: Any = None
        if enabled and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, desc="upload", unit="B", unit_scale=True, delay=DELAY_SECONDS, leave=False, file=sys.stderr
            )

    def advance(self, count: int) -> None:
        """Count `count` more bytes."""
        if self._bar is not None:
            self._bar.update(count)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
