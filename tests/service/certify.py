"""`make conformance`: certify a server that computes in process, and one that gives everything to two workers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

CLI = [sys.executable, "-m", "gradmesh_server.cli"]
SERVERS = (["--workers", "0"], ["--workers", "2", "--inline", "never"])


def certify(options: list[str]) -> int:
    """Start a server, try the vectors on it, stop it; the status of `gradmesh conformance`."""
    print(f"=== gradmesh serve {' '.join(options)}", flush=True)
    server = subprocess.Popen([*CLI, "serve", "--port", "0", *options], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        ready = re.search(r"serving on (\S+)", server.stdout.readline())
        if ready is None:
            raise SystemExit(f"the server ended with status {server.wait()} before it was ready")
        return subprocess.run([*CLI, "conformance", ready.group(1)], check=False).returncode
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


if __name__ == "__main__":
    sys.exit(max([certify(options) for options in SERVERS]))
