"""`make bench`: speed and memory beside PyTorch, latency beside a bare gRPC echo, in one run.

Everything on one core: one BLAS thread, one PyTorch thread. Contestants take turns and ratios are
medians over the rounds. Results are printed as a table and written as JSON.
"""

from __future__ import annotations

import os

# Before any library that starts threads is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradmesh as gm  # before NumPy: it asks OpenBLAS for the right kernels
import grpc
import numpy as np
from timing import alternate
from workloads import WORKLOADS, tutorial

HERE = Path(__file__).resolve().parent


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


def load_torch() -> Any:
    """PyTorch with one thread, None when it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(1)
    return torch


def bench_speed(name: str, goal: float, rounds: int, torch: Any) -> Line:
    """Forward and backward through the public API, beside PyTorch eager."""
    ours = WORKLOADS[name](gm)
    contestants = {"gradmesh": ours}
    if torch is not None:
        theirs = WORKLOADS[name](torch)
        contestants["torch"] = theirs
        _agree(ours(), theirs())
    timing = alternate(contestants, rounds)
    mine = timing.median_s("gradmesh") * 1e3
    if torch is None:
        return Line(f"{name}: forward and backward", mine, None, "", "ms", None, f"≥ {goal}x PyTorch", None)
    ratio = timing.p50_ratio("torch", "gradmesh")
    peer = timing.median_s("torch") * 1e3
    return Line(f"{name}: forward and backward", mine, peer, "PyTorch eager", "ms", ratio, f"≥ {goal}x", ratio >= goal)


def _agree(ours: tuple[float, list[np.ndarray]], theirs: tuple[float, list[np.ndarray]]) -> None:
    """The contestants compute the same thing."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4)
    for mine, peer in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(mine, peer, rtol=1e-3, atol=1e-5 * float(np.abs(peer).max()))


def bench_memory(name: str, goal_mb: float, torch: Any) -> Line:
    """Peak memory of one step beyond inputs and results, each in a process of its own."""

    def beyond_mb(library: str) -> float:
        command = [sys.executable, str(HERE / "peak.py"), library, name]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        return float(json.loads(done.stdout)["beyond_bytes"]) / 1e6

    mine = beyond_mb("gradmesh")
    peer = None if torch is None else beyond_mb("torch")
    who = "" if torch is None else "PyTorch eager"
    return Line(f"{name}: peak memory beyond", mine, peer, who, "MB", None, f"< {goal_mb:g} MB", mine < goal_mb)


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


def bench_latency(rounds: int) -> Line:
    """p50 of the tutorial's gradient through the service, inline, beside a bare echo of 1 KB."""
    serve = [str(Path(sys.executable).with_name("gradmesh")), "serve", "--port", "0", "--workers", "0"]
    with child(serve) as server, child([sys.executable, str(HERE / "echo.py")]) as echo_server:
        port = int(said(echo_server))
        address = next(word for word in said(server).split() if word.startswith("127.0.0.1:"))
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, gm.connect(address):
            echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/bench.Echo/Echo")
            payload = bytes(1024)
            timing = alternate({"gradmesh": tutorial(gm), "echo": lambda: echo(payload)}, rounds, warm=50)
    mine, peer = timing.median_s("gradmesh") * 1e3, timing.median_s("echo") * 1e3
    return Line(
        "tutorial's gradient over loopback gRPC, p50", mine, peer, "bare gRPC echo", "ms", mine / peer, "≤ 2x",
        mine / peer <= 2,
    )  # fmt: skip


def bench_observed(rounds: int) -> Line:
    """p50 of the tutorial's gradient from a server with metrics and a log line per call, beside one without."""
    serve = [sys.executable, str(HERE / "observed.py")]
    with child([*serve, "observed"]) as observed, child([*serve, "bare"]) as bare:
        with closing(gm.connect(said(observed))) as watched, closing(gm.connect(said(bare))) as alone:
            step = tutorial(gm)

            def on(session: Any) -> Any:
                before = gm.set_default_session(session)
                try:
                    return step()
                finally:
                    gm.set_default_session(before)

            timing = alternate({"observed": lambda: on(watched), "bare": lambda: on(alone)}, rounds, warm=50)
    mine, peer = timing.median_s("observed") * 1e3, timing.median_s("bare") * 1e3
    return Line(
        "the same with metrics and logs, p50", mine, peer, "without them", "ms", mine / peer, "≤ 1.05x",
        mine / peer <= 1.05,
    )  # fmt: skip


def show(line: Line) -> Line:
    """Print a line of the table."""
    peer = "-" if line.peer is None else f"{line.peer:.2f} {line.unit}"
    ratio = "-" if line.ratio is None else f"{line.ratio:.2f}x"
    verdict = {True: "met", False: "MISSED", None: "no peer"}[line.met]
    ours = f"{line.gradmesh:.2f} {line.unit}"
    print(f"{line.what:46}{ours:>12}{peer:>12}  {line.peer_name:15}{ratio:>7}  {line.goal} {verdict}", flush=True)
    return line


def main() -> int:
    """Measure, print, write; exit with 1 when a goal was missed and `--strict` was given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of the heavy workloads")
    parser.add_argument("--calls", type=int, default=1000, help="calls of the latency measurement")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".benchmarks" / "bench.json")
    parser.add_argument("--only", choices=["pointwise", "logistic", "latency"], help="just this one")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal was missed")
    options = parser.parse_args()
    torch = load_torch()
    if torch is None:
        print("PyTorch is not installed, so there is nothing to compare with (`make oracle` installs it).")

    lines: list[Line] = []
    print(f"{'':46}{'gradmesh':>12}{'peer':>12}  {'':15}{'ratio':>7}  goal", flush=True)
    for name, goal in (("pointwise", 3.0), ("logistic", 1.5)):
        if options.only in (None, name):
            lines.append(show(bench_speed(name, goal, options.rounds, torch)))
            lines.append(show(bench_memory(name, 64, torch)))
    if options.only in (None, "latency"):
        lines.append(show(bench_latency(options.calls)))
        lines.append(show(bench_observed(options.calls)))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": None if torch is None else torch.__version__,
        "machine": platform.machine(),
        "avx512": "avx512f" in Path("/proc/cpuinfo").read_text(),  # NumPy's exp, tanh and log1p differ by it
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE", ""),
    }
    options.json.write_text(json.dumps({"about": about, "lines": [asdict(line) for line in lines]}, indent=1) + "\n")
    print(f"written to {options.json}")
    return int(options.strict and any(line.met is False for line in lines))


if __name__ == "__main__":
    sys.exit(main())
