"""Coverage-guided fuzzing of what reads a request: `python -m tests.fuzz.decoder [--seconds N] [--seed N] [FILE]`.

From bytes to a plan: parse, decode, check, compile. Whatever the bytes, the end is a program or a typed error. Needs
atheris (`pip install -e '.[fuzz]'`); FILE is tried alone, as one that libFuzzer left in .fuzz/.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import atheris

# What is instrumented at its import guides the fuzzer.
with atheris.instrument_imports(include=["gradmesh", "gradmesh_engine", "gradmesh_server"]):
    from gradmesh import _codec
    from gradmesh.v1 import gradient_service_pb2 as pb
    from gradmesh_engine.budget import Budget, spending
    from gradmesh_engine.errors import GradmeshError, InternalError
    from gradmesh_engine.program import check_query, compile_query
    from gradmesh_server.coordinator import _decode_and_check, _query_of, _tensors_of

from google.protobuf.message import DecodeError

from tests.fuzz.corpus import seeds
from tests.fuzz.target import TIGHT

FOUND = Path(".fuzz")


def read(content: bytes) -> None:
    """Everything done with a request before it runs."""
    try:
        request = pb.ComputeRequest.FromString(content)
    except DecodeError:
        return
    try:
        for tensor in _tensors_of(request):
            _codec.decode_array(tensor)
    except InternalError:
        raise
    except GradmeshError:
        pass  # The graph may be well.
    try:
        with spending(Budget(TIGHT.max_planning_steps)):
            graph = _decode_and_check(request.graph, TIGHT)
            query = _query_of(request)
            check_query(graph, query)
            compile_query(graph, query)
    except InternalError:
        raise
    except GradmeshError:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decoder", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long to try (%(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other cases (%(default)d)")
    parser.add_argument("file", nargs="?", help="try one that was saved")
    arguments = parser.parse_args()
    corpus = FOUND / "decoder"
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={arguments.seconds}", f"-seed={arguments.seed + 1}", "-max_len=16384", "-timeout=60"]
    options += ["-rss_limit_mb=4096", f"-artifact_prefix={FOUND}{os.sep}", "-print_final_stats=1"]
    if arguments.file:
        options.append(arguments.file)
    else:
        requests = [c.messages[0] for case in seeds() for c in case if c.method == "Compute"]
        for number, content in enumerate(requests):
            (corpus / f"seed-{number}").write_bytes(content)
        options.append(str(corpus))
    atheris.Setup([sys.argv[0], *options], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
