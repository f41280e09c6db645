"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Such as "0.1.0"; "unknown" where nothing is installed."""
    try:
        return version("gradmesh")
    except PackageNotFoundError:
        return "unknown"
