"""Exit with 1 when the committed stubs are not what `make proto` generates."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Generate into a temporary folder and compare."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["sh", "proto/generate.sh", out], cwd=ROOT, check=True)
        fresh = {p.relative_to(out): p for p in Path(out).rglob("*.py*")}
        committed = {
            p.relative_to(ROOT / "client"): p
            for p in (ROOT / "client/gradmesh/v1").rglob("*_pb2*")
            if p.suffix != ".pyc"
        }
        stale = [
            str(name)
            for name in sorted({*fresh, *committed})
            if name not in fresh
            or name not in committed
            or not filecmp.cmp(fresh[name], committed[name], shallow=False)
        ]
    for name in stale:
        print(f"client/{name} is not what the contract generates; run `make proto`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
