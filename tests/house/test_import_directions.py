"""Imports go one way: engine <- client <- server, engine <- worker <- server; only the worker knows ray."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import PACKAGES, modules

# What each package may import besides the standard library and itself.
MAY_IMPORT = {
    "gradmesh_engine": {"numpy", "scipy", "ml_dtypes", "threadpoolctl"},
    "gradmesh": {
        "gradmesh_engine", "numpy", "ml_dtypes", "grpc", "google", "tqdm", "threadpoolctl", "opentelemetry",
        "safetensors",
    },
    "gradmesh_worker": {"gradmesh_engine", "numpy", "ml_dtypes", "ray", "threadpoolctl"},
    "gradmesh_server": {
        "gradmesh_engine", "gradmesh", "gradmesh_worker", "numpy", "ml_dtypes", "threadpoolctl",
        "grpc", "google", "grpc_health", "grpc_reflection", "grpc_status", "prometheus_client", "opentelemetry",
    },
}  # fmt: skip

# The coordinator shares the client's codec with its templates, error translation and stubs, and nothing else of it.
SHARED_WITH_SERVER = ("gradmesh.v1", "gradmesh._codec", "gradmesh._templates", "gradmesh._status")
# `gradmesh info` and `gradmesh conformance` are clients that happen to be installed by the server's package.
COMMAND_LINE = (("cli.py", "gradmesh._remote.connect"), ("cli.py", "gradmesh._conformance.certify"))


def imported(package: str, name: str, path: Path) -> Iterator[tuple[str, int]]:
    """Every module a file imports, wherever in the file, with the line."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                parts = parts[: len(parts) - (node.level - 1)]
                base = ".".join([*parts, base]).rstrip(".")
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package} | sys.stdlib_module_names
    wrong = [
        f"{path.name}:{line} imports {target}"
        for name, path in modules(package)
        for target, line in imported(package, name, path)
        if target.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_server_uses_only_the_codec_and_stubs_of_the_client() -> None:
    wrong = [
        f"{path.name}:{line} imports {target}"
        for name, path in modules("gradmesh_server")
        for target, line in imported("gradmesh_server", name, path)
        if target.split(".")[0] == "gradmesh" and not target.startswith(SHARED_WITH_SERVER)
        if (path.name, target) not in COMMAND_LINE
    ]
    assert not wrong, "\n".join(wrong)


def test_there_is_something_to_check() -> None:
    assert {package for package in PACKAGES if any(modules(package))} == set(PACKAGES)
