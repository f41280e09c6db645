"""Stored tensors: content-addressed ones until room is needed, one-use ones until used or expired."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gradmesh_engine.backend import Pieces, Tensor
from gradmesh_engine.errors import BlobNotFoundError, MemoryLimitError, OverloadedError
from gradmesh_engine.graph import DIGEST_BYTES, TensorSpec
from gradmesh_server.metrics import CacheUse
from gradmesh_server.telemetry import ANONYMOUS

HANDLE_BYTES: Final = 16

# When it is worth asking again for room that others use now.
_LATER_SECONDS: Final = 1.0


def spec_of_tensor(tensor: Tensor) -> TensorSpec:
    """Shape and dtype of a tensor, whole or in pieces."""
    return tensor.spec if isinstance(tensor, Pieces) else TensorSpec(tensor.shape, tensor.dtype)


def new_handle() -> bytes:
    """A name nobody can guess."""
    return secrets.token_bytes(HANDLE_BYTES)


def stored_name(owner: str, digest: bytes) -> bytes:
    """The name a tensor of `owner` is kept under, here and by the backend.

    Each principal has tensors of its own: what it can learn from names, sizes and times about those of
    others is nothing, not even that they exist.
    """
    if owner == ANONYMOUS:
        return digest
    return hashlib.blake2b(digest + owner.encode(), digest_size=DIGEST_BYTES).digest()


@dataclass(slots=True)
class _Held:
    tensor: Tensor
    nbytes: int
    expires: float
    result: bool
    owner: str


@dataclass(slots=True)
class _Share:
    """What one principal has in the store: tensors by name, their bytes, all its bytes, its uploads."""

    blobs: OrderedDict[bytes, np.ndarray] = field(default_factory=OrderedDict)
    evictable: int = 0
    used: int = 0
    uploads: int = 0


class BlobStore:
    """Bounded by bytes. Not thread-safe: lives on the event loop.

    Content-addressed tensors make room for others: those of the principal with the most of them first,
    and of these the longest unused. One-use tensors do not; they go when they were used or `ttl_seconds`
    have passed. Room for an upload is taken before its first byte is stored.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_uploads: int,
        ttl_seconds: float,
        clock: Callable[[], float],
        on_drop: Callable[[bytes], None],
        own_bytes: int = 0,
        own_uploads: int = 0,
    ) -> None:
        """`own_bytes` and `own_uploads` are limits of each principal that is known by name; 0 for none."""
        self._max_bytes = max_bytes
        self._max_uploads = max_uploads
        self._own_bytes = min(own_bytes or max_bytes, max_bytes)
        self._own_uploads = min(own_uploads or max_uploads, max_uploads)
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._on_drop = on_drop
        self._shares: dict[str, _Share] = {}
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._used = 0
        self._uploads = 0
        # Of the content-addressed tensors, since the start.
        self.uses = CacheUse()
        self.evicted_bytes = 0

    def __len__(self) -> int:
        return sum([len(share.blobs) for share in list(self._shares.values())]) + len(self._held)

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

    def missing(self, digests: Iterable[bytes], owner: str = ANONYMOUS) -> list[bytes]:
        """Those of the digests that `owner` has not stored; the others count as used now."""
        blobs = self._share(owner).blobs
        found = []
        for digest in digests:
            name = stored_name(owner, digest)
            if name in blobs:
                blobs.move_to_end(name)
            else:
                found.append(digest)
        self._tidy(owner)
        self.uses.misses += len(found)
        return found

    def has(self, digest: bytes, owner: str = ANONYMOUS) -> bool:
        """Whether `owner` has stored the tensor."""
        share = self._shares.get(owner)
        return share is not None and stored_name(owner, digest) in share.blobs

    def get(self, digest: bytes, owner: str = ANONYMOUS) -> np.ndarray:
        """The tensor that `owner` stored under `digest`. Raises BlobNotFoundError."""
        share = self._shares.get(owner)
        name = stored_name(owner, digest)
        array = None if share is None else share.blobs.get(name)
        if share is None or array is None:
            self.uses.misses += 1
            raise BlobNotFoundError(
                "the server holds no tensor of this digest",
                got=digest.hex(),
                remedy="upload the tensor, then ask again",
            )
        share.blobs.move_to_end(name)
        self.uses.hits += 1
        return array

    def peek(self, handle: bytes, owner: str = ANONYMOUS) -> Tensor:
        """The one-use tensor of `owner` called `handle`, which stays. Raises BlobNotFoundError."""
        self.sweep()
        held = self._held.get(handle)
        if held is None or held.owner != owner:
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
            self._count(held.owner, -held.nbytes)
            self._on_drop(handle)

    def hold(self, tensor: Tensor, owner: str = ANONYMOUS) -> bytes:
        """Keep a result for one use; returns its handle. Raises MemoryLimitError."""
        nbytes = spec_of_tensor(tensor).nbytes
        self._make_room(nbytes, owner)
        handle = new_handle()
        self._held[handle] = _Held(tensor, nbytes, self._clock() + self._ttl_seconds, True, owner)
        return handle

    def begin(self, nbytes: int, owner: str = ANONYMOUS) -> None:
        """Take room for an upload. Raises MemoryLimitError, OverloadedError."""
        share = self._shares.get(owner)
        mine, limit = 0 if share is None else share.uploads, self._limit(owner, self._own_uploads, self._max_uploads)
        if self._uploads >= self._max_uploads or mine >= limit:
            all_of_them = self._uploads >= self._max_uploads
            raise OverloadedError(
                "too many uploads are in progress" if all_of_them else f"too many uploads of {owner} are in progress",
                expected=f"at most {self._max_uploads if all_of_them else limit}",
                got=f"{self._uploads if all_of_them else mine} in progress",
                remedy="try again later",
                retry_after_seconds=_LATER_SECONDS,
            )
        self._make_room(nbytes, owner)
        self._uploads += 1
        self._share(owner).uploads += 1

    def abandon(self, nbytes: int, owner: str = ANONYMOUS) -> None:
        """Give back the room of an upload that came to nothing."""
        self._uploads -= 1
        self._share(owner).uploads -= 1
        self._count(owner, -nbytes)

    def finish(self, name: bytes, array: np.ndarray, *, once: bool, owner: str = ANONYMOUS) -> None:
        """Keep what an upload brought: under a handle when it is for one use, under its digest otherwise."""
        share = self._share(owner)
        self._uploads -= 1
        share.uploads -= 1
        if once:
            self._held[name] = _Held(array, array.nbytes, self._clock() + self._ttl_seconds, False, owner)
            return
        name = stored_name(owner, name)
        if name in share.blobs:  # Two uploads of the same tensor at once: one is enough.
            self._count(owner, -array.nbytes)
        else:
            share.blobs[name] = array
            share.evictable += array.nbytes

    def sweep(self) -> None:
        """Drop the one-use tensors nobody asked for in time."""
        now = self._clock()
        while self._held:
            handle, held = next(iter(self._held.items()))
            if held.expires > now:
                break
            self.drop(handle)

    def _share(self, owner: str) -> _Share:
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = _Share()
        return share

    def _tidy(self, owner: str) -> None:
        share = self._shares[owner]
        if not (share.blobs or share.used or share.uploads):
            del self._shares[owner]

    def _count(self, owner: str, nbytes: int) -> None:
        self._used += nbytes
        self._share(owner).used += nbytes
        self._tidy(owner)

    @staticmethod
    def _limit(owner: str, own: int, whole: int) -> int:
        return whole if owner == ANONYMOUS else own

    def _make_room(self, nbytes: int, owner: str) -> None:
        self.sweep()
        limit = self._limit(owner, self._own_bytes, self._max_bytes)
        share = self._share(owner)
        # Known before anything is evicted: whether evicting helps.
        of_mine = share.used - share.evictable + nbytes > limit
        held = self._used - sum([s.evictable for s in self._shares.values()])
        if of_mine or held + nbytes > self._max_bytes:
            used = share.used
            self._tidy(owner)
            raise MemoryLimitError(
                "the server has no room for this tensor",
                expected=f"at most {limit} bytes stored, {used} are" if of_mine else f"at most {self._max_bytes} bytes",
                got=f"{nbytes} bytes",
                remedy="try again later, or raise the server's limit on stored bytes",
                retry_after_seconds=_LATER_SECONDS if nbytes <= limit else 0.0,
            )
        while share.used + nbytes > limit:
            self._evict(share)
        while self._used + nbytes > self._max_bytes:
            self._evict(max(self._shares.values(), key=lambda s: s.evictable))
        self._used += nbytes
        share.used += nbytes

    def _evict(self, share: _Share) -> None:
        name, array = share.blobs.popitem(last=False)
        share.used -= array.nbytes
        share.evictable -= array.nbytes
        self._used -= array.nbytes
        self.uses.evictions += 1
        self.evicted_bytes += array.nbytes
        self._on_drop(name)
