"""Values that must lie within limits, seen when they are computed."""

from __future__ import annotations

import numpy as np

from gradmesh_engine.builder import V
from gradmesh_engine.errors import InvalidRequestError
from gradmesh_engine.ops.base import Attr, Primitive, Site, declare
from gradmesh_engine.ops.pointwise import Run, pointwise_axes


def _within_kernel(site: Site) -> Run:
    least, most = site.attrs["least"], site.attrs["most"]
    message = str(site.attrs["message"])

    def run(x: np.ndarray, out: np.ndarray) -> None:
        # NaN lies nowhere.
        if x.size and not (x.min() >= least and x.max() <= most):
            raise InvalidRequestError(message, expected=f"{least:g} to {most:g}", got=f"{x.min()} to {x.max()}")
        if out is not x:
            np.copyto(out, x)

    return run


def _within_vjp(g: V, y: V, x: V, least: float, most: float, message: str) -> tuple[V]:
    return (g,)


within = declare(
    Primitive(
        name="within",
        arity=1,
        attrs={"least": Attr("float"), "most": Attr("float"), "message": Attr("str", doc="what an error says")},
        grad_name="AliasBackward0",
        doc="Its operand; an error where an element is not in [least, most].",
        spec=lambda specs, least, most, message: specs[0],
        kernel=_within_kernel,
        vjp=_within_vjp,
        axes=pointwise_axes,
        cost=lambda specs, out, attrs: 3.0 * out.size,
        cheap=True,
    )
)
