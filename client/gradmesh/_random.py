"""Seeds and keys: every random op gets a key of its own from a generator's stream."""

from __future__ import annotations

import os
import threading
from typing import Final

from gradmesh._modes import STATE
from gradmesh_engine.errors import InvalidRequestError

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


def _mixed(x: int) -> int:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): neighbouring inputs give unrelated outputs."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _watched() -> None:
    if STATE.capture is not None:
        STATE.capture.fail("sets or asks for the state of a random generator")


class Generator:
    """A stream of keys that its seed decides. Thread-safe. Final.

    Example:
        generator = gm.Generator().manual_seed(0)
        gm.rand(3, generator=generator)
    """

    def __init__(self, device: object = "cpu") -> None:
        self._lock: Final = threading.Lock()
        self._seed = 67280421310721
        self._count = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`, an int of 64 bits; returns the generator. Raises InvalidRequestError."""
        _watched()
        seed = int(seed)
        if not -(1 << 63) <= seed <= _MASK:
            raise InvalidRequestError(
                "Overflow when unpacking long long",
                expected="a seed of 64 bits",
                got=str(seed),
                remedy="take it modulo 2**64",
            )
        with self._lock:
            self._seed, self._count = seed & _MASK, 0
        return self

    def seed(self) -> int:
        """Start the stream of a seed taken from the operating system; returns the seed."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed the stream was started with."""
        return self._seed

    def get_state(self) -> tuple[int, int]:
        """Seed and number of keys given out."""
        _watched()
        with self._lock:
            return self._seed, self._count

    def set_state(self, state: tuple[int, int]) -> Generator:
        """Continue where `get_state` was taken; returns the generator."""
        _watched()
        with self._lock:
            self._seed, self._count = state
        return self

    def clone_state(self) -> Generator:
        """A generator that gives the same keys from here on."""
        return Generator().set_state(self.get_state())

    def next_key(self) -> int:
        """The next key: a non-negative int of 63 bits."""
        with self._lock:
            self._count += 1
            count = self._count
        return _mixed((_mixed(self._seed ^ _GOLDEN) + count * _GOLDEN) & _MASK) >> 1


default_generator: Final = Generator()


def next_key(generator: Generator | None = None) -> int:
    """The next key of a generator, by default of the process's."""
    return (default_generator if generator is None else generator).next_key()


def manual_seed(seed: int) -> Generator:
    """Start the process's stream of random numbers anew; returns its generator. Raises InvalidRequestError.

    Example: `gm.manual_seed(0); gm.rand(2)` gives the same numbers each time.
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the process's stream from a seed of the operating system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed the process's stream was started with."""
    return default_generator.initial_seed()


def get_rng_state() -> tuple[int, int]:
    """Seed of the process's stream and number of keys given out."""
    return default_generator.get_state()


def set_rng_state(state: tuple[int, int]) -> None:
    """Continue the process's stream where `get_rng_state` was taken."""
    default_generator.set_state(state)
