"""The service beside bare gRPC: latency, transfers, throughput, what TLS, metrics and overload cost."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gradmesh as gm
import grpc
import numpy as np
from tensors import step_of, tutorial
from timing import Timing, alternate
from workloads import WORKLOADS

HERE = Path(__file__).resolve().parent
HEAD: Final = f"{'':46}{'gradmesh':>12}{'peer':>12}  {'':15}{'ratio':>7}  goal"


@dataclass(frozen=True)
class Line:
    """One measured goal.

    Attributes:
        what: what was measured.
        gradmesh: our figure, in `unit`.
        peer: the peer's figure in the same run, None without one.
        peer_name: who that is.
        unit: unit of both figures.
        ratio: how many times better (goal "≥") or larger (goal "≤") than the peer we are; or our own figure.
        goal: what is aimed at.
        met: whether it was met, None when there was no peer to compare with.
    """

    what: str
    gradmesh: float
    peer: float | None
    peer_name: str
    unit: str
    ratio: float | None
    goal: str
    met: bool | None


@contextmanager
def child(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A server process, stopped at the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def said(process: subprocess.Popen[str]) -> str:
    """The first line a server prints once it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended before it was ready")
    return line.strip()


def serve(*flags: str) -> list[str]:
    """The command of a coordinator on a free port."""
    return [str(Path(sys.executable).with_name("gradmesh")), "serve", "--port", "0", *flags]


def address_of(process: subprocess.Popen[str]) -> str:
    """Where a server says that it listens."""
    return next(word for word in said(process).split() if word.startswith("127.0.0.1:"))


def on(session: Any, step: Callable[[], Any]) -> Callable[[], Any]:
    """A step that a session evaluates."""

    def run() -> Any:
        before = gm.set_default_session(session)
        try:
            return step()
        finally:
            gm.set_default_session(before)

    return run


def compared(what: str, timing: Timing, peer: str, peer_name: str, most: float) -> Line:
    """A line that says how much longer gradmesh takes than a peer, which is to be at most so many times."""
    mine, theirs = timing.median_s("gradmesh") * 1e3, timing.median_s(peer) * 1e3
    ratio = timing.p50_ratio("gradmesh", peer)
    return Line(what, mine, theirs, peer_name, "ms", ratio, f"≤ {most:g}x", ratio <= most)


def bench_latency(rounds: int) -> Line:
    """p50 of the tutorial's gradient through the service, inline, beside a bare echo of 1 KB."""
    with child(serve("--workers", "0")) as server, child([sys.executable, str(HERE / "echo.py")]) as echo_server:
        with (
            closing(gm.connect(address_of(server))) as session,
            grpc.insecure_channel(f"127.0.0.1:{said(echo_server)}") as channel,
        ):
            echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/bench.Echo/Echo")
            payload = bytes(1024)
            step = on(session, tutorial(gm))
            gm.stats(reset=True)
            timing = alternate({"gradmesh": step, "echo": lambda: echo(payload)}, rounds, warm=50)
            served = gm.stats()
        # The client's part and the engine's, without a service between them.
        alone = alternate({"gradmesh": on(gm.LocalSession(), tutorial(gm))}, rounds, warm=50)
    parts = ", ".join(f"{name} {seconds / served.requests * 1e6:.0f}" for name, seconds in served.seconds.items())
    print(f"  at the server, us: {parts}; in process, all of it: {alone.median_s('gradmesh') * 1e6:.0f} us")
    return compared("tutorial's gradient over loopback gRPC, p50", timing, "echo", "bare gRPC echo", 1.5)


def bench_observed(rounds: int) -> Line:
    """p50 of the tutorial's gradient from a server with metrics and a log line per call, beside one without."""
    command = [sys.executable, str(HERE / "observed.py")]
    with child([*command, "observed"]) as observed, child([*command, "bare"]) as bare:
        with closing(gm.connect(said(observed))) as watched, closing(gm.connect(said(bare))) as alone:
            step = tutorial(gm)
            timing = alternate({"gradmesh": on(watched, step), "bare": on(alone, step)}, rounds, warm=50)
    return compared("the same with metrics and logs, p50", timing, "bare", "without them", 1.05)


def bench_secured(rounds: int) -> Line:
    """p50 of the tutorial's gradient with TLS and a token, beside a server without."""
    sys.path.append(str(HERE.parent))
    from gradmesh_server.tokens import make_token
    from tests.service.certificates import Authority

    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        pair = authority.issue("")
        secret, line = make_token("bench")
        tokens = Path(folder, "tokens")
        tokens.write_text(f"{line}\n")
        flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tokens", str(tokens))
        with child(serve("--workers", "0", *flags)) as secured, child(serve("--workers", "0")) as plain:
            tls = gm.TLS(ca=authority.file)
            with (
                closing(gm.connect(address_of(secured), tls=tls, token=secret)) as safe,
                closing(gm.connect(address_of(plain))) as open_session,
            ):
                step = tutorial(gm)
                timing = alternate({"gradmesh": on(safe, step), "plain": on(open_session, step)}, rounds, warm=50)
    return compared("the same with TLS and a token, p50", timing, "plain", "without them", 1.3)


