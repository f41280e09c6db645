"""Fourier transforms over dims (SciPy's pocketfft), and the short-time transform composed of them.

Three primitives, as in PyTorch: complex to complex, real to complex, complex to real. Transforms are
linear, so that a derivative is a transform too. A transformed dim is whole; the others map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradmesh_engine import dtypes
from gradmesh_engine.builder import V, constant
from gradmesh_engine.errors import AttributeTypeError, DTypeError, ShapeError
from gradmesh_engine.graph import AttrValue, TensorSpec
from gradmesh_engine.ops.base import Attr, Composite, Factor, Primitive, Site, Specs, declare
from gradmesh_engine.ops.layout import Ints, expand, reshape
from gradmesh_engine.ops.limits import within
from gradmesh_engine.ops.numeric import complex_, imag, real
from gradmesh_engine.ops.regions import concat, narrowed, pad
from gradmesh_engine.ops.shaping import unsqueezed
from gradmesh_engine.ops.windows import fold_windows, windows

# --- the primitives -------------------------------------------------------------------------------

# What a transform without a factor is called by SciPy, forward and backward; and the one divided by n.
_NORMS = {
    "none": ("backward", "forward"),
    "by_root_n": ("ortho", "ortho"),
    "by_n": ("forward", "backward"),
}


def _checked(name: str, x: TensorSpec, dims: Ints, norm: str, *, is_complex: bool) -> None:
    if norm not in _NORMS:
        raise AttributeTypeError(f"unknown normalization {norm!r}", expected=", ".join(_NORMS), got=norm)
    if not dims or any(not 0 <= dim < x.ndim for dim in dims) or len(set(dims)) != len(dims):
        raise ShapeError(f"{name}: dims must be distinct dims of the operand", expected=f"of {x.ndim}", got=str(dims))
    if dtypes.is_complex(x.dtype) != is_complex or dtypes.category(x.dtype) < dtypes.FLOAT or dtypes.is_half(x.dtype):
        raise DTypeError(
            f"{name} expects a {'complex' if is_complex else 'floating point'} tensor, but got {x.dtype.name}",
            expected="complex64 or complex128" if is_complex else "float32 or float64",
            got=x.dtype.name,
        )
    for dim in dims:
        if x.shape[dim] < 1:
            raise ShapeError(f"Invalid number of data points ({x.shape[dim]}) specified", got=str(list(x.shape)))


def _c2c_spec(specs: Specs, dims: Ints, norm: str, forward: bool) -> TensorSpec:
    _checked("fft_c2c", specs[0], dims, norm, is_complex=True)
    return specs[0]


def _r2c_spec(specs: Specs, dims: Ints, norm: str, onesided: bool) -> TensorSpec:
    (x,) = specs
    _checked("fft_r2c", x, dims, norm, is_complex=False)
    shape = list(x.shape)
    if onesided:
        shape[dims[-1]] = shape[dims[-1]] // 2 + 1
    return TensorSpec(tuple(shape), dtypes.complex_of(x.dtype))


def _c2r_spec(specs: Specs, dims: Ints, norm: str, size: int) -> TensorSpec:
    (x,) = specs
    _checked("fft_c2r", x, dims, norm, is_complex=True)
    if size < 1 or x.shape[dims[-1]] != size // 2 + 1:
        raise ShapeError(
            f"Invalid number of data points ({size}) specified",
            expected=f"{size // 2 + 1} complex numbers along dim {dims[-1]}",
            got=str(list(x.shape)),
        )
    shape = list(x.shape)
    shape[dims[-1]] = size
    return TensorSpec(tuple(shape), dtypes.real_of(x.dtype))


Transform = Callable[[np.ndarray], np.ndarray]


def _kernel(transform: Callable[[Site], Transform]) -> Callable[[Site], Callable[..., None]]:
    def kernel(site: Site) -> Callable[..., None]:
        run = transform(site)
        return lambda x, out: np.copyto(out, run(x))

    return kernel


def _c2c(site: Site) -> Transform:
    from scipy import fft

    dims, forward, norm = site.attrs["dims"], site.attrs["forward"], str(site.attrs["norm"])
    run = fft.fftn if forward else fft.ifftn
    name = _NORMS[norm][0 if forward else 1]
    return lambda x: run(x, axes=dims, norm=name)


def _r2c(site: Site) -> Transform:
    from scipy import fft

    dims, norm = site.attrs["dims"], _NORMS[str(site.attrs["norm"])][0]
    if site.attrs["onesided"]:
        return lambda x: fft.rfftn(x, axes=dims, norm=norm)

    def both_sides(x: np.ndarray) -> np.ndarray:
        y: np.ndarray = fft.fftn(x, axes=dims, norm=norm)
        y.imag += 0.0  # the mirrored half brings zeros that are negative
        return y

    return both_sides


def _c2r(site: Site) -> Transform:
    from scipy import fft

    dims: Any = site.attrs["dims"]
    norm = _NORMS[str(site.attrs["norm"])][1]
    sizes = [site.out.shape[dim] for dim in dims]
    return lambda x: fft.irfftn(x, s=sizes, axes=dims, norm=norm)


def _axes(specs: Specs, out: TensorSpec, dims: Ints, **_: AttrValue) -> list[Factor]:
    return [Factor((dim,), dim) for dim in range(out.ndim) if dim not in dims]


def _cost(specs: Specs, out: TensorSpec, attrs: Mapping[str, AttrValue]) -> float:
    dims: Any = attrs["dims"]
    size = max(specs[0].size, out.size)
    return 5.0 * size * math.log2(max(2, math.prod(max(specs[0].shape[d], out.shape[d]) for d in dims)))


def _r2c_vjp(g: V, y: V, x: V, dims: Ints, norm: str, onesided: bool) -> tuple[V]:
    missing = x.shape[dims[-1]] - g.shape[dims[-1]]
    if missing:
        # What was not computed has no cotangent.
        high = tuple(missing if dim == dims[-1] else 0 for dim in range(g.ndim))
        g = pad(g, low=(0,) * g.ndim, high=high, interior=(0,) * g.ndim)
    return (real(fft_c2c(g, dims=dims, norm=norm, forward=False)),)


def _c2r_vjp(g: V, y: V, x: V, dims: Ints, norm: str, size: int) -> tuple[V]:
    whole = fft_r2c(g, dims=dims, norm=norm, onesided=True)
    # All but the first (and for even sizes the last) stand for their conjugates at the other end too.
    last, twice = dims[-1], size - x.shape[dims[-1]]
    parts = [narrowed(whole, last, 0, 1), narrowed(whole, last, 1, 1 + twice) * 2.0]
    if 1 + twice < whole.shape[last]:
        parts.append(narrowed(whole, last, 1 + twice, whole.shape[last]))
    return (concat(*parts, dim=last),)


_DIMS = {
    "dims": Attr("ints", doc="the dims to transform"),
    "norm": Attr("str", "none", "the factor: none, by_root_n or by_n"),
}


def _transform(name: str, transform: Callable[[Site], Transform], **fields: Any) -> Primitive:
    return declare(Primitive(name=name, arity=1, kernel=_kernel(transform), axes=_axes, cost=_cost, **fields))


fft_c2c: Primitive = _transform(
    "fft_c2c",
    _c2c,
    attrs={**_DIMS, "forward": Attr("bool", True)},
    grad_name="FftC2CBackward0",
    spec=_c2c_spec,
    vjp=lambda g, y, x, dims, norm, forward: (fft_c2c(g, dims=dims, norm=norm, forward=not forward),),
    doc="The Fourier transform of complex numbers.",
)
fft_r2c: Primitive = _transform(
    "fft_r2c",
    _r2c,
    attrs={**_DIMS, "onesided": Attr("bool", True, "half of the last of the dims, which implies the other half")},
    grad_name="FftR2CBackward0",
    spec=_r2c_spec,
    vjp=_r2c_vjp,
    doc="The Fourier transform of real numbers.",
)
fft_c2r: Primitive = _transform(
    "fft_c2r",
    _c2r,
    attrs={**_DIMS, "size": Attr("int", doc="size of the last of the dims in the result")},
    grad_name="FftC2RBackward0",
    spec=_c2r_spec,
    vjp=_c2r_vjp,
    doc="The inverse Fourier transform of half a conjugate-symmetric spectrum.",
)

# --- short-time transforms ------------------------------------------------------------------------


def _window(like: V, given: Sequence[V], n_fft: int, win_length: int) -> V | None:
    """The window, ones where none is given, in the middle of n_fft; None where it would change nothing."""
    if given:
        (window,) = given
        if window.shape != (win_length,):
            raise ShapeError(
                f"expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
                f"{list(window.shape)}",
                expected=str([win_length]),
                got=str(list(window.shape)),
            )
    elif win_length == n_fft:
        return None
    else:
        window = constant(like, 1, (win_length,), dtypes.real_of(like.dtype))
    left = (n_fft - win_length) // 2
    if n_fft == win_length:
        return window
    result: V = pad(window, low=(left,), high=(n_fft - win_length - left,), interior=(0,))
    return result


def _check_lengths(name: str, n_fft: int, hop_length: int, win_length: int) -> None:
    if hop_length <= 0:
        raise ShapeError(f"{name}: expected hop_length > 0, but got hop_length={hop_length}", got=str(hop_length))
    if not 0 < win_length <= n_fft:
        raise ShapeError(
            f"{name}: expected 0 < win_length <= n_fft, but got win_length={win_length}",
            expected=f"1 to {n_fft}",
            got=str(win_length),
        )


def _stft(
    x: V,
    *window: V,
    n_fft: int,
    hop_length: int,
    win_length: int,
    normalized: bool,
    onesided: bool,
    return_complex: bool,
) -> V:
    _check_lengths("stft", n_fft, hop_length, win_length)
    if x.ndim not in (1, 2):
        raise ShapeError("stft: expected a 1D or 2D tensor", expected="1 or 2 dims", got=str(list(x.shape)))
    if not 0 < n_fft <= x.shape[-1]:
        raise ShapeError(
            f"stft: expected 0 < n_fft <= {x.shape[-1]}, but got n_fft={n_fft}",
            expected=f"1 to {x.shape[-1]}",
            got=str(n_fft),
        )
    frames: V = windows(x, kernel=(n_fft,), stride=(hop_length,), dilation=(1,))
    weights = _window(x, window, n_fft, win_length)
    if weights is not None:
        frames = frames * unsqueezed(weights, 1)
    norm = "by_root_n" if normalized else "none"
    dims = (frames.ndim - 2,)
    if dtypes.is_complex(frames.dtype):
        if onesided:
            raise DTypeError("Cannot have onesided output if window or input is complex", got=frames.dtype.name)
        y = fft_c2c(frames, dims=dims, norm=norm)
    else:
        y = fft_r2c(frames, dims=dims, norm=norm, onesided=onesided)
    return y if return_complex else _as_real(y)


def _stft_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    if not attrs["return_complex"]:
        return "ViewAsRealBackward0"
    return "SqueezeBackward4" if specs[0].ndim == 1 else "TransposeBackward1"


def _istft(
    x: V,
    *window: V,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    normalized: bool,
    onesided: bool,
    length: int | None,
    return_complex: bool,
) -> V:
    _check_lengths("istft", n_fft, hop_length, win_length)
    if hop_length > win_length:
        raise ShapeError(
            "istft: expected 0 < hop_length <= win_length", expected=f"at most {win_length}", got=str(hop_length)
        )
    if not dtypes.is_complex(x.dtype):
        raise DTypeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True.",
            got=x.dtype.name,
        )
    if x.ndim not in (2, 3) or not dtypes.is_complex(x.dtype):
        raise ShapeError("istft: expected a complex tensor with 2 or 3 dims", got=str(x.spec))
    bins = n_fft // 2 + 1 if onesided else n_fft
    if x.shape[-2] != bins or not x.shape[-1]:
        raise ShapeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 "
            f"when onesided=True or n_fft when onesided=False, but got {x.shape[-2]}",
            expected=str(bins),
            got=str(list(x.shape)),
        )
    dims, norm, count = (x.ndim - 2,), "by_root_n" if normalized else "by_n", x.shape[-1]
    if return_complex:
        frames: V = fft_c2c(x, dims=dims, norm=norm, forward=False)
    else:
        half = narrowed(x, x.ndim - 2, 0, n_fft // 2 + 1)
        frames = fft_c2r(half, dims=dims, norm=norm, size=n_fft)
    weights = _window(x, window, n_fft, win_length)
    if weights is None:
        weights = constant(x, 1, (n_fft,), dtypes.real_of(x.dtype))
    column = unsqueezed(weights, 1)
    whole = n_fft + hop_length * (count - 1)
    geometry: dict[str, Any] = {"size": (whole,), "kernel": (n_fft,), "stride": (hop_length,), "dilation": (1,)}
    signal = fold_windows(frames * column, **geometry)
    envelope = fold_windows(expand(column * column, shape=(n_fft, count)), **geometry)
    start = n_fft // 2 if center else 0
    stop = whole - (n_fft // 2 if center else 0) if length is None else min(whole, start + length)
    envelope = narrowed(envelope, 0, start, stop)
    if not dtypes.is_complex(envelope.dtype):
        # Where no window reaches, nothing is known of the signal.
        envelope = within(envelope, least=1e-11, most=math.inf, message="istft: window overlap add min: 0")
    y = narrowed(signal, signal.ndim - 1, start, stop) / envelope
    if length is not None and stop - start < length:
        lead = (0,) * (y.ndim - 1)
        y = pad(y, low=(*lead, 0), high=(*lead, length - (stop - start)), interior=(*lead, 0))
    return y


def _istft_name(specs: Specs, attrs: Mapping[str, AttrValue]) -> str:
    return "SqueezeBackward1" if specs[0].ndim == 2 else "DivBackward0"


_FRAMES = {
    "n_fft": Attr("int", doc="elements of a frame"),
    "hop_length": Attr("int", doc="elements between the beginnings of neighbouring frames"),
    "win_length": Attr("int", doc="elements of the window, in the middle of a frame"),
    "normalized": Attr("bool", False, "divide by the root of n_fft"),
    "onesided": Attr("bool", True, "half of the frequencies, which imply the other half"),
}

declare(
    Composite(
        name="stft",
        arity=(1, 2),
        attrs={**_FRAMES, "return_complex": Attr("bool", True, "complex numbers, not pairs of reals")},
        grad_name=_stft_name,
        doc="Fourier transforms of overlapping windowed frames: […, length] to […, frequencies, frames].",
        body=_stft,
    )
)
declare(
    Composite(
        name="istft",
        arity=(1, 2),
        attrs={
            **_FRAMES,
            "center": Attr("bool", True, "frames are centred on their time"),
            "length": Attr("int", None, "of the result"),
            "return_complex": Attr("bool", False),
        },
        grad_name=_istft_name,
        doc="The signal whose stft this is, by least squares: […, frequencies, frames] to […, length].",
        body=_istft,
    )
)

# --- complex numbers as pairs ---------------------------------------------------------------------


def _as_real(x: V) -> V:
    if not dtypes.is_complex(x.dtype):
        raise DTypeError("view_as_real is only supported for complex tensors", got=x.dtype.name)
    result: V = concat(unsqueezed(real(x), -1), unsqueezed(imag(x), -1), dim=x.ndim)
    return result


def _as_complex(x: V) -> V:
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(
            f"view_as_complex is only supported for floating point tensors, but got {x.dtype.name}",
            expected="float32 or float64",
            got=x.dtype.name,
        )
    if not x.ndim or x.shape[-1] != 2:
        raise ShapeError("Tensor must have a last dimension of size 2", got=str(list(x.shape)))
    parts = [reshape(narrowed(x, x.ndim - 1, i, i + 1), shape=x.shape[:-1]) for i in range(2)]
    result: V = complex_(*parts)
    return result


declare(
    Composite(
        name="view_as_real",
        arity=1,
        grad_name="ViewAsRealBackward0",
        doc="Complex numbers as pairs in a new last dim.",
        body=_as_real,
    )
)
declare(
    Composite(
        name="view_as_complex",
        arity=1,
        grad_name="ViewAsComplexBackward0",
        doc="Pairs in the last dim as complex numbers.",
        body=_as_complex,
    )
)
