"""Small requests that were made before with other tensors, and their replies: written and read by template."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeAlias

import numpy as np

from gradmesh import _codec
from gradmesh._templates import REPLY, REQUEST, Template, template_of
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.session import Query, Result, Stats

_SECONDS: Final = struct.Struct("<d")

_Key: TypeAlias = "tuple[bytes, Query]"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its reply, and what of both does not depend on the content of tensors.

    Attributes:
        request: the template of the request.
        given: specs of its tensors.
        reply: the template of the reply.
        found: specs of the results.
        count: how many of them are outputs.
        connected: for each gradient whether there is one.
        stats: of the reply; its seconds and bytes are those of the first.
    """

    request: Template
    given: tuple[TensorSpec, ...]
    reply: Template
    found: tuple[TensorSpec, ...]
    count: int
    connected: tuple[bool, ...]
    stats: Stats

    def write(self, tensors: Sequence[np.ndarray]) -> bytes | None:
        """The request with these tensors; None when they are not of the same shapes and dtypes."""
        if len(tensors) != len(self.given):
            return None
        contents = []
        for array, spec in zip(tensors, self.given, strict=True):
            if array.shape != spec.shape or array.dtype != spec.dtype:
                return None
            contents.append(array.tobytes())
        return self.request.fill(contents)

    def read(self, reply: bytes, sent: int) -> Result | None:
        """The result in a reply to a request of `sent` bytes; None when it is not like the first."""
        if not self.reply.matches(reply):
            return None
        parts = [reply[begin:end] for begin, end in self.reply.holes]
        # Read-only, over the parts.
        arrays = [np.ndarray(spec.shape, spec.dtype, part) for spec, part in zip(self.found, parts, strict=False)]
        decode, plan, run, encode = [_SECONDS.unpack(part)[0] for part in parts[-4:]]
        gradients = iter(arrays[self.count :])
        first = self.stats
        stats = Stats(
            first.cache,
            first.where,
            first.stages,
            first.blocks,
            first.groups,
            first.workers,
            {"wait": 0.0, "decode": decode, "plan": plan, "run": run, "encode": encode},
            {"placed": first.bytes["placed"], "sent": sent, "received": len(reply)},
            first.peak_bytes,
            first.flops,
        )
        return Result(
            tuple(arrays[: self.count]),
            tuple([next(gradients) if connected else None for connected in self.connected]),
            (),
            stats,
        )


class Exchanges:
    """The exchanges of a session by graph and query, the oldest dropped first. Thread-safe. Final.

    Args:
        most: number of exchanges kept.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._known: dict[_Key, Exchange] = {}
        self._lock = Lock()
        self.find: Final = self._known.get

    def learn(
        self,
        key: _Key,
        request: bytes,
        tensors: Sequence[np.ndarray],
        reply: bytes,
        response: pb.ComputeResponse,
        stats: Stats,
    ) -> None:
        """Keep an exchange, if its bytes depend in a simple way on its tensors.

        Args:
            key: its graph's digest and its query.
            request: the message that was sent, which has the digest instead of the graph.
            tensors: the tensors in it.
            reply: what came back.
            response: the same, parsed.
            stats: its stats.
        """
        results = [*response.outputs, *[g.tensor for g in response.gradients if g.HasField("tensor")]]
        if response.grad_fns or stats.seconds["wait"] or not all(map(_codec.is_plain, results)):
            return
        seconds = [stats.seconds[phase] for phase in ("decode", "plan", "run", "encode")]
        written = template_of(request, REQUEST, [array.tobytes() for array in tensors])
        read = template_of(reply, REPLY, [*[t.data for t in results], *map(_SECONDS.pack, seconds)])
        if written is None or read is None:
            return
        exchange = Exchange(
            written,
            tuple([TensorSpec(array.shape, array.dtype) for array in tensors]),
            read,
            tuple([_codec.spec_of(tensor.dtype, tuple(tensor.shape)) for tensor in results]),
            len(response.outputs),
            tuple([gradient.HasField("tensor") for gradient in response.gradients]),
            stats,
        )
        with self._lock:
            self._known[key] = exchange
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
