"""Between the contract's messages and the engine's types, in both directions."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gradmesh.v1 import gradient_service_pb2 as service_pb
from gradmesh.v1 import graph_pb2 as graph_pb
from gradmesh.v1 import tensor_pb2 as tensor_pb
from gradmesh_engine import dtypes
from gradmesh_engine.errors import (
    AttributeTypeError,
    CycleError,
    GradmeshError,
    InvalidRequestError,
    LengthError,
)
from gradmesh_engine.graph import Attrs, AttrValue, Graph, Node, TensorSpec, attrs_of
from gradmesh_engine.ops import lookup
from gradmesh_engine.session import GradFn, Stats

if sys.byteorder != "little":  # Arrays are passed to the wire as they lie in memory.
    raise ImportError("gradmesh runs on little-endian machines only")

NAME_BYTES: Final = 16
"""Length of every digest and handle."""

# NumPy works out the name of a dtype each time it is asked.
_NAMES: Final = {dtype: name for name, dtype in dtypes.BY_NAME.items()}

_MAX_DIMS: Final = 64
_MAX_BYTES: Final = 2**63 - 1

# --- specs ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def spec_of(dtype: str, shape: tuple[int, ...]) -> TensorSpec:
    """The checked spec of what a message declares.

    Raises UnknownDTypeError, or LengthError for a shape no tensor can have.
    """
    parsed = dtypes.parse(dtype)
    if len(shape) > _MAX_DIMS:
        raise LengthError(f"a tensor has at most {_MAX_DIMS} dims", expected=f"<= {_MAX_DIMS}", got=str(len(shape)))
    if any(dim < 0 for dim in shape):
        raise LengthError("a tensor has a dim of negative length", expected="dims >= 0", got=str(list(shape)))
    # Zero dims do not make the others' product harmless: strides are computed from it.
    if math.prod(dim for dim in shape if dim) * parsed.itemsize > _MAX_BYTES:
        raise LengthError("a tensor's shape exceeds the address space", expected="< 2**63 bytes", got=str(list(shape)))
    return TensorSpec(shape, parsed)


def decode_spec(message: tensor_pb.TensorSpec) -> TensorSpec:
    """Raises UnknownDTypeError, LengthError."""
    return spec_of(message.dtype, tuple(message.shape))


@lru_cache(maxsize=4096)
def encode_spec(spec: TensorSpec) -> tensor_pb.TensorSpec:
    """The message of a spec; shared, so not to be changed."""
    return tensor_pb.TensorSpec(dtype=_NAMES[spec.dtype], shape=spec.shape)


# --- tensors --------------------------------------------------------------------------------------


def encode_array(array: np.ndarray) -> tensor_pb.Tensor:
    """The message of an array, content inline. Strided arrays are sent in C order."""
    return tensor_pb.Tensor(dtype=_NAMES[array.dtype], shape=array.shape, data=array.tobytes())


def decode_array(message: tensor_pb.Tensor) -> np.ndarray:
    """The read-only array of a message with inline content, sharing the message's bytes.

    Raises UnknownDTypeError, LengthError, InvalidRequestError.
    """
    spec, nbytes, plain = _layout(message.dtype, tuple(message.shape))
    data = message.data
    if len(data) == nbytes and plain:
        return np.ndarray(spec.shape, spec.dtype, data)
    if len(data) != nbytes:
        raise LengthError(
            f"a tensor of {spec} does not have {len(data)} bytes",
            expected=f"{nbytes} bytes",
            got=f"{len(data)} bytes",
            remedy="send the elements in C order, little-endian, without padding",
        )
    return array_over(data, spec)


def is_plain(message: tensor_pb.Tensor) -> bool:
    """Whether a message has inline content, and any bytes at all would be values of its dtype."""
    return message.WhichOneof("content") == "data" and _layout(message.dtype, tuple(message.shape))[2]


@lru_cache(maxsize=4096)
def _layout(dtype: str, shape: tuple[int, ...]) -> tuple[TensorSpec, int, bool]:
    """The spec, its bytes, and whether any bytes at all are values of it."""
    spec = spec_of(dtype, shape)
    return spec, spec.nbytes, spec.dtype != dtypes.bool_ and spec.nbytes > 0


def array_over(data: bytes | bytearray | memoryview | np.ndarray, spec: TensorSpec) -> np.ndarray:
    """A read-only array over bytes whose number is known to be right.

    Raises InvalidRequestError when they are no values of a bool.
    """
    if not spec.nbytes:
        empty = np.empty(spec.shape, spec.dtype)
        empty.flags.writeable = False
        return empty
    array = np.frombuffer(data, spec.dtype).reshape(spec.shape)
    array.flags.writeable = False
    if spec.dtype == dtypes.bool_ and array.view(np.uint8).max() > 1:
        raise InvalidRequestError("a bool tensor has bytes other than 0 and 1", expected="0 or 1 per element")
    return array


def bytes_of(array: np.ndarray) -> memoryview:
    """The content of an array in C order; shares its memory when it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# --- attributes -----------------------------------------------------------------------------------


