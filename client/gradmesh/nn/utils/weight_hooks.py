"""Weights that are computed before every call of a module, by a hook: what `parametrizations` replaces."""

from __future__ import annotations

import warnings
from typing import Any

from gradmesh import _creation
from gradmesh._functions import binary, layers, linalg
from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn import init
from gradmesh.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gradmesh.nn.modules.module import Module
from gradmesh.nn.parameter import Parameter
from gradmesh.nn.utils.parametrizations import as_matrix, largest_value, norm_except, with_norm
from gradmesh_engine.errors import AutogradError

__all__ = ["remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]


class _Computed:
    """A hook that computes a module's weight anew. Abstract."""

    name: str

    def __init__(self, module: Module, name: str, what: str) -> None:
        for hook, _ in module._forward_pre_hooks.values():
            if isinstance(hook, type(self)) and hook.name == name:
                raise AutogradError(f"Cannot register two {what} hooks on the same parameter {name}")
        self.name = name

    def weight(self, module: Module, fresh: bool) -> Tensor:
        """The weight; `fresh` when it is for a call in training."""
        raise NotImplementedError

    def held(self) -> list[str]:
        """Names of what the module holds in the weight's place."""
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.weight(module, module.training))


class _WeightNorm(_Computed):
    def __init__(self, module: Module, name: str, dim: int | None) -> None:
        super().__init__(module, name, "weight_norm")
        self.dim = -1 if dim is None else dim
        weight = getattr(module, name)
        del module._parameters[name]
        module.register_parameter(f"{name}_g", Parameter(norm_except(weight.detach(), self.dim)))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))

    def held(self) -> list[str]:
        return [f"{self.name}_g", f"{self.name}_v"]

    def weight(self, module: Module, fresh: bool) -> Tensor:
        norm, direction = (getattr(module, name) for name in self.held())
        return with_norm(direction, norm, self.dim)


class _SpectralNorm(_Computed):
    def __init__(self, module: Module, name: str, times: int, dim: int, eps: float) -> None:
        super().__init__(module, name, "spectral_norm")
        if times <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={times}")
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        self.times, self.dim, self.eps = times, dim, eps
        del module._parameters[name]
        module.register_parameter(f"{name}_orig", weight)
        for ending, size in zip(("u", "v"), as_matrix(weight.detach(), dim).shape, strict=True):
            drawn = init.normal_(_creation.empty(size, dtype=weight.dtype))
            module.register_buffer(f"{name}_{ending}", layers.normalize(drawn, dim=0, eps=eps))

    def held(self) -> list[str]:
        return [f"{self.name}_orig", f"{self.name}_u", f"{self.name}_v"]

    def weight(self, module: Module, fresh: bool) -> Tensor:
        original, left, right = (getattr(module, name) for name in self.held())
        matrix = as_matrix(original, self.dim)
        if fresh:
            with no_grad():
                for _ in range(self.times):
                    right = layers.normalize(linalg.mv(matrix.mT, left), dim=0, eps=self.eps)
                    left = layers.normalize(linalg.mv(matrix, right), dim=0, eps=self.eps)
            setattr(module, self.held()[1], left)
            setattr(module, self.held()[2], right)
        return binary.div(original, largest_value(matrix, left, right))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """`parametrizations.weight_norm` by a hook, with the names `weight_g` and `weight_v`. Warns that it is deprecated.

    Raises AutogradError where there is one already.

    Example: `gm.nn.utils.weight_norm(gm.nn.Linear(2, 3))`
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    hook = _WeightNorm(module, name, dim)
    setattr(module, name, hook.weight(module, False))
    module.register_forward_pre_hook(hook)
    return module


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """`parametrizations.spectral_norm` by a hook, with the names `weight_orig`, `weight_u` and `weight_v`.

    Raises AutogradError where there is one already, ValueError for no iterations or no weight.

    Example: `gm.nn.utils.spectral_norm(gm.nn.Linear(2, 3))`
    """
    if dim is None:
        dim = int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))
    weight = module._parameters[name]
    hook = _SpectralNorm(module, name, n_power_iterations, dim, eps)
    setattr(module, name, weight.detach())  # type: ignore[union-attr]
    module.register_forward_pre_hook(hook)
    return module


def _removed(module: Module, name: str, kind: type[_Computed], what: str) -> Module:
    for key, (hook, _) in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            with no_grad():
                weight = hook.weight(module, False).detach()
            for held in (name, *hook.held()):
                delattr(module, held)
            setattr(module, name, Parameter(weight))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"{what} of '{name}' not found in {module}")


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo `weight_norm`: the weight is a parameter again. Raises ValueError where there is none.

    Example: `gm.nn.utils.remove_weight_norm(module)`
    """
    return _removed(module, name, _WeightNorm, "weight_norm")


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo `spectral_norm`: the weight is a parameter again. Raises ValueError where there is none.

    Example: `gm.nn.utils.remove_spectral_norm(module)`
    """
    return _removed(module, name, _SpectralNorm, "spectral_norm")
