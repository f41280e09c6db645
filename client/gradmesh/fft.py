"""Discrete Fourier transforms under PyTorch's names and signatures.

`n` or `s` pads with zeros or cuts off before the transform; `norm` is "backward" (1/n in the inverse,
the default), "forward" (1/n in the transform) or "ortho". Real functions (r…) give the half of the
spectrum that implies the other; h… functions do the same for signals with a real spectrum. Operands
are of float32, float64, complex64 or complex128; integers count as the default float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gradmesh import _dtype
from gradmesh._creation import arange
from gradmesh._functions._common import Dims, cast, dim_of, ints, one, spec
from gradmesh._functions.convert import conj
from gradmesh._functions.layout import roll
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AxisError, DTypeError, ShapeError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "hfft2",
    "hfftn",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "ihfft2",
    "ihfftn",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

# --- pieces ---------------------------------------------------------------------------------------

_FACTORS = {"backward": ("none", "by_n"), "forward": ("by_n", "none"), "ortho": ("by_root_n", "by_root_n")}


def _factor(norm: str | None, forward: bool) -> str:
    if norm is not None and norm not in _FACTORS:
        raise AttributeTypeError(f'Invalid normalization mode: "{norm}"', expected=", ".join(_FACTORS), got=repr(norm))
    return _FACTORS[norm or "backward"][0 if forward else 1]


def _floating(function: str, input: Tensor, *, to_complex: bool = False, real: bool = False) -> Tensor:
    """The operand in a dtype that can be transformed. Raises DTypeError."""
    dtype = spec(input).dtype
    if dtypes.is_half(dtype):
        raise DTypeError(f"{function}: unsupported dtype {dtype.name}", got=dtype.name, remedy="cast to float32")
    if real and dtypes.is_complex(dtype):
        raise DTypeError(f"{function} expects a real input tensor, but got {dtype.name}", got=dtype.name)
    if dtypes.category(dtype) < dtypes.FLOAT:
        dtype = _dtype.get_default_dtype().np
    return cast(input, dtypes.complex_of(dtype) if to_complex else dtype)


def _resized(input: Tensor, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Padded with zeros or cut off at the end of dims."""
    padding = [0] * (2 * input.ndim)
    for dim, size in zip(dims, sizes, strict=True):
        if size < 1:
            raise ShapeError(f"Invalid number of data points ({size}) specified", expected="at least 1", got=str(size))
        have = input.shape[dim]
        if size < have:
            input = input.narrow(dim, 0, size)
        padding[2 * (input.ndim - 1 - dim) + 1] = max(0, size - have)
    return one("constant_pad_nd", input, pad=tuple(padding), value=0.0) if any(padding) else input


def _shape_and_dims(function: str, input: Tensor, s: Dims | None, dim: Dims | None) -> tuple[list[int], list[int]]:
    """The sizes and dims of a transform over several dims. Raises AxisError, ShapeError."""
    rank = input.ndim
    wanted = None if s is None else list(ints(function, "s", s))
    if dim is not None:
        given = ints(function, "dim", dim)
        if given and not rank:
            raise AxisError(f"Dimension specified as {given[0]} but tensor has no dimensions", got=str(list(given)))
        dims = [dim_of(d, rank) for d in given]
        if len(set(dims)) != len(dims):
            raise AxisError("FFT dims must be unique", got=str(dims))
        if wanted is not None and len(wanted) != len(dims):
            raise ShapeError(
                "When given, dim and shape arguments must have the same length", got=f"{dims} and {wanted}"
            )
    elif wanted is not None:
        if len(wanted) > rank:
            raise ShapeError(
                f"Got shape with {len(wanted)} values but input tensor only has {rank} dimensions.", got=str(wanted)
            )
        dims = list(range(rank - len(wanted), rank))
    else:
        dims = list(range(rank))
    sizes = [input.shape[d] if n == -1 else n for d, n in zip(dims, wanted or [-1] * len(dims), strict=True)]
    return sizes, dims


def _whole(function: str, input: Tensor, s: Dims | None, dim: Dims | None, norm: str | None, forward: bool) -> Tensor:
    """Fftn and ifftn."""
    x = _floating(function, input, to_complex=True)
    sizes, dims = _shape_and_dims(function, x, s, dim)
    if not dims:
        return x
    return one("fft_c2c", _resized(x, dims, sizes), dims=tuple(dims), norm=_factor(norm, forward), forward=forward)


def _half(function: str, input: Tensor, s: Dims | None, dim: Dims | None, norm: str | None) -> Tensor:
    """Rfftn."""
    x = _floating(function, input, real=True)
    sizes, dims = _some(function, x, s, dim)
    return one("fft_r2c", _resized(x, dims, sizes), dims=tuple(dims), norm=_factor(norm, True))


