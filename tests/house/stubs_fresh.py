"""Exit with 1 when the committed stubs are not what `make proto` generates."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Generate into a temporary folder and compare."""
    protos = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "proto").rglob("*.proto"))
    scripts = Path(sysconfig.get_path("scripts"))
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "grpc_tools.protoc", "-Iproto",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            *(f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
            *protos,
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)
        fresh = {p.relative_to(out): p for p in Path(out).rglob("*.py*")}
        committed = {
            p.relative_to(ROOT / "client"): p for p in (ROOT / "client/gradmesh/v1").rglob("*_pb2*") if p.suffix != ".pyc"
        }
        stale = [
            str(name)
            for name in sorted({*fresh, *committed})
            if name not in fresh or name not in committed or not filecmp.cmp(fresh[name], committed[name], shallow=False)
        ]
    for name in stale:
        print(f"client/{name} is not what the contract generates; run `make proto`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
