"""The Valkey servers and sentinels of the overlay `prod`, by their start scripts: a primary dies and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.store.valkey import server_binary
from tests.deploy import container, manifests
from tests.deploy.container import Image
from tests.deploy.manifests import Object
from tests.deploy.pods import Container, Kubelet
from tests.eventually import eventually

pytestmark = [
    pytest.mark.skipif(not container.possible(), reason=container.NEEDS),
    pytest.mark.timeout(400),  # the first test of a machine downloads the packages of the image
]

PODS = {f"valkey-{number}": f"192.0.2.{11 + number}" for number in range(3)}
LIMIT_S = 40.0


def name_of(pod: str) -> str:
    return f"{pod}.valkey.tightbeam.svc"


class Store:
    """The pods of the stateful set: each a server and a sentinel."""

    def __init__(self, kubelet: Kubelet, scope: ExitStack) -> None:
        self._kubelet, self._scope = kubelet, scope
        self.running: dict[str, list[Container]] = {}

    def start(self, pod: str) -> None:
        template: Object = manifests.find(self._kubelet.objects, "StatefulSet", "valkey")["spec"][
            "template"
        ]
        both = [self._kubelet.start(template, index, pod, PODS[pod]) for index in range(2)]
        self.running[pod] = both
        for each in both:
            self._scope.callback(each.kill)
        eventually(
            lambda: all(each.ask("startupProbe") for each in both), f"{pod} has started", LIMIT_S
        )

    def kill(self, pod: str) -> None:
        for each in self.running.pop(pod):
            each.kill()

    def ask(self, pod: str, *words: str) -> str:
        """One command to its sentinel, or to its server where it begins with `role`."""
        server, sentinel = self.running[pod]
        if words == ("role",):
            command = (
                'REDISCLI_AUTH="$VALKEY_PASSWORD" valkey-cli -h "$POD_IP" --user tightbeam role'
            )
            return server.run("sh", "-c", command) or ""
        command = 'REDISCLI_AUTH="$SENTINEL_PASSWORD" valkey-cli -h "$POD_IP" -p 26379 '
        return sentinel.run("sh", "-c", command + " ".join(words)) or ""

    def primary(self) -> str | None:
        """Whom all sentinels call so."""
        said = {
            self.ask(pod, "sentinel", "get-master-addr-by-name", "tightbeam").partition("\n")[0]
            for pod in self.running
        }
        return said.pop() if len(said) == 1 else None

    def complete(self) -> bool:
        """Every sentinel knows the two others and two replicas."""
        for pod in self.running:
            lines = self.ask(pod, "sentinel", "master", "tightbeam").splitlines()
            known = dict(zip(lines[::2], lines[1::2], strict=False))
            if (known.get("num-other-sentinels"), known.get("num-slaves")) != ("2", "2"):
                return False
        return True


@pytest.fixture
def kubelet(tmp_path: Path, image: Image) -> Iterator[Kubelet]:
    programs = {"valkey-server": server_binary(), "valkey-cli": Path("/usr/bin/redis-cli")}
    hosts = {name_of(pod): ip for pod, ip in PODS.items()}
    with container.network("sentinel", *PODS.values()) as net:
        yield Kubelet(manifests.overlay("prod"), net, tmp_path, image, programs, hosts)


def test_a_dead_primary_is_replaced_and_comes_back_as_a_replica(kubelet: Kubelet) -> None:
    with ExitStack() as scope:
        store = Store(kubelet, scope)
        for pod in PODS:
            store.start(pod)
        eventually(lambda: store.primary() == name_of("valkey-0"), "the first is primary", LIMIT_S)
        eventually(store.complete, "the sentinels know each other", LIMIT_S)
        node = scope.enter_context(kubelet.running("Deployment", "tightbeam"))
        exporter = scope.enter_context(kubelet.running("Deployment", "fleet-exporter"))
        eventually(lambda: node.ask("readinessProbe"), "the node is ready", LIMIT_S)
        eventually(lambda: exporter.ask("readinessProbe"), "the exporter is ready", LIMIT_S)

        store.kill("valkey-0")
        others = {name_of("valkey-1"), name_of("valkey-2")}
        eventually(lambda: store.primary() in others, "another is primary", LIMIT_S)
        eventually(lambda: node.ask("readinessProbe"), "the node has found it", LIMIT_S)

        store.start("valkey-0")
        eventually(lambda: store.ask("valkey-0", "role").startswith("slave"), "it follows", LIMIT_S)
        assert store.primary() in others
        eventually(store.complete, "the sentinels know each other again", LIMIT_S)
        assert node.ask("readinessProbe")
        assert "Traceback" not in node.log.read_text()
