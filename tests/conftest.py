"""What holds for every test."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, and what else it does.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without PyTorch installed, the tests that compare with it are skipped."""
    if importlib.util.find_spec("torch") is not None:
        return
    skip = pytest.mark.skip(reason="compares with PyTorch, which is not installed (`make oracle`)")
    for item in items:
        if item.get_closest_marker("oracle") is not None:
            item.add_marker(skip)
