"""Tables of vectors that are trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from gradmesh import _creation, _dtype
from gradmesh._functions import layers as F
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules._layer import Layer
from gradmesh.nn.parameter import Parameter

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Layer):
    """A table whose row `padding_idx` is 0 and without gradient. Abstract."""

    _padding_name: ClassVar[str] = "padding_idx"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: Tensor | None,
        device: object,
        dtype: _dtype.DTypeLike | None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError(f"{self._padding_name} must be within num_embeddings")
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            self.weight = Parameter(_creation.empty((num_embeddings, embedding_dim), dtype=dtype, device=device))
            self.reset_parameters()
        elif tuple(weight.shape) != (num_embeddings, embedding_dim):
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        else:
            self.weight = Parameter(weight)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _sizes(self) -> list[str]:
        return [str(self.num_embeddings), str(self.embedding_dim)]

    def _limits(self) -> list[str]:
        parts = [] if self.max_norm is None else [f"max_norm={self.max_norm}"]
        parts += [] if self.norm_type == 2 else [f"norm_type={self.norm_type}"]
        return parts + ([f"scale_grad_by_freq={self.scale_grad_by_freq}"] if self.scale_grad_by_freq else [])


class Embedding(_Table):
    """Rows of a table that is trained: int64 (…) is (…, embedding_dim).

    The table (num_embeddings, embedding_dim) starts normal, its row `padding_idx` 0 and without gradient. Rows longer
    than `max_norm` are scaled down, in place, when they are asked for. `sparse` is a hint: gradients are dense.

    Raises AssertionError for a row or a table that does not fit.

    Example: `gm.nn.Embedding(10, 3)(gm.tensor([1, 2])).shape` is `torch.Size([2, 3])`.
    """

    _padding_name = "Padding_idx"

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
            device, dtype,
        )  # fmt: skip
        self.weight.requires_grad_(not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An Embedding with a given table (num, width); trained only unless `freeze`. Raises AssertionError."""
        count, width = _shape_of(embeddings)
        return cls(
            count, width, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings,
            _freeze=freeze,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """int64 (…) is (…, embedding_dim). Raises OutOfRangeError for an index that is no row."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        """The table's sizes, and what differs from the defaults."""
        padding = [] if self.padding_idx is None else [f"padding_idx={self.padding_idx}"]
        return ", ".join([*self._sizes(), *padding, *self._limits(), *(["sparse=True"] if self.sparse else [])])


class EmbeddingBag(_Table):
    """Rows of a table that is trained, reduced over bags: `F.embedding_bag`.

    Raises AssertionError for a row or a table that does not fit.

    Example: `gm.nn.EmbeddingBag(10, 3)(gm.tensor([[1, 2]])).shape` is `torch.Size([1, 3])`.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Literal["sum", "mean", "max"] = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: object = None,
        dtype: _dtype.DTypeLike | None = None,
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
            device, dtype,
        )  # fmt: skip
        self.mode, self.include_last_offset = mode, include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Literal["sum", "mean", "max"] = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """An EmbeddingBag with a given table (num, width); trained only unless `freeze`. Raises AssertionError."""
        count, width = _shape_of(embeddings)
        found = cls(
            count, width, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset,
            padding_idx,
        )  # fmt: skip
        found.weight.requires_grad_(not freeze)
        return found

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """int64 (N, L), or (L,) with offsets (N,), is (N, embedding_dim)."""
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The table's sizes, the mode, and what differs from the defaults."""
        padding = [] if self.padding_idx is None else [f"padding_idx={self.padding_idx}"]
        return ", ".join([*self._sizes(), *self._limits(), f"mode={self.mode!r}", *padding])


def _shape_of(table: Tensor) -> tuple[int, int]:
    if table.ndim != 2:
        raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
    return table.shape[0], table.shape[1]
