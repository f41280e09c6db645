"""What is a legal graph: a table of rules, run wherever a graph crosses a border."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gradmesh_engine.dtypes import BY_NAME
from gradmesh_engine.errors import (
    CycleError,
    GradmeshError,
    InvalidGraphError,
    MissingInputError,
    ShapeError,
    UnknownDTypeError,
)
from gradmesh_engine.graph import Graph, Node, TensorSpec
from gradmesh_engine.ops import lookup
from gradmesh_engine.ops.base import check_shape


def check_spec(spec: TensorSpec) -> None:
    """Raises ShapeError or UnknownDTypeError."""
    check_shape(spec.shape)
    if spec.dtype.name not in BY_NAME:
        raise UnknownDTypeError("unknown dtype", expected=", ".join(BY_NAME), got=str(spec.dtype))


def _known_op(graph: Graph, index: int, node: Node) -> None:
    lookup(node.op)


def _arity(graph: Graph, index: int, node: Node) -> None:
    lookup(node.op).check_arity(len(node.inputs))


def _attributes(graph: Graph, index: int, node: Node) -> None:
    bound = lookup(node.op).bind(dict(node.attrs))
    if tuple(sorted(bound.items())) != node.attrs:
        raise InvalidGraphError(
            "attributes are not in canonical form",
            expected=str(tuple(sorted(bound.items()))),
            got=str(node.attrs),
            remedy="sort them by name, once each, defaults filled in",
        )


def _order(graph: Graph, index: int, node: Node) -> None:
    own = graph.first_values[index]
    for i in node.inputs:
        if i < 0 or i >= len(graph.specs):
            raise MissingInputError(
                f"operand {i} is not a value of the graph", expected=f"0 to {own - 1}", got=str(i), remedy="add it"
            )
        if i >= own:
            raise CycleError(
                f"operand {i} is made by this node or a later one",
                expected=f"a value below {own}",
                got=str(i),
                remedy="order the nodes so that each uses earlier values only",
            )


def _specs(graph: Graph, index: int, node: Node) -> None:
    specs = graph.specs
    inferred = lookup(node.op).infer(tuple(specs[i] for i in node.inputs), dict(node.attrs))
    if inferred != node.outputs:
        raise ShapeError(
            "declared outputs are not what the op gives",
            expected=", ".join(map(str, inferred)),
            got=", ".join(map(str, node.outputs)) or "nothing",
            remedy="declare what the op's rule gives",
        )


RULES: Final[tuple[Callable[[Graph, int, Node], None], ...]] = (_known_op, _arity, _attributes, _order, _specs)
"""Later rules rely on earlier ones."""


def check(graph: Graph) -> None:
    """Raises the InvalidGraphError or InvalidRequestError of the first broken rule, placed at its node."""
    for number, spec in enumerate(graph.inputs):
        try:
            check_spec(spec)
        except GradmeshError as error:
            error.message = f"input {number}: {error.message}"
            raise
    for index, node in enumerate(graph.nodes):
        try:
            for rule in RULES:
                rule(graph, index, node)
        except GradmeshError as error:
            raise error.at(op=node.op, node=index, source=graph.source(index)) from None
    count = len(graph.specs)
    for value in graph.outputs:
        if not 0 <= value < count:
            raise MissingInputError(
                f"output {value} is not a value of the graph", expected=f"0 to {count - 1}", got=str(value)
            )
