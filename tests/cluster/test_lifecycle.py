"""Starting and stopping: nothing is left behind, not even after a kill."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from gradmesh_engine.errors import InvalidRequestError
from gradmesh_worker import RayBackend
from gradmesh_worker.cluster import LOOPBACK, numpy_kernels, object_store_bytes
from tests.cluster.conftest import Harness
from tests.house.sources import ROOT

pytestmark = pytest.mark.cluster

FOLDERS = os.pathsep.join(str(ROOT / name) for name in ("engine", "client", "server", "worker", ""))

SERVE = """
    import asyncio, json, sys
    import ray
    from gradmesh_worker import ClusterOptions, RayBackend

    async def main():
        backend = RayBackend(
            workers=int(sys.argv[1]),
            address=sys.argv[2] or None,
            options=ClusterOptions(object_store_bytes=256 << 20, start_seconds=60),
        )
        await backend.start()
        import os
        print(json.dumps({
            "pids": [worker.pid for worker in backend.workers()],
            "address": ray.get_runtime_context().gcs_address,
            "token": os.environ["RAY_AUTH_TOKEN"],
            "session": ray._private.worker._global_node.get_session_dir_path(),
        }), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await backend.close()
        print(json.dumps({"closed": True, "environment": "RAY_AUTH_TOKEN" in os.environ}), flush=True)

    asyncio.run(main())
"""


def without_ray() -> dict[str, str]:
    """The environment without what a cluster of this process has put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@contextmanager
def coordinator(workers: int, address: str = "", **environment: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A process with a backend, and what it says of itself; it stops when its standard input is closed."""
    # What a cluster of this process has set is none of the other's.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVE), str(workers), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**inherited, "PYTHONPATH": FOLDERS, **environment},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_stopping_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    with coordinator(2, HOME=str(tmp_path)) as (process, told):
        children = family(process.pid)
        assert set(told["pids"]) <= {child.pid for child in children}
        assert len(set(told["pids"])) == 2
        session = Path(told["session"])
        assert session.is_dir()
        process.stdin.close()
        closed = json.loads(process.stdout.readline())
        assert closed == {"closed": True, "environment": False}
        assert process.wait(60) == 0
        assert_gone(children)
        assert not session.exists()
        assert not session.parent.exists()
    assert not list(tmp_path.iterdir()), "nothing is written to the home directory"


CLOSE_WHILE_RUNNING = """
    import asyncio, time
    from gradmesh_engine.errors import UnavailableError
    from gradmesh_worker import ClusterOptions, RayBackend
    from tests.cluster.test_failures import endless

    async def main():
        there = endless()
        backend = RayBackend(workers=1, options=ClusterOptions(object_store_bytes=256 << 20))
        await backend.start()
        call = asyncio.create_task(backend.run(there.program, there.operands, deadline=time.monotonic() + 60))
        while not backend.workers()[0].busy:
            await asyncio.sleep(0.01)
        await backend.close()
        try:
            await asyncio.wait_for(call, 5)
        except UnavailableError:
            print("told", flush=True)

    asyncio.run(main())
"""


def test_a_call_that_runs_when_the_backend_closes_is_told() -> None:
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLOSE_WHILE_RUNNING)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": FOLDERS},
        timeout=120,
    )
    assert process.stdout == "told\n"
    assert process.returncode == 0


def test_a_killed_coordinator_takes_its_cluster_along() -> None:
    with coordinator(1) as (process, told):
        # Ray's agents notice only once they have failed to report for a while.
        children = [child for child in family(process.pid) if "Agent" not in child.name()]
        assert set(told["pids"]) <= {child.pid for child in children}
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert_gone(children)
    shutil.rmtree(Path(told["session"]).parent, ignore_errors=True)


@contextmanager
def head(folder: Path, cpus: int) -> Iterator[tuple[str, str]]:
    """A Ray cluster as an operator starts one; its address and token."""
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    token = secrets.token_hex(32)
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats",
            "--include-dashboard=false", f"--node-ip-address={LOOPBACK}", f"--port={port}", f"--num-cpus={cpus}",
            f"--temp-dir={folder}", f"--object-store-memory={256 << 20}",
        ],
        env={**without_ray(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    children: list[psutil.Process] = []
    try:
        deadline = monotonic() + 60
        while not any(child.name() == "raylet" for child in children):
            assert process.poll() is None and monotonic() < deadline
            children = family(process.pid)
            process_wait(0.1)
        yield f"{LOOPBACK}:{port}", token
        assert all(child.is_running() for child in children if child.name() in ("raylet", "gcs_server"))
    finally:
        children = family(process.pid)
        process.terminate()
        process.wait(30)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def process_wait(seconds: float) -> None:
    """Let another process go on, between two looks at it."""
    threading.Event().wait(seconds)


def test_a_coordinator_joins_a_cluster_and_leaves_it_running() -> None:
    with (
        head(Path(tempfile.mkdtemp(prefix="gradmesh-head-")), cpus=2) as (address, token),
        coordinator(2, address, RAY_AUTH_TOKEN=token) as (process, told),
    ):
        assert told["address"] == address
        workers = [psutil.Process(pid) for pid in told["pids"]]
        assert len(workers) == 2
        process.stdin.close()
        assert json.loads(process.stdout.readline())["closed"]
        assert process.wait(60) == 0
        assert_gone(workers)


def test_workers_have_one_blas_thread_and_the_coordinators_kernels(cluster: Harness) -> None:
    pool: Any = cluster.backend._pool
    for slot in pool._slots.values():
        assert set(slot.hello.blas.split(", ")) == {f"{numpy_kernels()} x1"}


def test_workers_are_processes_of_their_own(cluster: Harness) -> None:
    cluster.until_all_alive()
    workers = cluster.backend.workers()
    assert [worker.id for worker in workers] == [f"worker-{i}" for i in range(len(workers))]
    assert len({worker.pid for worker in workers} | {os.getpid()}) == len(workers) + 1
    assert all(psutil.pid_exists(worker.pid) for worker in workers)
    assert cluster.backend.ready


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"workers": 0}, "needs workers"), ({"workers": 2, "address": "ray://head:10001"}, "inside the cluster")],
)
def test_wrong_arguments_are_refused_before_anything_starts(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        RayBackend(**arguments)


def test_the_object_store_fits_the_machine() -> None:
    assert 256 << 20 <= object_store_bytes() < psutil.virtual_memory().total
