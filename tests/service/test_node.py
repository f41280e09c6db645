"""The Node.js example, installed from its lock file and run against a server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gradmesh_server.server import Server

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "node"
NODE, NPM = shutil.which("node"), shutil.which("npm")

needs_node = pytest.mark.skipif(
    NODE is None or NPM is None, reason="NODE IS MISSING: the Node.js example was not run; install Node.js 20 with npm"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with the packages of its lock file, beside the contract."""
    assert NPM is not None
    root = tmp_path_factory.mktemp("node")
    shutil.copytree(ROOT / "proto", root / "proto")
    here = root / "examples" / "node"
    shutil.copytree(EXAMPLE, here, ignore=shutil.ignore_patterns("node_modules"))
    command = [NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return here


def run(folder: Path, script: str, address: str) -> list[str]:
    assert NODE is not None
    # A proxy is no way to a server on this machine.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [NODE, script, address]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@needs_node
@pytest.mark.xdist_group("node")
def test_the_tutorial(installed: Path, server: Server) -> None:
    assert run(installed, "tutorial.js", server.address) == [
        "y = 3 3 3 3",
        "z = 27 27 27 27",
        "out = 27",
        "d out / d x = 4.5 4.5 4.5 4.5",
        "AddBackward0 from tutorial.js: y",
        "MulBackward0 from tutorial.js: y²",
        "MulBackward0 from tutorial.js: z",
        "MeanBackward0 from tutorial.js: out",
    ]


@needs_node
@pytest.mark.xdist_group("node")
def test_a_logistic_regression_an_error_and_a_cancelled_call(installed: Path, server: Server) -> None:
    uploaded, converged, error, cancelled = run(installed, "logistic.js", server.address)
    assert uploaded.startswith("uploaded 4400000 bytes: ")
    norm = re.search(r"converged in \d+ steps: loss 0\.\d+, gradient (\S+), off by 0\.0\d+$", converged)
    assert norm is not None and float(norm.group(1)) < 1e-4, converged
    assert error.startswith("ShapeError at node 0 (mv, logistic.js: x w): ")
    assert cancelled == "cancelled"


def test_the_client_is_short() -> None:
    assert len((EXAMPLE / "gradmesh.js").read_text().splitlines()) < 60


def test_the_lock_file_names_no_registry() -> None:
    """So that it installs from whichever registry the reader's npm is set up for."""
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages.keys() >= {"node_modules/@grpc/grpc-js", "node_modules/@grpc/proto-loader"}
    assert all("resolved" not in package and package["integrity"] for package in packages.values())
