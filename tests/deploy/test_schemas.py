"""Every object is what Kubernetes and KubeRay accept, to the last field."""

from __future__ import annotations

import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.deploy.manifests import OVERLAYS, ROOT, Object, of_kind, pods, rendered

VERSIONS = ("1.35", "1.36", "1.37")
CUSTOM = {"RayCluster"}
CRD = "ray.io_rayclusters-v1.7.0.yaml"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_are_valid(overlay: str, version: str) -> None:
    for thing in rendered(overlay):
        if thing["kind"] not in CUSTOM:  # any other kind without a schema raises
            assert kubernetes_validate.validate(thing, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_of_the_ray_cluster_are_valid(version: str) -> None:
    for template in pods("production"):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": template.owner}, "spec": template.spec}
        kubernetes_validate.validate(pod, version, strict=True)


def test_what_is_wrong_is_found() -> None:
    service = deepcopy(of_kind("laptop", "Service")[0])
    service["spec"]["selectors"] = service["spec"].pop("selector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate({**service, "kind": "Servise"}, VERSIONS[0], strict=True)


@cache
def crd_schema() -> Object:
    """The schema of a RayCluster, with unknown fields forbidden."""
    folder = Path(os.environ.get("GRADMESH_KUBERAY_CRDS", ROOT.parent / "shared" / "kuberay"))
    if not (folder / CRD).is_file():
        pytest.skip(f"THE RAYCLUSTER IS NOT CHECKED: no {CRD} in {folder}; set GRADMESH_KUBERAY_CRDS")
    definition = yaml.load((folder / CRD).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = {v["name"]: v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["served"]}
    schema: Object = _strict(schemas["v1"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _strict(schema: Any) -> Any:
    """JSON schema of a structural one: what it does not name, Kubernetes would drop."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: value for key, value in schema.items() if key not in ("properties", "format")}
    strict = {key: _strict(value) for key, value in strict.items()}
    if "properties" in schema:
        strict["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        strict["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    return strict


def test_ray_cluster_is_valid() -> None:
    (cluster,) = of_kind("production", "RayCluster")
    assert cluster["apiVersion"] == "ray.io/v1"
    validator = jsonschema.Draft202012Validator(crd_schema())
    assert not [f"{error.json_path}: {error.message}" for error in validator.iter_errors(cluster)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "rayVersoin"), "2.60.0"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "imagee"), "gradmesh"),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), "8"),
        (("spec", "autoscalerOptions", "upscalingMode"), "Fast"),
    ],
)
def test_a_wrong_ray_cluster_is_found(path: tuple[Any, ...], value: Any) -> None:
    validator = jsonschema.Draft202012Validator(crd_schema())
    cluster = deepcopy(of_kind("production", "RayCluster")[0])
    place: Any = cluster
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not validator.is_valid(cluster)
