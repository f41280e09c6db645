"""Makes a case that fails small: takes away what it fails without, as long as it fails in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import DecodeError, Message

from tests.fuzz.case import Call, Case, call


def minimised(case: Case, fails: Callable[[Case], bool], seconds: float = 20.0) -> Case:
    """The smallest case found within so many seconds that `fails` is still true of."""
    limit = time.monotonic() + seconds
    again = True
    while again:
        again = False
        for smaller in _smaller(case):
            if time.monotonic() > limit:
                return case
            if fails(smaller):
                case, again = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for at in range(len(case)):
        if len(case) > 1:
            yield case[:at] + case[at + 1 :]
    for at, c in enumerate(case):
        for changed in _smaller_calls(c):
            yield (*case[:at], changed, *case[at + 1 :])


def _smaller_calls(c: Call) -> Iterator[Call]:
    try:
        messages = c.decoded()
    except DecodeError:
        yield from _fewer_bytes(c)
        return
    if len(messages) > 1:
        for at in range(len(messages)):
            yield call(c.method, *messages[:at], *messages[at + 1 :])
    for at, message in enumerate(messages):
        for changed in _smaller_messages(message):
            yield call(c.method, *messages[:at], changed, *messages[at + 1 :])


def _fewer_bytes(c: Call) -> Iterator[Call]:
    for at, data in enumerate(c.messages):
        size = len(data) // 2
        while size:
            for start in range(0, len(data), size):
                yield Call(c.method, (*c.messages[:at], data[:start] + data[start + size :], *c.messages[at + 1 :]))
            size //= 2


def _smaller_messages(message: Message) -> Iterator[Message]:
    """Copies of a message, each with one field, element or entry less, at any depth."""
    for path, name, index in list(_places(message, ())):
        copy = type(message)()
        copy.CopyFrom(message)
        parent: Any = copy
        for step in path:
            parent = getattr(parent, step) if isinstance(step, str) else parent[step[0]]
        if index is None:
            parent.ClearField(name)
        else:
            del getattr(parent, name)[index]
        yield copy


def _places(message: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    for field, value in message.ListFields():
        yield path, field.name, None
        if field.type != field.TYPE_MESSAGE:
            if field.is_repeated:
                yield from ((path, field.name, at) for at in range(min(len(value), 40)))
        elif field.message_type.GetOptions().map_entry:
            yield from ((path, field.name, key) for key in value)
            for key in value:
                yield from _places(value[key], (*path, field.name, (key,)))
        elif field.is_repeated:
            for at, element in enumerate(value):
                yield path, field.name, at
                yield from _places(element, (*path, field.name, (at,)))
        else:
            yield from _places(value, (*path, field.name))
