"""What the layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gradmesh import _creation, _dtype
from gradmesh.nn.modules.module import Module
from gradmesh.nn.parameter import Parameter


class Layer(Module):
    """A module whose line shows some of its attributes. Abstract.

    Attributes:
        shown: names of attributes, shown as name=value; with a leading "=", as the value alone.
    """

    shown: ClassVar[tuple[str, ...]] = ()

    def extra_repr(self) -> str:
        """The shown attributes."""
        parts = [str(getattr(self, n[1:])) if n[0] == "=" else f"{n}={getattr(self, n)!r}" for n in self.shown]
        return ", ".join(parts)


def each(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One size per dim."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def made_bias(size: int, wanted: bool, *, dtype: _dtype.DTypeLike | None, device: object) -> Parameter | None:
    """A vector to be filled, or None where no bias is wanted."""
    return Parameter(_creation.empty(size, dtype=dtype, device=device)) if wanted else None