def _some(function: str, x: Tensor, s: Dims | None, dim: Dims | None) -> tuple[list[int], list[int]]:
    sizes, dims = _shape_and_dims(function, x, s, dim)
    if not dims:
        raise ShapeError(f"{function} must transform at least one axis", got=str(list(x.shape)))
    return sizes, dims


def _from_half(function: str, input: Tensor, s: Dims | None, dim: Dims | None) -> tuple[Tensor, list[int], int]:
    """The operand at the size of a half spectrum, the dims, and the size of the last of them in the result."""
    x = _floating(function, input, to_complex=True)
    sizes, dims = _some(function, x, s, dim)
    given = None if s is None else ints(function, "s", s)[-1]
    last = 2 * (x.shape[dims[-1]] - 1) if given is None or given == -1 else given
    if last < 1:
        raise ShapeError(f"Invalid number of data points ({last}) specified", expected="at least 1", got=str(last))
    sizes[-1] = last // 2 + 1
    return _resized(x, dims, sizes), dims, last


def _one_dim(function: str, input: Tensor, n: int | None, dim: int) -> tuple[Tensor, int]:
    at = dim_of(dim, input.ndim)
    if not input.ndim:
        raise AxisError(f"Dimension specified as {dim} but tensor has no dimensions", op=function, got="0 dims")
    size = input.shape[at] if n is None else n
    return _resized(input, [at], [size]), at


def _full(function: str, input: Tensor, n: int | None, dim: int, norm: str | None, forward: bool) -> Tensor:
    """Fft and ifft."""
    x, at = _one_dim(function, _floating(function, input), n, dim)
    factor = _factor(norm, forward)
    if dtypes.is_complex(spec(x).dtype):
        return one("fft_c2c", x, dims=(at,), norm=factor, forward=forward)
    y = one("fft_r2c", x, dims=(at,), norm=factor, onesided=False)
    return y if forward else conj(y)


# --- one dim --------------------------------------------------------------------------------------


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along a dim. Example: `gm.fft.fft(gm.ones(2))` is `tensor([2.+0.j, 0.+0.j])`."""
    return _full("fft", input, n, dim, norm, True)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`. Example: `gm.fft.ifft(gm.ones(2))` is `tensor([1.-0.j, 0.-0.j])`."""
    return _full("ifft", input, n, dim, norm, False)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """Half the spectrum of a real signal. Example: `gm.fft.rfft(gm.ones(2))` is `tensor([2.+0.j, 0.+0.j])`."""
    x, at = _one_dim("rfft", _floating("rfft", input, real=True), n, dim)
    return one("fft_r2c", x, dims=(at,), norm=_factor(norm, True))


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real signal of half a spectrum, of size n or 2 * (size - 1).

    Example: `gm.fft.irfft(gm.tensor([2., 0.]))` is `tensor([1., 1.])`.
    """
    x, dims, size = _from_half("irfft", input, n, dim)
    return one("fft_c2r", x, dims=tuple(dims), norm=_factor(norm, False), size=size)


def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real spectrum of half a conjugate-symmetric signal, of size n or 2 * (size - 1).

    Example: `gm.fft.hfft(gm.tensor([1., 0.]))` is `tensor([1., 1.])`.
    """
    x, dims, size = _from_half("hfft", input, n, dim)
    return one("fft_c2r", conj(x), dims=tuple(dims), norm=_factor(norm, True), size=size)


def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`. Example: `gm.fft.ihfft(gm.ones(2))` is `tensor([1.-0.j, 0.-0.j])`."""
    x, at = _one_dim("ihfft", _floating("ihfft", input, real=True), n, dim)
    return conj(one("fft_r2c", x, dims=(at,), norm=_factor(norm, False)))


# --- several dims ---------------------------------------------------------------------------------


def fftn(input: Tensor, s: Dims | None = None, dim: Dims | None = None, norm: str | None = None) -> Tensor:
    """The transform over dims, all when absent. Example: `gm.fft.fftn(gm.ones(1, 1))` is `tensor([[1.+0.j]])`."""
    return _whole("fftn", input, s, dim, norm, True)


def ifftn(input: Tensor, s: Dims | None = None, dim: Dims | None = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`. Example: `gm.fft.ifftn(gm.ones(1, 1))` is `tensor([[1.+0.j]])`."""
    return _whole("ifftn", input, s, dim, norm, False)


def rfftn(input: Tensor, s: Dims | None = None, dim: Dims | None = None, norm: str | None = None) -> Tensor:
    """The transform of a real signal over dims, half of the last.

    Example: `gm.fft.rfftn(gm.ones(1, 2)).shape` is (1, 2).
    """
    return _half("rfftn", input, s, dim, norm)


def irfftn(input: Tensor, s: Dims | None = None, dim: Dims | None = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`; the last dim has size s[-1] or 2 * (size - 1).

    Example: `gm.fft.irfftn(gm.ones(1, 2)).shape` is (1, 2).
    """
    x, dims, size = _from_half("irfftn", input, s, dim)
    return one("fft_c2r", x, dims=tuple(dims), norm=_factor(norm, False), size=size)


