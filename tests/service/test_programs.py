"""Whole programs print the same when a service evaluates them."""

import pytest

import gradmesh
from gradmesh._remote import RemoteSession
from tests.client.test_programs import PROGRAMS, printed


@pytest.mark.parametrize("name", PROGRAMS)
def test_prints_the_same_remotely(name: str, session: RemoteSession) -> None:
    code, expected = PROGRAMS[name]
    with session:
        assert printed(code, gradmesh) == expected
