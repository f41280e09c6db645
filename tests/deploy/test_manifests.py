"""The parts of an overlay fit each other, the server's options and Ray's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ray.scripts.scripts import start as ray_start

from gradmesh_server.cli import parser
from gradmesh_server.config import SETTINGS, Config
from gradmesh_server.probes import LIVE
from gradmesh_server.server import SERVICES
from gradmesh_server.settings import load
from tests.deploy.manifests import (
    OVERLAYS,
    ROOT,
    Object,
    Pods,
    amount,
    coordinator,
    flags,
    matches,
    of_kind,
    one,
    pods,
    rendered,
)

DOCS = (ROOT / "docs" / "deploy.md").read_text()
RAY_OPTIONS = {option for parameter in ray_start.params for option in parameter.opts}
# Of Ray itself, and one of ours that only arguments refer to.
VARIABLES = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "POD_IP"}
VARIABLES |= {
    f"RAY_health_check_{name}" for name in ("initial_delay_ms", "period_ms", "timeout_ms", "failure_threshold")
}
LAST_STEPS_SECONDS = 10
"""Between a finished drain and the end of the process: workers are ended, Ray is left."""


def every(overlay: str) -> list[tuple[Pods, Object]]:
    """Each container with the pods it is in."""
    return [(template, container) for template in pods(overlay) for container in template.containers]


def walk(thing: Any, key: str) -> list[Any]:
    """Every value under that key, however deep."""
    if isinstance(thing, dict):
        return [value for name, value in thing.items() if name == key] + [
            found for value in thing.values() for found in walk(value, key)
        ]
    return [found for value in thing for found in walk(value, key)] if isinstance(thing, list) else []


def config(overlay: str, folder: Path) -> Config:
    """The coordinator's configuration, as it understands its command line; the files it names are in `folder`."""
    container = coordinator(overlay)
    assert container["command"] == ["gradmesh", "serve"]
    given = {name: value for name, value in vars(parser().parse_args(["serve", *container["args"]])).items()}
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("/"):
            given[name] = str(folder / Path(value).name)
            Path(given[name]).touch()
    return load(None, {}, {name: value for name, value in given.items() if name in SETTINGS}).config


