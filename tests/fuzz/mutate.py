"""Changes to cases: of single fields, of the structure of a graph, of bytes. Each is a function of a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from gradmesh import _codec
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh.v1 import graph_pb2, tensor_pb2
from gradmesh_engine import dtypes
from gradmesh_engine.ops import TABLE
from tests.fuzz.case import Call, Case, call, handle_of_earlier

DTYPES: Final = tuple(dtypes.BY_NAME)
OPS: Final = tuple(sorted(TABLE))
INTS: Final = (0, 1, -1, 2, -2, 3, 4, 5, 7, 8, 12, 13, 63, 64, 65, 255, 1000, 1 << 16, 1 << 20, 1 << 31, (1 << 31) - 1)
WIDE_INTS: Final = (*INTS, -(1 << 31), 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63))
FLOATS: Final = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-300,
    1e300,
    -1e300,
    3.5,
    1e10,
    float("inf"),
    -float("inf"),
    float("nan"),
)
WORDS: Final = (
    "", "mean", "sum", "none", "max", "min", "ij,jk->ik", "i,i->", "ii->i", "a,b->ab", "ab,cd->abcd", "->", ",",
    "i->ii", "...ij->ij", "reflect", "replicate", "constant", "floor", "trunc", "tanh", "left", "linear", "nearest",
    "circular", "ortho", "forward", "\0", "é", "x" * 70, *DTYPES,
)  # fmt: skip
SIZES: Final = (0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 31)
BIG_SIZES: Final = (*SIZES, 64, 1000, 1025, 1 << 16, 1 << 20, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, -1, -7)


def mutated(rng: Random, case: Case) -> Case:
    """A case with one to a few changes."""
    calls = list(case)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(calls))
        if len(calls) > 1 and rng.random() < 0.1:
            how = rng.randrange(3)
            if how == 0:
                del calls[at]
            elif how == 1:
                calls.insert(at, calls[rng.randrange(len(calls))])
            else:
                rng.shuffle(calls)
            continue
        calls[at] = _mutated_call(rng, calls[at])
    return tuple(calls)


def _mutated_call(rng: Random, c: Call) -> Call:
    if rng.random() < 0.04:
        return _bytes(rng, c)
    try:
        messages = c.decoded()
    except DecodeError:
        return _bytes(rng, c)
    if c.method == "Upload":
        return call(c.method, *_upload(rng, list(messages)))
    if c.method in ("Compute", "Explain"):
        request = messages[0]
        change(rng, request)
        if c.method == "Compute" and rng.random() < 0.02:
            asked = pb.ExplainRequest(of=request.of, wrt=request.wrt)
            if request.HasField("graph"):
                asked.graph.CopyFrom(request.graph)
            return call("Explain", asked)
        return call(c.method, request)
    message = messages[0]
    if c.method == "FindMissing":
        message.digests.append(_name(rng))
    else:
        setattr(message, rng.choice(("digest", "handle")), _name(rng))
    return call(c.method, message)


# --- bytes ----------------------------------------------------------------------------------------


def _bytes(rng: Random, c: Call) -> Call:
    messages = list(c.messages)
    if not messages:
        return c
    at = rng.randrange(len(messages))
    messages[at] = mangled(rng, messages[at])
    return Call(c.method, tuple(messages))


def mangled(rng: Random, content: bytes) -> bytes:
    """Bytes changed, inserted, doubled or left out, anywhere."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        how = rng.randrange(6)
        at = rng.randrange(len(data) + 1)
        if how == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how == 1 and data:
            data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif how == 3:
            del data[at : at + rng.randint(1, 16)]
        elif how == 4:
            data[at:at] = data[at : at + rng.randint(1, 64)]
        else:
            del data[at:]
    return bytes(data)


# --- uploads and names ----------------------------------------------------------------------------


def _name(rng: Random) -> bytes:
    how = rng.randrange(4)
    if how == 0:
        return rng.randbytes(rng.choice((0, 1, 15, 17, 64)))
    return rng.randbytes(16) if how == 1 else handle_of_earlier(rng.randrange(6))


