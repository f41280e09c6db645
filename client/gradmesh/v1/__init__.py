"""Generated stubs of the public contract, proto/gradmesh/v1; see proto/generate.sh."""
