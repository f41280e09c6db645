"""Signal processing: `windows`."""

from gradmesh.signal import windows

__all__ = ["windows"]
