"""What is in the image at work as the manifests say: uid 10001, read-only, their environment and their probes."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.store.valkey import server_binary
from tests.deploy import container, manifests
from tests.deploy.container import Build, Image, Network
from tests.deploy.manifests import ROOT, Object
from tests.eventually import eventually

pytestmark = pytest.mark.skipif(not container.possible(), reason=container.NEEDS)

CONTAINERFILE = (ROOT / "Containerfile").read_text()
SECRETS = {"TIGHTBEAM_SECRET": "ab" * 32, "VALKEY_PASSWORD": "cd" * 32}
DRAIN_S = 4.0
PYTHON = [sys.executable, "-m", "tests.deploy.visitor"]


def ignored(path: str) -> bool:
    lines = (ROOT / ".containerignore").read_text().split()
    assert lines.pop(0) == "*"
    return not any(fnmatch.fnmatch(path, line.removeprefix("!")) for line in lines)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    context, folder = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("image")
    wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(context / "dist")]
    subprocess.run(wheel, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (context / "deploy" / "image").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/image/requirements.lock", context / "deploy/image")
    for path in (each for each in context.rglob("*") if each.is_file()):
        assert not ignored(path.relative_to(context).as_posix())
    return Build(context, folder).run(CONTAINERFILE)


@pytest.fixture
def net() -> Iterator[Network]:
    with container.network("image") as made:
        yield made


@dataclass
class Pod:
    """One running container and how its kubelet asks for it."""

    process: subprocess.Popen[bytes]
    spec: Object
    net: Network
    ports: dict[str, int]
    log: Path

    def ask(self, probe: str) -> bool:
        asked = self.spec[probe]["httpGet"]
        port = str(self.ports[asked["port"]])
        answer = self.net.inside(*PYTHON, "probe", port, asked["path"])
        assert self.process.poll() is None, self.log.read_text()
        return 200 <= int(answer) < 400

    def signal(self, number: int) -> None:
        first = container.first_process(self.process)
        assert first is not None
        os.kill(first, number)


@contextlib.contextmanager
def valkey_pod(objects: list[Object], folder: Path, net: Network) -> Iterator[Pod]:
    """The store by its manifest: its own start script and configuration, Valkey's binary under its name."""
    template = manifests.find(objects, "Deployment", "valkey")["spec"]["template"]
    spec = manifests.containers(template)[0]
    binaries, config = folder / "bin", folder / "config"
    binaries.mkdir(parents=True)
    config.mkdir()
    (binaries / "valkey-server").symlink_to("/valkey/valkey-server")
    (binaries / "valkey-cli").symlink_to("/usr/bin/redis-cli")
    source = template["spec"]["volumes"][0]["configMap"]["name"]
    for name, text in manifests.find(objects, "ConfigMap", source)["data"].items():
        (config / name).write_text(text)
    user = template["spec"]["securityContext"]["runAsUser"]
    env = manifests.environment(spec, objects, SECRETS) | {"PATH": "/shims:/usr/bin:/bin"}
    binds = [
        f"ro {config} /etc/valkey",
        f"ro {binaries} /shims",
        f"ro {server_binary().parent} /valkey",
        f"memory size=16m,mode=0770,gid={template['spec']['securityContext']['fsGroup']} /run/valkey",
    ]
    log = folder / "log"
    with log.open("wb") as out:
        process = container.start(
            folder, spec["command"], user=user, env=env, binds=binds, net=net, log=out
        )
    pod = Pod(process, spec, net, {}, log)
    probe = [
        "env",
        f"PATH={binaries}:/usr/bin:/bin",
        f"VALKEY_PASSWORD={SECRETS['VALKEY_PASSWORD']}",
    ]
    try:
        eventually(
            lambda: _passes(net, [*probe, *spec["readinessProbe"]["exec"]["command"]]),
            "Valkey answers",
        )
        yield pod
    finally:
        process.kill()
        process.wait()


def _passes(net: Network, command: list[str]) -> bool:
    try:
        net.inside(*command)
    except AssertionError:
        return False
    return True


