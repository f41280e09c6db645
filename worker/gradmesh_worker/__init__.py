"""The Ray side: workers, the placing of data, recovery. The only package that imports ray."""

from gradmesh_worker.backend import RayBackend
from gradmesh_worker.cluster import ClusterOptions

__all__ = ["ClusterOptions", "RayBackend"]
