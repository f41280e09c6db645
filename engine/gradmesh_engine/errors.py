"""Every error gradmesh raises on purpose, in process and over the wire.

    GradmeshError (RuntimeError)
    ├── InvalidGraphError (ValueError)        the graph itself is wrong
    │   ├── UnknownOpError                    no such op in the table
    │   ├── ArityError (TypeError)            wrong number of operands
    │   ├── AttributeTypeError (TypeError)    unknown, missing or mistyped attribute
    │   ├── ShapeError                        operand shapes do not fit the op
    │   ├── DTypeError (NotImplementedError)  operand dtypes do not fit the op
    │   ├── AxisError (IndexError)            a dim outside the operand's rank
    │   ├── CycleError                        a node depends on itself
    │   └── NotDifferentiableError            a gradient that does not exist was asked for
    ├── InvalidRequestError (ValueError)      the graph is fine, the request is not
    │   ├── MissingInputError                 an input of the graph was not given
    │   ├── InputMismatchError                an input's shape or dtype is not the declared one
    │   ├── UnknownDTypeError (TypeError)     a dtype name outside the table
    │   ├── DigestMismatchError               bytes do not hash to the name they came under
    │   ├── TruncatedUploadError              an upload ended before its declared length
    │   ├── LinAlgError                       a matrix that has no such factorization, found while running
    │   └── LengthError                       a declared length contradicts shape, dtype or bytes
    ├── AutogradError                         a tensor used against the rules of autograd
    ├── OutOfRangeError (IndexError)          an index value outside its dim, found while running
    ├── NotFoundError (LookupError)
    │   ├── GraphNotFoundError                the digest names no cached graph
    │   └── BlobNotFoundError                 the digest names no stored tensor
    ├── LimitError                            a configured limit was passed
    │   ├── GraphTooLargeError
    │   ├── MemoryLimitError                  known from the plan, before anything runs
    │   └── OverloadedError                   try again later
    ├── DeadlineError (TimeoutError)          the call's total budget ran out
    ├── CancelledError                        the caller gave up
    ├── UnauthenticatedError                  the two ends do not know each other: token or certificate
    ├── PermissionDeniedError (PermissionError)  known, but not allowed
    ├── UnavailableError (ConnectionError)    no server there, or it went away
    └── InternalError                         a defect of gradmesh

Each class declares the gRPC status it travels under (`status`, a name: this package does not know
grpc). The structured fields are the same on both sides of the wire.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GradmeshError(RuntimeError):
    """Base class. `str(error)` reads as one sentence per known field.

    Attributes:
        message: what is wrong.
        op: name of the op, "" when no op is concerned.
        node: index of the node in the graph, -1 when no node is concerned.
        source: the user's line, "file.py:12", "" when unknown.
        expected: what would have been accepted.
        got: what was given.
        remedy: what to do about it.
        request_id: names the failed call in the service's logs, "" for what failed in this process.
    """

    status: ClassVar[str] = "INTERNAL"
    request_id: str = ""

    def __init__(
        self,
        message: str,
        *,
        op: str = "",
        node: int = -1,
        source: str = "",
        expected: str = "",
        got: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.op = op
        self.node = node
        self.source = source
        self.expected = expected
        self.got = got
        self.remedy = remedy

    def fields(self) -> dict[str, Any]:
        """The constructor's arguments, for sending or copying the error."""
        return {
            "message": self.message,
            "op": self.op,
            "node": self.node,
            "source": self.source,
            "expected": self.expected,
            "got": self.got,
            "remedy": self.remedy,
        }

    def at(self, *, op: str = "", node: int = -1, source: str = "") -> GradmeshError:
        """The same error, with the place filled in where it was unknown."""
        self.op = self.op or op
        self.node = self.node if self.node >= 0 else node
        self.source = self.source or source
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.fields())

    def __str__(self) -> str:
        where = []
        if self.op:
            where.append(f"op {self.op!r}")
        if self.node >= 0:
            where.append(f"node {self.node}")
        if self.source:
            where.append(f"at {self.source}")
        parts = [self.message]
        if where:
            parts.append(f"({', '.join(where)})")
        if self.expected:
            parts.append(f"[expected: {self.expected}]")
        if self.got:
            parts.append(f"[got: {self.got}]")
        if self.remedy:
            parts.append(f"[remedy: {self.remedy}]")
        return " ".join(parts)


