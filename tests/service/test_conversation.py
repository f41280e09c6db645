"""What is decided in the talk with a service, step by step and without one: events in, decisions out."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gradmesh._conversation import CONSTANT_BYTES, INLINE_BYTES, Call, Conversation, Pause, Steps, Wait, Work
from gradmesh._options import Keepalive, Retry, Timeout
from gradmesh.v1 import blob_service_pb2 as blob_pb
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.errors import (
    BlobNotFoundError,
    GradmeshError,
    GraphNotFoundError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)
from gradmesh_engine.session import Request, Result
from tests.service.graphs import chain_request


def conversation(addresses: str = "a:1", **retry: Any) -> Conversation:
    return Conversation(
        addresses, Timeout(60), Retry(**retry), Keepalive(), False, False, None, "", event=threading.Event
    )


class Talk:
    """One evaluation. Work is done at once; what else it wants is told as text, and answered by the test."""

    def __init__(self, there: Conversation, request: Request) -> None:
        self.steps: Steps[Result] = there.evaluate(request)
        self.step: Any = None
        self.result: Result | None = None

    def say(self, came: Any = None) -> str:
        """Answer the latest step, with a reply or an error; what is wanted next."""
        try:
            self.step = self.steps.throw(came) if isinstance(came, GradmeshError) else self.steps.send(came)
            while isinstance(self.step, Work):
                self.step = self.steps.send(self.step.function())
        except StopIteration as stop:
            self.result = stop.value
            return "done"
        if isinstance(self.step, Call):
            return f"{self.step.method} {self.step.endpoint.address}"
        return type(self.step).__name__


INFO = pb.GetServerInfoResponse()
REPLY = pb.ComputeResponse().SerializeToString()
UPLOADED = blob_pb.UploadResponse(handle=b"h" * 16)


def missing(talk: Talk) -> blob_pb.FindMissingResponse:
    """All that was asked for is missing."""
    return blob_pb.FindMissingResponse(missing=talk.step.message.digests)


def test_a_constant_another_request_sends_is_waited_for() -> None:
    there = conversation()
    request = chain_request(CONSTANT_BYTES, wrt=(0,))
    first, second = Talk(there, request), Talk(there, request)
    assert first.say() == "GetServerInfo a:1"
    assert first.say(INFO) == "FindMissing a:1"
    assert second.say() == "Wait"
    event = second.step.event
    assert isinstance(second.step, Wait)
    assert first.say(missing(first)) == "Upload a:1"
    assert not event.is_set()
    assert first.say(UPLOADED) == "Compute a:1"
    assert event.is_set()
    assert second.say() == "Compute a:1"
    assert second.say(REPLY) == "done"


def test_a_request_that_ends_early_leaves_its_constants_to_others() -> None:
    there = conversation()
    request = chain_request(CONSTANT_BYTES, wrt=(0,))
    first, second = Talk(there, request), Talk(there, request)
    first.say()
    assert first.say(INFO) == "FindMissing a:1"
    assert second.say() == "Wait"
    first.steps.close()
    assert second.step.event.is_set()
    assert second.say() == "FindMissing a:1"


def test_only_what_is_missing_is_sent_again() -> None:
    """Streamed tensors are still there when the graph is not; they are used up when a blob was not found."""
    talk = Talk(conversation(), chain_request(INLINE_BYTES, wrt=(0,)))
    assert talk.say() == "GetServerInfo a:1"
    assert talk.say(INFO) == "FindMissing a:1"
    assert talk.say(missing(talk)) == "Upload a:1"
    assert talk.say(UPLOADED) == "Upload a:1"
    assert talk.say(UPLOADED) == "Compute a:1"
    assert not pb.ComputeRequest.FromString(talk.step.message).HasField("graph")
    assert talk.say(GraphNotFoundError("")) == "Compute a:1"
    assert pb.ComputeRequest.FromString(talk.step.message).HasField("graph")
    assert talk.say(BlobNotFoundError("")) == "FindMissing a:1"
    assert talk.say(blob_pb.FindMissingResponse()) == "Upload a:1"
    assert talk.say(UPLOADED) == "Compute a:1"
    assert talk.say(REPLY) == "done"


def met(there: Conversation) -> Conversation:
    """Servers answered at each address before."""
    for endpoint in there.addresses.endpoints:
        endpoint.met, endpoint.inline_bytes = True, INLINE_BYTES
    return there


def test_rounds_of_addresses_end_with_the_attempts() -> None:
    talk = Talk(met(conversation("a:1,b:2", attempts=2)), chain_request(2))
    gone = UnavailableError("gone")
    assert talk.say() == "Compute a:1"
    assert talk.say(gone) == "Compute b:2"
    assert talk.say(gone) == "Pause"
    assert isinstance(talk.step, Pause)
    assert 0.05 <= talk.step.seconds <= 0.1
    tried = {talk.say(), talk.say(gone)}  # What answers there now may have other limits: it is asked first.
    assert tried == {"GetServerInfo a:1", "GetServerInfo b:2"}
    with pytest.raises(UnavailableError):
        talk.say(gone)


@pytest.mark.parametrize(
    "error",
    [OverloadedError("full", retry_after_seconds=1.0), UnauthenticatedError("who are you")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_raised_at_once(error: GradmeshError) -> None:
    there = met(conversation("a:1,b:2"))
    talk = Talk(there, chain_request(2))
    assert talk.say() == "Compute a:1"
    with pytest.raises(type(error)) as caught:
        talk.say(error)
    assert caught.value is error
    assert there.addresses.endpoints[0].failures == 0
