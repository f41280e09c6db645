"""Differentiation on the client: op by op, calling hooks and custom Functions, recording what the engine derives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from gradmesh import _tensor
from gradmesh._body import Captured
from gradmesh._explore import Exploration, results_of
from gradmesh._grad_fn import edge_of, node_name
from gradmesh._leaf import Leaf
from gradmesh._modes import STATE
from gradmesh._value import Made, Value, application, emit, known, source_of, user_line
from gradmesh_engine.builder import V
from gradmesh_engine.differentiate import pullback, replay
from gradmesh_engine.errors import AttributeTypeError, AutogradError
from gradmesh_engine.graph import AttrValue
from gradmesh_engine.ops import Op

# --- replaying the engine's derivatives into the trace ----------------------------------------------


class _Handle(V):
    """A handle on a recorded value. Final."""

    __slots__ = ("value",)

    def __init__(self, emitter: TraceEmitter, value: Value) -> None:
        super().__init__(emitter, 0, value.spec)
        self.value = value


class TraceEmitter:
    """Records what is emitted as ops of the trace. Final."""

    def handle(self, value: Value) -> V:
        """The handle on a value."""
        return _Handle(self, value)

    def emit(self, op: Op, operands: Sequence[V], attrs: Mapping[str, AttrValue]) -> tuple[V, ...]:
        """Record one application; see Emitter."""
        values = tuple([operand.value for operand in operands if isinstance(operand, _Handle)])
        result = emit(op.name, values, attrs)
        if isinstance(result, Value):
            if op.name in _IDENTITIES and result.spec is values[0].spec:
                return (operands[0],)
            return (_Handle(self, result),)
        return tuple([_Handle(self, value) for value in result])


_EMITTER = TraceEmitter()

# Primitives that do nothing when their result has their operand's spec.
_IDENTITIES: Final = frozenset({"convert", "expand", "reshape"})


def _pull(made: Made, cotangents: Sequence[Value | None], needs: tuple[bool, ...]) -> list[Value | None]:
    """The cotangents of an op's operands."""
    app = made.app
    assert app is not None
    if isinstance(app, Captured):
        return _pull_captured(app, made, cotangents, needs)
    given = tuple([c is not None for c in cotangents])
    found = pullback(app.declared, app.ins, app.attrs, needs, given)
    values = [*made.inputs, *results_of(made), *[c for c in cotangents if c is not None]]
    if made.hooks is not None:
        for index, packed in made.hooks.packed.items():
            values[index] = packed.value()
    handles = replay(found.graph, [_EMITTER.handle(value) for value in values], _EMITTER)
    made_ones = iter([handle.value for handle in handles if isinstance(handle, _Handle)])
    return [next(made_ones) if connected else None for connected in found.connected]


def _pull_captured(
    app: Captured, made: Made, cotangents: Sequence[Value | None], needs: tuple[bool, ...]
) -> list[Value | None]:
    """The cotangents of the inputs of a recorded function: through its ops, recorded anew."""
    create_graph, STATE.grad = STATE.grad, True
    segment, STATE.segment = STATE.segment, 0
    try:
        inputs = [
            Value(value.spec, None, application("alias", (value.spec,), {}), (value,), True) if need else value
            for value, need in zip(made.inputs, needs, strict=True)
        ]
        results = app.body(True).recorded(inputs)
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if c is not None and r.requires_grad]
        marks = [value for value, need in zip(inputs, needs, strict=True) if need]
        exploration = Exploration([result for result, _ in pairs])
        exploration.restrict(marks)
        STATE.grad = create_graph
        pulled = iter(_pass([r for r, _ in pairs], [c for _, c in pairs], exploration, marks, create_graph))
    finally:
        STATE.grad, STATE.segment = create_graph, segment
    return [next(pulled) if need else None for need in needs]


# --- the pass ---------------------------------------------------------------------------------------


def differentiate(
    roots: Sequence[Value],
    seeds: Sequence[Value | None],
    exploration: Exploration,
    wrt: Sequence[Value],
    create_graph: bool,
) -> list[Value | None]:
    """The gradient of each of `wrt`, recorded and not evaluated; with a history of its own if `create_graph`.

    Hooks and custom Functions on the way are called. Hooks of leaves are left to the accumulation.
    """
    grad, STATE.grad = STATE.grad, create_graph
    try:
        return _pass(roots, seeds, exploration, wrt, create_graph)
    finally:
        STATE.grad = grad


