"""Functions of functions: derivatives of any order, and maps over batches, without touching `.grad`.

The functions given must be pure: results only, from their arguments. What is returned follows what the
arguments, or tensors the function closes over, are tracked by outside, and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradmesh import _backward, _trace
from gradmesh._creation import eye, zeros
from gradmesh._functions import layout, select
from gradmesh._grad_fn import edge_of
from gradmesh._leaf import Leaf
from gradmesh._modes import enable_grad
from gradmesh._tensor import Tensor
from gradmesh._tree import flatten, mapped
from gradmesh._value import Made, Value, alias, application
from gradmesh._vmap import vmap
from gradmesh.nn.modules.module import Module
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError, NotDifferentiableError

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


class _Level:
    """One differentiation: the arguments it is with respect to, and what is still tracked once it is over. Final."""

    def __init__(self) -> None:
        self.marks: set[Value] = set()

    def marked(self, tree: Any) -> Any:
        """The nest with its tensors tracked, whatever they were before."""
        return mapped(self._mark, tree)

    def _mark(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        value = leaf.value
        mark = Value(value.spec, None, application("alias", (value.spec,), {}), (value,), True)
        self.marks.add(mark)
        return _trace.wrap(mark)

    def left(self, tree: Any) -> Any:
        """The nest as it is outside: tracked only where something besides the marks is."""
        marked: set[Made] = set()
        return mapped(lambda leaf: self._leave(leaf, marked) if isinstance(leaf, Tensor) else leaf, tree)

    def _leave(self, tensor: Tensor, marked: set[Made]) -> Tensor:
        value = tensor.value
        return tensor if self._tracked(value, marked) else _trace.wrap(alias(value))

    def _tracked(self, value: Value, marked: set[Made]) -> bool:
        """Whether something besides the marks is behind a value. What has only them goes into `marked`."""
        if not value.requires_grad:
            return False
        seen: set[Made] = set()
        stack = [value]
        while stack:
            made, _ = edge_of(stack.pop())
            if isinstance(made, Leaf):
                return True
            if made in seen or made in marked:
                continue
            seen.add(made)
            operands = [operand for operand in made.inputs if operand.requires_grad]
            if not operands and made not in self.marks:
                return True  # the mark of a differentiation around this one
            stack += operands
        marked.update(seen)
        return False


def _pulled(outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Any]) -> list[Tensor]:
    """The gradients, recorded; zeros where no path leads."""
    found = _backward.recorded(
        [output.value for output in outputs],
        [given.value for given in inputs],
        [None if cotangent is None else cotangent.value for cotangent in cotangents],
    )
    return [
        zeros(given.shape, dtype=given.dtype) if value is None else _trace.wrap(value)
        for given, value in zip(inputs, found, strict=True)
    ]


def _tensors(name: str, what: str, tree: Any) -> list[Tensor]:
    leaves = flatten(tree)[0]
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise AttributeTypeError(
                f"{name}: Expected {what} to be nests of tensors, got unsupported type {type(leaf).__name__}",
                expected="tensors",
                got=type(leaf).__name__,
            )
    return leaves


def _split_aux(name: str, output: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not isinstance(output, tuple) or len(output) != 2:
        raise InvalidRequestError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True",
            got=type(output).__name__,
        )
    return output


def _chosen(name: str, argnums: Argnums, args: Sequence[Any]) -> Any:
    """The arguments to differentiate by: one, or a tuple of them."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise InvalidRequestError(
                f"{name}: Got argnum={number}, but only {len(args)} positional inputs", got=str(number)
            )
    return args[argnums] if isinstance(argnums, int) else tuple([args[number] for number in numbers])


def _replaced(argnums: Argnums, args: Sequence[Any], chosen: Any) -> list[Any]:
    replaced = list(args)
    if isinstance(argnums, int):
        replaced[argnums] = chosen
    else:
        for number, given in zip(argnums, chosen, strict=True):
            replaced[number] = given
    return replaced


# --- gradients --------------------------------------------------------------------------------------


