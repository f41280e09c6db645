"""Where the sources are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "gradmesh_engine": ROOT / "engine" / "gradmesh_engine",
    "gradmesh": ROOT / "client" / "gradmesh",
    "gradmesh_server": ROOT / "server" / "gradmesh_server",
    "gradmesh_worker": ROOT / "worker" / "gradmesh_worker",
}

GENERATED = PACKAGES["gradmesh"] / "v1"


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every hand-written module of a package."""
    folder = PACKAGES[package]
    for path in sorted(folder.rglob("*.py")):
        if GENERATED in path.parents:
            continue
        parts = (package, *path.relative_to(folder).with_suffix("").parts)
        yield ".".join(parts).removesuffix(".__init__"), path
