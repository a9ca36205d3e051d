"""The Kubernetes manifests against real tools: kustomize, the published schemas, `kubectl apply`, Pod Security."""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor

from cluster import __version__
from tests.deploy import manifests
from tests.deploy.api_server import CUSTOM, api_server
from tests.deploy.manifests import COMPONENTS, K8S, KUBECTL, LOAD, OVERLAYS, ROOT, Object, name_of

VERSIONS = sorted(
    {major_minor(each.split("-")[0]) for each in all_versions()},
    key=lambda each: int(each.split(".")[1]),
)[-8:]
"""The schemas are published up to 1.37; the first version with preStop `sleep` switched on is 1.30."""
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "component", "part-of")}


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """All objects of all overlays and components and of the load tests, each once."""
    found = [each for name in OVERLAYS for each in manifests.overlay(name)]
    found += [each for name in COMPONENTS for each in manifests.component(name)]
    found += yaml.safe_load_all(manifests.kustomize(LOAD))
    return list({json.dumps(each, sort_keys=True): each for each in found}.values())


def test_the_rendered_file_is_the_overlay_dev() -> None:
    header, _, text = (K8S / "install.yaml").read_text().partition("\n")
    assert header == "# Rendered from overlays/dev by `make manifests`."
    assert text == manifests.overlay_text("dev"), "run: make manifests"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_is_known_to_kubernetes(objects: list[Object], version: str) -> None:
    seen = 0
    for thing in objects:
        if thing["apiVersion"].split("/")[0] not in CUSTOM:
            kubernetes_validate.validate(thing, version, strict=True)
            seen += 1
    assert seen >= 20


def test_the_oldest_version_is_that_of_the_documentation() -> None:
    assert VERSIONS[0] == "1.30"
    assert "Kubernetes 1.30" in (ROOT / "docs" / "kubernetes.md").read_text()


