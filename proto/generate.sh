#!/bin/sh
# Regenerates the committed stubs in client/gradmesh/v1/ from proto/.
#
# Generated code refuses to load with a protobuf or grpcio older than its generator's, so the generator is
# pinned to an old one: grpcio-tools 1.74.0 writes code for protobuf >= 6.31.1 and grpcio >= 1.74. It needs a
# protobuf of its own time and therefore an environment of its own, .venv-proto.
set -eu
cd "$(dirname "$0")/.."
tools=.venv-proto
stamp=$tools/.grpcio-tools-1.74.0-mypy-protobuf-5.1.0
if [ ! -e "$stamp" ]; then
    "${PYTHON:-python3}" -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet grpcio-tools==1.74.0 'protobuf<7' mypy-protobuf==5.1.0 'setuptools<81'
    touch "$stamp"
fi
rm -f client/gradmesh/v1/*_pb2.py client/gradmesh/v1/*_pb2.pyi client/gradmesh/v1/*_pb2_grpc.py client/gradmesh/v1/*_pb2_grpc.pyi
mkdir -p client/gradmesh/v1
PATH="$PWD/$tools/bin:$PATH" "$tools/bin/python" -m grpc_tools.protoc -Iproto \
    --python_out=client --grpc_python_out=client --mypy_out=client --mypy_grpc_out=client \
    proto/gradmesh/v1/*.proto
for file in client/gradmesh/v1/*_pb2_grpc.py; do
    # Files without a service give empty gRPC stubs.
    grep -q "class .*Stub" "$file" || rm -f "$file" "${file}i"
done
