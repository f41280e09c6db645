"""`make bench`: the workloads beside their peers, latency beside a bare gRPC echo, in one run.

Contestants take turns and figures are medians over the rounds. Results are printed as tables and
written as JSON, which `compare.py` and people read. `bench.py --quick pointwise mlp` measures those two alone.
"""

from __future__ import annotations

import os

# Before any library that starts threads is imported: the latency lines are measured on one thread.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import importlib.metadata
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
from suite import LIBRARIES, check_names, installed, run_suite, workload_names
from tensors import tutorial
from timing import alternate

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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _about() -> dict[str, Any]:
    """What the figures depend on."""
    processor = Path("/proc/cpuinfo").read_text()
    names = [line.partition(":")[2].strip() for line in processor.splitlines() if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("numpy", "scipy", "torch", "jax", "autograd")},
        "machine": platform.machine(),
        "processor": names[0] if names else "",
        "avx512": "avx512f" in processor,  # NumPy's exp, tanh and log1p differ by it
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE", ""),
    }


def main() -> int:
    """Measure, print, write; exit with 1 when a goal was missed and `--strict` was given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("workloads", nargs="*", help="just these workloads, or `latency`; all when none is named")
    parser.add_argument("--size", action="append", choices=["small", "large"], help="just this size")
    parser.add_argument("--cores", action="append", type=int, choices=[1, 2], help="just on so many cores")
    parser.add_argument(
        "--with", dest="libraries", action="append", choices=list(LIBRARIES), help="just this contestant"
    )
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant at a workload")
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a turn lasts, at least one call")
    parser.add_argument("--calls", type=int, default=1000, help="calls of the latency measurement")
    parser.add_argument("--quick", action="store_true", help="one core, few short rounds, no torch.compile")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".benchmarks" / "bench.json")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal was missed")
    options = parser.parse_args()
    latency = not options.workloads or "latency" in options.workloads
    workloads = [name for name in options.workloads if name != "latency"]
    names = workload_names(workloads) if workloads or not options.workloads else []
    quick = options.quick
    wanted = options.libraries or [name for name in LIBRARIES if not (quick and name == "compile")]
    libraries = installed(check_names(wanted, list(LIBRARIES), "contestant"))
    missing = sorted({LIBRARIES[name][0] for name in wanted} - {LIBRARIES[name][0] for name in libraries})
    if missing:
        print(f"not installed, so not compared with: {', '.join(missing)} (`make bench-peers` brings them)")

    measured = run_suite(
        names,
        options.size or ["small", "large"],
        options.cores or ([1] if quick or os.cpu_count() == 1 else [1, 2]),
        libraries,
        min(options.rounds, 3) if quick else options.rounds,
        min(options.seconds, 0.03) if quick else options.seconds,
    ) if names else []  # fmt: skip
    lines: list[Line] = []
    if latency:
        print(f"\n{'':46}{'gradmesh':>12}{'peer':>12}  {'':15}{'ratio':>7}  goal", flush=True)
        calls = min(options.calls, 200) if quick else options.calls
        lines += [show(bench_latency(calls)), show(bench_observed(calls))]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    found = {"about": _about(), "workloads": [asdict(m) for m in measured], "lines": [asdict(line) for line in lines]}
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {options.json}")
    return int(options.strict and any(line.met is False for line in lines))


if __name__ == "__main__":
    sys.exit(main())
