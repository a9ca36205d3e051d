"""What is in the image at work as the manifests say: uid 10001, read-only, their environment and their probes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.store.valkey import server_binary
from tests.deploy import container, manifests
from tests.deploy.container import Image, Network
from tests.deploy.pods import SECRETS, Kubelet, visitor
from tests.eventually import eventually

pytestmark = [
    pytest.mark.skipif(not container.possible(), reason=container.NEEDS),
    pytest.mark.timeout(400),  # the first test of a machine downloads the packages of the image
]

DRAIN_S = 4.0
REDIS_CLI = Path("/usr/bin/redis-cli")


@pytest.fixture
def net() -> Iterator[Network]:
    with container.network("image", "192.0.2.1") as made:
        yield made


@pytest.fixture
def dev(image: Image, net: Network, tmp_path: Path) -> Kubelet:
    return Kubelet(
        manifests.overlay("dev"),
        net,
        tmp_path,
        image,
        {"valkey-server": server_binary(), "valkey-cli": REDIS_CLI},
        {"valkey.tightbeam.svc": "127.0.0.1"},
    )


def test_the_image_has_the_program_and_what_it_needs_and_no_installer(image: Image) -> None:
    programs = {path.name for path in (image.files["/opt"] / "tightbeam" / "bin").iterdir()}
    assert "tightbeam" in programs
    assert not [name for name in programs if name.startswith("pip")]
    packages = next((image.files["/opt"] / "tightbeam" / "lib").glob("python*/site-packages"))
    names = {path.name for path in packages.iterdir()}
    assert {"cluster", "client", "uvicorn"} <= names
    assert not {"pip", "setuptools", "aiortc", "av", "numpy", "pytest"} & names


def test_a_node_lives_without_redis_and_is_ready_with_it(dev: Kubelet) -> None:
    with dev.running("Deployment", "tightbeam") as node:
        assert dev.image is not None
        assert {port["containerPort"] for port in node.spec["ports"]} == dev.image.ports
        eventually(lambda: node.ask("startupProbe"), "the node has started")
        assert node.ask("livenessProbe")
        assert not node.ask("readinessProbe")
        with dev.running("Deployment", "valkey") as valkey:
            eventually(lambda: valkey.ask("startupProbe"), "Valkey has started")
            eventually(lambda: node.ask("readinessProbe"), "the node is ready")
            token = node.run("tightbeam", "token", "player", "--room", "desk")
            assert token is not None, node.said
            assert len(token.strip()) > 20
        eventually(lambda: not node.ask("readinessProbe"), "the node sees that Redis went")
        assert node.ask("livenessProbe")
        status = Path(f"/proc/{node.first}/status").read_text()
        assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nCapBnd:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status
        mounts = Path(f"/proc/{node.first}/mountinfo").read_text().splitlines()
        writable = {line.split()[4] for line in mounts if line.split()[5].startswith("rw")}
        assert writable <= {"/proc"} | {f"/dev/{name}" for name in container.DEVICES}
        assert "Traceback" not in node.log.read_text()
        memory_kib = int(status.partition("VmRSS:")[2].split()[0])
        requested = node.spec["resources"]["requests"]["memory"]
        assert memory_kib < int(requested.removesuffix("Mi")) * 1024


def test_sigterm_drains_within_the_grace_period(dev: Kubelet) -> None:
    template = manifests.find(dev.objects, "Deployment", "tightbeam")["spec"]["template"]
    spec = manifests.containers(template)[0]
    slack_s = (
        template["spec"]["terminationGracePeriodSeconds"]
        - spec["lifecycle"]["preStop"]["sleep"]["seconds"]
        - int(manifests.environment(spec, dev.objects, SECRETS)["DRAIN_TIMEOUT_MS"]) / 1000
    )
    window = {"DRAIN_TIMEOUT_MS": str(round(DRAIN_S * 1000))}
    with (
        dev.running("Deployment", "valkey"),
        dev.running("Deployment", "tightbeam", **window) as node,
    ):
        eventually(lambda: node.ask("readinessProbe"), "the node is ready")
        clients = visitor(dev.net, "stay", node.port("http"), SECRETS["TIGHTBEAM_SECRET"], "12")
        assert clients.stdout is not None
        assert clients.stdout.readline() == "in\n"
        began = time.monotonic()
        os.kill(node.first, signal.SIGTERM)
        eventually(lambda: not node.ask("readinessProbe"), "no new clients are sent")
        assert node.process.wait(DRAIN_S + slack_s) == 0
        assert time.monotonic() - began <= DRAIN_S + slack_s
        said = json.loads(clients.communicate(timeout=30)[0])
        assert len(said["told"]) == 12
        assert max(said["told"]) <= DRAIN_S * 1000
        assert len(set(said["told"])) == 12, "all went in one moment"
        assert said["deaf"] == 1012
        assert "Traceback" not in node.log.read_text()


def test_the_exporter_reads_the_fleet_as_its_own_user(
    image: Image, net: Network, tmp_path: Path
) -> None:
    objects = manifests.parse(manifests.rendered(["fleet-exporter", "valkey"]))
    programs = {"valkey-server": server_binary(), "valkey-cli": REDIS_CLI}
    hosts = {"valkey.tightbeam.svc": "127.0.0.1"}
    kubelet = Kubelet(objects, net, tmp_path, image, programs, hosts)
    with kubelet.running("Deployment", "fleet-exporter") as exporter:
        eventually(lambda: exporter.ask("livenessProbe"), "the exporter lives")
        assert not exporter.ask("readinessProbe")
        with kubelet.running("Deployment", "valkey"):
            eventually(lambda: exporter.ask("readinessProbe"), "the exporter is ready", 30)


def test_coturn_starts_by_its_manifest(net: Network, tmp_path: Path) -> None:
    objects = manifests.parse(manifests.rendered(["coturn"]))
    with Kubelet(objects, net, tmp_path).running("DaemonSet", "coturn") as relay:
        eventually(lambda: relay.ask("readinessProbe"), "coturn listens")
        assert SECRETS["TURN_SECRET"] not in Path(f"/proc/{relay.first}/cmdline").read_text()
        assert "Bad configuration format" not in relay.log.read_text()
        assert "ERROR" not in relay.log.read_text()
