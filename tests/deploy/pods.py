"""A kubelet for tests: runs containers of the rendered manifests in namespaces and asks their probes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy import container, manifests
from tests.deploy.container import Image, Network
from tests.deploy.manifests import ROOT, Object

VISITOR = [sys.executable, "-m", "tests.deploy.visitor"]
SECRETS = {
    "TIGHTBEAM_SECRET": "ab" * 32,
    "VALKEY_PASSWORD": "cd" * 32,
    "EXPORTER_PASSWORD": "01" * 32,
    "SENTINEL_PASSWORD": "23" * 32,
    "TURN_SECRET": "ef" * 32,
    "REDIS_URL": "rediss://tightbeam:secret@redis.example.org:6380",
}


@dataclass
class Container:
    """One that runs, by its manifest."""

    process: subprocess.Popen[bytes]
    spec: Object
    env: dict[str, str]
    user: int
    net: Network
    log: Path
    said: str = ""
    """What the last command that failed in it said."""

    @property
    def first(self) -> int:
        """Its process 1, by its id out here."""
        found = container.first_process(self.process)
        assert found is not None, self.log.read_text()
        return found

    def port(self, name: str) -> str:
        [number] = [str(p["containerPort"]) for p in self.spec["ports"] if p["name"] == name]
        return number

    def ask(self, probe: str) -> bool:
        """Whether its probe would pass."""
        asked = self.spec[probe]
        assert self.process.poll() is None, self.log.read_text()
        if "exec" in asked:
            return self.run(*asked["exec"]["command"]) is not None
        if "tcpSocket" in asked:
            answer = self.net.inside(*VISITOR, "connect", self.port(asked["tcpSocket"]["port"]))
            return answer.strip() == "200"
        port = self.port(asked["httpGet"]["port"])
        answer = self.net.inside(*VISITOR, "probe", port, asked["httpGet"]["path"])
        return 200 <= int(answer) < 400

    def run(self, *command: str) -> str | None:
        """As `kubectl exec` does; None when it fails."""
        first = container.first_process(self.process)
        if first is None:
            return None
        within = ["nsenter", "--target", str(first), "--all", "--root", "--wd=/"]
        done = subprocess.run(
            [*within, "-S", str(self.user), "-G", str(self.user), *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.returncode != 0:
            self.said = done.stdout + done.stderr
            return None
        return done.stdout

    def kill(self) -> None:
        """At once, and all that runs in it."""
        self.process.kill()
        self.process.wait()


@dataclass
class Kubelet:
    """`programs` are this system's under the names that a foreign image has them."""

    objects: list[Object]
    net: Network
    folder: Path
    image: Image | None = None
    programs: Mapping[str, Path] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self, kind: str, name: str, **changes: str) -> Iterator[Container]:
        """The first container of a workload's pod."""
        template = manifests.find(self.objects, kind, name)["spec"]["template"]
        started = self.start(template, 0, f"{name}-0", "127.0.0.1", **changes)
        try:
            yield started
        finally:
            started.kill()

    def start(self, template: Object, index: int, name: str, ip: str, **changes: str) -> Container:
        """Whoever starts one kills it."""
        spec = manifests.containers(template)[index]
        user = template["spec"]["securityContext"]["runAsUser"]
        folder = self.folder / f"{name}-{spec['name']}"
        folder.mkdir(parents=True, exist_ok=True)
        env = manifests.environment(spec, self.objects, SECRETS, ip, name) | {"HOME": "/"} | changes
        command = spec.get("command", [])
        if "/tightbeam:" in spec["image"]:
            assert self.image is not None
            assert user == self.image.user
            env, command = self.image.env | env, [*self.image.entrypoint, *spec["args"]]
        else:
            env["PATH"] = "/shims:/usr/bin:/bin"
        log = folder / "log"
        with log.open("ab") as out:
            process = container.start(
                folder,
                command,
                user=user,
                env=env,
                binds=[*self._binds(folder), *self._volumes(template, spec, folder)],
                net=self.net,
                log=out,
            )
        return Container(process, spec, env, user, self.net, log)

    def _binds(self, folder: Path) -> list[str]:
        hosts = {"localhost": "127.0.0.1", **self.hosts}
        (folder / "hosts").write_text("".join(f"{ip} {name}\n" for name, ip in hosts.items()))
        binds = [f"ro {folder / 'hosts'} /etc/hosts"]
        if self.image is not None:
            binds += [f"ro {path} {top}" for top, path in self.image.files.items()]
        (folder / "shims").mkdir(exist_ok=True)
        binds.append(f"ro {folder / 'shims'} /shims")
        for name, path in self.programs.items():
            link = folder / "shims" / name
            link.unlink(missing_ok=True)
            link.symlink_to(f"/programs/{name}")
            binds.append(f"ro {path.resolve()} /programs/{name}")
        return binds

    def _volumes(self, template: Object, spec: Object, folder: Path) -> list[str]:
        binds = []
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        for mount in spec.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            if "emptyDir" in volume:
                size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
                group = template["spec"]["securityContext"]["fsGroup"]
                binds.append(f"memory size={size},mode=0770,gid={group} {mount['mountPath']}")
                continue
            config = folder / mount["name"]
            config.mkdir(exist_ok=True)
            source = manifests.find(self.objects, "ConfigMap", volume["configMap"]["name"])
            for name, text in source["data"].items():
                (config / name).write_text(text)
            binds.append(f"ro {config} {mount['mountPath']}")
        return binds


def visitor(net: Network, *arguments: str) -> subprocess.Popen[str]:
    """The program of visitor.py in this network, its output as text."""
    return subprocess.Popen(
        ["ip", "netns", "exec", net.name, *VISITOR, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
    )
