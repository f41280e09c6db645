"""Rows: windows over trailing dims, and convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmesh_engine.errors import DTypeError, ShapeError
from tests.ops.rows import FLOATS, INTS, WIDE, Bad, L, Row, S, Sample, T, row, untorched


def _positions(t: Any, sizes: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    """[*kernel, *O]: the C-order position in `sizes` of each element of each window."""
    rank = len(kernel)
    total = t.zeros([1] * (2 * rank), dtype=t.int64)
    for d in range(rank):
        count = (sizes[d] - (kernel[d] - 1) * dilation[d] - 1) // stride[d] + 1
        view = [1] * (2 * rank)
        view[d], view[rank + d] = kernel[d], count
        along = t.arange(kernel[d])[:, None] * dilation[d] + t.arange(count)[None, :] * stride[d]
        total = total * sizes[d] + along.reshape(view)
    return total


def _windows(t: Any, x: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    lead = x.ndim - len(kernel)
    at = _positions(t, x.shape[lead:], kernel, stride, dilation)
    return x.reshape(*x.shape[:lead], -1)[..., at.reshape(-1)].reshape(*x.shape[:lead], *at.shape)


def _fold(t: Any, g: Any, kernel: Any, stride: Any, dilation: Any, size: Any) -> Any:
    lead = g.ndim - 2 * len(kernel)
    at = _positions(t, size, kernel, stride, dilation).reshape(-1)
    rows = g.reshape(*g.shape[:lead], -1)
    flat = t.zeros(*g.shape[:lead], int(np.prod(size)), dtype=g.dtype)
    return flat.index_add(lead, at, rows).reshape(*g.shape[:lead], *size)


def _over_kernel(t: Any, x: Any, kernel: Any, **how: Any) -> Any:
    """[..., K, *O]: windows with the kernel's dims merged."""
    lead = x.ndim - len(kernel)
    windows = _windows(t, x, kernel, **how)
    return windows.reshape(*x.shape[:lead], -1, *windows.shape[lead + len(kernel) :])


def _sum(t: Any, x: Any, kernel: Any, **how: Any) -> Any:
    return _over_kernel(t, x, kernel, **how).sum(x.ndim - len(kernel), dtype=x.dtype)


def _max(t: Any, x: Any, kernel: Any, **how: Any) -> Any:
    return _over_kernel(t, x, kernel, **how).amax(x.ndim - len(kernel))


def _fill(t: Any, g: Any, kernel: Any, stride: Any, dilation: Any, size: Any) -> Any:
    lead = g.ndim - len(kernel)
    view = (*g.shape[:lead], *([1] * len(kernel)), *g.shape[lead:])
    full = (*g.shape[:lead], *kernel, *g.shape[lead:])
    return _fold(t, g.reshape(view).expand(full), kernel, stride, dilation, size)


def _first(t: Any, x: Any, kernel: Any, **how: Any) -> Any:
    """[..., *O]: the C-order position of each window's maximum."""
    lead = x.ndim - len(kernel)
    best = _over_kernel(t, x, kernel, **how).argmax(lead)
    at = _positions(t, x.shape[lead:], kernel, **how)
    outputs = at.shape[len(kernel) :]
    at = at.reshape(-1, *outputs).expand(*x.shape[:lead], -1, *outputs)
    return t.gather(at, lead, best.unsqueeze(lead)).squeeze(lead)


def _spread(t: Any, g: Any, x: Any, y: Any, kernel: Any, **how: Any) -> Any:
    lead = x.ndim - len(kernel)
    at = _first(t, x, kernel, **how).reshape(*x.shape[:lead], -1)
    flat = t.zeros(*x.shape[:lead], int(np.prod(x.shape[lead:])), dtype=g.dtype)
    return flat.scatter_add(lead, at, g.reshape(at.shape)).reshape(x.shape)


def _pick(t: Any, h: Any, x: Any, y: Any, kernel: Any, **how: Any) -> Any:
    lead = x.ndim - len(kernel)
    at = _first(t, x, kernel, **how)
    return t.gather(h.reshape(*x.shape[:lead], -1), lead, at.reshape(*x.shape[:lead], -1)).reshape(at.shape)


