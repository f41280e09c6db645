"""The production manifests' commands, ports, files and environment, started as Ray nodes in network namespaces.

What KubeRay would add to the RayCluster's pods is added here: the form of `ray start`, its address, the token.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradmesh_server.tokens import make_token
from tests.deploy.manifests import Object, Pods, amount, coordinator, of_kind, one, pods
from tests.deploy.netns import NETWORK, Pod, Switch, require, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(600)]

SERVICE = "gradmesh.gradmesh.svc"
CLIENT = Path(__file__).with_name("rehearsal_client.py")
NUMBERS = {"head": 2, "gradmesh-coordinator": 3, "workers": 4}
SECOND_WORKER, OUTSIDE = 5, 9


@dataclass
class Rehearsal:
    """What runs."""

    coordinator: Pod
    serving: subprocess.Popen[bytes]
    sidecar: subprocess.Popen[bytes]
    lost: Pod
    outside: Pod
    token: str
    folder: Path


def certificate(folder: Path) -> tuple[bytes, bytes]:
    """A certificate for the Service's name, and its key."""
    cert, key = folder / "made.crt", folder / "made.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        + ["-subj", "/CN=gradmesh", "-addext", f"subjectAltName=DNS:{SERVICE}", "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    return cert.read_bytes(), key.read_bytes()


def environment(container: Object, secrets: dict[str, dict[str, bytes]], address: str) -> dict[str, str]:
    """A container's variables, as the kubelet would set them."""
    values = {}
    for variable in container.get("env", ()):
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            ref = source["secretKeyRef"]
            values[variable["name"]] = secrets[ref["name"]][ref["key"]].decode()
        elif "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "status.podIP"
            values[variable["name"]] = address
        else:
            values[variable["name"]] = variable["value"]
    return values


def command(container: Object, variables: dict[str, str]) -> list[str]:
    """A container's command and arguments, with references to variables replaced."""
    words = [*container["command"], *container["args"]]
    return [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], word) for word in words]