def _tuple_message(value: tuple[Any, ...]) -> graph_pb.AttrValue | None:
    if all(isinstance(x, int) and not isinstance(x, bool) for x in value):
        return graph_pb.AttrValue(ints_value=graph_pb.IntList(values=value))
    if all(isinstance(x, float) for x in value):
        return graph_pb.AttrValue(floats_value=graph_pb.FloatList(values=value))
    if all(isinstance(x, str) for x in value):
        return graph_pb.AttrValue(strings_value=graph_pb.StringList(values=value))
    return None


_ENCODE_ATTR: Final[dict[type, Callable[[Any], graph_pb.AttrValue | None]]] = {
    bool: lambda v: graph_pb.AttrValue(bool_value=v),
    int: lambda v: graph_pb.AttrValue(int_value=v),
    float: lambda v: graph_pb.AttrValue(float_value=v),
    complex: lambda v: graph_pb.AttrValue(complex_value=graph_pb.Complex(real=v.real, imaginary=v.imag)),
    str: lambda v: graph_pb.AttrValue(string_value=v),
    tuple: _tuple_message,
}

_DECODE_ATTR: Final[dict[str, Callable[[graph_pb.AttrValue], AttrValue]]] = {
    "bool_value": lambda m: m.bool_value,
    "int_value": lambda m: m.int_value,
    "float_value": lambda m: m.float_value,
    "complex_value": lambda m: complex(m.complex_value.real, m.complex_value.imaginary),
    "string_value": lambda m: m.string_value,
    "ints_value": lambda m: tuple(m.ints_value.values),
    "floats_value": lambda m: tuple(m.floats_value.values),
    "strings_value": lambda m: tuple(m.strings_value.values),
}


def encode_attr(value: AttrValue) -> graph_pb.AttrValue:
    """The message of an attribute's value. Raises AttributeTypeError."""
    encode = _ENCODE_ATTR.get(type(value))
    try:
        message = encode(value) if encode else None
    except (ValueError, OverflowError):
        message = None
    if message is None:
        raise AttributeTypeError(
            "an attribute's value cannot be sent",
            expected="bool, int of 64 bits, float, complex, str, or a tuple of ints, floats or strs",
            got=f"{value!r} ({type(value).__name__})",
        )
    return message


def decode_attr(message: graph_pb.AttrValue) -> AttrValue:
    """The value of an attribute. Raises AttributeTypeError when none is set."""
    which = message.WhichOneof("value")
    if which is None:
        raise AttributeTypeError("an attribute has no value", expected="one of AttrValue.value", got="nothing")
    return _DECODE_ATTR[which](message)


# --- graphs ---------------------------------------------------------------------------------------


def encode_graph(graph: Graph) -> graph_pb.Graph:
    """The message of a graph, source lines included. Raises AttributeTypeError."""
    nodes = []
    for index, node in enumerate(graph.nodes):
        try:
            attrs = {name: encode_attr(value) for name, value in node.attrs}
        except GradmeshError as error:
            raise error.at(op=node.op, node=index, source=graph.source(index)) from None
        nodes.append(
            graph_pb.Node(
                op=node.op,
                inputs=node.inputs,
                attrs=attrs,
                outputs=map(encode_spec, node.outputs),
                source=graph.source(index),
            )
        )
    return graph_pb.Graph(inputs=map(encode_spec, graph.inputs), nodes=nodes, outputs=graph.outputs)


