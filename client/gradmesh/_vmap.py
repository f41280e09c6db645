"""vmap: a function of one example, recorded once and applied to a batch.

The function is called with placeholders, which record and are never computed; what it recorded is then recorded again,
op by op, for the whole batch. So it costs two recordings, whatever the size of the batch, and nests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from gradmesh import _tensor, _trace
from gradmesh._batching import Operand, batched, moved, one
from gradmesh._function import BatchedNode, Function, FunctionNode, VmapInfo
from gradmesh._functions._common import dim_of
from gradmesh._leaf import Edge, Leaf
from gradmesh._modes import STATE
from gradmesh._tensor import Tensor
from gradmesh._tree import flatten, spread
from gradmesh._value import Made, Value, alias, spec_of, user_line
from gradmesh._views import history_of
from gradmesh_engine.errors import AutogradError, InvalidRequestError

__all__ = ["vmap"]


class Trace:
    """One call of a function with placeholders. Final.

    Attributes:
        found: what each value is for the batch, by the value of one example.
        size: of the batch.
        randomness: "error", "different" or "same".
        keys: keys of the random ops the function called.
    """

    def __init__(self, size: int, randomness: str) -> None:
        self.found: dict[Value, Operand] = {}
        self.size = size
        self.randomness = randomness
        self.keys: set[Value] = set()
        self._nodes: dict[Made, BatchedNode] = {}
        self._live: list[Any] = []

    def placeholder(self, value: Value) -> Tensor:
        """A tensor for one example of `value`, whose first dim is the batch."""
        slot = Value(spec_of(value.spec.shape[1:], value.spec.dtype), requires_grad=value.requires_grad)
        tensor = Tensor(slot)
        if value.requires_grad:
            slot.meta = tensor._meta = Leaf(tensor)
        self.found[slot] = Operand(value, True)
        return tensor

    def run(self, function: Callable[[], Any]) -> Any:
        """Call the function. What it makes is not computed along with anything."""
        self._live, STATE.live = STATE.live, []
        STATE.traces.append(self)
        try:
            return function()
        finally:
            STATE.traces.pop()
            STATE.live = self._live

    def mapped(self, function: type[Function], args: Sequence[Any], grad: bool) -> Any:
        """Call a Function's `vmap` with the batches of the arguments; its results for one example."""
        inside = STATE.live
        STATE.traces.pop()
        STATE.live = self._live
        before, STATE.grad = STATE.grad, grad
        try:
            operands = [self.replay([a.value])[0] if isinstance(a, Tensor) else None for a in args]
            given = [_trace.wrap(o.value) if o and o.batched else a for a, o in zip(args, operands, strict=True)]
            dims = tuple([0 if o and o.batched else None for o in operands])
            if all([dim is None for dim in dims]):
                # Nothing is of this batch.
                return function.apply(*args)
            returned = function.vmap(VmapInfo(self.size, self.randomness), dims, *given)
        finally:
            STATE.grad = before
            STATE.live = inside
            STATE.traces.append(self)
        if not isinstance(returned, tuple) or len(returned) != 2:
            what = f"{len(returned)} returns" if isinstance(returned, tuple) else f"a {type(returned)}"
            raise AutogradError(
                "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure "
                f"compatible with the output. Got {what} instead",
                source=user_line(),
            )
        results, put = flatten(returned[0])
        ends = spread(returned[1], returned[0])
        if ends is None:
            raise InvalidRequestError(
                f"{function.__name__}.vmap: out_dims is not compatible with the structure of the output."
            )
        return put([self._example(result, dim) for result, dim in zip(results, ends, strict=True)])

    def _example(self, result: Any, dim: int | None) -> Any:
        if dim is None or not isinstance(result, Tensor):
            return result
        return self.placeholder(moved(result.value, dim % result.ndim, 0))

    def drawn(self, op: str, attrs: dict[str, Any]) -> dict[str, Any]:
        """The attributes a random op is recorded with for the batch."""
        if self.randomness == "error":
            raise AutogradError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                "'different' randomness flags on vmap or perform the randomness operation out of vmap",
                op=op,
            )
        if self.randomness == "same":
            return attrs
        return {**attrs, "shape": (self.size, *attrs["shape"])}

    def replay(self, roots: Sequence[Value]) -> list[Operand]:
        """What the values are for the batch."""
        if self.randomness != "same":
            for key in self.keys:
                self.found[key] = Operand(key, False)
        for made in self._order(roots):
            if made in self.found:
                continue
            results = [made] if isinstance(made, Value) else [ref() for ref in made.results]  # type: ignore[attr-defined]
            grad, segment = STATE.grad, STATE.segment
            STATE.segment = made.segment or segment
            STATE.grad = grad and any([value is not None and value.requires_grad for value in results])
            try:
                for value, operand in zip(results, self._applied(made), strict=True):
                    if value is not None:
                        self.found[value] = operand
            finally:
                STATE.grad, STATE.segment = grad, segment
        return [self.found.get(root) or Operand(root, False) for root in roots]

    def _applied(self, made: Made) -> list[Operand]:
        operands = [self.found.get(value) or Operand(value, False) for value in made.inputs]
        if made.app is not None:
            return batched(made.app, operands, self.size, self.drawn)
        assert isinstance(made, Value)
        history: Leaf | Edge | None = None
        if isinstance(made.meta, Edge) and made.requires_grad:
            node = made.meta.node
            if isinstance(node, FunctionNode | BatchedNode):
                return [self._custom(made, node, made.meta.index)]
            behind = node if isinstance(node, Value) else node.result(made.meta.index)  # type: ignore[attr-defined]
            history = history_of(self.found[behind].value) if behind in self.found else made.meta
        return [Operand(alias(operands[0].value, history is not None, history), operands[0].batched)]

    def _custom(self, value: Value, node: FunctionNode | BatchedNode, index: int) -> Operand:
        """One result of a custom Function that gradients flow through."""
        source = value.inputs[0] if value.inputs else Value(value.spec, value.data)
        result = (self.found.get(source) or Operand(source, False)).front(self.size)
        if isinstance(node, FunctionNode) and node.mapped:
            return Operand(result, True)
        batched = self._nodes.get(node)
        if batched is None:
            operands = [self.found.get(v) or Operand(v, False) for v in node.inputs]
            batched = self._nodes[node] = BatchedNode(node, self, operands)
        return Operand(alias(result, True, Edge(batched, index)), True)

    def _order(self, roots: Sequence[Value]) -> list[Made]:
        """The nodes between placeholders and roots, each after those it uses."""
        depends: dict[Made, bool] = {}
        order: list[Made] = []
        stack: list[tuple[Made, bool]] = [(self._node(root), False) for root in roots]
        while stack:
            made, behind = stack.pop()
            if behind:
                depends[made] = any([v in self.found or depends[self._node(v)] for v in self._inputs(made)])
                if depends[made]:
                    order.append(made)
                continue
            if made in depends:
                continue
            known = isinstance(made, Value) and made.data is not None and self._inputs(made) is made.inputs
            if made in self.found or known:
                depends[made] = made in self.found
                continue
            stack.append((made, True))
            stack += [(self._node(value), False) for value in self._inputs(made) if self._node(value) not in depends]
        return order

    def _inputs(self, made: Made) -> tuple[Value, ...]:
        """What a node depends on; a custom Function's result on what the Function was given, too."""
        if isinstance(made, Value) and made.requires_grad and isinstance(made.meta, Edge):
            node = made.meta.node
            if isinstance(node, FunctionNode | BatchedNode):
                return (*made.inputs, *node.inputs)
        return made.inputs

    def _node(self, value: Value) -> Made:
        return value.node if value.node is not None and value not in self.found else value


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies `func`, a function of one example, to a batch at once.

    Args:
        func: takes and returns nests of tensors; must not read them (`.item()`, `if x > 0`).
        in_dims: which dim of each argument is the batch, None for arguments that all examples share: one for all, or a
            nest that ends no later than the arguments. Keyword arguments are shared.
        out_dims: where the results have the batch.
        randomness: whether random ops in `func` are refused ("error"), drawn for each example ("different"), or once
            for all ("same").
        chunk_size: of how many examples at most are computed together; all unless given.

    Raises:
        InvalidRequestError: dims do not fit the arguments, or batches differ in size.
        AutogradError: `func` read a tensor, or drew random numbers in error mode.

    Example: `gm.vmap(gm.dot)(gm.ones(3, 2), gm.ones(3, 2))` is `tensor([2., 2., 2.])`.
    """
    if randomness not in ("error", "different", "same"):
        raise AutogradError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given, rebuild = flatten((args, kwargs))
        dims = _input_dims(name, in_dims, args, kwargs)
        fronts = [
            None if dim is None else moved(leaf.value, dim % leaf.ndim, 0)
            for leaf, dim in zip(given, dims, strict=True)
        ]
        sizes = [front.spec.shape[0] for front in fronts if front is not None]
        if not sizes:
            raise InvalidRequestError("vmap: Expected at least one Tensor to vmap over")
        if any(size != sizes[0] for size in sizes):
            raise InvalidRequestError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                f"{sizes} for the mapped dimension"
            )

        def apply(parts: Sequence[Value | None], size: int) -> tuple[list[Tensor], Callable[[Sequence[Any]], Any]]:
            trace = Trace(size, randomness)
            leaves = [
                leaf if part is None else trace.placeholder(part) for leaf, part in zip(given, parts, strict=True)
            ]
            own_args, own_kwargs = rebuild(leaves)
            results, put = flatten(trace.run(lambda: func(*own_args, **own_kwargs)))
            return _placed(name, out_dims, put(results), results, trace), put

        if chunk_size is None or chunk_size >= sizes[0]:
            found, put = apply(fronts, sizes[0])
            return put(found)
        chunks = []
        for start in range(0, sizes[0], chunk_size):
            count = min(chunk_size, sizes[0] - start)
            parts = [None if f is None else one("narrow", f, dim=0, start=start, length=count) for f in fronts]
            found, put = apply(parts, count)
            chunks.append(found)
        ends = spread(out_dims, put(chunks[0])) or []
        joined = [
            _trace.wrap(one("cat", *[part.value for part in parts], dim=dim or 0))
            for parts, dim in zip(zip(*chunks, strict=True), ends, strict=True)
        ]
        return put(joined)

    return wrapped


def _input_dims(name: str, in_dims: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int | None]:
    """For each leaf of the arguments which dim is the batch."""
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, dict, list, tuple)):
        raise InvalidRequestError(
            f"{where}expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}."
        )
    if not args and not kwargs:
        raise InvalidRequestError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    given = tuple(in_dims) if isinstance(in_dims, list) else in_dims
    dims = spread(given, args)
    leaves = flatten(args)[0]
    if dims is None:
        raise InvalidRequestError(f"{where}in_dims is not compatible with the structure of `inputs`.")
    for dim, leaf in zip(dims, leaves, strict=True):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise InvalidRequestError(
                f"{where}Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
            )
        if not isinstance(leaf, _tensor.Tensor):
            raise InvalidRequestError(
                f"{where}Got in_dim={dim} for an input but the input is of type {type(leaf)}. We cannot vmap over "
                "non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise InvalidRequestError(
                f"{where}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {leaf.ndim} so "
                f"expected in_dim to satisfy -{leaf.ndim} <= in_dim < {leaf.ndim}."
            )
    return [*dims, *[None] * len(flatten(kwargs)[0])]


def _placed(name: str, out_dims: Any, nest: Any, results: Sequence[Any], trace: Trace) -> list[Tensor]:
    """The batch's results, with the batch where `out_dims` says."""
    dims = spread(out_dims, nest)
    if dims is None:
        raise InvalidRequestError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            "`outputs`."
        )
    for result in results:
        if not isinstance(result, _tensor.Tensor):
            raise InvalidRequestError(f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(result)}.")
    found = []
    for operand, dim in zip(trace.replay([result.value for result in results]), dims, strict=True):
        if dim is None:
            if operand.batched:
                raise InvalidRequestError(
                    f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None"
                )
            found.append(_trace.wrap(operand.value))
            continue
        value = operand.front(trace.size)
        found.append(_trace.wrap(moved(value, 0, dim_of(dim, len(value.spec.shape)))))
    return found
