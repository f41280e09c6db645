"""Messages that differ from an earlier one in the content of their tensors alone: written and read without a parser.

The steps of a loop send the same message, byte for byte, but for the elements of its tensors, and get the same
reply but for elements and times. A template is such a message with holes in those places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

Holes: TypeAlias = "Mapping[int, Holes | None]"
"""Fields of a message, by number: None for those whose content is a hole, otherwise the holes inside of them."""

_TENSOR: Final[Holes] = {3: None}

REQUEST: Final[Holes] = {3: _TENSOR, 4: {2: _TENSOR}}
"""A ComputeRequest's inputs and cotangents."""

REPLY: Final[Holes] = {1: _TENSOR, 2: {1: _TENSOR}, 4: {8: None, 9: None, 10: None, 11: None}}
"""A ComputeResponse's outputs and gradients, and the seconds of decode, plan, run and encode."""

MOST_BYTES: Final = 4096
"""A template has at most so many bytes beside its holes."""


class Template:
    """The bytes of a message but for its holes. Final.

    Attributes:
        length: bytes of the whole message.
        holes: where each hole begins and ends.
        fixed: where what lies between them begins, and its bytes.
    """

    __slots__ = ("fixed", "holes", "length")

    def __init__(self, content: bytes, holes: Sequence[tuple[int, int]]) -> None:
        self.length = len(content)
        self.holes = tuple(holes)
        begins = [0, *[end for _, end in holes]]
        ends = [*[begin for begin, _ in holes], len(content)]
        self.fixed = tuple([(begin, content[begin:end]) for begin, end in zip(begins, ends, strict=True)])

    def matches(self, content: bytes) -> bool:
        """Whether a message is this one but for what is in the holes."""
        if len(content) != self.length:
            return False
        for begin, part in self.fixed:
            if not content.startswith(part, begin):
                return False
        return True

    def fill(self, contents: Iterable[bytes]) -> bytes:
        """The message with these bytes, as many as there were, in its holes."""
        parts = [self.fixed[0][1]]
        for content, (_, part) in zip(contents, self.fixed[1:], strict=True):
            parts.append(content)
            parts.append(part)
        return b"".join(parts)


def template_of(content: bytes, fields: Holes, expected: Sequence[bytes]) -> Template | None:
    """The template of a message; None unless its holes have just this content, or where it has too much besides.

    Args:
        content: the message, which a parser has accepted.
        fields: where holes are.
        expected: the content of every hole, in order.
    """
    if len(content) - sum(map(len, expected)) > MOST_BYTES:
        return None
    holes: list[tuple[int, int]] = []
    try:
        _find(content, 0, len(content), fields, holes)
    except (IndexError, ValueError):
        return None
    if [content[begin:end] for begin, end in holes] != list(expected):
        return None
    return Template(content, holes)


def _find(content: bytes, at: int, end: int, fields: Holes, holes: list[tuple[int, int]]) -> None:
    """Append the holes of the message between two places. Raises IndexError or ValueError for what is no message."""
    while at < end:
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(content, at)
            continue
        if kind == 2:
            size, at = _varint(content, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError("a group")
        if at + size > end:
            raise ValueError("a field that ends behind its message")
        inner = fields.get(tag >> 3, {})
        if inner is None:
            holes.append((at, at + size))
        elif inner and kind == 2:
            _find(content, at, at + size, inner, holes)
        at += size


_SIZES: Final = {1: 8, 5: 4}


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number in protobuf's encoding, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
