"""Window functions of M samples, under the names of `torch.signal.windows`.

`sym` makes the window symmetric; otherwise it is one period, as for spectra. All take `dtype`, `device` (only the CPU
exists) and `requires_grad`; a negative M raises AttributeTypeError, an unfit dtype DTypeError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from gradmesh import _dtype, _trace
from gradmesh._functions import binary, special, unary
from gradmesh._functions._making import finish, wanted_dtype
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, DTypeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


def _checked(name: str, samples: int, dtype: _dtype.DTypeLike | None) -> np.dtype:
    if samples < 0:
        raise AttributeTypeError(
            f"{name} requires non-negative window length, got M={samples}", op=name, got=str(samples)
        )
    wanted = wanted_dtype(dtype)
    if wanted not in (dtypes.float32, dtypes.float64):
        raise DTypeError(
            f"{name} expects float32 or float64 dtypes, got: torch.{wanted.name}",
            op=name,
            expected="float32 or float64",
            got=wanted.name,
        )
    return wanted


def _ramp(start: float, stop: float, samples: int, dtype: np.dtype) -> Tensor:
    return _trace.constant(np.linspace(start, stop, samples).astype(dtype))


def _period(samples: int, sym: bool) -> int:
    """What the samples of one window are spread over, in steps."""
    return samples - 1 if sym else samples


def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-abs(k - center) / tau). Example: `gm.signal.windows.exponential(1)` is `tensor([1.])`.

    Raises AttributeTypeError for tau <= 0, and for a center of a symmetric window.
    """
    wanted = _checked("exponential", M, dtype)
    if tau <= 0:
        raise AttributeTypeError(f"Tau must be positive, got: {tau} instead.", op="exponential", got=str(tau))
    if sym and center is not None:
        raise AttributeTypeError("Center must be None for symmetric windows", op="exponential", got=str(center))
    middle = (M if not sym and M > 1 else M - 1) / 2 if center is None else center
    k = _ramp(-middle / tau, (M - 1 - middle) / tau, M, wanted)
    return finish(unary.exp(unary.neg(unary.abs(k))), requires_grad, device)


def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-(k / std)² / 2) around the middle. Example: `gm.signal.windows.gaussian(1)` is `tensor([1.])`.

    Raises AttributeTypeError for std <= 0.
    """
    wanted = _checked("gaussian", M, dtype)
    if std <= 0:
        raise AttributeTypeError(
            f"Standard deviation must be positive, got: {std} instead.", op="gaussian", got=str(std)
        )
    start, scale = -(M if not sym and M > 1 else M - 1) / 2, 1 / (std * math.sqrt(2))
    k = _ramp(start * scale, (start + M - 1) * scale, M, wanted)
    return finish(unary.exp(unary.neg(binary.square(k))), requires_grad, device)


def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """i0(beta sqrt(1 - k²)) / i0(beta), k from -1 to 1. Example: `gm.signal.windows.kaiser(1)` is `tensor([1.])`.

    Raises AttributeTypeError for beta < 0.
    """
    wanted = _checked("kaiser", M, dtype)
    if beta < 0:
        raise AttributeTypeError(f"beta must be non-negative, got: {beta} instead.", op="kaiser", got=str(beta))
    if M <= 1:
        return finish(_trace.constant(np.ones(M, wanted)), requires_grad, device)
    stop = min(beta, -beta + (M - 1) * 2 * beta / _period(M, sym))
    k = _ramp(-beta, stop, M, wanted)
    below = special.i0(_trace.constant(np.full((), beta, wanted)))
    inside = binary.clamp_min(binary.rsub(binary.square(k), wanted.type(beta) * wanted.type(beta)), 0)
    return finish(binary.div(special.i0(unary.sqrt(inside)), below), requires_grad, device)


def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """sin(pi (k + 1/2) / M). Example: `gm.signal.windows.cosine(1)` is `tensor([1.])`."""
    wanted = _checked("cosine", M, dtype)
    step = math.pi / max(M + 1 if not sym and M > 1 else M, 1)
    return finish(unary.sin(_ramp(0.5 * step, (M - 0.5) * step, M, wanted)), requires_grad, device)


def general_cosine(
    M: int,
    *,
    a: Iterable[float],
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """The sum of (-1)^i a[i] cos(2 pi i k / (M - 1)). Example: `gm.signal.windows.general_cosine(1, a=[1.])`.

    Raises AttributeTypeError where `a` is no sequence or empty.
    """
    wanted = _checked("general_cosine", M, dtype)
    if M <= 1:
        return finish(_trace.constant(np.ones(M, wanted)), requires_grad, device)
    if not isinstance(a, Iterable):
        raise AttributeTypeError("Coefficients must be a list/tuple", op="general_cosine", got=repr(a))
    weights = [float(weight) for weight in a]
    if not weights:
        raise AttributeTypeError("Coefficients cannot be empty", op="general_cosine", got="[]")
    step = 2 * math.pi / _period(M, sym)
    k = _ramp(0.0, (M - 1) * step, M, wanted)
    total = binary.mul(unary.cos(binary.mul(k, 0.0)), weights[0])
    for i, weight in enumerate(weights[1:], 1):
        total = binary.add(total, binary.mul(unary.cos(binary.mul(k, float(i))), (-1) ** i * weight))
    return finish(total, requires_grad, device)


def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Alpha - (1 - alpha) cos(2 pi k / (M - 1)). Example: `gm.signal.windows.general_hamming(1)` is `tensor([1.])`."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad)


def hamming(
    M: int,
    *,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`general_hamming` with alpha = 0.54. Example: `gm.signal.windows.hamming(1)` is `tensor([1.])`."""
    return general_hamming(M, sym=sym, dtype=dtype, device=device, requires_grad=requires_grad)


def hann(
    M: int,
    *,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`general_hamming` with alpha = 0.5. Example: `gm.signal.windows.hann(3)` is `tensor([0., 1., 0.])`."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, device=device, requires_grad=requires_grad)


def blackman(
    M: int,
    *,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`general_cosine` of 0.42, 0.5 and 0.08. Example: `gm.signal.windows.blackman(1)` is `tensor([1.])`."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, device=device, requires_grad=requires_grad)


def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """1 - abs(k), k from -1 to 1. Example: `gm.signal.windows.bartlett(3)` is `tensor([0., 1., 0.])`."""
    wanted = _checked("bartlett", M, dtype)
    if M <= 1:
        return finish(_trace.constant(np.ones(M, wanted)), requires_grad, device)
    k = _ramp(-1.0, -1 + (M - 1) * 2 / _period(M, sym), M, wanted)
    return finish(binary.rsub(unary.abs(k), 1), requires_grad, device)


def nuttall(
    M: int,
    *,
    sym: bool = True,
    dtype: _dtype.DTypeLike | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """`general_cosine` of Nuttall's four weights. Example: `gm.signal.windows.nuttall(1)` is `tensor([1.])`."""
    weights = [0.3635819, 0.4891775, 0.1365995, 0.0106411]
    return general_cosine(M, a=weights, sym=sym, dtype=dtype, device=device, requires_grad=requires_grad)
