"""Evaluation: what a read computes, and who answers for it.

What is evaluated is worked out by generators, which yield what they ask for and are sent what came of it: `drive`
answers from the current session, `gradmesh.aio` from one that is awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from gradmesh import _ahead
from gradmesh._gather import Gathering
from gradmesh._modes import STATE
from gradmesh._session import current_session
from gradmesh._state import EVERYTHING, Along, settle
from gradmesh._stats import RECORDER
from gradmesh._value import Made, Value, source_of, user_line
from gradmesh_engine.errors import GradmeshError, InvalidRequestError, LimitError, OutOfRangeError
from gradmesh_engine.graph import Graph
from gradmesh_engine.session import Query, Request, Result

_T = TypeVar("_T")


_SELF: Final = "index out of range in self"
_WORDED: Final[dict[str, Callable[[str], str]]] = {
    "embedding": lambda index: _SELF,
    "index_select": lambda index: _SELF,
    "cross_entropy": lambda index: f"Target {index} is out of bounds.",
    "nll_loss": lambda index: f"Target {index} is out of bounds.",
}
"""What PyTorch says of an index out of range, by op."""


def _worded(made: Made, error: OutOfRangeError) -> str:
    if isinstance(made, Value) and made.node is not None:
        made = made.node
    words = None if made.app is None else _WORDED.get(made.app.op)
    return error.message if words is None else words(error.got)


class Issue:
    """Asks for a place in the order in which gradients are added. Sent back: nothing. Final.

    Attributes:
        wrt: values whose tensors get gradients.
        retained: computed values whose tensors keep theirs.
    """

    __slots__ = ("retained", "wrt")

    def __init__(self, wrt: Sequence[Value], retained: Sequence[Value]) -> None:
        self.wrt = wrt
        self.retained = retained


class Turn:
    """Asks to wait until it is this pass's turn to change its targets. Sent back: nothing. Final."""

    __slots__ = ()


TURN: Final = Turn()

Asked: TypeAlias = "Request | Issue | Turn"
Asking: TypeAlias = Generator[Asked, Any, _T]


def drive(asking: Asking[_T]) -> _T:
    """Answer from the current session, one thing at a time."""
    session = current_session()
    try:
        asked = next(asking)
        while True:
            # Nobody else's turn can come between.
            came: Result | None = None
            if asked.__class__ is Request:
                if STATE.capture is not None:
                    STATE.capture.fail("computes a value")
                try:
                    came = session.run(asked)
                except BaseException as error:
                    asked = asking.throw(error)
                    continue
                RECORDER.request(user_line(), came.stats)
            asked = asking.send(came)
    except StopIteration as stop:
        result: _T = stop.value
        return result


class StateFailure(Exception):
    """A request failed that computed pending state along; it is to be tried without. Final, never reaches users.

    Attributes:
        state: the values that were not asked for.
    """

    def __init__(self, state: Sequence[Value]) -> None:
        super().__init__("a request failed that computed pending state along")
        self.state = state


def content(value: Value) -> np.ndarray:
    """The content of a value, evaluated if it is pending. Read-only."""
    if STATE.capture is not None:
        STATE.capture.fail("reads a value")
    if value.data is None:
        drive(evaluating([value], EVERYTHING))
        assert value.data is not None
    return value.data


def evaluating(values: Sequence[Value], along: Along) -> Asking[None]:
    """Compute values, and pending state along with them, in one request."""
    settle(values)
    wanted = [value for value in values if value.data is None]
    if not wanted:
        return
    if along.reads and _ahead.is_followed(wanted):
        from gradmesh import _backward

        if (yield from _backward.along(wanted[0], along)):
            return
    try:
        yield from _computing(wanted, along, True)
    except StateFailure as failure:
        # What was asked for must not fail for what was not.
        along.forget(failure.state)
        yield from _computing(wanted, along, False)


def _computing(values: Sequence[Value], along: Along, with_state: bool) -> Asking[None]:
    gathering = Gathering()
    pairs = [(value, gathering.add(value)) for value in values]
    state = along.choose(gathering, values) if with_state else []
    pairs += [(value, gathering.add(value)) for value in state]
    yield from requesting(gathering, pairs, Query(), along, state=state)


def requesting(
    gathering: Gathering,
    pairs: Sequence[tuple[Value, int]],
    query: Query,
    along: Along,
    cotangents: tuple[np.ndarray, ...] = (),
    state: Sequence[Value] = (),
) -> Asking[tuple[Graph, Result]]:
    """Send one request; attach the outputs to their values.

    Raises:
        StateFailure: it failed for its content or its size, and `state` was computed along.
        GradmeshError: placed at the user's line that recorded the node at fault.
    """
    computed = False
    try:
        graph = gathering.graph([number for _, number in pairs])
        segments = gathering.segments()
        if segments:
            query = query._replace(segments=segments)
        inputs = []
        for value in gathering.inputs:
            assert value.data is not None
            inputs.append(value.data)
        try:
            result: Result = yield Request(graph, tuple(inputs), query, cotangents)
        except GradmeshError as error:
            made = gathering.node_at(error.node)
            if made is not None:
                error.source = source_of(made) or error.source
                if isinstance(error, OutOfRangeError):
                    error.message = _worded(made, error)
            if state and isinstance(error, LimitError | InvalidRequestError | OutOfRangeError):
                raise StateFailure(state) from error
            raise
        for (value, _), array in zip(pairs, result.outputs, strict=True):
            value.keep(array)
        computed = True
    finally:
        along.release(gathering, state, computed)
    return graph, result
