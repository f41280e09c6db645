"""`grad_fn` as users see it: thin objects over nodes of the trace, one class per name as in PyTorch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gradmesh._hooks import NodeHooks, RemovableHandle, node_hooks
from gradmesh._leaf import Edge, Leaf
from gradmesh._skeleton import Bone
from gradmesh._value import Bundle, Made, Value, source_of, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AutogradError

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

_CLASSES: Final[dict[str, type[Node]]] = {}

# What PyTorch's name() says of the nodes that no op leaves.
_NATIVE_NAMES: Final = {
    "AccumulateGrad": "torch::autograd::AccumulateGrad",
    "CopySlices": "torch::autograd::CopySlices",
}


# Arithmetic, whose operands of any dtype have a place among the next functions.
_COUNT_ALL: Final = frozenset("add atan2 div fmod hypot lerp maximum minimum mul pow remainder rsub sub xlogy".split())


class Node:
    """A node of the graph that backward runs through. Subclassed by name only: AddBackward0, MulBackward0, …"""

    __slots__ = ("__weakref__", "_made")

    def __init__(self, made: Any) -> None:
        self._made = made

    def name(self) -> str:
        """The class name: "AddBackward0"."""
        name = type(self).__name__
        return _NATIVE_NAMES.get(name, name)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each operand the node behind it and which of its results the operand is; (None, 0) without gradient."""
        made: Made = self._made
        bone = made.meta if isinstance(made, Value) else made
        if isinstance(bone, Bone):
            edges = bone.skeleton.behind(bone.index)
            op, specs = bone.skeleton.operands(bone.index)
            found = [(None if behind is None else _wrapped(behind, None), at) for behind, at in edges]
        else:
            inputs = made.inputs
            if isinstance(bone, CopySlices):
                inputs = bone.inputs
            op = "" if made.app is None or isinstance(bone, CopySlices) else made.app.op
            specs = [value.spec for value in inputs]
            found = [node_of(value) if value.requires_grad else (None, 0) for value in inputs]
        if op and op not in _COUNT_ALL:
            # Operands that could never take a gradient, as indices, have no place here.
            pairs = zip(found, specs, strict=True)
            found = [edge for edge, spec in pairs if dtypes.is_differentiable(spec.dtype)]
        return tuple(found)

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about the node: "source", the user's line that recorded it."""
        return {"source": source_of(self._made)}

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after the node ran; what it returns replaces grad_inputs."""
        return RemovableHandle.into(node_hooks(self._made).post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before the node runs; what it returns replaces grad_outputs."""
        return RemovableHandle.into(node_hooks(self._made).pre, hook)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self._made):#x}>"

    __str__ = __repr__


class AccumulateGrad(Node):
    """The end of a path: adds the gradient to a leaf's `.grad`. Final."""

    __slots__ = ("_value",)

    def __init__(self, made: Any, value: Value | None) -> None:
        super().__init__(made)
        self._value = value

    @property
    def variable(self) -> Tensor:
        """The leaf. Raises AutogradError when it and its graph are gone."""
        from gradmesh._tensor import Tensor

        leaf: Leaf = self._made
        tensor = leaf.tensor()
        if tensor is None:
            if self._value is None:
                raise AutogradError("the leaf was dropped, and its graph used up", source=user_line())
            tensor = Tensor(self._value)
            tensor._meta = leaf
            leaf.tensor = weakref.ref(tensor)
        return tensor

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Always empty."""
        return ()

    @property
    def metadata(self) -> dict[str, Any]:
        """Always empty."""
        return {}

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_inputs, grad_outputs)` after the gradient was accumulated."""
        return RemovableHandle.into(_leaf_hooks(self._made).post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(grad_outputs)` before the gradient is accumulated; what it returns replaces it."""
        return RemovableHandle.into(_leaf_hooks(self._made).pre, hook)


class CopySlices:
    """Marks the value of a storage one view of which was written to. Final.

    Attributes:
        inputs: the storage's content before, then what the write read besides it.
    """

    __slots__ = ("inputs",)

    def __init__(self, inputs: tuple[Value, ...]) -> None:
        self.inputs = inputs


def _leaf_hooks(leaf: Leaf) -> NodeHooks:
    if leaf.node_hooks is None:
        leaf.node_hooks = NodeHooks()
    hooks: NodeHooks = leaf.node_hooks
    return hooks


def grad_name(made: Made) -> str:
    """The class name of a node's `grad_fn`."""
    if isinstance(made, Value):
        if isinstance(made.meta, str):
            return made.meta
        if isinstance(made.meta, CopySlices):
            return "CopySlices"
    assert made.app is not None
    return made.app.grad_name


def _class(name: str, base: type[Node] = Node) -> type[Node]:
    cls = _CLASSES.get(name)
    if cls is None:
        cls = _CLASSES[name] = type(name, (base,), {"__slots__": (), "__module__": __name__})
    return cls


def edge_of(value: Value) -> tuple[Made | Leaf, int]:
    """The node that takes the gradient of a value which requires grad, and as which result's."""
    meta = value.meta
    if meta.__class__ is Leaf:
        return meta, 0
    if meta.__class__ is Edge:
        return meta.node, meta.index
    return (value.node, value.index) if value.node is not None else (value, 0)


def node_of(value: Value) -> tuple[Node, int]:
    """The object users see for the node behind a value that requires grad, and which result it is."""
    made, index = edge_of(value)
    return _wrapped(made, value), index


def value_at(node: Node, index: int) -> Value:
    """A value whose gradient takes the edge from a node's result."""
    made = node._made
    if isinstance(made, Leaf):
        value: Value = node.variable.value  # type: ignore[attr-defined]
        return value
    if isinstance(made, Bundle):
        return made.result(index)
    if isinstance(made, Value):
        return made
    spec = made.results[index]
    return Value(spec, requires_grad=True, meta=Edge(made, index))


def node_name(made: Made) -> str:
    """The class name of the object users see for a node."""
    return type(_wrapped(made, None)).__name__


def _wrapped(made: Made | Leaf, value: Value | None) -> Node:
    ref = made.view
    node: Node | None = None if ref is None else ref()
    if node is None:
        if isinstance(made, Leaf):
            node = AccumulateGrad(made, value)
        elif isinstance(made, Bone):
            node = _class(made.skeleton.name(made.index))(made)
        elif isinstance(made, Value | Bundle):
            node = _class(grad_name(made))(made)
        else:
            node = made.wrapper()  # type: ignore[attr-defined]
        made.view = weakref.ref(node)
    assert node is not None
    return node
