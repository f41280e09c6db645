"""The command line: `gradmesh serve` and `gradmesh info`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from gradmesh_engine.backend import Backend
from gradmesh_engine.errors import GradmeshError, InvalidRequestError, UnavailableError
from gradmesh_server.config import Config

_DEFAULT = Config()


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    root = argparse.ArgumentParser(prog="gradmesh", description="A gradient service.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="start a coordinator",
        description="Start a coordinator with Ray workers. It prints one line once it is ready, and stops on SIGTERM.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    serve.add_argument("--host", default=_DEFAULT.host, help="interface to listen on")
    serve.add_argument("--port", type=int, default=_DEFAULT.port, help="port to listen on; 0 picks a free one")
    serve.add_argument("--workers", type=int, default=2, help="Ray workers; 0 computes in the coordinator's process")
    serve.add_argument("--address", default=None, help="an existing Ray cluster to use; a local one is started if not")
    serve.add_argument(
        "--inline",
        choices=("auto", "never"),
        default=_DEFAULT.inline,
        help="whether small graphs may run in the coordinator's process",
    )
    limits = serve.add_argument_group("limits")
    for flag, kind, text in _LIMITS:
        name = flag.replace("-", "_")
        limits.add_argument(f"--{flag}", type=kind, default=getattr(_DEFAULT, name), help=text)
    serve.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"))

    info = commands.add_parser("info", help="show a coordinator's state")
    info.add_argument("address", metavar="HOST:PORT")
    info.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer")
    info.add_argument("--ops", action="store_true", help="list the operations too")
    return root


_LIMITS = (
    ("max-message-bytes", int, "of one message, in either direction"),
    ("max-graph-nodes", int, "of one graph"),
    ("max-graph-bytes", int, "of one serialised graph"),
    ("max-request-bytes", int, "results and planned peak of one request"),
    ("max-tensor-bytes", int, "of one tensor"),
    ("max-stored-bytes", int, "of all stored tensors"),
    ("max-running", int, "requests that run at once"),
    ("max-waiting", int, "requests that wait for their turn"),
    ("handle-ttl-seconds", float, "how long a result waits to be downloaded"),
    ("drain-seconds", float, "how long running requests may take to finish on SIGTERM"),
)


def make_backend(workers: int, address: str | None) -> Backend | None:
    """The Ray backend, or None when there are to be no workers. Raises UnavailableError without ray."""
    if workers < 0:
        raise InvalidRequestError("there cannot be so few workers", expected="0 or more", got=str(workers))
    if workers == 0:
        return None
    try:
        from gradmesh_worker import RayBackend
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "ray":
            raise UnavailableError(
                "Ray is not installed, so there can be no workers",
                remedy="pip install 'gradmesh[cluster]', or serve with --workers 0",
            ) from None
        raise
    backend: Backend = RayBackend(workers=workers, address=address)
    return backend


async def _serve(config: Config, backend: Backend | None) -> None:
    from gradmesh_server.server import Server

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen_to_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    listen_to_signals()
    server = Server(config, backend)
    starting = asyncio.ensure_future(server.start())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        # A signal that comes while workers are started ends the start.
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            listen_to_signals()  # Ray puts a handler in our place that prints a stack.
            pids = [str(worker.pid) for worker in backend.workers()] if backend is not None else []
            count = f"{len(pids)} worker{'s' * (len(pids) != 1)}"
            workers = f"{count} (pids {', '.join(pids)})" if pids else "no workers, computing in process"
            print(f"gradmesh serving on {server.address} with {workers}", flush=True)
            await stopping
    finally:
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        await server.stop()
        if backend is not None:
            await backend.close()


def serve(arguments: argparse.Namespace) -> int:
    """Run a coordinator until a signal comes."""
    limits = {flag.replace("-", "_"): getattr(arguments, flag.replace("-", "_")) for flag, _, _ in _LIMITS}
    config = Config(host=arguments.host, port=arguments.port, inline=arguments.inline, **limits)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(config, make_backend(arguments.workers, arguments.address)))
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Print a coordinator's state."""
    from gradmesh._remote import connect

    with connect(arguments.address, timeout=arguments.timeout) as session:
        state = session.info()
        ops = session.ops() if arguments.ops else ()
    print(f"gradmesh {state.version} at {arguments.address}, pid {state.pid}, up {state.uptime_seconds:.0f} s")
    if state.draining:
        print("stopping: finishes what it has and takes nothing new")
    print(f"workers: {len(state.workers)}" + ("" if state.workers else ", computing in the coordinator's process"))
    for worker in state.workers:
        condition = "busy" if worker.busy else "idle" if worker.alive else "down"
        print(f"  {worker.id}: pid {worker.pid} on {worker.node}, {condition}, {worker.completed} ranges done")
    print(f"ops: {state.ops}")
    for op in ops:
        print(f"  {op.name}: {op.doc}")
    print(f"cached: {state.cached_graphs} graphs, {state.cached_plans} plans")
    print(f"stored: {state.stored_blobs} blobs, {state.stored_bytes:,} bytes")
    print(
        f"requests: {state.requests_served} served, {state.requests_failed} failed, "
        f"{state.requests_running} running, {state.requests_waiting} waiting"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    arguments = parser().parse_args(argv)
    try:
        return serve(arguments) if arguments.command == "serve" else info(arguments)
    except GradmeshError as error:
        print(f"gradmesh: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
