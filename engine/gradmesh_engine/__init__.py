"""The engine: graphs, the op table, differentiation, plans and their execution; neither grpc nor ray."""

from gradmesh_engine.cpu import choose_kernels

# OpenBLAS picks its kernels when NumPy is first imported, which any other module of the engine does.
choose_kernels()
