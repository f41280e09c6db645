"""The seam to whatever runs programs. Its types are the engine's, since the workers' side makes them too."""

from gradmesh_engine.backend import (
    Backend,
    BackendStats,
    Operand,
    Outcome,
    Pieces,
    StageRun,
    Tensor,
    WorkerInfo,
)

__all__ = ["Backend", "BackendStats", "Operand", "Outcome", "Pieces", "StageRun", "Tensor", "WorkerInfo"]
