"""Windows under their older names: `periodic` makes one period of the window, as for spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh.signal import windows
from gradmesh_engine.errors import ShapeError

if TYPE_CHECKING:
    from gradmesh._dtype import DTypeLike
    from gradmesh._tensor import Tensor

__all__ = [
    "bartlett_window",
    "blackman_window",
    "hamming_window",
    "hann_window",
    "kaiser_window",
]


def _length(name: str, length: int) -> int:
    if length < 0:
        raise ShapeError(f"{name} requires non-negative window_length, got window_length={length}", got=str(length))
    return length


def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Rises evenly to 1 and falls. Example: `gm.bartlett_window(2)` is `tensor([0., 1.])`."""
    length = _length("bartlett_window", window_length)
    return windows.bartlett(length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad)


def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """0.42 - 0.5 cos(2 pi k / N) + 0.08 cos(4 pi k / N). Example: `gm.blackman_window(1)` is `tensor([1.])`."""
    length = _length("blackman_window", window_length)
    return windows.blackman(length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Alpha - beta cos(2 pi k / N). Example: `gm.hamming_window(1)` is `tensor([1.])`."""
    length = _length("hamming_window", window_length)
    return windows.general_cosine(
        length, a=[alpha, beta], sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad
    )


def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """(1 - cos(2 pi k / N)) / 2. Example: `gm.hann_window(2)` is `tensor([0., 1.])`."""
    length = _length("hann_window", window_length)
    return windows.hann(length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad)


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """i0(beta sqrt(1 - k²)) / i0(beta), k from -1 to 1. Example: `gm.kaiser_window(1)` is `tensor([1.])`."""
    length = _length("kaiser_window", window_length)
    return windows.kaiser(length, beta=beta, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad)
