"""Real servers for the outage tests: Redis on a TCP port, `tightbeam node` processes, and ways to hurt them."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import redis

from benchmarks.processes import Nursery, Process
from tests.cluster.support import SECRET
from tests.eventually import eventually
from tests.ports import free_port
from tests.redis_server import RedisServer

START_S: Final = 30.0
ROOMS: Final = "tb:room:"


class NodeProcess:
    """One `tightbeam node`."""

    def __init__(self, process: Process, address: tuple[str, int]) -> None:
        self.address = address
        self.process = process

    def url(self, path: str, scheme: str = "http") -> str:
        """Where it is."""
        return f"{scheme}://{self.address[0]}:{self.address[1]}{path}"

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT."""
        os.kill(self.process.pid, number)


def status(url: str, authority: Path | None = None) -> int:
    """The status of a GET, of a server whose certificate that authority made; 0: no answer within ten seconds."""
    context = None if authority is None else ssl.create_default_context(cafile=authority)
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Watch:
    """Asks a path of every node again and again, and remembers each answer and how long it took."""

    def __init__(self, nodes: Sequence[NodeProcess], path: str = "/readyz") -> None:
        self.answers: list[tuple[float, int, float]] = []
        """When it was asked (monotonic), the status, seconds until it came."""
        self._urls = [node.url(path) for node in nodes]

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._ask(url) for url in self._urls))

    async def _ask(self, url: str) -> None:
        while True:
            asked_at = time.monotonic()
            answer = await asyncio.to_thread(status, url)
            self.answers.append((asked_at, answer, time.monotonic() - asked_at))
            await asyncio.sleep(0.1)

    def last(self, value: int, since: float) -> float:
        """How long after this moment that status was still given, in seconds."""
        return max((at - since for at, answer, _ in self.answers if answer == value), default=0.0)

    @property
    def slowest_s(self) -> float:
        """Of all answers."""
        return max(took_s for _, _, took_s in self.answers)


def members(client: redis.Redis) -> dict[str, set[str]]:
    """The peers in each room's record."""
    found: dict[str, set[str]] = {}
    for key in client.scan_iter(f"{ROOMS}*", count=1000):
        names = [bytes(name).decode() for name in client.hkeys(key)]  # type: ignore[arg-type]
        room = bytes(key).decode().removeprefix(ROOMS)
        found[room] = {name[2:] for name in names if name.startswith("m:")}
    return found


class Cluster:
    """`with Cluster() as cluster`: a Redis unless there is another; add nodes; all ends with the block."""

    def __init__(self, *redis_options: str, redis_url: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tightbeam-outage-")
        self._nursery = Nursery(Path(self._folder.name))
        self._redis_options = redis_options
        self.redis_url = redis_url
        self.nodes: list[NodeProcess] = []

    def __enter__(self) -> Cluster:
        if self.redis_url is None:
            self.redis = RedisServer(Path(self._folder.name), *self._redis_options)
            self.redis_url = self.redis.url
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            if error is not None:
                print(f"--- node {node.address}\n{node.process.log_tail(25)}")
            if node.process.running():
                node.signal(signal.SIGKILL)
        if hasattr(self, "redis"):
            self.redis.stop()
        self._nursery.__exit__(kind, error, trace)
        self._folder.cleanup()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of all nodes."""
        return [node.address for node in self.nodes]

    def start_node(
        self,
        redis_url: str | None = None,
        *,
        host: str = "127.0.0.1",
        port: str = "",
        prefix: Sequence[str] = (),
        **env: str,
    ) -> NodeProcess:
        """Start one more node; `prefix` is a command that runs it, such as `ip netns exec`; `port`: this one."""
        chosen = int(port) if port else free_port()
        settings = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": redis_url or self.redis_url or "",
            "TIGHTBEAM_SECRET": SECRET,
            **env,
        }
        argv = [*prefix, sys.executable, "-m", "cluster.cli", "node"]
        argv += ["--host", host, "--port", str(chosen)]
        name = f"node-{len(self.nodes)}"
        node = NodeProcess(self._nursery.start(name, argv, env=settings), (host, chosen))
        self.nodes.append(node)
        return node

    def start_nodes(self, count: int) -> None:
        """Start this many nodes and wait until all of them are ready."""
        for _ in range(count):
            self.start_node()
        self.all_ready()

    def all_ready(self) -> None:
        """Wait until every node takes peers."""
        for node in self.nodes:
            eventually(lambda node=node: status(node.url("/readyz")) == 200, "ready", START_S)  # type: ignore[misc]
