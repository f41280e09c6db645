"""The manifests as Kubernetes would get them, and ways to look into them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("laptop", "production")

Object = dict[str, Any]


def kustomize() -> list[str]:
    """The command that renders: kustomize, or the one inside kubectl. Missing in CI, that is a failure."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return command
    if os.environ.get("CI"):
        pytest.fail("neither kustomize nor kubectl is on the PATH: the manifests cannot be checked")
    pytest.skip("THE MANIFESTS ARE NOT CHECKED: neither kustomize nor kubectl is on the PATH")


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """The objects of an overlay."""
    ran = subprocess.run(
        [*kustomize(), str(DEPLOY / "overlays" / overlay)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "deprecated" not in ran.stderr.lower(), ran.stderr
    return tuple(yaml.safe_load_all(ran.stdout))


def one(overlay: str, kind: str, name: str) -> Object:
    """The object of that kind and name."""
    found = [o for o in rendered(overlay) if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} {kind} {name}"
    return found[0]


def of_kind(overlay: str, kind: str) -> list[Object]:
    """All objects of a kind."""
    return [o for o in rendered(overlay) if o["kind"] == kind]


@dataclass(frozen=True)
class Pods:
    """A template of pods: whose it is, its labels and its spec."""

    owner: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """All containers, those that run before or beside the others too."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def pods(overlay: str) -> Iterator[Pods]:
    """Every template of pods: the coordinators', and those of the RayCluster."""
    for deployment in of_kind(overlay, "Deployment"):
        template = deployment["spec"]["template"]
        yield Pods(deployment["metadata"]["name"], template["metadata"]["labels"], template["spec"])
    for cluster in of_kind(overlay, "RayCluster"):
        groups = [("head", cluster["spec"]["headGroupSpec"])]
        groups += [(group["groupName"], group) for group in cluster["spec"]["workerGroupSpecs"]]
        for name, group in groups:
            yield Pods(name, group["template"]["metadata"]["labels"], group["template"]["spec"])


def coordinator(overlay: str) -> Object:
    """The coordinator's container."""
    containers = one(overlay, "Deployment", "gradmesh-coordinator")["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["coordinator"]
    return containers[0]


def flags(container: Object) -> dict[str, str]:
    """The options among a container's arguments; the value of one that takes none is ""."""
    return {name: value for name, _, value in (argument.partition("=") for argument in container["args"])}


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector chooses these labels."""
    assert set(selector) <= {"matchLabels"}, "only matchLabels is understood here"
    return selector.get("matchLabels", {}).items() <= labels.items()


def amount(text: str | int) -> float:
    """A quantity of Kubernetes, in cores or bytes."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    for unit, factor in units.items():
        if str(text).endswith(unit):
            return float(str(text).removesuffix(unit)) * factor
    return float(text)
