"""Every example of docs/protocol.md, run as it stands there, answers what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gradmesh_server.config import Config
from gradmesh_server.server import Server, background
from gradmesh_server.tokens import make_token
from tests.service.certificates import Authority

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "protocol.md"
SCRIPTS = sysconfig.get_path("scripts")
ANYTHING = "…"

needs_buf = pytest.mark.skipif(shutil.which("buf", path=SCRIPTS) is None, reason="buf is not installed")


@dataclass(frozen=True)
class Example:
    """A command of the page, and the answer below it."""

    line: int
    command: str
    kind: str
    answer: str


def read_page(text: str) -> tuple[str, list[Example]]:
    """The definitions all commands share, and the commands that have an answer."""
    blocks = [(m.group(1), m.group(2), text.count("\n", 0, m.start()) + 1) for m in _BLOCK.finditer(text)]
    definitions, examples = "", []
    for (kind, body, line), (next_kind, answer, _) in zip(blocks, [*blocks[1:], ("", "", 0)], strict=True):
        if kind == "sh" and next_kind in ("json", "text"):
            examples.append(Example(line, body, next_kind, answer))
        elif kind == "sh":
            definitions += body
    return definitions, examples


_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documents(text: str) -> list[Any]:
    """The JSON documents that follow each other in a text."""
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].lstrip()
    return found


def says(answer: Any, page: Any) -> bool:
    """Whether an answer is what the page says; "…" stands for anything that is there."""
    if page == ANYTHING:
        return True
    if isinstance(page, dict) and isinstance(answer, dict):
        return page.keys() == answer.keys() and all(says(answer[key], page[key]) for key in page)
    if isinstance(page, list) and isinstance(answer, list):
        return len(page) == len(answer) and all(map(says, answer, page))
    return bool(page == answer and type(page) is type(answer))


def answers_as_said(example: Example, output: str) -> bool:
    if example.kind == "text":  # Columns are aligned with spaces, and buf varies those between a name and its value.
        return output.split() == example.answer.split()
    try:
        answers, expected = documents(output), documents(example.answer)
    except json.JSONDecodeError:
        return False
    return len(answers) == len(expected) and all(map(says, answers, expected))


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with TLS and a token, and the environment of someone who may call it."""
    authority = Authority(tmp_path)
    pair = authority.issue("")
    secret, line = make_token("stranger")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{line}\n")
    config = Config(port=0, tls_cert=str(pair.cert), tls_key=str(pair.key), tokens=str(tokens))
    with background(config) as server:
        yield server, {"GRADMESH_TLS_CA": str(authority.file), "GRADMESH_TOKEN": secret}


@needs_buf
def test_every_example_answers_what_the_page_says(secured: tuple[Server, dict[str, str]]) -> None:
    """In order, on a server that knows nothing yet."""
    definitions, examples = read_page(PAGE.read_text())
    assert len(examples) >= 15
    with_tls, credentials = secured
    environment = {**os.environ, **credentials, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    with background(Config(port=0)) as server:
        for example in examples:
            script = f"{definitions}\n{example.command}".replace("127.0.0.1:50051", server.address)
            script = script.replace("127.0.0.1:50443", with_tls.address)
            done = subprocess.run(
                ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
            )
            assert answers_as_said(example, done.stdout + done.stderr), (
                f"docs/protocol.md:{example.line}:\n{example.command}answers\n{done.stdout}{done.stderr}"
            )


def test_the_first_gradient_is_one_command() -> None:
    _, examples = read_page(PAGE.read_text())
    assert examples[0].command.count("buf curl") == 1
    assert "call" not in examples[0].command


@pytest.mark.parametrize(
    ("answer", "page", "same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": "…"}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({}, {"a": "…"}, False),
        ([1, 2], [1], False),
        ([1, [2]], [1, ["…"]], True),
        (1, True, False),
    ],
)
def test_comparing_finds_differences(answer: Any, page: Any, same: bool) -> None:
    assert says(answer, page) is same
