"""Both clients behind one interface, so that one test holds for both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar

import gradmesh as gm
from gradmesh.aio import AsyncSession
from gradmesh.v1 import gradient_service_pb2 as pb
from gradmesh_engine.session import Request, Result

_T = TypeVar("_T")


class OnLoop:
    """An asyncio session on an event loop in a thread of its own, used as a synchronous one."""

    def __init__(self, address: str | Sequence[str], **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="client-loop", daemon=True)
        self._thread.start()
        try:
            self.session: AsyncSession = self.wait(self._connect(address, options))
        except BaseException:
            self._stop()
            raise

    @staticmethod
    async def _connect(address: str | Sequence[str], options: dict[str, Any]) -> AsyncSession:
        return await gm.aio.connect(address, **options)

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self.loop.is_closed():  # Of a closed session, which says so on any loop.
            return asyncio.run(work)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    @property
    def address(self) -> str:
        return self.session.address

    def run(self, request: Request) -> Result:
        return self.wait(self.session.run(request))

    def explain(self, request: Request) -> str:
        return self.wait(self.session._drive(self.session._conversation.explain(request)))

    def info(self) -> pb.GetServerInfoResponse:
        return self.wait(self.session.info())

    def close(self) -> None:
        if not self.loop.is_closed():
            self.wait(self.session.close())
            self._stop()

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def __enter__(self) -> OnLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Connect: TypeAlias = Callable[..., Any]

CLIENTS: dict[str, Connect] = {"sync": gm.connect, "asyncio": OnLoop}
"""How to connect, by kind of client."""
