"""A client in another language, with nothing but the address: `buf curl`, a Go program that uses reflection."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sysconfig
from typing import Any

import numpy as np
import pytest

from gradmesh.v1 import error_pb2
from gradmesh_server.server import Server

BUF = shutil.which("buf", path=sysconfig.get_path("scripts"))

pytestmark = pytest.mark.skipif(BUF is None, reason="buf is not installed")

# No shapes of results, no digests, no defaults: what a person would write by hand.
GRAPH: dict[str, Any] = {
    "inputs": [{"dtype": "float64", "shape": [3]}],
    "nodes": [
        {"op": "exp", "inputs": [0], "source": "main.go:7"},
        {"op": "reduce_sum", "inputs": [1], "attrs": {"dims": {"intsValue": {"values": [0]}}}},
    ],
    "outputs": [2],
}


def call(server: Server, method: str, message: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    assert BUF is not None
    url = f"http://{server.address}/gradmesh.v1.{method}"
    command = [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "-d", json.dumps(message), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def wire(array: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def test_it_computes_a_gradient(server: Server) -> None:
    x = np.array([0.0, 1.0, -2.0])
    message = {"graph": GRAPH, "inputs": [wire(x)], "of": [{"value": 2}], "wrt": [0]}
    done = call(server, "GradientService/Compute", message)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    gradient = np.frombuffer(base64.b64decode(reply["gradients"][0]["tensor"]["data"]))
    np.testing.assert_allclose(gradient, np.exp(x), rtol=1e-12)
    again = {**message, "graphDigest": reply["graphDigest"]}
    del again["graph"]
    second = json.loads(call(server, "GradientService/Compute", again).stdout)
    assert second["gradients"] == reply["gradients"]
    assert second["stats"]["cache"] == "hit"


def test_it_reads_an_error(server: Server) -> None:
    wrong = {**GRAPH, "nodes": [{**GRAPH["nodes"][0], "op": "expo"}, GRAPH["nodes"][1]]}
    done = call(server, "GradientService/Compute", {"graph": wrong})
    assert done.returncode != 0
    said = json.loads(done.stderr)
    assert (said["code"], said["message"]) == ("invalid_argument", "unknown op 'expo'")
    (packed,) = said["details"]
    assert packed["type"] == "gradmesh.v1.ErrorDetail"
    value = packed["value"]
    detail = error_pb2.ErrorDetail.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))
    assert (detail.error, detail.op, detail.node, detail.source) == ("UnknownOpError", "expo", 0, "main.go:7")
    assert detail.remedy


def test_it_lists_the_operations(server: Server) -> None:
    done = call(server, "GradientService/ListOps", {})
    assert done.returncode == 0, done.stderr
    ops = {op["name"]: op for op in json.loads(done.stdout)["ops"]}
    assert ops["exp"]["differentiable"] is True
