"""One cluster at a time: three workers unless a test asks for another number."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from time import monotonic
from typing import Any, TypeVar

import pytest

from gradmesh_engine.backend import Outcome
from gradmesh_worker import ClusterOptions, RayBackend
from tests.cluster.cases import Case

T = TypeVar("T")

PATIENCE_SECONDS = 120.0


class Harness:
    """A backend on an event loop in a thread, as a coordinator has it."""

    def __init__(self, workers: int, options: ClusterOptions | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._thread.start()
        self.backend = RayBackend(workers=workers, options=options)
        try:
            self.wait(self.backend.start())
        except BaseException:
            self.close()
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.start(work).result(PATIENCE_SECONDS)

    def begin(self, case: Case, seconds: float = PATIENCE_SECONDS) -> Future[Outcome]:
        return self.start(self.backend.run(case.program, case.operands, deadline=monotonic() + seconds))

    def run(self, case: Case, seconds: float = PATIENCE_SECONDS) -> Outcome:
        return self.begin(case, seconds).result(PATIENCE_SECONDS)

    def until(self, condition: Any, seconds: float = PATIENCE_SECONDS) -> None:
        """Poll until `condition()` holds; fails when it does not in time."""

        async def poll() -> None:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.005)

        self.wait(poll())

    def until_all_alive(self) -> None:
        self.until(lambda: all(worker.alive and not worker.busy for worker in self.backend.workers()))

    def close(self) -> None:
        try:
            self.wait(self.backend.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


@pytest.fixture(scope="session", params=[3], ids=lambda count: f"{count}_workers")
def cluster(request: pytest.FixtureRequest) -> Iterator[Harness]:
    harness = Harness(request.param, ClusterOptions(object_store_bytes=2 << 30))
    yield harness
    harness.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests with a cluster in one process of pytest-xdist: there is one cluster per process."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()) or item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.xdist_group("cluster"))
