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
    from gradmesh_engine.graph import TensorSpec


def record(op: str, *tensors: Tensor, **attrs: Any) -> Any:
    """Record one application of an op of the table: a Tensor, or a tuple of them for an op with several results.

    Nothing is computed. The result of a view op shares its operand's storage: writes through one
    are seen through the other. Raises GradmeshError subclasses that carry the user's line.
    """
    if len(tensors) == 1:  # Most ops have one operand or two, and a comprehension costs as much as all the rest.
        (only,) = tensors
        values: tuple[Value, ...] = (only._value if only._store is None else only._store.sync(only),)
    elif len(tensors) == 2:
        left, right = tensors
        values = (
            left._value if left._store is None else left._store.sync(left),
            right._value if right._store is None else right._store.sync(right),
        )
    else:
        values = tuple([t._value if t._store is None else t._store.sync(t) for t in tensors])
    result = emit(op, values, attrs, 4)  # The user called a function which called this one.
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


def _number(value: Any, dtype: np.dtype) -> tuple[np.ndarray, TensorSpec]:
    with np.errstate(all="ignore"):  # Infinity where it is too large, 0 where too small.
        array = np.array(value, dtype)
    array.flags.writeable = False
    return array, spec_of((), dtype)


@lru_cache(maxsize=1024)
def _kept(value: Any, kind: type, dtype: np.dtype) -> tuple[np.ndarray, TensorSpec]:
    return _number(value, dtype)


def scalar(value: Any, dtype: np.dtype) -> Tensor:
    """A Python number as a 0-d tensor: an input of the graph, so its value is not part of the graph's name."""
    # -0.0 equals 0.0, and NaN nothing, so neither is looked up.
    array, spec = _kept(value, value.__class__, dtype) if value and value == value else _number(value, dtype)
    return _tensor.Tensor(Value(spec, array))
