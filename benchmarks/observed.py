"""Serve in one process, with metrics and a log line per request or without any of it; for `bench.py`."""

from __future__ import annotations

import asyncio
import os
import sys

from gradmesh_server.config import Config
from gradmesh_server.server import Server


async def main(observed: bool) -> None:
    """Serve until killed; prints the address."""
    sys.stderr = open(os.devnull, "w")  # where the log lines go
    config = Config(port=0, metrics_port=0, log_format="json") if observed else Config(port=0)
    server = Server(config, observed=observed)
    await server.start()
    print(server.address, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] == "observed"))