def files(template: Pods, secrets: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    """The files that a pod's containers find in mounted Secrets."""
    volumes = {volume["name"]: volume for volume in template.spec["volumes"]}
    found = {}
    for container in template.containers:
        for mount in container["volumeMounts"]:
            for key, content in secrets.get(volumes[mount["name"]].get("secret", {}).get("secretName"), {}).items():
                found[f"{mount['mountPath']}/{key}"] = content
    return found


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    require()
    folder = tmp_path_factory.mktemp("rehearsal")
    cert, key = certificate(folder)
    token, line = make_token("stranger")
    (cluster,) = of_kind("production", "RayCluster")
    secrets = {
        "gradmesh-tls": {"tls.crt": cert, "tls.key": key},
        "gradmesh-tokens": {"tokens": line.encode() + b"\n"},
        "gradmesh-ray-token": {"auth_token": b"0123456789abcdef" * 4},
    }
    hosts = {
        f"{cluster['metadata']['name']}-head-svc": f"{NETWORK}.{NUMBERS['head']}",
        SERVICE: f"{NETWORK}.{NUMBERS['gradmesh-coordinator']}",
    }
    assert SERVICE.startswith(one("production", "Service", "gradmesh")["metadata"]["name"] + ".")
    templates = {template.owner: template for template in pods("production")}
    assert set(templates) == set(NUMBERS)
    ray_token = secrets[cluster["spec"]["authOptions"]["secretName"]]["auth_token"].decode()
    operators = {"RAY_AUTH_MODE": cluster["spec"]["authOptions"]["mode"], "RAY_AUTH_TOKEN": ray_token}

    with ExitStack() as stack:
        switch = Switch()
        stack.callback(switch.close)

        def pod(template: Pods, number: int) -> Pod:
            (shm,) = [int(amount(v["emptyDir"]["sizeLimit"])) for v in template.spec["volumes"] if v["name"] == "shm"]
            made = Pod(switch, number, folder / f"pod{number}", hosts, shm, files(template, secrets))
            stack.callback(made.close)
            return made

        def ray_node(group: Object, number: int, *address: str) -> tuple[Pod, subprocess.Popen[bytes]]:
            template = next(t for t in templates.values() if t.spec == group["template"]["spec"])
            made = pod(template, number)
            variables = {**operators, **environment(template.containers[0], secrets, made.address)}
            options = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
            return made, made.start(["ray", "start", *address, *options, "--block"], variables, "ray.log")

        def started(made: Pod) -> None:
            wait_for(lambda: "Ray runtime started" in made.log("ray.log"), 120, "ray start")

        head, _ = ray_node(cluster["spec"]["headGroupSpec"], NUMBERS["head"], "--head", "--no-monitor")
        started(head)
        (group,) = cluster["spec"]["workerGroupSpecs"]
        address = f"--address={cluster['metadata']['name']}-head-svc:6379"
        kept, _ = ray_node(group, NUMBERS["workers"], address)
        lost, _ = ray_node(group, SECOND_WORKER, address)

        template = templates["gradmesh-coordinator"]
        driver = pod(template, NUMBERS["gradmesh-coordinator"])
        (node,) = template.spec["initContainers"]
        variables = environment(node, secrets, driver.address)
        sidecar = driver.start(command(node, variables), variables, "ray.log")
        for made in (kept, lost, driver):
            started(made)
        variables = environment(coordinator("production"), secrets, driver.address)
        serving = driver.start(command(coordinator("production"), variables), variables, "serve.log")
        wait_for(
            lambda: "gradmesh serving on" in driver.log("serve.log") or serving.poll() is not None,
            100,
            "gradmesh serve",
        )
        assert serving.poll() is None, driver.log("serve.log")

        outside = Pod(switch, OUTSIDE, folder / f"pod{OUTSIDE}", hosts, 1 << 28, {"/etc/ca.crt": cert})
        stack.callback(outside.close)
        yield Rehearsal(driver, serving, sidecar, lost, outside, token, folder)


def test_answers_stay_right_when_a_link_is_cut(rehearsal: Rehearsal) -> None:
    ports = {port["name"]: port["containerPort"] for port in coordinator("production")["ports"]}
    stop = rehearsal.folder / f"pod{OUTSIDE}" / "tmp" / "stop"
    services = [coordinator("production")[f"{kind}Probe"]["grpc"]["service"] for kind in ("liveness", "readiness")]
    client = rehearsal.outside.start(
        [
            sys.executable,
            str(CLIENT),
            f"{SERVICE}:{ports['grpc']}",
            f"{SERVICE}:{ports['health']}",
            "/tmp/stop",
            *services,
        ],
        {"GRADMESH_TLS_CA": "/etc/ca.crt", "GRADMESH_TOKEN": rehearsal.token, "PYTHONPATH": ":".join(sys.path[1:])},
        "client.log",
    )

    def said(word: str) -> list[str]:
        return [line for line in rehearsal.outside.log("client.log").splitlines() if line.startswith(word)]

    def wait(word: str, count: int, seconds: float) -> None:
        wait_for(lambda: len(said(word)) >= count or client.poll() is not None, seconds, word)
        assert len(said(word)) >= count, rehearsal.outside.log("client.log")

    wait("right", 3, 90)
    assert len(said("healthy")) == len(said("refused")) == 1, rehearsal.outside.log("client.log")
    rehearsal.lost.cut()
    before = len(said("right"))
    wait("right", before + 5, 120)
    stop.touch()
    assert client.wait(60) == 0, rehearsal.outside.log("client.log")
    assert not said("wrong")
    (group,) = of_kind("production", "RayCluster")[0]["spec"]["workerGroupSpecs"]
    (alive,) = [int(line.split()[1]) for line in said("alive")]
    assert alive == int(group["rayStartParams"]["num-cpus"]), "the workers beyond the cut link are given up"
    assert int(said("alive")[0].split()[3]) > 0, "the workers had nothing to do"


def test_the_coordinator_drains_and_goes(rehearsal: Rehearsal) -> None:
    grace = one("production", "Deployment", "gradmesh-coordinator")["spec"]["template"]["spec"][
        "terminationGracePeriodSeconds"
    ]
    assert rehearsal.coordinator.terminate(rehearsal.serving, grace) == 0, rehearsal.coordinator.log("serve.log")
    assert rehearsal.sidecar.poll() is None, "Ray's node goes after the coordinator"
