"""The conformance kit: our server passes, wrong ones do not, and the vectors are right."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from gradmesh import _codec
from gradmesh import _conformance as conformance
from gradmesh._remote import RemoteSession
from gradmesh.v1 import tensor_pb2 as tensor_pb
from gradmesh_engine import dtypes
from gradmesh_engine.errors import GradmeshError, all_errors
from gradmesh_server import cli
from gradmesh_server.server import Server
from tests.service import vectors as generator

try:
    import torch
except ModuleNotFoundError:
    torch = None  # type: ignore[assignment]

VECTORS = {f"{family}/{v['name']}": v for family, found in conformance.load_vectors().items() for v in found}
CASES = {f"{family}/{case.name}": case for family, (_, cases) in generator.FAMILIES.items() for case in cases}


def test_our_server_conforms(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["conformance", server.address])
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"{len(VECTORS)} vectors: {len(VECTORS)} passed, 0 failed", "\n".join(said)
    assert status == 0
    assert [line.split(maxsplit=1) for line in said[:-1]] == [["ok", name] for name in VECTORS]


def test_a_failure_is_told(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = copy.deepcopy(VECTORS["shapes/a scalar"])
    wrong["reply"]["outputs"][0]["shape"] = ["1"]
    monkeypatch.setattr(conformance, "load_vectors", lambda: {"shapes": [wrong, VECTORS["shapes/broadcasting"]]})
    assert cli.main(["conformance", server.address]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAIL  shapes/a scalar",
        "      outputs[0] is float64[] instead of float64[1]",
        "ok    shapes/broadcasting",
        "2 vectors: 1 passed, 1 failed",
    ]


def test_no_server_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conformance", "127.0.0.1:1", "--timeout", "10"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


def bits(message: dict[str, Any], change: Any) -> None:
    """Change the content of a tensor in JSON."""
    message["data"] = base64.b64encode(change(base64.b64decode(message["data"]))).decode()


FAULTS = {
    "another value": (
        "dtypes/product float32",
        lambda v: bits(v["reply"]["outputs"][0], lambda b: b[:-1] + bytes([b[-1] ^ 1])),
        "outputs[0] differs in 1 of 6 elements",
    ),
    "another sign of zero": (
        "special/signed zeros",
        lambda v: bits(v["reply"]["outputs"][0], lambda b: bytes(16)),
        "outputs[0] differs in 1 of 2 elements; at 0: -0.0 instead of 0.0",
    ),
    "a number for a NaN": (
        "special/a NaN cotangent",
        lambda v: bits(v["reply"]["gradients"][0]["tensor"], lambda b: bytes(12)),
        "gradients[0] differs",
    ),
    "beyond the tolerance": (
        "special/exp at the edges",
        lambda v: bits(v["reply"]["outputs"][0], lambda b: np.float64(1.65).tobytes() + b[8:]),
        "outputs[0] differs in 1 of 7 elements; at 0",
    ),
    "a gradient that should not be": (
        "protocol/a value no path leads to",
        lambda v: v["reply"]["gradients"].__setitem__(0, {}),
        "gradients[0] is set",
    ),
    "a gradient too many": (
        "protocol/a value no path leads to",
        lambda v: v["reply"]["gradients"].append({}),
        "2 gradients instead of 3",
    ),
    "another large result": (
        "protocol/a large result by handle",
        lambda v: v["reply"]["outputs"][0].update(digest=base64.b64encode(bytes(16)).decode()),
        "outputs[0] has another digest",
    ),
    "another grad_fn": (
        "networks/softmax",
        lambda v: v["reply"]["gradFns"][0].update(name="LogSoftmaxBackward0"),
        "grad_fns are ['SoftmaxBackward0']",
    ),
    "another edge": (
        "networks/linear and gelu",
        lambda v: v["reply"]["gradFns"][1].update(nextFunctions=[-1]),
        "with other edges",
    ),
    "another graph": (
        "shapes/a scalar",
        lambda v: v["graph"].update(digest="00" * 16),
        "the reply names the graph",
    ),
    "no error": ("errors/too many operands", lambda v: v.pop("error"), "failed with ArityError"),
    "another error": (
        "errors/too many operands",
        lambda v: v["error"].update(error="ShapeError"),
        "the error's error is 'ArityError' instead of 'ShapeError'",
    ),
    "another line": (
        "errors/too many operands",
        lambda v: v["error"].update(source="main.go:8"),
        "the error's source is 'main.go:7'",
    ),
    "an answer instead of an error": (
        "shapes/a scalar",
        lambda v: v.update(error={"error": "ShapeError"}),
        "answered, instead of ending in ShapeError",
    ),
    "another encoding": (
        "shapes/a scalar",
        lambda v: v["graph"].update(text=v["graph"]["text"].replace("mul", "Mul")),
        "canonical text",
    ),
    "another digest of a tensor": (
        "shapes/a scalar",
        lambda v: v["inputDigests"].__setitem__(0, "00" * 16),
        "the digest of input 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_difference_is_found(fault: str, session: RemoteSession) -> None:
    name, change, said = FAULTS[fault]
    wrong = copy.deepcopy(VECTORS[name])
    assert not conformance.faults(session, wrong)
    change(wrong)
    found = conformance.faults(session, wrong)
    assert any(said in each for each in found), found


# --- the vectors ------------------------------------------------------------------------------------


def tensors(vector: dict[str, Any]) -> list[dict[str, Any]]:
    """Every tensor of a vector's request and reply; none of a vector that is wrong on purpose."""
    if "error" in vector:
        return []
    request, reply = vector["request"], vector.get("reply", {})
    found = [*request.get("inputs", ()), *reply.get("outputs", ())]
    found += [objective["cotangent"] for objective in request.get("of", ()) if "cotangent" in objective]
    return found + [gradient["tensor"] for gradient in reply.get("gradients", ()) if "tensor" in gradient]