def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of `func` and its value (with has_aux, (value, aux)).

    Args:
        func: returns a tensor of one element without dims; with has_aux, (tensor, aux).
        argnums: which arguments, nests of tensors, to differentiate by.
        has_aux: whether `func` returns something besides that is passed on.

    Raises NotDifferentiableError unless the result has no dims, AttributeTypeError unless it is a tensor.

    Example: `gm.func.grad_and_value(lambda x: x * x)(gm.tensor(3.))` is `(tensor(6.), tensor(9.))`.
    """
    name = f"grad_and_value({getattr(func, '__name__', func)})"

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            level = _Level()
            chosen = level.marked(_chosen(name, argnums, args))
            output, aux = _split_aux(name, func(*_replaced(argnums, args, chosen), **kwargs), has_aux)
            if not isinstance(output, Tensor):
                raise AttributeTypeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a tensor, got "
                    f"unsupported type {type(output)}",
                    expected="Tensor",
                    got=type(output).__name__,
                )
            if output.ndim:
                raise NotDifferentiableError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{output.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?",
                    got=str(output.spec),
                )
            leaves, rebuild = flatten(chosen)
            gradients = level.left(rebuild(_pulled([output], _tensors(name, "arguments", leaves), [None])))
            value = level.left(output)
            return (gradients, (value, level.left(aux))) if has_aux else (gradients, value)

    return wrapped


def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of `func` (with has_aux, (gradient, aux)); see grad_and_value.

    Example: `gm.func.grad(lambda x: x ** 3)(gm.tensor(2.))` is `tensor(12.)`.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return wrapped


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The result of `func` and a function from cotangents of it to cotangents of the arguments.

    Args:
        func: from nests of tensors to a nest of tensors.
        primals: its arguments.
        has_aux: whether `func` returns (output, aux), which then comes third.

    Example: `gm.func.vjp(gm.sin, gm.zeros(1))[1](gm.ones(1))` is `(tensor([1.]),)`.
    """
    with enable_grad():
        level = _Level()
        given = level.marked(primals)
        output, aux = _split_aux("vjp", func(*given), has_aux)
        results = _tensors("vjp(f, *primals)", "f(*primals)", output)
    inputs, rebuild = flatten(given)

    def pull(cotangents: Any, *more: Any, **options: Any) -> Any:
        given_cotangents = _tensors("vjp_fn", "cotangents", (cotangents, *more) if more else cotangents)
        if len(given_cotangents) != len(results):
            raise InvalidRequestError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function: {len(results)} tensors, got {len(given_cotangents)}"
            )
        with enable_grad():
            return level.left(rebuild(_pulled(results, _tensors("vjp", "primals", inputs), given_cotangents)))

    shown = level.left(output)
    return (shown, pull, level.left(aux)) if has_aux else (shown, pull)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """The result of `func` and its derivative there, a linear function of tangents of the arguments.

    It is the gradient of the pullback, which is linear in its cotangents: so every op that has a
    derivative at all has this one too.

    Example: `gm.func.linearize(gm.sin, gm.zeros(1))[1](gm.ones(1))` is `tensor([1.])`.
    """
    with enable_grad():
        level = _Level()
        given = level.marked(primals)
        output = func(*given)
        results = _tensors("linearize", "f(*primals)", output)
        inputs = _tensors("linearize", "primals", given)
        dummies = [level.marked(zeros(result.shape, dtype=result.dtype)) for result in results]
        pulled = _pulled(results, inputs, dummies)
    rebuild = flatten(output)[1]

    def push(*tangents: Any) -> Any:
        moved = _tensors("jvp_fn", "tangents", tangents)
        for tangent, given_input in zip(moved, inputs, strict=True):
            if tangent.shape != given_input.shape:
                raise InvalidRequestError(
                    f"Expected tangents of the shapes of the primals: {given_input.shape}, got {tangent.shape}"
                )
        with enable_grad():
            return level.left(rebuild(_pulled(pulled, dummies, moved)))

    return level.left(output), push