# --- who is meant ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_choose_pods_that_exist(overlay: str) -> None:
    templates = list(pods(overlay))
    chosen = {
        "NetworkPolicy": lambda spec: [spec["podSelector"]],
        "PodDisruptionBudget": lambda spec: [spec["selector"]],
        "Service": lambda spec: [{"matchLabels": spec["selector"]}],
        "Deployment": lambda spec: [spec["selector"]],
    }
    for kind, selectors in chosen.items():
        for thing in of_kind(overlay, kind):
            for selector in selectors(thing["spec"]):
                owners = [template.owner for template in templates if matches(selector, template.labels)]
                assert owners, f"{kind} {thing['metadata']['name']} selects nothing"
                if kind in ("Deployment", "Service", "PodDisruptionBudget"):
                    assert len(owners) == 1, f"{kind} {thing['metadata']['name']} selects {owners}"
    for template in templates:
        for spread in template.spec.get("topologySpreadConstraints", ()):
            assert matches(spread["labelSelector"], template.labels)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_in_the_namespace(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    for thing in rendered(overlay):
        if thing is not namespace:
            assert thing["metadata"]["namespace"] == namespace["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_has_a_service_account_of_ours_or_the_operators(overlay: str) -> None:
    names = {account["metadata"]["name"] for account in of_kind(overlay, "ServiceAccount")}
    for template in pods(overlay):
        if template.owner == "head":  # KubeRay makes one there, with what the autoscaler needs
            assert "serviceAccountName" not in template.spec
        else:
            assert template.spec["serviceAccountName"] in names
            assert template.spec["automountServiceAccountToken"] is False


# --- ports and probes ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_are_those_the_processes_listen_on(overlay: str) -> None:
    said = flags(coordinator(overlay))
    ports = {port["name"]: port["containerPort"] for port in coordinator(overlay)["ports"]}
    listens = {"grpc": "--port", "health": "--health-port", "metrics": "--metrics-port"}
    assert ports == {name: int(said[flag]) for name, flag in listens.items()}
    service = one(overlay, "Service", "gradmesh")["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in service] == [(ports["grpc"], "grpc")]


def test_ray_ports_are_the_same_everywhere() -> None:
    for template, container, options in ray_nodes():
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        ports.pop("gcs", None)
        assert ports == {
            "object-manager": int(options["object-manager-port"]),
            "node-manager": int(options["node-manager-port"]),
            "ray-metrics": int(options["metrics-export-port"]),
        }, template.owner


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_where_someone_answers(overlay: str) -> None:
    for template, container in every(overlay):
        numbers = {port["containerPort"] for port in container["ports"]}
        names = {port["name"] for port in container["ports"]}
        probes = [
            container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness") if f"{kind}Probe" in container
        ]
        assert "livenessProbe" in container and len(probes) >= 2, template.owner
        for probe in probes:
            (port,) = walk(probe, "port")
            assert port in numbers | names
    container = coordinator(overlay)
    port = int(flags(container)["--health-port"])
    assert container["livenessProbe"]["grpc"] == container["startupProbe"]["grpc"] == {"port": port, "service": LIVE}
    assert container["readinessProbe"]["grpc"]["port"] == port
    assert container["readinessProbe"]["grpc"]["service"] in SERVICES


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_policies_open_only_named_ports(overlay: str) -> None:
    templates = list(pods(overlay))
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        chosen = [template for template in templates if matches(spec["podSelector"], template.labels)]
        for rule in spec.get("ingress", ()):
            peers = rule["from"]
            ours = [
                peer for peer in peers if peer == {"podSelector": {"matchLabels": {"gradmesh.dev/ray-node": "true"}}}
            ]
            assert ours == peers or rule["ports"], "every port is open to other Ray nodes only"
            for port in rule.get("ports", ()):
                for template in chosen:
                    assert port["port"] in {p["name"] for c in template.containers for p in c.get("ports", ())}


def test_ray_is_closed_to_everything_else() -> None:
    selector = one("production", "NetworkPolicy", "gradmesh-ray")["spec"]["podSelector"]
    assert all(matches(selector, template.labels) for template in pods("production"))
    opened = {
        port["port"]
        for policy in of_kind("production", "NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        for port in rule.get("ports", ())
    }
    assert opened == {"grpc", "metrics", "ray-metrics"}


# --- options, variables, files ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_command_line_takes_every_option(overlay: str, tmp_path: Path) -> None:
    effective = config(overlay, tmp_path)
    assert effective.host == effective.metrics_host == "0.0.0.0"
    secured = bool(effective.tls_cert and effective.tls_key and effective.tokens)
    assert secured != effective.insecure
    assert secured == (overlay == "production")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_variables_are_known(overlay: str) -> None:
    for template, container in every(overlay):
        assert {variable["name"] for variable in container.get("env", ())} <= VARIABLES
        # Kubernetes would add GRADMESH_PORT=tcp://… for a Service called gradmesh.
        assert template.spec["enableServiceLinks"] is False
        for variable in container.get("env", ()):
            assert not variable["name"].startswith("RAY_health") or f"`{variable['name']}`" in DOCS
        for name in re.findall(r"\$\((\w+)\)", " ".join(container.get("args", ()))):
            assert name in {variable["name"] for variable in container["env"]}


def ray_nodes() -> list[tuple[Pods, Object, dict[str, str]]]:
    """The containers that are Ray nodes, with the options of `ray start`."""
    (cluster,) = of_kind("production", "RayCluster")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    nodes = []
    for template in pods("production"):
        for container in template.containers:
            if container.get("command") == ["ray", "start"]:
                nodes.append((template, container, {k.removeprefix("--"): v for k, v in flags(container).items()}))
            elif container["name"].startswith("ray-"):
                params = [g["rayStartParams"] for g in groups if g["template"]["spec"] == template.spec]
                nodes.append((template, container, params[0]))
    assert len(nodes) == 3
    return nodes


def test_ray_takes_every_option() -> None:
    for _, _, options in ray_nodes():
        assert {f"--{name}" for name in options} <= RAY_OPTIONS


def test_drivers_reach_the_head_by_the_name_kuberay_gives_it() -> None:
    (cluster,) = of_kind("production", "RayCluster")
    head = f"{cluster['metadata']['name']}-head-svc:{cluster['spec']['headGroupSpec']['rayStartParams']['port']}"
    assert flags(coordinator("production"))["--address"] == head
    for template, _, options in ray_nodes():
        if template.owner == "gradmesh-coordinator":
            assert options["address"] == head
            assert options["num-cpus"] == "0"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_mounts_have_volumes_and_options_name_mounted_files(overlay: str) -> None:
    for template, container in every(overlay):
        volumes = {volume["name"]: volume for volume in template.spec["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert "emptyDir" in mounts["/tmp"]
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    said = flags(coordinator(overlay))
    volumes = {
        volume["name"]: volume
        for volume in one(overlay, "Deployment", "gradmesh-coordinator")["spec"]["template"]["spec"]["volumes"]
    }
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in coordinator(overlay)["volumeMounts"]}
    files = {path for path in said.values() if path.startswith("/")}
    assert {path.rpartition("/")[0] for path in files} == {m for m in mounts if m.startswith("/etc/")}
    for path in files:
        folder, _, key = path.rpartition("/")
        secret = mounts[folder]["secret"]["secretName"]
        assert re.search(rf"create secret \S+ {secret}\b[^`]*?{key if not key.startswith('tls.') else '--cert'}", DOCS)


def test_every_secret_is_explained() -> None:
    named = {n for key in ("secretName",) for thing in rendered("production") for n in walk(thing, key)}
    named |= {ref["name"] for thing in rendered("production") for ref in walk(thing, "secretKeyRef")}
    assert named == {"gradmesh-tls", "gradmesh-tokens", "gradmesh-ray-token"}
    for name in named:
        assert re.search(rf"kubectl .*create secret \S+ {name}\b", DOCS), name


def test_every_option_is_explained() -> None:
    for overlay in OVERLAYS:
        for name in flags(coordinator(overlay)):
            assert f"`{name}" in DOCS, name
    for _, _, options in ray_nodes():
        for name in options:
            assert f"`{name}" in DOCS or f"`--{name}" in DOCS, name


# --- sizes ---


def test_one_worker_for_each_core() -> None:
    (cluster,) = of_kind("production", "RayCluster")
    (group,) = cluster["spec"]["workerGroupSpecs"]
    resources = group["template"]["spec"]["containers"][0]["resources"]
    cores = amount(resources["limits"]["cpu"])
    assert cores == amount(resources["requests"]["cpu"]) == float(group["rayStartParams"]["num-cpus"])
    assert cores == int(cores)
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    autoscaler = one("production", "HorizontalPodAutoscaler", "gradmesh-coordinator")["spec"]
    wanted = int(flags(coordinator("production"))["--workers"])
    assert autoscaler["minReplicas"] == 2
    assert wanted * autoscaler["maxReplicas"] <= cores * group["maxReplicas"], (
        "the last coordinator would get no workers"
    )
    assert wanted * autoscaler["minReplicas"] <= cores * group["replicas"], "the first ones would wait for nodes"
    assert cluster["spec"]["enableInTreeAutoscaling"] and group["minReplicas"] < group["maxReplicas"]
    assert group["minReplicas"] * cores >= wanted
    laptop = coordinator("laptop")
    assert amount(laptop["resources"]["requests"]["cpu"]) >= int(flags(laptop)["--workers"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_shared_memory_is_within_memory(overlay: str) -> None:
    for template in pods(overlay):
        shm = [v["emptyDir"]["sizeLimit"] for v in template.spec["volumes"] if v["name"] == "shm"]
        assert amount(shm[0]) < sum(amount(c["resources"]["limits"]["memory"]) for c in template.containers)
    if overlay == "production":
        for template, container, options in ray_nodes():
            (shm,) = [v["emptyDir"]["sizeLimit"] for v in template.spec["volumes"] if v["name"] == "shm"]
            store = int(options["object-store-memory"])
            assert store < 0.9 * amount(shm), template.owner
            assert store < 0.7 * amount(container["resources"]["limits"]["memory"]), template.owner


def test_limits_fit_the_memory(tmp_path: Path) -> None:
    effective = config("production", tmp_path)
    memory = amount(coordinator("production")["resources"]["limits"]["memory"])
    assert effective.max_stored_bytes + effective.max_request_bytes < 0.75 * memory
    assert effective.max_tensor_bytes <= effective.max_stored_bytes


# --- life and death ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_time_to_drain(overlay: str, tmp_path: Path) -> None:
    spec = one(overlay, "Deployment", "gradmesh-coordinator")["spec"]["template"]["spec"]
    pause = coordinator(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = config(overlay, tmp_path).drain_seconds
    assert spec["terminationGracePeriodSeconds"] >= pause + drain + LAST_STEPS_SECONDS
    sidecars = spec.get("initContainers", [])
    assert all(container["restartPolicy"] == "Always" for container in sidecars), "ended after the coordinator"


def test_coordinators_come_and_go_one_by_one() -> None:
    deployment = one("production", "Deployment", "gradmesh-coordinator")
    assert "replicas" not in deployment["spec"], "the autoscaler's to say"
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    target = one("production", "HorizontalPodAutoscaler", "gradmesh-coordinator")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    metrics = one("production", "HorizontalPodAutoscaler", "gradmesh-coordinator")["spec"]["metrics"]
    for metric in metrics:
        assert metric["containerResource"]["container"] == coordinator("production")["name"]
        assert metric["containerResource"]["name"] in coordinator("production")["resources"]["requests"]
    assert one("production", "PodDisruptionBudget", "gradmesh-coordinator")["spec"]["minAvailable"] == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_may_do_no_more_than_they_must(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    contexts = [container["securityContext"] for _, container in every(overlay)]
    contexts += [cluster["spec"]["autoscalerOptions"]["securityContext"] for cluster in of_kind(overlay, "RayCluster")]
    for context in contexts:
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    for template in pods(overlay):
        assert template.spec["securityContext"]["runAsNonRoot"] is True
        assert template.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert field not in template.spec
