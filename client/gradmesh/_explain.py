"""explain: the plan of a computation, before it runs."""

from __future__ import annotations

import numpy as np

from gradmesh import _backward
from gradmesh._explore import Exploration
from gradmesh._gather import Gathering
from gradmesh._session import current_session
from gradmesh._tensor import Tensor
from gradmesh._value import Value, user_line
from gradmesh_engine.errors import AttributeTypeError
from gradmesh_engine.session import Query, Request


def explain(tensor: Tensor) -> str:
    """The plan of evaluating `tensor` and, where it requires grad, of its gradients for all leaves, as text.

    It names the split axis, stages, blocks, bytes, FLOPs and where it would run. Nothing is computed of it.
    Raises AttributeTypeError for anything but a Tensor.

    Example: `print(gm.explain(loss))`
    """
    request = asked_of(tensor)
    return request if isinstance(request, str) else current_session().explain(request)


def asked_of(tensor: Tensor) -> Request | str:
    """The request that computes a tensor and its gradients, or why there is nothing to compute."""
    if not isinstance(tensor, Tensor):
        raise AttributeTypeError(
            "explain takes a Tensor", expected="Tensor", got=type(tensor).__name__, source=user_line()
        )
    value = tensor.value
    exploration = Exploration([value])
    if value.requires_grad and not exploration.needs_client:
        seeds: list[Value | None] = [None if value.spec.size == 1 else value]
        gathering, pairs, asked = _backward.joint([value], seeds, exploration, exploration.leaves)
        query = asked()
    else:
        gathering, query = Gathering(), Query()
        pairs = [(value, gathering.add(value))]
        pairs = [pair for pair in pairs if pair[1] >= 0]
    if not gathering.order:
        return f"{value.spec}: known, nothing to compute"
    graph = gathering.graph([number for _, number in pairs])
    inputs = tuple([source.data for source in gathering.inputs if source.data is not None])
    # A cotangent's value is no part of a plan; any array of its spec stands for it.
    cotangents = tuple([np.zeros(value.spec.shape, value.spec.dtype) for given in query.given if given])
    return Request(graph, inputs, query._replace(segments=gathering.segments()), cotangents)
