"""Tensors too large for a message: their digests, their way up, their way down."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from gradmesh import _codec
from gradmesh.v1 import blob_service_pb2 as pb
from gradmesh_engine.errors import InternalError
from gradmesh_engine.graph import TensorSpec, digest_of_array

CHUNK_BYTES: Final = 1 << 20
"""Content of one message of a stream."""


class Digests:
    """Remembers the digests of read-only arrays for as long as the arrays live. Thread-safe. Final.

    An array that could be written to is hashed each time: its content may have changed.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[np.ndarray], bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, array: np.ndarray) -> bytes:
        """The digest of an array's dtype, shape and content."""
        key = id(array)
        found = self._known.get(key)
        if found is not None and found[0]() is array:
            return found[1]
        digest = digest_of_array(array)
        if not array.flags.writeable:
            known = self._known

            def forget(dead: weakref.ref[np.ndarray]) -> None:
                entry = known.get(key)
                if entry is not None and entry[0] is dead:
                    del known[key]

            known[key] = weakref.ref(array, forget), digest
        return digest


def upload_parts(array: np.ndarray, digest: bytes, advance: Callable[[int], None]) -> Iterator[pb.UploadRequest]:
    """The messages that upload an array, under `digest` or, when that is b"", for one use."""
    spec = TensorSpec(array.shape, array.dtype)
    yield pb.UploadRequest(header=pb.UploadHeader(spec=_codec.encode_spec(spec), length=spec.nbytes, digest=digest))
    content = _codec.bytes_of(array) if spec.nbytes else memoryview(b"")
    for start in range(0, len(content), CHUNK_BYTES):
        chunk = content[start : start + CHUNK_BYTES]
        yield pb.UploadRequest(chunk=bytes(chunk))
        advance(len(chunk))


def receive(parts: Iterable[pb.DownloadResponse], spec: TensorSpec) -> np.ndarray:
    """The read-only array a download brings, of the spec its reply announced.

    Raises:
        InternalError: what comes is not what was announced.
    """
    buffer = np.empty(spec.nbytes, np.uint8)
    position = -1
    for part in parts:
        if position < 0:
            header = part.header
            if part.WhichOneof("part") != "header" or _codec.decode_spec(header.spec) != spec:
                raise InternalError("a download does not begin with the header of the result", expected=str(spec))
            position = 0
            continue
        chunk = part.chunk
        stop = position + len(chunk)
        if stop > spec.nbytes:
            raise InternalError("a download is longer than announced", expected=f"{spec.nbytes} bytes")
        buffer[position:stop] = np.frombuffer(chunk, np.uint8)
        position = stop
    if position != spec.nbytes:
        raise InternalError("a download ended early", expected=f"{spec.nbytes} bytes", got=f"{max(position, 0)} bytes")
    return _codec.array_over(buffer, spec)
