"""PyTorch's arguments as gradmesh's, and the contents of both as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import gradmesh as gm


def leaves(value: Any) -> Iterator[Any]:
    """The tensors and numbers in nested tuples, lists and dicts, in order."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    else:
        yield value


def array_of(tensor: Any) -> np.ndarray:
    """The content of either library's tensor."""
    if isinstance(tensor, gm.Tensor):
        return np.asarray(tensor.numpy(force=True))
    # PyTorch gives a zero of its own kind where only a copy can be read.
    tensor = tensor.detach().clone().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(gm.tensor(tensor.float().numpy()).to(gm.bfloat16).numpy())
    return np.asarray(tensor.numpy())


def tensor_of(tensor: torch.Tensor) -> gm.Tensor:
    """A gradmesh tensor of the same content."""
    made = gm.tensor(array_of(tensor))
    return made.requires_grad_() if tensor.requires_grad else made


def _dtype(dtype: torch.dtype) -> Any:
    return getattr(gm, str(dtype).removeprefix("torch."))


def _generator(generator: torch.Generator) -> gm.Generator:
    return gm.Generator().manual_seed(generator.initial_seed())


_CONVERTED: dict[type, Callable[[Any], Any]] = {
    torch.Tensor: tensor_of,
    torch.nn.Parameter: tensor_of,
    torch.dtype: _dtype,
    torch.device: str,
    torch.Generator: _generator,
    torch.Size: tuple,
    torch.memory_format: lambda form: getattr(gm, str(form).removeprefix("torch.")),
}


def converted(value: Any) -> Any:
    """The same arguments for gradmesh: tensors, dtypes and generators in nested tuples, lists and dicts."""
    convert = _CONVERTED.get(type(value))
    if convert is not None:
        return convert(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map(converted, value))
    if isinstance(value, dict):
        # There is one layout.
        return {key: converted(item) for key, item in value.items() if not isinstance(item, torch.layout)}
    if value is torch.strided:
        return None
    return value