def _rebuild(cls: type[GradmeshError], fields: dict[str, Any]) -> GradmeshError:
    return cls(**fields)


class InvalidGraphError(GradmeshError, ValueError):
    """The graph is not legal."""

    status = "INVALID_ARGUMENT"


class UnknownOpError(InvalidGraphError):
    """The op table has no such op."""


class ArityError(InvalidGraphError, TypeError):
    """An op was given the wrong number of operands."""


class AttributeTypeError(InvalidGraphError, TypeError):
    """An attribute is unknown, missing or of the wrong type."""


class ShapeError(InvalidGraphError):
    """Operand shapes do not fit the op."""


class DTypeError(InvalidGraphError, NotImplementedError):
    """Operand dtypes do not fit the op."""


class AxisError(InvalidGraphError, IndexError):
    """A dim lies outside the operand's rank."""


class CycleError(InvalidGraphError):
    """A node depends on itself or on a later node."""


class NotDifferentiableError(InvalidGraphError):
    """A gradient was asked for that does not exist."""


class InvalidRequestError(GradmeshError, ValueError):
    """The request around the graph is not legal."""

    status = "INVALID_ARGUMENT"


class MissingInputError(InvalidRequestError):
    """An input of the graph was not given."""


class InputMismatchError(InvalidRequestError):
    """An input's shape or dtype differs from the graph's declaration."""


class UnknownDTypeError(InvalidRequestError, TypeError):
    """A dtype name outside the table."""


class DigestMismatchError(InvalidRequestError):
    """Bytes do not hash to the digest they were sent under."""


class TruncatedUploadError(InvalidRequestError):
    """An upload ended before its declared length."""


class LengthError(InvalidRequestError):
    """A declared length contradicts the shape, the dtype or the bytes."""


class LinAlgError(InvalidRequestError):
    """A matrix is singular or not positive-definite, or its factorization does not converge."""


class AutogradError(GradmeshError):
    """A tensor or a recorded graph was used against the rules of autograd."""

    status = "FAILED_PRECONDITION"


class OutOfRangeError(GradmeshError, IndexError):
    """An index value lies outside the dim it indexes."""

    status = "OUT_OF_RANGE"


class NotFoundError(GradmeshError, LookupError):
    """A digest names nothing the server holds."""

    status = "NOT_FOUND"


class GraphNotFoundError(NotFoundError):
    """The digest names no cached graph; send the graph itself."""


class BlobNotFoundError(NotFoundError):
    """The digest names no stored tensor; upload it."""


class LimitError(GradmeshError):
    """A configured limit was passed.

    Attributes:
        retry_after_seconds: when it is worth trying the same again, 0.0 for never.
    """

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.retry_after_seconds = retry_after_seconds

    def fields(self) -> dict[str, Any]:
        """See GradmeshError.fields."""
        return super().fields() | {"retry_after_seconds": self.retry_after_seconds}


class GraphTooLargeError(LimitError):
    """The graph has more nodes or bytes than the server accepts."""


class MemoryLimitError(LimitError):
    """The plan needs more memory than the server grants one request."""


class OverloadedError(LimitError):
    """Too many requests are waiting; try again later."""


class DeadlineError(GradmeshError, TimeoutError):
    """The total time budget of the call ran out."""

    status = "DEADLINE_EXCEEDED"


class CancelledError(GradmeshError):
    """The caller gave up."""

    status = "CANCELLED"


class UnauthenticatedError(GradmeshError):
    """No token or certificate was given, or one end does not accept the other's."""

    status = "UNAUTHENTICATED"


class PermissionDeniedError(GradmeshError, PermissionError):
    """The caller is known, and may not do this."""

    status = "PERMISSION_DENIED"


class UnavailableError(GradmeshError, ConnectionError):
    """No server answers at the address, or it went away."""

    status = "UNAVAILABLE"


class InternalError(GradmeshError):
    """A defect of gradmesh; please report it."""

    status = "INTERNAL"


def all_errors() -> dict[str, type[GradmeshError]]:
    """Every class of the hierarchy by name: the table both ends of the wire map errors with."""
    found: dict[str, type[GradmeshError]] = {}
    pending: list[type[GradmeshError]] = [GradmeshError]
    while pending:
        cls = pending.pop()
        found[cls.__name__] = cls
        pending.extend(cls.__subclasses__())
    return found
