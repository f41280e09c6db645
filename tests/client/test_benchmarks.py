"""Every workload of the benchmarks runs, and computes what its peer computes."""

from __future__ import annotations

import importlib.util
import json
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
    for library in ["gradmesh", *peers]:
        command += ["--with", library]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    measured = json.loads(found.read_text())["workloads"]
    assert {one["library"] for one in measured} == {"gradmesh", *peers}
    assert all(one["seconds"] and not one["error"] for one in measured), measured


def names(folder: Path) -> list[str]:
    """The workloads, as the suite itself lists them where one is not known."""
    command = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), "none such"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder).stderr
    assert "there are " in told
    return told.partition("there are ")[2].strip().split(", ")
