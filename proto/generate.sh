#!/bin/sh
# Regenerates the stubs from proto/: the committed ones in client/, or into another folder: generate.sh [FOLDER].
#
# Generated code refuses to load with a protobuf or grpcio older than its generator's, so the generator is
# pinned to an old one: grpcio-tools 1.74.0 writes code for protobuf >= 6.31.1 and grpcio >= 1.74. It needs a
# protobuf of its own time and therefore an environment of its own, .venv-proto.
set -eu
cd "$(dirname "$0")/.."
out=${1:-client}
tools=.venv-proto
stamp=$tools/.grpcio-tools-1.74.0-mypy-protobuf-5.1.0
if [ ! -e "$stamp" ]; then
    "${PYTHON:-python3}" -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check \
        grpcio-tools==1.74.0 grpcio==1.74.0 protobuf==6.33.6 mypy-protobuf==5.1.0 'setuptools<81'
    touch "$stamp"
fi
mkdir -p "$out/gradmesh/v1"
rm -f "$out"/gradmesh/v1/*_pb2*
PATH="$PWD/$tools/bin:$PATH" "$tools/bin/python" -m grpc_tools.protoc -Iproto \
    "--python_out=$out" "--grpc_python_out=$out" "--mypy_out=quiet:$out" "--mypy_grpc_out=quiet:$out" \
    proto/gradmesh/v1/*.proto
for file in "$out"/gradmesh/v1/*_pb2_grpc.py; do
    # A file without a service gives empty gRPC stubs.
    grep -q "^class .*Stub" "$file" || rm -f "$file" "${file}i"
done
