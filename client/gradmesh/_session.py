"""Which session evaluates: the innermost `with`, the default that was set, or one made from the environment."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Final

from gradmesh_engine.local import LocalSession as _Engine
from gradmesh_engine.session import Request, Result, Session

ADDRESS: Final = "GRADMESH_ADDRESS"


class _Stack(threading.local):
    def __init__(self) -> None:
        self.entered: list[Session] = []


class _Default:
    """The process-wide default session, made at the first evaluation. Final."""

    def __init__(self) -> None:
        self.lock: Final = threading.Lock()
        self.session: Session | None = None
        self.made = False


_STACK: Final = _Stack()
_DEFAULT: Final = _Default()


def current_session() -> Session:
    """The session that evaluates now, in this thread."""
    if _STACK.entered:
        return _STACK.entered[-1]
    session = _DEFAULT.session
    return session if session is not None else _make_default()


def _make_default() -> Session:
    with _DEFAULT.lock:
        if _DEFAULT.session is None:
            address = os.environ.get(ADDRESS, "").strip()
            if address:
                from gradmesh._remote import connect

                _DEFAULT.session = connect(address)
            else:
                _DEFAULT.session = LocalSession()
            _DEFAULT.made = True
        return _DEFAULT.session


def set_default_session(session: Session | None) -> Session | None:
    """Make `session` evaluate wherever no `with session:` is in force; returns the one before, if any was set.

    None goes back to the beginning: the service named by the environment variable GRADMESH_ADDRESS,
    or else this process. A default that was made that way is closed when another replaces it.

    Example:
        gm.set_default_session(gm.connect("127.0.0.1:50051"))
    """
    with _DEFAULT.lock:
        before, made = _DEFAULT.session, _DEFAULT.made
        _DEFAULT.session, _DEFAULT.made = session, False
    if made and before is not None:
        before.close()
        return None
    return before


def enter_session(session: Session) -> None:
    """Make `session` evaluate in this thread until `leave_session`; for sessions' `__enter__`."""
    _STACK.entered.append(session)


def leave_session(session: Session) -> None:
    """Undo the latest `enter_session` of this session; for sessions' `__exit__`."""
    entered = _STACK.entered
    for index in range(len(entered) - 1, -1, -1):
        if entered[index] is session:
            del entered[index]
            return


class LocalSession:
    """Evaluates in this process. Thread-safe. Final.

    A `with` makes it evaluate in this thread until its end; leaving closes it.

    Args:
        capacity: number of programs kept.
        threads: threads a large computation may run on, the caller's among them; None for one per core this
            process may use. Results are the same with any number, to the last bit.
    """

    def __init__(self, capacity: int = 256, threads: int | None = None) -> None:
        self._engine: Final = _Engine(capacity, threads)

    def run(self, request: Request) -> Result:
        """Evaluate; see Session.run."""
        return self._engine.run(request)

    def explain(self, request: Request) -> str:
        """The plan as text; see Session.explain."""
        return self._engine.explain(request)

    def close(self) -> None:
        """Drop the programs. Idempotent."""
        self._engine.close()

    def __enter__(self) -> LocalSession:
        enter_session(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave_session(self)
        self.close()