def _upload(rng: Random, parts: list[Any]) -> list[Any]:
    at = rng.randrange(len(parts)) if parts else 0
    how = rng.randrange(8)
    if how == 0 and parts:
        del parts[at]
    elif how == 1 and parts:
        parts.insert(rng.randrange(len(parts)), parts[at])
    elif how == 2:
        parts.insert(at, blob_pb.UploadRequest(chunk=rng.randbytes(rng.choice((0, 1, 4, 100)))))
    elif how == 3:
        parts.insert(at, blob_pb.UploadRequest())
    elif how == 4 and parts and parts[at].WhichOneof("part") == "chunk":
        parts[at].chunk = mangled(rng, parts[at].chunk)
    elif parts and parts[0].WhichOneof("part") == "header":
        header = parts[0].header
        field = rng.randrange(4)
        if field == 0:
            header.length = rng.choice((0, 1, header.length + 1, max(header.length, 1) - 1, 1 << 40, (1 << 64) - 1))
        elif field == 1:
            header.digest = _name(rng)
        elif field == 2:
            header.content_addressed = not header.content_addressed
        else:
            change_spec(rng, header.spec)
            if rng.random() < 0.5:
                header.length = _nbytes(header.spec)
    return parts


def _nbytes(spec: Any) -> int:
    try:
        return min(_codec.decode_spec(spec).nbytes, (1 << 64) - 1)
    except Exception:
        return 0


# --- requests -------------------------------------------------------------------------------------


def change(rng: Random, request: Any) -> None:
    """One change to a ComputeRequest or ExplainRequest, and what often follows from it."""
    table = CHANGES if isinstance(request, pb.ComputeRequest) else GRAPH_CHANGES
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(table)(rng, request)
    # The results' specs are worked out by the server then: what is wrong deeper down is not hidden by them.
    if rng.random() < 0.7:
        for node in request.graph.nodes:
            node.ClearField("outputs")


def _node(rng: Random, request: Any) -> graph_pb2.Node | None:
    nodes = request.graph.nodes
    return rng.choice(nodes) if nodes else None


def value_number(rng: Random, request: Any) -> int:
    """The number of a value, often of one that exists."""
    count = len(request.graph.inputs) + len(request.graph.nodes)
    return rng.choice(
        (rng.randrange(count + 1), rng.randrange(count + 1), rng.randrange(count + 1), 0, 1 << 31, (1 << 32) - 1)
    )


def _op(rng: Random, request: Any) -> None:
    node = _node(rng, request)
    if node is not None:
        node.op = (
            rng.choice(OPS) if rng.random() < 0.95 else rng.choice(("", "tanhh", "__import__", "x" * 300, "mul\n"))
        )


def _operand(rng: Random, request: Any) -> None:
    node = _node(rng, request)
    if node is None:
        return
    how = rng.randrange(4)
    if how == 0 and node.inputs:
        node.inputs[rng.randrange(len(node.inputs))] = value_number(rng, request)
    elif how == 1 and node.inputs:
        del node.inputs[rng.randrange(len(node.inputs))]
    elif how == 2:
        node.inputs.append(value_number(rng, request))
    else:
        kept = list(node.inputs)
        rng.shuffle(kept)
        node.inputs[:] = kept


def attribute(rng: Random, value: Any = None) -> Any:
    """A value for an attribute, often near `value`."""
    kind = type(value)
    if value is None or rng.random() < 0.1:
        kind = rng.choice((bool, int, float, complex, str, tuple))
    if kind is bool:
        return not value
    if kind is int:
        return (
            int(value) + rng.choice((1, -1)) if isinstance(value, int) and rng.random() < 0.3 else rng.choice(WIDE_INTS)
        )
    if kind is float:
        return rng.choice(FLOATS) if rng.random() < 0.7 else rng.uniform(-10, 10)
    if kind is complex:
        return complex(rng.choice(FLOATS), rng.choice(FLOATS))
    if kind is str:
        return rng.choice(WORDS) if not isinstance(value, str) or rng.random() < 0.7 else _text(rng, value)
    items = list(value) if isinstance(value, tuple) else [rng.choice(INTS)]
    return _items(rng, items)


def _text(rng: Random, value: str) -> str:
    at = rng.randrange(len(value) + 1)
    return rng.choice((value[:at], value[at:], value * 2, value[:at] + rng.choice("ijz,->. é") + value[at:]))


def _items(rng: Random, items: list[Any]) -> tuple[Any, ...]:
    how = rng.randrange(7)
    at = rng.randrange(len(items)) if items else 0
    if how <= 2 and items:
        items[at] = attribute(rng, items[at]) if not isinstance(items[at], (bool, tuple)) else 0
    elif how == 3 and items:
        del items[at]
    elif how == 4:
        items.insert(at, items[at] if items else rng.choice(INTS))
    elif how == 5:
        rng.shuffle(items)
    else:
        items = (items or [1]) * rng.choice((2, 3, 33, 70))
    first = type(items[0]) if items else int
    same = tuple(item for item in items if type(item) is first)
    return same if first in (int, float, str) else ()