@contextlib.contextmanager
def node_pod(
    image: Image, objects: list[Object], folder: Path, net: Network, **changes: str
) -> Iterator[Pod]:
    template = manifests.find(objects, "Deployment", "tightbeam")["spec"]["template"]
    spec = manifests.containers(template)[0]
    user = template["spec"]["securityContext"]["runAsUser"]
    assert user == image.user
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
    assert set(ports.values()) == image.ports
    folder.mkdir()
    (folder / "hosts").write_text("127.0.0.1 localhost valkey.tightbeam.svc\n")
    binds = [f"ro {image.files['/opt']} /opt", f"ro {folder / 'hosts'} /etc/hosts"]
    env = image.env | manifests.environment(spec, objects, SECRETS) | changes | {"HOME": "/"}
    log = folder / "log"
    with log.open("wb") as out:
        process = container.start(
            folder,
            [*image.entrypoint, *spec["args"]],
            user=user,
            env=env,
            binds=binds,
            net=net,
            log=out,
        )
    try:
        yield Pod(process, spec, net, ports, log)
    finally:
        process.kill()
        process.wait()


def test_the_image_has_the_program_and_what_it_needs_and_no_installer(image: Image) -> None:
    programs = {path.name for path in (image.files["/opt"] / "tightbeam" / "bin").iterdir()}
    assert "tightbeam" in programs
    assert not [name for name in programs if name.startswith("pip")]
    packages = next((image.files["/opt"] / "tightbeam" / "lib").glob("python*/site-packages"))
    names = {path.name for path in packages.iterdir()}
    assert {"cluster", "client", "uvicorn"} <= names
    assert not {"pip", "setuptools", "aiortc", "av", "numpy", "pytest"} & names


def test_a_node_lives_without_redis_and_is_ready_with_it(
    image: Image, net: Network, tmp_path: Path
) -> None:
    objects = manifests.overlay("dev")
    with node_pod(image, objects, tmp_path / "node", net) as node:
        eventually(lambda: node.ask("startupProbe"), "the node has started")
        assert node.ask("livenessProbe")
        assert not node.ask("readinessProbe")
        with valkey_pod(objects, tmp_path / "valkey", net):
            eventually(lambda: node.ask("readinessProbe"), "the node is ready")
        eventually(lambda: not node.ask("readinessProbe"), "the node sees that Redis went")
        assert node.ask("livenessProbe")
        first = container.first_process(node.process)
        status = Path(f"/proc/{first}/status").read_text()
        assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        assert "\nCapBnd:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status
        mounts = Path(f"/proc/{first}/mountinfo").read_text().splitlines()
        writable = {line.split()[4] for line in mounts if line.split()[5].startswith("rw")}
        assert writable <= {"/proc"} | {f"/dev/{name}" for name in container.DEVICES}
        assert "Traceback" not in node.log.read_text()
        memory_kib = int(status.partition("VmRSS:")[2].split()[0])
        requested = node.spec["resources"]["requests"]["memory"]
        assert memory_kib < int(requested.removesuffix("Mi")) * 1024


def test_sigterm_drains_within_the_grace_period(image: Image, net: Network, tmp_path: Path) -> None:
    objects = manifests.overlay("dev")
    template = manifests.find(objects, "Deployment", "tightbeam")["spec"]["template"]
    spec = manifests.containers(template)[0]
    slack_s = (
        template["spec"]["terminationGracePeriodSeconds"]
        - spec["lifecycle"]["preStop"]["sleep"]["seconds"]
        - int(manifests.environment(spec, objects, SECRETS)["DRAIN_TIMEOUT_MS"]) / 1000
    )
    with (
        valkey_pod(objects, tmp_path / "valkey", net),
        node_pod(
            image, objects, tmp_path / "node", net, DRAIN_TIMEOUT_MS=str(round(DRAIN_S * 1000))
        ) as node,
    ):
        eventually(lambda: node.ask("readinessProbe"), "the node is ready")
        port, secret = str(node.ports["http"]), SECRETS["TIGHTBEAM_SECRET"]
        clients = subprocess.Popen(
            ["ip", "netns", "exec", net.name, *PYTHON, "stay", port, secret, "12"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert clients.stdout is not None
        assert clients.stdout.readline() == "in\n"
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        eventually(lambda: not node.ask("readinessProbe"), "no new clients are sent")
        assert node.process.wait(DRAIN_S + slack_s) == 0
        assert time.monotonic() - began <= DRAIN_S + slack_s
        said = json.loads(clients.communicate(timeout=30)[0])
        assert len(said["told"]) == 12
        assert max(said["told"]) <= DRAIN_S * 1000
        assert len(set(said["told"])) == 12, "all went in one moment"
        assert said["deaf"] == 1012
        assert "Traceback" not in node.log.read_text()
