"""The nodes around a call of a module that backward hooks are attached to."""

from __future__ import annotations

from typing import Any

from gradmesh._function import Function
from gradmesh._tensor import Tensor


class BackwardHookFunction(Function):
    """Passes tensors through, as a node at the border of a module that hooks are attached to. Final."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors themselves."""
        return tensors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """The gradients themselves."""
        return gradients


class Border:
    """The two nodes around one call of a module that its backward hooks are attached to. Final."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.grad_outputs: tuple[Any, ...] = ()
        self.inputs: tuple[int, ...] = ()
        self.width = 0

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with a node behind them when one requires grad."""
        self.width = len(args)
        passed, node = _through(args)
        if node is not None:
            self.inputs = tuple(i for i, arg in enumerate(args) if isinstance(arg, Tensor))
            node.register_hook(lambda inputs, outputs: self.after(inputs))
        return passed

    def leave(self, result: Any) -> Any:
        """The result, with a node before it when it requires grad."""
        several = isinstance(result, (tuple, list))
        passed, node = _through(tuple(result) if several else (result,))
        if node is not None:
            node.register_prehook(self.before)
        return type(result)(passed) if several else passed[0]

    def before(self, grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Run the pre hooks."""
        for hook in list(self.module._backward_pre_hooks.values()):
            changed = hook(self.module, grad_outputs)
            if changed is not None:
                grad_outputs = changed if isinstance(changed, tuple) else (changed,)
        self.grad_outputs = grad_outputs
        if not self.inputs:
            self.after(())
        return grad_outputs

    def after(self, gradients: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Run the hooks."""
        at = dict(zip(self.inputs, gradients, strict=True))
        given = tuple([at.get(index) for index in range(self.width)])
        for hook in list(self.module._backward_hooks.values()):
            changed = hook(self.module, given, self.grad_outputs)
            if changed is not None:
                given = changed if isinstance(changed, tuple) else (changed,)
        return tuple([given[index] for index in self.inputs])


def _through(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Tensors among values behind a common node, and the node; None when nothing requires grad."""
    at = [index for index, value in enumerate(values) if isinstance(value, Tensor)]
    if not any(values[index].requires_grad for index in at):
        return values, None
    passed = list(values)
    for index, tensor in zip(at, BackwardHookFunction.apply(*[values[index] for index in at]), strict=True):
        passed[index] = tensor
    node = next(passed[index].grad_fn for index in at if passed[index].requires_grad)
    return tuple(passed), node
