"""The graph: frozen, functional SSA at global shapes, named by the digest of its content.

Values are numbered: the graph's inputs first, then the outputs of each node in order. A node may
only use values with a smaller number than its own, so a graph in this form has no cycle.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np

from gradmesh_engine.dtypes import NAMES, OWN

AttrValue: TypeAlias = "bool | int | float | complex | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]"
Attrs: TypeAlias = "tuple[tuple[str, AttrValue], ...]"
Shape: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of a value; all that is known of it before it is computed."""

    shape: Shape
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the dense value."""
        return self.size * self.dtype.itemsize

    def __hash__(self) -> int:
        return hash(self.shape)  # Hashing a dtype takes as long again; few shapes come with several.

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


@lru_cache(maxsize=4096)
def known(spec: TensorSpec) -> TensorSpec:
    """The object that stands for all equal specs, with NumPy's own dtype: comparing it with itself takes no time."""
    own = OWN.get(spec.dtype, spec.dtype)
    return spec if spec.dtype is own else TensorSpec(spec.shape, own)


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an op.

    Attributes:
        op: name in the op table.
        inputs: value numbers of the operands.
        attrs: static attributes, sorted by name, defaults filled in.
        outputs: one spec per output.
        origin: index of the node of the user's graph this one came from (itself in that graph).
        segment: number of the segment it is in, minus that for its derivatives, 0 for none; see Query.segments.
    """

    op: str
    inputs: tuple[int, ...]
    attrs: Attrs
    outputs: tuple[TensorSpec, ...]
    origin: int = field(default=-1, compare=False)
    segment: int = field(default=0, compare=False)

    def attr(self, name: str) -> AttrValue:
        """The attribute called `name`. Raises KeyError."""
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(name)


@dataclass(frozen=True)
class Graph:
    """A computation: `outputs` are the value numbers it is asked for.

    `sources` holds the user's line of each node ("file.py:12"), or is empty; it is not part of the
    digest, so the same computation written elsewhere is the same graph.
    """

    inputs: tuple[TensorSpec, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    sources: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The spec of every value, by number."""
        specs = list(self.inputs)
        for node in self.nodes:
            specs.extend(node.outputs)
        return tuple(specs)

    @cached_property
    def nbytes(self) -> tuple[int, ...]:
        """The bytes of every dense value, by number."""
        return tuple([spec.nbytes for spec in self.specs])

    @cached_property
    def first_values(self) -> tuple[int, ...]:
        """The number of each node's first output."""
        firsts = []
        number = len(self.inputs)
        for node in self.nodes:
            firsts.append(number)
            number += len(node.outputs)
        return tuple(firsts)

    @cached_property
    def producers(self) -> tuple[int, ...]:
        """For every value the index of the node that makes it; -1 for inputs."""
        producers = [-1] * len(self.inputs)
        for index, node in enumerate(self.nodes):
            producers.extend([index] * len(node.outputs))
        return tuple(producers)

    def source(self, node: int) -> str:
        """The user's line of a node, "" when unknown."""
        return self.sources[node] if 0 <= node < len(self.sources) else ""

    @cached_property
    def digest(self) -> bytes:
        """16 bytes naming structure, attributes, shapes and dtypes; never values or source lines."""
        return digest_of_graph(self)


def attrs_of(values: Mapping[str, AttrValue]) -> Attrs:
    """The canonical form of keyword attributes."""
    return tuple(sorted(values.items()))


def exact(attrs: Attrs) -> tuple[object, ...]:
    """Tells apart what Python takes for equal: 1, 1.0, True and 1+0j, and 0.0 and -0.0.

    Goes into every key beside the attributes themselves.
    """
    return tuple([_exact(value) for _, value in attrs if value.__class__ not in _EXACT]) if attrs else ()


_EXACT = (str, bool)


def _exact(value: AttrValue) -> object:
    kind = value.__class__
    if isinstance(value, tuple):
        return tuple(map(_exact, value)) if value and value[0].__class__ is float else None
    # Of a zero the sign, of a complex number those of both parts.
    return kind if kind is int or (value and kind is float) else (kind, repr(value))


DIGEST_BYTES = 16


def digest_of_graph(graph: Graph) -> bytes:
    """BLAKE2b over the canonical encoding of `graph` (see `encode_canonical`)."""
    return hashlib.blake2b(encode_canonical(graph), digest_size=DIGEST_BYTES).digest()


def digest_of_array(array: np.ndarray) -> bytes:
    """BLAKE2b over dtype, shape and little-endian C-order bytes: the name of a tensor's content."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    hasher.update(encode_spec(TensorSpec(array.shape, array.dtype)))
    hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hasher.digest()


def encode_spec(spec: TensorSpec) -> bytes:
    """The dtype's name, ":", rank and dims: the head of what a tensor's digest is made over."""
    return f"{spec.dtype.name}:{','.join(map(str, spec.shape))};".encode()


def _encode_attr(value: AttrValue) -> str:
    if isinstance(value, bool):
        return f"b{int(value)}"
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return "f" + struct.pack("<d", value).hex()
    if isinstance(value, complex):
        return "c" + struct.pack("<dd", value.real, value.imag).hex()
    if isinstance(value, str):
        return f"s{len(value)}:{value}"
    return f"t{len(value)}(" + ",".join(map(_encode_attr, value)) + ")"


def encode_canonical(graph: Graph) -> bytes:
    """Our own byte encoding of a graph, stable across versions of any serialisation library.

    Line by line: the version, each input's spec, each node as
    `op|inputs|name=attr …|output specs`, and the outputs.
    """
    lines = ["gradmesh-graph-1"]
    lines += [_spec_text(spec) for spec in graph.inputs]
    for node in graph.nodes:
        inputs = ",".join(map(str, node.inputs))
        attrs = " ".join([f"{name}={_encode_attr(value)}" for name, value in node.attrs])
        outputs = " ".join([_spec_text(spec) for spec in node.outputs])
        lines.append(f"{node.op}|{inputs}|{attrs}|{outputs}")
    lines.append("out " + ",".join(map(str, graph.outputs)))
    return "\n".join(lines).encode()


def _spec_text(spec: TensorSpec) -> str:
    return f"{NAMES[spec.dtype]}:{','.join(map(str, spec.shape))}"