def _pass(
    roots: Sequence[Value],
    seeds: Sequence[Value | None],
    exploration: Exploration,
    wrt: Sequence[Value],
    create_graph: bool,
) -> list[Value | None]:
    arrived: dict[tuple[Made | Leaf, int], Value] = {}

    def arrive(value: Value, cotangent: Value) -> None:
        key = edge_of(value)
        have = arrived.get(key)
        if have is not None:
            total = emit("add", (have, cotangent), {})
            assert isinstance(total, Value)
            cotangent = total
        arrived[key] = cotangent

    for root, seed in zip(roots, seeds, strict=True):
        arrive(root, known(np.ones(root.spec.shape, root.spec.dtype)) if seed is None else seed)
    captured: dict[tuple[Made | Leaf, int], Value] = {}
    wanted = {edge_of(value) for value in wrt}
    keep = set(exploration.nodes)
    for made in _order(roots, keep):
        count = 1 if isinstance(made, Value) else len(made.results)  # type: ignore[attr-defined]
        cotangents = [arrived.pop((made, index), None) for index in range(count)]
        if all(c is None for c in cotangents):
            continue
        hooks = made.hooks
        if hooks is not None:
            cotangents = _before(made, cotangents, create_graph, exploration)
        for index, cotangent in enumerate(cotangents):
            if (made, index) in wanted and cotangent is not None:
                captured[made, index] = cotangent
        if made not in keep:
            continue
        if hooks is not None and hooks.pre:
            for hook in list(hooks.pre.values()):
                changed = hook(tuple(map(_wrapped, cotangents)))
                if changed is not None:
                    cotangents = _unwrapped(changed)
        needs = tuple([value is not None and value.requires_grad for value in made.inputs])
        segment, STATE.segment = STATE.segment, -abs(made.segment)
        try:
            if made.app is None:
                pulled = made.pull(cotangents, create_graph)  # type: ignore[attr-defined]
            else:
                pulled = _pull(made, cotangents, needs)
        finally:
            STATE.segment = segment
        if STATE.anomaly and not STATE.traces:
            _refuse_nan(made, pulled)
        if hooks is not None and hooks.post:
            outputs = tuple(map(_wrapped, cotangents))
            for hook in list(hooks.post.values()):
                changed = hook(tuple(map(_wrapped, pulled)), outputs)
                if changed is not None:
                    pulled = _unwrapped(changed)
        for value, need, cotangent in zip(made.inputs, needs, pulled, strict=True):
            if need and cotangent is not None:
                arrive(value, cotangent)
    for key, cotangent in arrived.items():
        if isinstance(key[0], Leaf) and key in wanted:
            captured[key] = _leaf_hooks(key[0], cotangent)
    return [captured.get(edge_of(value)) for value in wrt]


def _refuse_nan(made: Made, pulled: Sequence[Value | None]) -> None:
    """Compute what a node gives, and raise AutogradError at the line that recorded it if there is NaN in it."""
    for index, value in enumerate(pulled):
        if value is not None and bool(np.isnan(_tensor.Tensor(value)._content()).any()):
            raise AutogradError(
                f"Function '{node_name(made)}' returned nan values in its {index}th output.",
                source=source_of(made),
                remedy="look at the operands of that line",
            )


def _order(roots: Sequence[Value], keep: set[Made]) -> list[Made]:
    """The nodes behind `roots`, each after all that use its results."""
    done: set[Made] = set()
    post: list[Made] = []
    for root in roots:
        if root.meta.__class__ is Leaf:
            continue
        stack: list[tuple[Made, bool]] = [(_node(root), False)]
        while stack:
            made, behind = stack.pop()
            if behind:
                post.append(made)
                continue
            if made in done:
                continue
            done.add(made)
            stack.append((made, True))
            if made not in keep:
                continue
            for value in made.inputs:
                if value is not None and value.requires_grad and value.meta.__class__ is not Leaf:
                    node = _node(value)
                    if node not in done:
                        stack.append((node, False))
    post.reverse()
    return post


def _node(value: Value) -> Made:
    node = edge_of(value)[0]
    assert isinstance(node, Made)
    return node


def _before(
    made: Made, cotangents: list[Value | None], create_graph: bool, exploration: Exploration
) -> list[Value | None]:
    """Run the hooks of the tensors that are results of a node, and keep the gradients they retain."""
    hooks = made.hooks
    for index, attached in hooks.tensor.items():
        cotangent = cotangents[index]
        if cotangent is not None:
            cotangents[index] = run_hooks(attached, cotangent, create_graph, exploration)
    for index, ref in hooks.retain.items():
        tensor, cotangent = ref(), cotangents[index]
        if tensor is not None and cotangent is not None:
            leaf = tensor._leaf()
            if leaf.grad is not None:
                total = emit("add", (leaf.grad.value, cotangent), {})
                assert isinstance(total, Value)
                cotangent = total
            leaf.grad = _tensor.Tensor(cotangent)
    return cotangents


def run_hooks(
    hooks: Mapping[int, Callable[[Any], Any]], cotangent: Value, create_graph: bool, exploration: Exploration
) -> Value:
    """Call tensor hooks with a gradient; the gradient after what they returned."""
    grad, STATE.grad = STATE.grad, create_graph
    passing, STATE.passing = STATE.passing, exploration
    try:
        for hook in list(hooks.values()):
            changed = hook(_tensor.Tensor(cotangent))
            if changed is None:
                continue
            if not isinstance(changed, _tensor.Tensor):
                raise AttributeTypeError(
                    f"expected Tensor, but hook returned '{type(changed).__name__}'",
                    expected="Tensor or None",
                    got=type(changed).__name__,
                    source=user_line(),
                )
            if changed.spec.shape != cotangent.spec.shape:
                raise AutogradError(
                    f"hook '{getattr(hook, '__name__', '<unknown>')}' has changed the size of value",
                    expected=str(cotangent.spec),
                    got=str(changed.spec),
                    source=user_line(),
                )
            cotangent = changed.value
    finally:
        STATE.grad, STATE.passing = grad, passing
    return cotangent


def _leaf_hooks(leaf: Leaf, cotangent: Value) -> Value:
    hooks = leaf.node_hooks
    if hooks is not None:
        for hook in list(hooks.pre.values()):
            changed = hook((_wrapped(cotangent),))
            if changed is not None:
                replaced = _unwrapped(changed)[0]
                assert replaced is not None
                cotangent = replaced
        for hook in list(hooks.post.values()):
            hook((), (_wrapped(cotangent),))
    return cotangent


def _wrapped(value: Value | None) -> Any:
    return None if value is None else _tensor.Tensor(value)


def _unwrapped(tensors: Any) -> list[Value | None]:
    given = [tensors] if isinstance(tensors, _tensor.Tensor) else list(tensors)
    return [None if tensor is None else tensor.value for tensor in given]