def _attr(rng: Random, request: Any) -> None:
    node = _node(rng, request)
    if node is None:
        return
    op = TABLE.get(node.op)
    names = sorted({*node.attrs, *(op.attrs if op is not None else ())})
    how = rng.random()
    name = rng.choice(names) if names and how < 0.97 else rng.choice(("dim", "x", "", "alpha=1 beta"))
    if how < 0.1 and name in node.attrs:
        del node.attrs[name]
        return
    set_attr(node, name, attribute(rng, _attr_of(node, name)))


def _attr_of(node: graph_pb2.Node, name: str) -> Any:
    if name in node.attrs and node.attrs[name].WhichOneof("value"):
        return _codec.decode_attr(node.attrs[name])
    op = TABLE.get(node.op)
    return _EXAMPLES.get(op.attrs[name].kind) if op is not None and name in op.attrs else None


_EXAMPLES: Final[dict[str, Any]] = {
    "bool": False, "int": 1, "float": 1.0, "number": 1.0, "str": "mean", "dtype": "float32",
    "ints": (1,), "floats": (1.0,), "strs": ("mean",),
}  # fmt: skip


def set_attr(node: graph_pb2.Node, name: str, value: Any) -> None:
    """Put an attribute into a node; what cannot be sent becomes one without a value."""
    try:
        node.attrs[name].CopyFrom(_codec.encode_attr(value))
    except Exception:
        node.attrs[name].Clear()


def change_spec(rng: Random, spec: Any) -> None:
    """Another dtype, or another dim; `spec` is a TensorSpec or a Tensor."""
    how = rng.randrange(6)
    at = rng.randrange(len(spec.shape)) if spec.shape else 0
    if how == 0:
        spec.dtype = (
            rng.choice(DTYPES) if rng.random() < 0.9 else rng.choice(("", "float31", "object", "<f4", "O", "V8"))
        )
    elif how <= 2 and spec.shape:
        spec.shape[at] = rng.choice(SIZES if how == 1 else BIG_SIZES)
    elif how == 3:
        spec.shape.insert(at, rng.choice(SIZES))
    elif how == 4 and spec.shape:
        del spec.shape[at]
    else:
        spec.shape.extend([1] * rng.choice((1, 2, 11, 33, 65)))


def _input_and_data(rng: Random, request: Any) -> None:
    """An input of another spec, with content that fits."""
    if not request.graph.inputs:
        return
    at = rng.randrange(len(request.graph.inputs))
    change_spec(rng, request.graph.inputs[at])
    if isinstance(request, pb.ComputeRequest) and at < len(request.inputs):
        fill(rng, request.inputs[at], request.graph.inputs[at])


def fill(rng: Random, tensor: tensor_pb2.Tensor, spec: Any) -> None:
    """Content for a spec, if it is one of reasonable size."""
    tensor.dtype = spec.dtype
    tensor.shape[:] = spec.shape
    nbytes = _nbytes(spec)
    if nbytes > 1 << 16 or spec.dtype not in dtypes.BY_NAME:
        return
    dtype = dtypes.parse(spec.dtype)
    count = nbytes // dtype.itemsize
    how = rng.randrange(5)
    if how == 0:
        tensor.data = bytes(nbytes)
    elif how == 1 and dtype != dtypes.bool_:
        tensor.data = b"\xff" * nbytes
    elif how == 2 and dtype.kind not in "iub":
        few = np.array([rng.choice(FLOATS) for _ in range(min(count, 7))] or [0.0])
        with np.errstate(all="ignore"):
            tensor.data = np.resize(few, count).astype(dtype).tobytes()
    else:
        values = np.random.default_rng(rng.getrandbits(32)).integers(0, 2 if dtype == dtypes.bool_ else 5, count)
        tensor.data = values.astype(dtype).tobytes()


def _input_spec(rng: Random, request: Any) -> None:
    if request.graph.inputs:
        change_spec(rng, rng.choice(request.graph.inputs))


def _output_spec(rng: Random, request: Any) -> None:
    node = _node(rng, request)
    if node is not None:
        if node.outputs and rng.random() < 0.8:
            change_spec(rng, rng.choice(node.outputs))
        else:
            node.outputs.add(dtype=rng.choice(DTYPES), shape=[rng.choice(SIZES)])


