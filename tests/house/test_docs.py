"""The README's first example prints what the README says, and every file the docs name exists."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from tests.house.sources import PACKAGES, ROOT

DOCS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/clients.md",
    "docs/observability.md",
    "docs/performance.md",
    "docs/protocol.md",
)


def test_the_first_example_of_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    expected = re.findall(r"# (tensor\(.*\))$", blocks[0], re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks[0], "README.md", "exec"), {})
    assert expected
    assert printed.getvalue().splitlines()[: len(expected)] == expected


@pytest.mark.parametrize("name", DOCS)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{name} links to {target}"


def test_the_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for found in set(re.findall(r"`((?:plan/)?\w+\.py)`", text)):
        assert any((folder / found).exists() for folder in PACKAGES.values()), found
