"""One BLAS thread while the engine runs, whichever threads it runs in."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from gradmesh_engine import blas
from gradmesh_engine.blas import libraries, single_threaded
from gradmesh_engine.combine import Subtree
from gradmesh_engine.threads import over_groups


def counts() -> list[int]:
    return [library.get_num_threads() for library in libraries()]


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def several() -> Iterator[None]:
    """BLAS set to three threads, by a thread that lives on."""
    if not libraries():
        pytest.skip("no BLAS whose threads can be set is loaded")
    before = counts()
    for library in libraries():
        library.set_num_threads(3)
    assert set(counts()) == {3}
    yield
    for library, count in zip(libraries(), before, strict=True):
        library.set_num_threads(count)


def test_any_thread_may_hold_it(several: None) -> None:
    seen: list[list[int]] = []

    def hold() -> None:
        with single_threaded():
            seen.append(counts())
        seen.append(counts())

    hold()
    in_a_thread(hold)
    hold()
    assert [set(found) for found in seen] == [{1}, {3}] * 3


def test_the_last_one_out_restores(several: None) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with single_threaded():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    with single_threaded():
        thread.start()
        entered.wait()
    assert set(counts()) == {1}
    leave.set()
    thread.join()
    assert set(counts()) == {3}


class PerThread(threading.local):
    """Stands for a BLAS on OpenMP, which has a count for each thread; none comes with NumPy's wheels."""

    threading_layer = "openmp"
    filepath = "libgomp"
    count = 4

    def get_num_threads(self) -> int:
        return self.count

    def set_num_threads(self, count: int) -> None:
        self.count = count


def test_threads_that_help_hold_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    library = PerThread()
    monkeypatch.setattr(blas, "libraries", lambda: (library,))
    both = threading.Barrier(2)
    seen: dict[str, int] = {}

    def work(first: int, stop: int) -> list[Subtree]:
        if first == 0 or len(seen) == 1:
            seen[threading.current_thread().name] = library.get_num_threads()
            both.wait(10)
        return []

    over_groups(64, [work, work])
    assert len(seen) == 2 and set(seen.values()) == {1}
    assert library.get_num_threads() == 4


LATER = """
import gradmesh_engine
from gradmesh_engine.blas import libraries, single_threaded

def set_to_three(those):
    for library in those:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
        library.set_num_threads(3)

def counts(those):
    return {library.get_num_threads() for library in those}

set_to_three(libraries())
with single_threaded():
    held = {library.filepath for library in libraries()}
    import scipy.linalg
    later = [library for library in libraries() if library.filepath not in held]
    set_to_three(later)
    with single_threaded():
        assert counts(libraries()) == {1}, libraries()
    assert counts(later) <= {3}
with single_threaded():
    assert counts(libraries()) == {1}
assert counts(libraries()) == {3}
print(len(later))
"""


def test_a_library_that_comes_later_is_held_too() -> None:
    """SciPy's, which is loaded when its linear algebra is first needed."""
    if not libraries():
        pytest.skip("no BLAS whose threads can be set is loaded")
    answer = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    if answer.stdout.strip() == "0":
        pytest.skip("SciPy calls NumPy's library")


FORKED = """
import os, threading

import gradmesh_engine
from gradmesh_engine import blas

with blas.single_threaded():
    pass
locked, go = threading.Event(), threading.Event()

def hold_the_lock():
    with blas._shared.lock:
        locked.set()
        go.wait()

thread = threading.Thread(target=hold_the_lock)
thread.start()
locked.wait()
child = os.fork()
if not child:
    with blas.single_threaded():
        os._exit(0)
_, status = os.waitpid(child, 0)
go.set()
thread.join()
assert status == 0
"""


def test_a_fork_while_another_thread_sets_counts() -> None:
    answer = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
