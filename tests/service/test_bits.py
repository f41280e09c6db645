"""A server without workers gives the bits of a run in process, whatever kernels a graph calls."""

from __future__ import annotations

import pytest

from gradmesh._remote import RemoteSession
from tests.engine.surroundings import ROWS, bits, blas_threads, in_process, request_of


@pytest.mark.parametrize("name", ROWS)
def test_the_bits_of_a_run_in_process(session: RemoteSession, name: str) -> None:
    request = request_of(name)
    with in_process() as here:
        expected = bits(here, request)
    assert bits(session, request) == expected
    with blas_threads(4):
        assert bits(session, request) == expected
