"""Anomaly detection: the backward pass stops at the first NaN, and names the line whose derivative it is."""

from __future__ import annotations

from types import TracebackType

from gradmesh._modes import STATE

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Set anomaly detection at once; as a context manager, until its end. Final.

    While it is on, gradients are computed op by op, each read: slow, to find an error with.

    Args:
        mode: on or off.
        check_nan: whether NaN is an error, which names the op and the user's line that recorded it.

    Example: `gm.autograd.set_detect_anomaly(True)`
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = STATE.anomaly
        STATE.anomaly = mode and check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.anomaly = self._before


class detect_anomaly(set_detect_anomaly):
    """Anomaly detection while it lasts; see set_detect_anomaly. Final.

    Args:
        check_nan: whether NaN is an error.

    Example: `with gm.autograd.detect_anomaly(): loss.backward()`
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)
