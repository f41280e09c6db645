"""The coordinator: the gRPC service in front of the engine and its workers."""

from gradmesh_engine.cpu import choose_kernels

# Before anything here imports NumPy: workers follow the coordinator's choice.
choose_kernels()
