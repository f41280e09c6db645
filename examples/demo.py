"""`make demo`: a coordinator with two Ray workers on this machine, and four programs that use it.

    (a) start `gradmesh serve --workers 2`
    (b) the autograd tutorial through gRPC
    (c) training on handwritten digits through the service
    (d) a big logistic regression split over both workers, twice
    (e) many descents at once, from one event loop over one connection

Ends by itself in a few minutes and leaves no process behind.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
READY_SECONDS, STEP_SECONDS, STOP_SECONDS = 180, 600, 60


def headline(text: str) -> None:
    """Say what comes next."""
    print(f"\n=== {text}", flush=True)


def ready_line(server: subprocess.Popen[str]) -> str:
    """The line a server prints once it is ready; raises when it ends or takes too long."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert server.stdout is not None
        lines.put(server.stdout.readline())
        for _ in server.stdout:  # keep the pipe empty
            pass

    threading.Thread(target=read, daemon=True).start()
    try:
        line = lines.get(timeout=READY_SECONDS)
    except queue.Empty:
        raise SystemExit(f"the server was not ready after {READY_SECONDS} s") from None
    if not line:
        raise SystemExit(f"the server ended with status {server.wait()} before it was ready")
    return line.strip()


def run(script: str, *arguments: str, address: str) -> None:
    """Run an example against the service; raises when it fails."""
    environment = {**os.environ, "GRADMESH_ADDRESS": address}
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], env=environment, timeout=STEP_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} failed with status {done.returncode}")


def stop(server: subprocess.Popen[str]) -> None:
    """Ask the server to drain and stop; insist when it does not."""
    server.send_signal(signal.SIGTERM)
    try:
        status = server.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        raise SystemExit(f"the server did not stop within {STOP_SECONDS} s") from None
    if status:
        raise SystemExit(f"the server stopped with status {status}")


def main() -> int:
    """Run the demo."""
    begin = time.perf_counter()
    headline("(a) gradmesh serve --workers 2")
    command = [str(Path(sys.executable).with_name("gradmesh")), "serve", "--port", "0", "--workers", "2"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = ready_line(server)
        print(line)
        address = next(word.rstrip(",;") for word in line.split() if word.startswith("127.0.0.1:"))
        headline("(b) the tutorial, through gRPC")
        run("tutorial.py", address=address)
        headline("(c) handwritten digits, trained through the service")
        run("digits.py", address=address)
        headline("(d) logistic regression of 1,000,000 x 64, split over both workers, twice")
        run("logistic.py", address, address=address)
        headline("(e) many descents at once, over one connection")
        run("many_gradients.py", address, address=address)
        headline("what the server did")
        subprocess.run([command[0], "info", address], check=True, timeout=60)
    finally:
        stop(server)
    headline(f"done in {time.perf_counter() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