def arrays(messages: list[dict[str, Any]]) -> list[np.ndarray]:
    """Those whose content is in the file."""
    found = [json_format.ParseDict(message, tensor_pb.Tensor()) for message in messages]
    return [_codec.decode_array(message) for message in found if message.WhichOneof("content") == "data"]


def good() -> list[dict[str, Any]]:
    return [vector for vector in VECTORS.values() if "error" not in vector]


def test_they_are_those_the_generator_makes() -> None:
    """On another CPU values may differ within the tolerance; nothing else may."""
    for file, text in generator.make().items():
        fresh, kept = json.loads(text), json.loads((generator.FOLDER / file).read_text())
        assert fresh["about"] == kept["about"]
        assert [v["name"] for v in fresh["vectors"]] == [v["name"] for v in kept["vectors"]]
        for new, old in zip(fresh["vectors"], kept["vectors"], strict=True):
            for a, b in zip(arrays(tensors(new)), arrays(tensors(old)), strict=True):
                assert (a.shape, a.dtype) == (b.shape, b.dtype), old["name"]
                assert conformance.close(a, b, old.get("tolerance", 0.0)).all(), old["name"]
            for vector in (new, old):
                for tensor in tensors(vector):
                    tensor.pop("data", None)
            assert new == old


def test_they_cover_what_they_should() -> None:
    inputs = [array for vector in good() for array in arrays(vector["request"].get("inputs", []))]
    assert {array.dtype.name for array in inputs} == set(dtypes.BY_NAME)
    assert any(array.shape == () for array in inputs) and any(array.size == 0 for array in inputs)
    cotangents = [
        array
        for vector in good()
        for array in arrays([o["cotangent"] for o in vector["request"].get("of", ()) if "cotangent" in o])
        if dtypes.is_floating(array.dtype)
    ]
    for values in (inputs, cotangents):
        numbers = [array.astype("float64") for array in values if dtypes.is_floating(array.dtype)]
        assert any(np.isnan(array).any() for array in numbers) and any(np.isinf(array).any() for array in numbers)
    assert any("blobs" in vector for vector in good())


# What no request brings about by itself.
ELSEWHERE = {
    "AutogradError", "GradcheckError", "CancelledError", "DeadlineError",  # of clients and time
    "InternalError", "UnavailableError",
    "NotFoundError", "LimitError", "GraphTooLargeError", "MemoryLimitError", "OverloadedError",  # of limits
    "UnauthenticatedError", "PermissionDeniedError",  # of configuration
}  # fmt: skip


def test_they_cover_the_errors() -> None:
    found = {vector["error"]["error"] for vector in VECTORS.values() if "error" in vector}
    assert found == all_errors().keys() - ELSEWHERE - {GradmeshError.__name__}


def into_torch(array: np.ndarray) -> Any:
    array = np.array(array)  # PyTorch wants to be able to write to it.
    if array.dtype == dtypes.bfloat16:
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def from_torch(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.int16).numpy().view(dtypes.bfloat16))
    return np.asarray(tensor.numpy())


@pytest.mark.oracle
@pytest.mark.skipif(torch is None, reason="torch is not installed")
@pytest.mark.parametrize("name", CASES)
def test_they_are_what_pytorch_computes(name: str) -> None:
    case, vector = CASES[name], VECTORS[name]
    leaves = case.wrt if case.order else []
    operands = [into_torch(array).requires_grad_(i in leaves) for i, array in enumerate(case.arrays)]
    results, gradients = generator.evaluate(torch, torch.nn.functional, case, operands, into_torch)
    _, which = generator.record(case)
    if case.order < 2:
        results = [results[number] for number in which]
    expected = [from_torch(each) for each in (*results, *gradients)]
    reply = vector["reply"]
    found = arrays([*reply["outputs"], *[gradient["tensor"] for gradient in reply.get("gradients", ())]])
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        tolerance = generator.TOLERANCES.get(mine.dtype.name, 0.0)
        assert conformance.close(mine, theirs, tolerance).all(), (mine, theirs)
