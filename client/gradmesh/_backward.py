"""Backward: gradients by one request to the session, or, where user code is to be called, by the client itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmesh import _ahead, _client_backward, _tensor, _views
from gradmesh._evaluate import TURN, Asking, Issue, StateFailure, evaluating, requesting
from gradmesh._explore import Exploration, Remains
from gradmesh._gather import Gathering
from gradmesh._grad_fn import value_at
from gradmesh._leaf import Leaf
from gradmesh._modes import STATE
from gradmesh._state import EVERYTHING, Along, is_kept
from gradmesh._value import Made, Value, emit, known, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import (
    AttributeTypeError,
    AutogradError,
    InvalidRequestError,
    LimitError,
    NotDifferentiableError,
    ShapeError,
)
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Query, Result

if TYPE_CHECKING:
    from gradmesh._tensor import Tensor

# A differentiated value up to this size comes back with its gradients, so that printing it is free.
_KEPT_BYTES = 1 << 16


def backward(
    tensors: Sequence[Tensor],
    cotangents: Sequence[Tensor | None] | None,
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Any,
    along: Along = EVERYTHING,
) -> Asking[None]:
    """See Tensor.backward and autograd.backward. Tensors change at the end, all of them or none."""
    roots, seeds = _seeded(tensors, cotangents)
    retain = create_graph if retain_graph is None else retain_graph
    exploration = Exploration(roots)
    if inputs is None:
        wrt = exploration.distinct_leaves()
    else:
        wrt = _given_inputs(inputs)
        exploration.restrict(wrt)
    exploration.check()
    yield Issue(wrt, exploration.retained)
    attempt = _Pass(roots, seeds, exploration, wrt, retain, create_graph, True, along)
    with attempt:
        gradients = yield from attempt.gradients()
        late = []
        for index, (value, gradient) in enumerate(zip(wrt, gradients, strict=True)):
            if gradient is not None and value.meta.__class__ is Leaf:
                if value.meta.hooks:
                    gradient = _client_backward.run_hooks(value.meta.hooks, gradient, create_graph, exploration)
                    gradients[index] = gradient
                    late.append(gradient)
                if value.meta.grad is not None and value.meta.grad.value.data is None:
                    late.append(value.meta.grad.value)
        if late and not create_graph:
            yield from evaluating(late, along)
        yield TURN
    attempt.finish()
    pending = []
    for value, gradient in zip(wrt, gradients, strict=True):
        if gradient is not None:
            accumulated = _accumulate(value, gradient, create_graph)
            if accumulated is not None and accumulated.data is None:
                pending.append(accumulated)
    if pending and not create_graph:
        yield from evaluating(pending, along)


def grad(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None] | None,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
    along: Along = EVERYTHING,
) -> Asking[tuple[Tensor, ...]]:
    """See autograd.grad."""
    if not inputs:
        raise AutogradError("`inputs` argument to `grad()` cannot be empty.", source=user_line())
    check_unused(allow_unused, materialize_grads)
    roots, seeds = _seeded(outputs, cotangents)
    retain = create_graph if retain_graph is None else retain_graph
    wrt = wrt_of(inputs)
    exploration = Exploration(roots)
    exploration.restrict(wrt)
    exploration.check()
    if exploration.retained:
        yield Issue((), exploration.retained)
    attempt = _Pass(roots, seeds, exploration, wrt, retain, create_graph, not along.reads, along)
    with attempt:
        gradients = yield from attempt.gradients()
        if exploration.retained:
            yield TURN
    attempt.finish()
    found: list[Tensor | None] = [None if gradient is None else _tensor.Tensor(gradient) for gradient in gradients]
    for index, gradient in enumerate(gradients):
        if gradient is not None:
            continue
        if materialize_grads:
            zeros = _tensor.Tensor(known(np.zeros(wrt[index].spec.shape, wrt[index].spec.dtype)))
            found[index] = zeros.requires_grad_(create_graph)
        elif not allow_unused:
            raise AutogradError(
                f"The differentiated Tensor at index {index} appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior.",
                source=user_line(),
            )
    return tuple(found)  # type: ignore[arg-type]


class _Pass:
    """One pass over a graph, which is used up from the beginning on, unless the pass fails. Final.

    Whoever else asks for the same graph meanwhile is told so, as if the pass were over.
    """

    def __init__(
        self,
        roots: Sequence[Value],
        seeds: Sequence[Value | None],
        exploration: Exploration,
        wrt: Sequence[Value],
        retain: bool,
        create_graph: bool,
        keep: bool,
        along: Along,
    ) -> None:
        self._roots = roots
        self._seeds = seeds
        self._exploration = exploration
        self._wrt = wrt
        self._retain = retain
        self._create_graph = create_graph
        self._keep = keep
        self._along = along
        self._before: list[tuple[Leaf, Tensor | None]] = []
        if exploration.retained:
            self._before = [(leaf, leaf.grad) for leaf in map(_retaining, exploration.retained) if leaf is not None]
        self._used: list[tuple[Made, int]] = []
        self._done: Callable[[], None] = _nothing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for made, freed in self._used:
                made.freed = freed
            for leaf, grad in self._before:
                leaf.grad = grad

    def finish(self) -> None:
        """Change what the pass changes besides the gradients it was asked for."""
        self._done()

    def gradients(self) -> Asking[list[Value | None]]:
        """The gradient of each of `wrt`; evaluated, unless they have a graph of their own."""
        # In a mapped function there is nothing to compute yet.
        if not (self._create_graph or self._exploration.needs_client or STATE.anomaly or STATE.traces):
            self._use_up()
            return (yield from self._request())
        gradients = _client_backward.differentiate(
            self._roots, self._seeds, self._exploration, self._wrt, self._create_graph
        )
        self._use_up()
        if not (self._create_graph or STATE.traces):
            kept = [leaf.grad.value for leaf, _ in self._before if leaf.grad is not None]
            small = [root for root in self._roots if self._keep and root.spec.nbytes <= _KEPT_BYTES]
            yield from evaluating([*[g for g in gradients if g is not None], *kept, *small], self._along)
        return gradients

    def _use_up(self) -> None:
        if not self._retain:
            self._used = self._exploration.free()

    def _request(self) -> Asking[list[Value | None]]:
        exploration, roots, retain, along = self._exploration, self._roots, self._retain, self._along
        groups = [exploration.same(value) for value in self._wrt]
        asked = dict.fromkeys([*[value for group in groups for value in group], *exploration.retained])
        reached = [value for value in asked if value in exploration.tracked]
        if not reached:
            return [None] * len(self._wrt)
        known_root = len(roots) == 1 and self._seeds[0] is None and roots[0].data is not None
        plain = along.reads and known_root and not exploration.retained
        run = _ahead.taken(roots[0], reached) if plain else None
        if run is None:
            if plain and all(value.meta.__class__ is Leaf for value in reached):
                _ahead.followed(roots[0])
            given = [seed for seed in self._seeds if seed is not None]
            if given:
                yield from evaluating(given, along)
            cotangents = tuple([seed.data for seed in given if seed.data is not None])
            run = yield from _running(roots, self._seeds, exploration, reached, cotangents, self._keep, along)
        remains, found = run

        def done() -> None:
            _keep_retained(exploration.retained, [found.get(value) for value in exploration.retained])
            if not retain:
                exploration.strip(roots, remains)

        self._done = done
        totals = []
        for group in groups:
            totals.append(_total([g for g in [found.get(value) for value in group] if g is not None]))
        return totals


def along(root: Value, policy: Along) -> Asking[bool]:
    """Evaluate a value together with the gradients of its leaves; False, and nothing done, where that cannot be."""
    if root.spec.size != 1 or not dtypes.is_differentiable(root.spec.dtype) or dtypes.is_complex(root.spec.dtype):
        return False
    exploration = Exploration([root])
    if exploration.needs_client or exploration.retained:
        return False
    try:
        exploration.check()
    except AutogradError:
        return False  # to be raised by a backward pass, not by a read
    leaves = [value for group in map(exploration.same, exploration.distinct_leaves()) for value in group]
    reached = [value for value in dict.fromkeys(leaves) if value in exploration.tracked]
    if not reached:
        return False
    try:
        run = yield from _running([root], [None], exploration, reached, (), True, policy)
    except (NotDifferentiableError, LimitError):
        return False  # a read must not fail for the gradients it did not ask for
    if root.data is None:
        return False
    _ahead.keep(root, run)
    return True


def _running(
    roots: Sequence[Value],
    seeds: Sequence[Value | None],
    exploration: Exploration,
    reached: Sequence[Value],
    cotangents: tuple[np.ndarray, ...],
    keep: bool,
    along: Along,
) -> Asking[_ahead.Run]:
    """The gradients of `reached`, in one request."""

    def request(with_state: bool) -> Asking[tuple[Gathering, Graph, Result]]:
        gathering, pairs, query = joint(roots, seeds, exploration, reached, keep)
        state = along.choose(gathering, roots) if with_state else []
        pairs += [(value, gathering.add(value)) for value in state]
        graph, result = yield from requesting(gathering, pairs, query(), along, cotangents, state)
        return gathering, graph, result

    try:
        gathering, graph, result = yield from request(True)
    except StateFailure as failure:
        # The gradient must not fail for what was not asked for.
        along.forget(failure.state)
        gathering, graph, result = yield from request(False)
    found = {value: None if g is None else known(g) for value, g in zip(reached, result.gradients, strict=True)}
    return Remains.of(roots, gathering, graph), found


def _nothing() -> None:
    pass


def _retaining(value: Value) -> Leaf | None:
    """What keeps the gradient of a computed tensor that retains it."""
    made = value.node if value.node is not None else value
    tensor = made.hooks.retain[value.index]()
    return None if tensor is None else tensor._leaf()


def recorded(
    outputs: Sequence[Value],
    inputs: Sequence[Value],
    cotangents: Sequence[Value | None],
    barrier: Collection[Made] = (),
) -> list[Value | None]:
    """The gradients of the sum of `outputs`, each against its cotangent, None for ones: recorded, not computed.

    What does not require grad among the outputs adds nothing; nothing is used up. Nothing flows through the barrier.
    """
    pairs = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    roots = [output for output, _ in pairs]
    exploration = Exploration(roots)
    exploration.restrict(inputs, barrier)
    exploration.check()
    return _client_backward.differentiate(roots, [c for _, c in pairs], exploration, inputs, True)


# --- what is asked --------------------------------------------------------------------------------


def several(tensors: Any) -> tuple[Any, ...]:
    """One tensor or edge, or a sequence of them, as a tuple."""
    return (tensors,) if isinstance(tensors, _tensor.Tensor) or hasattr(tensors, "output_nr") else tuple(tensors)


def cotangents_of(given: Tensor | Sequence[Tensor | None] | None) -> tuple[Tensor | None, ...] | None:
    """One cotangent, a sequence, or none at all, as a tuple or None."""
    if given is None:
        return None
    return (given,) if isinstance(given, _tensor.Tensor) else tuple(given)


def _seeded(
    tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None] | None
) -> tuple[list[Value], list[Value | None]]:
    """The values to differentiate and the cotangent of each, None for 1."""
    if cotangents is not None and len(cotangents) != len(tensors):
        raise InvalidRequestError(
            f"got {len(tensors)} tensors and {len(cotangents)} gradients",
            expected="one gradient, or None, for each tensor",
            source=user_line(),
        )
    roots: list[Value] = []
    seeds: list[Value | None] = []
    for index, tensor in enumerate(tensors):
        value = tensor.value if isinstance(tensor, _tensor.Tensor) else value_at(tensor.node, tensor.output_nr)
        given = None if cotangents is None else cotangents[index]
        if not value.requires_grad:
            raise AutogradError(
                f"element {index} of tensors does not require grad and does not have a grad_fn",
                remedy="compute it from tensors with requires_grad=True, outside no_grad()",
                source=user_line(),
            )
        if given is None:
            if value.spec.size != 1:
                raise NotDifferentiableError(
                    "grad can be implicitly created only for scalar outputs",
                    got=str(value.spec),
                    remedy="reduce it, for example with sum(), or pass a gradient of its shape",
                    source=user_line(),
                )
            if dtypes.is_complex(value.spec.dtype):
                raise NotDifferentiableError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"torch.{value.spec.dtype.name}",
                    remedy="take its real part or abs(), or pass a gradient",
                    source=user_line(),
                )
            seeds.append(None)
        else:
            seeds.append(_fitting(given, value, index))
        roots.append(value)
    return roots, seeds


def _fitting(given: Tensor, value: Value, index: int) -> Value:
    if not isinstance(given, _tensor.Tensor):
        raise AttributeTypeError(
            f"gradients can be either Tensors or None, but got {type(given).__name__}",
            expected="Tensor or None",
            got=type(given).__name__,
            source=user_line(),
        )
    seed = given.value
    if seed.spec.shape != value.spec.shape:
        raise ShapeError(
            f"Mismatch in shape: grad_output[{index}] has a shape of torch.Size({list(seed.spec.shape)}) and "
            f"output[{index}] has a shape of torch.Size({list(value.spec.shape)}).",
            expected=str(list(value.spec.shape)),
            got=str(list(seed.spec.shape)),
            source=user_line(),
        )
    if dtypes.is_complex(seed.spec.dtype) != dtypes.is_complex(value.spec.dtype):
        raise AutogradError(
            f"For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{index}] has a dtype of torch.{seed.spec.dtype.name} and output[{index}] has a dtype of "
            f"torch.{value.spec.dtype.name}.",
            source=user_line(),
        )
    if seed.spec.dtype != value.spec.dtype:
        converted = emit("convert", (seed,), {"dtype": value.spec.dtype.name})
        assert isinstance(converted, Value)
        seed = converted
    return seed


def _given_inputs(inputs: Any) -> list[Value]:
    tensors = several(inputs)
    if not tensors:
        raise AutogradError("`inputs` argument to `backward()` cannot be empty.", source=user_line())
    return wrt_of(tensors)


def check_unused(allow_unused: bool | None, materialize_grads: bool) -> None:
    """Raises InvalidRequestError when unused inputs are to be an error and zeros."""
    if materialize_grads and allow_unused is False:
        raise InvalidRequestError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.",
            source=user_line(),
        )


def wrt_of(given: Iterable[Any]) -> list[Value]:
    """What to differentiate with respect to: the values of tensors and edges."""
    found = []
    for one in given:
        value = one.value if isinstance(one, _tensor.Tensor) else value_at(one.node, one.output_nr)
        if not value.requires_grad:
            raise AutogradError("One of the differentiated Tensors does not require grad", source=user_line())
        found.append(value)
    return found


# --- one request ----------------------------------------------------------------------------------


def joint(
    roots: Sequence[Value],
    seeds: Sequence[Value | None],
    exploration: Exploration,
    wrt: Sequence[Value],
    keep: bool = True,
) -> tuple[Gathering, list[tuple[Value, int]], Callable[[], Query]]:
    """The graph of a backward pass, the small pending roots that are kept, and the query once all is gathered."""
    gathering = Gathering(exploration.tracked)
    of = [gathering.add(root) for root in roots]
    pairs = [
        (root, number)
        for root, number in zip(roots, of, strict=True)
        if root.data is None and root.spec.nbytes <= _KEPT_BYTES and (keep or is_kept(root))
    ]
    numbers = [gathering.add(value) for value in wrt]
    given = tuple([seed is not None for seed in seeds])

    def query() -> Query:
        # Results are numbered behind the inputs, of which there may be more by now.
        return Query(tuple(map(gathering.number, of)), tuple(map(gathering.number, numbers)), given)

    return gathering, pairs, query


def _total(parts: Sequence[Value]) -> Value | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    arrays = [part.data for part in parts if part.data is not None]
    return known(sum(arrays[1:], arrays[0]))


def _keep_retained(retained: Sequence[Value], gradients: Sequence[Value | None]) -> None:
    for value, gradient in zip(retained, gradients, strict=True):
        leaf = _retaining(value)
        if leaf is not None and gradient is not None:
            if leaf.grad is None:
                leaf.grad = _tensor.Tensor(gradient)
            else:
                _add_in_place(leaf.grad, gradient)


# --- accumulation ---------------------------------------------------------------------------------


def _accumulate(value: Value, gradient: Value, create_graph: bool) -> Value | None:
    """Add to the `.grad` of the tensor behind a value, whose hooks were called; returns what it now holds."""
    if STATE.capture is not None:
        STATE.capture.fail("adds to a gradient")
    if value.meta.__class__ is Leaf:
        leaf: Leaf = value.meta
    else:
        target = _holder(value)
        if target is None:
            return None
        leaf = target
    if leaf.grad is None:
        leaf.grad = _tensor.Tensor(gradient)
    elif create_graph:
        total = emit("add", (leaf.grad.value, gradient), {})
        assert isinstance(total, Value)
        leaf.grad = _tensor.Tensor(total)
    else:
        _add_in_place(leaf.grad, gradient)
    for hook in list(leaf.post.values()):
        tensor = leaf.tensor()
        if tensor is not None:
            hook(tensor)
    return None if leaf.grad is None else leaf.grad.value


def _holder(value: Value) -> Leaf | None:
    """What holds the gradient of a computed tensor named in `inputs`."""
    for ref in reversed(STATE.live):
        tensor = ref()
        if tensor is not None and tensor._value is value:
            return tensor._leaf()
    return None


def _add_in_place(target: Tensor, gradient: Value) -> None:
    old = target.value
    grad, STATE.grad = STATE.grad, False
    try:
        if old.data is not None and gradient.data is not None and not gradient.requires_grad:
            _views.write(target, known(np.add(old.data, gradient.data)))
        else:
            total = emit("add", (old, gradient), {})
            assert isinstance(total, Value)
            _views.write(target, total)
    finally:
        STATE.grad = grad


def warn_if_not_leaf(tensor: Tensor) -> None:
    """Warn as PyTorch does when the gradient of a computed tensor is read and was not kept."""
    value = tensor.value
    if value.requires_grad and value.meta.__class__ is not Leaf:
        warnings.warn(
            "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
            "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
            "Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make "
            "sure you access the leaf Tensor instead.",
            stacklevel=3,
        )
