"""Forward-mode differentiation: tensors that carry a tangent, by the names of `torch.autograd.forward_ad`.

A dual tensor is a tracked copy of its primal: it requires grad, and so does what is computed from it. The tangent of
that is the derivative of the pullback by its cotangent, which is linear, so every op that has a derivative at all has
this one too, and a custom Function needs no `jvp`. Under `no_grad` nothing is tracked, and tangents end there,
as they do in gradients computed without `create_graph`.
"""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple

from gradmesh import _backward, _trace
from gradmesh._creation import zeros
from gradmesh._grad_fn import edge_of, node_name
from gradmesh._modes import STATE, enable_grad
from gradmesh._tensor import Tensor
from gradmesh._value import Made, Value, application, user_line
from gradmesh.func import _Level, _pulled
from gradmesh_engine.errors import AutogradError, InvalidRequestError

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent.

    Attributes:
        primal: the tensor, which carries no tangent.
        tangent: of its shape; None where it depends on no dual tensor.
    """

    primal: Tensor
    tangent: Tensor | None


class _Duals:
    """The dual tensors of one level. Final.

    Attributes:
        tangents: of each dual tensor, by its value.
        parts: what was unpacked and is tracked still: it carries no tangent, though it depends on dual tensors.
    """

    def __init__(self) -> None:
        self.level = _Level()
        self.tangents: dict[Value, Tensor] = {}
        self.parts: set[Made] = set()

    def make(self, primal: Tensor, tangent: Tensor) -> Tensor:
        """A dual tensor."""
        dual: Tensor = self.level.marked(primal)
        self.tangents[dual.value] = tangent
        return dual

    def unpack(self, tensor: Tensor) -> UnpackedDualTensor:
        """The tensor and its tangent."""
        value = tensor.value
        reached = self._reached(value)
        if not reached:
            return UnpackedDualTensor(tensor, None)
        with enable_grad():
            dummy: Tensor = self.level.marked(zeros(tensor.shape, dtype=tensor.dtype))
            pulled = _backward.recorded([value], reached, [dummy.value], self.parts)
            there = [(p, self.tangents[mark]) for p, mark in zip(pulled, reached, strict=True) if p is not None]
            (tangent,) = _pulled([_trace.wrap(p) for p, _ in there], [dummy], [t for _, t in there])
            return UnpackedDualTensor(self._part(tensor), self._part(tangent))

    def _part(self, tensor: Tensor) -> Tensor:
        outside: Tensor = self.level.left(tensor)
        value = outside.value
        if not value.requires_grad:
            return outside
        part = Value(value.spec, None, application("alias", (value.spec,), {}), (value,), True)
        behind = edge_of(value)[0]
        assert isinstance(behind, Made)
        part.meta = node_name(behind)
        self.parts.add(part)
        return _trace.wrap(part)

    def _reached(self, value: Value) -> list[Value]:
        """The dual tensors a value depends on."""
        seen: set[Value] = set()
        stack = [value]
        while stack:
            value = stack.pop()
            if value in seen or not value.requires_grad:
                continue
            seen.add(value)
            made, _ = edge_of(value)
            if value not in self.tangents and isinstance(made, Made) and made not in self.parts:
                stack += made.inputs
        return [mark for mark in self.tangents if mark in seen]


def _current(level: int | None) -> _Duals | None:
    duals: _Duals | None = STATE.duals
    return duals if level in (None, 0) else None


def enter_dual_level() -> int:
    """Begin a level, in which tensors carry tangents; its number, 0.

    Raises AutogradError inside another one.

    Example: `level = gm.autograd.forward_ad.enter_dual_level()`
    """
    if STATE.duals is not None:
        raise AutogradError("Nested forward mode AD is not supported at the moment", source=user_line())
    STATE.duals = _Duals()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End a level: its tensors carry no tangents any more.

    Raises AutogradError for another level than the one that was begun.

    Example: `gm.autograd.forward_ad.exit_dual_level()`
    """
    if STATE.duals is None:
        raise AutogradError("Dual level must be a positive number.", source=user_line())
    if level not in (None, 0):
        raise AutogradError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported.",
            source=user_line(),
        )
    STATE.duals = None


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A copy of a tensor that carries a tangent.

    Args:
        tensor: floating point or complex.
        tangent: of its shape; both or neither complex.
        level: None or that of `enter_dual_level`.

    Raises AutogradError without a level or for another shape, InvalidRequestError for another kind of dtype.

    Example: `gm.autograd.forward_ad.make_dual(gm.zeros(2), gm.ones(2))`
    """
    if STATE.duals is None:
        raise AutogradError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.",
            source=user_line(),
        )
    duals = _current(level)
    if duals is None:
        raise AutogradError("Invalid level given to _make_dual", source=user_line())
    for what, given in (("primal", tensor), ("tangent", tangent)):
        if not (given.is_floating_point() or given.is_complex()):
            raise InvalidRequestError(
                f"Expected {what} to be floating point or complex, but got: {given.dtype}", source=user_line()
            )
    if tensor.shape != tangent.shape:
        raise AutogradError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}.",
            source=user_line(),
        )
    if tensor.is_complex() != tangent.is_complex():
        raise InvalidRequestError(f"Expected a tangent of {tensor.dtype}, but got: {tangent.dtype}", source=user_line())
    return duals.make(tensor, tangent.to(tensor.dtype))


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor and its tangent: None outside of a level, and where the tensor depends on no dual one.

    Example: `gm.autograd.forward_ad.unpack_dual(dual.sin()).tangent`
    """
    duals = _current(level)
    return UnpackedDualTensor(tensor, None) if duals is None else duals.unpack(tensor)


class dual_level:
    """A level while it lasts; gives its number. Final.

    Example:
        with gm.autograd.forward_ad.dual_level():
            dual = gm.autograd.forward_ad.make_dual(x, v)
            derivative = gm.autograd.forward_ad.unpack_dual(f(dual)).tangent
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exit_dual_level()
