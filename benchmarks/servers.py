"""The servers that the signaling benchmarks load, ours and the peers', and the processes that load them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.base import CACHE, PeerUnavailable
from benchmarks.processes import Nursery, Process, StartError

HERE: Final = Path(__file__).parent / "peers"
NPM: Final = CACHE / "npm"
NPM_PACKAGES: Final = {
    "ws": "8",
    "bufferutil": "4",
    "redis": "5",
    "peer": "1",
    "socket.io": "4",
    "@socket.io/redis-adapter": "8",
}
SECRET: Final = "benchmark-secret-of-no-value-whatever"
START_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.02
UNLIMITED: Final = str(1 << 30)
"""The limits count, but do not end the benchmark."""
LIMITS: Final = (
    "RATE_LIMIT_MESSAGES_PER_10S",
    "RATE_LIMIT_IP_MSGS_PER_10S",
    "RATE_LIMIT_ROOM_MSGS_PER_10S",
    "RATE_LIMIT_CONN_PER_10S",
)


@dataclass(frozen=True, slots=True)
class Redis:
    """A Valkey of the benchmark's own on a unix socket."""

    process: Process
    path: str

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"unix://{self.path}"

    @staticmethod
    def version() -> str:
        """As it says itself."""
        from cluster.store.valkey import server_binary

        argv = [str(server_binary()), "--version"]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return " ".join(text.split()[:3])


@dataclass(frozen=True, slots=True)
class Server:
    """One subject: where its processes listen and how one speaks to them; `redis` when it has its own."""

    processes: Sequence[Process]
    ports: Sequence[int]
    dialect: str
    redis: Redis | None = None


def raise_file_limit() -> int:
    """Let this process and its children open as many files as they may; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def ensure_npm() -> Mapping[str, str]:
    """The peers' packages under the cache; their versions. Raises PeerUnavailable."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise PeerUnavailable("Node.js and npm are not installed")
    modules = NPM / "node_modules"
    if not all((modules / name).exists() for name in NPM_PACKAGES):
        NPM.mkdir(parents=True, exist_ok=True)
        (NPM / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
        command += [f"{name}@{major}" for name, major in NPM_PACKAGES.items()]
        result = subprocess.run(
            command, cwd=NPM, capture_output=True, text=True, timeout=300, check=False
        )
        if result.returncode != 0:
            raise PeerUnavailable(f"npm could not install the peers: {result.stderr[-300:]}")
    return {
        name: f"{name} {json.loads((modules / name / 'package.json').read_text())['version']}"
        for name in NPM_PACKAGES
    }


def first_line(process: Process) -> str:
    """The next line that it prints; raises StartError when it ends instead."""
    if process.stdout is None:
        raise StartError("no pipe to the process")
    line = process.stdout.readline().decode().strip()
    if not line:
        raise StartError(f"a process ended too early:\n{process.log_tail()}")
    return line


def start_redis(nursery: Nursery, name: str = "redis") -> Redis:
    """A server without persistence that accepts; raises StartError or ValkeyUnavailable."""
    from cluster.store.valkey import server_binary

    path = str(nursery.folder / f"{name}.sock")
    argv = [str(server_binary()), "--port", "0", "--unixsocket", path, "--save", ""]
    argv += ["--appendonly", "no", "--dir", str(nursery.folder)]
    process = nursery.start(name, argv)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _accepts(path):
        if not process.running() or time.monotonic() > deadline:
            raise StartError(f"Valkey did not start:\n{process.log_tail()}")
        time.sleep(POLL_S)
    return Redis(process, path)


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def start_script(
    nursery: Nursery, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None
) -> tuple[Process, int]:
    """A program that prints its port when it listens."""
    whole = {"PATH": os.environ["PATH"], **(env or {})}
    process = nursery.start(name, argv, env=whole, pipes=True)
    return process, int(first_line(process))


def javascript(script: str) -> Sequence[str]:
    """The command that runs one of the peers' scripts on the packages of the cache."""
    # They are found from the working directory, because that is where they were installed.
    text = f"process.chdir({json.dumps(str(NPM))}); await import({json.dumps(str(HERE / script))});"
    return ["node", "--input-type=module", "-e", text]


def start_javascript(
    nursery: Nursery, script: str, dialect: str, redis: Redis | None = None, count: int = 1
) -> Server:
    """So many processes of one of the peers' scripts."""
    env = {} if redis is None else {"REDIS_SOCKET": redis.path}
    started = [start_script(nursery, script, javascript(script), env) for _ in range(count)]
    processes, ports = zip(*started, strict=True)
    return Server(processes, ports, dialect, redis)


def start_nodes(nursery: Nursery, redis: Redis, dialect: str, count: int = 1) -> Server:
    """So many times `tightbeam node`, each on a port of its own."""
    started = [_start_node(nursery, redis, count == 1) for _ in range(count)]
    processes, ports = zip(*started, strict=True)
    return Server(processes, ports, dialect, redis)


def _start_node(nursery: Nursery, redis: Redis, alone: bool) -> tuple[Process, int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    env = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": redis.url,
        "TIGHTBEAM_SECRET": SECRET,
        "TIGHTBEAM_PAIRING": "0",
        "TIGHTBEAM_SINGLE_NODE": str(int(alone)),
        "TIGHTBEAM_LISTEN_FD": str(listener.fileno()),
        **dict.fromkeys(LIMITS, UNLIMITED),
    }
    argv = [sys.executable, "-m", "cluster.cli", "node"]
    process = nursery.start("ours", argv, env=env, pass_fds=(listener.fileno(),))
    port = int(listener.getsockname()[1])
    listener.close()
    return process, port


class Load:
    """A load generator: it prints "ready", and then one line of JSON for each line that it reads."""

    def __init__(self, nursery: Nursery, name: str, argv: Sequence[str]) -> None:
        self._process = nursery.start(name, argv, env={"PATH": os.environ["PATH"]}, pipes=True)
        if first_line(self._process) != "ready":
            raise StartError(f"the load did not start:\n{self._process.log_tail()}")

    @classmethod
    def on(
        cls, nursery: Nursery, server: Server, script: str, options: Mapping[str, object]
    ) -> Load:
        """One of the scripts in `peers`, told where the server is."""
        whole = {"ports": server.ports, "dialect": server.dialect, "secret": SECRET, **options}
        argv = ["node", str(HERE / script), json.dumps(whole)]
        return cls(nursery, f"load-{server.ports[0]}", argv)

    def run(self, *numbers: float) -> Mapping[str, float]:
        """One measurement; the load's own figures."""
        if self._process.stdin is None:
            raise StartError("no pipe to the load")
        self._process.stdin.write(f"run {' '.join(map(str, numbers))}\n".encode())
        self._process.stdin.flush()
        figures: Mapping[str, float] = json.loads(first_line(self._process))
        return figures

    def stop(self) -> None:
        """End it."""
        self._process.stop()


def start_peers(
    starters: Mapping[str, Callable[[], Server]],
) -> tuple[dict[str, Server], dict[str, str]]:
    """Those peers that can run here, and why the others cannot."""
    servers: dict[str, Server] = {}
    skipped: dict[str, str] = {}
    for name, start in starters.items():
        try:
            servers[name] = start()
        except (PeerUnavailable, StartError) as error:
            skipped[name] = str(error)
    return servers, skipped
