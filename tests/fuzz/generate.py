"""Requests made from the op table: graphs of several ops that are legal or nearly so, and what is asked of them."""

from __future__ import annotations

from random import Random
from typing import Final

import numpy as np
from hypothesis import strategies as st

from gradmesh import _codec
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine import dtypes
from gradmesh_engine.budget import Budget, spending
from gradmesh_engine.graph import Graph, Node, TensorSpec, attrs_of
from gradmesh_engine.ops import lookup
from tests.fuzz.case import Case, call, handle_of_earlier
from tests.fuzz.corpus import Template, request_for, templates, upload_of
from tests.fuzz.mutate import DTYPES, SIZES, attribute, change, mutated, set_attr, value_number

MOST_NODES: Final = 7
_MOST_ELEMENTS: Final = 1 << 14


class _Growing:
    """A legal graph under construction, with the content of its inputs."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.nodes: list[tuple[str, tuple[int, ...], dict[str, object]]] = []
        self.inputs: list[np.ndarray] = []
        self.made: list[TensorSpec] = []  # by nodes
        self.refused: tuple[str, tuple[int, ...], dict[str, object]] | None = None
        # Inputs are numbered from the end until the graph is whole: -1 is the first.

    def _spec(self, value: int) -> TensorSpec:
        if value < 0:
            array = self.inputs[-1 - value]
            return TensorSpec(array.shape, array.dtype)
        return self.made[value]

    def operand(self, like: np.ndarray) -> int:
        """A value of the shape and dtype of `like`: one that is there, or a new input."""
        values = [*range(len(self.made)), *range(-1, -1 - len(self.inputs), -1)]
        fitting = [v for v in values if self._spec(v) == TensorSpec(like.shape, like.dtype)]
        if fitting and self.rng.random() < 0.8:
            return self.rng.choice(fitting)
        self.inputs.append(like)
        return -len(self.inputs)

    def any_operand(self) -> int | None:
        count = len(self.made) + len(self.inputs)
        return self.rng.randrange(-len(self.inputs), len(self.made)) if count else None

    def grow(self, template: Template) -> None:
        """Apply a template's op, sometimes to something else, if that is legal."""
        rng = self.rng
        attrs = dict(template.attrs)
        if attrs and rng.random() < 0.35:
            name = rng.choice(sorted(attrs))
            attrs[name] = attribute(rng, attrs[name])
        operands = [self.operand(array) for array in template.arrays]
        if operands and rng.random() < 0.5:
            other = self.any_operand()
            if other is not None:
                operands[rng.randrange(len(operands))] = other
        op = lookup(template.op)
        try:
            bound = op.bind(attrs)
            with spending(Budget(2000)):
                specs = op.infer(tuple(self._spec(v) for v in operands), bound)
        except Exception:  # Whether it is a GradmeshError is for the target to find out.
            self.refused = (template.op, tuple(operands), attrs)
            return
        if any(spec.size > _MOST_ELEMENTS or spec.ndim > 12 for spec in specs):
            return
        self.nodes.append((template.op, tuple(operands), dict(bound)))
        self.made.extend(specs)

    def number(self, value: int) -> int:
        """The number of a value in the whole graph."""
        return -1 - value if value < 0 else len(self.inputs) + value

    def graph(self) -> Graph:
        nodes = []
        made = iter(self.made)
        for index, (op, operands, attrs) in enumerate(self.nodes):
            specs = tuple(self._outputs(op, operands, attrs, made))
            bound = attrs_of(attrs)  # type: ignore[arg-type]
            nodes.append(Node(op, tuple(map(self.number, operands)), bound, specs, index))
        total = len(self.inputs) + len(self.made)
        rng = self.rng
        outputs = [rng.randrange(total) for _ in range(rng.randrange(3))] if total else []
        if self.made:
            outputs.append(total - 1)
        specs = tuple(TensorSpec(a.shape, a.dtype) for a in self.inputs)
        return Graph(specs, tuple(nodes), tuple(outputs), tuple(f"model.py:{i}" for i in range(len(nodes))))

    def _outputs(self, op: str, operands: tuple[int, ...], attrs: object, made: object) -> list[TensorSpec]:
        count = len(lookup(op).infer(tuple(self._spec(v) for v in operands), attrs))  # type: ignore[arg-type]
        return [next(made) for _ in range(count)]  # type: ignore[call-overload]


def legal(rng: Random) -> pb.ComputeRequest:
    """A request that is legal as far as can be told before it is planned, but for its last node now and then."""
    growing = _Growing(rng)
    for _ in range(rng.randint(1, MOST_NODES)):
        growing.grow(rng.choice(templates()))
    graph = growing.graph()
    message = request_for(graph, growing.inputs)
    differentiable = [v for v, spec in enumerate(graph.specs) if dtypes.is_differentiable(spec.dtype)]
    if differentiable and rng.random() < 0.8:
        late = differentiable[-3:]
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            value = rng.choice(late)
            spec = graph.specs[value]
            of = message.of.add(value=value)
            if spec.size != 1 or rng.random() < 0.5:
                content = np.random.default_rng(rng.getrandbits(32)).integers(-2, 3, spec.shape).astype(spec.dtype)
                of.cotangent.CopyFrom(_codec.encode_array(content))
        message.wrt.extend(rng.choice(differentiable) for _ in range(rng.randint(1, 4)))
    if growing.refused is not None and rng.random() < 0.5:
        op, operands, attrs = growing.refused
        node = message.graph.nodes.add(op=op, inputs=[growing.number(v) for v in operands])
        for name, value in attrs.items():
            set_attr(node, name, value)
    message.want_grad_fns = rng.random() < 0.3
    if rng.random() < 0.1:
        message.inline_result_bytes = rng.choice((1, 64, 1 << 12))
    return message


def generated(rng: Random) -> Case:
    """A case: mostly one request, which is legal, or has one to a few faults."""
    kind = rng.random()
    if kind < 0.06:
        return _about_blobs(rng)
    message = legal(rng)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        change(rng, message)
    if kind < 0.12:
        asked = pb.ExplainRequest(of=message.of, wrt=message.wrt)
        asked.graph.CopyFrom(message.graph)
        return (call("Explain", asked),)
    return (call("Compute", message),)


def _about_blobs(rng: Random) -> Case:
    shape = tuple(rng.choice(SIZES) for _ in range(rng.randrange(4)))
    dtype = dtypes.parse(rng.choice(DTYPES))
    array = np.random.default_rng(rng.getrandbits(32)).integers(0, 2, shape).astype(dtype)
    by_digest = rng.random() < 0.5
    upload = upload_of(array, digest=by_digest)
    digests = [rng.randbytes(rng.choice((16, 16, 16, 3))) for _ in range(rng.randrange(5))]
    asked = blob_pb.DownloadRequest(handle=handle_of_earlier(value_number(rng, pb.ComputeRequest()) % 2))
    case: Case = (
        upload,
        call("FindMissing", blob_pb.FindMissingRequest(digests=digests)),
        call("Download", asked),
    )
    return mutated(rng, case) if rng.random() < 0.6 else case


CASES: Final = st.builds(generated, st.randoms(use_true_random=False))
"""The same for hypothesis, which shrinks what fails."""
