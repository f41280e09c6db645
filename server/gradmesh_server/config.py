"""Everything about a coordinator that can be set, in one frozen value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from gradmesh.v1 import gradient_service_pb2 as pb

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Config:
    """Address, limits and times of one coordinator.

    Attributes:
        host: interface to listen on.
        port: port to listen on; 0 picks a free one.
        inline: whether small graphs may run in the coordinator's process ("auto") or never do.
        inline_cost: greatest cost of a program, in FLOPs and bytes moved, that "auto" runs inline.
        loop_cost: greatest cost that runs without leaving the event loop; tens of microseconds.
        max_message_bytes: of one message, in either direction.
        max_graph_nodes: of one graph.
        max_graph_bytes: of one serialised graph.
        max_request_bytes: results and planned peak of one request.
        max_tensor_bytes: of one tensor.
        max_stored_bytes: of all stored tensors and uploads in progress.
        max_uploads: uploads in progress at once.
        max_running: requests that run at once.
        max_waiting: requests that wait for their turn.
        graphs: graphs remembered by digest.
        programs: compiled programs remembered.
        inline_result_bytes: results of more bytes come back as handles.
        adopt_bytes: uploads of at least this size are handed to the backend's shared memory.
        handle_ttl_seconds: how long a handle waits to be used.
        upload_idle_seconds: how long an upload may pause.
        default_timeout_seconds: for calls that come without a deadline.
        drain_seconds: how long running requests may take to finish when the server stops.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    inline: Literal["auto", "never"] = "auto"
    inline_cost: float = 2e7
    loop_cost: float = 2e4
    max_message_bytes: int = 16 * MIB
    max_graph_nodes: int = 100_000
    max_graph_bytes: int = 8 * MIB
    max_request_bytes: int = 8192 * MIB
    max_tensor_bytes: int = 4096 * MIB
    max_stored_bytes: int = 8192 * MIB
    max_uploads: int = 64
    max_running: int = max(4, 2 * (os.cpu_count() or 1))
    max_waiting: int = 256
    graphs: int = 1024
    programs: int = 512
    inline_result_bytes: int = 2 * MIB
    adopt_bytes: int = 8 * MIB
    handle_ttl_seconds: float = 120.0
    upload_idle_seconds: float = 30.0
    default_timeout_seconds: float = 600.0
    drain_seconds: float = 30.0

    def limits(self) -> pb.Limits:
        """What clients are told."""
        return pb.Limits(
            max_message_bytes=self.max_message_bytes,
            max_graph_nodes=self.max_graph_nodes,
            max_graph_bytes=self.max_graph_bytes,
            max_request_bytes=self.max_request_bytes,
            max_tensor_bytes=self.max_tensor_bytes,
            max_stored_bytes=self.max_stored_bytes,
            max_running=self.max_running,
            max_waiting=self.max_waiting,
            inline_result_bytes=self.inline_result_bytes,
            handle_ttl_seconds=self.handle_ttl_seconds,
        )
