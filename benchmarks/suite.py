"""The workloads beside the peers: contestants in processes of their own take turns; medians over the rounds."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from workloads import WORKLOADS

HERE = Path(__file__).resolve().parent

LIBRARIES: Final[Mapping[str, tuple[str, str]]] = {
    "gradmesh": ("gradmesh", "gradmesh"),
    "compiled": ("gradmesh, compiled", "gradmesh"),
    "torch": ("PyTorch", "torch"),
    "compile": ("torch.compile", "torch"),
    "jax": ("JAX jit", "jax"),
    "autograd": ("autograd", "autograd"),
}
"""Contestants: how the table calls them, and the module that has to be installed."""

OURS: Final = ("gradmesh", "compiled")
"""Those that are no peers: recorded at each step, and with `gm.compile`."""


@dataclass(frozen=True)
class Measured:
    """One contestant at one workload.

    Attributes:
        workload: its name in `WORKLOADS`.
        size: "small" or "large".
        cores: cores it may use.
        library: the contestant.
        first_s: its first call, in seconds, with tracing, compiling and planning.
        seconds: medians of the rounds.
        beyond_bytes: peak of resident memory beyond inputs and results.
        error: why there is no figure, "" when there is one.
    """

    workload: str
    size: str
    cores: int
    library: str
    first_s: float = math.nan
    seconds: list[float] = field(default_factory=list)
    beyond_bytes: int = 0
    error: str = ""

    @property
    def median_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds) if self.seconds else math.nan


class ContestantError(RuntimeError):
    """A contestant's process answered with an error, or ended."""


