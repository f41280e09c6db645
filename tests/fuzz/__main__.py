"""Fuzzing of the service: `python -m tests.fuzz [--seconds N] [--seed N]`, `python -m tests.fuzz --replay FILE`.

A child process tries cases and writes down the one at hand, so that a crash and a hang are found too.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import mmap
import os
import resource
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import TracebackType

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.case import Case, from_text, load, save, shown, to_text
from tests.fuzz.corpus import seeds
from tests.fuzz.generate import CASES, generated
from tests.fuzz.minimise import minimised
from tests.fuzz.mutate import mutated
from tests.fuzz.target import Fault, Target, poisoned_memory

FOUND = Path(".fuzz")
"""Where cases that fail are saved."""

HANG_SECONDS = 60
ADDRESS_SPACE = 8 << 30
GROWTH_BYTES = 256 << 20
_AT_HAND_BYTES = 32 << 20
# For this many cases one target serves; then it has to give what it gave at first.
_CHECK_EVERY = 1000
# Shares of the time.
_SHARES = {"generated": 0.4, "mutated": 0.3, "hypothesis": 0.1, "wire": 0.2}


class _LastTraceback(logging.Handler):
    """What the server said about its latest defect: that is where the traceback is."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: TracebackType | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.trace = record.exc_info[2]


class Fuzzer:
    """Tries cases until the time is over or one fails."""

    def __init__(self, at_hand: mmap.mmap) -> None:
        self._at_hand = at_hand
        self._said = _LastTraceback()
        logger = logging.getLogger("gradmesh.server")
        logger.addHandler(self._said)
        logger.propagate = False
        self.target = Target()
        self.tried = 0

    def note(self, case: Case) -> None:
        """Write down what is tried now."""
        text = to_text(case).encode()
        self._at_hand[: len(text) + 1] = text + b"\0"

    def run(self, case: Case) -> None:
        """Raises Fault."""
        self.note(case)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            self._said.trace = None
            self.target.run(case)
            self.tried += 1
            if self.tried % _CHECK_EVERY == 0:
                self.target.still_right()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def signature(self, case: Case) -> tuple[str, ...] | None:
        """In which way a case fails, None when it does not."""
        try:
            self.run(case)
        except Fault as fault:
            return self.place() or (str(fault).split(":")[0][:40],)
        return None

    def place(self) -> tuple[str, ...]:
        """The innermost of our own lines that the latest defect came from."""
        frames = traceback.extract_tb(self._said.trace) if self._said.trace else []
        return tuple([f"{Path(f.filename).name}:{f.lineno}" for f in frames if "gradmesh" in f.filename][-2:])


def _cases(kind: str, start: int) -> Iterator[Case]:
    make: Callable[[Random], Case] = generated if kind == "generated" else lambda rng: mutated(rng, rng.choice(seeds()))
    number = 0
    while True:
        yield make(Random(f"{start}/{kind}/{number}"))
        number += 1


def _try(fuzzer: Fuzzer, kind: str, start: int, seconds: float) -> None:
    """Raises Fault."""
    begin, before, grown = time.monotonic(), fuzzer.tried, 0
    for case in _cases(kind, start):
        fuzzer.run(case)
        done = time.monotonic() - begin
        if not grown and done > seconds / 3:  # Caches are warm by now.
            grown = psutil.Process().memory_info().rss
        if done > seconds:
            break
    growth = psutil.Process().memory_info().rss - grown
    count = fuzzer.tried - before
    print(f"{kind}: {count} cases, {count / seconds:.0f} a second, {growth >> 20} MiB more memory", flush=True)
    if growth > GROWTH_BYTES:
        raise Fault(f"memory grew by {growth >> 20} MiB")


def _hypothesis(fuzzer: Fuzzer, start: int, seconds: float) -> None:
    """The same generator under hypothesis, which looks for variety. Raises Fault."""
    limit, before = time.monotonic() + seconds, fuzzer.tried

    # Failing cases are made small by our own means, which know what a message is.
    @seed(start)
    @settings(
        max_examples=1 << 20,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES)
    def check(case: Case) -> None:
        if time.monotonic() > limit:
            raise TimeoutError
        fuzzer.run(case)

    try:
        check()
    except TimeoutError:
        pass
    count = fuzzer.tried - before
    print(f"hypothesis: {count} cases, {count / seconds:.0f} a second", flush=True)


def _child(arguments: argparse.Namespace) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    warnings.simplefilter("error")
    with open(arguments.at_hand, "r+b") as file, poisoned_memory():
        fuzzer = Fuzzer(mmap.mmap(file.fileno(), _AT_HAND_BYTES))
        try:
            if arguments.replay:
                case = load(Path(arguments.replay))
                print(shown(case), flush=True)
                print(fuzzer.target.run(case))
                return 0
            seconds, start = arguments.seconds, arguments.seed
            for case in seeds():
                fuzzer.run(case)
            _try(fuzzer, "mutated", start, seconds * _SHARES["mutated"])
            _try(fuzzer, "generated", start, seconds * _SHARES["generated"])
            _hypothesis(fuzzer, start, seconds * _SHARES["hypothesis"])
            from tests.fuzz.wire import over_the_wire

            over_the_wire(start, seconds * _SHARES["wire"], fuzzer.note)
            print("outcomes:", dict(fuzzer.target.outcomes.most_common()))
        except Fault as fault:
            print(f"FAULT: {fault}", flush=True)
            traceback.print_tb(fuzzer._said.trace)
            if not arguments.replay:
                _make_small(fuzzer)
            return 1
    return 0


def _make_small(fuzzer: Fuzzer) -> None:
    """Put the smallest case that fails in the same way where the parent finds it."""
    case = from_text(_text(fuzzer._at_hand))
    way = fuzzer.signature(case)
    if way is not None:
        case = minimised(case, lambda smaller: fuzzer.signature(smaller) == way)
    fuzzer.note(case)


def _text(at_hand: mmap.mmap | bytes) -> str:
    return bytes(at_hand[:]).partition(b"\0")[0].decode()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to try (%(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other cases (%(default)d)")
    parser.add_argument("--replay", metavar="FILE", help="try one case that was saved")
    parser.add_argument("--at-hand", metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.at_hand:
        return _child(arguments)
    FOUND.mkdir(exist_ok=True)
    at_hand = FOUND / f"at-hand-{os.getpid()}"
    at_hand.write_bytes(bytes(_AT_HAND_BYTES))
    try:
        code = subprocess.run([sys.executable, "-m", "tests.fuzz", *sys.argv[1:], "--at-hand", str(at_hand)]).returncode
        if code and not arguments.replay:
            text = _text(at_hand.read_bytes())
            if text:
                found = FOUND / f"found-{arguments.seed}-{int(time.time())}.json"
                save(from_text(text), found)
                print(f"{shown(from_text(text))}\nto replay: {sys.executable} -m tests.fuzz --replay {found}")
        return 1 if code else 0
    finally:
        at_hand.unlink()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Threads of a case that hangs do not keep the process.
