"""PyTorch's switches for what is as it is here: results are always deterministic, in full precision, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gradmesh import _dtype
from gradmesh._modes import STATE
from gradmesh_engine.errors import InvalidRequestError

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_default_device",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_deterministic_algorithms_warn_only_enabled",
    "set_anomaly_enabled",
    "set_default_device",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "use_deterministic_algorithms",
]

_PRECISIONS: Final = ("highest", "high", "medium")
_MODES: Final = ("default", "warn", "error")


@dataclass
class _Switches:
    deterministic: bool = False
    warn_only: bool = False
    precision: str = "highest"


_SET: Final = _Switches()


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembered, and otherwise without effect: there are no other algorithms.

    Example: `gm.use_deterministic_algorithms(True)`
    """
    _SET.deterministic, _SET.warn_only = mode, warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told.

    Example: `gm.are_deterministic_algorithms_enabled()`
    """
    return _SET.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was told.

    Example: `gm.is_deterministic_algorithms_warn_only_enabled()`
    """
    return _SET.deterministic and _SET.warn_only


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: default, warn or error. Example: `gm.get_deterministic_debug_mode()`"""
    return _SET.deterministic * (1 if _SET.warn_only else 2)


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by "default", "warn", "error", or 0, 1, 2.

    Example: `gm.set_deterministic_debug_mode("default")`. Raises InvalidRequestError for another mode.
    """
    if isinstance(debug_mode, str) and debug_mode in _MODES:
        debug_mode = _MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise InvalidRequestError(
            "invalid value of debug_mode, expected `default`, `warn`, `error` or 0, 1, 2, but got " + str(debug_mode)
        )
    use_deterministic_algorithms(debug_mode != 0, warn_only=debug_mode == 1)


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told. Example: `gm.get_float32_matmul_precision()`"""
    return _SET.precision


def set_float32_matmul_precision(precision: str) -> None:
    """Remembered, and otherwise without effect: float32 is multiplied as float32.

    Example: `gm.set_float32_matmul_precision("highest")`. Raises InvalidRequestError for an unknown precision.
    """
    if precision not in _PRECISIONS:
        raise InvalidRequestError(
            f"Invalid float32 matmul precision {precision!r}", expected=", ".join(_PRECISIONS), got=precision
        )
    _SET.precision = precision


def get_default_device() -> _dtype.device:
    """The CPU. Example: `gm.get_default_device()` is `device(type='cpu')`."""
    return _dtype.device("cpu")


def set_default_device(device: str | _dtype.device | None) -> None:
    """Without effect for the CPU. Raises UnknownDTypeError for any other device.

    Example: `gm.set_default_device("cpu")`
    """
    if device is not None:
        _dtype.device(device)


def is_anomaly_enabled() -> bool:
    """Whether anomalies are detected. Example: `gm.is_anomaly_enabled()` is `False`."""
    return STATE.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether NaN is an anomaly: there is no other. Example: `gm.is_anomaly_check_nan_enabled()` is `True`."""
    return True


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """`autograd.set_detect_anomaly`, at once. Example: `gm.set_anomaly_enabled(False)`"""
    STATE.anomaly = mode and check_nan
