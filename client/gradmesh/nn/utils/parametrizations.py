"""Parametrizations of weights: of a given norm, of spectral norm 1, orthogonal."""

from __future__ import annotations

from typing import Any, Literal

from gradmesh import _creation, _limits, _sampling
from gradmesh._functions import binary, factor, layers, layout, linalg, products, reduce, select, solve, unary
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gradmesh.nn.modules.module import Module
from gradmesh.nn.utils.parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# --- norm and direction ---------------------------------------------------------------------------


def norm_except(weight: Tensor, dim: int) -> Tensor:
    """The 2-norms along all dims but one, which are kept at size 1; of all elements, 0-d, for dim -1."""
    if dim == -1:
        return reduce.norm(weight, 2)
    others = [other for other in range(weight.ndim) if other != dim % weight.ndim]
    return reduce.norm(weight, 2, others, keepdim=True) if others else unary.abs(weight)


def with_norm(direction: Tensor, norm: Tensor, dim: int) -> Tensor:
    """A tensor of a direction, of given norms along all dims but one."""
    return binary.mul(direction, binary.div(norm, norm_except(direction, dim)))


class _WeightNorm(Module):
    """g v / ||v||, of norms and directions. Final."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight of norms and directions."""
        return with_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Norms and directions of a weight."""
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train norms and directions of a weight in its place (Salimans and Kingma 2016).

    There is one norm for each index along `dim`; one for all when it is None. Returns the module.

    Example: `gm.nn.utils.parametrizations.weight_norm(gm.nn.Linear(2, 3)).weight.shape` is `torch.Size([3, 2])`.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def renamed(module: Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take states of `nn.utils.weight_norm`, too."""
        old = [f"{prefix}{name}_{ending}" for ending in ("g", "v")]
        if all(key in state for key in old):
            for index, key in enumerate(old):
                state[f"{prefix}parametrizations.{name}.original{index}"] = state.pop(key)

    module.register_load_state_dict_pre_hook(renamed)
    return module


# --- the largest singular value -------------------------------------------------------------------


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix, with the rows along a dim."""
    if dim != 0:
        weight = layout.permute(weight, (dim, *[other for other in range(weight.ndim) if other != dim]))
    return layout.flatten(weight, 1)


def largest_value(matrix: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The singular value that belongs to singular vectors."""
    return products.vdot(left, linalg.mv(matrix, right))


