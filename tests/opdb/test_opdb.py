"""gradmesh against PyTorch's own operator database.

For every entry: structure, values, dtypes, `grad_fn` class names, gradients with random cotangents and gradients of
gradients, on some samples of several dtypes. GRADMESH_OPDB_SEED chooses others, GRADMESH_OPDB_SAMPLES more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.opdb.listing import listed

LISTED = listed()
PASS = [name for name, reason in LISTED.items() if not reason]
LEFT_OUT = {name: reason for name, reason in LISTED.items() if reason}
LEAST = 625
"""How many entries pass at least."""

pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", PASS)
def test_same_as_pytorch(name: str) -> None:
    from tests.opdb.body import differences

    found = list(differences(name))
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("name", LEFT_OUT)
def test_left_out_does_not_pass(name: str) -> None:
    from tests.opdb.body import differences

    assert next(differences(name, first=True), None), f"{name} passes: it need not be left out ({LEFT_OUT[name]})"


def test_enough_pass() -> None:
    assert len(PASS) >= LEAST
    assert all(reason != "not yet" for reason in LEFT_OUT.values())


def test_every_entry_is_listed() -> None:
    from tests.opdb.listing import database

    assert sorted(LISTED) == sorted(database())


def test_rows_are_of_entries() -> None:
    from tests.opdb.table import ROWS

    assert set(ROWS) <= set(LISTED)