def jvp(
    func: Function, primals: Sequence[Any], tangents: Sequence[Any], *, strict: bool = False, has_aux: bool = False
) -> Any:
    """The result of `func` and its directional derivative along `tangents`, a nest like the result.

    Args:
        func: from nests of tensors to a nest of tensors.
        primals: its arguments, a tuple.
        tangents: a direction, of the shapes of the primals.
        strict: no effect: what does not depend on an argument has a derivative of zeros.
        has_aux: whether `func` returns (output, aux), which then comes third.

    Raises AttributeTypeError unless primals and tangents are tuples.

    Example: `gm.func.jvp(gm.sin, (gm.zeros(1),), (gm.ones(1),))` is `(tensor([0.]), tensor([1.]))`.
    """
    if not isinstance(primals, tuple):
        raise AttributeTypeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals).",
            expected="tuple",
            got=type(primals).__name__,
        )
    held: list[Any] = []

    def own(*args: Any) -> Any:
        output, aux = _split_aux("jvp", func(*args), has_aux)
        held.append(aux)
        return output

    output, push = linearize(own, *primals)
    moved = push(*tangents)
    return (
        (output, moved, mapped(lambda t: t.detach() if isinstance(t, Tensor) else t, held[0]))
        if has_aux
        else (output, moved)
    )


# --- matrices of derivatives --------------------------------------------------------------------------


def _basis(like: Tensor) -> Tensor:
    """Every unit vector of a tensor's space, along a new first dim."""
    return layout.reshape(eye(like.numel(), dtype=like.dtype), (like.numel(), *like.shape))


def jacrev(func: Function, argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None) -> Function:
    """A function that returns the Jacobian of `func`, by rows: for each result and argument, (*result, *argument).

    Args:
        func: from nests of tensors to a nest of tensors.
        argnums: which arguments to differentiate by.
        has_aux: whether `func` returns (output, aux), which is then returned second.
        chunk_size: how many rows are computed together; all unless given.

    Example: `gm.func.jacrev(lambda x: x * x)(gm.tensor([1., 3.]))` is `tensor([[2., 0.], [0., 6.]])`.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacrev", argnums, args)
        of = lambda given: func(*_replaced(argnums, args, given), **kwargs)  # noqa: E731
        output, pull, *aux = vjp(of, chosen, has_aux=has_aux)
        results, rebuild = flatten(output)
        rows = []
        for index, result in enumerate(results):
            others = [zeros(other.shape, dtype=other.dtype) for other in results]

            def row(unit: Tensor, index: int = index, others: list[Tensor] = others) -> Any:
                return pull(rebuild([unit if at == index else other for at, other in enumerate(others)]))[0]

            mapped_rows = vmap(row, chunk_size=chunk_size)(_basis(result))
            rows.append(mapped(functools.partial(_unstacked, shape=tuple(result.shape)), mapped_rows))
        return (rebuild(rows), aux[0]) if has_aux else rebuild(rows)

    return wrapped


def _unstacked(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return layout.reshape(tensor, (*shape, *tensor.shape[1:]))


def jacfwd(
    func: Function,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Function:
    """A function that returns the Jacobian of `func`, by columns: for each result and argument, (*result, *argument).

    Args:
        func: from nests of tensors to a nest of tensors.
        argnums: which arguments to differentiate by.
        has_aux: whether `func` returns (output, aux), which is then returned second.
        chunk_size: how many columns are computed together; all unless given.
        randomness: as of `vmap`; `func` itself is called once.

    Example: `gm.func.jacfwd(lambda x: x * x)(gm.tensor([1., 3.]))` is `tensor([[2., 0.], [0., 6.]])`.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacfwd", argnums, args)
        held: list[Any] = []

        def of(given: Any) -> Any:
            output, aux = _split_aux("jacfwd", func(*_replaced(argnums, args, given), **kwargs), has_aux)
            held.append(aux)
            return output

        output, push = linearize(of, chosen)
        inputs, rebuild = flatten(chosen)
        columns = []
        for index, given in enumerate(inputs):
            others = [zeros(other.shape, dtype=other.dtype) for other in inputs]

            def column(unit: Tensor, index: int = index, others: list[Tensor] = others) -> Any:
                return push(rebuild([unit if at == index else other for at, other in enumerate(others)]))

            stacked = vmap(column, out_dims=-1, chunk_size=chunk_size)(_basis(given))
            columns.append([_folded(tensor, tuple(given.shape)) for tensor in flatten(stacked)[0]])
        results = flatten(output)[1]
        by_result = [rebuild([column[at] for column in columns]) for at in range(len(columns[0]))]
        found = results(by_result)
        if has_aux:
            return found, mapped(lambda t: t.detach() if isinstance(t, Tensor) else t, held[0])
        return found

    return wrapped


