"""finfo and iinfo: what the numbers of a dtype can be."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from gradmesh import _dtype
from gradmesh_engine.errors import UnknownDTypeError


class finfo:
    """Limits of a floating dtype, by default the default one. Final.

    Attributes:
        bits: of one number (of its real part, if complex).
        eps: 1 + eps is the next number after 1.
        max: the largest number.
        min: the smallest, -max.
        tiny, smallest_normal: the smallest positive number of full precision.
        resolution: of decimal digits.
        dtype: the dtype's name.

    Raises UnknownDTypeError for another dtype.

    Example: `gm.finfo(gm.float16).max` is `65504.0`.
    """

    def __init__(self, type: _dtype.DTypeLike | None = None) -> None:
        given = _dtype.get_default_dtype() if type is None else _dtype.of(type)
        if not (given.is_floating_point or given.is_complex):
            raise UnknownDTypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{given}'",
                expected="a floating dtype",
                got=given.name,
            )
        part = np.zeros((), given.np).real.dtype if given.is_complex else given.np
        info = ml_dtypes.finfo(part)  # type: ignore[no-untyped-call]
        self.bits = int(info.bits)
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(f"1e-{info.precision}")
        self.dtype = part.name

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        shown = ", ".join(f"{name}={getattr(self, name):.6g}" for name in names)
        return f"finfo({shown}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype. Final.

    Attributes:
        bits: of one number.
        max: the largest number.
        min: the smallest.
        dtype: the dtype's name.

    Raises UnknownDTypeError for another dtype.

    Example: `gm.iinfo(gm.int8).max` is `127`.
    """

    def __init__(self, type: _dtype.DTypeLike) -> None:
        given = _dtype.of(type)
        if given.np.kind not in "iu":
            raise UnknownDTypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{given}'",
                expected="an integer dtype",
                got=given.name,
            )
        info = np.iinfo(given.np)
        self.bits, self.max, self.min, self.dtype = int(info.bits), int(info.max), int(info.min), given.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:.6g}, max={self.max:.6g}, dtype={self.dtype})"
