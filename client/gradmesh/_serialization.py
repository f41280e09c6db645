"""`save` and `load`: nests of tensors and plain values as safetensors files. Nothing in a file is ever run.

A mapping from names to tensors is written as what every safetensors reader expects. Of any other nest the tensors are
written under the path to them, and the nest itself as JSON in the file's metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import numpy as np

from gradmesh import _dtype, _tensor
from gradmesh._value import known
from gradmesh.nn.parameter import Parameter
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError, UnknownDTypeError

__all__ = ["load", "save"]

_KEY: Final = "gradmesh"
# The names of dtypes in the format.
_DTYPES: Final = {
    "BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "I16": dtypes.int16, "I32": dtypes.int32,
    "I64": dtypes.int64, "F16": dtypes.float16, "BF16": dtypes.bfloat16, "F32": dtypes.float32, "F64": dtypes.float64,
    "C64": dtypes.complex64,
}  # fmt: skip


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Write a nest of dicts, lists, tuples, tensors, numbers, strings and None to a file; evaluates the tensors.

    Args:
        obj: what to write, `module.state_dict()` say.
        f: a path, or a file opened for writing bytes.

    Raises AttributeTypeError for anything else in the nest.

    Example: `gm.save(model.state_dict(), "model.safetensors")`
    """
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray] = {}
    skeleton = _taken_apart(obj, "", arrays)
    # The format knows no complex128: such tensors are written as pairs of float64.
    pairs = [name for name, array in arrays.items() if array.dtype == dtypes.complex128]
    for name in pairs:
        arrays[name] = np.ascontiguousarray(arrays[name]).view(np.float64).reshape(*arrays[name].shape, 2)
    note: dict[str, Any] = {"complex128": pairs} if pairs else {}
    if skeleton != {"dict": [[{"value": name}, {"tensor": name}] for name in arrays]}:
        note["nest"] = skeleton
    content = to_bytes(arrays, {_KEY: json.dumps(note)} if note else None)
    if isinstance(f, (str, os.PathLike)):
        with open(f, "wb") as file:
            file.write(content)
    else:
        f.write(content)


def load(f: str | os.PathLike[str] | BinaryIO, map_location: object = None, *, weights_only: bool = True) -> Any:
    """Read what `save`, or any writer of safetensors, has written.

    Args:
        f: a path, or a file opened for reading bytes.
        map_location: a device; there is only the CPU.
        weights_only: nothing else can be in a file.

    Returns:
        the nest; of a plain safetensors file a dict of its tensors.

    Raises InvalidRequestError for what is no safetensors file, UnknownDTypeError for another dtype or device.

    Example: `model.load_state_dict(gm.load("model.safetensors"))`
    """
    from safetensors import SafetensorError, deserialize

    if map_location is not None:
        _dtype.device(map_location)  # type: ignore[arg-type]
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            content = file.read()
    else:
        content = f.read()
    try:
        arrays = {name: _array(**entry) for name, entry in deserialize(content)}  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise InvalidRequestError(
            f"not a safetensors file: {error}", expected="a file written by gm.save, or another safetensors file"
        ) from None
    # The header is JSON of the length that stands before it.
    size = int.from_bytes(content[:8], "little")
    note = json.loads(json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(_KEY, "{}"))
    for name in note.get("complex128", ()):
        arrays[name] = arrays[name].view(np.complex128).reshape(arrays[name].shape[:-1])
    tensors = {name: _tensor.Tensor(known(array)) for name, array in arrays.items()}
    return _put_together(note["nest"], tensors) if "nest" in note else tensors


def _array(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    found = _DTYPES.get(dtype)
    if found is None:
        raise UnknownDTypeError(f"no dtype for {dtype}", expected=", ".join(_DTYPES), got=dtype)
    return np.frombuffer(data, found).reshape(shape).copy()


def _taken_apart(obj: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The nest as JSON, its tensors put among the arrays under their paths."""
    if isinstance(obj, _tensor.Tensor):
        arrays[path] = np.ascontiguousarray(obj.detach().numpy()).reshape(obj.shape)
        return {"tensor": path, **_marks(obj)}
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return {"value": obj}
    if isinstance(obj, Mapping):
        pairs = [[_taken_apart(k, path, arrays), _taken_apart(v, _below(path, k), arrays)] for k, v in obj.items()]
        return {"dict": pairs}
    if isinstance(obj, (list, tuple)):
        items = [_taken_apart(item, _below(path, index), arrays) for index, item in enumerate(obj)]
        return {"tuple" if isinstance(obj, tuple) else "list": items}
    raise AttributeTypeError(
        f"save() writes tensors, numbers, strings and None in dicts, lists and tuples, not {type(obj).__name__}"
        + (f" at {path!r}" if path else ""),
        expected="tensors and plain values",
        got=type(obj).__name__,
        remedy="save module.state_dict() rather than the module",
    )


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _marks(tensor: _tensor.Tensor) -> dict[str, bool]:
    marks = {"requires_grad": tensor.requires_grad, "parameter": isinstance(tensor, Parameter)}
    return {name: True for name, marked in marks.items() if marked}


def _put_together(nest: dict[str, Any], tensors: Mapping[str, _tensor.Tensor]) -> Any:
    (kind, held), *marks = nest.items()
    if kind == "tensor":
        tensor = tensors[held]
        flags = dict(marks)
        if "parameter" in flags:
            return Parameter(tensor, "requires_grad" in flags)
        return tensor.requires_grad_() if "requires_grad" in flags else tensor
    if kind == "dict":
        return {_put_together(key, tensors): _put_together(value, tensors) for key, value in held}
    if kind in ("list", "tuple"):
        items = [_put_together(item, tensors) for item in held]
        return tuple(items) if kind == "tuple" else items
    return held
