"""What derivatives read of what was recorded: hooks that users put around it, and writes that they allow to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from gradmesh import _tensor
from gradmesh._hooks import node_hooks
from gradmesh._modes import STATE
from gradmesh._value import App, Made, Value, alias, saved, user_line
from gradmesh_engine.errors import AttributeTypeError, AutogradError

Pair = tuple[Callable[[Any], Any], Callable[[Any], Any]]


class Allowance:
    """Nodes recorded while it is open may have what they read written to. Final.

    Attributes:
        over: whether it was closed.
    """

    def __init__(self) -> None:
        self.over = False


class Packed:
    """What a pack hook made of a tensor, and what gives the tensor back. Final."""

    __slots__ = ("_packed", "_unpack", "_value")

    def __init__(self, tensor: Any, pair: Pair) -> None:
        pack, self._unpack = pair
        self._value: Value = tensor.value
        before = tensor._version
        grad, STATE.grad = STATE.grad, False
        saving, STATE.saving = STATE.saving, None
        try:
            self._packed = pack(tensor)
        finally:
            STATE.grad, STATE.saving = grad, saving
        if tensor._version != before:
            raise AutogradError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook "
                "cannot be modified by in-place operations as this can lead to unexpected side-effects.",
                source=user_line(),
            )

    def value(self) -> Value:
        """What the unpack hook gives, in the place of the tensor's content. Raises AttributeTypeError."""
        grad, STATE.grad = STATE.grad, False
        try:
            tensor = self._unpack(self._packed)
        finally:
            STATE.grad = grad
        if not isinstance(tensor, _tensor.Tensor):
            raise AttributeTypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(tensor).__name__}",
                expected="Tensor",
                got=type(tensor).__name__,
                source=user_line(),
            )
        found = tensor.value
        if found is self._value or not self._value.requires_grad:
            return found
        from gradmesh._views import history_of

        return alias(found, True, history_of(self._value))


_UNSEEN: Final = frozenset({"alias", "detach", "tag"})


def attach(made: Made, app: App, inputs: Sequence[Value], results: Sequence[Value]) -> None:
    """Pack what the derivative of a node reads, and note whether it may be written to."""
    if app.op in _UNSEEN:
        return
    hooks = node_hooks(made)
    hooks.allowance = STATE.allowance
    if STATE.saving is None:
        return
    uses = saved(app, tuple([value.requires_grad for value in inputs]))
    for index, (used, value) in enumerate(zip(uses, (*inputs, *results), strict=True)):
        number = not value.requires_grad and not value.spec.shape and value.data is not None
        if used and not number:
            hooks.packed[index] = Packed(_tensor.Tensor(value), STATE.saving)


def check_allowance(made: Made) -> bool:
    """Whether what a node reads may have been written to. Raises AutogradError after the allowance is over."""
    hooks = made.hooks
    allowance: Allowance | None = None if hooks is None else hooks.allowance
    if allowance is None:
        return False
    if allowance.over:
        raise AutogradError(
            "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was "
            "originally recorded.",
            source=user_line(),
        )
    return True