GEOMETRY: tuple[tuple[tuple[int, ...], dict[str, tuple[int, ...]]], ...] = (
    ((5, 9), {"kernel": (3,), "stride": (2,), "dilation": (1,)}),
    ((5, 8), {"kernel": (2,), "stride": (2,), "dilation": (1,)}),
    ((4, 8, 6), {"kernel": (2, 2), "stride": (2, 2), "dilation": (1, 1)}),
    ((2, 5, 9, 8), {"kernel": (3, 2), "stride": (1, 2), "dilation": (2, 1)}),
    ((7, 6), {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1)}),
    ((2, 8, 9), {"kernel": (1, 3), "stride": (1, 3), "dilation": (1, 1)}),
)


def _outputs(shape: tuple[int, ...], kernel: Any, stride: Any, dilation: Any) -> tuple[int, ...]:
    sizes = shape[len(shape) - len(kernel) :]
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True))


def _forward() -> tuple[Sample, ...]:
    return tuple(S(T(*shape), **how) for shape, how in GEOMETRY)


def _backward(windowed: bool) -> tuple[Sample, ...]:
    samples = []
    for shape, how in GEOMETRY:
        lead, size = shape[: len(shape) - len(how["kernel"])], shape[len(shape) - len(how["kernel"]) :]
        operand = (*lead, *(how["kernel"] if windowed else ()), *_outputs(shape, **how))
        samples.append(S(T(*operand), **how, size=size))
    return tuple(samples)


def _with_maxima(values_of_x: bool) -> tuple[Sample, ...]:
    """(values, x, y): values of the shape of x or of y, and y the maxima of the windows of x."""
    samples = []
    rng = np.random.default_rng(7)
    for shape, how in GEOMETRY:
        x = rng.permutation(int(np.prod(shape))).reshape(shape) / 10.0  # no ties
        rank = len(how["kernel"])
        y = np.full((*shape[:-rank], *_outputs(shape, **how)), -np.inf)
        for offset in np.ndindex(*how["kernel"]):
            index = tuple(
                slice(o * d, o * d + (n - 1) * s + 1, s)
                for o, d, n, s in zip(offset, how["dilation"], y.shape[-rank:], how["stride"], strict=True)
            )
            y = np.maximum(y, x[(..., *index)])
        samples.append(S(T(*(shape if values_of_x else y.shape)), L(x, fixed=True), L(y, fixed=True), **how))
    return tuple(samples)


TOO_LARGE = Bad(S(T(5, 3), kernel=(4,), stride=(1,), dilation=(1,)), ShapeError)
NO_STRIDE = Bad(S(T(5, 3), kernel=(2,), stride=(0,), dilation=(1,)), ShapeError)
NO_DIMS = Bad(S(T(3), kernel=(2, 2), stride=(1, 1), dilation=(1, 1)), ShapeError)

TOO_LONG = Bad(S(T(5, 3), kernel=(1 << 30,), stride=(1,), dilation=(1,)), ShapeError, "too large")

WINDOWS: tuple[Row, ...] = (
    row("windows", *_forward(), ref=_windows, dtypes=(*FLOATS, *INTS), errors=(TOO_LARGE, NO_STRIDE, NO_DIMS)),
    row(
        "fold_windows",
        *_backward(windowed=True),
        ref=_fold,
        dtypes=WIDE,
        loose=4,
        errors=(Bad(S(T(5, 2, 4), kernel=(3,), stride=(2,), dilation=(1,), size=(9,)), ShapeError),),
    ),
    row("window_sum", *_forward(), ref=_sum, dtypes=WIDE, loose=4, errors=(TOO_LARGE, TOO_LONG, NO_STRIDE, NO_DIMS)),
    row(
        "window_fill",
        *_backward(windowed=False),
        ref=_fill,
        dtypes=WIDE,
        loose=4,
        errors=(Bad(S(T(5, 3), kernel=(3,), stride=(2,), dilation=(1,), size=(9,)), ShapeError),),
    ),
    row(
        "window_max",
        *_forward(),
        ref=_max,
        dtypes=(*FLOATS, *INTS),
        specials=(S(L([[1.0, float("nan"), 2.0, 3.0]]), kernel=(2,), stride=(2,), dilation=(1,)),),
        errors=(
            TOO_LARGE,
            NO_STRIDE,
            NO_DIMS,
            Bad(S(T(5, dtype="complex64"), kernel=(2,), stride=(2,), dilation=(1,)), DTypeError),
        ),
    ),
    row("window_max_spread", *_with_maxima(values_of_x=False), ref=_spread, wrt=(0,), loose=4),
    row("window_max_pick", *_with_maxima(values_of_x=True), ref=_pick, wrt=(0,)),
)

