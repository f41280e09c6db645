"""Loading single entries of a module's state, and what is told of keys that do not fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from gradmesh._modes import no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn.parameter import Parameter, is_lazy


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find or not expect. Final."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def listed(names: Iterable[str]) -> str:
    """Names in quotes."""
    return ", ".join(f'"{name}"' for name in names)


def load_one(module: Any, name: str, held: Tensor, key: str, given: Any, assign: bool) -> list[str]:
    """Copy one entry of a state dict; what is wrong with it."""
    if not isinstance(given, Tensor):
        return [
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint '
            f"but received {type(given)}"
        ]
    if is_lazy(held):
        if is_lazy(given):
            return []
        held.materialize(given.shape)
    if given.shape != held.shape:
        return [
            f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the shape in current "
            f"model is {held.shape}."
        ]
    if assign:
        parameter = isinstance(held, Parameter)
        setattr(module, name, Parameter(given, held.requires_grad) if parameter else given)
    else:
        with no_grad():
            held.copy_(given)
    return []
