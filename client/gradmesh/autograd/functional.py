"""Products and matrices of derivatives of a function of tensors, by the names of `torch.autograd.functional`.

Inputs are a tensor or a tuple of tensors, and so are outputs. A result is tracked only with `create_graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gradmesh import _backward, _creation, _trace
from gradmesh._functions import layout
from gradmesh._modes import enable_grad
from gradmesh._tensor import Tensor
from gradmesh._value import Value
from gradmesh._vmap import vmap
from gradmesh.func import _basis, _Level
from gradmesh_engine.errors import AttributeTypeError, AutogradError, NotDifferentiableError

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]
_F = TypeVar("_F", bound=Function)
Inputs = Tensor | tuple[Tensor, ...]


def _tracking(function: _F) -> _F:
    """The function, recording inside `no_grad` too."""
    decorated: _F = enable_grad()(function)
    return decorated


def _as_tuple(given: Any, what: str, name: str) -> tuple[bool, tuple[Tensor, ...]]:
    several = isinstance(given, tuple)
    members = given if several else (given,)
    for index, member in enumerate(members):
        if not isinstance(member, Tensor):
            where = (
                f"value at index {index} has type {type(member)}"
                if several
                else f"given {what} has type {type(member)}"
            )
            raise AttributeTypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the {where}.",
                expected="a Tensor or a tuple of Tensors",
                got=type(member).__name__,
            )
    return several, members


class _Call:
    """One call of a function whose derivatives are wanted. Final.

    Attributes:
        inputs: the arguments it was called with, tracked.
        outputs: what it returned.
        several_inputs, several_outputs: whether these are tuples for the user.
    """

    def __init__(self, function: Function, inputs: Any, name: str, create_graph: bool, strict: bool) -> None:
        self.create_graph = create_graph
        self.strict = strict
        self.level = _Level()
        self.several_inputs, given = _as_tuple(inputs, "inputs", name)
        self.inputs: tuple[Tensor, ...] = self.level.marked(
            given if create_graph else tuple([t.detach() for t in given])
        )
        result = function(*self.inputs)
        self.several_outputs, self.outputs = _as_tuple(result, "outputs of the user-provided function", name)
        if strict:
            for index, output in enumerate(self.outputs):
                if not output.requires_grad:
                    raise AutogradError(
                        f"Output {index} of the user-provided function does not require gradients. The outputs must be "
                        "computed in a differentiable manner from the input when running in strict mode."
                    )

    def pulled(self, outputs: Sequence[Tensor], cotangents: Sequence[Any]) -> list[Tensor]:
        """The gradients with respect to the inputs, tracked."""
        return self.gradients(outputs, self.inputs, cotangents, "The output of the user-provided function")

    def gradients(
        self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Any], what: str
    ) -> list[Tensor]:
        """Gradients, tracked; zeros where no path leads, which raises AutogradError in strict mode."""
        values: list[Value | None] = [None if c is None else c.value for c in cotangents]
        found = _backward.recorded([o.value for o in outputs], [i.value for i in inputs], values)
        if self.strict:
            for index, value in enumerate(found):
                if value is None:
                    raise AutogradError(f"{what} is independent of input {index}. This is not allowed in strict mode.")
        return [
            _zeros_like(given) if value is None else _trace.wrap(value)
            for given, value in zip(inputs, found, strict=True)
        ]

    def out(self, tensors: Sequence[Tensor], several: bool) -> Any:
        """What the user gets for some tensors."""
        found = tuple([self.level.left(t) if self.create_graph else t.detach() for t in tensors])
        return found if several else found[0]


def _zeros_like(tensor: Tensor) -> Tensor:
    return _creation.zeros(tensor.shape, dtype=tensor.dtype)


def _vector(v: Any, like: Sequence[Tensor], several: bool, name: str, otherwise: str) -> list[Any]:
    """The members of a cotangent or tangent, None for 1. Raises AutogradError where they do not fit."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise AutogradError(f"The vector v can only be None if {otherwise}")
        return [None]
    _, members = _as_tuple(v, "v", name)
    if len(members) != len(like):
        if several:
            raise AutogradError(f"v is a tuple of invalid length: should be {len(like)} but got {len(members)}.")
        raise AutogradError("The given v should contain a single Tensor.")
    for index, (member, other) in enumerate(zip(members, like, strict=True)):
        if member.shape != other.shape:
            entry = f"Entry {index} in " if several else ""
            raise AutogradError(f"{entry}v has invalid size: should be {other.shape} but got {member.shape}.")
    return list(members)


_ONE_OUTPUT = "the user-provided function returns a single Tensor with a single element."
_ONE_INPUT = "the input to the user-provided function is a single Tensor with a single element."