class Process:
    """A contestant's process. Use `contestant` to start and end one.

    It is stopped but for its turns: threads that wait for work by spinning would take a core from the others.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, command: str, *arguments: Any) -> Any:
        """Send a command; the answer. Raises ContestantError."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.send_signal(signal.SIGCONT)
        try:
            process.stdin.write(json.dumps([command, *arguments]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise ContestantError("its process has ended") from None
        line = process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        if not line:
            raise ContestantError("its process has ended")
        reply = json.loads(line)
        if "error" in reply:
            raise ContestantError(reply["error"])
        return reply["answer"]


@contextmanager
def contestant(library: str, cores: int, sources: Path | None = None) -> Iterator[Process]:
    """A process of a contestant; with `sources`, gradmesh as it is in that checkout."""
    environment = dict(os.environ, PYTHONWARNINGS="ignore", JAX_PLATFORMS="cpu")
    environment.pop("OPENBLAS_CORETYPE", None)
    if sources is not None:
        environment["PYTHONPATH"] = os.pathsep.join(str(sources / part) for part in ("client", "engine"))
    with tempfile.TemporaryDirectory() as cache:
        environment["TORCHINDUCTOR_CACHE_DIR"] = cache  # empty, so that a first call compiles
        process = subprocess.Popen(
            [sys.executable, str(HERE / "contestant.py"), library, str(cores)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        try:
            yield Process(process)
        finally:
            assert process.stdin is not None
            process.send_signal(signal.SIGCONT)
            try:
                process.stdin.close()
                process.wait(timeout=10)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                process.kill()
                process.wait()


def installed(libraries: Sequence[str]) -> list[str]:
    """Those whose module is there."""
    return [name for name in libraries if importlib.util.find_spec(LIBRARIES[name][1]) is not None]


def _agree(summaries: Mapping[str, list[float]]) -> None:
    """Contestants compute the same thing, to a thousandth. Raises ContestantError."""
    ours = summaries.get("gradmesh")
    for name, theirs in summaries.items():
        if ours is not None and not all(
            math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-6) for a, b in zip(ours, theirs, strict=True)
        ):
            raise ContestantError(f"gradmesh computes {ours}, {name} {theirs}")


def measure(
    processes: Mapping[str, Process], workload: str, size: str, cores: int, rounds: int, budget_s: float
) -> list[Measured]:
    """One workload at one size, by all contestants in turns.

    Args:
        processes: by contestant.
        workload: name of the workload.
        size: "small" or "large".
        cores: what the processes were started with.
        rounds: turns each contestant has.
        budget_s: seconds a contestant measures for in its turn, at least one call.
    """
    found: dict[str, Measured] = {}
    summaries: dict[str, list[float]] = {}
    for library, process in processes.items():
        try:
            if not process.ask("load", workload, size):
                continue
            first = process.ask("first")
        except ContestantError as error:
            found[library] = Measured(workload, size, cores, library, error=str(error))
            continue
        summaries[library] = first["summary"]
        found[library] = Measured(workload, size, cores, library, first["first_s"], [], first["beyond_bytes"])
    _agree(summaries)
    slow = set()
    for turn in range(rounds):
        for library in summaries:
            if turn >= 3 and library in slow:
                continue
            seconds = processes[library].ask("run", budget_s)
            found[library].seconds.append(statistics.median(seconds))
            if seconds[0] > 20 * budget_s:
                slow.add(library)
    return list(found.values())


def run_suite(
    workloads: Sequence[str], sizes: Sequence[str], cores: Sequence[int], libraries: Sequence[str], rounds: int,
    budget_s: float,
) -> list[Measured]:  # fmt: skip
    """Measure and print, line by line."""
    results: list[Measured] = []
    for count in cores:
        with ExitStack() as stack:
            processes = {name: stack.enter_context(contestant(name, count)) for name in libraries}
            print(f"\n{count} core{'s' if count > 1 else ''}: median ms of forward and backward; first call; peak MB")
            ours = [name for name in OURS if name in libraries]
            print(f"{'':22}" + "".join(f"{LIBRARIES[name][0]:>24}" for name in libraries) + f"{'best peer /':>14}")
            for workload in workloads:
                for size in sizes:
                    lines = measure(processes, workload, size, count, rounds, budget_s)
                    results += lines
                    print(_row(workload, size, libraries, lines), flush=True)
        for name in ours:
            ratios = [ratio for ratio in by_workload(results, count, name).values() if ratio is not None]
            if ratios:
                what = f"geometric mean of best peer / {LIBRARIES[name][0]} over {len(ratios)}"
                print(f"{what}: {statistics.geometric_mean(ratios):.2f}")
    return results


def _row(workload: str, size: str, libraries: Sequence[str], lines: Sequence[Measured]) -> str:
    by_library = {line.library: line for line in lines}
    cells = []
    for name in libraries:
        line = by_library.get(name)
        if line is None:
            cells.append("-")
        elif line.error:
            cells.append("failed")
        else:
            first = f"{line.first_s * 1e3:.0f}" if line.first_s < 10 else f"{line.first_s:.0f}k"
            cells.append(f"{line.median_s * 1e3:.3g} {first:>6} {line.beyond_bytes / 1e6:>5.0f}")
    ratio = ratio_of(lines)
    failed = "".join(f"\n    {line.library}: {line.error}" for line in lines if line.error)
    return (
        f"{workload + ' ' + size:22}" + "".join(f"{cell:>24}" for cell in cells)
        + (f"{'-' if ratio is None else f'{ratio:.2f}':>14}" + failed)
    )  # fmt: skip


def ratio_of(lines: Sequence[Measured], name: str = "gradmesh") -> float | None:
    """The best peer's time by that of one of ours, None without either."""
    ours = [line.median_s for line in lines if line.library == name and line.seconds]
    peers = [line.median_s for line in lines if line.library not in OURS and line.seconds]
    return min(peers) / ours[0] if ours and peers else None


def by_workload(results: Sequence[Measured], cores: int, name: str) -> dict[tuple[str, str], float | None]:
    """That ratio of every workload and size."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for line in results:
        if line.cores == cores:
            groups.setdefault((line.workload, line.size), []).append(line)
    return {key: ratio_of(lines, name) for key, lines in groups.items()}


FIRST_S: Final = 0.1
"""Seconds a first call may take beyond a later one: for planning, and what is loaded when first needed."""


def slow_starts(results: Sequence[Measured]) -> list[str]:
    """The workloads whose first call takes longer than that."""
    return [
        f"{line.workload} {line.size} ({(line.first_s - line.median_s) * 1e3:.0f} ms)"
        for line in results
        if line.library == "gradmesh" and line.seconds and line.first_s - line.median_s > FIRST_S
    ]


def check_names(given: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """The names given, or all there are. Raises SystemExit for one that is not known."""
    for name in given:
        if name not in known:
            raise SystemExit(f"no {what} {name!r}; there are {', '.join(known)}")
    return list(given or known)


def workload_names(given: Sequence[str]) -> list[str]:
    """Names of workloads."""
    return check_names(given, list(WORKLOADS), "workload")
