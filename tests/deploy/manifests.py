"""The manifests as the real kubectl renders them, and what a kubelet makes of a container's environment."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
K8S: Final = ROOT / "deploy" / "k8s"
KUBECTL: Final = Path(sys.executable).parent / "kubectl"
OVERLAYS: Final = tuple(
    sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
)
COMPONENTS: Final = tuple(
    sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))
)
LOAD: Final = ROOT / "loadtests" / "k8s"
"""Locust, in a namespace of its own."""
WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet")

Object = dict[str, Any]


def kustomize(folder: Path) -> str:
    """What `kubectl kustomize` prints; fails with its words."""
    done = subprocess.run(
        [KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return done.stdout


@functools.cache
def overlay_text(name: str) -> str:
    return kustomize(K8S / "overlays" / name)


def parse(text: str) -> list[Object]:
    return list(yaml.load_all(text, yaml.CSafeLoader))


@functools.cache
def overlay(name: str) -> list[Object]:
    return parse(overlay_text(name))


def rendered(components: Sequence[str]) -> str:
    """The base with these components, in this order."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        above = "/".join([".."] * len(folder.parts[1:])) + str(K8S)
        chosen = ", ".join(f"{above}/components/{name}" for name in components)
        (folder / "kustomization.yaml").write_text(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"resources: [{above}/base]\ncomponents: [{chosen}]\n"
            "images: [{name: tightbeam, newName: localhost/tightbeam}]\n"
        )
        return kustomize(folder)


@functools.cache
def component(name: str) -> list[Object]:
    """The base with one component alone."""
    return parse(rendered([name]))


def name_of(thing: Object) -> str:
    """For messages."""
    metadata = thing["metadata"]
    return f"{thing['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def find(objects: list[Object], kind: str, name: str) -> Object:
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Each workload with its pod template."""
    for thing in objects:
        if thing["kind"] in WORKLOADS:
            yield thing, thing["spec"]["template"]


def containers(template: Object) -> list[Object]:
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(
    container: Object,
    objects: list[Object],
    secrets: Mapping[str, str],
    ip: str = "127.0.0.1",
    pod: str = "pod-0",
) -> dict[str, str]:
    """A container's variables: ConfigMaps, then `env` in its order, $(NAME) of those before it."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container.get("env", []):
        if "value" in entry:
            value = re.sub(r"\$\((\w+)\)", lambda m: variables.get(m[1], m[0]), str(entry["value"]))
        elif "secretKeyRef" in entry["valueFrom"]:
            value = secrets[entry["valueFrom"]["secretKeyRef"]["key"]]
        else:
            value = {"status.podIP": ip, "metadata.name": pod}[
                entry["valueFrom"]["fieldRef"]["fieldPath"]
            ]
        variables[entry["name"]] = value
    return variables