def _folded(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return layout.reshape(tensor, (*tensor.shape[:-1], *shape))


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """A function that returns the Hessian of `func`: the Jacobian of its Jacobian.

    Example: `gm.func.hessian(lambda x: (x ** 3).sum())(gm.tensor([1., 2.]))` is `tensor([[ 6.,  0.], [ 0., 12.]])`.
    """
    return jacfwd(jacrev(func, argnums), argnums)


# --- modules ------------------------------------------------------------------------------------------


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other tensors in place of its parameters and buffers.

    Args:
        module: which to call.
        parameter_and_buffer_dicts: tensors by dotted name, in one dict or several.
        args: its arguments, a tuple or the only one.
        kwargs: its keyword arguments.
        tie_weights: replace a parameter that is there under several names everywhere.
        strict: whether every parameter and buffer must be given, and nothing else.

    Raises InvalidRequestError for names given twice, or, if strict, missing or unknown.

    Example: `gm.func.functional_call(gm.nn.Linear(1, 1), {"weight": gm.ones(1, 1), "bias": gm.ones(1)}, gm.ones(1))`
    is `tensor([2.])`.
    """
    dicts = (
        [parameter_and_buffer_dicts]
        if isinstance(parameter_and_buffer_dicts, Mapping)
        else list(parameter_and_buffer_dicts)
    )
    given: dict[str, Tensor] = {}
    for one in dicts:
        twice = given.keys() & one.keys()
        if twice:
            raise InvalidRequestError(
                f"{sorted(twice)} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )
        given.update(one)
    places: dict[str, tuple[dict[str, Any], str]] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        tables: tuple[dict[str, Any], ...] = (owner._parameters, owner._buffers)
        for table in tables:
            for name, held in table.items():
                if held is not None:
                    places[f"{path}.{name}" if path else name] = table, name
    unknown = [name for name in given if name not in places]
    missing = [name for name in places if name not in given]
    if strict and (missing or unknown):
        raise InvalidRequestError(
            f"Unexpected key(s): {', '.join(unknown)}." if unknown else f"Missing key(s): {', '.join(missing)}."
        )
    if unknown:
        raise AttributeError(f"{type(module).__name__} has no attribute `{unknown[0]}`")
    chosen = {id(places[name][0][places[name][1]]): tensor for name, tensor in given.items()}
    saved = []
    try:
        for name, (table, own) in places.items():
            before = table[own]
            tensor = given.get(name, chosen.get(id(before)) if tie_weights else None)
            if tensor is not None:
                saved.append((table, own, before))
                table[own] = tensor
        arguments = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*arguments, **(kwargs or {}))
    finally:
        for table, own, before in reversed(saved):
            table[own] = before


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one kind, stacked, to `vmap` a `functional_call` over.

    Raises InvalidRequestError for no modules, or modules of several types or modes.

    Example: `gm.func.stack_module_state([gm.nn.Linear(1, 1), gm.nn.Linear(1, 1)])[0]["bias"].shape` is
    `torch.Size([2, 1])`.
    """
    if not models:
        raise InvalidRequestError("stack_module_state: Expected at least one model, got 0.")
    if len({type(model) for model in models}) > 1:
        raise InvalidRequestError("stack_module_state: Expected all models to be of the same class.")
    if len({model.training for model in models}) > 1:
        raise InvalidRequestError("stack_module_state: Expected all models to have the same training/eval mode.")

    def stacked(named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        found = {}
        for name, first in named[0].items():
            whole = select.stack([one[name].detach() for one in named])
            found[name] = whole.requires_grad_(first.requires_grad)
        return found

    return (
        stacked([dict(model.named_parameters()) for model in models]),
        stacked([dict(model.named_buffers()) for model in models]),
    )


def functionalize(func: Function, *, remove: str = "mutations") -> Function:
    """The function itself: what is recorded of it holds no writes, whatever it does.

    Example: `gm.func.functionalize(lambda x: x.clone().add_(1))(gm.ones(1))` is `tensor([2.])`.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise InvalidRequestError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}.", got=remove
        )
    return func


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Make the batch norms of a module forget their running statistics, which cannot be mapped over; returns it.

    Example: `gm.func.replace_all_batch_norm_modules_(gm.nn.BatchNorm1d(2)).running_mean` is `None`.
    """
    from gradmesh.nn.modules.norm import forget_statistics

    for module in root.modules():
        forget_statistics(module)
    return root
