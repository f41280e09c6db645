"""Layers as functions: linear maps, normalisation, embeddings and padding.

In shapes, N is the batch, C channels, H and W height and width, … any dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from gradmesh import _creation, _dtype, _modes
from gradmesh._functions import binary, convert, layout, linalg, reduce, select, windows
from gradmesh._functions._common import check_fits, in_place, ints, many, number, one, spec
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

__all__ = [
    "batch_norm",
    "bilinear",
    "cosine_similarity",
    "embedding",
    "embedding_bag",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "linear",
    "local_response_norm",
    "normalize",
    "one_hot",
    "pad",
    "rms_norm",
]

# --- linear maps ----------------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weightᵀ + bias`: (…, in) with (out, in) and (out,) is (…, out).

    Example: `F.linear(gm.ones(1, 2), gm.ones(1, 2))` is `tensor([[2.]])`.
    """
    if bias is None:
        return linalg.matmul(input, layout.t(weight))
    if input.ndim == 2:
        return one("addmm", bias, input, layout.t(weight))
    rows = layout.reshape(input, (-1, input.shape[-1])) if input.ndim else input
    return layout.view(one("addmm", bias, rows, layout.t(weight)), (*input.shape[:-1], weight.shape[0]))


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x₁ᵀ W x₂ + bias: (…, in1), (…, in2) with (out, in1, in2) is (…, out).

    Example: `F.bilinear(gm.ones(1), gm.ones(1), gm.ones(1, 1, 1))` is `tensor([1.])`.
    """
    operands = (input1, input2, weight) if bias is None else (input1, input2, weight, bias)
    return one("bilinear", *operands)


# --- normalisation --------------------------------------------------------------------------------


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 over the last dims, then scaled and shifted.

    Example: `F.layer_norm(gm.tensor([1., 3.]), (2,))` is `tensor([-1.0000,  1.0000])`.
    """
    shape = ints("layer_norm", "normalized_shape", normalized_shape)
    operands = affine(weight, bias)
    return one("layer_norm", input, *operands, normalized_shape=shape, eps=float(eps))


