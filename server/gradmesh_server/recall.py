"""Requests that came before with other tensors: answered from what was made of the first, without a parser."""

from __future__ import annotations

import struct
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from gradmesh._templates import REPLY, REQUEST, Template, template_of
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.graph import TensorSpec
from gradmesh_engine.program import Program
from gradmesh_engine.session import Query

_HEAD_BYTES: Final = 18  # Tag, length and digest of the graph, with which clients begin.

_SECONDS: Final = struct.Struct("<d")

_Name: TypeAlias = "tuple[bytes, int]"


@dataclass(slots=True)
class RunStats:
    """What a log line, metrics and spans tell of a run: the fields of the contract's Stats by the same names."""

    cache: str
    where: str
    stages: int
    workers: int
    decode_seconds: float
    plan_seconds: float
    run_seconds: float
    encode_seconds: float
    wait_seconds: float = 0.0
    placed_bytes: int = 0


@dataclass(slots=True)
class Written:
    """A reply in protobuf's encoding."""

    content: bytes
    stats: RunStats

    def ByteSize(self) -> int:
        """As of a message."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class Known:
    """A request that was answered, and all of it that does not depend on the content of its tensors.

    Attributes:
        request: its template.
        specs: of its tensors; any bytes are values of them.
        key: what its program is remembered by.
        program: its program.
        reply: the template of its reply.
        stats: of the reply, but for the seconds.
    """

    request: Template
    specs: tuple[TensorSpec, ...]
    key: tuple[bytes, Query]
    program: Program
    reply: Template
    stats: tuple[str, str, int, int]

    def arrays(self, content: bytes) -> list[np.ndarray]:
        """The read-only arrays of a request that matches."""
        # Copied, so that they are aligned.
        return [
            np.ndarray(spec.shape, spec.dtype, content[begin:end])
            for spec, (begin, end) in zip(self.specs, self.request.holes, strict=True)
        ]

    def written(self, outputs: Sequence[np.ndarray], begin: float, decoded: float, planned: float) -> Written:
        """The reply with these results; the times are when each phase began, the last ends now and before."""
        done = time.perf_counter()
        contents = [output.tobytes() for output in outputs]
        times = (decoded - begin, planned - decoded, done - planned, time.perf_counter() - done)
        contents += map(_SECONDS.pack, times)
        return Written(self.reply.fill(contents), RunStats(*self.stats, *times))


class Recall:
    """The requests of each principal known by their bytes. Final.

    Where there are too many, whoever has most makes room: the one that was not asked for the longest is dropped.

    Args:
        most: number of requests kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, OrderedDict[_Name, Known]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, owner: str, content: bytes) -> Known | None:
        """What is known of a message of `owner`."""
        own = self._known.get(owner)
        if own is None:
            return None
        name = content[:_HEAD_BYTES], len(content)
        known = own.get(name)
        if known is None or not known.request.matches(content):
            return None
        own.move_to_end(name)
        return known

    def forget(self, owner: str, content: bytes) -> None:
        """Drop what is known of a message."""
        own = self._known.get(owner)
        if own is not None and own.pop((content[:_HEAD_BYTES], len(content)), None) is not None:
            self._count -= 1
            if not own:
                del self._known[owner]

    def learn(
        self,
        owner: str,
        content: bytes,
        arrays: Sequence[np.ndarray],
        key: tuple[bytes, Query],
        program: Program,
        response: pb.ComputeResponse,
    ) -> None:
        """Know a message from now on, if its bytes and those of its reply depend in a simple way on its tensors.

        Args:
            owner: the principal it came from.
            content: the message, which has been answered.
            arrays: its tensors, each of a dtype of which any bytes are values.
            key: what its program is remembered by.
            program: its program.
            response: the answer, all of whose tensors are inline.
        """
        if content[2:_HEAD_BYTES] != key[0]:
            return  # Fields in an order of the sender's own.
        stats = response.stats
        request = template_of(content, REQUEST, [array.tobytes() for array in arrays])
        results = [*response.outputs, *[g.tensor for g in response.gradients if g.HasField("tensor")]]
        seconds = (stats.decode_seconds, stats.plan_seconds, stats.run_seconds, stats.encode_seconds)
        expected = [*[tensor.data for tensor in results], *map(_SECONDS.pack, seconds)]
        reply = template_of(response.SerializeToString(), REPLY, expected)
        if request is None or reply is None:
            return
        specs = tuple([TensorSpec(array.shape, array.dtype) for array in arrays])
        told = (stats.cache, stats.where, stats.stages, stats.workers)
        own = self._known.setdefault(owner, OrderedDict())
        name = content[:_HEAD_BYTES], len(content)
        self._count += name not in own
        own[name] = Known(request, specs, key, program, reply, told)
        while self._count > self._most:
            fullest = max(self._known, key=lambda o: len(self._known[o]))
            self._known[fullest].popitem(last=False)
            self._count -= 1
            if not self._known[fullest]:
                del self._known[fullest]
