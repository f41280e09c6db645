"""A port that answers for health alone, without TLS: probes of Kubernetes speak none."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from gradmesh_engine.errors import UnavailableError

LIVE = "live"
"""Name of the service that is healthy as long as the event loop answers, with or without workers."""


class Probes:
    """The listener. Final. Says of the server's services what `servicer` says."""

    def __init__(self, servicer: health.aio.HealthServicer, host: str, port: int) -> None:
        """Raises UnavailableError when the port cannot be had."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._servicer = servicer
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen for health checks on {host}:{port}: {error}",
                remedy="choose another --health-port, or stop what listens there",
            ) from None

    async def start(self) -> None:
        """Answer from now on."""
        await self._servicer.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self) -> None:
        """Close the port."""
        await self._server.stop(0)
