"""The contract itself: it lints, and the committed stubs say what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from gradmesh.v1 import blob_service_pb2, error_pb2, gradient_service_pb2, graph_pb2, tensor_pb2
from gradmesh_engine.dtypes import BY_NAME
from gradmesh_engine.errors import GradmeshError, all_errors

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "proto" / "gradmesh" / "v1"
MODULES = (tensor_pb2, graph_pb2, error_pb2, gradient_service_pb2, blob_service_pb2)


def test_the_contract_lints() -> None:
    buf = shutil.which("buf", path=sysconfig.get_path("scripts"))
    assert buf is not None
    for command in (["lint"], ["format", "--diff", "--exit-code"]):
        done = subprocess.run([buf, *command], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_committed_stubs_are_those_of_the_contract(tmp_path: Path) -> None:
    """Compared by what they describe, so that any generator's version may be installed."""
    built = tmp_path / "set.pb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", f"--descriptor_set_out={built}"]
    names = sorted(f"gradmesh/v1/{path.name}" for path in PROTOS.glob("*.proto"))
    subprocess.run([*command, *names], cwd=ROOT, check=True, timeout=120)
    described = descriptor_pb2.FileDescriptorSet.FromString(built.read_bytes())
    fresh = {file.name: file for file in described.file}
    assert set(fresh) == {module.DESCRIPTOR.name for module in MODULES} == set(names)
    for module in MODULES:
        committed = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(committed)
        for file in (committed, fresh[committed.name]):  # Only one of the two carries JSON names.
            for message in file.message_type:
                _forget_json_names(message)
        assert committed == fresh[committed.name], f"{committed.name} changed: run `make proto`"


def _forget_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _forget_json_names(nested)


def test_the_contract_names_every_error_with_its_status() -> None:
    text = (PROTOS / "error.proto").read_text()
    table = dict(re.findall(r"^//   (\w+Error) +([A-Z_]+) ", text, re.MULTILINE))
    expected = {name: cls.status for name, cls in all_errors().items() if cls is not GradmeshError}
    assert table == expected


def test_the_contract_names_every_dtype_with_its_width() -> None:
    text = (PROTOS / "tensor.proto").read_text()
    table = dict(re.findall(r"^//   ([a-z]+\d*) +(\d+)\b", text, re.MULTILINE))
    assert {name: int(width) for name, width in table.items()} == {n: d.itemsize for n, d in BY_NAME.items()}


@pytest.mark.parametrize("service", ["GradientService", "BlobService"])
def test_stubs_and_servicers_have_every_method(service: str) -> None:
    from gradmesh_server import service as servicers

    module = gradient_service_pb2 if service == "GradientService" else blob_service_pb2
    servicer = getattr(servicers, service.removesuffix("Service") + "Servicer")
    for method in module.DESCRIPTOR.services_by_name[service].methods:
        assert method.name in vars(servicer), method.full_name
