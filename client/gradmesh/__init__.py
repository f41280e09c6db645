"""gradmesh."""

from gradmesh_engine.cpu import choose_kernels as _choose_kernels

_choose_kernels()
