"""The command line: `gradmesh serve`, `gradmesh info`, `gradmesh conformance`, `gradmesh token`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from gradmesh_engine.backend import Backend
from gradmesh_engine.errors import GradmeshError, InvalidRequestError, UnavailableError
from gradmesh_server.auth import Authenticator
from gradmesh_server.config import SETTINGS, Config
from gradmesh_server.logs import set_up
from gradmesh_server.settings import load
from gradmesh_server.tls import check_certificates
from gradmesh_server.tokens import make_token
from gradmesh_server.version import package_version


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    root = argparse.ArgumentParser(prog="gradmesh", description="A gradient service.")
    root.add_argument("--version", action="version", version=f"gradmesh {package_version()}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="start a coordinator",
        description="Start a coordinator with Ray workers. It prints one line once it is ready, and stops on SIGTERM. "
        "Each setting is read from the file (max_running = 8), the environment (GRADMESH_MAX_RUNNING=8) and the flags, "
        "the later ones going before the earlier.",
    )
    serve.add_argument("--config", metavar="FILE", help="TOML file of settings; environment and flags go before it")
    serve.add_argument("--check", action="store_true", help="print the effective settings and where they come from")
    groups = {"": serve, "limits": serve.add_argument_group("limits")}
    for setting in SETTINGS.values():
        flags = [setting.flag, *(["--address"] if setting.name == "ray_address" else [])]
        group = groups[setting.table]
        if setting.type == "bool":
            group.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=setting.doc)
        else:
            # Read and checked together with what the file and the environment say.
            shown = "" if setting.default in (None, "") else f" (default: {setting.default_text})"
            metavar = setting.metavar
            group.add_argument(*flags, default=argparse.SUPPRESS, metavar=metavar, help=f"{setting.doc}{shown}")

    info = commands.add_parser("info", help="show a coordinator's state")
    info.add_argument("address", metavar="HOST:PORT")
    info.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer")
    info.add_argument("--ops", action="store_true", help="list the operations too")

    conformance = commands.add_parser(
        "conformance",
        help="certify a server",
        description="Try every conformance vector on a server and tell what differs. The status is 1 if anything does.",
    )
    conformance.add_argument("address", metavar="HOST:PORT")
    conformance.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for each answer")

    token = commands.add_parser(
        "token",
        help="make a bearer token",
        description="Make a token. The line for the tokens file goes to standard output, the token itself, which is "
        "shown this once, to standard error: gradmesh token NAME >> FILE",
    )
    token.add_argument("name", metavar="NAME", help="of the principal that calls with it")
    return root


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
            port = server.metrics_port
            watched = "" if port is None else f", metrics on http://{config.metrics_host}:{port}/metrics"
            print(f"gradmesh serving on {server.address} with {workers}{watched}", flush=True)
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
    given = {name: value for name, value in vars(arguments).items() if name in SETTINGS}
    settings = load(arguments.config or os.environ.get("GRADMESH_CONFIG"), os.environ, given)
    config = settings.config
    if arguments.check:
        check_certificates(config)
        Authenticator(config)
        print(settings.text())
        return 0
    set_up(config.log_level, config.log_format)
    asyncio.run(_serve(config, make_backend(config.workers, config.ray_address or None)))
    return 0


def token(arguments: argparse.Namespace) -> int:
    """Print a new token and its line."""
    secret, line = make_token(arguments.name)
    print(secret, file=sys.stderr)
    print(line)
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


def conformance(arguments: argparse.Namespace) -> int:
    """Certify a server; the status is 1 when a vector fails."""
    from gradmesh._conformance import certify
    from gradmesh._remote import connect

    passed = failed = 0
    with connect(arguments.address, timeout=arguments.timeout) as session:
        for verdict in certify(session, arguments.timeout):
            passed += not verdict.faults
            failed += bool(verdict.faults)
            print(f"{'FAIL' if verdict.faults else 'ok':4}  {verdict.name}")
            for fault in verdict.faults:
                print(f"      {fault}")
    print(f"{passed + failed} vectors: {passed} passed, {failed} failed")
    return int(failed > 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    arguments = parser().parse_args(argv)
    try:
        return {"serve": serve, "info": info, "conformance": conformance, "token": token}[arguments.command](arguments)
    except GradmeshError as error:
        print(f"gradmesh: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
