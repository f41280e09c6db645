"""Every error to a status and back; statuses without details to the most general class."""

from __future__ import annotations

import grpc
import pytest

from gradmesh._status import DETAILS_KEY, decode_error, encode_error
from gradmesh.v1 import error_pb2
from gradmesh_engine import errors
from gradmesh_engine.errors import GradmeshError, all_errors
from tests.service.graphs import chain


class Failed(grpc.RpcError):
    """What a call raises, as far as the translator looks at it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, str | bytes], ...] = ()) -> None:
        self._parts = code, details, trailing

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._parts[2]


CLASSES = sorted(all_errors().values(), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_survives(cls: type[GradmeshError]) -> None:
    error = cls("wrong", op="mul", node=2, source="a.py:1", expected="this", got="that", remedy="mend it")
    code, details, metadata = encode_error(error)
    assert code.name == cls.status
    back = decode_error(Failed(code, details, metadata), "host:1")
    assert type(back) is cls
    assert back.fields() == error.fields()


def test_the_details_are_a_google_rpc_status() -> None:
    """Read by the library other clients read them with, not by our mirror."""
    from google.rpc import status_pb2

    _, _, metadata = encode_error(errors.ShapeError("wrong", got="2"))
    ((key, value),) = metadata
    assert key == DETAILS_KEY == "grpc-status-details-bin"
    status = status_pb2.Status.FromString(value)
    assert (status.code, status.message) == (3, "wrong")
    detail = error_pb2.ErrorDetail()
    assert status.details[0].type_url == "type.googleapis.com/gradmesh.v1.ErrorDetail"
    assert status.details[0].Unpack(detail)
    assert (detail.error, detail.got) == ("ShapeError", "2")


def test_the_source_line_is_that_of_the_callers_own_graph() -> None:
    """The server may have the graph from someone who wrote it elsewhere."""
    code, details, metadata = encode_error(errors.OutOfRangeError("outside", node=1, source="other.py:99"))
    back = decode_error(Failed(code, details, metadata), "host:1", chain(2))
    assert back.source == "model.py:11"


def test_long_texts_fit_into_metadata() -> None:
    long = "x" * 100_000
    _, message, metadata = encode_error(errors.ShapeError(long, expected=long, got=long, remedy=long, source=long))
    assert len(message) + sum(len(value) for _, value in metadata) < 8000


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("INVALID_ARGUMENT", errors.InvalidRequestError),
        ("NOT_FOUND", errors.NotFoundError),
        ("OUT_OF_RANGE", errors.OutOfRangeError),
        ("RESOURCE_EXHAUSTED", errors.LimitError),
        ("DEADLINE_EXCEEDED", errors.DeadlineError),
        ("CANCELLED", errors.CancelledError),
        ("UNAVAILABLE", errors.UnavailableError),
        ("INTERNAL", errors.InternalError),
        ("UNKNOWN", errors.InternalError),
        ("UNIMPLEMENTED", errors.InternalError),
    ],
)
def test_statuses_without_details(code: str, cls: type[GradmeshError]) -> None:
    back = decode_error(Failed(grpc.StatusCode[code], "some text"), "host:1")
    assert type(back) is cls
    assert "host:1" in back.message
    assert "some text" in back.message


def test_a_class_of_a_later_version_becomes_the_one_of_its_status() -> None:
    status = error_pb2.RpcStatus(code=3)
    status.details.add().Pack(error_pb2.ErrorDetail(error="FancyNewError", message="m", got="g"))
    back = decode_error(Failed(grpc.StatusCode.NOT_FOUND, "m", ((DETAILS_KEY, status.SerializeToString()),)), "host:1")
    assert type(back) is errors.NotFoundError
    assert (back.message, back.got) == ("m", "g")