def hfftn(input: Tensor, s: Dims | None = None, dim: Dims | None = None, norm: str | None = None) -> Tensor:
    """`hfft` along the last of the dims, `fft` along the others.

    Example: `gm.fft.hfftn(gm.ones(1, 2)).shape` is (1, 2).
    """
    x, dims, size = _from_half("hfftn", input, s, dim)
    factor = _factor(norm, True)
    if len(dims) > 1:
        x = one("fft_c2c", x, dims=tuple(dims[:-1]), norm=factor, forward=True)
    return one("fft_c2r", conj(x), dims=(dims[-1],), norm=factor, size=size)


def ihfftn(input: Tensor, s: Dims | None = None, dim: Dims | None = None, norm: str | None = None) -> Tensor:
    """The inverse of `hfftn`. Example: `gm.fft.ihfftn(gm.ones(1, 2)).shape` is (1, 2)."""
    x = _floating("ihfftn", input, real=True)
    sizes, dims = _some("ihfftn", x, s, dim)
    factor = _factor(norm, False)
    y = conj(one("fft_r2c", _resized(x, dims, sizes), dims=(dims[-1],), norm=factor))
    if len(dims) == 1:
        return y
    return one("fft_c2c", y, dims=tuple(dims[:-1]), norm=factor, forward=False)


def _over_two(name: str, run: Callable[..., Tensor]) -> Any:
    def transform(input: Tensor, s: Dims | None = None, dim: Dims = (-2, -1), norm: str | None = None) -> Tensor:
        return run(input, s, dim, norm)

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"`{run.__name__}` over two dims. Example: `gm.fft.{name}(gm.ones(2, 2)).ndim` is 2."
    return transform


fft2 = _over_two("fft2", fftn)
ifft2 = _over_two("ifft2", ifftn)
rfft2 = _over_two("rfft2", rfftn)
irfft2 = _over_two("irfft2", irfftn)
hfft2 = _over_two("hfft2", hfftn)
ihfft2 = _over_two("ihfft2", ihfftn)

# --- frequencies ----------------------------------------------------------------------------------


def _shifted(input: Tensor, dim: Dims | None, by: Callable[[int], int]) -> Tensor:
    dims = tuple(range(input.ndim)) if dim is None else tuple(dim_of(d, input.ndim) for d in ints("fft", "dim", dim))
    return roll(input, [by(input.shape[d]) for d in dims], dims) if dims else input


def fftshift(input: Tensor, dim: Dims | None = None) -> Tensor:
    """Frequency 0 moved to the middle of dims. Example: `gm.fft.fftshift(gm.arange(4))` is `tensor([2, 3, 0, 1])`."""
    return _shifted(input, dim, lambda size: size // 2)


def ifftshift(input: Tensor, dim: Dims | None = None) -> Tensor:
    """The inverse of `fftshift`. Example: `gm.fft.ifftshift(gm.arange(4))` is `tensor([2, 3, 0, 1])`."""
    return _shifted(input, dim, lambda size: (size + 1) // 2)


def fftfreq(n: int, d: float = 1.0, *, dtype: _dtype.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of `fft` of n elements d apart. Example: `gm.fft.fftfreq(2)` is `tensor([ 0.0000, -0.5000])`."""
    middle = (n + 1) // 2
    found = arange(n, dtype=dtype or _dtype.get_default_dtype())
    found = (found - n * cast(found >= middle, spec(found).dtype)) * (1.0 / (n * d))
    return found.requires_grad_() if requires_grad else found


def rfftfreq(n: int, d: float = 1.0, *, dtype: _dtype.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of `rfft` of n elements d apart. Example: `gm.fft.rfftfreq(2)` is `tensor([0.0000, 0.5000])`."""
    found = arange(n // 2 + 1, dtype=dtype or _dtype.get_default_dtype()) * (1.0 / (n * d))
    return found.requires_grad_() if requires_grad else found