# --- convolution -----------------------------------------------------------------------------------


def _conv(t: Any, x: Any, w: Any, stride: Any, dilation: Any, low: Any, high: Any, groups: int = 1) -> Any:
    padding = [p for pair in zip(reversed(low), reversed(high), strict=True) for p in pair]
    f = t.nn.functional
    convolve = {1: f.conv1d, 2: f.conv2d, 3: f.conv3d}[len(stride)]
    return convolve(f.pad(x, padding), w, stride=stride, dilation=dilation, groups=groups)


def _conv_input(t: Any, g: Any, w: Any, size: Any, groups: int = 1, **how: Any) -> Any:
    with t.enable_grad():
        x = t.zeros(g.shape[0], w.shape[1] * groups, *size, dtype=g.dtype, requires_grad=True)
        return t.autograd.grad(_conv(t, x, w, groups=groups, **how), x, g, create_graph=True)[0]


def _conv_weight(t: Any, x: Any, g: Any, kernel: Any, groups: int = 1, **how: Any) -> Any:
    with t.enable_grad():
        w = t.zeros(g.shape[1], x.shape[1] // groups, *kernel, dtype=x.dtype, requires_grad=True)
        return t.autograd.grad(_conv(t, x, w, groups=groups, **how), w, g, create_graph=True)[0]


def _plain(rank: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "stride": (1,) * rank, "dilation": (1,) * rank, "low": (0,) * rank, "high": (0,) * rank, **changes
    }  # fmt: skip


CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], ...] = (
    ((4, 3, 7, 6), (5, 3, 3, 2), _plain()),
    ((4, 3, 7, 6), (5, 3, 3, 3), _plain(low=(1, 1), high=(1, 1))),
    ((4, 4, 8, 7), (6, 2, 3, 2), _plain(stride=(2, 1), dilation=(1, 2), low=(1, 0), high=(0, 2), groups=2)),
    ((4, 2, 5, 36), (4, 2, 2, 3), _plain()),
    ((4, 4, 6, 36), (8, 2, 3, 2), _plain(stride=(2, 1), low=(1, 0), high=(0, 1), groups=2)),
    ((4, 3, 9), (5, 3, 3), _plain(1, stride=(2,))),
    ((4, 3, 5, 5), (6, 3, 1, 1), _plain()),
    ((0, 3, 7, 6), (5, 3, 3, 2), _plain()),
)
OVERLONG = (
    S(T(2, 3, 3), T(4, 3, 2), **_plain(1, stride=(1 << 62,), dilation=(2,))),
    S(T(2, 3, 3), T(4, 3, 1), **_plain(1, dilation=(1 << 62,))),
)


def _conv_outputs(x: tuple[int, ...], w: tuple[int, ...], how: dict[str, Any]) -> tuple[int, ...]:
    spatial = tuple(
        (n + lo + hi - (k - 1) * d - 1) // s + 1
        for n, k, s, d, lo, hi in zip(
            x[2:], w[2:], how["stride"], how["dilation"], how["low"], how["high"], strict=True
        )
    )
    return (x[0], w[0], *spatial)


CONV: tuple[Row, ...] = (
    row(
        "conv",
        *(S(T(*x), T(*w), **how) for x, w, how in CONVOLUTIONS),
        *(untorched(sample, "its second derivatives overflow") for sample in OVERLONG),
        ref=_conv,
        dtypes=WIDE,
        loose=16,
        errors=(
            Bad(S(T(4, 3, 7, 6), T(5, 2, 3, 2), **_plain()), ShapeError),
            Bad(S(T(4, 3, 2, 2), T(5, 3, 3, 3), **_plain()), ShapeError),
            Bad(S(T(4, 3, 7, 6), T(5, 3, 3, 2, dtype="float32"), **_plain()), DTypeError),
        ),
    ),
    row(
        "conv_input",
        *(S(T(*_conv_outputs(x, w, how)), T(*w), **how, size=x[2:]) for x, w, how in CONVOLUTIONS),
        ref=_conv_input,
        dtypes=WIDE,
        loose=16,
    ),
    row(
        "conv_weight",
        *(S(T(*x), T(*_conv_outputs(x, w, how)), **how, kernel=w[2:]) for x, w, how in CONVOLUTIONS),
        ref=_conv_weight,
        dtypes=WIDE,
        loose=16,
    ),
)

ROWS: tuple[Row, ...] = WINDOWS + CONV
