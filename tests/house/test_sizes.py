"""Files a person reads in one sitting."""

from __future__ import annotations

from tests.house.sources import GENERATED, ROOT

LIMIT = 900


def test_no_file_is_long() -> None:
    folders = ("engine", "client", "server", "worker", "tests", "benchmarks", "examples")
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if GENERATED not in path.parents and (lines := len(path.read_text().splitlines())) > LIMIT
    }
    assert not long, long
