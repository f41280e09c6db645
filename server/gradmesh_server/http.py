"""The HTTP port for machines that watch: /metrics and /healthz, on a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from gradmesh_engine.errors import UnavailableError
from gradmesh_server.metrics import Metrics

_PATIENCE_SECONDS: Final = 10.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked went away: nothing to tell anyone."""


class Watch:
    """Answers GET /metrics and GET /healthz. Final.

    Args:
        host: interface to listen on.
        port: port to listen on; 0 picks a free one.
        metrics: what /metrics tells.
        health: "" when all is well, otherwise what is wrong; called from this server's threads.

    Raises:
        UnavailableError: prometheus-client is not installed, or the port cannot be had.
    """

    def __init__(self, host: str, port: int, metrics: Metrics, health: Callable[[], str]) -> None:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import choose_encoder
        except ModuleNotFoundError:
            raise UnavailableError(
                "prometheus-client is not installed, so there can be no metrics port",
                remedy="pip install 'gradmesh[cluster]', or serve without --metrics-port",
            ) from None
        registry = CollectorRegistry()
        registry.register(metrics)

        class Handler(BaseHTTPRequestHandler):
            timeout = _PATIENCE_SECONDS
            server_version = "gradmesh"
            sys_version = ""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    encode, kind = choose_encoder(self.headers.get("Accept", ""))
                    self._answer(200, kind, encode(registry))
                elif path == "/healthz":
                    wrong = health()
                    text = f"not serving: {wrong}\n" if wrong else "serving\n"
                    self._answer(503 if wrong else 200, "text/plain; charset=utf-8", text.encode())
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Scrapes are not worth a line."""

        class Server(_Server):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            self._server = Server((host, port), Handler)
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {host}:{port} for metrics: {error}",
                remedy="choose another --metrics-port, or stop what listens there",
            ) from None
        self.port: Final[int] = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="gradmesh-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
