"""A cluster on this machine as it is run for real: nodes behind HAProxy over Valkey, and ways to hurt it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from benchmarks.processes import Nursery, Process
from tests import haproxy
from tests.cluster.support import SECRET
from tests.eventually import eventually
from tests.outages.cluster import Cluster, NodeProcess, status
from tests.redis_server import Sentinel, ValkeyServer

REDIS_AWAY_S: Final = 2.0
DRAIN_S: Final = 5.0
DOWN_S: Final = 3.0
"""How long a killed node is away."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a node's process has used: resident bytes now, CPU seconds since its start."""

    resident_bytes: int
    cpu_s: float


class LocalCluster:
    """`with LocalCluster(3) as cluster`: all of it ends with the block.

    `env` is for all nodes. `sentinel`: a replica too, and a sentinel that makes it the primary.
    """

    def __init__(
        self, nodes: int, env: Mapping[str, str], *, sentinel: bool = False, most: int = 4000
    ) -> None:
        """`most`: clients at once through HAProxy; 0: without it."""
        self._count = nodes
        self._env = {
            "TIGHTBEAM_TRUSTED_PROXIES": "127.0.0.1",
            "DRAIN_TIMEOUT_MS": str(int(DRAIN_S * 1000)),
            **env,
        }
        self._most = most
        self._wants_sentinel = sentinel
        self._folder = tempfile.TemporaryDirectory(prefix="tightbeam-local-")
        self._nursery = Nursery(Path(self._folder.name))
        self._servers: list[ValkeyServer | Sentinel] = []
        self._cluster: Cluster | None = None
        self.port: int | None = None

    def __enter__(self) -> LocalCluster:
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._cluster is not None:
            self._cluster.__exit__(kind, error, trace)
        self._nursery.__exit__()
        for server in reversed(self._servers):
            server.resume()
            server.stop()
        self._folder.cleanup()

    def _start(self) -> None:
        folder = Path(self._folder.name)
        primary = ValkeyServer(folder)
        self._servers.append(primary)
        url = primary.url
        if self._wants_sentinel:
            behind = ("--replicaof", "127.0.0.1", str(primary.port))
            replica = ValkeyServer(folder, *behind)
            self._servers.append(replica)
            sentinel = Sentinel(folder, primary)
            self._servers.append(sentinel)
            eventually(lambda: sentinel.command("SENTINEL", "REPLICAS", "desks"), "a replica")
            url = sentinel.primary_url
        self._cluster = Cluster(redis_url=url)
        self._cluster.__enter__()
        for _ in range(self._count):
            self._cluster.start_node(**self._env)
        self._cluster.all_ready()
        if self._most:
            addresses = self._cluster.addresses
            _, port = haproxy.start(self._nursery, addresses, self._most)
            self.port = port
            health = f"http://127.0.0.1:{port}/healthz"
            eventually(lambda: status(health) == 200, "HAProxy finds a node")

    @property
    def nodes(self) -> list[NodeProcess]:
        """In a place that stays a node's own over restarts."""
        assert self._cluster is not None
        return self._cluster.nodes[: self._count]

    @property
    def url(self) -> str:
        """That of HAProxy, or of all nodes by comma."""
        if self.port is not None:
            return f"http://127.0.0.1:{self.port}"
        return ",".join(node.url("") for node in self.nodes)

    def uses(self) -> dict[str, Use]:
        """Of every node that runs, and of the first Valkey if it does."""
        processes = {f"node {number}": node.process for number, node in enumerate(self.nodes)}
        valkey = self._servers[0].process
        if valkey.poll() is None:
            processes["Valkey"] = Process(valkey, Path(os.devnull))
        return {
            name: Use(process.resident_bytes(), process.busy_s())
            for name, process in processes.items()
            if process.running()
        }

    # What can happen to it; each returns when the cluster is whole again, or as whole as it gets.

    def _again(self, number: int) -> None:
        """A new process in the place of one that has ended."""
        assert self._cluster is not None
        cluster, old = self._cluster, self.nodes[number]
        old.process.stop()
        fresh = cluster.start_node(port=str(old.address[1]), **self._env)
        cluster.nodes.remove(fresh)
        cluster.nodes[number] = fresh
        eventually(lambda: status(fresh.url("/readyz")) == 200, "the node is back", 30)

    def kill_node(self) -> None:
        """`kill -9` of the first node, which is started again a little later."""
        self.nodes[0].signal(signal.SIGKILL)
        time.sleep(DOWN_S)
        self._again(0)

    def stop_redis(self) -> None:
        """`kill -9` of Valkey, which is back empty after a while."""
        self._servers[0].stop()
        time.sleep(REDIS_AWAY_S)
        self._servers[0].start()

    def fail_over(self) -> None:
        """`kill -9` of the primary; the sentinel makes the replica the primary."""
        replica = self._servers[1]
        self._servers[0].stop()
        eventually(lambda: replica.client.role()[0] == b"master", "failover", 60)

    def drain(self, number: int = 0) -> None:
        """`tightbeam drain` of one node, which comes back at once when it is empty."""
        node = self.nodes[number]
        argv = [sys.executable, "-m", "cluster.cli", "drain", node.url("")]
        env = {"PATH": os.environ["PATH"], "TIGHTBEAM_SECRET": SECRET}
        subprocess.run(argv, env=env, check=True, timeout=4 * DRAIN_S, stdout=subprocess.DEVNULL)
        eventually(lambda: not node.process.running(), "the node ends", 3 * DRAIN_S)
        self._again(number)

    def rolling_restart(self) -> None:
        """SIGTERM to one node after another, each of which drains and is started again."""
        for number in range(self._count):
            self.nodes[number].signal(signal.SIGTERM)
            ended = self.nodes[number].process
            eventually(lambda ended=ended: not ended.running(), "it drains", 4 * DRAIN_S)  # type: ignore[misc]
            self._again(number)