def test_a_field_that_nobody_knows_is_refused() -> None:
    thing = manifests.find(manifests.overlay("dev"), "Service", "valkey") | {"spex": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(thing, "1.37", strict=True)


def _apply(url: str, home: Path, *arguments: object) -> list[str]:
    done = subprocess.run(
        [KUBECTL, "--server", url, "--kubeconfig", os.devnull, "apply", *map(str, arguments)],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split()[-1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_applies_an_overlay_and_finds_nothing_to_change_then(
    overlay: str, tmp_path: Path
) -> None:
    kinds = [thing["kind"] for thing in manifests.overlay(overlay)]
    with api_server(VERSIONS[0]) as server:
        said = _apply(server.url, tmp_path, "-k", K8S / "overlays" / overlay)
        assert said == ["created"] * len(kinds)
        before = copy.deepcopy(server.objects)
        said = _apply(server.url, tmp_path, "-k", K8S / "overlays" / overlay)
        assert server.objects == before
        # kubectl sends the selector of a disruption budget whether it has changed or not.
        again = {kind for kind, word in zip(kinds, said, strict=True) if word != "unchanged"}
        assert again <= {"PodDisruptionBudget"}


def test_kubectl_applies_the_load_tests(tmp_path: Path) -> None:
    with api_server(VERSIONS[0]) as server:
        assert set(_apply(server.url, tmp_path, "-k", LOAD)) == {"created"}


def test_kubectl_applies_the_rendered_file(tmp_path: Path) -> None:
    with api_server(VERSIONS[-1]) as server:
        said = _apply(server.url, tmp_path, "-f", K8S / "install.yaml")
        assert set(said) == {"created"}


def test_one_file_holds_one_resource() -> None:
    for path in [*K8S.rglob("*.yaml"), *LOAD.rglob("*.yaml")]:
        if path.name not in ("install.yaml", "kustomization.yaml"):
            assert len(list(yaml.safe_load_all(path.read_text()))) == 1, path


def test_labels_follow_one_law(objects: list[Object]) -> None:
    for thing in objects:
        labels = thing["metadata"]["labels"]
        assert labels.keys() >= LABELS, name_of(thing)
        assert labels["app.kubernetes.io/part-of"] == "tightbeam", name_of(thing)
    for thing, template in manifests.pods(objects):
        labels = template["metadata"]["labels"]
        assert labels.keys() == LABELS | {"app.kubernetes.io/version"}, name_of(thing)
        assert thing["metadata"]["labels"] == labels
        image = manifests.containers(template)[0]["image"]
        assert image.rpartition(":")[2] == labels["app.kubernetes.io/version"], image
        if labels["app.kubernetes.io/name"] == "tightbeam":
            assert labels["app.kubernetes.io/version"] == __version__


def _selectors(thing: Object) -> list[Any]:
    """Of what chooses pods by labels as a whole; who may speak to them may be named by fewer."""
    spec = thing.get("spec", {})
    if thing["kind"] == "Service":
        return [spec["selector"]]
    chosen = [spec["selector"]["matchLabels"]] if "selector" in spec else []
    if spec.get("podSelector"):
        chosen.append(spec["podSelector"]["matchLabels"])
    pod = spec.get("template", {}).get("spec", {})
    chosen += [
        each["labelSelector"]["matchLabels"] for each in pod.get("topologySpreadConstraints", [])
    ]
    for term in pod.get("affinity", {}).get("podAntiAffinity", {}).values():
        chosen += [each["podAffinityTerm"]["labelSelector"]["matchLabels"] for each in term]
    return chosen


def test_a_selector_is_the_labels_of_pods_without_their_version(objects: list[Object]) -> None:
    known = [
        {name: template["metadata"]["labels"][name] for name in LABELS}
        for _, template in manifests.pods(objects)
    ]
    seen = 0
    for thing in objects:
        for selector in _selectors(thing):
            assert selector in known, f"{name_of(thing)}: {selector}"
            seen += 1
    assert seen >= 20


def test_network_policies_name_pods_that_exist(objects: list[Object]) -> None:
    known = [template["metadata"]["labels"].items() for _, template in manifests.pods(objects)]
    for thing in (each for each in objects if each["kind"] == "NetworkPolicy"):
        rules = [*thing["spec"].get("ingress", []), *thing["spec"].get("egress", [])]
        for end in [end for rule in rules for way in ("from", "to") for end in rule.get(way, [])]:
            if "podSelector" in end and "namespaceSelector" not in end:
                wanted = end["podSelector"]["matchLabels"].items()
                assert any(wanted <= labels for labels in known), name_of(thing)


def _objections(spec: Object) -> list[str]:
    """What the Pod Security Standard `restricted` refuses in a pod (kubernetes.io, Pod Security Standards)."""
    said = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    pod = spec.get("securityContext", {})
    allowed = {
        "configMap",
        "emptyDir",
        "secret",
        "projected",
        "downwardAPI",
        "persistentVolumeClaim",
    }
    said += [
        f"volume {each['name']}"
        for each in spec.get("volumes", [])
        if not each.keys() - {"name"} <= allowed
    ]
    for container in manifests.containers({"spec": spec}):
        own = container.get("securityContext", {})
        wanted: Object = {"drop": ["ALL"]}
        if container["name"] == "coturn":  # a file capability of its program: test_tools.py
            wanted["add"] = ["NET_BIND_SERVICE"]
        seccomp = own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities", {}) == wanted,
            "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
            "runAsUser": own.get("runAsUser", pod.get("runAsUser")) != 0,
            "seccompProfile": seccomp in ("RuntimeDefault", "Localhost"),
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,  # our own
        }
        said += [f"{container['name']}: {name}" for name, fine in checks.items() if not fine]
    return said


def test_pods_are_restricted(objects: list[Object]) -> None:
    for thing, template in manifests.pods(objects):
        relay = thing["metadata"]["namespace"] == "tightbeam-turn"
        assert _objections(template["spec"]) == (["hostNetwork"] if relay else []), name_of(thing)
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["enableServiceLinks"] is False
    for space in (each for each in objects if each["kind"] == "Namespace"):
        level = space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        assert (level == "restricted") == (space["metadata"]["name"] != "tightbeam-turn")


def test_memory_is_limited_and_cpu_is_not(objects: list[Object]) -> None:
    for thing, template in manifests.pods(objects):
        for container in manifests.containers(template):
            resources = container["resources"]
            assert resources["requests"].keys() == {"cpu", "memory"}, name_of(thing)
            assert resources["limits"].keys() == {"memory"}, name_of(thing)


def test_no_secret_is_shipped(objects: list[Object]) -> None:
    assert "Secret" not in {thing["kind"] for thing in objects}


@pytest.mark.parametrize("arguments", [(), ("--turn",)], ids=["plain", "turn"])
def test_the_secret_command_makes_every_key_that_is_asked_for(
    objects: list[Object], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    command = ["sh", str(K8S / "secret.sh"), *arguments]
    made = [
        subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"REDIS_URL": "redis://a:b@c"},
        ).stdout
        for _ in range(2)
    ]
    assert made[0] != made[1]
    secrets = list(yaml.safe_load_all(made[0]))
    keys = {
        (secret["metadata"]["namespace"], key): base64.b64decode(value).decode()
        for secret in secrets
        for key, value in secret["data"].items()
    }
    turn = [value for (_, key), value in keys.items() if key == "TURN_SECRET"]
    assert len(turn) == (2 if arguments else 0)
    assert len(set(turn)) <= 1
    assert all(len(value) == 64 for (_, key), value in keys.items() if key != "REDIS_URL")
    for secret in secrets:
        kubernetes_validate.validate(secret, VERSIONS[0], strict=True)
    wanted = {
        (thing["metadata"]["namespace"], entry["valueFrom"]["secretKeyRef"]["key"])
        for thing, template in manifests.pods(objects)
        for container in manifests.containers(template)
        for entry in container.get("env", [])
        if "secretKeyRef" in entry.get("valueFrom", {})
    }
    missing = wanted - keys.keys()
    assert {key for _, key in missing} <= (set() if arguments else {"TURN_SECRET"})
