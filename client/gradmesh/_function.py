"""Custom autograd Functions: forward and backward in the user's Python, traced on the client, never sent."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeVar

import numpy as np

from gradmesh import _tensor, _views
from gradmesh._explore import written_error
from gradmesh._grad_fn import Node
from gradmesh._hooks import node_hooks
from gradmesh._leaf import Edge
from gradmesh._modes import STATE
from gradmesh._saving import Packed, check_allowance
from gradmesh._value import Made, Value, alias, emit, known, place, source_of, user_line
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, AutogradError, ShapeError

if TYPE_CHECKING:
    from gradmesh._batching import Operand
    from gradmesh._tensor import Tensor
    from gradmesh._vmap import Trace

_F = TypeVar("_F", bound=Callable[..., Any])


class _Saved:
    """A tensor as it was when it was saved. Final.

    Holds the values, not the tensor, so that a saved result makes no cycle.
    """

    __slots__ = ("counter", "data", "index", "packed", "tensor", "version")

    def __init__(self, tensor: Tensor, index: int) -> None:
        value = tensor.value
        store = tensor._store
        self.tensor: Tensor | None = tensor if index < 0 else None
        self.data: Value = alias(value) if value.requires_grad else value
        self.index = index
        self.counter = None if store is None else store.counter
        self.version = 0 if store is None else store.counter.current
        self.packed = None if STATE.saving is None else Packed(tensor, STATE.saving)


class FunctionCtx:
    """What `forward` leaves for `backward`. Final.

    Attributes:
        needs_input_grad: for each argument of `forward` (without ctx) whether it needs a gradient.
    """

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: tuple[_Saved | None, ...] = ()
        self._plain: set[int] = set()
        self._dirty: set[int] = set()
        self._materialize = True
        self._node: FunctionNode | None = None
        self._pulling = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (or None) for `backward`, which finds them in `saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, _tensor.Tensor):
                raise AttributeTypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(tensor).__name__}",
                    expected="Tensor or None",
                    got=type(tensor).__name__,
                    source=user_line(),
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept.

        Raises AutogradError when it was given back after a backward pass, or written to since.
        """
        node = self._node
        if node is None:
            return self._to_save
        if node.freed and not self._pulling:
            raise AutogradError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
                "if you need to access saved tensors after calling backward.",
                source=source_of(node),
            )
        return tuple([None if saved is None else self._unpacked(saved, node) for saved in self._saved])

    def _unpacked(self, saved: _Saved, node: FunctionNode) -> Tensor:
        if saved.packed is not None:
            return _tensor.Tensor(saved.packed.value())
        tensor = saved.tensor
        counter = saved.counter
        if counter is None and tensor is not None and tensor._store is not None:
            counter = tensor._store.counter
        if counter is not None and counter.current != saved.version and not check_allowance(node):
            value = alias(saved.data)
            value.counter, value.version = counter, saved.version
            raise written_error(value, source_of(node))
        if tensor is not None:
            return tensor
        return _tensor.Tensor(alias(saved.data, True, Edge(node, saved.index)))

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these results need no gradient."""
        self._plain = {id(tensor) for tensor in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that `forward` wrote to these arguments; it must return them."""
        self._dirty = {id(tensor) for tensor in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether results nothing used get a gradient of zeros (the default) or None."""
        self._materialize = bool(value)


class FunctionNode(Made):
    """One application of a custom Function in the trace. Final.

    Attributes:
        function: the user's class.
        ctx: what forward left.
        results: specs of the results, None for those that are no tensors.
        arguments: for each argument of `forward`, which of `inputs` it is, or -1.
        mapped: whether the Function's `vmap` gave the results, in a mapped function.
    """

    __slots__ = ("__weakref__", "arguments", "ctx", "function", "mapped", "results")

    def __init__(self, function: type[Function], ctx: FunctionCtx, arguments: Sequence[Any]) -> None:
        inputs: list[Value] = []
        self.arguments: list[int] = []
        for argument in arguments:
            if isinstance(argument, _tensor.Tensor):
                self.arguments.append(len(inputs))
                inputs.append(argument.value)
            else:
                self.arguments.append(-1)
        self.app = None
        self.inputs = tuple(inputs)
        self.code = None
        self.instruction = 0
        self.epoch = STATE.epoch
        self.segment = STATE.segment
        self.freed = False
        self.wrote = False
        self.hooks = None
        self.view = None
        self.function = function
        self.ctx = ctx
        self.results: list[Any] = []
        self.mapped = False
        place(self)

    def wrapper(self) -> Node:
        """The `grad_fn` object users see."""
        return _node_class(self.function)(self)

    def pull(self, cotangents: Sequence[Value | None], create_graph: bool) -> list[Value | None]:
        """Call the user's `backward`; a cotangent, or None, for each of `inputs`."""
        ctx = self.ctx
        given = [self._given(index, cotangent) for index, cotangent in enumerate(cotangents)]
        ctx._pulling = True
        STATE.pulling += 1
        try:
            returned = self.function.backward(ctx, *given)
        finally:
            ctx._pulling = False
            STATE.pulling -= 1
        gradients = list(returned) if isinstance(returned, tuple | list) else [returned]
        name = f"{self.function.__name__}Backward"
        count = len(self.arguments)
        if len(gradients) > count and all(g is None for g in gradients[count:]):
            del gradients[count:]
        if len(gradients) != count:
            raise AutogradError(
                f"function {name} returned an incorrect number of gradients (expected {count}, got {len(gradients)})",
                source=source_of(self),
            )
        found: list[Value | None] = [None] * len(self.inputs)
        for index, (gradient, at) in enumerate(zip(gradients, self.arguments, strict=True)):
            if gradient is None:
                continue
            if at < 0:
                raise AutogradError(
                    f"function {name} returned a gradient different than None at position {index + 1}, but the "
                    "corresponding forward input was not a Variable",
                    source=source_of(self),
                )
            if not isinstance(gradient, _tensor.Tensor):
                raise AttributeTypeError(
                    f"expected Variable or None (got {type(gradient).__name__})",
                    expected="Tensor or None",
                    got=type(gradient).__name__,
                    source=source_of(self),
                )
            if self.inputs[at].requires_grad:
                found[at] = self._fitted(gradient.value, self.inputs[at], name, index)
        return found

    def _given(self, index: int, cotangent: Value | None) -> Tensor | None:
        spec = self.results[index]
        if cotangent is not None:
            return _tensor.Tensor(cotangent)
        if spec is None or not self.ctx._materialize:
            return None
        return _tensor.Tensor(known(np.zeros(spec.shape, spec.dtype)))

    def _fitted(self, gradient: Value, argument: Value, name: str, index: int) -> Value:
        want, have = argument.spec.shape, gradient.spec.shape
        if have != want:
            lead = len(have) - len(want)
            if lead < 0 or any(w not in (1, h) for w, h in zip(want, have[lead:], strict=True)):
                raise ShapeError(
                    f"Function {name} returned an invalid gradient at index {index} - got {list(have)} but expected "
                    f"shape compatible with {list(want)}",
                    expected=str(list(want)),
                    got=str(list(have)),
                    source=source_of(self),
                )
            dims = tuple(d for d in range(len(have)) if d < lead or want[d - lead] != have[d])
            summed = emit("sum", (gradient,), {"dim": dims})
            assert isinstance(summed, Value)
            shaped = emit("reshape", (summed,), {"shape": want})
            assert isinstance(shaped, Value)
            gradient = shaped
        if gradient.spec.dtype != argument.spec.dtype:
            converted = emit("convert", (gradient,), {"dtype": argument.spec.dtype.name})
            assert isinstance(converted, Value)
            gradient = converted
        return gradient


class VmapInfo(NamedTuple):
    """What a Function's `vmap` is told. Final.

    Attributes:
        batch_size: number of examples.
        randomness: of the mapping: "error", "different" or "same".
    """

    batch_size: int
    randomness: str


class BatchedNode(Made):
    """An application of a custom Function in a mapped function, for the whole batch. Final.

    Attributes:
        one: the application to one example.
        trace: the mapping.
        batched: for each of `inputs` whether it has the batch in front.
    """

    __slots__ = ("__weakref__", "batched", "one", "trace")

    def __init__(self, one: FunctionNode | BatchedNode, trace: Trace, operands: Sequence[Operand]) -> None:
        self.one = one
        self.trace = trace
        self.inputs = tuple([operand.value for operand in operands])
        self.batched = tuple([operand.batched for operand in operands])
        self.app = None
        self.code, self.instruction = one.code, one.instruction
        self.epoch = STATE.epoch
        self.segment = one.segment or STATE.segment
        self.freed = False
        self.wrote = False
        self.hooks = None
        self.view = None

    @property
    def results(self) -> list[Any]:
        """Specs of the results for one example, None for those that are no tensors."""
        return self.one.results

    def wrapper(self) -> Node:
        """The `grad_fn` object users see."""
        own = type(self.one.wrapper())
        return _named_class(own, f"Vmapped{own.__name__}")(self)

    def pull(self, cotangents: Sequence[Value | None], create_graph: bool) -> list[Value | None]:
        """The cotangents of the operands: backward for one example, mapped over the batch."""
        trace = self.trace
        given = [None if c is None else trace.placeholder(c).value for c in cotangents]
        pulled: list[Value | None] = trace.run(lambda: self.one.pull(given, create_graph))
        there = [value for value in pulled if value is not None]
        replayed = iter(trace.replay(there))
        found: list[Value | None] = []
        for value, batched in zip(pulled, self.batched, strict=True):
            if value is None:
                found.append(None)
                continue
            each = next(replayed).front(trace.size)
            if not batched:
                total = emit("sum", (each,), {"dim": (0,)})
                assert isinstance(total, Value)
                each = total
            found.append(each)
        return found


_NODE_CLASSES: Final[weakref.WeakKeyDictionary[type, type[Node]]] = weakref.WeakKeyDictionary()


def _node_class(function: type[Function]) -> type[Node]:
    return _named_class(function, f"{function.__name__}Backward")


def _named_class(source: type, name: str) -> type[Node]:
    found = _NODE_CLASSES.get(source)
    if found is None:
        found = type(name, (Node,), {"__slots__": (), "__module__": source.__module__})
        _NODE_CLASSES[source] = found
    return found


class Function:
    """Base of custom differentiable functions: subclass it, define `forward` and `backward`, call `apply`.

    Example:
        class Cube(gm.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x ** 3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return 3 * x ** 2 * grad

        y = Cube.apply(x)
    """

    generate_vmap_rule: ClassVar[bool] = False
    """Whether a mapped function may call it as it is: its forward and backward are recorded for one example."""

    def __init__(self) -> None:
        raise AutogradError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            "function with static forward method.",
            remedy=f"call {type(self).__name__}.apply(...)",
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result: `forward(ctx, *args)`, or `forward(*args)` beside `setup_context`."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Fill ctx when `forward` does not take it."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient, or None, per argument of `forward`, from one gradient per result."""
        raise NotImplementedError("You must implement the backward function for custom autograd.Function.")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """What `apply` is in a mapped function, instead of generate_vmap_rule: called with whole batches.

        Args:
            info: has `batch_size` and `randomness`.
            in_dims: for each argument 0, where its batch is, or None.
            *args: the arguments.

        Returns:
            the results for the batch, and in which dim of each the batch is, or None.
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call `forward` and record the call as one node."""
        if STATE.traces and not STATE.pulling:
            _check_mapped(cls)
        ctx = FunctionCtx()
        tracked = STATE.grad and any(isinstance(a, _tensor.Tensor) and a.requires_grad for a in args)
        node = FunctionNode(cls, ctx, args)
        ctx.needs_input_grad = tuple([STATE.grad and isinstance(a, _tensor.Tensor) and a.requires_grad for a in args])
        grad, STATE.grad = STATE.grad, False
        try:
            node.mapped = bool(STATE.traces) and cls.vmap is not Function.vmap
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = STATE.traces[-1].mapped(cls, args, grad) if node.mapped else cls.forward(*args)
                cls.setup_context(ctx, args, output)
        finally:
            STATE.grad = grad
        return _finished(ctx, node, args, output, tracked)


def _check_mapped(function: type[Function]) -> None:
    """Raises AutogradError unless a Function says in just one way how it is mapped."""
    own = function.vmap is not Function.vmap
    if own and function.generate_vmap_rule:
        raise AutogradError(
            f"You tried to vmap over {function.__name__}, but it has both generate_vmap_rule=True and an overridden "
            "vmap staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to "
            "avoid ambiguity.",
            source=user_line(),
        )
    if own and function.setup_context is Function.setup_context:
        raise AutogradError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must "
            "override the setup_context staticmethod.",
            source=user_line(),
        )
    if not own and not function.generate_vmap_rule:
        raise AutogradError(
            f"You tried to vmap over {function.__name__}, but it does not have vmap support. Please override and "
            "implement the vmap staticmethod or set generate_vmap_rule=True.",
            source=user_line(),
        )


def _finished(ctx: FunctionCtx, node: FunctionNode, args: Sequence[Any], output: Any, tracked: bool) -> Any:
    several = isinstance(output, tuple | list)
    outputs = list(output) if several else [output]
    given = {id(argument) for argument in args if isinstance(argument, _tensor.Tensor)}
    position = {id(result): index for index, result in enumerate(outputs)}
    saved = ctx._to_save
    results = []
    for index, result in enumerate(outputs):
        if not isinstance(result, _tensor.Tensor):
            node.results.append(None)
            results.append(result)
            continue
        node.results.append(result.spec)
        if id(result) in given and id(result) not in ctx._dirty:
            result = _views.detached(result)
        plain = id(outputs[index]) in ctx._plain or not dtypes.is_differentiable(result.spec.dtype)
        if tracked and not plain:
            # Its place in the graph.
            _views.replace_history(result, alias(result.value, True, Edge(node, index)))
        results.append(result)
    if tracked:
        if STATE.allowance is not None:
            node_hooks(node).allowance = STATE.allowance
        ctx._saved = tuple(
            [
                None
                if tensor is None
                else _Saved(tensor, position[id(tensor)] if id(tensor) in position and id(tensor) not in given else -1)
                for tensor in saved
            ]
        )
        ctx._node = node
        ctx._to_save = ()
    return tuple(results) if several else results[0]


def once_differentiable(backward: _F) -> _F:
    """Decorates a `backward` that is not differentiable itself: its gradients have no history.

    Asking for a derivative of second order raises AutogradError.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        recorded = STATE.grad and any(isinstance(g, _tensor.Tensor) and g.requires_grad for g in grads)
        grad, STATE.grad = STATE.grad, False
        try:
            returned = backward(ctx, *grads)
        finally:
            STATE.grad = grad
        if not recorded:
            return returned
        several = isinstance(returned, tuple | list)
        gradients = returned if several else [returned]
        found = [_Refused.apply(g, *grads) if isinstance(g, _tensor.Tensor) else g for g in gradients]
        return tuple(found) if several else found[0]

    return wrapper  # type: ignore[return-value]


class _Refused(Function):
    """Refuses to be differentiated. Final."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *grads: Tensor) -> Tensor:
        """The gradient itself."""
        return gradient.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Raises AutogradError."""
        raise AutogradError("trying to differentiate twice a function that was marked with @once_differentiable")