def _tensor(rng: Random, request: Any) -> None:
    tensors = [*request.inputs, *(of.cotangent for of in request.of if of.HasField("cotangent"))]
    if not tensors:
        request.inputs.add()
        return
    tensor = rng.choice(tensors)
    how = rng.randrange(8)
    if how == 0:
        tensor.data = tensor.data[:-1]
    elif how == 1:
        tensor.data += b"\0"
    elif how == 2:
        tensor.data = b"\xff" * len(tensor.data)
    elif how == 3:
        setattr(tensor, rng.choice(("digest", "handle")), _name(rng))
    elif how == 4:
        tensor.ClearField("data")
    elif how == 5:
        tensor.CopyFrom(rng.choice(tensors))
    elif how == 6:
        fill(rng, tensor, tensor)
    else:
        change_spec(rng, tensor)


def _inputs(rng: Random, request: Any) -> None:
    if request.inputs and rng.random() < 0.5:
        del request.inputs[rng.randrange(len(request.inputs))]
    elif request.inputs:
        request.inputs.add().CopyFrom(rng.choice(request.inputs))


def _asked(rng: Random, request: Any) -> None:
    """What is differentiated, and by what."""
    how = rng.randrange(6)
    if how == 0:
        request.of.add(value=value_number(rng, request))
    elif how == 1 and request.of:
        request.of.add().CopyFrom(rng.choice(request.of))
    elif how == 2 and request.of:
        of = rng.choice(request.of)
        if of.HasField("cotangent"):
            of.ClearField("cotangent")
        else:
            fill(rng, of.cotangent, tensor_pb2.TensorSpec(dtype=rng.choice(DTYPES), shape=[rng.choice(SIZES)]))
    elif how == 3:
        request.wrt.extend([value_number(rng, request)] * rng.choice((1, 1, 1, 2, 50)))
    elif how == 4 and request.wrt:
        request.wrt[rng.randrange(len(request.wrt))] = value_number(rng, request)
    elif request.of:
        request.of[rng.randrange(len(request.of))].value = value_number(rng, request)


def _outputs(rng: Random, request: Any) -> None:
    how = rng.randrange(3)
    if how == 0:
        request.graph.ClearField("outputs")
    else:
        request.graph.outputs.extend([value_number(rng, request)] * rng.choice((1, 1, 2, 60)))


def _nodes(rng: Random, request: Any) -> None:
    """Nodes left out, doubled, exchanged: what follows is numbered wrongly then."""
    nodes = request.graph.nodes
    if not nodes:
        return
    how = rng.randrange(4)
    a, b = rng.randrange(len(nodes)), rng.randrange(len(nodes))
    if how == 0:
        del nodes[a]
    elif how == 1:
        nodes.add().CopyFrom(nodes[a])
    elif how == 2:
        kept = graph_pb2.Node()
        kept.CopyFrom(nodes[a])
        nodes[a].CopyFrom(nodes[b])
        nodes[b].CopyFrom(kept)
    else:
        _append(rng, request)


def _append(rng: Random, request: Any) -> None:
    """Another op on the values there are."""
    node = request.graph.nodes.add(op=rng.choice(OPS))
    least, most = arity(node.op)
    for _ in range(rng.randint(least, max(least, min(most, least + 2)))):
        node.inputs.append(value_number(rng, request))
    for name, declared in TABLE[node.op].attrs.items():
        if rng.random() < 0.7:
            set_attr(node, name, attribute(rng, _EXAMPLES[declared.kind]))


def arity(op: str) -> tuple[int, int]:
    """Least and greatest number of operands, of an op that takes any at most five."""
    declared = TABLE[op].arity
    least, most = (declared, declared) if isinstance(declared, int) else declared
    return least, 5 if most < 0 else most


def _odds(rng: Random, request: Any) -> None:
    how = rng.randrange(4)
    if how == 0:
        request.graph_digest = _name(rng)
    elif how == 1 and request.graph.nodes:
        rng.choice(request.graph.nodes).source = rng.choice(("", "a.py:1", "é\n" * 200, "x" * 3000))
    elif how == 2 and isinstance(request, pb.ComputeRequest):
        request.inline_result_bytes = rng.choice((0, 1, 7, 1 << 20, (1 << 64) - 1))
    elif isinstance(request, pb.ComputeRequest):
        request.want_grad_fns = not request.want_grad_fns


_Change = Callable[[Random, Any], None]
GRAPH_CHANGES: Final[Sequence[_Change]] = (
    _op, _operand, _operand, _attr, _attr, _attr, _attr, _input_and_data, _input_and_data, _input_spec, _output_spec,
    _asked, _asked, _outputs, _nodes, _nodes, _odds,
)  # fmt: skip
CHANGES: Final[Sequence[_Change]] = (*GRAPH_CHANGES, _tensor, _tensor, _inputs)