def affine(weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Weight and bias as operands: none, the weight, or both."""
    if bias is None:
        return () if weight is None else (weight,)
    if weight is None:
        weight = _creation.ones_like(bias)
    return weight, bias


def rms_norm(
    input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Root mean square 1 over the last dims, then scaled; `eps` is the dtype's own unless given.

    Example: `F.rms_norm(gm.tensor([3., 3.]), (2,))` is `tensor([1., 1.])`.
    """
    shape = ints("rms_norm", "normalized_shape", normalized_shape)
    operands = (input,) if weight is None else (input, weight)
    return one("rms_norm", *operands, normalized_shape=shape, eps=None if eps is None else float(eps))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 per channel (dim 1) over the other dims, then scaled and shifted: (N, C, …) is (N, C, …).

    In training the batch's own statistics count, and the running ones, when given, move towards them
    in place by `momentum`; otherwise the running ones count.

    Example: `F.batch_norm(gm.tensor([[1.], [3.]]), None, None, training=True)` is `tensor([[-1.0000], [ 1.0000]])`.
    """
    if not input.numel():
        return _of_nothing(input, weight, bias)
    operands = affine(weight, bias)
    if training:
        result = one("batch_norm", input, *operands, eps=float(eps))
        if running_mean is not None and running_var is not None:
            move_statistics(input, running_mean, running_var, float(momentum))
        return result
    if running_mean is None or running_var is None:
        raise InvalidRequestError(
            "Expected running_mean and running_var to be defined when training=False",
            op="batch_norm",
            remedy="pass them",
        )
    return one("batch_norm_inference", input, running_mean, running_var, *operands, eps=float(eps))


def _of_nothing(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """`batch_norm` of no elements, which asks nothing of the shape, as in PyTorch."""
    result = convert.clone(input)
    result = result if weight is None else binary.mul(result, layout.select(weight, 0, 0))
    return result if bias is None else binary.add(result, layout.select(bias, 0, 0))


def move_statistics(input: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> None:
    """Move running statistics towards those of a batch, in place."""
    dims = tuple([dim for dim in range(input.ndim) if dim != 1])
    with _modes.no_grad():
        variance, middle = many("var_mean", input, dim=dims)
        running_mean.copy_(binary.add(binary.mul(running_mean, 1 - momentum), binary.mul(middle, momentum)))
        running_var.copy_(binary.add(binary.mul(running_var, 1 - momentum), binary.mul(variance, momentum)))


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-05
) -> Tensor:
    """`layer_norm` over each of `num_groups` groups of channels: (N, C, …) is (N, C, …).

    Example: `F.group_norm(gm.ones(1, 2), 1)` is `tensor([[0., 0.]])`.
    """
    return one("group_norm", input, *affine(weight, bias), num_groups=num_groups, eps=float(eps))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """`batch_norm` of each sample on its own: (N, C, …) is (N, C, …).

    Running statistics, when given, move towards the mean of the samples'; without `use_input_stats` they count.

    Example: `F.instance_norm(gm.ones(1, 1, 2))` is `tensor([[[0., 0.]]])`.
    """
    count, channels = input.shape[:2]
    # The channels of all samples are the channels of one.
    alone = layout.reshape(input, (1, count * channels, *input.shape[2:]))

    def every(v: Tensor | None) -> Tensor | None:
        return None if v is None else layout.tile(v, (count,))

    mean, var = every(running_mean), every(running_var)
    result = batch_norm(alone, mean, var, every(weight), every(bias), use_input_stats, momentum, eps)
    if use_input_stats:
        with _modes.no_grad():
            for running, moved in ((running_mean, mean), (running_var, var)):
                if running is not None and moved is not None:
                    running.copy_(reduce.mean(layout.reshape(moved, (count, channels)), 0))
    return layout.view(result, tuple(input.shape))


def local_response_norm(input: Tensor, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`input / (k + alpha * m) ** beta`, m the mean square over `size` neighbouring channels: (N, C, …, L).

    Example: `F.local_response_norm(gm.ones(1, 1, 1), 1, 1.0, 1.0)` is `tensor([[[0.5000]]])`.
    """
    if input.ndim < 3:
        raise InvalidRequestError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)", op="local_response_norm",
            expected="(N, C, …, L)", got=f"{input.ndim} dims",
        )  # fmt: skip
    if not input.numel():
        return input
    # Channels become the rows of one channel, which a tall window averages.
    rows = layout.reshape(binary.mul(input, input), (input.shape[0], 1, input.shape[1], -1))
    padded = pad(rows, (0, 0, size // 2, (size - 1) // 2))
    means = layout.reshape(windows.avg_pool2d(padded, (size, 1), stride=1), tuple(input.shape))
    return binary.div(input, binary.pow(binary.add(binary.mul(means, alpha), k), beta))


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """`input / max(norm(input, p, dim), eps)`.

    Example: `F.normalize(gm.tensor([3., 4.]), dim=0)` is `tensor([0.6000, 0.8000])`.
    """
    size = binary.clamp_min(reduce.norm(input, p, dim, keepdim=True), eps)
    return binary.div(input, layout.broadcast_to(size, tuple(input.shape)))


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """Cosine of the angle between vectors along a dim.

    Example: `F.cosine_similarity(gm.ones(4), gm.ones(4), dim=0)` is `tensor(1.)`.
    """
    x1, x2 = layout.broadcast_tensors(x1, x2)
    sizes = [convert.clone(reduce.norm(x, 2, dim, keepdim=True)) for x in (x1, x2)]
    # The limit is no part of the derivative, as in PyTorch.
    with _modes.no_grad():
        for size in sizes:
            size.clamp_min_(eps)
    return reduce.sum(binary.mul(binary.div(x1, sizes[0]), binary.div(x2, sizes[1])), dim)


# --- tables and padding ---------------------------------------------------------------------------


def _renormed(input: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are asked for down to a norm, in place."""
    with _modes.no_grad():
        size = reduce.norm(weight, norm_type, 1, keepdim=True)
        asked = one("put_add", input, _creation.ones(tuple(input.shape), dtype=_dtype.int64), size=weight.shape[0])
        long = binary.logical_and(binary.gt(size, max_norm), layout.reshape(binary.gt(asked, 0), (-1, 1)))
        in_place(weight, select.where(long, weight * (max_norm / (size + 1e-7)), weight))


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: int64 indices (…) with (count, width) is (…, width).

    The row `padding_idx` gets no gradient. `max_norm` scales the rows that are asked for down to that `norm_type`-norm,
    in place. `scale_grad_by_freq` divides a row's gradient by how often it is asked for. Gradients are dense.

    Example: `F.embedding(gm.tensor([1]), gm.eye(2))` is `tensor([[0., 1.]])`.
    """
    if max_norm is not None:
        _renormed(input, weight, max_norm, norm_type)
    return one("embedding", weight, input, **_rows(weight, padding_idx, scale_grad_by_freq))


def _rows(weight: Tensor, padding_idx: int | None, scale_grad_by_freq: bool) -> dict[str, Any]:
    attrs: dict[str, Any] = {"padding_idx": None if padding_idx is None else padding_idx % weight.shape[0]}
    return {**attrs, "scale_grad_by_freq": True} if scale_grad_by_freq else attrs


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: Literal["sum", "mean", "max"] = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Rows of a table, reduced over bags: indices (N, L) with (count, width) is (N, width).

    Indices (L) come with the `offsets` (N) at which the bags start, the first of them 0; with `include_last_offset` the
    last one is the end of the last bag. `per_sample_weights` are for mode "sum". Rows of `padding_idx` do not count.
    The other arguments are those of `embedding`; "max" has no `scale_grad_by_freq`. (PyTorch 2.13 divides a row's
    gradient by how often another index is asked for; here it is the row's own, as both document.)

    Example: `F.embedding_bag(gm.tensor([[0, 1]]), gm.eye(2))` is `tensor([[0.5000, 0.5000]])`.
    """
    if (offsets is None) == (input.ndim == 1):
        raise InvalidRequestError(
            "input has to be 2D without offsets, or 1D with them", op="embedding_bag", got=f"{input.ndim}D"
        )
    if scale_grad_by_freq and mode == "max":
        raise InvalidRequestError(
            "max mode does not support scaling the gradient by the frequency",
            op="embedding_bag",
            expected="mode sum or mean",
            got=mode,
        )
    if max_norm is not None:
        _renormed(input, weight, max_norm, norm_type)
    more = [part for part in (offsets, per_sample_weights) if part is not None]
    return one(
        "embedding_bag",
        weight,
        input,
        *more,
        mode=mode,
        has_weights=per_sample_weights is not None,
        include_last_offset=include_last_offset,
        **_rows(weight, padding_idx, scale_grad_by_freq),
    )


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 1 at the class, 0 elsewhere, in a new last dim.

    Example: `F.one_hot(gm.tensor([1]), 2)` is `tensor([[0, 1]])`.

    Evaluates the classes unless `num_classes` is given.
    """
    if spec(tensor).dtype != dtypes.int64:
        raise AttributeTypeError(
            "one_hot is only applicable to index tensor of type LongTensor.", op="one_hot", expected="int64",
            got=spec(tensor).dtype.name,
        )  # fmt: skip
    if num_classes < 0:
        num_classes = int(reduce.max(tensor).item()) + 1
    return one("one_hot", tensor, num_classes=num_classes)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`pad` holds (before, after) of the last dim, then of the one before it, and so on; negative sizes cut.

    `mode` is "constant", "reflect", "replicate" or "circular".

    Example: `F.pad(gm.ones(1), (1, 0))` is `tensor([0., 1.])`.
    """
    amounts = ints("pad", "pad", pad)
    if mode == "constant":
        value = 0 if value is None else number(value)
        if not isinstance(value, complex):
            check_fits(float(value), spec(input))
        return one("constant_pad_nd", input, pad=amounts, value=value)
    if value is not None and value != 0:
        raise InvalidRequestError(f'Padding mode "{mode}" doesn\'t take in value argument', op="pad", got=str(value))
    return one("pad_edges", input, pad=amounts, mode=mode)
