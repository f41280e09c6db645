"""L-BFGS: a quasi-Newton method with a short memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gradmesh._functions import binary, convert, layout, linalg, reduce, select, unary
from gradmesh._modes import enable_grad, no_grad
from gradmesh._tensor import Tensor
from gradmesh.optim.optimizer import Optimizer, checked, real
from gradmesh_engine.errors import InvalidRequestError

__all__ = ["LBFGS"]


class _Point(NamedTuple):
    """A place along the search line: step length, loss, gradient, and the gradient's part along the line."""

    step: float
    loss: float
    gradient: Tensor
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4) on all tensors as one vector.

    Every evaluation of the loss is read, so a step makes several requests.

    Args:
        params: tensors; one group only.
        lr: step length, at least 0.
        max_iter: most iterations in a step.
        max_eval: most evaluations of the loss in a step; 1.25 max_iter unless given.
        tolerance_grad: a step ends when no part of the gradient is larger.
        tolerance_change: a step ends when no part changes by more.
        history_size: how many changes of the gradient are kept.
        line_search_fn: None, or "strong_wolfe".

    Raises InvalidRequestError for a negative lr, several groups or another line search.

    Example: `gm.optim.LBFGS(model.parameters()).step(closure)`
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        checked(lr=("learning rate", lr))
        if line_search_fn not in (None, "strong_wolfe"):
            raise InvalidRequestError("only 'strong_wolfe' is supported", got=str(line_search_fn))
        options = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, options)
        if len(self.param_groups) != 1:
            raise InvalidRequestError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        parts = [layout.reshape(real(p.detach() * 0 if p.grad is None else p.grad), (-1,)) for p in self._params]
        return select.cat(parts, 0)

    def _move(self, step: float, direction: Tensor) -> None:
        start = 0
        for param in map(real, self._params):
            part = direction[start : start + param.numel()]
            param.add_(binary.mul(layout.reshape(part, tuple(param.shape)), step))
            start += param.numel()

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Take several steps; returns the first loss. `closure` computes the loss and its gradients anew."""
        self.stepped = True
        with no_grad():
            return self._step(enable_grad()(closure))

    def _step(self, evaluate: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = evaluate()
        loss, evaluations = float(first), 1
        state["func_evals"] += 1
        gradient = self._gradient()
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        direction, length = state.get("d"), state.get("t", 0.0)
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient, direction, length)
            state["prev_flat_grad"], state["prev_loss"] = gradient, loss
            length = group["lr"]
            if state["n_iter"] == 1:
                length *= min(1.0, 1.0 / float(reduce.sum(unary.abs(gradient))))
            slope = float(linalg.dot(gradient, direction))
            if slope > -group["tolerance_change"]:
                break
            before, made = loss, 0
            if group["line_search_fn"] is not None:
                here = _Point(0.0, loss, gradient, slope)
                most = group["max_eval"] - evaluations
                found, made = self._search(evaluate, here, length, direction, most)
                loss, gradient, length = found.loss, found.gradient, found.step
                self._move(length, direction)
            else:
                self._move(length, direction)
                if iteration != group["max_iter"]:
                    loss, gradient, made = float(evaluate()), self._gradient(), 1
            evaluations += made
            state["func_evals"] += made
            if (
                evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction) * length <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        state["d"], state["t"] = direction, length
        return first

    def _direction(self, state: dict[str, Any], gradient: Tensor, direction: Any, length: float) -> Tensor:
        """The quasi-Newton direction; remembers the gradient's change along the last one."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return unary.neg(gradient)
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        change = binary.sub(gradient, state["prev_flat_grad"])
        step = binary.mul(direction, length)
        along = float(linalg.dot(change, step))
        if along > 1e-10:
            if len(changes) == self.param_groups[0]["history_size"]:
                for kept in (changes, steps, ro):
                    kept.pop(0)
            changes.append(change)
            steps.append(step)
            ro.append(1.0 / along)
            state["H_diag"] = along / float(linalg.dot(change, change))
        found = unary.neg(gradient)
        factors = []
        for change, step, inverse in zip(reversed(changes), reversed(steps), reversed(ro), strict=True):
            factors.append(binary.mul(linalg.dot(step, found), inverse))
            found = binary.sub(found, binary.mul(change, factors[-1]))
        found = binary.mul(found, state["H_diag"])
        for change, step, inverse, factor in zip(changes, steps, ro, reversed(factors), strict=True):
            other = binary.mul(linalg.dot(change, found), inverse)
            found = binary.add(found, binary.mul(step, binary.sub(factor, other)))
        return found

    def _search(
        self, evaluate: Callable[[], Any], here: _Point, step: float, direction: Tensor, most: int
    ) -> tuple[_Point, int]:
        """A point along the line that meets the strong Wolfe conditions, and how many evaluations found it.

        Nocedal and Wright, algorithms 3.5 and 3.6, with cubic interpolation.
        """
        start = [convert.clone(param.detach()) for param in self._params]

        def at(step: float) -> _Point:
            self._move(step, direction)
            loss = float(evaluate())
            gradient = self._gradient()
            slope = float(linalg.dot(gradient, direction))
            for param, content in zip(self._params, start, strict=True):
                param.copy_(content)
            return _Point(step, loss, gradient, slope)

        def too_high(point: _Point) -> bool:
            return point.loss > here.loss + 1e-4 * point.step * here.slope

        def flat(point: _Point) -> bool:
            return abs(point.slope) <= -0.9 * here.slope

        size, tolerance = _largest(direction), 1e-9
        before, point = here, at(step)
        made = 1
        turns = 0
        low: _Point | None = None
        while turns < most:
            if too_high(point) or (turns > 1 and point.loss >= before.loss):
                low, high = before, point
                break
            if flat(point):
                return point, made
            if point.slope >= 0:
                low, high = before, point
                break
            bounds = point.step + 0.01 * (point.step - before.step), point.step * 10
            before, point = point, at(_cubic(before, point, bounds))
            made += 1
            turns += 1
        if low is None:
            low, high = here, point
        # `first` and `last` keep the bracket's order, which the interpolation depends on.
        first, last = low, high
        stalled = False
        low, high = (first, last) if first.loss <= last.loss else (last, first)
        while turns < most:
            if abs(last.step - first.step) * size < tolerance:
                break
            left, right = sorted((first.step, last.step))
            step = _cubic(first, last, (left, right))
            margin = 0.1 * (right - left)
            if min(right - step, step - left) < margin:
                if stalled or step >= right or step <= left:
                    step = right - margin if abs(step - right) < abs(step - left) else left + margin
                    stalled = False
                else:
                    stalled = True
            else:
                stalled = False
            point = at(step)
            made += 1
            turns += 1
            low_is_first = low is first
            if too_high(point) or point.loss >= low.loss:
                first, last = (low, point) if low_is_first else (point, low)
                low, high = (first, last) if first.loss <= last.loss else (last, first)
                continue
            done = flat(point)
            if not done and point.slope * (high.step - low.step) >= 0:
                high = low
            low = point
            first, last = (low, high) if low_is_first else (high, low)
            if done:
                break
        return low, made


def _largest(tensor: Tensor) -> float:
    return float(reduce.max(unary.abs(tensor)))


def _cubic(one: _Point, other: _Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points with their slopes is least, within bounds."""
    left, right = bounds
    first = one.slope + other.slope - 3 * (one.loss - other.loss) / (one.step - other.step)
    square = first**2 - one.slope * other.slope
    if square < 0:
        return (left + right) / 2.0
    if one.step > other.step:
        one, other = other, one
    root = math.sqrt(square)
    share = (other.slope + root - first) / (other.slope - one.slope + 2 * root)
    return min(max(other.step - (other.step - one.step) * share, left), right)
