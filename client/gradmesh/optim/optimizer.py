"""Optimizer: groups of parameters, their state, and the step that changes them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from gradmesh import _trace
from gradmesh._functions._common import one
from gradmesh._hooks import RemovableHandle
from gradmesh._modes import enable_grad, no_grad
from gradmesh._tensor import Tensor
from gradmesh.nn.modules.module import attach, clear_grad
from gradmesh_engine import dtypes
from gradmesh_engine.errors import AttributeTypeError, InvalidRequestError

__all__ = ["Optimizer"]

Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]

# Options that say how PyTorch runs a step: shown, and otherwise of no effect here.
HINTS: Final[Group] = {"foreach": None, "capturable": False, "differentiable": False, "fused": None}


class Optimizer:
    """Base of optimizers: subclass it and define `update`. Abstract.

    Args:
        params: tensors; dicts with "params" and options of their own; or (name, tensor) pairs.
        defaults: the options of groups that have none of their own.

    Attributes:
        param_groups: for each group its options and, under "params", its tensors.
        state: for each tensor what the optimizer keeps about it.
        stepped: whether a step was taken.

    Raises AttributeTypeError for a params argument of another kind, InvalidRequestError for an empty one.
    """

    def __init__(self, params: Params, defaults: Group) -> None:
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self.stepped = False
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        self._state_pre_hooks: dict[int, Callable[..., Any]] = {}
        self._state_hooks: dict[int, Callable[..., Any]] = {}
        self._load_pre_hooks: dict[int, Callable[..., Any]] = {}
        self._load_hooks: dict[int, Callable[..., Any]] = {}
        if isinstance(params, Tensor):
            raise AttributeTypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{type(params).__name__}",
                expected="an iterable of Tensors or dicts",
                got=type(params).__name__,
            )
        given = list(params)
        if not given:
            raise InvalidRequestError("optimizer got an empty parameter list")
        if not isinstance(given[0], dict):
            given = [{"params": given}]
        for group in given:
            self.add_param_group(group)  # type: ignore[arg-type]

    def add_param_group(self, param_group: Group) -> None:
        """Add a group: "params", and options that differ from the defaults.

        Raises AttributeTypeError for what is no tensor, InvalidRequestError for a tensor that is computed or known.
        """
        if not isinstance(param_group, dict):
            raise AttributeTypeError(
                f"param_group must be a dict, but got {type(param_group)}", expected="dict", got=str(type(param_group))
            )
        group = dict(param_group)
        given = group["params"]
        members = [given] if isinstance(given, Tensor) else list(given)
        if members and isinstance(members[0], tuple):
            group["param_names"] = [name for name, _ in members]
            members = [tensor for _, tensor in members]
        for tensor in members:
            if not isinstance(tensor, Tensor):
                raise AttributeTypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(tensor).__name__}",
                    expected="Tensor",
                    got=type(tensor).__name__,
                )
            if not (tensor.is_leaf or tensor.retains_grad):
                raise InvalidRequestError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            group.setdefault(name, default)
        known = set(itertools.chain.from_iterable(g["params"] for g in self.param_groups))
        if not known.isdisjoint(members):
            raise InvalidRequestError("some parameters appear in more than one parameter group")
        group["params"] = members
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all tensors, or fill them with zeros."""
        for group in self.param_groups:
            for tensor in group["params"]:
                clear_grad(tensor, set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every tensor that has a gradient, in place; nothing is evaluated.

        `closure`, where given, computes the loss and its gradients anew, and its result is returned.
        """
        self.stepped = True
        given = (self,) if closure is None else (self, closure)
        for hook in list(self._pre_hooks.values()):
            hook(self, given, {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for tensor in group["params"]:
                    if tensor._leaf().grad is not None:
                        self._update(group, tensor)
        for hook in list(self._post_hooks.values()):
            hook(self, given, {})
        return loss

    def _update(self, group: Group, tensor: Tensor) -> None:
        gradient = real(tensor.grad)  # type: ignore[arg-type]
        if group.get("maximize"):
            gradient = -gradient
        state, param = self.state[tensor], real(tensor)
        if param is tensor:
            self.update(group, state, param, gradient)
            return
        # What is kept of a complex tensor is complex, too, and given as real.
        given = {name: real(value) if isinstance(value, Tensor) else value for name, value in state.items()}
        left = dict(given)
        self.update(group, left, param, gradient)
        for name, value in left.items():
            if value is not given.get(name):
                alike = isinstance(value, Tensor) and value.shape == param.shape
                state[name] = one("view_as_complex", value) if alike else value

    def update(self, group: Group, state: dict[str, Any], param: Tensor, gradient: Tensor) -> None:
        """Change one tensor in place. A complex one is given as real, with its parts in a last dim.

        Numbers that may change from step to step are operands, never attributes of ops: so every step
        has the same graph.
        """
        raise NotImplementedError

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step, args beginning with the optimizer."""
        return RemovableHandle.into(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step, args beginning with the optimizer."""
        return RemovableHandle.into(self._post_hooks, hook)

    # --- state --------------------------------------------------------------------------------------

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return attach(self._state_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; what it returns replaces the state."""
        return attach(self._state_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`; what it returns replaces the state."""
        return attach(self._load_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return attach(self._load_hooks, hook, prepend)

    def state_dict(self) -> dict[str, Any]:
        """The state by number of the tensor, and the groups with numbers in place of tensors."""
        for hook in list(self._state_pre_hooks.values()):
            hook(self)
        return _replaced(self._state_hooks, self, self._numbered())

    def _numbered(self) -> dict[str, Any]:
        number = {id(tensor): index for index, tensor in enumerate(self._tensors())}
        groups = []
        for group in self.param_groups:
            shown = {name: value for name, value in group.items() if name != "params"}
            groups.append({**shown, "params": [number[id(tensor)] for tensor in group["params"]]})
        state = {number[id(tensor)]: kept for tensor, kept in self.state.items() if kept and id(tensor) in number}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and options from `state_dict()` of an optimizer of as many tensors.

        Raises InvalidRequestError when groups or their sizes differ.
        """
        state_dict = _replaced(self._load_pre_hooks, self, dict(state_dict))
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise InvalidRequestError("loaded state dict has a different number of parameter groups")
        sizes = [len(group["params"]) for group in groups]
        if sizes != [len(group["params"]) for group in self.param_groups]:
            raise InvalidRequestError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        tensors = list(self._tensors())
        numbers = itertools.chain.from_iterable(group["params"] for group in groups)
        at = dict(zip(numbers, tensors, strict=True))
        self.state = defaultdict(dict)
        for number, kept in state_dict["state"].items():
            tensor = at[int(number)]
            self.state[tensor] = {name: _copied(name, value, tensor) for name, value in kept.items()}
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            mine.update({name: value for name, value in theirs.items() if name != "params"})
        for hook in list(self._load_hooks.values()):
            hook(self)

    def _tensors(self) -> Iterable[Tensor]:
        return itertools.chain.from_iterable(group["params"] for group in self.param_groups)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for index, group in enumerate(self.param_groups):
            options = [f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params"]
            text += f"\nParameter Group {index}\n{''.join(options)}"
        return text + ")"


def _replaced(hooks: dict[int, Callable[..., Any]], optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A state, or what hooks return instead."""
    for hook in list(hooks.values()):
        changed = hook(optimizer, state)
        state = state if changed is None else changed
    return state


def _copied(name: str, value: Any, like: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(like.dtype).clone() if like.is_floating_point() and name != "step" else value.clone()


def real(tensor: Tensor) -> Tensor:
    """A complex tensor as real, its parts in a last dim, shared; a real one itself."""
    return one("view_as_real", tensor) if dtypes.is_complex(tensor.np_dtype) else tensor


def count_step(state: dict[str, Any]) -> float:
    """Count one step, kept under "step" as a float32 tensor; how many there are now."""
    count = float(state["step"].item()) + 1 if "step" in state else 1.0
    state["step"] = _trace.constant(np.array(count, np.float32))
    return count


def checked(**options: tuple[str, float]) -> None:
    """Raises InvalidRequestError for a negative option, each given with what errors call it."""
    for what, value in options.values():
        if not value >= 0:
            raise InvalidRequestError(f"Invalid {what}: {value}", expected="at least 0", got=str(value))
