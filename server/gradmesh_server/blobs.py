"""Stored tensors: content-addressed ones until room is needed, one-use ones until used or expired."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from gradmesh_engine.backend import Pieces, Tensor
from gradmesh_engine.errors import BlobNotFoundError, MemoryLimitError, OverloadedError
from gradmesh_engine.graph import TensorSpec
from gradmesh_server.metrics import CacheUse

HANDLE_BYTES: Final = 16


def spec_of_tensor(tensor: Tensor) -> TensorSpec:
    """Shape and dtype of a tensor, whole or in pieces."""
    return tensor.spec if isinstance(tensor, Pieces) else TensorSpec(tensor.shape, tensor.dtype)


def new_handle() -> bytes:
    """A name nobody can guess."""
    return secrets.token_bytes(HANDLE_BYTES)


@dataclass(slots=True)
class _Held:
    tensor: Tensor
    nbytes: int
    expires: float
    result: bool


class BlobStore:
    """Bounded by bytes. Not thread-safe: lives on the event loop.

    Content-addressed tensors make room for others, the longest unused first. One-use tensors do not;
    they go when they were used or `ttl_seconds` have passed. Room for an upload is taken before its
    first byte is stored.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_uploads: int,
        ttl_seconds: float,
        clock: Callable[[], float],
        on_drop: Callable[[bytes], None],
    ) -> None:
        self._max_bytes = max_bytes
        self._max_uploads = max_uploads
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._on_drop = on_drop
        self._blobs: OrderedDict[bytes, np.ndarray] = OrderedDict()
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._used = 0
        self._uploads = 0
        # Of the content-addressed tensors, since the start.
        self.uses = CacheUse()
        self.evicted_bytes = 0

    def __len__(self) -> int:
        return len(self._blobs) + len(self._held)

    @property
    def used_bytes(self) -> int:
        """Bytes of stored tensors and of uploads in progress."""
        return self._used

    @property
    def uploads(self) -> int:
        """Uploads in progress."""
        return self._uploads

    @property
    def results(self) -> int:
        """Results that wait to be fetched."""
        return sum(held.result for held in self._held.values())

    def missing(self, digests: Iterable[bytes]) -> list[bytes]:
        """Those of the digests that are not stored; the others count as used now."""
        found = []
        for digest in digests:
            if digest in self._blobs:
                self._blobs.move_to_end(digest)
            else:
                found.append(digest)
        self.uses.misses += len(found)
        return found

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._blobs

    def get(self, digest: bytes) -> np.ndarray:
        """The tensor called `digest`. Raises BlobNotFoundError."""
        array = self._blobs.get(digest)
        if array is None:
            self.uses.misses += 1
            raise BlobNotFoundError(
                "the server holds no tensor of this digest",
                got=digest.hex(),
                remedy="upload the tensor, then ask again",
            )
        self._blobs.move_to_end(digest)
        self.uses.hits += 1
        return array

    def peek(self, handle: bytes) -> Tensor:
        """The one-use tensor called `handle`, which stays. Raises BlobNotFoundError."""
        self.sweep()
        held = self._held.get(handle)
        if held is None:
            raise BlobNotFoundError(
                "the server holds no tensor of this handle: it was used, or it expired",
                got=handle.hex(),
                remedy="upload the tensor, or compute the result, again",
            )
        held.expires = self._clock() + self._ttl_seconds
        self._held.move_to_end(handle)
        return held.tensor

    def drop(self, handle: bytes) -> None:
        """Forget a one-use tensor."""
        held = self._held.pop(handle, None)
        if held is not None:
            self._used -= held.nbytes
            self._on_drop(handle)

    def hold(self, tensor: Tensor) -> bytes:
        """Keep a result for one use; returns its handle. Raises MemoryLimitError."""
        nbytes = spec_of_tensor(tensor).nbytes
        self._make_room(nbytes)
        handle = new_handle()
        self._held[handle] = _Held(tensor, nbytes, self._clock() + self._ttl_seconds, result=True)
        return handle

    def begin(self, nbytes: int) -> None:
        """Take room for an upload. Raises MemoryLimitError, OverloadedError."""
        if self._uploads >= self._max_uploads:
            raise OverloadedError(
                "too many uploads are in progress", expected=f"at most {self._max_uploads}", remedy="try again later"
            )
        self._make_room(nbytes)
        self._uploads += 1

    def abandon(self, nbytes: int) -> None:
        """Give back the room of an upload that came to nothing."""
        self._uploads -= 1
        self._used -= nbytes

    def finish(self, name: bytes, array: np.ndarray, *, once: bool) -> None:
        """Keep what an upload brought: under a handle when it is for one use, under its digest otherwise."""
        self._uploads -= 1
        if once:
            self._held[name] = _Held(array, array.nbytes, self._clock() + self._ttl_seconds, result=False)
        elif name in self._blobs:  # Two uploads of the same tensor at once: one is enough.
            self._used -= array.nbytes
        else:
            self._blobs[name] = array

    def sweep(self) -> None:
        """Drop the one-use tensors nobody asked for in time."""
        now = self._clock()
        while self._held:
            handle, held = next(iter(self._held.items()))
            if held.expires > now:
                break
            self.drop(handle)

    def _make_room(self, nbytes: int) -> None:
        self.sweep()
        if self._used + nbytes > self._max_bytes:
            evictable = sum(array.nbytes for array in self._blobs.values())
            if self._used + nbytes - evictable > self._max_bytes:
                raise MemoryLimitError(
                    "the server has no room for this tensor",
                    expected=f"at most {self._max_bytes} bytes stored, {self._used} are",
                    got=f"{nbytes} bytes",
                    remedy="try again later, or raise the server's limit on stored bytes",
                )
        while self._used + nbytes > self._max_bytes:
            digest, array = self._blobs.popitem(last=False)
            self._used -= array.nbytes
            self.uses.evictions += 1
            self.evicted_bytes += array.nbytes
            self._on_drop(digest)
        self._used += nbytes
