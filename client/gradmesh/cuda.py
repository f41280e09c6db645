"""There are no GPUs: what programs ask before they use one, and set where there may be one."""

from __future__ import annotations

__all__ = [
    "device_count",
    "empty_cache",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
]


def is_available() -> bool:
    """False. Example: `gm.cuda.is_available()` is `False`."""
    return False


def is_initialized() -> bool:
    """False. Example: `gm.cuda.is_initialized()` is `False`."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False. Example: `gm.cuda.is_bf16_supported()` is `False`."""
    return False


def device_count() -> int:
    """0. Example: `gm.cuda.device_count()` is `0`."""
    return 0


def manual_seed(seed: int) -> None:
    """Without effect, as in PyTorch where there is no GPU. Example: `gm.cuda.manual_seed(0)`"""


def manual_seed_all(seed: int) -> None:
    """Without effect, as in PyTorch where there is no GPU. Example: `gm.cuda.manual_seed_all(0)`"""


def empty_cache() -> None:
    """Without effect, as in PyTorch where there is no GPU. Example: `gm.cuda.empty_cache()`"""
