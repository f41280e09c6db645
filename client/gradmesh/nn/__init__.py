"""Functions of neural networks."""

from gradmesh.nn import functional

__all__ = ["functional"]