def bench_transfer(rounds: int) -> Line:
    """A gradient of 10 MB of an input of 10 MB, beside a bare stream of as many bytes there and back."""
    size = 2_500_000
    x: Any = gm.ones(size, requires_grad=True)

    def gradient() -> None:
        x.grad = None
        (x * x).sum().backward()
        x.grad.numpy()

    with child(serve("--workers", "0")) as server, child([sys.executable, str(HERE / "echo.py")]) as echo_server:
        options = [("grpc.max_receive_message_length", -1)]
        with (
            closing(gm.connect(address_of(server))) as session,
            grpc.insecure_channel(f"127.0.0.1:{said(echo_server)}", options) as channel,
        ):
            stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream("/bench.Echo/Stream")
            content = bytes(4 * size)
            chunk = 1 << 20

            def echo() -> None:
                parts = (content[start : start + chunk] for start in range(0, len(content), chunk))
                assert len(b"".join(stream(parts))) == len(content)

            timing = alternate({"gradmesh": on(session, gradient), "stream": echo}, max(10, rounds // 30))
    return compared("10 MB in, its gradient of 10 MB out, p50", timing, "stream", "bare gRPC stream", 2)


def bench_repeated(rounds: int) -> Line:
    """A gradient on data that was uploaded before, on one worker, beside the same computed in this process."""
    inputs = WORKLOADS["logistic"].make(np.random.default_rng(0), 200_000, 64)
    step = step_of(gm, "logistic", "gradient", inputs)
    with child(serve("--workers", "1", "--inline", "never")) as server, gm.LocalSession() as here:
        with closing(gm.connect(address_of(server))) as session:
            timing = alternate({"gradmesh": on(session, step), "here": on(here, step)}, max(10, rounds // 20), warm=3)
    mine, peer = timing.median_s("gradmesh") * 1e3, timing.median_s("here") * 1e3
    more = statistics.median(a - b for a, b in zip(timing.rounds["gradmesh"], timing.rounds["here"], strict=True)) * 1e3
    return Line(
        "logistic again on one worker, p50", mine, peer, "in process", "ms", None, "≤ 2 ms more", more <= 2
    )  # fmt: skip


def bench_throughput(rounds: int) -> Line:
    """Tutorial gradients a second from 16 concurrent calls, beside bare echoes; the client is the same."""
    from load import calls_per_second, tutorial_request

    with child(serve("--workers", "0")) as server, child([sys.executable, str(HERE / "echo.py")]) as echo_server:
        address, echo_address = address_of(server), f"127.0.0.1:{said(echo_server)}"
        gradient = ("/gradmesh.v1.GradientService/Compute", tutorial_request())
        seconds = min(3.0, rounds / 300)
        mine = calls_per_second(address, *gradient, seconds)
        peer = calls_per_second(echo_address, "/bench.Echo/Echo", bytes(1024), seconds)
    return Line("gradients a second, 16 concurrent calls", mine, peer, "bare gRPC echo", "/s", peer / mine, "-", None)


@contextmanager
def on_core(which: int) -> Iterator[None]:
    """Let processes that start meanwhile have one core, of those there are, to themselves."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[which]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def overloaded(way: str, what: str) -> Line:
    """What callers who are let in wait at ten times the load a server bears, beside what they wait at that load.

    The server has one core; those who call it have another.
    """
    with ExitStack() as stack:
        with on_core(0):
            server = stack.enter_context(child(serve("--workers", "0")))
        with on_core(-1):
            command = [sys.executable, str(HERE / "overload.py"), address_of(server), str(server.pid), way]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    seen = found["overload"]
    mine, peer = seen["admitted_p50_s"] * 1e3, found["borne"]["admitted_p50_s"] * 1e3
    line = Line(what, mine, peer, "at 1x", "ms", mine / peer, "≤ 2x", mine <= 2 * peer)
    refused_ms = (seen["refused_p50_s"] or 0.0) * 1e3
    print(
        f"  a second: {found['borne']['admitted_rate']:.0f} at 1x; {seen['admitted_rate']:.0f} admitted, "
        f"{seen['refused_rate']:.0f} refused in {refused_ms:.1f} ms (p50), {seen['cut_rate']:.0f} cut; "
        f"memory {found['grown_bytes'] / 2**20:+.1f} MiB; unexpected {seen['unexpected']}"
    )
    return line


def bench_crowded(rounds: int) -> Line:
    """Ten times as many clients as the server runs at once, which come again when they are told to."""
    del rounds
    return overloaded("clients", "admitted at 10x the clients, p50")


def bench_flooded(rounds: int) -> Line:
    """Ten times the rate the server bears, whatever they are told."""
    del rounds
    return overloaded("rate", "admitted at 10x the rate, p50")


LINES: Final[dict[str, Callable[[int], Line]]] = {
    "latency": bench_latency,
    "observed": bench_observed,
    "secured": bench_secured,
    "transfer": bench_transfer,
    "repeated": bench_repeated,
    "throughput": bench_throughput,
    "crowded": bench_crowded,
    "flooded": bench_flooded,
}
"""What can be measured, by the name `bench.py` takes; each with the number of rounds of a latency."""


def show(line: Line) -> Line:
    """Print a line of the table."""
    peer = "-" if line.peer is None else f"{line.peer:.2f} {line.unit}"
    ratio = "-" if line.ratio is None else f"{line.ratio:.2f}x"
    verdict = {True: "met", False: "MISSED", None: "no peer"}[line.met]
    ours = f"{line.gradmesh:.2f} {line.unit}"
    print(f"{line.what:46}{ours:>12}{peer:>12}  {line.peer_name:15}{ratio:>7}  {line.goal} {verdict}", flush=True)
    return line
