"""Poolings by position: maxima of adaptive and of random windows, and their undoing.

Operands are (N, C, …) or, for one sample, (C, …), with as many dims at the end as the function's name says. Positions
are int64 and count the elements of a channel in C order.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from gradmesh._functions import binary, unary, windows
from gradmesh._functions._common import cast, ints, many, one, spec
from gradmesh._functions.sample import key
from gradmesh._functions.windows import Each, max_pool1d, max_pool2d, max_pool3d, wanted_sizes
from gradmesh_engine.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

Size: TypeAlias = "int | Sequence[int | None]"
Found: TypeAlias = "tuple[Tensor, Tensor]"


def _pair(results: Tensor | tuple[Tensor, ...]) -> Found:
    assert isinstance(results, tuple)
    return results[0], results[1]


# --- maxima and where they stand ------------------------------------------------------------------


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
) -> Found:
    """(`max_pool1d`, positions). Example: `F.max_pool1d_with_indices(gm.ones(1, 2), 2)[1]` is `tensor([[0]])`."""
    return _pair(max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True))


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
) -> Found:
    """(`max_pool2d`, positions). Example: `F.max_pool2d_with_indices(gm.ones(1, 2, 2), 2)[1]` is `tensor([[[0]]])`."""
    return _pair(max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True))


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
) -> Found:
    """(`max_pool3d`, positions).

    Example: `F.max_pool3d_with_indices(gm.ones(1, 2, 2, 2), 2)[1]` is `tensor([[[[0]]]])`.
    """
    return _pair(max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True))


# --- adaptive maxima ------------------------------------------------------------------------------


def _adaptive(rank: int, input: Tensor, output_size: Size, return_indices: bool) -> tuple[Tensor, ...]:
    name = f"adaptive_max_pool{rank}d" + "_with_indices" * return_indices
    return many(name, input, output_size=wanted_sizes(rank, input, output_size))


@overload
def adaptive_max_pool1d(input: Tensor, output_size: Size, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool1d(input: Tensor, output_size: Size, return_indices: bool) -> Tensor | Found: ...
def adaptive_max_pool1d(input: Tensor, output_size: Size, return_indices: bool = False) -> Tensor | Found:
    """Maxima of windows that tile the last dim into the output size; None keeps a size.

    Example: `F.adaptive_max_pool1d(gm.tensor([[1., 4., 2.]]), 1)` is `tensor([[4.]])`.
    """
    results = _adaptive(1, input, output_size, return_indices)
    return _pair(results) if return_indices else results[0]


@overload
def adaptive_max_pool2d(input: Tensor, output_size: Size, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool2d(input: Tensor, output_size: Size, return_indices: bool) -> Tensor | Found: ...
def adaptive_max_pool2d(input: Tensor, output_size: Size, return_indices: bool = False) -> Tensor | Found:
    """Maxima of windows that tile the last 2 dims into the output size; None keeps a size.

    Example: `F.adaptive_max_pool2d(gm.ones(1, 4, 4), 1)` is `tensor([[[1.]]])`.
    """
    results = _adaptive(2, input, output_size, return_indices)
    return _pair(results) if return_indices else results[0]


@overload
def adaptive_max_pool3d(input: Tensor, output_size: Size, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool3d(input: Tensor, output_size: Size, return_indices: bool) -> Tensor | Found: ...
def adaptive_max_pool3d(input: Tensor, output_size: Size, return_indices: bool = False) -> Tensor | Found:
    """Maxima of windows that tile the last 3 dims into the output size; None keeps a size.

    Example: `F.adaptive_max_pool3d(gm.ones(1, 2, 2, 2), 1)` is `tensor([[[[1.]]]])`.
    """
    results = _adaptive(3, input, output_size, return_indices)
    return _pair(results) if return_indices else results[0]


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Size) -> Found:
    """(`adaptive_max_pool1d`, positions).

    Example: `F.adaptive_max_pool1d_with_indices(gm.ones(1, 2), 1)[1]` is `tensor([[0]])`.
    """
    return _pair(_adaptive(1, input, output_size, True))


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Size) -> Found:
    """(`adaptive_max_pool2d`, positions).

    Example: `F.adaptive_max_pool2d_with_indices(gm.ones(1, 2, 2), 1)[1]` is `tensor([[[0]]])`.
    """
    return _pair(_adaptive(2, input, output_size, True))


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Size) -> Found:
    """(`adaptive_max_pool3d`, positions).

    Example: `F.adaptive_max_pool3d_with_indices(gm.ones(1, 2, 2, 2), 1)[1]` is `tensor([[[[0]]]])`.
    """
    return _pair(_adaptive(3, input, output_size, True))


# --- maxima of random windows ---------------------------------------------------------------------


def _fractional(
    rank: int,
    input: Tensor,
    kernel_size: Each,
    output_size: Each | None,
    output_ratio: float | Sequence[float] | None,
    samples: Tensor | None,
) -> Found:
    name = f"fractional_max_pool{rank}d"
    if output_size is None:
        if output_ratio is None:
            raise InvalidRequestError(f"{name} requires specifying either an output_size or an output_ratio", op=name)
        ratios = (output_ratio,) * rank if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        output_size = [int(size * ratio) for size, ratio in zip(input.shape[-rank:], ratios, strict=True)]
    if samples is None:
        count = 1 if input.ndim == rank + 1 else input.shape[0]
        wide = "float64" if spec(input).dtype.name == "float64" else "float32"
        drawn = one("rand", key(), shape=(count, input.shape[-rank - 1], rank), dtype=wide)
        samples = cast(drawn, spec(input).dtype)
    kernel, size = ints(name, "kernel_size", kernel_size), ints(name, "output_size", output_size)
    return _pair(many(name, input, samples, kernel_size=kernel, output_size=size))


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Each,
    output_size: Each | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Found:
    """(`fractional_max_pool2d`, positions).

    Example: `F.fractional_max_pool2d_with_indices(gm.ones(1, 2, 2), 2, 1)[1]` is `tensor([[[0]]])`.
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Each,
    output_size: Each | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Found:
    """(`fractional_max_pool3d`, positions).

    Example: `F.fractional_max_pool3d_with_indices(gm.ones(1, 2, 2, 2), 2, 1)[1]` is `tensor([[[[0]]]])`.
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Each,
    output_size: Each | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor | Found:
    """Maxima of windows at pseudorandom steps (arXiv:1412.6071), to an output size or a ratio of the input's.

    `_random_samples` (N, C, 2) in [0, 1) takes the place of random numbers.

    Example: `F.fractional_max_pool2d(gm.ones(1, 2, 2), 2, 1)` is `tensor([[[1.]]])`.
    """
    results = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return results if return_indices else results[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Each,
    output_size: Each | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor | Found:
    """Maxima of windows at pseudorandom steps (arXiv:1412.6071), to an output size or a ratio of the input's.

    `_random_samples` (N, C, 3) in [0, 1) takes the place of random numbers.

    Example: `F.fractional_max_pool3d(gm.ones(1, 2, 2, 2), 2, 1)` is `tensor([[[[1.]]]])`.
    """
    results = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return results if return_indices else results[0]


# --- the reverse ----------------------------------------------------------------------------------


def _unpool(rank: int) -> Callable[..., Tensor]:
    name = f"max_unpool{rank}d"

    def per_dim(argument: str, value: Each) -> tuple[int, ...]:
        given = ints(name, argument, value)
        return given * rank if len(given) == 1 else given

    def unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Each,
        stride: Each | None,
        padding: Each,
        output_size: Sequence[int] | None,
    ) -> Tensor:
        kernel = per_dim("kernel_size", kernel_size)
        steps = kernel if stride is None else per_dim("stride", stride)
        around = per_dim("padding", padding)
        usual = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(input.shape[-rank:], steps, kernel, around, strict=True)]
        if output_size is None:
            return one(name, input, indices, output_size=tuple(usual))
        size = tuple([operator.index(n) for n in output_size])
        size = size[2:] if len(size) == rank + 2 else size
        if len(size) != rank:
            raise InvalidRequestError(
                f"output_size should be a sequence containing {rank} or {rank + 2} elements, but it has a length of "
                f"'{len(size)}'",
                op=name,
            )
        for dim, (n, have, s) in enumerate(zip(size, usual, steps, strict=True)):
            if not have - s < n < have + s:
                raise InvalidRequestError(
                    f'invalid output_size "{size}" (dim {dim} must be between {have - s} and {have + s})', op=name
                )
        return one(name, input, indices, output_size=size)

    return unpool


_unpool1d, _unpool2d, _unpool3d = (_unpool(rank) for rank in (1, 2, 3))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The values of `max_pool1d` put back where they stood, 0 elsewhere.

    Example: `F.max_unpool1d(gm.ones(1, 1), gm.tensor([[1]]), 2)` is `tensor([[0., 1.]])`.
    """
    return _unpool1d(input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The values of `max_pool2d` put back where they stood, 0 elsewhere.

    Example: `F.max_unpool2d(gm.ones(1, 1, 1), gm.tensor([[[1]]]), (1, 2))` is `tensor([[[0., 1.]]])`.
    """
    return _unpool2d(input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Each,
    stride: Each | None = None,
    padding: Each = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The values of `max_pool3d` put back where they stood, 0 elsewhere.

    Example: `F.max_unpool3d(gm.ones(1, 1, 1, 1), gm.tensor([[[[1]]]]), (1, 1, 2))` is `tensor([[[[0., 1.]]]])`.
    """
    return _unpool3d(input, indices, kernel_size, stride, padding, output_size)


# --- norms of windows -----------------------------------------------------------------------------


def _lp_pool(
    rank: int, input: Tensor, norm_type: float, kernel_size: Each, stride: Each | None, ceil_mode: bool
) -> Tensor:
    if math.isinf(norm_type):
        # The largest absolute value, or the smallest.
        sign = math.copysign(1.0, norm_type)
        size = unary.abs(input) if sign > 0 else unary.neg(unary.abs(input))
        found = (max_pool1d, max_pool2d, max_pool3d)[rank - 1](size, kernel_size, stride, 0, 1, ceil_mode)
        return found if sign > 0 else unary.neg(found)
    pool = (windows.avg_pool1d, windows.avg_pool2d, windows.avg_pool3d)[rank - 1]
    sizes = ints(f"lp_pool{rank}d", "kernel_size", kernel_size)
    count = math.prod(sizes * rank if len(sizes) == 1 else sizes)
    mean = pool(binary.pow(input, norm_type), kernel_size, stride, 0, ceil_mode)
    # The sign of odd powers is kept, and where the mean is 0 its gradient is.
    signed = binary.mul(unary.sign(mean), unary.relu(unary.abs(mean)))
    return binary.pow(binary.mul(signed, count), 1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Each | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window: (sum x^p)^(1/p); of p infinite, the largest absolute value, or the smallest.

    Example: `F.lp_pool1d(gm.tensor([[3., 4.]]), 2, 2)` is `tensor([[5.]])`.
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Each, stride: Each | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window: (sum x^p)^(1/p); of p infinite, the largest absolute value, or the smallest.

    Example: `F.lp_pool2d(gm.ones(1, 2, 2), 2, 2)` is `tensor([[[2.]]])`.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Each, stride: Each | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window: (sum x^p)^(1/p); of p infinite, the largest absolute value, or the smallest.

    Example: `F.lp_pool3d(gm.ones(1, 2, 2, 2), 3, 2)` is `tensor([[[[2.]]]])`.
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)