def decode_graph(message: graph_pb.Graph) -> Graph:
    """The graph of a message; outputs and default attributes left out by the sender are filled in.

    What it raises is about single fields (UnknownDTypeError, LengthError, AttributeTypeError) or, when
    outputs have to be inferred, what their rules raise. The graph as a whole is for `check` to judge.
    """
    specs: list[TensorSpec] = [decode_spec(spec) for spec in message.inputs]
    inputs = tuple(specs)
    nodes: list[Node] = []
    for index, sent in enumerate(message.nodes):
        try:
            attrs = {name: decode_attr(value) for name, value in sent.attrs.items()} if sent.attrs else {}
            operands = tuple(sent.inputs)
            if sent.outputs:
                outputs = tuple(map(decode_spec, sent.outputs))
                canonical = attrs_of(attrs)
            else:
                outputs, canonical = _infer(sent.op, operands, attrs, specs)
        except GradmeshError as error:
            raise error.at(op=sent.op, node=index, source=sent.source) from None
        nodes.append(Node(sent.op, operands, canonical, outputs, index))
        specs.extend(outputs)
    sources = tuple(sent.source for sent in message.nodes)
    return Graph(inputs, tuple(nodes), tuple(message.outputs), sources if any(sources) else ())


def _infer(
    name: str, operands: tuple[int, ...], attrs: Mapping[str, AttrValue], specs: Sequence[TensorSpec]
) -> tuple[tuple[TensorSpec, ...], Attrs]:
    op = lookup(name)
    op.check_arity(len(operands))
    late = [number for number in operands if number >= len(specs)]
    if late:
        raise CycleError(
            "a node uses its own or a later value",
            expected=f"value numbers below {len(specs)}",
            got=str(late[0]),
            remedy="order the nodes so that each uses only earlier values",
        )
    bound = op.bind(attrs)
    return op.infer(tuple(specs[number] for number in operands), bound), attrs_of(bound)


# --- results' metadata ----------------------------------------------------------------------------


def encode_grad_fns(grad_fns: Iterable[GradFn]) -> list[service_pb.GradFn]:
    """The messages of a result's grad_fns."""
    return [
        service_pb.GradFn(
            name=fn.name,
            node=fn.node,
            next_functions=fn.next_functions,
            shape=fn.shape,
            dtype=fn.dtype,
            source=fn.source,
            stages=fn.stages,
            workers=fn.workers,
            seconds=fn.seconds,
        )
        for fn in grad_fns
    ]


def decode_grad_fns(messages: Iterable[service_pb.GradFn], graph: Graph) -> tuple[GradFn, ...]:
    """The grad_fns of a reply, with the source lines of the caller's own graph: a cached one may be another's."""
    return tuple(
        GradFn(
            name=m.name,
            node=m.node,
            next_functions=tuple(m.next_functions),
            shape=tuple(m.shape),
            dtype=m.dtype,
            source=graph.source(m.node),
            stages=tuple(m.stages),
            workers=tuple(m.workers),
            seconds=m.seconds,
        )
        for m in messages
    )


def decode_stats(message: service_pb.Stats, moved: Mapping[str, int]) -> Stats:
    """The stats of a reply; `moved` are the byte counts of this side ("sent", "received")."""
    return Stats(
        cache=message.cache,
        where=message.where,
        stages=message.stages,
        blocks=message.blocks,
        groups=message.groups,
        workers=message.workers,
        seconds={
            "wait": message.wait_seconds,
            "decode": message.decode_seconds,
            "plan": message.plan_seconds,
            "run": message.run_seconds,
            "encode": message.encode_seconds,
        },
        bytes={"placed": message.placed_bytes, **moved},
        peak_bytes=message.peak_bytes,
        flops=message.flops,
    )