class _SpectralNorm(Module):
    """A weight over its largest singular value, which power iteration finds. Final."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        rank = weight.ndim
        if not -rank <= dim < rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{rank}, {rank - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % rank, eps, n_power_iterations
        if rank > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                drawn = init.normal_(_creation.empty(size, dtype=weight.dtype))
                self.register_buffer(name, layers.normalize(drawn, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, times: int) -> None:
        with no_grad():
            for _ in range(times):
                self._u = layers.normalize(linalg.mv(matrix, self._v), dim=0, eps=self.eps)
                self._v = layers.normalize(linalg.mv(matrix.mH, self._u), dim=0, eps=self.eps)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight over its largest singular value; a vector over its norm."""
        if weight.ndim == 1:
            return layers.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        return binary.div(weight, largest_value(matrix, self._u, self._v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value: a weight of largest singular value 1 is itself."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al. 2018), which every call in training brings nearer.

    The weight is a matrix of rows along `dim`: 0, and 1 for transposed convolutions. Returns the module. Raises
    ValueError for an unknown name or no iterations, IndexError for a dim there is none of.

    Example: `gm.nn.utils.parametrizations.spectral_norm(gm.nn.Linear(2, 3)).weight.shape` is `torch.Size([3, 2])`.
    """
    weight = _tensor_of(module, name)
    if dim is None:
        dim = int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


# --- orthogonal matrices --------------------------------------------------------------------------

Map = Literal["matrix_exp", "cayley", "householder"]


class _Orthogonal(Module):
    """A matrix with orthonormal columns, or rows where it is wide. Final."""

    def __init__(self, weight: Tensor, orthogonal_map: Map, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        """The orthogonal matrix of a matrix, any batch of them."""
        wide = X.shape[-2] < X.shape[-1]
        tall = X.mT if wide else X
        made = self._reflections(tall) if self.orthogonal_map == "householder" else self._rotation(tall)
        if "base" in self._buffers:
            made = linalg.matmul(self.base, made)
        return made.mT if wide else made

    def _reflections(self, matrix: Tensor) -> Tensor:
        below = layout.tril(matrix, -1)
        scales = binary.div(2.0, binary.add(reduce.sum(binary.mul(below, below), -2), 1.0))
        signs = layout.unsqueeze(layout.diagonal(matrix, dim1=-2, dim2=-1).int(), -2)
        return binary.mul(factor.linalg_householder_product(below, scales), signs)

    def _rotation(self, matrix: Tensor) -> Tensor:
        """Of a skew matrix: its exponential, or its Cayley map."""
        rows, columns = matrix.shape[-2:]
        below = layout.tril(matrix)
        if rows != columns:
            below = layers.pad(below, (0, rows - columns))
        skew = binary.sub(below, below.mH)
        if self.orthogonal_map == "matrix_exp":
            made = solve.matrix_exp(skew)
        else:
            one, half = _creation.eye(rows, dtype=matrix.dtype), binary.mul(skew, 0.5)
            made = solve.linalg_solve(binary.sub(one, half), binary.add(one, half))
        return made[..., :columns] if rows != columns else made

    def right_inverse(self, Q: Tensor) -> Tensor:
        """What gives a matrix, after it was made orthogonal. Raises ValueError, NotImplementedError."""
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        tall = Q.mT if wide else Q
        with no_grad():
            if "base" not in self._buffers:
                if self.orthogonal_map != "householder":
                    raise NotImplementedError(
                        "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                        "use_trivialization=False."
                    )
                packed, scales = factor.geqrf(tall)
                diagonal = layout.diagonal(packed, dim1=-2, dim2=-1)
                signs = unary.sign(diagonal)
                diagonal.copy_(select.where(binary.eq(scales, 0.0), unary.neg(signs), signs))
                return packed.mT if wide else packed
            rows, columns = tall.shape[-2:]
            if rows != columns:
                drawn = _sampling.randn(*tall.shape[:-2], rows, rows - columns, dtype=Q.dtype)
                self.base = _made_orthogonal(select.cat([tall, drawn], -1))
            else:
                self.base = tall.clone() if _is_orthogonal(tall) else _made_orthogonal(tall)
            start = _creation.zeros_like(Q)
            layout.diagonal(start, dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _is_orthogonal(matrix: Tensor) -> bool:
    rows, columns = matrix.shape[-2:]
    error = linalg.matmul(matrix.mH, matrix) - _creation.eye(columns, dtype=matrix.dtype)
    limit = 10.0 * rows * _limits.finfo(matrix.dtype).eps
    return bool((unary.abs(error) <= limit).all())


def _made_orthogonal(matrix: Tensor) -> Tensor:
    packed, scales = factor.geqrf(matrix)
    signs = layout.diagonal(packed, dim1=-2, dim2=-1).sgn()
    return binary.mul(factor.linalg_householder_product(packed, scales), layout.unsqueeze(signs, -2))


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: Map | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a weight orthogonal: its columns orthonormal, or its rows where it is wide (Lezcano-Casado 2019).

    Args:
        module: whose weight it is; it is returned.
        name: of the weight, a matrix or a batch of them.
        orthogonal_map: "matrix_exp" or "cayley" of a skew matrix, or the product of "householder" reflections; by
            default the first for square and complex matrices, else the last.
        use_trivialization: whether the map starts from the present weight.

    Raises ValueError for an unknown name or map, or a vector.

    Example: `gm.nn.utils.parametrizations.orthogonal(gm.nn.Linear(2, 3)).weight.shape` is `torch.Size([3, 2])`.
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
