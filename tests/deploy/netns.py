"""Pods without Kubernetes: namespaces of their own for network, mounts and processes, on one bridge."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import ROOT

TOOLS = ("unshare", "nsenter", "ip", "openssl")
NETWORK = "10.77.0"
# What the Dockerfile sets, beside PATH and HOME.
IMAGE = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def require() -> None:
    """Skip, loudly, where there can be no namespaces."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"THE DEPLOYMENT IS NOT REHEARSED: {', '.join(missing)} not found (Debian: util-linux, iproute2)")
    script = "mount -t tmpfs none /mnt && ip link add gm0 type bridge && ip link add gm1 type veth peer name gm2"
    tried = subprocess.run(
        ["unshare", "-n", "-m", "-p", "--fork", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"THE DEPLOYMENT IS NOT REHEARSED: no namespaces can be made here: {tried.stderr.strip()}")


def run(*command: str) -> None:
    """Run a command that has to work."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}: {ran.stderr}"


class Namespaces:
    """Namespaces that live until they are closed, and all processes in them with them. Final."""

    def __init__(self, *prepare: str, mounts: bool = True) -> None:
        kinds = ["-n", "-m", "-p", "--fork", "--kill-child", "--propagation", "private"] if mounts else ["-n"]
        script = " && ".join([*prepare, "ip link set lo up", "echo ready", "exec sleep infinity"])
        self._holder = subprocess.Popen(["unshare", *kinds, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None and self._holder.stdout.readline() == "ready\n"
        pid = self._holder.pid
        self.pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text()) if mounts else pid

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Pod:
    """One pod: an address, a host name, /tmp, /dev/shm and /etc of its own. Final.

    Args:
        switch: the network it is on.
        number: the last part of its address.
        folder: where its files lie.
        hosts: names and addresses it knows.
        shm: size of /dev/shm in bytes.
        files: contents of files below /etc.
    """

    def __init__(
        self, switch: Switch, number: int, folder: Path, hosts: Mapping[str, str], shm: int, files: Mapping[str, bytes]
    ) -> None:
        self.address = f"{NETWORK}.{number}"
        self._folder = folder
        self._link = f"pod{number}"
        self._switch = switch
        self._started: list[subprocess.Popen[bytes]] = []
        tmp, etc = folder / "tmp", folder / "etc"
        tmp.mkdir(parents=True)
        shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text(
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
        )  # nobody: refused at once
        (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{a} {name}\n" for name, a in hosts.items()))
        for name, content in files.items():
            assert name.startswith("/etc/")
            file = etc / name.removeprefix("/etc/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        prepare = [f"mount --bind {etc} /etc"]
        for kept in {ROOT, Path(sys.prefix)}:
            if kept.is_relative_to("/tmp"):  # would be hidden below
                (tmp / kept.relative_to("/tmp")).mkdir(parents=True, exist_ok=True)
                prepare.append(f"mount --rbind {kept} {tmp / kept.relative_to('/tmp')}")
        prepare += [
            f"mount --rbind {tmp} /tmp",
            f"mount -t tmpfs -o size={shm} tmpfs /dev/shm",
            "mount -t proc proc /proc",
        ]
        self._namespaces = Namespaces(*prepare)
        switch.connect(self._link, self._namespaces.pid, self.address)

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: str, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a command of the image in the pod."""
        program = Path(sys.executable).parent / command[0]
        line = [str(program) if program.exists() else command[0], *command[1:]]
        inherited = {name: os.environ[name] for name in ("LANG",) if name in os.environ}
        path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
        with open(self._folder / log, "wb") as output:
            process = subprocess.Popen(
                ["nsenter", "-t", str(self._namespaces.pid), "-n", "-m", "-p", "--wd=/tmp", *line],
                env={**inherited, "PATH": path, "HOME": "/tmp", **IMAGE, **environment},
                stdin=subprocess.DEVNULL,
                **{"stdout": output, "stderr": subprocess.STDOUT, **options},
            )
        self._started.append(process)
        return process

    def log(self, name: str) -> str:
        """What a command has said so far."""
        return (self._folder / name).read_text(errors="replace")

    def cut(self) -> None:
        """Cut its link to the network."""
        self._switch.cut(self._link)

    def terminate(self, process: subprocess.Popen[bytes], seconds: float) -> int:
        """SIGTERM, as the kubelet sends it, to what nsenter started; its exit status."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        return process.wait(seconds)

    def close(self) -> None:
        """End everything in it."""
        self._namespaces.close()
        for process in self._started:
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()


class Switch:
    """What the pods are connected to. Final."""

    def __init__(self) -> None:
        self._namespaces = Namespaces(mounts=False)
        self._inside("ip", "link", "add", "bridge", "type", "bridge")
        self._inside("ip", "link", "set", "bridge", "up")

    def _inside(self, *command: str) -> None:
        run("nsenter", "-t", str(self._namespaces.pid), "-n", *command)

    def connect(self, link: str, pid: int, address: str) -> None:
        """Give the network namespace of a process an interface with that address."""
        self._inside("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._inside("ip", "link", "set", link, "master", "bridge", "up")
        there = ("nsenter", "-t", str(pid), "-n", "ip")
        run(*there, "address", "add", f"{address}/24", "dev", "eth0")
        run(*there, "link", "set", "eth0", "up")
        run(*there, "route", "add", "default", "via", f"{NETWORK}.1")

    def cut(self, link: str) -> None:
        """Take a link down."""
        self._inside("ip", "link", "set", link, "down")

    def close(self) -> None:
        self._namespaces.close()


def wait_for(condition: Any, seconds: float, what: str) -> None:
    """Poll until `condition()` is true."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
