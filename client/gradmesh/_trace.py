"""Recording: the few functions that turn tensors and numbers into recorded tensors."""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _tensor, _views
from gradmesh._modes import STATE
from gradmesh._value import Value, emit, known, spec_of

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor


def record(op: str, *tensors: Tensor, **attrs: Any) -> Any:
    """Record one application of an op of the table: a Tensor, or a tuple of them for an op with several results.

    Nothing is computed. The result of a view op shares its operand's storage: writes through one
    are seen through the other. Raises GradmeshError subclasses that carry the user's line.
    """
    values = tuple([t._value if t._store is None else t._store.sync(t) for t in tensors])
    result = emit(op, values, attrs)
    if op in _views.VIEW_OPS:
        return _views.share(tensors[0], op, attrs, result)
    if result.__class__ is Value:
        return wrap(result)
    return tuple([wrap(value) for value in result])  # type: ignore[union-attr]


def wrap(value: Value) -> Tensor:
    """A tensor of its own with this content, noted as possibly pending."""
    tensor = _tensor.Tensor(value)
    live = STATE.live
    live.append(weakref.ref(tensor))
    if len(live) > STATE.prune:
        _tensor.prune()
    return tensor


def constant(array: np.ndarray) -> Tensor:
    """A tensor with this content. The array must not be written to afterwards: it becomes read-only."""
    return _tensor.Tensor(known(array))


@lru_cache(maxsize=1024)
def _scalar(value: Any, kind: str, dtype: np.dtype) -> np.ndarray:
    array = np.array(value, dtype)
    array.flags.writeable = False
    return array


def scalar(value: complex, dtype: np.dtype) -> Tensor:
    """A Python number as a 0-d tensor: an input of the graph, so its value is not part of the graph's name."""
    # -0.0 equals 0.0, and NaN nothing, so neither is looked up.
    array = _scalar(value, type(value).__name__, dtype) if value else np.array(value, dtype)
    return _tensor.Tensor(Value(spec_of((), dtype), array))
