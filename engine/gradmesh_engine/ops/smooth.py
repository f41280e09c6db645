"""Pointwise functions of one operand: exponentials, logarithms, powers, trigonometry."""

from __future__ import annotations

import numpy as np

from gradmesh_engine.ops.base import Site
from gradmesh_engine.ops.pointwise import Run, conjugate, floating, in_float32, pointwise

# --- exponentials and logarithms ------------------------------------------------------------------

exp = pointwise("exp", np.exp, compute=floating, cost=4.0, vjp=lambda g, y, x: (g * conjugate(y),), doc="e^x")
expm1 = pointwise(
    "expm1", np.expm1, compute=floating, cost=4.0, vjp=lambda g, y, x: (g * conjugate(y + 1),), doc="e^x - 1"
)
log = pointwise(
    "log", np.log, compute=floating, cost=4.0, vjp=lambda g, y, x: (g / conjugate(x),), doc="Natural logarithm."
)
log1p = pointwise(
    "log1p", np.log1p, compute=floating, cost=4.0, vjp=lambda g, y, x: (g / conjugate(x + 1),), doc="log(1 + x)"
)

# --- roots ----------------------------------------------------------------------------------------

sqrt = pointwise(
    "sqrt", np.sqrt, compute=floating, cost=3.0, vjp=lambda g, y, x: (g / conjugate(y * 2),), doc="Square root."
)

# --- the logistic function and tanh ---------------------------------------------------------------

tanh = pointwise(
    "tanh",
    np.tanh,
    compute=floating,
    cost=5.0,
    vjp=lambda g, y, x: (g * conjugate(1 - y * y),),
    doc="Hyperbolic tangent.",
)


@in_float32
def _sigmoid_kernel(site: Site) -> Run:
    def run(x: np.ndarray, out: np.ndarray) -> None:
        # exp overflows to infinity for very negative x, and 1 / infinity is the right answer.
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        np.reciprocal(out, out=out)

    return run


sigmoid = pointwise(
    "sigmoid",
    _sigmoid_kernel,
    compute=floating,
    cost=7.0,
    vjp=lambda g, y, x: (g * conjugate(y * (1 - y)),),
    doc="1 / (1 + e^-x)",
)
