"""Start or join a Ray cluster, and leave it without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import ray
from threadpoolctl import threadpool_info

import gradmesh_engine
import gradmesh_worker
from gradmesh_engine.errors import UnavailableError

T = TypeVar("T")

log: Final = logging.getLogger("gradmesh.cluster")

# Ray replaces 127.0.0.1 by the machine's outward address wherever clusters of several machines are
# supported, which is Linux; there every address of 127/8 is loopback.
LOOPBACK: Final = "127.0.0.2" if sys.platform.startswith("linux") else "127.0.0.1"

LONGEST_TEMPORARY_PATH: Final = 40
"""Characters; Ray's sockets lie some 65 below and a socket's path may have 107."""

OBJECT_STORE_SHARE: Final = 0.4
"""Of the memory that is free at the start."""

LEAST_OBJECT_STORE_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How the workers run.

    Attributes:
        object_store_bytes: memory for values shared between processes on this machine; 0 takes a
            share of what is free. Not used with an existing cluster.
        start_seconds: time a worker may take to come up.
        grace_seconds: time a worker may take to stop what it runs for a call that ended early
            before it is replaced.
        placed_bytes: bytes of inputs kept on the workers between calls.
        map_whole: whether workers map whole inputs rather than getting pieces; None does so when
            all of them share the coordinator's machine.
    """

    object_store_bytes: int = 0
    start_seconds: float = 60.0
    grace_seconds: float = 10.0
    placed_bytes: int = 4 << 30
    map_whole: bool | None = None


class RayThread:
    """A thread that starts and stops Ray. Final.

    Ray's processes end with the thread that started them, so this one lives as long as the process.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="gradmesh-ray", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function`, called in the thread; what it raises is raised here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def call() -> None:
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, result, error)

        self._calls.put(call)
        return await future

    def stop(self) -> None:
        """End the thread."""
        self._calls.put(None)


def object_store_bytes() -> int:
    """A share of the free memory that fits the memory-backed file system it is kept in."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = int(free * OBJECT_STORE_SHARE)
    if os.path.isdir("/dev/shm"):
        size = min(size, int(shutil.disk_usage("/dev/shm").free * 0.8))
    return max(size, LEAST_OBJECT_STORE_BYTES)


def worker_environment() -> dict[str, str]:
    """What the workers' processes need: the coordinator's packages, its BLAS kernels, one BLAS thread.

    Kernels of one kind give one set of bits, whether a graph runs here or there.
    """
    folders = [str(Path(module.__path__[0]).parent) for module in (gradmesh_engine, gradmesh_worker)]
    known = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    environment = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([*folders, *known])),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    kernels = numpy_kernels()
    if kernels:
        environment["OPENBLAS_CORETYPE"] = kernels
    return environment


def numpy_kernels() -> str:
    """The OpenBLAS kernels NumPy uses in this process, "" when it uses another library."""
    for library in threadpool_info():
        # SciPy brings a library of its own, which may have been loaded under another setting.
        if library["internal_api"] == "openblas" and "numpy" in library["filepath"]:
            return str(library.get("architecture", ""))
    return ""


def _temporary_folder() -> str:
    root = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="gradmesh-", dir=root if len(root) < LONGEST_TEMPORARY_PATH else "/tmp")


def _reload_authentication() -> None:
    """Make Ray see the mode and token of the environment: it looked when it was imported."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _report(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    """Ray's notices about its processes go to the log; standard output is the program's own."""
    for line in data.get("lines", ()):
        log.info("ray: %s", line)


class Cluster:
    """One connection to Ray per process. Final.

    Args:
        workers: number of workers, one core each.
        address: "host:port" of an existing Ray cluster, "" to start one on this machine alone.
        options: how they run.
    """

    def __init__(self, workers: int, address: str, options: ClusterOptions) -> None:
        self._workers = workers
        self._address = address
        self._options = options
        self._thread: RayThread | None = None
        self._folder = ""
        self._environment: dict[str, str | None] = {}

    async def start(self) -> None:
        """Start or join. Raises UnavailableError when that fails, with everything undone."""
        self._thread = RayThread()
        try:
            await self._thread.run(self._start)
        except BaseException as error:
            await self.stop()
            if isinstance(error, Exception):
                raise UnavailableError(
                    f"Ray could not be {'joined' if self._address else 'started'}: {error}",
                    got=self._address or "a local cluster",
                    remedy="check the cluster's address and token (RAY_AUTH_TOKEN), or free memory and /dev/shm",
                ) from error
            raise

    async def stop(self) -> None:
        """Leave; a cluster started here ends with all its processes and files. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            # A stop that was begun is finished even when its caller is cancelled.
            await asyncio.shield(thread.run(self._stop))
            thread.stop()

    def _start(self) -> None:
        if ray.is_initialized():
            raise RuntimeError("this process is connected to a Ray cluster already")
        # Also keeps Ray from replacing this process's handlers of standard output.
        setattr(ray._private.worker, "print_to_stdstream", _report)  # noqa: B010
        self._set_environment("RAY_USAGE_STATS_ENABLED", "0")
        # Every result of a failed call holds its error; only the first one is read.
        self._set_environment("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        common: dict[str, Any] = {
            "log_to_driver": False,
            "configure_logging": False,
            "logging_level": logging.ERROR,
            "namespace": f"gradmesh-{secrets.token_hex(4)}",
        }
        with _quiet():
            if self._address:
                # With an address given, Ray uses a token only when it is told to.
                if "RAY_AUTH_MODE" not in os.environ and {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
                    self._set_environment("RAY_AUTH_MODE", "token")
                    _reload_authentication()
                ray.init(address=self._address, **common)
                return
            # A token given here is not written to the home directory.
            self._set_environment("RAY_AUTH_MODE", "token")
            self._set_environment("RAY_AUTH_TOKEN", secrets.token_hex(32))
            _reload_authentication()
            for name, value in worker_environment().items():
                self._set_environment(name, value)  # inherited by the workers, which start sooner so
            self._folder = _temporary_folder()
            ray.init(
                address="local",
                num_cpus=self._workers,
                include_dashboard=False,
                object_store_memory=self._options.object_store_bytes or object_store_bytes(),
                _node_ip_address=LOOPBACK,
                _temp_dir=self._folder,
                **common,
            )

    def _stop(self) -> None:
        try:
            ray.shutdown()
        finally:
            for name, value in self._environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            self._environment.clear()
            _reload_authentication()
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = ""

    def _set_environment(self, name: str, value: str) -> None:
        self._environment[name] = os.environ.get(name)
        os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Any:
    """Ray remarks that it sets no signal handler outside the main thread, which is as it should be."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
