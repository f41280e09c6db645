"""A coordinator as a whole: gRPC server, health, reflection, start, drain and stop."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc  # type: ignore[import-untyped]

from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import blob_service_pb2_grpc as blob_grpc
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import gradient_service_pb2_grpc as pb_grpc
from gradmesh_engine.backend import Backend
from gradmesh_engine.errors import UnavailableError
from gradmesh_server.admission import Admission
from gradmesh_server.auth import Authenticator
from gradmesh_server.blobs import BlobStore
from gradmesh_server.config import Config, is_loopback
from gradmesh_server.coordinator import Coordinator
from gradmesh_server.gate import Gate
from gradmesh_server.http import Watch
from gradmesh_server.metrics import Readings
from gradmesh_server.parsing import Parsing
from gradmesh_server.probes import Probes
from gradmesh_server.service import BlobServicer, GradientServicer, Reflection
from gradmesh_server.telemetry import Telemetry
from gradmesh_server.tls import server_credentials
from gradmesh_server.version import package_version

logger = logging.getLogger("gradmesh.server")

SERVICES = (
    pb.DESCRIPTOR.services_by_name["GradientService"].full_name,
    blob_pb.DESCRIPTOR.services_by_name["BlobService"].full_name,
)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_WATCH_SECONDS = 0.25
_DRAIN_POLL_SECONDS = 0.02
_LAST_WORDS_SECONDS = 1.0
# The event loop is taken for stuck when it was not heard of for so long.
_STUCK_SECONDS = 15.0


class Server:
    """One coordinator. To be used on one event loop: `await start()`, then `await stop()`."""

    def __init__(self, config: Config, backend: Backend | None = None, *, observed: bool = True) -> None:
        """Without a backend everything runs in this process.

        Args:
            config: how it serves.
            backend: the workers.
            observed: whether calls are counted, logged and traced; without, to measure what that costs.
        """
        self.config = config
        self.port = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self._backend = backend
        self._blobs = BlobStore(
            max_bytes=config.max_stored_bytes,
            max_uploads=config.max_uploads,
            ttl_seconds=config.handle_ttl_seconds,
            clock=time.monotonic,
            on_drop=(lambda name: None) if backend is None else backend.forget,
            own_bytes=config.principal_stored_bytes,
            own_uploads=config.principal_uploads,
        )
        self._admission = Admission(
            config.max_running,
            config.max_waiting,
            max_waiting_bytes=config.max_waiting_bytes,
            max_wait_seconds=config.max_wait_seconds,
            own_running=config.principal_running if config.authenticates else 0,
            own_waiting=config.principal_waiting if config.authenticates else 0,
        )
        self._authenticator = Authenticator(config)
        self._coordinator = Coordinator(config, backend, self._blobs)
        self._blob_servicer = BlobServicer(config, self._blobs, self._admission, backend, self._authenticator)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._probes: Probes | None = None
        self._observed = observed
        self._telemetry = Telemetry(self._readings, config.log_format)
        self._http: Watch | None = None
        self._started_at = time.time()
        self._beat = 0.0

    @property
    def address(self) -> str:
        """HOST:PORT to connect to."""
        return f"{self.config.host}:{self.port}"

    async def start(self) -> None:
        """Bring workers up, then listen.

        Raises UnavailableError when the port cannot be had, InvalidRequestError for a configuration that
        contradicts itself or would open the service by mistake.
        """
        self.loop = asyncio.get_running_loop()
        self.config.check_together()
        credentials = server_credentials(self.config) if self.config.tls_cert else None
        if self.config.insecure and not is_loopback(self.config.host):
            self._warn()
        self._check_port()
        if self._backend is not None:
            # Before there is a gRPC server: starting workers forks, which gRPC's threads do not like.
            await self._backend.start()
        try:
            self._server = await self._listen(credentials)
        except BaseException:
            if self._backend is not None:
                await self._backend.close()
            raise
        await self._tell_health()
        if self.config.health_port is not None:
            try:
                self._probes = Probes(self._health, self.config.host, self.config.health_port)
                await self._probes.start()
            except BaseException:
                await self.stop(0.0)
                raise
        self._watch = asyncio.create_task(self._watch_over())
        if self.config.metrics_port is not None:
            try:
                self._http = Watch(
                    self.config.metrics_host, self.config.metrics_port, self._telemetry.metrics, self._trouble
                )
            except BaseException:
                await self.stop(0.0)
                raise

    def _warn(self) -> None:
        """Say what --insecure leaves open."""
        config = self.config
        if not config.tls_cert:
            logger.warning("insecure: traffic with %s:%d is not encrypted", config.host, config.port)
        if not config.authenticates:
            logger.warning("insecure: whoever reaches %s:%d can use this service", config.host, config.port)

    async def _listen(self, credentials: grpc.ServerCredentials | None) -> grpc.aio.Server:
        config = self.config
        server = grpc.aio.server(
            interceptors=[*([self._telemetry] if self._observed else []), Gate(self._admission, self._authenticator)],
            options=[
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
                ("grpc.so_reuseport", 0),
                # The wall behind admission: calls beyond it are ended by gRPC itself, before they cost much. It takes a
                # burst that admission would take.
                ("grpc.server.max_pending_requests", config.max_running + config.max_waiting),
                ("grpc.server.max_pending_requests_hard_limit", config.max_running + config.max_waiting + 1),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
                # One connection cannot hold more calls than there is room for, beside those to be turned away.
                ("grpc.max_concurrent_streams", 1024 + 2 * (config.max_running + config.max_waiting)),
            ],
        )
        gradients = GradientServicer(
            config, self._coordinator, self._blobs, self._admission, self._backend, self._authenticator
        )
        parsing: Any = Parsing(server, self._authenticator, gradients)
        pb_grpc.add_GradientServiceServicer_to_server(gradients, parsing)
        blob_grpc.add_BlobServiceServicer_to_server(self._blob_servicer, parsing)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection(self._authenticator, names), server)
        address = f"{config.host}:{config.port}"
        try:
            if credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise self._taken(error) from None
        await server.start()
        return server

    def _check_port(self) -> None:
        """Find out before workers are started whether the port can be had."""
        family = socket.AF_INET6 if ":" in self.config.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.config.host, self.config.port))
            except OSError as error:
                raise self._taken(error) from None

    def _taken(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"cannot listen on {self.config.host}:{self.config.port}: {error}",
            remedy="choose another port, or stop what listens there",
        )

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Take nothing new, let running requests finish for so long, then stop everything. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        self._admission.draining = True
        if self._watch is not None:
            self._watch.cancel()
        await self._health.enter_graceful_shutdown()
        # Drained before the gRPC server is stopped, which then refuses even those who come for
        # their results or ask for our health.
        grace = self.config.drain_seconds if grace_seconds is None else grace_seconds
        limit = time.monotonic() + grace
        while self._busy() and time.monotonic() < limit:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        await server.stop(0 if self._busy() else _LAST_WORDS_SECONDS)
        if self._probes is not None:
            await self._probes.stop()
        self._telemetry.flush()
        if self._http is not None:
            await asyncio.to_thread(self._http.close)
        self._blob_servicer.close()
        await self._coordinator.close()
        if self._backend is not None:
            await self._backend.close()

    def _busy(self) -> bool:
        """Whether someone still waits for something from us."""
        admission, blobs = self._admission, self._blobs
        return bool(admission.running or admission.waiting or blobs.uploads or blobs.results)

    async def _tell_health(self) -> None:
        self._beat = time.monotonic()
        ready = self._backend is None or self._backend.ready
        for name in ("", *SERVICES):
            await self._health.set(name, _SERVING if ready else _NOT_SERVING)

    @property
    def health_port(self) -> int | None:
        """Port of the health checks without TLS, None without."""
        return None if self._probes is None else self._probes.port

    @property
    def metrics_port(self) -> int | None:
        """Port of /metrics and /healthz, None without."""
        return None if self._http is None else self._http.port

    def _trouble(self) -> str:
        """Why no request can be served now, "" when one can. Called from any thread."""
        if self._admission.draining:
            return "draining"
        if self._backend is not None and not self._backend.ready:
            return "no worker is alive"
        if time.monotonic() - self._beat > _STUCK_SECONDS:
            return f"the event loop was not heard of for {_STUCK_SECONDS:g} s"
        return ""

    def _readings(self) -> Readings:
        """The metrics that are kept elsewhere. Called from any thread: reads numbers, waits for nothing."""
        coordinator, blobs, admission, backend = self._coordinator, self._blobs, self._admission, self._backend
        caches = {
            "graph": (coordinator.graph_uses, coordinator.graphs),
            "plan": (coordinator.program_uses, coordinator.programs),
            "blob": (blobs.uses, len(blobs)),
        }
        workers = () if backend is None else backend.workers()
        single: dict[str, float] = {
            "gradmesh_requests_running": admission.running,
            "gradmesh_requests_waiting": admission.waiting,
            "gradmesh_requests_running_limit": self.config.max_running,
            "gradmesh_requests_waiting_limit": self.config.max_waiting,
            "gradmesh_serving": not self._trouble(),
            "gradmesh_workers": len(workers),
            "gradmesh_workers_alive": sum(worker.alive for worker in workers),
            "gradmesh_workers_busy": sum(worker.busy for worker in workers),
            "gradmesh_blob_bytes": blobs.used_bytes,
            "gradmesh_blob_limit_bytes": self.config.max_stored_bytes,
            "gradmesh_blob_evicted_bytes_total": blobs.evicted_bytes,
            "gradmesh_blob_uploads": blobs.uploads,
            "gradmesh_start_time_seconds": self._started_at,
        }
        if backend is not None:
            stats = backend.stats()
            single["gradmesh_worker_restarts_total"] = stats.restarts
            single["gradmesh_range_retries_total"] = stats.retries
            single["gradmesh_placed_bytes_total"] = stats.placed_bytes
        return {
            **{name: {(): value} for name, value in single.items()},
            "gradmesh_info": {(package_version(),): 1.0},
            "gradmesh_cache_hits_total": {(cache,): use.hits for cache, (use, _) in caches.items()},
            "gradmesh_cache_misses_total": {(cache,): use.misses for cache, (use, _) in caches.items()},
            "gradmesh_cache_evictions_total": {(cache,): use.evictions for cache, (use, _) in caches.items()},
            "gradmesh_cache_entries": {(cache,): entries for cache, (_, entries) in caches.items()},
        }

    async def _watch_over(self) -> None:
        """Keep the health service truthful, and let go of what nobody came for."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._tell_health()
            self._blobs.sweep()
            self._authenticator.refresh()


@contextmanager
def background(config: Config, backend: Backend | None = None) -> Iterator[Server]:
    """A server on an event loop in a thread of its own, for tests, notebooks and benchmarks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gradmesh-server", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(_start(config, backend), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(1.0), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(config: Config, backend: Backend | None) -> Server:
    server = Server(config, backend)
    await server.start()
    return server
