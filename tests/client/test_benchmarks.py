"""Every workload of the benchmarks runs, and computes what its peer computes."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT


@pytest.mark.slow
def test_every_workload_runs_and_agrees_with_its_peer(tmp_path: Path) -> None:
    peers = ["torch"] if importlib.util.find_spec("torch") is not None else []
    found = tmp_path / "bench.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), "--size", "small", "--cores", "1"]
    command += ["--rounds", "1", "--seconds", "0.001", "--json", str(found), *names(tmp_path)]
    for library in ["gradmesh", "compiled", *peers]:
        command += ["--with", library]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    measured = json.loads(found.read_text())["workloads"]
    assert {one["library"] for one in measured} == {"gradmesh", "compiled", *peers}
    assert all(one["seconds"] and not one["error"] for one in measured), measured


def names(folder: Path) -> list[str]:
    """The workloads, as the suite itself lists them where one is not known."""
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), "none such"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder).stderr
    assert "there are " in told
    return told.partition("there are ")[2].strip().split(", ")


@pytest.mark.slow
def test_floors_are_below_what_steps_take(tmp_path: Path) -> None:
    # Of these every part of a floor but reading memory is larger than what a clock can tell.
    command = [sys.executable, str(ROOT / "benchmarks" / "floors.py"), "options", "block", "--size", "small"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    head, *rows = [line.split() for line in told.stdout.splitlines()]
    assert len(rows) == 2 and head[-5:] == ["products", "pointwise", "others", "memory", "recording"]
    for row in rows:
        step, floor, distance, *parts = map(float, row[2:])
        assert math.isclose(floor, sum(parts), rel_tol=0.02) and math.isclose(step / floor, distance, rel_tol=0.02)
        assert distance > 1 and parts[1] > 0 and parts[4] > 0
        assert (parts[0] > 0) == (row[0] == "block")
