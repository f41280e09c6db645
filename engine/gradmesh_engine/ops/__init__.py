"""The op table. Importing this package declares every op."""

from gradmesh_engine.ops import pointwise as _pointwise  # noqa: F401
from gradmesh_engine.ops.base import TABLE, Attr, Composite, Factor, Op, Primitive, Site, lookup, primitive_of

__all__ = ["TABLE", "Attr", "Composite", "Factor", "Op", "Primitive", "Site", "lookup", "primitive_of"]
