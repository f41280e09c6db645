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

    def known(self, array: np.ndarray) -> bool:
        """Whether `of` need not hash."""
        found = self._known.get(id(array))
        return found is not None and found[0]() is array

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


class Receiver:
    """Takes the messages of a download, of the spec its reply announced. Final."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._buffer = np.empty(spec.nbytes, np.uint8)
        self._position = -1

    def take(self, part: pb.DownloadResponse) -> None:
        """The next message. Raises InternalError for one that was not announced."""
        spec = self._spec
        if self._position < 0:
            if part.WhichOneof("part") != "header" or _codec.decode_spec(part.header.spec) != spec:
                raise InternalError("a download does not begin with the header of the result", expected=str(spec))
            self._position = 0
            return
        chunk = part.chunk
        stop = self._position + len(chunk)
        if stop > spec.nbytes:
            raise InternalError("a download is longer than announced", expected=f"{spec.nbytes} bytes")
        self._buffer[self._position : stop] = np.frombuffer(chunk, np.uint8)
        self._position = stop

    def finish(self) -> np.ndarray:
        """The read-only array. Raises InternalError when something is missing."""
        spec = self._spec
        if self._position != spec.nbytes:
            got = f"{max(self._position, 0)} bytes"
            raise InternalError("a download ended early", expected=f"{spec.nbytes} bytes", got=got)
        return _codec.array_over(self._buffer, spec)


def receive(parts: Iterable[pb.DownloadResponse], spec: TensorSpec) -> np.ndarray:
    """The read-only array a download brings, of the spec its reply announced.

    Raises:
        InternalError: what comes is not what was announced.
    """
    receiver = Receiver(spec)
    for part in parts:
        receiver.take(part)
    return receiver.finish()
