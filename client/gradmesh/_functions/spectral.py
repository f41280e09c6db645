"""Short-time Fourier transforms. Shapes that do not fit raise ShapeError at the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmesh._functions._common import one, spec
from gradmesh._functions.layers import pad
from gradmesh._functions.layout import reshape
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = ["istft", "stft"]


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Transforms of overlapping windowed frames: (…, length) to (…, frequencies, frames).

    Args:
        input: a signal, or a batch of them.
        n_fft: elements of a frame.
        hop_length: elements between the beginnings of frames; n_fft // 4.
        win_length: size of the window, in the middle of a frame; n_fft.
        window: its weights (win_length,); ones.
        center: frames are centred on their time: the signal is padded by n_fft // 2 at both ends.
        pad_mode: how, as in `nn.functional.pad`.
        normalized: divide by the root of n_fft.
        onesided: half of the frequencies; so for real signals and windows.
        return_complex: complex numbers rather than pairs; needed for real signals.
        align_to_window: without `center`, the first window begins where the signal does, and not its frame, which
            zeros fill up; so at the end.

    Example: `gm.stft(gm.ones(8), 4, return_complex=True).shape` is (3, 9).
    """
    is_complex = any(dtypes.is_complex(spec(t).dtype) for t in (input, window) if t is not None)
    if return_complex is None:
        if not is_complex:
            raise AttributeTypeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release.",
                op="stft",
                expected="True or False",
            )
        return_complex = True
    if center and align_to_window is not None:
        raise InvalidRequestError("stft align_to_window should only be set when center = false", op="stft")
    if align_to_window and win_length is not None and 0 < win_length < n_fft:
        before = (n_fft - win_length) // 2
        input = pad(input, [before, n_fft - win_length - before])
    if center:
        half = n_fft // 2
        lead = (1,) * (3 - input.ndim)
        padded = pad(reshape(input, (*lead, *input.shape)), [half, half], pad_mode)
        input = reshape(padded, tuple(padded.shape[-input.ndim :]))
    operands = (input,) if window is None else (input, window)
    return one(
        "stft",
        *operands,
        n_fft=n_fft,
        hop_length=n_fft // 4 if hop_length is None else hop_length,
        win_length=n_fft if win_length is None else win_length,
        normalized=normalized,
        onesided=not is_complex if onesided is None else onesided,
        return_complex=return_complex,
    )


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose `stft` this is, by least squares: (…, frequencies, frames) to (…, length).

    The arguments are those of `stft`; `length` cuts or pads the result. Windows that leave a gap
    raise InvalidRequestError when it is computed.

    Example: `gm.istft(gm.stft(gm.ones(8), 4, return_complex=True), 4).shape` is (8,).
    """
    operands = (input,) if window is None else (input, window)
    return one(
        "istft",
        *operands,
        n_fft=n_fft,
        hop_length=n_fft // 4 if hop_length is None else hop_length,
        win_length=n_fft if win_length is None else win_length,
        center=center,
        normalized=normalized,
        onesided=input.shape[-2] != n_fft if onesided is None else onesided,
        length=length,
        return_complex=return_complex,
    )
