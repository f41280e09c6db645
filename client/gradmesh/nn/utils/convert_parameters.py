"""Joining the parameters of a module into one vector, and taking them out of one."""

from __future__ import annotations

from collections.abc import Iterable

from gradmesh._functions import convert, layout, select
from gradmesh._tensor import Tensor
from gradmesh_engine.errors import ShapeError

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters as one vector.

    Example: `gm.nn.utils.parameters_to_vector([gm.ones(1, 2), gm.zeros(1)])` is `tensor([1., 1., 0.])`.
    """
    return select.cat([layout.reshape(parameter, (-1,)) for parameter in parameters], 0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give each parameter its part of a vector, in order. Raises ShapeError when the vector is too short.

    Example: `gm.nn.utils.vector_to_parameters(vector, model.parameters())`
    """
    start = 0
    for parameter in parameters:
        size = parameter.numel()
        if start + size > vec.numel():
            raise ShapeError("the vector is shorter than the parameters", got=f"{vec.numel()} elements")
        part = layout.reshape(vec[start : start + size], tuple(parameter.shape))
        parameter.data = convert.clone(part.detach()) if part.requires_grad else part.data
        start += size
