"""A differentiable function of your own: a forward and a backward, traced once, run anywhere.

    python examples/custom_function.py

The code stays here: a service gets the operations the two methods record, never Python code.
"""

from __future__ import annotations

import sys
from typing import Any

import gradmesh as gm
import numpy as np


class ClippedExp(gm.autograd.Function):
    """exp(x) whose gradient is held within ± `limit`, so that one huge value cannot throw training off."""

    @staticmethod
    def forward(ctx: Any, x: gm.Tensor, limit: float) -> gm.Tensor:
        """exp(x), of the shape of x."""
        result = gm.exp(x)
        ctx.save_for_backward(result)
        ctx.limit = limit
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: gm.Tensor) -> tuple[gm.Tensor, None]:
        """The gradient by x; `limit` has none."""
        (result,) = ctx.saved_tensors
        return (grad_output * result).clamp(-ctx.limit, ctx.limit), None


def main() -> int:
    """Print value, grad_fn and gradient; exit with 1 when they are wrong."""
    x = gm.tensor([0.0, 1.0, 8.0], requires_grad=True)
    y = ClippedExp.apply(x, 10.0)
    print(y)
    print(y.grad_fn.name(), "->", [f.name() for f, _ in y.grad_fn.next_functions if f is not None])
    y.sum().backward()
    print(x.grad)
    expected = np.minimum(np.exp(np.array([0.0, 1.0, 8.0], np.float32)), 10.0)
    return 0 if x.grad is not None and np.allclose(x.grad.numpy(), expected) else 1


if __name__ == "__main__":
    sys.exit(main())
