"""checkov and the schemas of custom resources against the manifests; they take long to install: `make check-k8s`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.deploy import manifests
from tests.deploy.api_server import CUSTOM
from tests.deploy.manifests import COMPONENTS, OVERLAYS, ROOT, Object

pytestmark = pytest.mark.tools

TOOLS = ROOT / "deploy" / "tools"
SKIPPED = {
    "CKV_K8S_11": "no CPU limit: after a node's end its peers come to the others all at once",
    "CKV_K8S_15": "the image of a node is loaded into the cluster's machines; pulling it always would fail",
    "CKV_K8S_35": "programs read their secrets from the environment once, and no file is left behind",
    "CKV_K8S_43": "an image of our own has no digest before it is built; a tag names one release of the others",
}
HOST_NETWORK = "CKV_K8S_19"
"""Of coturn alone: a relay's ports are tens of thousands, which no service publishes."""
ADDED_CAPABILITY = "CKV_K8S_25"
"""Of coturn alone: its image's program has NET_BIND_SERVICE as a file capability, and is not executed without it."""


def checkov(folder: Path, objects: list[Object]) -> list[tuple[str, str]]:
    """The checks that fail, by id and resource."""
    for number, thing in enumerate(objects):
        (folder / f"{number}.json").write_text(json.dumps(thing))
    command: list[str | Path] = [
        ROOT / ".cache/manifests/bin/checkov",
        "--directory",
        folder,
        "--framework",
        "kubernetes",
    ]
    command += ["--output", "json", "--skip-download", "--soft-fail"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = json.loads(done.stdout)
    assert said["summary"]["passed"] > 100, said["summary"]
    assert said["summary"]["parsing_errors"] == 0
    return [(each["check_id"], each["resource"]) for each in said["results"]["failed_checks"]]


def everything() -> list[Object]:
    found = [each for name in OVERLAYS for each in manifests.overlay(name)]
    found += [each for name in COMPONENTS for each in manifests.component(name)]
    return list({json.dumps(each, sort_keys=True): each for each in found}.values())


@pytest.mark.timeout(400)
def test_checkov_finds_nothing_that_is_not_justified(tmp_path: Path) -> None:
    failed = checkov(tmp_path, everything())
    left = {each for each in failed if each[0] not in SKIPPED}
    coturn = "DaemonSet.tightbeam-turn.coturn"
    assert left == {(HOST_NETWORK, coturn), (ADDED_CAPABILITY, coturn)}
    assert SKIPPED.keys() <= {check for check, _ in failed}, "a skip without a use"


def custom() -> list[Object]:
    return [each for each in everything() if each["apiVersion"].split("/")[0] in CUSTOM]


def _validate(objects: list[Object]) -> str:
    lines = "\n".join(map(json.dumps, objects))
    done = subprocess.run(
        ["node", TOOLS / "validate.mjs"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr


def test_custom_resources_are_valid_by_their_published_schemas() -> None:
    objects = custom()
    assert {each["kind"] for each in objects} == {
        "Gateway",
        "HTTPRoute",
        "PodMonitor",
        "PrometheusRule",
    }
    assert _validate(objects) == ""


def test_a_wrong_custom_resource_is_refused() -> None:
    [gateway] = [each for each in manifests.overlay("prod") if each["kind"] == "Gateway"]
    wrong = json.loads(json.dumps(gateway))
    wrong["spec"]["listeners"][0]["port"] = "https"
    assert "port" in _validate([wrong])


def _types(folder: Path, objects: list[Object]) -> str:
    """What TypeScript says of the objects as literals of their published types: an unknown field is an error."""
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    packages = {
        "gateway.networking.k8s.io/v1": "gateway-api/gateway.networking.k8s.io/v1",
        "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1",
    }
    text = ""
    for number, thing in enumerate(objects):
        kind, package = thing["kind"], packages[thing["apiVersion"]]
        text += f'import {{ I{kind} as K{number} }} from "@kubernetes-models/{package}/{kind}";\n'
        text += f"export const k{number}: K{number} = {json.dumps(thing)};\n"
    (folder / "all.ts").write_text(text)
    command: list[str | Path] = [
        ROOT / "node_modules/.bin/tsc",
        "--noEmit",
        "--strict",
        "--skipLibCheck",
    ]
    command += ["--module", "es2022", "--moduleResolution", "bundler", "all.ts"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


def test_custom_resources_have_no_unknown_field(tmp_path: Path) -> None:
    assert _types(tmp_path, custom()) == ""


def test_an_unknown_field_of_a_custom_resource_is_refused(tmp_path: Path) -> None:
    [gateway] = [each for each in manifests.overlay("prod") if each["kind"] == "Gateway"]
    wrong = json.loads(json.dumps(gateway))
    wrong["spec"]["listeners"][0]["prot"] = "HTTPS"
    assert "does not exist in type" in _types(tmp_path, [wrong])