@_tracking
def vjp(func: Function, inputs: Inputs, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The outputs of `func` and the gradients of their products with `v`, like the inputs.

    Args:
        func: from tensors to a tensor or a tuple of them.
        inputs: its arguments.
        v: like the outputs; 1 unless given, for one element.
        create_graph: whether results are tracked, for derivatives of higher order.
        strict: whether an input that no output depends on is an error rather than zeros.

    Raises AutogradError for a `v` that does not fit.

    Example: `gm.autograd.functional.vjp(gm.sin, gm.zeros(1))` is `(tensor([0.]), tensor([1.]))`.
    """
    call = _Call(func, inputs, "vjp", create_graph, strict)
    vectors = _vector(v, call.outputs, call.several_outputs, "vjp", _ONE_OUTPUT)
    gradients = call.pulled(call.outputs, vectors)
    return call.out(call.outputs, call.several_outputs), call.out(gradients, call.several_inputs)


@_tracking
def jvp(func: Function, inputs: Inputs, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The outputs of `func` and their derivatives along `v`, like the outputs.

    Args:
        func: from tensors to a tensor or a tuple of them.
        inputs: its arguments.
        v: like the inputs; 1 unless given, for one element.
        create_graph: whether results are tracked.
        strict: whether an output that does not depend on the inputs is an error rather than zeros.

    Raises AutogradError for a `v` that does not fit.

    Example: `gm.autograd.functional.jvp(gm.sin, gm.zeros(1))` is `(tensor([0.]), tensor([1.]))`.
    """
    call = _Call(func, inputs, "jvp", create_graph, strict)
    vectors = _vector(v, call.inputs, call.several_inputs, "jvp", _ONE_INPUT)
    # The pullback is linear in its cotangents, and its gradient by them the derivative along v.
    dummies = [call.level.marked(_zeros_like(output)) for output in call.outputs]
    pulled = call.pulled(call.outputs, dummies)
    pushed = call.gradients(pulled, dummies, vectors, "The gradient")
    return call.out(call.outputs, call.several_outputs), call.out(pushed, call.several_outputs)


def _checked_scalar(call: _Call, name: str) -> Tensor:
    if call.several_outputs:
        raise NotDifferentiableError(f"The function given to {name} should return a single Tensor")
    if call.outputs[0].numel() != 1:
        raise NotDifferentiableError(
            f"The Tensor returned by the function given to {name} should contain a single element"
        )
    return call.outputs[0]


def _hessian_product(call: _Call, v: Any, name: str) -> tuple[Any, Any]:
    """The output, and `v` times the Hessian on either side: Hessians are symmetric."""
    output = _checked_scalar(call, name)
    vectors = _vector(v, call.inputs, call.several_inputs, name, _ONE_INPUT)
    gradients = call.pulled([output], [None])
    products = call.gradients(gradients, call.inputs, vectors, "The jacobian of the user-provided function")
    return call.out([output], False), call.out(products, call.several_inputs)


@_tracking
def vhp(func: Function, inputs: Inputs, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The output of `func`, one element, and `v` times its Hessian, like the inputs.

    Args:
        func: from tensors to a tensor of one element.
        inputs: its arguments.
        v: like the inputs; 1 unless given, for one element.
        create_graph: whether results are tracked.
        strict: whether an input that does not count is an error rather than zeros.

    Raises NotDifferentiableError for more than one element, AutogradError for a `v` that does not fit.

    Example: `gm.autograd.functional.vhp(lambda x: (x ** 2).sum(), gm.ones(1), gm.ones(1))` is
    `(tensor(1.), tensor([2.]))`.
    """
    return _hessian_product(_Call(func, inputs, "vhp", create_graph, strict), v, "vhp")


@_tracking
def hvp(func: Function, inputs: Inputs, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The output of `func`, one element, and its Hessian times `v`, like the inputs: as `vhp`.

    Args:
        func: from tensors to a tensor of one element.
        inputs: its arguments.
        v: like the inputs; 1 unless given, for one element.
        create_graph: whether results are tracked.
        strict: whether an input that does not count is an error rather than zeros.

    Raises NotDifferentiableError for more than one element, AutogradError for a `v` that does not fit.

    Example: `gm.autograd.functional.hvp(lambda x: (x ** 2).sum(), gm.ones(1), gm.ones(1))` is
    `(tensor(1.), tensor([2.]))`.
    """
    return _hessian_product(_Call(func, inputs, "hvp", create_graph, strict), v, "hvp")


def _jacobian(call: _Call, outputs: Sequence[Tensor]) -> list[list[Tensor]]:
    """For each output and input the tracked Jacobian (*output, *input)."""
    found = []
    for output in outputs:
        rows = vmap(lambda unit, output=output: tuple(call.pulled([output], [unit])))(_basis(output))
        found.append(
            [layout.reshape(row, (*output.shape, *given.shape)) for row, given in zip(rows, call.inputs, strict=True)]
        )
    return found


@_tracking
def jacobian(
    func: Function,
    inputs: Inputs,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivatives of each output of `func` by each input, (*output, *input): a tuple for a tuple, outputs first.

    Args:
        func: from tensors to a tensor or a tuple of them.
        inputs: its arguments.
        create_graph: whether results are tracked.
        strict: whether an input that no output depends on is an error rather than zeros.
        vectorize: no effect: all rows are always computed together.
        strategy: no effect beyond its check: "reverse-mode" or "forward-mode".

    Raises AutogradError in strict mode.

    Example: `gm.autograd.functional.jacobian(lambda x: x * x, gm.ones(2))` is `tensor([[2., 0.], [0., 2.]])`.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AttributeTypeError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".',
            got=strategy,
        )
    call = _Call(func, inputs, "jacobian", create_graph, strict)
    rows = [call.out(row, call.several_inputs) for row in _jacobian(call, call.outputs)]
    return tuple(rows) if call.several_outputs else rows[0]


@_tracking
def hessian(
    func: Function,
    inputs: Inputs,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of `func`, one element, by each two inputs, (*input, *other): tuples for a tuple.

    Args:
        func: from tensors to a tensor of one element.
        inputs: its arguments.
        create_graph: whether results are tracked.
        strict: whether an input that does not count is an error rather than zeros.
        vectorize: no effect: all rows are always computed together.
        outer_jacobian_strategy: no effect.

    Raises NotDifferentiableError for more than one element.

    Example: `gm.autograd.functional.hessian(lambda x: (x ** 3).sum(), gm.ones(1))` is `tensor([[6.]])`.
    """
    call = _Call(func, inputs, "hessian", create_graph, strict)
    output = _checked_scalar(call, "hessian")
    rows = [call.out(row, call.several_inputs) for row in _jacobian(call, call.pulled([output], [None]))]
    return tuple(rows) if call.several_inputs else rows[0]
