"""The `kubectl` commands of the documentation, by the real one, as far as the small API server goes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.up import tls
from tests.deploy.api_server import ApiServer, api_server
from tests.deploy.manifests import KUBECTL, ROOT

NEEDS_PODS = re.compile(r"kubectl .*\b(exec|port-forward|rollout status)\b")
ELSEWHERE = re.compile(r"(make|kind|podman) ")
# `create secret` speaks protobuf, which the small server does not.
WRAPPER = """\
#!/bin/sh
case "$*" in
*"create secret"*) {0} "$@" --dry-run=client --output json | {0} create -f - ;;
*) exec {0} "$@" ;;
esac
"""
NODES = "/apis/apps/v1/namespaces/tightbeam/deployments/tightbeam"


def blocks(page: str, heading: str) -> list[str]:
    """The shell blocks below a heading, without what needs pods, an image or a cluster's own tools."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL):
        lines = [
            line
            for line in block.splitlines()
            if not NEEDS_PODS.search(line) and not ELSEWHERE.match(line)
        ]
        found += ["\n".join(lines)] if lines else []
    return found


class Shell:
    """Where `kubectl` talks to the small API server."""

    def __init__(self, folder: Path, server: ApiServer) -> None:
        self.server = server
        self._folder = folder
        wrapper = folder / "kubectl"
        wrapper.write_text(
            WRAPPER.format(f"{KUBECTL} --server {server.url} --kubeconfig {os.devnull}")
        )
        wrapper.chmod(0o755)

    def run(self, script: str) -> str:
        """What it says; fails in its words."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env={"PATH": f"{self._folder}:{os.environ['PATH']}", "HOME": str(self._folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def put(self, kind: str, name: str) -> None:
        """An object that others have made before."""
        thing = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        self.server.objects[f"/api/v1/{kind.lower()}s/{name}"] = thing


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with api_server("1.30") as server:
        yield Shell(tmp_path, server)


def environment(deployment: Any) -> dict[str, Any]:
    """Of its only container, by name."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each.pop("name"): each for each in [dict(of) for of in container.get("env", ())]}


def test_what_is_tried_goes_again(shell: Shell) -> None:
    (first,) = blocks("kubernetes.md", "Try it")
    shell.run(first)
    secret = "/api/v1/namespaces/tightbeam/secrets/tightbeam"
    assert secret in shell.server.objects
    with pytest.raises(AssertionError, match="is there"):
        shell.run("sh deploy/k8s/secret.sh | kubectl create -f -")
    shell.run("kubectl delete -k deploy/k8s/overlays/dev")
    assert set(shell.server.objects) == {secret}, "which goes with its namespace"


def test_the_steps_to_service_and_a_changed_secret(shell: Shell, tmp_path: Path) -> None:
    (steps,) = blocks("kubernetes.md", "For service")
    made = tls.ensure(tmp_path / "tls", ["desk.example.org"])
    shell.put("Namespace", "envoy-gateway-system")
    shell.put("Node", "relay-1")
    steps = steps.replace("overlays/mine", "overlays/prod")
    steps = steps.replace("chain.pem", str(made.certificate)).replace("key.pem", str(made.key))
    shell.run(steps)
    objects = shell.server.objects
    labels = objects["/api/v1/namespaces/envoy-gateway-system"]["metadata"]["labels"]
    assert labels == {"tightbeam-gateway": "true"}
    assert objects["/api/v1/nodes/relay-1"]["metadata"]["labels"] == {"tightbeam-relay": "true"}
    assert objects["/api/v1/namespaces/tightbeam-turn/secrets/tightbeam"]["data"]["TURN_SECRET"]
    assert objects["/api/v1/namespaces/tightbeam/secrets/tightbeam-tls"]["type"] == (
        "kubernetes.io/tls"
    )
    text = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    restarts = re.findall(r"`(kubectl [^`]*rollout restart [^`]*)`", text)
    assert len(restarts) == 2
    said = "".join(shell.run(command) for command in restarts)
    for name in ("tightbeam", "fleet-exporter", "valkey", "coturn"):
        assert re.search(rf"\.apps/{name} restarted", said), said


def test_a_load_in_the_cluster_leaves_it_as_it_was(shell: Shell) -> None:
    begin, end = blocks("capacity.md", "In Kubernetes")
    shell.run("kubectl apply -k deploy/k8s/overlays/dev")
    before = environment(shell.server.objects[NODES])
    shell.run(begin)
    during = environment(shell.server.objects[NODES])
    assert during["JWT_SECRET"]["valueFrom"]["secretKeyRef"]["name"] == "tightbeam-load"
    assert during["RATE_LIMIT_CONN_PER_10S"] == {"value": "1000000"}
    workers = "/apis/apps/v1/namespaces/tightbeam-load/deployments/locust-worker"
    assert shell.server.objects[workers]["spec"]["replicas"] == 8
    shell.run(end)
    assert environment(shell.server.objects[NODES]) == before
    left = {path for path in shell.server.objects if "tightbeam-load" in path}
    assert left == {"/api/v1/namespaces/tightbeam-load/secrets/tightbeam-load"}, "as above"
